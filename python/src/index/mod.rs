//! The index classes. `Index` has what all share, over the core's trait; the others, a file each, add how they are made and
//! what only they have.

pub(crate) mod file;
mod filter;
mod flat;
mod hnsw;
mod quantized;
mod results;

pub(crate) use filter::IdFilter;
pub(crate) use flat::FlatIndex;
pub(crate) use hnsw::HnswIndex;
pub(crate) use quantized::QuantizedIndex;

use crate::arguments::{Integer, count, threads_of};
use crate::array::{Vectors, wanted};
use crate::call;
use crate::error::raise;
use crate::filter::{Compiled, Filter};
use file::{load, wrap};
use nearfield::{Codec, IndexFile, Search};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyType};
use results::{range_result, search_result};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

/// What all indexes share: rows under int64 ids.
///
/// Scores: higher is better, always (cosine similarity, dot product, negative Euclidean, Manhattan or Hamming distance). Results are
/// ordered by score descending, then id ascending. All methods may be called from any thread; searches go on while rows are written.
#[pyclass(subclass, frozen, module = "nearfield._core")]
pub(crate) struct Index {
    inner: Arc<dyn nearfield::Index>,
    codec: &'static str,
    threads: Option<NonZeroUsize>,
}

/// The codec of the rows beside the codes, if there are to be any.
fn parse_keep(keep: Option<&str>) -> PyResult<Option<Codec>> {
    match keep {
        None => Ok(None),
        Some("f32") => Ok(Some(Codec::F32)),
        Some("f16") => Ok(Some(Codec::F16)),
        Some(other) => Err(PyValueError::new_err(format!(
            "keep must be 'f32' or 'f16', or None to keep codes alone, got {other:?}"
        ))),
    }
}

/// The arguments of a search, checked.
struct Request<'py> {
    queries: Vectors<'py>,
    k: usize,
    filter: Option<Arc<IdFilter>>,
    min_score: Option<f32>,
    exact: bool,
    ef: Option<usize>,
    recall: Option<f32>,
    threads: Option<NonZeroUsize>,
}

impl Index {
    fn of(inner: Arc<dyn nearfield::Index>, threads: Option<NonZeroUsize>) -> Index {
        let codec = inner.codec().name();
        Index { inner, codec, threads }
    }

    fn threads(&self, given: Option<Integer>) -> PyResult<Option<NonZeroUsize>> {
        Ok(threads_of(given)?.or(self.threads))
    }

    /// `filter=`, compiled.
    fn compile(&self, py: Python<'_>, filter: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Arc<IdFilter>>> {
        let Some(filter) = filter else { return Ok(None) };
        if let Ok(filter) = filter.cast::<Filter>() {
            let known = match &filter.get().0 {
                Compiled::Ids(ids) if Arc::ptr_eq(&ids.index, &self.inner) => Some(Arc::clone(ids)),
                _ => None,
            };
            let other = "this Filter was compiled for another index; call filter() on this one";
            return known.map(Some).ok_or_else(|| PyValueError::new_err(other));
        }
        let wanted = wanted(filter)?;
        let filter = py.detach(|| IdFilter::new(&self.inner, wanted)).map_err(|error| raise(py, error))?;
        Ok(Some(Arc::new(filter)))
    }

    fn run_search<'py>(&self, py: Python<'py>, request: Request<'py>) -> PyResult<Bound<'py, PyAny>> {
        let source = request.queries.source(py, &*self.inner)?;
        let search = Search {
            k: request.k,
            selection: None,
            min_score: request.min_score,
            exact: request.exact,
            ef: request.ef,
            recall: request.recall,
            trace: None,
        };
        let filter = request.filter.as_deref();
        let hits = call::run(py, request.threads, None, |call| match filter {
            None => self.inner.search(&*source, &search, call),
            Some(filter) => filter
                .with(|selection| self.inner.search(&*source, &Search { selection: Some(selection), ..search }, call)),
        })?;
        search_result(py, hits, request.queries.single, self.inner.metric())
    }

    fn run_range<'py>(
        &self,
        py: Python<'py>,
        queries: &Vectors<'py>,
        radius: f64,
        filter: Option<Arc<IdFilter>>,
        threads: Option<NonZeroUsize>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let source = queries.source(py, &*self.inner)?;
        let filter = filter.as_deref();
        let hits = call::run(py, threads, None, |call| match filter {
            None => self.inner.range_search(&*source, radius, None, call),
            Some(filter) => filter.with(|selection| self.inner.range_search(&*source, radius, Some(selection), call)),
        })?;
        range_result(py, hits, self.inner.metric())
    }
}

#[pymethods]
impl Index {
    /// Values a row.
    #[getter]
    fn dim(&self) -> usize {
        self.inner.dim()
    }

    /// "cosine", "dot", "l2", "l1" or "hamming".
    #[getter]
    fn metric(&self) -> &'static str {
        self.inner.metric().name()
    }

    /// How rows are kept: "f32", "f16", "bf16", "u8", "i8" or, under "hamming", "b1"; of a `QuantizedIndex` the name of its code.
    #[getter]
    fn codec(&self) -> &'static str {
        self.codec
    }

    /// All ids, ascending: int64, shape (n,).
    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        PyArray1::from_vec(py, py.detach(|| self.inner.ids()))
    }

    /// Add rows under new ids.
    ///
    /// Parameters
    /// ----------
    /// vectors : array_like, shape (n, d) or (d,)
    ///     Anything NumPy can show as floats. C-contiguous float32 is read in place, other layouts and types are converted in
    ///     chunks. Under "hamming" bits, see `FlatIndex`.
    /// ids : array_like of int, shape (n,), optional
    ///     Ids in 0..2**63-1. None: 1 + the largest id ever used, and so on; the first is 0.
    /// progress : bool or callable, default False
    ///     True for a progress bar, or a function of rows done and rows in all.
    ///
    /// Returns
    /// -------
    /// ndarray of int64, shape (n,)
    ///     The ids of the rows.
    ///
    /// Raises
    /// ------
    /// DimensionError, NonFiniteError, DTypeError, DuplicateKeyError, CapacityError, ReadOnlyError, ValueError
    ///     And nothing has changed. ValueError also for a value that the codec cannot keep; it names row and column.
    #[pyo3(signature = (vectors, ids=None, *, progress=None), text_signature = "($self, vectors, ids=None, *, progress=False)")]
    fn add<'py>(
        &self,
        py: Python<'py>,
        vectors: &Bound<'py, PyAny>,
        ids: Option<&Bound<'py, PyAny>>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let vectors = Vectors::extract(vectors)?;
        let ids = ids.map(crate::array::ids).transpose()?;
        let report = call::reporter(progress, "add")?;
        let source = vectors.source(py, &*self.inner)?;
        let given = call::run(py, self.threads, report, |call| self.inner.add(&*source, ids.as_deref(), call))?;
        Ok(PyArray1::from_vec(py, given))
    }

    /// Put rows under these ids, replacing what is there. Idempotent; of rows with the same id the last one stays.
    ///
    /// Parameters
    /// ----------
    /// ids : array_like of int, shape (n,)
    /// vectors : array_like, shape (n, d) or (d,)
    /// progress : bool or callable, default False
    ///
    /// Returns
    /// -------
    /// int
    ///     How many distinct ids were written.
    #[pyo3(signature = (ids, vectors, *, progress=None), text_signature = "($self, ids, vectors, *, progress=False)")]
    fn upsert<'py>(
        &self,
        py: Python<'py>,
        ids: &Bound<'py, PyAny>,
        vectors: &Bound<'py, PyAny>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<usize> {
        let vectors = Vectors::extract(vectors)?;
        let ids = crate::array::ids(ids)?;
        let report = call::reporter(progress, "upsert")?;
        let source = vectors.source(py, &*self.inner)?;
        call::run(py, self.threads, report, |call| self.inner.upsert(&ids, &*source, call))
    }

    /// Remove the rows with these ids; ids that are not there are ignored.
    ///
    /// Parameters
    /// ----------
    /// ids : int or array_like of int, shape (n,)
    ///
    /// Returns
    /// -------
    /// int
    ///     How many rows there were.
    fn delete(&self, py: Python<'_>, ids: &Bound<'_, PyAny>) -> PyResult<usize> {
        let ids = crate::array::ids(ids)?;
        call::run(py, self.threads, None, |call| self.inner.delete(&ids, call))
    }

    /// The rows with these ids, as they are kept: decoded, if only their codes are.
    ///
    /// Parameters
    /// ----------
    /// ids : int or array_like of int, shape (n,)
    ///
    /// Returns
    /// -------
    /// ndarray of float32, shape (n, d); for a single int, shape (d,)
    ///
    /// Raises
    /// ------
    /// MissingKeyError
    ///     Names the first id that is not there.
    fn get<'py>(&self, py: Python<'py>, ids: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let single = !ids.hasattr(intern!(py, "__len__"))? && ids.extract::<i64>().is_ok();
        let ids = crate::array::ids(ids)?;
        let rows = py.detach(|| self.inner.get(&ids)).map_err(|error| raise(py, error))?;
        let rows = PyArray1::from_vec(py, rows);
        Ok(if single { rows.into_any() } else { rows.reshape([ids.len(), self.inner.dim()])?.into_any() })
    }

    fn __contains__(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> bool {
        // What is no id is not there.
        id.extract::<i64>().is_ok_and(|id| py.detach(|| self.inner.contains(id)))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        py.detach(|| self.inner.len())
    }

    /// The k nearest rows of each query.
    ///
    /// Parameters
    /// ----------
    /// queries : array_like, shape (d,) or (nq, d)
    /// k : int, default 10
    ///     More than there are rows is no error; 0 gives empty results.
    /// filter : array_like of int, array_like of bool, or Filter, optional
    ///     Ids that may be returned, or a mask over `ids`. Never fewer than min(k, matching) rows come back.
    /// min_score : float, optional
    ///     The smallest score that is wanted, inclusive.
    /// exact : bool, default False
    ///     Look at every row, whatever the index could do instead. An index that keeps no rows has only their codes to look at.
    /// threads : int, optional
    ///     None: those of the index.
    ///
    /// Returns
    /// -------
    /// SearchResult
    ///     ids and scores: shape (m,), m <= k, for one query; (nq, k) for several, padded with -1 and -inf.
    #[pyo3(signature = (queries, k=Integer(10), *, filter=None, min_score=None, exact=false, threads=None),
           text_signature = "($self, queries, k=10, *, filter=None, min_score=None, exact=False, threads=None)")]
    #[expect(clippy::too_many_arguments, reason = "the signature of the Python method")]
    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
        k: Integer,
        filter: Option<&Bound<'py, PyAny>>,
        min_score: Option<f32>,
        exact: bool,
        threads: Option<Integer>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let request = Request {
            k: count("k", k)?,
            queries: Vectors::extract(queries)?,
            filter: self.compile(py, filter)?,
            min_score,
            exact,
            ef: None,
            recall: None,
            threads: self.threads(threads)?,
        };
        self.run_search(py, request)
    }

    /// All rows within `radius` of each query; exact, unless only codes are kept.
    ///
    /// Parameters
    /// ----------
    /// queries : array_like, shape (d,) or (nq, d)
    /// radius : float
    ///     In units of distance (1 - cosine, -dot, Euclidean, Manhattan, differing bits), inclusive.
    /// filter : array_like of int, array_like of bool, or Filter, optional
    /// threads : int, optional
    ///
    /// Returns
    /// -------
    /// RangeResult
    ///     lims, ids, scores, distances: the rows of query i are lims[i]:lims[i + 1], best first.
    #[pyo3(signature = (queries, radius, *, filter=None, threads=None))]
    fn range_search<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
        radius: f64,
        filter: Option<&Bound<'py, PyAny>>,
        threads: Option<Integer>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let queries = Vectors::extract(queries)?;
        let filter = self.compile(py, filter)?;
        self.run_range(py, &queries, radius, filter, self.threads(threads)?)
    }

    /// scikit-learn's order of things: distances first, then ids.
    ///
    /// Parameters
    /// ----------
    /// X : array_like, shape (nq, d) or (d,)
    /// n_neighbors : int, default 10
    /// return_distance : bool, default True
    ///
    /// Returns
    /// -------
    /// distances : ndarray of float32, shape (nq, n_neighbors)
    ///     Only if return_distance.
    /// ids : ndarray of int64, shape (nq, n_neighbors)
    #[pyo3(signature = (X, n_neighbors=Integer(10), return_distance=true), text_signature = "($self, X, n_neighbors=10, return_distance=True)")]
    #[expect(non_snake_case, reason = "scikit-learn calls it X")]
    fn kneighbors<'py>(
        slf: &Bound<'py, Self>,
        X: &Bound<'py, PyAny>,
        n_neighbors: Integer,
        return_distance: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let result = slf.call_method1(intern!(slf.py(), "search"), (X, n_neighbors.0))?;
        let ids = result.getattr("ids")?;
        if !return_distance {
            return Ok(ids);
        }
        Ok((result.getattr("distances")?, ids).into_pyobject(slf.py())?.into_any())
    }

    /// Compile ids or a mask once, to be used in many searches.
    ///
    /// Parameters
    /// ----------
    /// ids_or_mask : array_like of int or of bool
    ///     Ids, or a mask over `ids`. Kept by id: after changes it is compiled again by itself.
    ///
    /// Returns
    /// -------
    /// Filter
    fn filter(&self, py: Python<'_>, ids_or_mask: &Bound<'_, PyAny>) -> PyResult<Filter> {
        let filter = self.compile(py, Some(ids_or_mask))?;
        filter.map(|ids| Filter(Compiled::Ids(ids))).ok_or_else(|| PyTypeError::new_err("expected ids or a mask"))
    }

    /// Give the memory of deleted rows back and bring what is left into order. Searches go on meanwhile.
    ///
    /// Where nothing was deleted there is nothing to do, except for an HnswIndex of 65,536 rows or more that came a few at a time: it is built anew, in
    /// the order in which it is searched fastest.
    ///
    /// Parameters
    /// ----------
    /// progress : bool or callable, default False
    #[pyo3(signature = (*, progress=None), text_signature = "($self, *, progress=False)")]
    fn optimize(&self, py: Python<'_>, progress: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let report = call::reporter(progress, "optimize")?;
        call::run(py, self.threads, report, |call| self.inner.optimize(call))
    }

    /// Numbers about the index.
    ///
    /// Returns
    /// -------
    /// dict
    ///     kind, dim, metric, codec.
    ///     rows; dead: deleted rows whose memory has not been given back yet.
    ///     bytes: of rows, codes, ids and all else; bytes_per_vector: the same over the rows.
    ///     code_bytes: of the codes beside or instead of the rows. graph_bytes, layers, pending (rows that are not linked yet): of a graph.
    ///     queries: how many were answered through codes; reranked: the rows that were looked at closely for them, after their
    ///     codes had let them pass. Both since the index was made, loaded or copied; reranked / queries tells how sharp the codes are.
    ///     mapped: whether the rows lie in a mapped file. simd: the instruction set in use.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = py.detach(|| self.inner.stats());
        let dict = PyDict::new(py);
        dict.set_item("kind", stats.kind)?;
        dict.set_item("dim", self.inner.dim())?;
        dict.set_item("metric", self.metric())?;
        dict.set_item("codec", self.codec())?;
        dict.set_item("rows", stats.rows)?;
        dict.set_item("dead", stats.dead)?;
        dict.set_item("bytes", stats.bytes)?;
        dict.set_item("bytes_per_vector", stats.bytes as f64 / stats.rows.max(1) as f64)?;
        dict.set_item("code_bytes", stats.code_bytes)?;
        dict.set_item("graph_bytes", stats.graph_bytes)?;
        dict.set_item("layers", stats.layers)?;
        dict.set_item("pending", stats.pending)?;
        dict.set_item("queries", stats.queries)?;
        dict.set_item("reranked", stats.reranked)?;
        dict.set_item("mapped", stats.mapped)?;
        dict.set_item("simd", nearfield::simd_level())?;
        Ok(dict)
    }

    /// Write the index to a file: whole or not at all, and durable when this returns.
    ///
    /// Parameters
    /// ----------
    /// path : str or path-like
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.inner.save(&path)).map_err(|error| raise(py, error))
    }

    /// Load an index of this class; see `nearfield.load`.
    #[classmethod]
    #[pyo3(signature = (path, *, mmap=false))]
    fn load<'py>(cls: &Bound<'py, PyType>, path: PathBuf, mmap: bool) -> PyResult<Bound<'py, PyAny>> {
        let index = load(cls.py(), path, mmap)?;
        if index.is_instance(cls)? {
            return Ok(index);
        }
        let message = format!("the file holds {}, not {}; use nearfield.load", index.get_type().name()?, cls.name()?);
        Err(PyValueError::new_err(message))
    }

    /// An index of its own with the same rows, in memory; of a mapped index, one that can change.
    fn copy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let copy = py.detach(|| self.inner.copy()).map_err(|error| raise(py, error))?;
        wrap(py, copy, self.threads)
    }

    /// Pickles as the bytes of the file that `save` would write.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        let py = slf.py();
        let inner = &slf.get().inner;
        let bytes = py.detach(|| inner.to_bytes()).map_err(|error| raise(py, error))?;
        let unpickle = py.get_type::<Index>().getattr("_from_bytes")?;
        Ok((unpickle, (PyBytes::new(py, &bytes),)))
    }

    #[staticmethod]
    fn _from_bytes<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        let bytes = bytes.to_vec();
        let file = py.detach(|| IndexFile::from_bytes(bytes)).map_err(|error| raise(py, error))?;
        wrap(py, file, None)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let name = slf.get_type().name()?;
        let inner = &slf.get().inner;
        let rows = slf.py().detach(|| inner.len());
        Ok(format!("{name}(dim={}, metric={:?}, rows={rows})", inner.dim(), inner.metric().name()))
    }

    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let stats = slf.get().stats(slf.py())?;
        stats.set_item("class", slf.get_type().name()?)?;
        slf.py().import("nearfield.display")?.call_method1("index_html", (stats,))
    }
}
