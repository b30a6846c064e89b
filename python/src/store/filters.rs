//! `where=`: filters from dicts and expressions, and those that were used lately.
//!
//! A filter of the core remembers which rows it lets through. Whoever writes the same dict into every search means the same filter,
//! so the last few are kept, and found again by what they say.

use super::documents::json;
use crate::error::{exception, raise};
use crate::filter::{Compiled, Filter};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};

/// Dicts and lists within each other in a filter; what the core takes is less deep, and it names the place.
const FILTER_DEPTH: usize = 120;

/// Filters that are kept.
const KEPT: usize = 8;

/// The filters that were used lately, the last one last.
#[derive(Default)]
pub(super) struct Filters(Mutex<Vec<(Value, Arc<nearfield::Filter>)>>);

impl Filters {
    /// The filter that a dict, an expression or a compiled filter says.
    pub(super) fn get(&self, given: &Bound<'_, PyAny>) -> PyResult<Arc<nearfield::Filter>> {
        if let Ok(filter) = given.cast::<Filter>() {
            return match &filter.get().0 {
                Compiled::Metadata(filter, _) => Ok(Arc::clone(filter)),
                Compiled::Ids(_) => {
                    Err(PyValueError::new_err("this Filter was compiled for an index; call filter() on the collection"))
                }
            };
        }
        let json = as_json(given)?;
        if let Some(filter) = self.find(&json) {
            return Ok(filter);
        }
        let filter = Arc::new(nearfield::Filter::parse(&json).map_err(|error| raise(given.py(), error))?);
        self.keep(json, Arc::clone(&filter));
        Ok(filter)
    }

    // Whoever holds the lock runs no Python: another thread may wait for it, and has the interpreter.

    fn find(&self, json: &Value) -> Option<Arc<nearfield::Filter>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(known, _)| known == json)?;
        let found = kept.remove(place);
        let filter = Arc::clone(&found.1);
        kept.push(found);
        Some(filter)
    }

    fn keep(&self, json: Value, filter: Arc<nearfield::Filter>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push((json, filter));
        if kept.len() > KEPT {
            kept.remove(0);
        }
    }
}

/// The dictionary that it is, or that an expression is, as JSON.
fn as_json(given: &Bound<'_, PyAny>) -> PyResult<Value> {
    let py = given.py();
    let dict = match given.cast_exact::<PyDict>() {
        Ok(dict) => dict.clone().into_any(),
        Err(_) => py.import(intern!(py, "nearfield.filters"))?.call_method1(intern!(py, "as_dict"), (given,))?,
    };
    // What is no JSON is no filter either.
    json(&dict, "filter", FILTER_DEPTH).map_err(|error| exception(py, "FilterError", (error.value(py).to_string(),)))
}
