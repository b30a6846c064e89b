//! Rows on their way into a collection.

use super::documents::documents;
use super::keys::Keys;
use crate::array::Vectors;
use crate::call;
use nearfield::{Collection, OnConflict};
use pyo3::prelude::*;

/// Rows as they were handed in.
pub(super) struct Incoming<'a, 'py> {
    pub(super) keys: &'a Bound<'py, PyAny>,
    pub(super) vectors: &'a Bound<'py, PyAny>,
    pub(super) metadata: Option<&'a Bound<'py, PyAny>>,
    pub(super) progress: Option<&'a Bound<'py, PyAny>>,
}

impl Incoming<'_, '_> {
    /// Puts them there; how many were written. Keys and metadata are read while attached, vectors are not.
    pub(super) fn put(&self, py: Python<'_>, collection: &Collection, conflict: OnConflict) -> PyResult<usize> {
        let vectors = Vectors::extract(self.vectors)?;
        let Keys { keys, single } = Keys::extract(self.keys)?;
        let documents = documents(self.metadata, keys.len(), single)?;
        let report = call::reporter(self.progress, "upsert")?;
        let schema = collection.schema();
        let source = vectors.source_under(py, schema.metric, schema.dim)?;
        call::run(py, None, report, |call| collection.put(&keys, &*source, documents.as_deref(), conflict, call))
    }
}
