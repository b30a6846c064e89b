//! Indexes that come from files and bytes: what class they get.

use super::{FlatIndex, HnswIndex, QuantizedIndex};
use crate::error::raise;
use nearfield::IndexFile;
use pyo3::prelude::*;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// The Python object for an index that was loaded.
pub(super) fn wrap(py: Python<'_>, file: IndexFile, threads: Option<NonZeroUsize>) -> PyResult<Bound<'_, PyAny>> {
    match file {
        IndexFile::Flat(index) => Ok(Bound::new(py, FlatIndex::initializer(index, threads))?.into_any()),
        IndexFile::Hnsw(index) => Ok(Bound::new(py, HnswIndex::initializer(index, threads))?.into_any()),
        IndexFile::Quantized(index) => Ok(Bound::new(py, QuantizedIndex::initializer(index, threads))?.into_any()),
    }
}

/// Load an index from a file, whatever kind of index it holds.
///
/// Parameters
/// ----------
/// path : str or path-like
/// mmap : bool, default False
///     True: map the file instead of reading it. That takes milliseconds, memory is shared between processes, and the index
///     is read-only; `copy()` gives one that can change. Only what is read is verified.
///     False: read it all and verify every checksum.
///
/// Returns
/// -------
/// FlatIndex, QuantizedIndex or HnswIndex
///
/// Raises
/// ------
/// CorruptionError
///     Not a Nearfield file, or not what was written; names file and block.
/// FormatVersionError
///     Written by a version with another format.
#[pyfunction]
#[pyo3(signature = (path, *, mmap=false))]
pub(crate) fn load(py: Python<'_>, path: PathBuf, mmap: bool) -> PyResult<Bound<'_, PyAny>> {
    let file = py.detach(|| IndexFile::load(&path, mmap)).map_err(|error| raise(py, error))?;
    wrap(py, file, None)
}
