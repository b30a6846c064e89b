//! What the core found, as the classes of `nearfield.results`.

use nearfield::{Hits, Metric, RangeHits};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// A `nearfield.results.SearchResult`.
pub(super) fn search_result<'py>(
    py: Python<'py>,
    hits: Hits,
    single: bool,
    metric: Metric,
) -> PyResult<Bound<'py, PyAny>> {
    let Hits { k, mut ids, mut scores, counts } = hits;
    let queries = counts.len();
    let counts = PyArray1::from_vec(py, counts);
    // Looking for it each time would take as long as a step of the walk.
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.import(py, "nearfield.results", "SearchResult")?;
    if single {
        let found = ids.iter().position(|&id| id < 0).unwrap_or(ids.len());
        ids.truncate(found);
        scores.truncate(found);
        return class.call1((PyArray1::from_vec(py, ids), PyArray1::from_vec(py, scores), counts, metric.name()));
    }
    let ids = PyArray1::from_vec(py, ids).reshape([queries, k])?;
    let scores = PyArray1::from_vec(py, scores).reshape([queries, k])?;
    class.call1((ids, scores, counts, metric.name()))
}

/// A `nearfield.results.RangeResult`.
pub(super) fn range_result<'py>(py: Python<'py>, hits: RangeHits, metric: Metric) -> PyResult<Bound<'py, PyAny>> {
    let distances: Vec<f32> = hits.scores.iter().map(|&score| metric.distance(score)).collect();
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.import(py, "nearfield.results", "RangeResult")?;
    class.call1((
        PyArray1::from_vec(py, hits.lims),
        PyArray1::from_vec(py, hits.ids),
        PyArray1::from_vec(py, hits.scores),
        PyArray1::from_vec(py, distances),
    ))
}
