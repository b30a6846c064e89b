//! What the core found, as the classes of `nearfield.results`.

use nearfield::{Hits, Metric, RangeHits};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};

/// A `nearfield.results.SearchResult`.
pub(super) fn search_result<'py>(
    py: Python<'py>,
    hits: Hits,
    single: bool,
    metric: Metric,
) -> PyResult<Bound<'py, PyAny>> {
    let Hits { k, ids, scores, counts } = hits;
    // Looking for either each time would take as long as a step of the walk.
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let (class, metric) = (CLASS.import(py, "nearfield.results", "SearchResult")?, PyString::intern(py, metric.name()));
    if single {
        let found = counts.first().map_or(0, |&found| found as usize);
        // Few values are copied sooner than an object is made that owns them.
        let (ids, scores) = (PyArray1::from_slice(py, &ids[..found]), PyArray1::from_slice(py, &scores[..found]));
        return class.call1((ids, scores, metric));
    }
    let ids = PyArray1::from_vec(py, ids).reshape([counts.len(), k])?;
    let scores = PyArray1::from_vec(py, scores).reshape([counts.len(), k])?;
    class.call1((ids, scores, metric))
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
