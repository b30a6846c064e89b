//! Filters that are compiled once and follow the index through its changes.

use crate::array::Wanted;
use nearfield::{Error, Selection};
use pyo3::prelude::*;
use std::sync::{Arc, Mutex};

/// A filter, compiled once and reused: what `Index.filter` returns.
///
/// It names rows by id. When the index has changed it is compiled again, by itself, for the rows that are there then.
#[pyclass(frozen, module = "nearfield._core")]
pub(crate) struct Filter {
    pub(super) index: Arc<dyn nearfield::Index>,
    ids: Vec<i64>,
    compiled: Mutex<Arc<Selection>>,
}

impl Filter {
    pub(super) fn new(index: &Arc<dyn nearfield::Index>, wanted: Wanted) -> Result<Filter, Error> {
        let ids = match wanted {
            Wanted::Ids(ids) => ids,
            Wanted::Mask(mask) => {
                let ids = index.ids();
                if ids.len() != mask.len() {
                    return Err(Error::MaskLength { rows: ids.len(), given: mask.len() });
                }
                ids.into_iter().zip(mask).filter(|(_, wanted)| *wanted).map(|(id, _)| id).collect()
            }
        };
        let compiled = Mutex::new(Arc::new(index.select_ids(&ids)));
        Ok(Filter { index: Arc::clone(index), ids, compiled })
    }

    fn current(&self) -> Arc<Selection> {
        let compiled = self.compiled.lock();
        Arc::clone(&compiled.unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn recompile(&self) {
        let fresh = Arc::new(self.index.select_ids(&self.ids));
        *self.compiled.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = fresh;
    }

    /// Runs `body` with the selection of the index's present state.
    pub(super) fn with<T>(&self, body: impl Fn(&Selection) -> Result<T, Error>) -> Result<T, Error> {
        loop {
            match body(&self.current()) {
                Err(Error::StaleSelection) => self.recompile(),
                result => return result,
            }
        }
    }
}

#[pymethods]
impl Filter {
    /// How many rows of the index match.
    fn __len__(&self, py: Python<'_>) -> usize {
        py.detach(|| {
            self.recompile();
            self.current().count()
        })
    }

    fn __repr__(&self) -> String {
        format!("Filter(matching={})", self.current().count())
    }
}
