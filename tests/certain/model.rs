//! The definition: every row scored with eight sums in f64 and a fixed tree, and put in order.

use nearfield::{Hits, Index, Metric, RangeHits};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What an index should hold, and what it should answer.
pub(crate) struct Model {
    pub(crate) metric: Metric,
    pub(crate) dim: usize,
    pub(crate) rows: BTreeMap<i64, Vec<f32>>,
}

/// Eight sums, lane j of the values j, j + 8, ..., added up in one tree.
pub(crate) fn summed(a: &[f32], b: &[f32], term: fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [0.0; 8];
    for (i, (&a, &b)) in a.iter().zip(b).enumerate() {
        lanes[i % 8] += term(f64::from(a), f64::from(b));
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    summed(a, b, |a, b| a * b)
}

impl Model {
    /// The rows that `index` keeps now.
    pub(crate) fn of(index: &dyn Index) -> Model {
        let (ids, dim) = (index.ids(), index.dim());
        let values = index.get(&ids).expect("rows that are there");
        let rows = ids.into_iter().zip(values.chunks(dim).map(<[f32]>::to_vec)).collect();
        Model { metric: index.metric(), dim, rows }
    }

    pub(crate) fn score(&self, query: &[f32], row: &[f32]) -> f32 {
        let score = match self.metric {
            Metric::Cosine => {
                let lengths = dot(query, query).sqrt() * dot(row, row).sqrt();
                if lengths == 0.0 { 0.0 } else { (dot(query, row) / lengths).clamp(-1.0, 1.0) }
            }
            Metric::Dot => dot(query, row),
            _ => -summed(query, row, |a, b| (a - b) * (a - b)).sqrt(),
        };
        // There is one zero.
        score as f32 + 0.0
    }

    /// All rows in the order of answers, for each query.
    pub(crate) fn rankings(&self, queries: &[f32]) -> Vec<Vec<(i64, f32)>> {
        let rank = |query| {
            let mut ranking: Vec<_> = self.rows.iter().map(|(&id, row)| (id, self.score(query, row))).collect();
            ranking.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal).then(a.0.cmp(&b.0)));
            ranking
        };
        queries.chunks(self.dim).map(rank).collect()
    }
}

/// The k best that `admits` lets through, in bits.
pub(crate) fn best(ranking: &[(i64, f32)], k: usize, admits: impl Fn(i64, f32) -> bool) -> Vec<(i64, u32)> {
    let admitted = ranking.iter().filter(|&&(id, score)| admits(id, score));
    admitted.take(k).map(|&(id, score)| (id, score.to_bits())).collect()
}

/// The answers, query by query, in bits.
pub(crate) fn in_bits(hits: &Hits) -> Vec<Vec<(i64, u32)>> {
    let cells = hits.ids.chunks(hits.k).zip(hits.scores.chunks(hits.k)).zip(&hits.counts);
    let bits = |((ids, scores), &count): ((&[i64], &[f32]), &i64)| {
        ids.iter().zip(scores).take(count as usize).map(|(&id, score)| (id, score.to_bits())).collect()
    };
    cells.map(bits).collect()
}

pub(crate) fn range_in_bits(hits: &RangeHits) -> Vec<Vec<(i64, u32)>> {
    let found: Vec<_> = hits.ids.iter().zip(&hits.scores).map(|(&id, score)| (id, score.to_bits())).collect();
    hits.lims.windows(2).map(|ends| found[ends[0] as usize..ends[1] as usize].to_vec()).collect()
}
