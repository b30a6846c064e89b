//! What near means.
//!
//! A metric has three faces. The *canonical score* (f64 inside, rounded once to f32; higher is better) is what callers see
//! and what decides order and ties. The *graph distance* (f32, smaller is nearer) is what walks a graph. The *scan form*
//! writes the score as `scale * <q, x> + offset * weight`, so that one kernel, the inner product, serves every metric when
//! all rows are looked at; its limit lets every row pass that could still reach a given canonical score, rounding
//! errors included, so that a scan which scores the rows that pass is exact.
//!
//! Beside its values a row carries one f32, its *term*: 1/||x|| for cosine, ||x|| for dot, ||x||^2 for l2.

use crate::kernel::{canonical_dot, canonical_dot_and_square, canonical_squared_l2, dot, squared_l2};
use crate::simd::{self, Operation, Simd};
use serde::{Deserialize, Serialize};

/// How similarity is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Metric {
    /// `<q, x> / (||q|| ||x||)`; 0 where either is zero. Distance: 1 - score.
    Cosine,
    /// `<q, x>`. Distance: -score.
    Dot,
    /// `-||q - x||`. Distance: the Euclidean one.
    L2,
}

impl Metric {
    /// Its name: `cosine`, `dot` or `l2`.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Cosine => "cosine",
            Metric::Dot => "dot",
            Metric::L2 => "l2",
        }
    }

    /// The metric of that name.
    pub fn from_name(name: &str) -> Option<Metric> {
        [Metric::Cosine, Metric::Dot, Metric::L2].into_iter().find(|metric| metric.name() == name)
    }

    /// The distance, in natural units, that belongs to a score.
    pub fn distance(self, score: f32) -> f32 {
        match self {
            Metric::Cosine => 1.0 - score,
            Metric::Dot | Metric::L2 => 0.0 - score,
        }
    }

    /// Compiles `task` for this metric and this processor, and runs it.
    pub(crate) fn run<T: Task>(self, task: T) -> T::Output {
        match self {
            Metric::Cosine => simd::dispatch(InSpace { task, space: Cosine }),
            Metric::Dot => simd::dispatch(InSpace { task, space: Dot }),
            Metric::L2 => simd::dispatch(InSpace { task, space: L2 }),
        }
    }

    /// Prepares the values of a query, in place; returns their squared norm. Under cosine a tiny query is scaled up by a power
    /// of two: that changes no bit of its scores and keeps the f32 kernels out of the denormal range.
    pub(crate) fn prepare(self, values: &mut [f32], squared_norm: f64) -> f64 {
        if self != Metric::Cosine || squared_norm == 0.0 || squared_norm >= TINY_NORM * TINY_NORM {
            return squared_norm;
        }
        // The power in two halves, since the whole may not fit an f32.
        let half = 2f32.powi(-(squared_norm.log2() / 2.0).floor() as i32 / 2);
        for value in values.iter_mut() {
            *value = *value * half * half;
        }
        canonical_dot(values, values)
    }

    /// The term of a row with this squared norm.
    pub(crate) fn term(self, squared_norm: f64) -> f32 {
        match self {
            Metric::Cosine => Cosine::term(squared_norm),
            Metric::Dot => Dot::term(squared_norm),
            Metric::L2 => L2::term(squared_norm),
        }
    }
}

/// Something to be compiled for every metric and every instruction set. `run` and all that it calls in its loops must be
/// `#[inline(always)]`.
pub(crate) trait Task {
    /// What it computes.
    type Output;
    /// The work, with both choices made.
    fn run<S: Simd, M: Space>(self, simd: S, space: M) -> Self::Output;
}

struct InSpace<T, M> {
    task: T,
    space: M,
}

impl<T: Task, M: Space> Operation for InSpace<T, M> {
    type Output = T::Output;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> T::Output {
        self.task.run(simd, self.space)
    }
}

/// A query, ready to be compared: padded like a row, with what the metrics need of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a> {
    /// Its values, padded with zeros to the width of the rows.
    pub(crate) values: &'a [f32],
    /// `||q||^2`.
    pub(crate) squared_norm: f64,
    /// Its term, as if it were a row.
    pub(crate) term: f32,
}

/// Below this norm, products of f32 values get lost in the denormal range.
const TINY_NORM: f64 = 1.0 / (1u64 << 40) as f64;

impl<'a> Query<'a> {
    /// The query with these values, which [`Metric::prepare`] has seen.
    pub(crate) fn new(metric: Metric, values: &'a [f32], squared_norm: f64) -> Query<'a> {
        Query { values, squared_norm, term: metric.term(squared_norm) }
    }

    /// `||q||`.
    pub(crate) fn norm(&self) -> f64 {
        self.squared_norm.sqrt()
    }
}

/// One metric, as the loops need it.
pub(crate) trait Space: Copy + Send + Sync + 'static {
    /// What a row carries beside its values.
    fn term(squared_norm: f64) -> f32;

    /// The distance that walks graphs; smaller is nearer. Both sides bring their terms.
    fn distance<S: Simd>(self, simd: S, a: &[f32], a_term: f32, b: &[f32], b_term: f32) -> f32;

    /// The canonical score.
    fn score(self, query: &Query<'_>, row: &[f32]) -> f32;

    /// `(scale, offset)` of a row: its scan value is `scale * <q, x> + offset * weight`.
    fn scan_row(self, term: f32, gamma: f64) -> (f32, f32);

    /// `weight` of a query.
    fn scan_weight(self, query: &Query<'_>, gamma: f64) -> f32;

    /// Every row whose canonical score is `score` or better has a scan value that is not below this.
    fn scan_limit(self, query: &Query<'_>, score: f32, gamma: f64) -> f32;
}

/// `u`: half the distance from 1 to the next f32.
const UNIT: f64 = 1.0 / (1u64 << 24) as f64;

/// Far below any difference that an f32 score can show, far above what denormal arithmetic can lose.
const ETA: f64 = 1e-36;

/// The error of an inner product of `dim` values, relative to the product of the norms, with sixteen roundings to spare
/// for what surrounds it: `gamma_n = n u / (1 - n u)` (Higham, section 3.1).
pub(crate) fn gamma(dim: usize) -> f64 {
    let roundings = (dim + 16) as f64 * UNIT;
    roundings / (1.0 - roundings)
}

fn round_down(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value { near.next_down() } else { near }
}

/// Zeros are equal, so that only ids decide between them.
#[inline(always)]
fn without_sign_of_zero(score: f32) -> f32 {
    score + 0.0
}

fn round_up(value: f64) -> f32 {
    -round_down(-value)
}

#[derive(Clone, Copy)]
pub(crate) struct Cosine;

/// The largest 1/||x|| that is used: beyond it the row itself is in the denormal range.
const MAX_INVERSE_NORM: f32 = (1u128 << 100) as f32;

impl Space for Cosine {
    fn term(squared_norm: f64) -> f32 {
        if squared_norm == 0.0 { 0.0 } else { ((1.0 / squared_norm.sqrt()) as f32).min(MAX_INVERSE_NORM) }
    }

    #[inline(always)]
    fn distance<S: Simd>(self, simd: S, a: &[f32], a_term: f32, b: &[f32], b_term: f32) -> f32 {
        1.0 - dot(simd, a, b) * a_term * b_term
    }

    #[inline(always)]
    fn score(self, query: &Query<'_>, row: &[f32]) -> f32 {
        let (product, square) = canonical_dot_and_square(query.values, row);
        let length = query.norm() * square.sqrt();
        if length == 0.0 {
            return 0.0;
        }
        without_sign_of_zero((product / length).clamp(-1.0, 1.0) as f32)
    }

    #[inline(always)]
    fn scan_row(self, term: f32, _gamma: f64) -> (f32, f32) {
        // A row in the denormal range always passes: its scan value means nothing.
        (term, if term >= MAX_INVERSE_NORM { f32::INFINITY } else { 0.0 })
    }

    fn scan_weight(self, _query: &Query<'_>, _gamma: f64) -> f32 {
        1.0
    }

    fn scan_limit(self, query: &Query<'_>, score: f32, gamma: f64) -> f32 {
        round_down(query.norm() * (f64::from(score) - 2.0 * gamma) - ETA)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Dot;

impl Space for Dot {
    fn term(squared_norm: f64) -> f32 {
        round_up(squared_norm.sqrt())
    }

    #[inline(always)]
    fn distance<S: Simd>(self, simd: S, a: &[f32], _a_term: f32, b: &[f32], _b_term: f32) -> f32 {
        -dot(simd, a, b)
    }

    #[inline(always)]
    fn score(self, query: &Query<'_>, row: &[f32]) -> f32 {
        without_sign_of_zero(canonical_dot(query.values, row) as f32)
    }

    #[inline(always)]
    fn scan_row(self, term: f32, _gamma: f64) -> (f32, f32) {
        (1.0, term)
    }

    fn scan_weight(self, query: &Query<'_>, gamma: f64) -> f32 {
        round_up(query.norm() * gamma)
    }

    fn scan_limit(self, _query: &Query<'_>, score: f32, _gamma: f64) -> f32 {
        let score = f64::from(score);
        round_down(score - score.abs() * 2.0 * UNIT - ETA)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct L2;

impl Space for L2 {
    fn term(squared_norm: f64) -> f32 {
        squared_norm as f32
    }

    #[inline(always)]
    fn distance<S: Simd>(self, simd: S, a: &[f32], _a_term: f32, b: &[f32], _b_term: f32) -> f32 {
        squared_l2(simd, a, b)
    }

    #[inline(always)]
    fn score(self, query: &Query<'_>, row: &[f32]) -> f32 {
        0.0 - canonical_squared_l2(query.values, row).sqrt() as f32
    }

    #[inline(always)]
    fn scan_row(self, term: f32, gamma: f64) -> (f32, f32) {
        (2.0, term * (2.0 * gamma - 1.0) as f32)
    }

    fn scan_weight(self, _query: &Query<'_>, _gamma: f64) -> f32 {
        1.0
    }

    fn scan_limit(self, query: &Query<'_>, score: f32, gamma: f64) -> f32 {
        // ||q - x||^2 <= d^2  <=>  2 <q, x> - ||x||^2 >= ||q||^2 - d^2.
        let squared = f64::from(score).powi(2) * (1.0 + 4.0 * UNIT);
        round_down(query.squared_norm * (1.0 - 2.0 * gamma) - squared - ETA)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_a_tiny_query_changes_no_bit_of_its_cosine() {
        let row: Vec<f32> = (0..24).map(|i| (i as f32 * 0.7).sin()).collect();
        let ordinary: Vec<f32> = (0..24).map(|i| (i as f32 * 0.3).cos()).collect();
        for power in [-100, -80, -50] {
            let mut tiny: Vec<f32> = ordinary.iter().map(|value| value * 2f32.powi(power)).collect();
            let norm = canonical_dot(&tiny, &tiny);
            let raw = Query { values: &tiny.clone(), squared_norm: norm, term: 0.0 };
            let norm = Metric::Cosine.prepare(&mut tiny, norm);
            let scaled = Query::new(Metric::Cosine, &tiny, norm);
            assert!(scaled.norm() > 0.1, "2^{power}: {}", scaled.norm());
            assert_eq!(Cosine.score(&raw, &row).to_bits(), Cosine.score(&scaled, &row).to_bits());
        }
    }

    #[test]
    fn names_and_distances_are_those_of_the_documentation() {
        for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
            assert_eq!(Metric::from_name(metric.name()), Some(metric));
        }
        assert_eq!(Metric::from_name("euclid"), None);
        assert_eq!(Metric::Cosine.distance(0.25), 0.75);
        assert_eq!(Metric::Dot.distance(3.0), -3.0);
        assert_eq!(Metric::L2.distance(-2.0), 2.0);
        assert!(Metric::L2.distance(-0.0).is_sign_positive());
    }
}
