//! What a collection says about itself, changed a name at a time: the core's side of `nearfield.meta.Meta`.

use super::Collection;
use super::documents::json;
use super::values::value_to_python;
use crate::call;
use crate::error::raise;
use nearfield::{Document, Metadata};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The object of the core that this dict is.
pub(super) fn object(dict: &Bound<'_, PyAny>, what: &str) -> PyResult<Metadata> {
    match json(dict, what, Document::MAX_DEPTH)? {
        serde_json::Value::Object(object) => Ok(object),
        _ => Err(PyTypeError::new_err(format!("{what}: expected a dict, got {}", dict.get_type().name()?))),
    }
}

/// All that a collection says about itself.
#[pyfunction]
pub(crate) fn _get_meta<'py>(py: Python<'py>, collection: &Bound<'py, Collection>) -> PyResult<Bound<'py, PyDict>> {
    let inner = &collection.get().inner;
    let meta = py.detach(|| inner.meta()).map_err(|error| raise(py, error))?;
    let dict = PyDict::new(py);
    for (name, value) in &meta {
        dict.set_item(name, value_to_python(py, value)?)?;
    }
    Ok(dict)
}

/// Removes these names (None: all), then sets those in `dict`, durably and in one step.
#[pyfunction]
pub(crate) fn _change_meta(
    py: Python<'_>,
    collection: &Bound<'_, Collection>,
    remove: Option<Vec<String>>,
    dict: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let mut set = object(dict, "meta cannot be kept")?;
    let change = |meta: &mut Metadata| {
        match &remove {
            None => meta.clear(),
            Some(names) => names.iter().for_each(|name| drop(meta.remove(name))),
        }
        meta.append(&mut set);
    };
    let inner = &collection.get().inner;
    call::run(py, None, None, |call| inner.change_meta(change, call))
}
