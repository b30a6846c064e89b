//! A search of one collection or of several: its arguments, checked, and the way to its result.

use super::filters::Filters;
use super::keys::key_at;
use super::results::{Parts, Shape, collection_result};
use crate::arguments::{Integer, count, threads_of};
use crate::array::Vectors;
use crate::call;
use nearfield::{Call, Error, Explanation, Grouping, Hit, Place, RowSource, Schema, StoreSearch};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// What was handed in.
pub(super) struct SearchArguments<'a, 'py> {
    pub(super) query: &'a Bound<'py, PyAny>,
    pub(super) k: Integer,
    pub(super) filter: Option<&'a Bound<'py, PyAny>>,
    pub(super) min_score: Option<f32>,
    pub(super) exact: bool,
    pub(super) beam: (Option<Integer>, Option<f32>),
    pub(super) include: Option<&'a Bound<'py, PyAny>>,
    pub(super) ranking: RankingArguments<'a, 'py>,
    pub(super) explain: bool,
    pub(super) threads: Option<Integer>,
}

/// Of these: what goes beyond the best rows.
pub(super) struct RankingArguments<'a, 'py> {
    pub(super) group_by: Option<String>,
    pub(super) group_size: Integer,
    pub(super) diversity: Option<f32>,
    pub(super) after: Option<&'a Bound<'py, PyAny>>,
}

/// The same, checked.
pub(super) struct Request<'py> {
    query: Vectors<'py>,
    k: usize,
    filter: Option<Arc<nearfield::Filter>>,
    min_score: Option<f32>,
    exact: bool,
    /// Its width, or the recall that it is to have.
    beam: (Option<usize>, Option<f32>),
    parts: Parts,
    group_by: Option<Grouping>,
    diversity: Option<f32>,
    after: Option<Place>,
    explain: bool,
    threads: Option<NonZeroUsize>,
}

impl<'py> Request<'py> {
    pub(super) fn new(given: SearchArguments<'_, 'py>, filters: &Filters) -> PyResult<Request<'py>> {
        Ok(Request {
            k: count("k", given.k)?,
            query: Vectors::extract(given.query)?,
            filter: given.filter.map(|filter| filters.get(filter)).transpose()?,
            min_score: given.min_score,
            exact: given.exact,
            beam: (given.beam.0.map(|ef| count("ef", ef)).transpose()?, given.beam.1),
            parts: parts(given.include)?,
            group_by: grouping(given.ranking.group_by, given.ranking.group_size)?,
            diversity: given.ranking.diversity,
            after: given.ranking.after.map(place).transpose()?,
            explain: given.explain,
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
        let explanation = Explanation::default();
        let wanted = StoreSearch {
            filter: self.filter.as_deref(),
            min_score: self.min_score,
            exact: self.exact,
            ef: self.beam.0,
            recall: self.beam.1,
            metadata: self.parts.metadata,
            vectors: self.parts.vectors,
            stamps: self.parts.stamps,
            after: self.after.as_ref(),
            group_by: self.group_by.as_ref(),
            diversity: self.diversity,
            explain: self.explain.then_some(&explanation),
            ..StoreSearch::top(self.k)
        };
        let found = call::run(py, self.threads, None, |call| search(&*source, &wanted, call))?;
        collection_result(py, found, self.shape(), schema, name, self.parts, self.explain.then(|| explanation.plans()))
    }

    fn shape(&self) -> Shape {
        let size = self.group_by.as_ref().map_or(1, |grouping| grouping.size);
        Shape { single: self.query.single, width: self.k.saturating_mul(size), grouped: self.group_by.is_some() }
    }

    /// The result of a search where there is nothing.
    pub(super) fn nothing(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let schema = Schema::new(1, nearfield::Metric::Cosine);
        let found = vec![Vec::new(); self.query.rows()];
        collection_result(py, found, self.shape(), schema, None, self.parts, self.explain.then(Vec::new))
    }
}

/// `group_by=` and `group_size=`.
fn grouping(path: Option<String>, size: Integer) -> PyResult<Option<Grouping>> {
    let size = count("group_size", size)?;
    Ok(path.map(|path| Grouping { path, size }))
}

/// `after=`: the place of a hit, or of the last one of a page.
fn place(after: &Bound<'_, PyAny>) -> PyResult<Place> {
    let py = after.py();
    let place = py.import(intern!(py, "nearfield.hits"))?.call_method1(intern!(py, "place_of"), (after,))?;
    let (score, collection, key): (f32, String, Bound<'_, PyAny>) = place.extract()?;
    Ok(Place { score, collection, key: key_at(&key, 0)? })
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
