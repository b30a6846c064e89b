//! The class `Filter`: which rows may be found, compiled once and used in many searches.

use crate::call;
use crate::index::IdFilter;
use nearfield::Collection;
use pyo3::prelude::*;
use std::sync::Arc;

/// A filter, compiled once and reused: what `Index.filter` and `Collection.filter` return.
///
/// One of an index names rows by id, one of a collection says what must hold of their metadata. When the index or the collection has
/// changed, it is compiled again, by itself, for the rows that are there then.
#[pyclass(frozen, module = "nearfield._core")]
pub(crate) struct Filter(pub(crate) Compiled);

/// What is filtered.
pub(crate) enum Compiled {
    /// An index.
    Ids(Arc<IdFilter>),
    /// A collection: this one, or another whose rows say the same kind of things.
    Metadata(Arc<nearfield::Filter>, Arc<Collection>),
}

#[pymethods]
impl Filter {
    /// How many rows match.
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        call::run(py, None, None, |call| match &self.0 {
            Compiled::Ids(ids) => Ok(ids.count()),
            Compiled::Metadata(filter, collection) => collection.count(filter, call),
        })
    }

    fn __repr__(&self) -> String {
        match &self.0 {
            Compiled::Ids(ids) => format!("Filter(matching={})", ids.last_count()),
            Compiled::Metadata(_, collection) => format!("Filter(collection={:?})", collection.name()),
        }
    }
}
