//! Rows in the order of their keys, read page by page.

use super::results::row;
use crate::error::raise;
use nearfield::{Collection, Filter, Key, StoredRow};
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// The rows of a collection, one after another: what `Collection.scan` returns.
#[pyclass(frozen, module = "nearfield._core")]
pub(crate) struct Scan {
    collection: Arc<Collection>,
    filter: Option<Arc<Filter>>,
    batch_size: usize,
    state: Mutex<State>,
}

struct State {
    /// The key of the last row that was read.
    after: Option<Key>,
    /// Rows that were read and not yet handed out, the next one last.
    page: Vec<StoredRow>,
    is_over: bool,
}

impl Scan {
    pub(super) fn new(
        collection: &Arc<Collection>,
        filter: Option<Arc<Filter>>,
        after: Option<Key>,
        batch_size: usize,
    ) -> Scan {
        let state = Mutex::new(State { after, page: Vec::new(), is_over: false });
        Scan { collection: Arc::clone(collection), filter, batch_size, state }
    }

    fn next(&self) -> Result<Option<StoredRow>, nearfield::Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.page.is_empty() && !state.is_over {
            let mut page = self.collection.scan(self.filter.as_deref(), state.after.as_ref(), self.batch_size)?;
            state.is_over = page.len() < self.batch_size;
            state.after = page.last().map(|row| row.key.clone());
            page.reverse();
            state.page = page;
        }
        Ok(state.page.pop())
    }
}

#[pymethods]
impl Scan {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let next = py.detach(|| self.next()).map_err(|error| raise(py, error))?;
        next.map(|found| row(py, found)).transpose()
    }
}
