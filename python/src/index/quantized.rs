//! The class `QuantizedIndex`.

use super::{Index, parse_keep};
use crate::arguments::{Integer, options, threads_of};
use crate::error::raise;
use nearfield::{Codec, QuantizedParameters};
use pyo3::prelude::*;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Search over codes of 1 to 8 bits a value, with or without the rows beside them.
///
/// From 1,024 rows on, each row is centred on the mean of the first 1,024, rotated, and kept as a code. A search reads the codes
/// of all rows. Without rows (`keep=None`) the estimates of the codes are the scores: some of the nearest rows are missed, fewer with
/// more bits. With rows, the best `rerank * k` estimates are candidates, and their scores are those of the rows. With fewer
/// than 1,024 rows, all rows are kept and compared.
///
/// Answers are the same for any number of threads and any split of `add` into calls.
///
/// Parameters
/// ----------
/// dim : int
///     Values a row, 1 to 65,535.
/// metric : {"cosine", "dot", "l2"}, default "cosine"
/// bits : {1, 2, 3, 4, 5, 6, 7, 8}, default 4
///     Bits a value. 1, 5, 6, 7: "rabitq1" and so on (RaBitQ, Gao and Long, arXiv 2405.12497 and 2409.09913). 2, 3, 4: "turbo2" and
///     so on (TurboQuant, Zandieh et al., arXiv 2504.19874). 8: "n8", two nested codes of four bits. `codec` says which it is.
/// keep : {None, "f32", "f16"}, default None
///     How rows are kept beside their codes. None: not at all; then `get` returns what the codes say of a row.
/// rerank : float, default 4.0
///     How many candidates are scored from the rows for each row that is wanted, at least 1; may be set. Without effect if `keep`
///     is None.
/// seed : int, default 0
///     Decides the rotation.
/// max_bytes : int, optional
///     Refuse to grow beyond this many bytes (CapacityError).
/// threads : int, optional
///     The most threads that a call uses. None: all cores.
///
/// Notes
/// -----
/// `exact=True` compares with every row where rows are kept, and so does `range_search`. `min_score` is compared with the scores that
/// are returned; of the rows that reach it, only candidates are found. A call that brings the 1,024th row holds all of its rows in
/// memory until it returns: of a large set, add some thousand first.
#[pyclass(extends = Index, frozen, module = "nearfield._core")]
pub(crate) struct QuantizedIndex {
    inner: Arc<nearfield::QuantizedIndex>,
}

#[pymethods]
impl QuantizedIndex {
    #[new]
    #[pyo3(signature = (dim, metric="cosine", *, bits=Integer(4), keep=None, rerank=4.0, seed=0, max_bytes=None, threads=None),
           text_signature = "(dim, metric='cosine', *, bits=4, keep=None, rerank=4.0, seed=0, max_bytes=None, threads=None)")]
    #[expect(clippy::too_many_arguments, reason = "the signature of the Python class")]
    fn new(
        py: Python<'_>,
        dim: Integer,
        metric: &str,
        bits: Integer,
        keep: Option<&str>,
        rerank: f64,
        seed: u64,
        max_bytes: Option<u64>,
        threads: Option<Integer>,
    ) -> PyResult<PyClassInitializer<QuantizedIndex>> {
        let keep = parse_keep(keep)?;
        let options = options(dim, metric, Some(keep.unwrap_or(Codec::F32)), max_bytes)?;
        let Integer(bits) = bits;
        // What does not fit is out of range: the core says so.
        let parameters = QuantizedParameters { bits: u32::try_from(bits).unwrap_or(0), keep: keep.is_some(), seed };
        let make = || {
            let index = nearfield::QuantizedIndex::new(options, parameters)?;
            index.set_rerank(rerank)?;
            Ok(Arc::new(index))
        };
        Ok(QuantizedIndex::initializer(make().map_err(|error| raise(py, error))?, threads_of(threads)?))
    }

    /// Bits a value.
    #[getter]
    fn bits(&self) -> u32 {
        self.inner.parameters().bits
    }

    /// How rows are kept beside their codes: "f32" or "f16"; None: not at all.
    #[getter]
    fn keep(&self) -> Option<&'static str> {
        let codec = nearfield::Index::codec(&*self.inner);
        self.inner.parameters().keep.then(|| codec.name())
    }

    /// Decides the rotation.
    #[getter]
    fn seed(&self) -> u64 {
        self.inner.parameters().seed
    }

    /// How many candidates are scored from the rows for each row that is wanted; may be set.
    #[getter]
    fn rerank(&self) -> f64 {
        self.inner.rerank()
    }

    #[setter]
    fn set_rerank(&self, py: Python<'_>, rerank: f64) -> PyResult<()> {
        self.inner.set_rerank(rerank).map_err(|error| raise(py, error))
    }
}

impl QuantizedIndex {
    pub(super) fn initializer(
        inner: Arc<nearfield::QuantizedIndex>,
        threads: Option<NonZeroUsize>,
    ) -> PyClassInitializer<QuantizedIndex> {
        let mut base = Index::of(Arc::<nearfield::QuantizedIndex>::clone(&inner), threads);
        base.codec = inner.code();
        PyClassInitializer::from(base).add_subclass(QuantizedIndex { inner })
    }
}
