//! The class `FlatIndex`.

use super::Index;
use crate::arguments::{Integer, options, parse_codec, threads_of};
use crate::error::raise;
use nearfield::Codec;
use pyo3::prelude::*;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Exact search.
///
/// Beside the rows lies, from 1,024 rows on, a code of four bits for every value (RaBitQ, Gao and Long, arXiv 2405.12497 and
/// 2409.09913, with bounds that always hold instead of with high probability). A search reads the codes, rules out the rows
/// that cannot be among the nearest, and compares the query with the others. The answer is the same, bit for bit, as that of a
/// comparison with every row.
///
/// Parameters
/// ----------
/// dim : int
///     Values a row, 1 to 65,535.
/// metric : {"cosine", "dot", "l2", "l1", "hamming"}, default "cosine"
///     "hamming" counts the bits that differ. Rows and queries are then bits: `dim` values 0 or 1 each, or uint8 arrays of
///     ceil(dim / 8) packed bits each, as numpy.packbits writes them (a uint8 array is always taken as packed).
/// codec : {"f32", "f16", "bf16", "u8", "i8", "b1"}, default "f32"
///     How rows are kept. Search is exact for the rows as they are kept, which is what `get` returns.
///     "f32": as given, 4 bytes a value.
///     "f16": half precision, 2 bytes a value, each within 2^-11 of itself; values beyond 65,504 are refused.
///     "bf16": the upper half of a float32, 2 bytes a value, each within 2^-8 of itself.
///     "u8": whole numbers from 0 to 255, 1 byte a value, nothing lost; all others are refused.
///     "i8": 1 byte a value and 4 a row, each within 1/254 of the largest value of its row.
///     "b1": 0 and 1, 1 bit a value, nothing lost; all others are refused. For "hamming" only, which has no other and takes it
///     if none is given.
/// accelerate : bool, default True
///     Whether the codes are kept. They take half a byte a value and 8 bytes a row ("l2": 12), make adding slower and
///     searching faster, and change no answer. Under "l1" and "hamming" there are none.
/// max_bytes : int, optional
///     Refuse to grow beyond this many bytes (CapacityError).
/// threads : int, optional
///     The most threads that a call uses. None: all cores.
#[pyclass(extends = Index, frozen, module = "nearfield._core")]
pub(crate) struct FlatIndex {
    inner: Arc<nearfield::FlatIndex>,
}

#[pymethods]
impl FlatIndex {
    #[new]
    #[pyo3(signature = (dim, metric="cosine", *, codec=None, accelerate=true, max_bytes=None, threads=None),
           text_signature = "(dim, metric='cosine', *, codec='f32', accelerate=True, max_bytes=None, threads=None)")]
    fn new(
        py: Python<'_>,
        dim: Integer,
        metric: &str,
        codec: Option<&str>,
        accelerate: bool,
        max_bytes: Option<u64>,
        threads: Option<Integer>,
    ) -> PyResult<PyClassInitializer<FlatIndex>> {
        let known: Vec<&str> = Codec::ALL.iter().map(|codec| codec.name()).collect();
        let codec = codec.map(|name| parse_codec(name, &known)).transpose()?;
        let options = options(dim, metric, codec, max_bytes)?;
        let make = if accelerate { nearfield::FlatIndex::new } else { nearfield::FlatIndex::without_codes };
        let index = make(options).map_err(|error| raise(py, error))?;
        Ok(FlatIndex::initializer(Arc::new(index), threads_of(threads)?))
    }

    /// Whether codes are kept beside the rows, from 1,024 rows on.
    #[getter]
    fn accelerate(&self) -> bool {
        self.inner.accelerates()
    }
}

impl FlatIndex {
    pub(super) fn initializer(
        inner: Arc<nearfield::FlatIndex>,
        threads: Option<NonZeroUsize>,
    ) -> PyClassInitializer<FlatIndex> {
        let base = Index::of(Arc::<nearfield::FlatIndex>::clone(&inner), threads);
        PyClassInitializer::from(base).add_subclass(FlatIndex { inner })
    }
}
