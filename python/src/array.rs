//! The NumPy boundary: whatever holds numbers becomes rows that the core can read while Python goes on.
//!
//! Nothing is converted up front. An array is looked at in its own element type and layout, and the core asks for its rows one by
//! one, detached from the interpreter; a row of C-contiguous float32 is copied as it lies.

use crate::error::{dtype_error, exception};
use half::f16;
use ndarray::{ArrayView2, ArrayViewD, Axis, Ix1, Ix2};
use nearfield::{Metric, RowSource};
use numpy::{
    Element, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;

/// An element that can become an f32.
trait Number: Element + Copy + Send + Sync {
    fn to_f32(self) -> f32;
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Number for $type {
            #[inline(always)]
            fn to_f32(self) -> f32 {
                self as f32
            }
        }
    )*};
}

number!(f32, f64, i8, i16, i32, i64, u8, u16, u32, u64);

impl Number for f16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }
}

impl Number for bool {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from(u8::from(self))
    }
}

struct View<'a, T>(ArrayView2<'a, T>);

impl<T: Number> RowSource for View<'_, T> {
    fn rows(&self) -> usize {
        self.0.nrows()
    }

    fn dim(&self) -> usize {
        self.0.ncols()
    }

    fn read(&self, row: usize, out: &mut [f32]) {
        let values = self.0.row(row);
        if let Some(values) = values.as_slice() {
            for (to, &from) in out.iter_mut().zip(values) {
                *to = from.to_f32();
            }
        } else {
            for (to, &from) in out.iter_mut().zip(values) {
                *to = from.to_f32();
            }
        }
    }
}

/// Rows of packed bits, the first in the highest bit of the first byte, as `numpy.packbits` writes them.
struct PackedBits<'a> {
    bytes: ArrayView2<'a, u8>,
    dim: usize,
}

impl PackedBits<'_> {
    /// The first row in which bits beyond the last column are set.
    fn overfull(&self) -> Option<usize> {
        let beyond = 0xffu8.checked_shr(self.dim as u32 % 8).filter(|_| !self.dim.is_multiple_of(8))?;
        let last = self.bytes.columns().into_iter().next_back()?;
        last.iter().position(|byte| byte & beyond != 0)
    }
}

impl RowSource for PackedBits<'_> {
    fn rows(&self) -> usize {
        self.bytes.nrows()
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn read(&self, row: usize, out: &mut [f32]) {
        for (values, byte) in out.chunks_mut(8).zip(self.bytes.row(row)) {
            for (i, value) in values.iter_mut().enumerate() {
                *value = f32::from(byte >> (7 - i) & 1);
            }
        }
    }
}

/// Rows to be read without the interpreter.
pub(crate) type Source<'a> = Box<dyn RowSource + Send + Sync + 'a>;

/// One or two dimensions of numbers.
pub(crate) struct Vectors<'py> {
    typed: Typed<'py>,
    /// Whether it was given as one vector.
    pub(crate) single: bool,
}

macro_rules! typed {
    ($($name:ident: $type:ty),*) => {
        enum Typed<'py> {
            $($name(PyReadonlyArrayDyn<'py, $type>)),*
        }

        impl<'py> Typed<'py> {
            /// The array in its own element type, if that is one of ours and each element lies where its type wants it.
            fn of(array: &Bound<'py, PyUntypedArray>) -> Option<Typed<'py>> {
                $(if let Ok(array) = array.cast::<PyArrayDyn<$type>>() {
                    let aligned = array.data().is_aligned();
                    return aligned.then(|| array.try_readonly().ok().map(Typed::$name))?;
                })*
                None
            }

            fn source(&self) -> Option<Source<'_>> {
                match self {
                    $(Typed::$name(array) => rows(array.as_array())),*
                }
            }
        }
    };
}

// The common ones first.
typed!(
    F32: f32, F16: f16, F64: f64, U8: u8, I8: i8, I64: i64, I32: i32, U16: u16, I16: i16, U32: u32, U64: u64, Bool: bool
);

/// One vector as one row, several as they are.
fn two_dimensional<T>(array: ArrayViewD<'_, T>) -> Option<ArrayView2<'_, T>> {
    Some(match array.ndim() {
        1 => array.into_dimensionality::<Ix1>().ok()?.insert_axis(Axis(0)),
        _ => array.into_dimensionality::<Ix2>().ok()?,
    })
}

fn rows<T: Number>(array: ArrayViewD<'_, T>) -> Option<Source<'_>> {
    Some(Box::new(View(two_dimensional(array)?)))
}

/// `object` as an array: itself, or what `nearfield.arrays.as_array` makes of it.
fn as_array<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    if let Ok(array) = object.cast::<PyUntypedArray>() {
        return Ok(array.clone());
    }
    let py = object.py();
    let array = py.import(intern!(py, "nearfield.arrays"))?.call_method1(intern!(py, "as_array"), (object,))?;
    Ok(array.cast_into::<PyUntypedArray>()?)
}

/// The same numbers, aligned and in this machine's byte order.
fn native<'py>(array: &Bound<'py, PyUntypedArray>) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = array.py();
    let dtype = array.dtype();
    if !matches!(dtype.kind(), b'f' | b'i' | b'u' | b'b') {
        // Says what to do about it.
        let checked = py.import("nearfield.arrays")?.call_method1("as_array", (array,))?;
        let message = format!("expected an array of numbers, got dtype {}", checked.getattr("dtype")?);
        return Err(dtype_error(py, message));
    }
    let wide = if dtype.kind() == b'f' && dtype.itemsize() > 8 { "float64" } else { "=" };
    let target =
        if wide == "=" { dtype.call_method1("newbyteorder", ("=",))? } else { wide.into_pyobject(py)?.into_any() };
    let kwargs = pyo3::types::PyDict::new(py);
    kwargs.set_item("requirements", ["A", "C"])?;
    let converted = py.import("numpy")?.call_method("require", (array, target), Some(&kwargs))?;
    Ok(converted.cast_into::<PyUntypedArray>()?)
}

impl<'py> Vectors<'py> {
    /// Vectors from anything that holds numbers: an array, a list, a DLPack object, an Arrow fixed-size list.
    pub(crate) fn extract(object: &Bound<'py, PyAny>) -> PyResult<Vectors<'py>> {
        let py = object.py();
        let mut array = as_array(object)?;
        let ndim = array.ndim();
        if ndim != 1 && ndim != 2 {
            let message = format!("expected a 1-D or 2-D array, got {ndim} dimensions, shape {:?}", array.shape());
            return Err(exception(py, "DimensionError", (message,)));
        }
        if !is_plain(&array) {
            array = native(&array)?;
        }
        let typed = match Typed::of(&array) {
            Some(typed) => typed,
            None => {
                array = native(&array)?;
                Typed::of(&array).ok_or_else(|| {
                    dtype_error(py, format!("expected an array of numbers, got dtype {}", array.dtype()))
                })?
            }
        };
        Ok(Vectors { typed, single: ndim == 1 })
    }

    /// How many rows there are, whatever they are.
    pub(crate) fn rows(&self) -> usize {
        self.typed.source().map_or(0, |source| source.rows())
    }

    /// The rows, for this index; a single vector is one row. Under hamming bytes are packed bits.
    pub(crate) fn source(&self, py: Python<'_>, index: &dyn nearfield::Index) -> PyResult<Source<'_>> {
        self.source_under(py, index.metric(), index.dim())
    }

    /// The rows, for whatever has this metric and dimension.
    pub(crate) fn source_under(&self, py: Python<'_>, metric: Metric, dim: usize) -> PyResult<Source<'_>> {
        let no_rows = || PyValueError::new_err("expected a 1-D or 2-D array");
        if metric != Metric::Hamming {
            return self.typed.source().ok_or_else(no_rows);
        }
        if let Typed::U8(array) = &self.typed {
            let bytes = two_dimensional(array.as_array()).ok_or_else(no_rows)?;
            if bytes.ncols() != dim.div_ceil(8) {
                return Err(no_bits(py, dim, &format!("{} bytes", bytes.ncols())));
            }
            let bits = PackedBits { bytes, dim };
            if let Some(row) = py.detach(|| bits.overfull()) {
                let message = format!(
                    "expected {dim} packed bits a row and zeros behind them, as numpy.packbits writes them, but row {row} \
                     has bits set behind the last"
                );
                return Err(PyValueError::new_err(message));
            }
            return Ok(Box::new(bits));
        }
        let values = self.typed.source().ok_or_else(no_rows)?;
        if values.dim() != dim {
            return Err(no_bits(py, dim, &format!("{} values", values.dim())));
        }
        Ok(values)
    }
}

/// What to say of rows that are neither so many bits nor as many packed ones.
fn no_bits(py: Python<'_>, dim: usize, given: &str) -> PyErr {
    let message = format!(
        "expected rows of {dim} values 0 or 1, shape (n, {dim}), or of packed bits, uint8 of shape (n, {}), as \
         numpy.packbits writes them; got rows of {given}",
        dim.div_ceil(8)
    );
    exception(py, "DimensionError", (message,))
}

/// Whether all strides are multiples of the element's size; the typed view has looked at the address.
fn is_plain(array: &Bound<'_, PyUntypedArray>) -> bool {
    let size = array.dtype().itemsize();
    array.strides().iter().all(|stride| size > 0 && stride.unsigned_abs() % size == 0)
}

/// Ids from one integer, a sequence of them, or an integer array.
pub(crate) fn ids(object: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    let py = object.py();
    if let Ok(array) = object.cast::<PyUntypedArray>() {
        return ids_of_array(array);
    }
    if let Ok(id) = object.extract::<i64>() {
        return Ok(vec![id]);
    }
    let failure = match object.extract::<Vec<i64>>() {
        Ok(ids) => return Ok(ids),
        Err(failure) => failure,
    };
    if failure.is_instance_of::<PyOverflowError>(py)
        || object.extract::<i64>().is_err_and(|e| e.is_instance_of::<PyOverflowError>(py))
    {
        return Err(PyValueError::new_err("ids must be between 0 and 2**63 - 1, got a larger number"));
    }
    if !failure.is_instance_of::<PyTypeError>(py) {
        return Err(failure);
    }
    // Something else that NumPy may know: an Arrow array, a pandas index, a nested list.
    match as_array(object) {
        Ok(array) => ids_of_array(&array),
        Err(_) => Err(dtype_error(py, format!("expected integer ids, got {}", object.get_type().name()?))),
    }
}

fn ids_of_array(array: &Bound<'_, PyUntypedArray>) -> PyResult<Vec<i64>> {
    let py = array.py();
    let kind = array.dtype().kind();
    let empty = array.len() == 0;
    if array.ndim() > 1 {
        return Err(PyValueError::new_err(format!("expected a 1-D array of ids, got shape {:?}", array.shape())));
    }
    if empty {
        return Ok(Vec::new());
    }
    if kind != b'i' && kind != b'u' {
        return Err(dtype_error(py, format!("expected integer ids, got dtype {}", array.dtype())));
    }
    if array.dtype().itemsize() == 8 && kind == b'u' {
        let wide = array.call_method0("tolist")?;
        let too_large = || PyValueError::new_err("ids must be between 0 and 2**63 - 1, got a larger number");
        let wide = if array.ndim() == 0 { pyo3::types::PyList::new(py, [wide])?.into_any() } else { wide };
        return wide.extract().map_err(|_| too_large());
    }
    let converted = array.call_method1("astype", ("int64",))?.call_method1("reshape", (-1,))?;
    let converted = converted.cast_into::<PyArrayDyn<i64>>()?;
    Ok(converted.readonly().as_array().iter().copied().collect())
}

/// What a `filter=` argument names.
pub(crate) enum Wanted {
    /// These ids.
    Ids(Vec<i64>),
    /// The rows at the true entries of a mask over the ascending ids.
    Mask(Vec<bool>),
}

/// A filter from integer ids or a boolean mask.
pub(crate) fn wanted(object: &Bound<'_, PyAny>) -> PyResult<Wanted> {
    let array = as_array(object)?;
    if array.ndim() == 1 && array.dtype().kind() == b'b' {
        let mask = array.cast_into::<PyArrayDyn<bool>>()?;
        return Ok(Wanted::Mask(mask.readonly().as_array().iter().copied().collect()));
    }
    Ok(Wanted::Ids(ids_of_array(&array)?))
}
