//! Filters that are compiled once and follow the index through its changes.

use crate::array::Wanted;
use nearfield::{Error, Selection};
use std::sync::{Arc, Mutex};

/// Rows of an index, by id. When the index has changed it is compiled again, by itself, for the rows that are there then.
pub(crate) struct IdFilter {
    pub(super) index: Arc<dyn nearfield::Index>,
    ids: Vec<i64>,
    compiled: Mutex<Arc<Selection>>,
}

impl IdFilter {
    pub(super) fn new(index: &Arc<dyn nearfield::Index>, wanted: Wanted) -> Result<IdFilter, Error> {
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
        Ok(IdFilter { index: Arc::clone(index), ids, compiled })
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

    /// How many rows match now.
    pub(crate) fn count(&self) -> usize {
        self.recompile();
        self.last_count()
    }

    /// How many rows matched when it was last used.
    pub(crate) fn last_count(&self) -> usize {
        self.current().count()
    }
}
