//! Keys of rows, from Python and back.

use crate::error::dtype_error;
use nearfield::Key;
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyInt, PyList, PyString, PyTuple};

/// Keys as they were given.
pub(super) struct Keys {
    pub(super) keys: Vec<Key>,
    /// Whether it was one key, not a sequence of them.
    pub(super) single: bool,
}

impl Keys {
    /// Keys from one, or from anything that holds several: a list, an array of whole numbers or strings, a column.
    pub(super) fn extract(object: &Bound<'_, PyAny>) -> PyResult<Keys> {
        if let Some(key) = one(object, 0)? {
            return Ok(Keys { keys: vec![key], single: true });
        }
        if let Ok(list) = object.cast::<PyList>() {
            return Keys::of(list.iter());
        }
        if let Ok(tuple) = object.cast::<PyTuple>() {
            return Keys::of(tuple.iter());
        }
        if let Ok(array) = object.cast::<PyUntypedArray>() {
            return Keys::of(list_of_array(array)?.iter());
        }
        // Something else with keys in it: a data frame's column, an Arrow array, a generator.
        let py = object.py();
        let list =
            py.import(intern!(py, "nearfield.columns"))?.call_method1(intern!(py, "as_list"), (object, "keys"))?;
        Keys::of(list.cast_into::<PyList>()?.iter())
    }

    fn of<'py>(objects: impl Iterator<Item = Bound<'py, PyAny>>) -> PyResult<Keys> {
        let keys = objects.enumerate().map(|(i, object)| key_at(&object, i)).collect::<PyResult<_>>()?;
        Ok(Keys { keys, single: false })
    }
}

/// The elements of an array as Python objects.
fn list_of_array<'py>(array: &Bound<'py, PyUntypedArray>) -> PyResult<Bound<'py, PyList>> {
    if array.ndim() != 1 {
        return Err(PyValueError::new_err(format!("expected a 1-D array of keys, got shape {:?}", array.shape())));
    }
    // Strings of NumPy 2 are of kind T.
    if array.len() > 0 && !matches!(array.dtype().kind(), b'i' | b'u' | b'U' | b'S' | b'T' | b'O') {
        let message = format!("expected keys that are str, bytes or int, got an array of {}", array.dtype());
        return Err(dtype_error(array.py(), message));
    }
    Ok(array.call_method0(intern!(array.py(), "tolist"))?.cast_into::<PyList>()?)
}

/// The key at this place of the caller's sequence.
pub(super) fn key_at(object: &Bound<'_, PyAny>, position: usize) -> PyResult<Key> {
    one(object, position)?.ok_or_else(|| {
        let given =
            object.get_type().fully_qualified_name().map_or("something else".to_owned(), |name| name.to_string());
        let message = format!("expected keys that are str, bytes or int, got {given} at position {position}");
        dtype_error(object.py(), message)
    })
}

/// The key that this is; `None` if it is of no type that keys have.
fn one(object: &Bound<'_, PyAny>, position: usize) -> PyResult<Option<Key>> {
    let py = object.py();
    if let Ok(text) = object.cast::<PyString>() {
        let invalid =
            |_| PyValueError::new_err(format!("the key at position {position} cannot be one: it is no valid Unicode"));
        return Ok(Some(Key::from(text.to_str().map_err(invalid)?)));
    }
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(Some(Key::from(bytes.as_bytes())));
    }
    let is_whole = || object.is_instance_of::<PyInt>() || object.hasattr(intern!(py, "__index__")).unwrap_or(false);
    // Arrays have an __index__ too, which may work.
    if object.is_instance_of::<PyBool>() || object.cast::<PyUntypedArray>().is_ok() || !is_whole() {
        return Ok(None);
    }
    match object.extract::<i64>() {
        Ok(number) => Ok(Some(Key::Int(number))),
        Err(_) if object.is_instance_of::<PyInt>() => {
            let what = "it is a whole number of more than 64 bits";
            Err(PyValueError::new_err(format!("the key at position {position} cannot be one: {what}; use str")))
        }
        Err(_) => Ok(None),
    }
}

/// The Python object for a key.
pub(super) fn to_python<'py>(py: Python<'py>, key: &Key) -> Bound<'py, PyAny> {
    match key {
        Key::Int(number) => PyInt::new(py, *number).into_any(),
        Key::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        Key::Str(text) => PyString::new(py, text).into_any(),
    }
}
