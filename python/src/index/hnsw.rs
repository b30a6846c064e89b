//! The class `HnswIndex`.

use super::arguments::{Integer, count, options, parse_name, threads_of};
use super::{Index, Request};
use crate::array::Vectors;
use crate::error::raise;
use nearfield::{Codec, GraphCodec, HnswParameters};
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
///     What a search reads of the rows that it comes to. "auto": under cosine, dot and l2 codes of a row and of all that it
///     links to, in one piece of memory (after SymphonyQG, Gou et al., arXiv 2411.12229); under l1, or if 8 bits a value do
///     not tell the first rows apart, the rows. "f32": the rows.
///     With codes, graphs begin at 1,024 rows; searches among fewer are exact.
/// keep : {"f32", "f16"}, default "f32"
///     How rows are kept, of which the best that a search has found are scored: as given, or rounded to halves (codec "auto", not
///     l1). Scores, and what `get` returns, are those of the rows as kept.
/// m : int, optional
///     Links that a new row makes on each layer; the base layer has room for twice as many. None: 16; where searches read rows, 32 if
///     expected_size is above 50,000.
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
    #[pyo3(signature = (dim, metric="cosine", *, codec="auto", keep="f32", m=None, ef_construction=None, ef_search=Integer(64),
                        expected_size=None, seed=0, max_bytes=None, threads=None),
           text_signature = "(dim, metric='cosine', *, codec='auto', keep='f32', m=None, ef_construction=None, ef_search=64, expected_size=None, seed=0, max_bytes=None, threads=None)")]
    #[expect(clippy::too_many_arguments, reason = "the signature of the Python class")]
    fn new(
        py: Python<'_>,
        dim: Integer,
        metric: &str,
        codec: &str,
        keep: &str,
        m: Option<Integer>,
        ef_construction: Option<Integer>,
        ef_search: Integer,
        expected_size: Option<Integer>,
        seed: u64,
        max_bytes: Option<u64>,
        threads: Option<Integer>,
    ) -> PyResult<PyClassInitializer<HnswIndex>> {
        let graph =
            if parse_name("codec", codec, &["auto", "f32"])? == "f32" { GraphCodec::F32 } else { GraphCodec::Auto };
        let kept = Codec::from_name(parse_name("keep", keep, &["f32", "f16"])?);
        let options = options(dim, metric, kept, max_bytes)?;
        let size = count("expected_size", expected_size.unwrap_or(Integer(0)))?;
        let mut parameters = HnswParameters::for_size(size, options.metric, graph);
        parameters.seed = seed;
        if let Some(m) = m {
            parameters.m = count("m", m)?;
        }
        if let Some(ef_construction) = ef_construction {
            parameters.ef_construction = count("ef_construction", ef_construction)?;
        }
        let make = || {
            let index = nearfield::HnswIndex::new(options, parameters);
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
