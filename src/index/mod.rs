//! Indexes: rows under ids, and the ways to find the nearest of them.
//!
//! [`table`] keeps the rows, [`scan`] looks at all of them and is exact, [`hnsw`] walks a graph over them. [`Index`] is what every
//! index can do; [`tabular`] is how they do it, as far as they do it alike. A call reads its input first, whole; then it changes
//! the index in short steps, invisibly, and makes the change visible in the last one.

mod bit_scan;
mod coded;
mod file;
mod flat;
mod hnsw;
mod intake;
mod lent;
mod look;
mod plan;
mod quantized;
mod rerank;
mod scan;
mod score;
mod selection;
mod sieve;
mod sift;
mod table;
mod tabular;
mod tile;
mod topk;
mod trace;

pub use file::IndexFile;
pub use flat::FlatIndex;
pub(crate) use hnsw::{CATCH_UP_ROWS, LinkedPart};
pub use hnsw::{GraphCodec, HnswIndex, HnswParameters};
pub(crate) use lent::LentPart;
pub use quantized::{QuantizedIndex, QuantizedParameters};
pub(crate) use selection::Bits;
pub use selection::Selection;
pub use trace::Trace;

use crate::error::{Error, Result};
use crate::runtime::Call;
use crate::vectors::{Codec, Metric, RowSource};
use std::path::Path;
use topk::Scored;

/// What every index has in common when it is made.
#[derive(Clone, Copy, Debug)]
pub struct IndexOptions {
    /// Values a row, 1 to 65,535.
    pub dim: usize,
    /// What near means.
    pub metric: Metric,
    /// How rows are kept.
    pub codec: Codec,
    /// Refuse to grow beyond this many bytes.
    pub max_bytes: Option<u64>,
}

impl IndexOptions {
    /// An index for rows of `dim` values, kept as they are given (under hamming as bits), as large as memory allows.
    pub fn new(dim: usize, metric: Metric) -> IndexOptions {
        IndexOptions { dim, metric, codec: metric.codec(), max_bytes: None }
    }

    fn check(&self) -> Result<()> {
        if self.dim == 0 || self.dim > crate::MAX_DIM {
            return Err(Error::DimensionRange { given: self.dim });
        }
        self.metric.check_codec(self.codec)
    }
}

/// What a search is to return.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// How many rows, at most.
    pub k: usize,
    /// Which rows may be returned; `None`: all.
    pub selection: Option<&'a Selection>,
    /// The smallest score that is wanted, inclusive.
    pub min_score: Option<f32>,
    /// Look at every row, whatever the index could do instead.
    pub exact: bool,
    /// The width of a graph's beam; `None`: the index's own.
    pub ef: Option<usize>,
    /// Instead of a width: the part of the ten nearest rows that should be found, measured on rows of the index.
    pub recall: Option<f32>,
    /// Where to note which way the search goes.
    pub trace: Option<&'a Trace>,
}

impl Search<'_> {
    /// The `k` best rows.
    pub fn top(k: usize) -> Search<'static> {
        Search { k, selection: None, min_score: None, exact: false, ef: None, recall: None, trace: None }
    }

    fn check(&self) -> Result<()> {
        if self.min_score.is_some_and(f32::is_nan) {
            return Err(Error::InvalidArgument("min_score must be a number, got NaN".to_owned()));
        }
        Ok(())
    }

    /// The smallest score that can be returned.
    fn floor(&self) -> f32 {
        self.min_score.unwrap_or(f32::NEG_INFINITY)
    }
}

/// What a search found: for each query up to k rows, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct Hits {
    /// Rows a query has room for.
    pub k: usize,
    /// Query after query, k ids each; -1 where there is none.
    pub ids: Vec<i64>,
    /// The scores that go with them; -inf where there is none.
    pub scores: Vec<f32>,
    /// How many were found, per query.
    pub counts: Vec<i64>,
}

impl Hits {
    fn collect(k: usize, found: Vec<Vec<Scored>>) -> Result<Hits> {
        let cells = k.saturating_mul(found.len());
        let failed = |_| Error::out_of_memory("the result", cells.saturating_mul(12));
        let (mut ids, mut scores) = (Vec::new(), Vec::new());
        ids.try_reserve_exact(cells).map_err(failed)?;
        scores.try_reserve_exact(cells).map_err(failed)?;
        let mut counts = Vec::with_capacity(found.len());
        for (i, rows) in found.iter().enumerate() {
            counts.push(rows.len() as i64);
            ids.extend(rows.iter().map(|row| row.id));
            scores.extend(rows.iter().map(|row| row.score));
            ids.resize((i + 1) * k, -1);
            scores.resize((i + 1) * k, f32::NEG_INFINITY);
        }
        Ok(Hits { k, ids, scores, counts })
    }
}

/// What a range search found: the rows of query i are `lims[i]..lims[i + 1]`, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeHits {
    /// Where each query's rows begin; one more at the end.
    pub lims: Vec<i64>,
    /// Ids.
    pub ids: Vec<i64>,
    /// Scores.
    pub scores: Vec<f32>,
}

/// What an index says about itself.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// `flat` or `hnsw`.
    pub kind: &'static str,
    /// Rows that can be found.
    pub rows: usize,
    /// Slots of deleted rows that still take memory.
    pub dead: usize,
    /// Bytes of rows, ids and all else.
    pub bytes: usize,
    /// Bytes of the graph among them.
    pub graph_bytes: usize,
    /// Bytes of the codes beside or instead of the rows.
    pub code_bytes: usize,
    /// Queries that were answered through codes, and the rows that were looked at closely for them, since the index was made or
    /// loaded.
    pub queries: u64,
    /// See [`queries`](Stats::queries).
    pub reranked: u64,
    /// Layers of the graph.
    pub layers: usize,
    /// Rows that are not linked yet, and looked at one by one.
    pub pending: usize,
    /// Whether the rows lie in a mapped file.
    pub mapped: bool,
}

/// What every index can do, [`FlatIndex`] as well as [`HnswIndex`]. All methods may be called from any thread at any time:
/// searches go on while rows are written, and writers take turns. A call that fails has changed nothing.
pub trait Index: Send + Sync {
    /// Values a row.
    fn dim(&self) -> usize;

    /// What near means here.
    fn metric(&self) -> Metric;

    /// How rows are kept.
    fn codec(&self) -> Codec;

    /// Rows that can be found.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds rows under new ids: those given, or the next ones. Returns them.
    fn add(&self, rows: &dyn RowSource, ids: Option<&[i64]>, call: &Call<'_>) -> Result<Vec<i64>>;

    /// Puts rows under these ids, replacing what is there; of rows with the same id the last one stays. Returns how
    /// many distinct ids were written.
    fn upsert(&self, ids: &[i64], rows: &dyn RowSource, call: &Call<'_>) -> Result<usize>;

    /// Removes the rows with these ids; unknown ones are passed over. Returns how many there were.
    fn delete(&self, ids: &[i64], call: &Call<'_>) -> Result<usize>;

    /// The rows with these ids, one after another, as they are kept.
    fn get(&self, ids: &[i64]) -> Result<Vec<f32>>;

    /// Whether there is a row with this id.
    fn contains(&self, id: i64) -> bool;

    /// All ids, ascending.
    fn ids(&self) -> Vec<i64>;

    /// The nearest rows of each query.
    fn search(&self, queries: &dyn RowSource, search: &Search<'_>, call: &Call<'_>) -> Result<Hits>;

    /// All rows within `radius` (inclusive, in units of distance) of each query.
    fn range_search(
        &self,
        queries: &dyn RowSource,
        radius: f64,
        selection: Option<&Selection>,
        call: &Call<'_>,
    ) -> Result<RangeHits>;

    /// Compiles ids to a selection; unknown ones select nothing.
    fn select_ids(&self, ids: &[i64]) -> Selection;

    /// Compiles a mask over [`ids`](Index::ids) to a selection.
    fn select_mask(&self, mask: &[bool]) -> Result<Selection>;

    /// Does for up to `most` rows what writes have left for later; returns for how many it is still to be done. So few rows that there is no
    /// graph yet wait for more.
    fn catch_up(&self, most: usize, call: &Call<'_>) -> Result<usize>;

    /// Gives the memory of deleted rows back and brings what is left into order.
    fn optimize(&self, call: &Call<'_>) -> Result<()>;

    /// Numbers about the index.
    fn stats(&self) -> Stats;

    /// Writes the index to `path`: whole or not at all, and durable when this returns.
    fn save(&self, path: &Path) -> Result<()>;

    /// The bytes of the file that [`save`](Index::save) would write.
    fn to_bytes(&self) -> Result<Vec<u8>>;

    /// An index of its own with the same rows, in memory; of a mapped one, one that can change.
    fn copy(&self) -> Result<IndexFile>;
}
