//! The class `HnswIndex`.

use super::{Index, Request, parse_keep};
use crate::arguments::{Integer, count, options, parse_name, threads_of};
use crate::array::Vectors;
use crate::call;
use crate::error::raise;
use nearfield::{Codec, GraphCodec, HnswParameters};
use pyo3::exceptions::PyValueError;
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
/// keep : {"f32", "f16", None}, default "f32"
///     How rows are kept, of which the best that a search has found are scored: as given, or rounded to halves (codec "auto", not
///     l1). Scores, and what `get` returns, are those of the rows as kept. None: from 1,024 rows on nothing is kept but a code of eight
///     bits a value and the links, for cosine, dot and l2: about a byte a value and 133 bytes (m 16). Then scores are estimates from
///     the codes, with `exact=True` too, and `get` returns what these say of a row.
/// m : int, optional
///     Links that a new row makes on each layer; the base layer has room for twice as many. None: 16; where searches read rows, 32 if
///     expected_size is above 50,000.
/// ef_construction : int, optional
///     The width of the beam that looks for a new row's neighbours. None: 200.
/// ef_search : int, default 64
///     The width of a search's beam; wider finds more and takes longer.
/// recall : float, optional
///     Instead of a width: the part of the ten nearest rows that a search is to find, between 0 and 1. The width is measured on a sample
///     of the rows, by the first search and again when a fifth of the rows has changed; see `beam_for`.
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

/// What walks read, by the names that users have for it.
fn parse_graph(codec: &str, keep: Option<&str>) -> PyResult<GraphCodec> {
    match (codec, keep) {
        ("f32", None) => Err(PyValueError::new_err(
            "keep must be 'f32' with codec 'f32', whose searches read the rows, got None; codec 'auto' takes None",
        )),
        ("f32", _) => Ok(GraphCodec::F32),
        (_, None) => Ok(GraphCodec::Lean),
        _ => Ok(GraphCodec::Auto),
    }
}

#[pymethods]
impl HnswIndex {
    #[new]
    #[pyo3(signature = (dim, metric="cosine", *, codec="auto", keep=Some("f32"), m=None, ef_construction=None, ef_search=Integer(64),
                        recall=None, expected_size=None, seed=0, max_bytes=None, threads=None),
           text_signature = "(dim, metric='cosine', *, codec='auto', keep='f32', m=None, ef_construction=None, ef_search=64, recall=None, expected_size=None, seed=0, max_bytes=None, threads=None)")]
    #[expect(clippy::too_many_arguments, reason = "the signature of the Python class")]
    fn new(
        py: Python<'_>,
        dim: Integer,
        metric: &str,
        codec: &str,
        keep: Option<&str>,
        m: Option<Integer>,
        ef_construction: Option<Integer>,
        ef_search: Integer,
        recall: Option<f32>,
        expected_size: Option<Integer>,
        seed: u64,
        max_bytes: Option<u64>,
        threads: Option<Integer>,
    ) -> PyResult<PyClassInitializer<HnswIndex>> {
        let graph = parse_graph(parse_name("codec", codec, &["auto", "f32"])?, keep)?;
        let options = options(dim, metric, Some(parse_keep(keep)?.unwrap_or(Codec::F32)), max_bytes)?;
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
            index.set_recall(recall).map_err(|error| raise(py, error))?;
            Ok::<_, PyErr>(Arc::new(index))
        };
        Ok(HnswIndex::initializer(make()?, threads_of(threads)?))
    }

    /// How rows are kept: "f32" or "f16"; None: not at all, once there are enough of them for codes.
    #[getter]
    fn keep(&self) -> Option<&'static str> {
        let codec = nearfield::Index::codec(&*self.inner);
        (self.inner.parameters().codec != GraphCodec::Lean).then(|| codec.name())
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

    /// The recall of a search that names neither `ef` nor `recall`; None: such a search has the beam `ef_search`. May be set.
    #[getter]
    fn recall(&self) -> Option<f64> {
        // Through its shortest form, so that 0.95 comes back as 0.95.
        self.inner.recall().and_then(|recall| recall.to_string().parse().ok())
    }

    #[setter]
    fn set_recall(&self, py: Python<'_>, recall: Option<f32>) -> PyResult<()> {
        self.inner.set_recall(recall).map_err(|error| raise(py, error))
    }

    /// The width of the beam that finds a part of the ten nearest rows, as measured on the rows themselves.
    ///
    /// Some 256 rows are queries, each against its exact neighbours, while the walk must not come to the row itself. What was measured is
    /// kept, and measured again when a fifth of the rows has changed.
    ///
    /// Parameters
    /// ----------
    /// recall : float
    ///     Between 0 and 1.
    /// threads : int, optional
    ///     The most threads to use. None: those of the index.
    ///
    /// Returns
    /// -------
    /// int
    ///     A value for `ef`; larger than the index, if no beam finds as much.
    ///
    /// Raises
    /// ------
    /// ValueError
    ///     If recall is not between 0 and 1.
    #[pyo3(signature = (recall, *, threads=None))]
    fn beam_for(slf: &Bound<'_, Self>, recall: f32, threads: Option<Integer>) -> PyResult<usize> {
        let threads = slf.as_super().get().threads(threads)?;
        let inner = &slf.get().inner;
        call::run(slf.py(), threads, None, |call| inner.beam_for(recall, call))
    }

    /// The k nearest rows of each query.
    ///
    /// As `Index.search`, with two parameters more:
    ///
    /// Parameters
    /// ----------
    /// ef : int, optional
    ///     The width of the beam, at least k in effect; None: as `recall` wants it, or else `ef_search`.
    /// recall : float, optional
    ///     Instead of `ef`: the part of the ten nearest rows to be found; see `beam_for`. None: that of the index.
    #[pyo3(signature = (queries, k=Integer(10), *, filter=None, min_score=None, ef=None, recall=None, exact=false, threads=None),
           text_signature = "($self, queries, k=10, *, filter=None, min_score=None, ef=None, recall=None, exact=False, threads=None)")]
    #[expect(clippy::too_many_arguments, reason = "the signature of the Python method")]
    fn search<'py>(
        slf: &Bound<'py, Self>,
        queries: &Bound<'py, PyAny>,
        k: Integer,
        filter: Option<&Bound<'py, PyAny>>,
        min_score: Option<f32>,
        ef: Option<Integer>,
        recall: Option<f32>,
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
            recall,
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
        let mut base = Index::of(Arc::<nearfield::HnswIndex>::clone(&inner), threads);
        if inner.parameters().codec == GraphCodec::Lean {
            // Eight bits in two halves, as those of a quantized index.
            base.codec = "n8";
        }
        PyClassInitializer::from(base).add_subclass(HnswIndex { inner })
    }
}
