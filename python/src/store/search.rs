//! A search of one collection or of several: its arguments, checked, and the way to its result.

use super::documents::json;
use super::results::{Parts, collection_result};
use crate::arguments::{Integer, count, threads_of};
use crate::array::Vectors;
use crate::call;
use crate::error::{exception, raise};
use crate::filter::{Compiled, Filter};
use nearfield::{Call, Error, Hit, RowSource, Schema, StoreSearch};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// What was handed in.
pub(super) struct SearchArguments<'a, 'py> {
    pub(super) query: &'a Bound<'py, PyAny>,
    pub(super) k: Integer,
    pub(super) filter: Option<&'a Bound<'py, PyAny>>,
    pub(super) min_score: Option<f32>,
    pub(super) exact: bool,
    pub(super) include: Option<&'a Bound<'py, PyAny>>,
    pub(super) threads: Option<Integer>,
}

/// The same, checked.
pub(super) struct Request<'py> {
    query: Vectors<'py>,
    k: usize,
    filter: Option<Arc<nearfield::Filter>>,
    min_score: Option<f32>,
    exact: bool,
    parts: Parts,
    threads: Option<NonZeroUsize>,
}

impl<'py> Request<'py> {
    pub(super) fn new(given: SearchArguments<'_, 'py>) -> PyResult<Request<'py>> {
        Ok(Request {
            k: count("k", given.k)?,
            query: Vectors::extract(given.query)?,
            filter: given.filter.map(filter).transpose()?,
            min_score: given.min_score,
            exact: given.exact,
            parts: parts(given.include)?,
            threads: threads_of(given.threads)?,
        })
    }

    /// Does the search and wraps what it finds. `name` is the collection, if there is but one.
    pub(super) fn run(
        &self,
        py: Python<'py>,
        schema: Schema,
        name: Option<&str>,
        search: impl FnOnce(&dyn RowSource, &StoreSearch<'_>, &Call<'_>) -> Result<Vec<Vec<Hit>>, Error> + Send,
    ) -> PyResult<Bound<'py, PyAny>> {
        let source = self.query.source_under(py, schema.metric, schema.dim)?;
        let wanted = StoreSearch {
            filter: self.filter.as_deref(),
            min_score: self.min_score,
            exact: self.exact,
            metadata: self.parts.metadata,
            vectors: self.parts.vectors,
            stamps: self.parts.stamps,
            ..StoreSearch::top(self.k)
        };
        let found = call::run(py, self.threads, None, |call| search(&*source, &wanted, call))?;
        collection_result(py, found, self.k, self.query.single, schema, name, self.parts)
    }

    /// The result of a search where there is nothing.
    pub(super) fn nothing(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let schema = Schema::new(1, nearfield::Metric::Cosine);
        let found = vec![Vec::new(); self.query.rows()];
        collection_result(py, found, self.k, self.query.single, schema, None, self.parts)
    }
}

/// `include=`: what hits come with.
fn parts(include: Option<&Bound<'_, PyAny>>) -> PyResult<Parts> {
    let mut parts = Parts::default();
    let Some(include) = include else { return Ok(parts) };
    let names: Vec<String> = match include.cast::<PyString>() {
        Ok(name) => vec![name.extract()?],
        Err(_) => include.try_iter()?.map(|name| name?.extract()).collect::<PyResult<_>>()?,
    };
    for name in names {
        match name.as_str() {
            "metadata" => parts.metadata = true,
            "vectors" => parts.vectors = true,
            "stamps" => parts.stamps = true,
            _ => {
                let message = format!("include may name 'metadata', 'vectors' and 'stamps', got {name:?}");
                return Err(PyValueError::new_err(message));
            }
        }
    }
    Ok(parts)
}

/// Dicts and lists within each other in a filter; what the core takes is less deep, and it names the place.
const FILTER_DEPTH: usize = 120;

/// `where=`: a filter of the core, from a dict, an expression, or a filter that was compiled before.
pub(super) fn filter(given: &Bound<'_, PyAny>) -> PyResult<Arc<nearfield::Filter>> {
    let py = given.py();
    if let Ok(filter) = given.cast::<Filter>() {
        return match &filter.get().0 {
            Compiled::Metadata(filter, _) => Ok(Arc::clone(filter)),
            Compiled::Ids(_) => {
                Err(PyValueError::new_err("this Filter was compiled for an index; call filter() on the collection"))
            }
        };
    }
    let dict = match given.cast_exact::<PyDict>() {
        Ok(dict) => dict.clone().into_any(),
        Err(_) => py.import(intern!(py, "nearfield.filters"))?.call_method1(intern!(py, "as_dict"), (given,))?,
    };
    // What is no JSON is no filter either.
    let json = json(&dict, "filter", FILTER_DEPTH)
        .map_err(|error| exception(py, "FilterError", (error.value(py).to_string(),)))?;
    nearfield::Filter::parse(&json).map(Arc::new).map_err(|error| raise(py, error))
}
