//! The class `HnswIndex`.

use super::arguments::{Integer, count, options, parse_codec, threads_of};
use super::{Index, Request};
use crate::array::Vectors;
use crate::error::raise;
use nearfield::HnswParameters;
use pyo3::prelude::*;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Approximate search through a graph (hierarchical navigable small worlds, Malkov and Yashunin, arXiv 1603.09320).
///
/// Parameters
/// ----------
/// dim : int
///     Values a row, 1 to 65,535.
/// metric : {"cosine", "dot", "l2", "l1"}, default "cosine"
/// codec : {"auto", "f32"}, default "auto"
///     How rows are kept: as given.
/// m : int, optional
///     Links that a new row makes on each layer. None: 16, or 32 if expected_size is above 50,000.
/// ef_construction : int, optional
///     The width of the beam that looks for a new row's neighbours. None: 200.
/// ef_search : int, default 64
///     The width of a search's beam; wider finds more and takes longer.
/// expected_size : int, optional
///     How many rows there will be, as far as known.
/// seed : int, default 0
///     Decides the layers of each row. The same calls with the same seed give the same graph, whatever the number of threads.
/// max_bytes : int, optional
///     Refuse to grow beyond this many bytes (CapacityError).
/// threads : int, optional
///     The most threads that a call uses. None: all cores.
#[pyclass(extends = Index, frozen, module = "nearfield._core")]
pub(crate) struct HnswIndex {
    inner: Arc<nearfield::HnswIndex>,
}

#[pymethods]
impl HnswIndex {
    #[new]
    #[pyo3(signature = (dim, metric="cosine", *, codec="auto", m=None, ef_construction=None, ef_search=Integer(64),
                        expected_size=None, seed=0, max_bytes=None, threads=None),
           text_signature = "(dim, metric='cosine', *, codec='auto', m=None, ef_construction=None, ef_search=64, expected_size=None, seed=0, max_bytes=None, threads=None)")]
    #[expect(clippy::too_many_arguments, reason = "the signature of the Python class")]
    fn new(
        py: Python<'_>,
        dim: Integer,
        metric: &str,
        codec: &str,
        m: Option<Integer>,
        ef_construction: Option<Integer>,
        ef_search: Integer,
        expected_size: Option<Integer>,
        seed: u64,
        max_bytes: Option<u64>,
        threads: Option<Integer>,
    ) -> PyResult<PyClassInitializer<HnswIndex>> {
        let codec = Some(parse_codec(codec, &["auto", "f32"])?);
        let mut parameters = HnswParameters::for_size(count("expected_size", expected_size.unwrap_or(Integer(0)))?);
        parameters.seed = seed;
        if let Some(m) = m {
            parameters.m = count("m", m)?;
        }
        if let Some(ef_construction) = ef_construction {
            parameters.ef_construction = count("ef_construction", ef_construction)?;
        }
        let make = || {
            let index = nearfield::HnswIndex::new(options(dim, metric, codec, max_bytes)?, parameters);
            let index = index.map_err(|error| raise(py, error))?;
            index.set_ef_search(count("ef_search", ef_search)?).map_err(|error| raise(py, error))?;
            Ok::<_, PyErr>(Arc::new(index))
        };
        Ok(HnswIndex::initializer(make()?, threads_of(threads)?))
    }

    /// Links that a new row makes on each layer.
    #[getter]
    fn m(&self) -> usize {
        self.inner.parameters().m
    }

    /// The width of the beam that looks for a new row's neighbours.
    #[getter]
    fn ef_construction(&self) -> usize {
        self.inner.parameters().ef_construction
    }

    /// Decides the layers of each row.
    #[getter]
    fn seed(&self) -> u64 {
        self.inner.parameters().seed
    }

    /// The width of a search's beam; may be set.
    #[getter]
    fn ef_search(&self) -> usize {
        self.inner.ef_search()
    }

    #[setter]
    fn set_ef_search(&self, py: Python<'_>, ef: Integer) -> PyResult<()> {
        self.inner.set_ef_search(count("ef_search", ef)?).map_err(|error| raise(py, error))
    }

    /// The k nearest rows of each query.
    ///
    /// As `Index.search`, with one parameter more:
    ///
    /// Parameters
    /// ----------
    /// ef : int, optional
    ///     The width of the beam, at least k in effect; None: `ef_search`.
    #[pyo3(signature = (queries, k=Integer(10), *, filter=None, min_score=None, ef=None, exact=false, threads=None),
           text_signature = "($self, queries, k=10, *, filter=None, min_score=None, ef=None, exact=False, threads=None)")]
    #[expect(clippy::too_many_arguments, reason = "the signature of the Python method")]
    fn search<'py>(
        slf: &Bound<'py, Self>,
        queries: &Bound<'py, PyAny>,
        k: Integer,
        filter: Option<&Bound<'py, PyAny>>,
        min_score: Option<f32>,
        ef: Option<Integer>,
        exact: bool,
        threads: Option<Integer>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let base = slf.as_super().get();
        let request = Request {
            k: count("k", k)?,
            queries: Vectors::extract(queries)?,
            filter: base.compile(py, filter)?,
            min_score,
            exact,
            ef: ef.map(|ef| count("ef", ef)).transpose()?,
            threads: base.threads(threads)?,
        };
        base.run_search(py, request)
    }
}

impl HnswIndex {
    pub(super) fn initializer(
        inner: Arc<nearfield::HnswIndex>,
        threads: Option<NonZeroUsize>,
    ) -> PyClassInitializer<HnswIndex> {
        let base = Index::of(Arc::<nearfield::HnswIndex>::clone(&inner), threads);
        PyClassInitializer::from(base).add_subclass(HnswIndex { inner })
    }
}
