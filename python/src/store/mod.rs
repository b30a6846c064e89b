//! The store: `open`, `Store` and `Collection`, a file each for what they take and give.

mod collection;
mod documents;
mod filters;
mod incoming;
mod keys;
mod meta;
mod results;
mod scan;
mod search;
mod values;

pub(crate) use collection::Collection;
pub(crate) use meta::{_change_meta, _get_meta};
pub(crate) use scan::Scan;
pub(crate) use values::_decode;

use crate::arguments::{Integer, count, parse_codec, parse_metric, parse_name};
use crate::call;
use crate::error::raise;
use filters::Filters;
use nearfield::{Codec, GraphCodec, HnswParameters, IndexKind, Metric, Mode, Schema, StoreOptions, SyncMode};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use search::{RankingArguments, Request, SearchArguments};
use std::path::PathBuf;

/// Open a store: named collections of vectors with keys and metadata, in one directory.
///
/// One process writes, any number of others read. A batch that was acknowledged survives a killed process and a power cut; one that was
/// not is there as a whole or not at all.
///
/// Parameters
/// ----------
/// path : str or path-like
///     The directory; made if it does not exist. ":memory:" keeps everything in memory, behind the same interface.
/// mode : {"rw", "r"}, default "rw"
///     "r": read only. Takes no lock and writes not a byte, so any number of processes may, beside one that writes; they see its
///     changes when they call `refresh`.
/// create : bool, default True
///     Make a store where there is none.
/// sync : {"batch", "flush"}, default "batch"
///     When a batch is durable: when the call that writes it returns, or after `flush` or `close`. With "flush" a power cut may take
///     the last batches, each as a whole; a killed process loses nothing.
/// auto_compact : float or None, default 0.5
///     Write a file of rows again once more than this part of it is deleted. None: only `compact` does.
/// max_bytes : int, optional
///     Refuse what would make the collections take more memory than this (CapacityError).
/// verify : bool, default False
///     Compare every byte of the files with rows with its checksum now, which takes as long as reading them. If the newest are damaged and
///     the files before them lead to the same rows, these are used. Otherwise each block is compared when it is first looked at.
///
/// Returns
/// -------
/// Store
///     A context manager: `with nf.open(path) as store` closes it.
///
/// Raises
/// ------
/// LockedError
///     Another writer has it open; `pid` says which process.
/// CorruptionError
///     The files are not what was written; names file and block.
/// FormatVersionError
///     Written by a version with another format.
/// OSError
///     The directory holds something else, or cannot be read or written.
#[pyfunction]
#[pyo3(signature = (path, mode="rw", *, create=true, sync="batch", auto_compact=Some(0.5), max_bytes=None, verify=false),
       text_signature = "(path, mode='rw', *, create=True, sync='batch', auto_compact=0.5, max_bytes=None, verify=False)")]
#[expect(clippy::too_many_arguments, reason = "the signature of the Python function")]
pub(crate) fn open(
    py: Python<'_>,
    path: PathBuf,
    mode: &str,
    create: bool,
    sync: &str,
    auto_compact: Option<f64>,
    max_bytes: Option<u64>,
    verify: bool,
) -> PyResult<Store> {
    let mode = if parse_name("mode", mode, &["rw", "r"])? == "r" { Mode::Read } else { Mode::ReadWrite };
    let sync =
        if parse_name("sync", sync, &["batch", "flush"])? == "batch" { SyncMode::Batch } else { SyncMode::Flush };
    let options = StoreOptions { mode, create, sync, auto_compact, max_bytes, verify };
    let in_memory = path.to_str() == Some(MEMORY);
    if in_memory && mode == Mode::Read {
        return Err(PyValueError::new_err("a store in memory is always new: mode must be 'rw'"));
    }
    let opened = py.detach(|| match in_memory {
        true => Ok(nearfield::Store::in_memory(options)),
        false => nearfield::Store::open(&path, options),
    });
    Ok(Store { inner: opened.map_err(|error| raise(py, error))?, path, mode, filters: Filters::default() })
}

/// What only a collection with a graph takes.
struct GraphOptions {
    m: Option<Integer>,
    ef_construction: Option<Integer>,
    seed: Option<u64>,
    expected_size: Option<Integer>,
}

impl GraphOptions {
    fn parameters(self, metric: Metric) -> PyResult<HnswParameters> {
        let size = self.expected_size.map_or(Ok(0), |size| count("expected_size", size))?;
        let mut parameters = HnswParameters::for_size(size, metric, GraphCodec::Auto);
        parameters.seed = self.seed.unwrap_or(parameters.seed);
        parameters.m = self.m.map_or(Ok(parameters.m), |m| count("m", m))?;
        if let Some(ef_construction) = self.ef_construction {
            parameters.ef_construction = count("ef_construction", ef_construction)?;
        }
        Ok(parameters)
    }

    fn refuse(&self) -> PyResult<()> {
        let counts = [self.m, self.ef_construction, self.expected_size];
        if counts.iter().all(Option::is_none) && self.seed.is_none() {
            return Ok(());
        }
        Err(PyValueError::new_err("m, ef_construction, seed and expected_size go with index='hnsw' only"))
    }
}

/// The path of a store that is nowhere else.
const MEMORY: &str = ":memory:";

/// Named collections in one directory, or in memory; `nearfield.open` opens one.
///
/// All methods may be called from any thread; searches go on while rows are written. A call that fails has changed nothing. In a
/// process that was forked off a store is read-only: open it anew there.
#[pyclass(frozen, module = "nearfield._core")]
pub(crate) struct Store {
    inner: nearfield::Store,
    path: PathBuf,
    mode: Mode,
    filters: Filters,
}

#[pymethods]
impl Store {
    /// Create a collection. Its schema never changes.
    ///
    /// Parameters
    /// ----------
    /// name : str
    ///     Up to 255 bytes; no slashes and no control characters.
    /// dim : int
    ///     Values a vector, 1 to 65,535.
    /// metric : {"cosine", "dot", "l2", "l1", "hamming"}, default "cosine"
    /// index : {"hnsw", "flat"}, default "hnsw"
    ///     How it is searched. "hnsw": through a graph, into which rows are linked in the background, see `HnswIndex`; not under "hamming".
    ///     "flat": exactly, see `FlatIndex`.
    /// codec : {"auto", "f32", "f16", "bf16", "u8", "i8", "b1"}, default "auto"
    ///     How vectors are kept, see `FlatIndex`. "auto": as they are given, "f32"; under "hamming" as bits, "b1". With "hnsw": "f32" or
    ///     "f16".
    /// m, ef_construction, seed : int, optional
    ///     How the graph is built, see `HnswIndex`. With "hnsw" only.
    /// expected_size : int, optional
    ///     How many rows there will be, as far as known; with "hnsw" only.
    /// exist_ok : bool, default False
    ///     Take a collection that is there already, if it has the same schema.
    ///
    /// Returns
    /// -------
    /// Collection
    ///
    /// Raises
    /// ------
    /// CollectionExistsError
    ///     It is there already; with `exist_ok`, with another schema.
    /// ValueError, DimensionError, ReadOnlyError
    #[pyo3(signature = (name, dim, metric="cosine", *, index="hnsw", codec="auto", exist_ok=false, m=None, ef_construction=None, seed=None, expected_size=None),
           text_signature = "($self, name, dim, metric='cosine', *, index='hnsw', codec='auto', exist_ok=False, m=None, ef_construction=None, seed=None, expected_size=None)")]
    #[expect(clippy::too_many_arguments, reason = "the signature of the Python method")]
    fn create_collection(
        &self,
        py: Python<'_>,
        name: &str,
        dim: Integer,
        metric: &str,
        index: &str,
        codec: &str,
        exist_ok: bool,
        m: Option<Integer>,
        ef_construction: Option<Integer>,
        seed: Option<u64>,
        expected_size: Option<Integer>,
    ) -> PyResult<Collection> {
        // What does not fit is out of range: the core says so.
        let mut schema = Schema::new(usize::try_from(dim.0).unwrap_or(0), parse_metric(metric)?);
        let kinds: Vec<&str> = IndexKind::ALL.iter().map(|kind| kind.name()).collect();
        let options = GraphOptions { m, ef_construction, seed, expected_size };
        match IndexKind::from_name(parse_name("index", index, &kinds)?) {
            Some(IndexKind::Hnsw) => schema = schema.with_graph(options.parameters(schema.metric)?),
            _ => options.refuse()?,
        }
        if codec != "auto" {
            let known: Vec<&str> = Codec::ALL.iter().map(|codec| codec.name()).collect();
            schema.codec = parse_codec(codec, &known)?;
        }
        let made = call::run(py, None, None, |call| self.inner.create_collection(name, schema, exist_ok, call))?;
        Ok(Collection::new(made))
    }

    /// The collection of that name; `store[name]` is the same.
    ///
    /// Parameters
    /// ----------
    /// name : str
    ///
    /// Returns
    /// -------
    /// Collection
    ///
    /// Raises
    /// ------
    /// CollectionNotFoundError
    fn collection(&self, py: Python<'_>, name: &str) -> PyResult<Collection> {
        py.detach(|| self.inner.collection(name)).map(Collection::new).map_err(|error| raise(py, error))
    }

    fn __getitem__(&self, py: Python<'_>, name: &str) -> PyResult<Collection> {
        self.collection(py, name)
    }

    fn __contains__(&self, py: Python<'_>, name: &Bound<'_, PyAny>) -> PyResult<bool> {
        // What is no name is not there.
        let Ok(name) = name.extract::<String>() else { return Ok(false) };
        Ok(self.names(py)?.contains(&name))
    }

    /// The names of all collections, sorted.
    ///
    /// Returns
    /// -------
    /// list of str
    fn collections(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.names(py)
    }

    /// Remove a collection with all that is in it.
    ///
    /// Parameters
    /// ----------
    /// name : str
    ///
    /// Returns
    /// -------
    /// bool
    ///     Whether there was one.
    fn drop_collection(&self, py: Python<'_>, name: &str) -> PyResult<bool> {
        call::run(py, None, None, |call| self.inner.drop_collection(name, call))
    }

    /// The nearest rows of several collections, in one ranking.
    ///
    /// Parameters
    /// ----------
    /// query : array_like, shape (d,) or (nq, d)
    /// k : int, default 10
    /// collections : sequence of str, optional
    ///     Those to search; names that are unknown are passed over. None: all.
    /// where, min_score, ef, recall, exact, include, group_by, group_size, diversity, after, explain, threads
    ///     As in `Collection.search`.
    ///
    /// Returns
    /// -------
    /// CollectionResult
    ///     By score, then collection, then key; `collections` says where each hit is from.
    ///
    /// Raises
    /// ------
    /// DimensionError, ValueError
    ///     If the collections have other dimensions than the query, or different metrics.
    #[pyo3(signature = (query, k=Integer(10), *, collections=None, r#where=None, min_score=None, ef=None, recall=None, exact=false, include=None, group_by=None, group_size=Integer(1), diversity=None, after=None, explain=false, threads=None),
           text_signature = "($self, query, k=10, *, collections=None, where=None, min_score=None, ef=None, recall=None, exact=False, include=(), group_by=None, group_size=1, diversity=None, after=None, explain=False, threads=None)")]
    #[expect(clippy::too_many_arguments, reason = "the signature of the Python method")]
    fn search<'py>(
        &self,
        py: Python<'py>,
        query: &Bound<'py, PyAny>,
        k: Integer,
        collections: Option<Vec<String>>,
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
        let known = self.names(py)?;
        let mut wanted = known.iter().filter(|name| collections.as_ref().is_none_or(|names| names.contains(name)));
        // One that is dropped meanwhile is as good as unknown.
        let first = wanted.find_map(|name| py.detach(|| self.inner.collection(name)).ok());
        let Some(schema) = first.map(|collection| collection.schema()) else { return request.nothing(py) };
        let names: Option<Vec<&str>> = collections.as_ref().map(|names| names.iter().map(String::as_str).collect());
        request.run(py, schema, None, |source, search, call| self.inner.search(source, names.as_deref(), search, call))
    }

    /// Make every batch so far durable, whatever `sync` is.
    ///
    /// Parameters
    /// ----------
    /// wait : bool, default False
    ///     Also link every row into its graph. Until then some rows are looked at one by one, and found for certain.
    /// progress : bool or callable, default False
    ///     Of the linking: True for a progress bar, or a function of rows done and rows in all.
    #[pyo3(signature = (*, wait=false, progress=None), text_signature = "($self, *, wait=False, progress=False)")]
    fn flush(&self, py: Python<'_>, wait: bool, progress: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let report = call::reporter(progress, "flush")?;
        call::run(py, None, report, |call| if wait { self.inner.flush_and_link(call) } else { self.inner.flush(call) })
    }

    /// Write all rows to as few files as possible; give the room of deleted rows back, on the disk and in memory.
    ///
    /// Parameters
    /// ----------
    /// progress : bool or callable, default False
    ///     True for a progress bar, or a function of rows done and rows in all. Each row counts twice: it is put in order in
    ///     memory, then written.
    #[pyo3(signature = (*, progress=None), text_signature = "($self, *, progress=False)")]
    fn compact(&self, py: Python<'_>, progress: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let report = call::reporter(progress, "compact")?;
        call::run(py, None, report, |call| self.inner.compact(call))
    }

    /// Read every byte of every file of the store and compare it with its checksums.
    ///
    /// Returns
    /// -------
    /// dict
    ///     ok: whether all is well. files: how many were read. damaged: for each damaged one a dict with path, block and message.
    fn verify<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let verified = call::run(py, None, None, |call| self.inner.verify(call))?;
        let damaged = PyList::empty(py);
        for error in verified.damaged {
            let one = PyDict::new(py);
            one.set_item("message", error.to_string())?;
            let (path, block) = match &error {
                nearfield::Error::Corruption { path, block, .. } => (Some(path), Some(block)),
                nearfield::Error::FormatVersion { path, .. } => (Some(path), None),
                _ => (None, None),
            };
            one.set_item("path", path.map(|path| path.to_string_lossy()))?;
            one.set_item("block", block)?;
            damaged.append(one)?;
        }
        let dict = PyDict::new(py);
        dict.set_item("ok", damaged.is_empty())?;
        dict.set_item("files", verified.files)?;
        dict.set_item("damaged", damaged)?;
        Ok(dict)
    }

    /// Write a copy of the store, a store of its own.
    ///
    /// Parameters
    /// ----------
    /// path : str or path-like
    ///     A directory that is empty or does not exist.
    fn backup(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        call::run(py, None, None, |call| self.inner.backup(&path, call))
    }

    /// Bring a reader to the newest state that is committed. A writer is always there.
    ///
    /// Returns
    /// -------
    /// bool
    ///     Whether anything was new.
    fn refresh(&self, py: Python<'_>) -> PyResult<bool> {
        call::run(py, None, None, |call| self.inner.refresh(call))
    }

    /// Numbers about the store.
    ///
    /// Returns
    /// -------
    /// dict
    ///     path, mode. rows, dead_rows: of all collections. memory_bytes: of these, about.
    ///     disk_bytes: of all files; log_bytes, segment_bytes: of the log that is being written and of the files with rows, for a writer.
    ///     collections: what `Collection.stats` says of each, by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = py.detach(|| self.inner.stats()).map_err(|error| raise(py, error))?;
        let of = |count: fn(&nearfield::CollectionStats) -> u64| stats.collections.iter().map(count).sum::<u64>();
        let collections = PyDict::new(py);
        for name in self.names(py)? {
            if let Ok(collection) = self.collection(py, &name) {
                collections.set_item(name, collection.stats(py)?)?;
            }
        }
        let dict = PyDict::new(py);
        dict.set_item("path", self.path.to_string_lossy())?;
        dict.set_item("mode", self.mode_name())?;
        dict.set_item("rows", of(|stats| stats.rows as u64))?;
        dict.set_item("dead_rows", of(|stats| stats.dead_rows as u64))?;
        dict.set_item("memory_bytes", of(|stats| stats.memory_bytes))?;
        dict.set_item("disk_bytes", stats.disk_bytes)?;
        dict.set_item("log_bytes", stats.log_bytes)?;
        dict.set_item("segment_bytes", stats.segment_bytes)?;
        dict.set_item("collections", collections)?;
        Ok(dict)
    }

    /// Make everything durable and give the right to write back. From then on every call fails; closing twice is no error.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.close()).map_err(|error| raise(py, error))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*exc))]
    fn __exit__(&self, py: Python<'_>, exc: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<()> {
        let _ = exc;
        self.close(py)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let path = self.path.to_string_lossy();
        match self.names(py) {
            Ok(names) => format!("Store({path:?}, mode={:?}, collections={})", self.mode_name(), names.len()),
            Err(_) => format!("Store({path:?}, closed)"),
        }
    }

    fn _repr_html_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("nearfield.display")?.call_method1("store_html", (self.stats(py)?,))
    }
}

impl Store {
    fn names(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        py.detach(|| self.inner.collections()).map_err(|error| raise(py, error))
    }

    fn mode_name(&self) -> &'static str {
        if self.mode == Mode::Read { "r" } else { "rw" }
    }
}
