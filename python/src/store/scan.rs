//! `Collection.scan`: all rows, page by page.

use super::documents::documents;
use super::keys::key_at;
use super::results::row;
use crate::call;
use nearfield::{Call, Collection, Direction, Document, Error, Filter, Key, StoredRow};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::sync::{Arc, Mutex, PoisonError};

/// The rows of a collection, one after another: what `Collection.scan` returns.
#[pyclass(frozen, module = "nearfield._core")]
pub(crate) struct Scan {
    collection: Arc<Collection>,
    filter: Option<Arc<Filter>>,
    order: Option<(String, Direction)>,
    batch_size: usize,
    state: Mutex<State>,
}

struct State {
    /// Behind which row the next one is.
    after: Option<Start>,
    /// The keys of the rows to come, the next one last, where rows have an order of their own; `None` until somebody asks for the first.
    keys: Option<Vec<Key>>,
    /// Rows that were read and not yet handed out, the next one last.
    page: Vec<StoredRow>,
    is_over: bool,
}

/// Where a scan begins: behind a key, or behind a row that said this.
pub(super) struct Start {
    key: Key,
    said: Option<Document>,
}

impl Start {
    pub(super) fn extract(after: &Bound<'_, PyAny>) -> PyResult<Start> {
        // A Row is a tuple, and no key is one.
        let Ok(row) = after.cast::<PyTuple>() else { return Ok(Start { key: key_at(after, 0)?, said: None }) };
        let key = key_at(&row.getattr("key")?, 0)?;
        let said = documents(Some(&row.getattr("metadata")?), 1, true)?;
        Ok(Start { key, said: said.and_then(|mut said| said.pop()) })
    }
}

impl Scan {
    pub(super) fn new(
        collection: &Arc<Collection>,
        filter: Option<Arc<Filter>>,
        order_by: Option<&str>,
        after: Option<Start>,
        batch_size: usize,
    ) -> Scan {
        let order = order_by.map(|path| match path.strip_prefix('-') {
            Some(path) => (path.to_owned(), Direction::Descending),
            None => (path.to_owned(), Direction::Ascending),
        });
        let state = Mutex::new(State { after, keys: None, page: Vec::new(), is_over: false });
        Scan { collection: Arc::clone(collection), filter, order, batch_size, state }
    }

    fn next(&self, call: &Call<'_>) -> Result<Option<StoredRow>, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.page.is_empty() && !state.is_over {
            let mut page = match &self.order {
                Some((path, direction)) => self.ordered_page(&mut state, path, *direction, call)?,
                None => self.page(&mut state)?,
            };
            page.reverse();
            state.page = page;
        }
        Ok(state.page.pop())
    }

    fn page(&self, state: &mut State) -> Result<Vec<StoredRow>, Error> {
        let after = state.after.as_ref().map(|start| &start.key);
        let page = self.collection.scan(self.filter.as_deref(), after, self.batch_size)?;
        state.is_over = page.len() < self.batch_size;
        state.after = page.last().map(|row| Start { key: row.key.clone(), said: None });
        Ok(page)
    }

    /// The next rows in their order, without those that are gone; there may be none left of a page.
    fn ordered_page(
        &self,
        state: &mut State,
        path: &str,
        direction: Direction,
        call: &Call<'_>,
    ) -> Result<Vec<StoredRow>, Error> {
        let mut keys = match state.keys.take() {
            Some(keys) => keys,
            None => {
                let after = state.after.as_ref().map(|start| (&start.key, start.said.as_ref()));
                let mut keys = self.collection.ordered(self.filter.as_deref(), path, direction, after, call)?;
                keys.reverse();
                keys
            }
        };
        let mut page = keys.split_off(keys.len().saturating_sub(self.batch_size));
        page.reverse();
        state.is_over = keys.is_empty();
        state.keys = Some(keys);
        Ok(self.collection.get(&page)?.into_iter().flatten().collect())
    }
}

#[pymethods]
impl Scan {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let next = call::run(py, None, None, |call| self.next(call))?;
        next.map(|found| row(py, found)).transpose()
    }
}
