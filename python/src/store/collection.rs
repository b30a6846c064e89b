//! The class `Collection`.

use super::documents::rows_of;
use super::filters::Filters;
use super::incoming::Incoming;
use super::keys::{self, Keys, key_at};
use super::meta::{_change_meta, object};
use super::results::row;
use super::scan::{Scan, Start};
use super::search::{RankingArguments, Request, SearchArguments};
use crate::arguments::{Integer, count, parse_name};
use crate::call;
use crate::error::raise;
use crate::filter::{Compiled, Filter};
use nearfield::{Error, Metadata, OnConflict};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::sync::Arc;

/// Rows under keys, with metadata: made by `Store.create_collection`, found by `Store.collection`.
///
/// A key is a str, bytes or int of 64 bits; they are typed (1, "1" and b"1" are three keys) and ordered int < bytes < str. Metadata is a
/// dict of JSON values. Every method may be called from any thread; searches go on while rows are written.
#[pyclass(frozen, module = "nearfield._core")]
pub(crate) struct Collection {
    pub(super) inner: Arc<nearfield::Collection>,
    filters: Filters,
}

impl Collection {
    pub(super) fn new(inner: nearfield::Collection) -> Collection {
        Collection { inner: Arc::new(inner), filters: Filters::default() }
    }
}

#[pymethods]
impl Collection {
    /// What it is called.
    #[getter]
    fn name(&self) -> &str {
        self.inner.name()
    }

    /// Values a vector.
    #[getter]
    fn dim(&self) -> usize {
        self.inner.schema().dim
    }

    /// "cosine", "dot", "l2", "l1" or "hamming".
    #[getter]
    fn metric(&self) -> &'static str {
        self.inner.schema().metric.name()
    }

    /// How vectors are kept: "f32", "f16", "bf16", "u8" or "b1".
    #[getter]
    fn codec(&self) -> &'static str {
        self.inner.schema().codec.name()
    }

    /// How it is searched: "flat".
    #[getter]
    fn index(&self) -> &'static str {
        self.inner.schema().index.name()
    }

    /// What the collection says about itself: a mapping of str to JSON values, each change durable by itself. It may be set as a whole.
    #[getter]
    fn meta<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("nearfield.meta")?.call_method1("Meta", (slf,))
    }

    #[setter]
    fn set_meta(slf: &Bound<'_, Self>, meta: &Bound<'_, PyAny>) -> PyResult<()> {
        let dict = PyDict::new(slf.py());
        dict.call_method1("update", (meta,))?;
        _change_meta(slf.py(), slf, None, &dict)
    }

    /// Put rows under these keys, replacing what is there.
    ///
    /// Idempotent: `created_at` stays as it was, `updated_at` becomes now; of rows with the same key the last one stays. All or nothing,
    /// also across a crash.
    ///
    /// Parameters
    /// ----------
    /// keys : sequence of str, bytes or int, length n
    ///     A list, an array of whole numbers or strings, a column of a data frame; or one key, with one vector and its dict.
    /// vectors : array_like, shape (n, d) or (d,)
    ///     Anything NumPy can show as floats, see `Index.add`.
    /// metadata : sequence of dict, or columns, optional
    ///     One dict of JSON values for each row (None: an empty one). Or columns: a dict of lists or arrays, a pandas or polars
    ///     data frame, an Arrow table; what is missing there is null. None: all are empty.
    /// progress : bool or callable, default False
    ///     True for a progress bar, or a function of rows done and rows in all.
    ///
    /// Returns
    /// -------
    /// int
    ///     How many distinct keys were written.
    ///
    /// Raises
    /// ------
    /// DimensionError, NonFiniteError, DTypeError, ValueError, CapacityError, ReadOnlyError, NoSpaceError
    ///     And nothing has changed. ValueError for a key that is empty or longer than 64 KiB, for metadata that are no JSON (NaN!), more
    ///     than 64 deep or 16 MiB large; it names the place.
    #[pyo3(signature = (keys, vectors, metadata=None, *, progress=None),
           text_signature = "($self, keys, vectors, metadata=None, *, progress=False)")]
    fn upsert(
        &self,
        py: Python<'_>,
        keys: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        metadata: Option<&Bound<'_, PyAny>>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        Incoming { keys, vectors, metadata, progress }.put(py, &self.inner, OnConflict::Replace)
    }

    /// Put rows under keys that are new.
    ///
    /// Parameters
    /// ----------
    /// keys, vectors, metadata
    ///     As in `upsert`.
    /// on_conflict : {"error", "skip"}, default "error"
    ///     A key that is there already, or is given twice: refuse all rows, or pass over this one.
    ///
    /// Returns
    /// -------
    /// int
    ///     How many rows were written.
    ///
    /// Raises
    /// ------
    /// DuplicateKeyError
    ///     Names the key; nothing has changed.
    #[pyo3(signature = (keys, vectors, metadata=None, *, on_conflict="error"))]
    fn insert(
        &self,
        py: Python<'_>,
        keys: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        metadata: Option<&Bound<'_, PyAny>>,
        on_conflict: &str,
    ) -> PyResult<usize> {
        let skip = parse_name("on_conflict", on_conflict, &["error", "skip"])? == "skip";
        let conflict = if skip { OnConflict::Skip } else { OnConflict::Error };
        Incoming { keys, vectors, metadata, progress: None }.put(py, &self.inner, conflict)
    }

    /// Change what rows say, and leave their vectors alone.
    ///
    /// Parameters
    /// ----------
    /// keys : sequence of str, bytes or int, or one key
    ///     Those that are not there are passed over.
    /// patch : dict, or sequence of dict
    ///     Names to set: the same for all rows, or a dict for each. None as a value is null; nothing is removed.
    /// replace : bool, default False
    ///     Remove all names that the patch does not have.
    ///
    /// Returns
    /// -------
    /// int
    ///     How many rows there were.
    #[pyo3(signature = (keys, patch, *, replace=false))]
    fn set_metadata(
        &self,
        py: Python<'_>,
        keys: &Bound<'_, PyAny>,
        patch: &Bound<'_, PyAny>,
        replace: bool,
    ) -> PyResult<usize> {
        let Keys { keys, .. } = Keys::extract(keys)?;
        let patches: Vec<Metadata> = if patch.is_instance_of::<PyDict>() {
            vec![object(patch, "the patch cannot be kept")?]
        } else {
            let list = rows_of(patch, keys.len())?;
            if list.len() != keys.len() {
                let message = format!("expected one patch, or one per key: {} keys, got {}", keys.len(), list.len());
                return Err(PyValueError::new_err(message));
            }
            let place = |i: usize| format!("the patch at position {i} cannot be kept");
            list.iter().enumerate().map(|(i, patch)| object(&patch, &place(i))).collect::<PyResult<_>>()?
        };
        if keys.is_empty() {
            return Ok(0);
        }
        call::run(py, None, None, |call| self.inner.set_metadata(&keys, &patches, replace, call))
    }

    /// Rows by key.
    ///
    /// Parameters
    /// ----------
    /// key : str, bytes or int, or a sequence of them
    ///
    /// Returns
    /// -------
    /// Row or None; for a sequence a list of them, in order
    ///     A Row is a named tuple: key, vector (ndarray of float32, shape (d,), as it is kept), metadata (dict), created_at and
    ///     updated_at (milliseconds since 1970). None: there is no such row.
    fn get<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let Keys { keys, single } = Keys::extract(key)?;
        let found = py.detach(|| self.inner.get(&keys)).map_err(|error| raise(py, error))?;
        let mut rows = Vec::with_capacity(found.len());
        for stored in found {
            rows.push(stored.map_or_else(|| Ok(py.None().into_bound(py)), |stored| row(py, stored))?);
        }
        if single { Ok(rows.remove(0)) } else { Ok(PyList::new(py, rows)?.into_any()) }
    }

    /// Remove rows, by key or by what they say.
    ///
    /// Parameters
    /// ----------
    /// keys : str, bytes or int, or a sequence of them, optional
    ///     Those that are not there are passed over.
    /// where : dict, Expr or Filter, optional
    ///     Instead of keys: remove the rows that it lets through.
    ///
    /// Returns
    /// -------
    /// int
    ///     How many rows there were.
    #[pyo3(signature = (keys=None, *, r#where=None), text_signature = "($self, keys=None, *, where=None)")]
    fn delete(
        &self,
        py: Python<'_>,
        keys: Option<&Bound<'_, PyAny>>,
        r#where: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        match (keys, r#where) {
            (Some(keys), None) => {
                let Keys { keys, .. } = Keys::extract(keys)?;
                call::run(py, None, None, |call| self.inner.delete(&keys, call))
            }
            (None, Some(given)) => {
                let filter = self.filters.get(given)?;
                call::run(py, None, None, |call| self.inner.delete_where(&filter, call))
            }
            _ => Err(PyTypeError::new_err("expected keys or where=, and not both; where={} names every row")),
        }
    }

    fn __contains__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        // What is no key is not there.
        let Ok(key) = key_at(key, 0) else { return Ok(false) };
        py.detach(|| self.inner.contains(&key)).map_err(|error| raise(py, error))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        py.detach(|| self.inner.len()).map_err(|error| raise(py, error))
    }

    /// The k nearest rows of each query.
    ///
    /// Parameters
    /// ----------
    /// query : array_like, shape (d,) or (nq, d)
    /// k : int, default 10
    ///     More than there are rows is no error; 0 gives empty results.
    /// where : dict, Expr or Filter, optional
    ///     Which rows may be found. Looked at inside the search: never fewer than min(k, matching) rows come back. What is used more than
    ///     once is worth compiling, see `filter`.
    /// min_score : float, optional
    ///     The smallest score that is wanted, inclusive.
    /// ef, recall : int and float, optional
    ///     How wide the beam is, or what it is to find; see `HnswIndex.search`. Not both.
    /// exact : bool, default False
    ///     Look at every row, whatever the index could do instead.
    /// include : iterable of {"metadata", "vectors", "stamps"}, default ()
    ///     What hits come with, beside key, score and distance.
    /// group_by : str, optional
    ///     Put rows into groups by what stands at this path (`"a.b"`): `k` is then the number of groups, and hits are the best
    ///     `group_size` rows of each, best first. Rows in which the path leads nowhere are left out. `result.groups` says which group
    ///     each hit is of.
    /// group_size : int, default 1
    /// diversity : float, optional
    ///     From 0 to 1: how much hits should differ from each other. Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998) with a
    ///     lambda of 1 - diversity, among the best 5 k rows, or 50; hits come in the order in which they were chosen.
    /// after : Hit or CollectionResult, optional
    ///     Only rows that rank behind this hit, or behind the last one of this result: the next page.
    /// explain : bool, default False
    ///     Write down how the search was answered: `result.plan`.
    /// threads : int, optional
    ///     None: all cores.
    ///
    /// Returns
    /// -------
    /// CollectionResult
    ///     Best first: by score, and by key among equal scores.
    ///
    /// Raises
    /// ------
    /// DimensionError, NonFiniteError, DTypeError, FilterError, ValueError
    #[pyo3(signature = (query, k=Integer(10), *, r#where=None, min_score=None, ef=None, recall=None, exact=false, include=None, group_by=None, group_size=Integer(1), diversity=None, after=None, explain=false, threads=None),
           text_signature = "($self, query, k=10, *, where=None, min_score=None, ef=None, recall=None, exact=False, include=(), group_by=None, group_size=1, diversity=None, after=None, explain=False, threads=None)")]
    #[expect(clippy::too_many_arguments, reason = "the signature of the Python method")]
    fn search<'py>(
        &self,
        py: Python<'py>,
        query: &Bound<'py, PyAny>,
        k: Integer,
        r#where: Option<&Bound<'py, PyAny>>,
        min_score: Option<f32>,
        ef: Option<Integer>,
        recall: Option<f32>,
        exact: bool,
        include: Option<&Bound<'py, PyAny>>,
        group_by: Option<String>,
        group_size: Integer,
        diversity: Option<f32>,
        after: Option<&Bound<'py, PyAny>>,
        explain: bool,
        threads: Option<Integer>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let beam = (ef, recall);
        let ranking = RankingArguments { group_by, group_size, diversity, after };
        let given =
            SearchArguments { query, k, filter: r#where, min_score, exact, beam, include, ranking, explain, threads };
        let request = Request::new(given, &self.filters)?;
        let inner = &self.inner;
        request.run(py, inner.schema(), Some(inner.name()), |source, search, call| inner.search(source, search, call))
    }

    /// All rows, one after another, in the order of their keys or of what they say.
    ///
    /// Parameters
    /// ----------
    /// where : dict, Expr or Filter, optional
    ///     Only the rows that it lets through.
    /// order_by : str, optional
    ///     A path (`"a.b"`): rows come in the order of what stands there, `"-a.b"` the largest first. First null, False and True, then
    ///     numbers, then text; rows in which the path leads nowhere come last. Among equals the order is that of keys. None: keys alone.
    /// after : str, bytes, int or Row, optional
    ///     Begin behind this key, or row. Without `order_by` it need not be there; with it, a key must be, and a row need not.
    /// batch_size : int, default 1000
    ///     Rows that are read at a time. Each batch is of one state; what is written between two of them may be seen or not. With
    ///     `order_by` the order is that of the moment when the first row is asked for, and each row comes once at most.
    ///
    /// Returns
    /// -------
    /// iterator of Row
    #[pyo3(signature = (r#where=None, *, order_by=None, after=None, batch_size=Integer(1000)),
           text_signature = "($self, where=None, *, order_by=None, after=None, batch_size=1000)")]
    fn scan(
        &self,
        r#where: Option<&Bound<'_, PyAny>>,
        order_by: Option<&str>,
        after: Option<&Bound<'_, PyAny>>,
        batch_size: Integer,
    ) -> PyResult<Scan> {
        let batch_size = count("batch_size", batch_size)?;
        if batch_size == 0 {
            return Err(PyValueError::new_err("batch_size must be at least 1, got 0"));
        }
        let after = after.map(Start::extract).transpose()?;
        let filter = r#where.map(|filter| self.filters.get(filter)).transpose()?;
        Ok(Scan::new(&self.inner, filter, order_by, after, batch_size))
    }

    /// How many rows there are.
    ///
    /// Parameters
    /// ----------
    /// where : dict, Expr or Filter, optional
    ///     Only the rows that it lets through.
    ///
    /// Returns
    /// -------
    /// int
    #[pyo3(signature = (r#where=None), text_signature = "($self, where=None)")]
    fn count(&self, py: Python<'_>, r#where: Option<&Bound<'_, PyAny>>) -> PyResult<usize> {
        let filter = r#where.map(|filter| self.filters.get(filter)).transpose()?;
        call::run(py, None, None, |call| match &filter {
            Some(filter) => self.inner.count(filter, call),
            None => self.inner.len(),
        })
    }

    /// Compile a filter once, to be used in many searches.
    ///
    /// Parameters
    /// ----------
    /// where : dict, Expr or Filter
    ///
    /// Returns
    /// -------
    /// Filter
    ///     It remembers which rows it lets through until the collection changes, and finds out again by itself. `len(filter)` counts them.
    ///
    /// Raises
    /// ------
    /// FilterError
    ///     Names the path inside the filter.
    #[pyo3(signature = (r#where), text_signature = "($self, where)")]
    fn filter(&self, r#where: &Bound<'_, PyAny>) -> PyResult<Filter> {
        Ok(Filter(Compiled::Metadata(self.filters.get(r#where)?, Arc::clone(&self.inner))))
    }

    /// Give the memory of deleted rows back and bring what is left into order. Searches go on meanwhile.
    ///
    /// Parameters
    /// ----------
    /// progress : bool or callable, default False
    #[pyo3(signature = (*, progress=None), text_signature = "($self, *, progress=False)")]
    fn optimize(&self, py: Python<'_>, progress: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let report = call::reporter(progress, "optimize")?;
        call::run(py, None, report, |call| self.inner.optimize(call))
    }

    /// Numbers about the collection.
    ///
    /// Returns
    /// -------
    /// dict
    ///     name, dim, metric, codec, index.
    ///     rows: those that can be found. dead_rows: deleted or replaced, and still taking room on the disk.
    ///     logged_rows: in a log only. segments: files of rows. unlinked_rows: not in the graph
    ///     yet, or of a flat collection without codes yet, and looked at one by one. saved_rows: under the graph that is in a file, and need not be
    ///     linked again at opening. graph_damage: what was wrong with that file when the store was opened,
    ///     if it had to be done without; None otherwise. memory_bytes: of all of it, about.
    pub(super) fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = py.detach(|| self.inner.stats()).map_err(|error| raise(py, error))?;
        let dict = PyDict::new(py);
        dict.set_item("name", self.name())?;
        dict.set_item("dim", self.dim())?;
        dict.set_item("metric", self.metric())?;
        dict.set_item("codec", self.codec())?;
        dict.set_item("index", self.index())?;
        dict.set_item("rows", stats.rows)?;
        dict.set_item("dead_rows", stats.dead_rows)?;
        dict.set_item("logged_rows", stats.logged_rows)?;
        dict.set_item("segments", stats.segments)?;
        dict.set_item("unlinked_rows", stats.unlinked_rows)?;
        dict.set_item("saved_rows", stats.saved_rows)?;
        dict.set_item("graph_damage", stats.graph_damage)?;
        dict.set_item("memory_bytes", stats.memory_bytes)?;
        Ok(dict)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let name = self.name();
        match py.detach(|| self.inner.len()) {
            Ok(rows) => format!("Collection({name:?}, dim={}, metric={:?}, rows={rows})", self.dim(), self.metric()),
            Err(Error::Closed) => format!("Collection({name:?}, closed)"),
            Err(_) => format!("Collection({name:?}, dropped)"),
        }
    }

    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let stats = slf.get().stats(py)?;
        let inner = &slf.get().inner;
        let first = py.detach(|| inner.scan(None, None, 5)).map_err(|error| raise(py, error))?;
        let rows = PyList::empty(py);
        for stored in first {
            let metadata = super::values::to_python(py, stored.metadata.bytes())?;
            rows.append((keys::to_python(py, &stored.key), metadata))?;
        }
        py.import("nearfield.display")?.call_method1("collection_html", (stats, rows))
    }
}
