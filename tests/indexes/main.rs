//! What holds for every index, seen from outside, through `dyn Index`.
//!
//! The definition that answers are held against is the few lines of [`Oracle`]: naive, in f64, over a map from ids to rows. Answers
//! must agree with it bit for bit wherever a search is exact. A new index registers in [`KINDS`].

mod changes;
mod churn;
mod exact;
mod graph;
mod lean;
mod limits;
mod order;
mod sharing;

use nearfield::{
    Call, Caller, Codec, Error, FlatIndex, GraphCodec, Hits, HnswIndex, HnswParameters, Index, IndexFile, IndexOptions,
    Metric, RangeHits, RowSource, Rows, Search, Selection,
};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

type Outcome = Result<(), Box<dyn std::error::Error>>;
type Make = fn(IndexOptions) -> Box<dyn Index>;

const KINDS: [(&str, Make); 2] = [("flat", flat), ("hnsw", hnsw)];
const METRICS: [Metric; 4] = [Metric::Cosine, Metric::Dot, Metric::L2, Metric::L1];

fn flat(options: IndexOptions) -> Box<dyn Index> {
    Box::new(FlatIndex::new(options).expect("good options"))
}

fn hnsw(options: IndexOptions) -> Box<dyn Index> {
    let parameters = HnswParameters { m: 8, ef_construction: 60, seed: 7, codec: GraphCodec::Auto };
    Box::new(HnswIndex::new(options, parameters).expect("good options"))
}

fn rows(values: &[f32], dim: usize) -> Rows<'_> {
    Rows::new(values, dim).expect("whole rows")
}

fn call() -> Call<'static> {
    Call::uninterrupted()
}

/// Nobody in particular, but not on all cores.
struct Patient;
impl Caller for Patient {}

fn on_threads(threads: usize) -> Call<'static> {
    Call::new(&Patient, NonZeroUsize::new(threads))
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Between -1 and 1.
    fn value(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn rows(&mut self, count: usize, dim: usize) -> Vec<f32> {
        (0..count * dim).map(|_| self.value()).collect()
    }

    /// Whole numbers from -2 to 2, so that many scores are the same and many rows too.
    fn coarse(&mut self, count: usize, dim: usize) -> Vec<f32> {
        (0..count * dim).map(|_| self.below(5) as f32 - 2.0).collect()
    }
}

/// What an index should hold, and what it should answer.
struct Oracle {
    metric: Metric,
    dim: usize,
    rows: BTreeMap<i64, Vec<f32>>,
}

impl Oracle {
    fn new(metric: Metric, dim: usize) -> Oracle {
        Oracle { metric, dim, rows: BTreeMap::new() }
    }

    fn put(&mut self, ids: &[i64], values: &[f32]) {
        self.rows.extend(ids.iter().copied().zip(values.chunks(self.dim).map(<[f32]>::to_vec)));
    }

    fn score(&self, query: &[f32], row: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
        let lengths = dot(query, query).sqrt() * dot(row, row).sqrt();
        let score = match self.metric {
            Metric::Dot => dot(query, row),
            Metric::Cosine if lengths == 0.0 => 0.0,
            Metric::Cosine => (dot(query, row) / lengths).clamp(-1.0, 1.0),
            Metric::L1 => -query.iter().zip(row).map(|(&q, &x)| (f64::from(q) - f64::from(x)).abs()).sum::<f64>(),
            _ => -query.iter().zip(row).map(|(&q, &x)| (f64::from(q) - f64::from(x)).powi(2)).sum::<f64>().sqrt(),
        };
        score as f32
    }

    /// All rows that `admits` lets through, best first.
    fn ranking(&self, query: &[f32], admits: impl Fn(i64, f32) -> bool) -> Vec<(i64, f32)> {
        let scored = self.rows.iter().map(|(&id, row)| (id, self.score(query, row)));
        let mut ranking: Vec<(i64, f32)> = scored.filter(|&(id, score)| admits(id, score)).collect();
        ranking.sort_by(|a, b| b.1.partial_cmp(&a.1).expect("no NaN").then(a.0.cmp(&b.0)));
        ranking
    }

    fn hits(&self, queries: &[f32], k: usize, admits: impl Fn(i64, f32) -> bool) -> Hits {
        let mut hits = Hits { k, ids: Vec::new(), scores: Vec::new(), counts: Vec::new() };
        for (i, query) in queries.chunks(self.dim).enumerate() {
            let ranking = self.ranking(query, &admits);
            hits.counts.push(ranking.len().min(k) as i64);
            hits.ids.extend(ranking.iter().take(k).map(|hit| hit.0));
            hits.scores.extend(ranking.iter().take(k).map(|hit| hit.1));
            hits.ids.resize((i + 1) * k, -1);
            hits.scores.resize((i + 1) * k, f32::NEG_INFINITY);
        }
        hits
    }

    /// Holds the whole of an index against this.
    fn check(&self, index: &dyn Index, queries: &[f32], what: &str) -> Outcome {
        let ids: Vec<i64> = self.rows.keys().copied().collect();
        assert_eq!((index.ids(), index.len()), (ids.clone(), ids.len()), "{what}");
        assert_eq!(index.get(&ids)?, self.rows.values().flatten().copied().collect::<Vec<_>>(), "{what}");
        let search = Search { exact: true, ..Search::top(ids.len() + 3) };
        let found = index.search(&rows(queries, self.dim), &search, &call())?;
        assert_eq!(found, self.hits(queries, search.k, |_, _| true), "{what}");
        Ok(())
    }
}

/// The share of `truth` that was found.
fn recall(found: &Hits, truth: &Hits) -> f64 {
    let in_both = |(found, truth): (&[i64], &[i64])| found.iter().filter(|id| truth.contains(id)).count();
    let both: usize = found.ids.chunks(found.k).zip(truth.ids.chunks(truth.k)).map(in_both).sum();
    both as f64 / truth.ids.len() as f64
}

/// An index of whatever kind with these rows under the ids 0, 1, 2, ..., and its oracle.
fn filled(make: Make, metric: Metric, dim: usize, values: &[f32]) -> (Box<dyn Index>, Oracle) {
    let (index, mut oracle) = (make(IndexOptions::new(dim, metric)), Oracle::new(metric, dim));
    let ids = index.add(&rows(values, dim), None, &call()).expect("good rows");
    oracle.put(&ids, values);
    (index, oracle)
}
