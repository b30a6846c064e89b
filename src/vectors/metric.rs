//! What near means.
//!
//! A [`Metric`] is the choice that users make. [`Metric::run`] turns it, together with the instruction set, into types: a loop is
//! written once over [`Space`] and [`Simd`] and compiled for every pair of them.
//!
//! Beside its values a row carries one f32, its *term*: 1/||x|| for cosine, ||x|| for dot, ||x||^2 for l2; l1 and hamming need none.

use super::codec::Codec;
use super::space::{Cosine, Dot, L1, L2, Space};
use crate::error::{Error, Result};
use crate::kernel::canonical_dot;
use crate::simd::{self, Operation, Simd, prefetch_far};
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
    /// `-sum(|q[i] - x[i]|)`. Distance: the Manhattan one.
    L1,
    /// `-` the number of values that differ, all of which are 0 or 1. Distance: that number.
    Hamming,
}

impl Metric {
    /// All that there are.
    pub const ALL: &[Metric] = &[Metric::Cosine, Metric::Dot, Metric::L2, Metric::L1, Metric::Hamming];

    /// Its name: `cosine`, `dot`, `l2`, `l1` or `hamming`.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Cosine => "cosine",
            Metric::Dot => "dot",
            Metric::L2 => "l2",
            Metric::L1 => "l1",
            Metric::Hamming => "hamming",
        }
    }

    /// The metric of that name.
    pub fn from_name(name: &str) -> Option<Metric> {
        Metric::ALL.iter().copied().find(|metric| metric.name() == name)
    }

    /// The distance, in natural units, that belongs to a score.
    pub fn distance(self, score: f32) -> f32 {
        match self {
            Metric::Cosine => 1.0 - score,
            Metric::Dot | Metric::L2 | Metric::L1 | Metric::Hamming => 0.0 - score,
        }
    }

    /// How an index with this metric keeps rows that nobody has chosen a codec for.
    pub fn codec(self) -> Codec {
        if self == Metric::Hamming { Codec::B1 } else { Codec::F32 }
    }

    /// Refuses a codec that does not go with this metric: bits are for hamming, and nothing else is.
    pub(crate) fn check_codec(self, codec: Codec) -> Result<()> {
        let message = match (self, codec) {
            (Metric::Hamming, Codec::B1) => return Ok(()),
            (Metric::Hamming, _) => {
                format!("metric 'hamming' compares bits and keeps them in codec 'b1', got '{}'", codec.name())
            }
            (_, Codec::B1) => {
                format!("codec 'b1' keeps bits, which only metric 'hamming' compares, got '{}'", self.name())
            }
            _ => return Ok(()),
        };
        Err(Error::InvalidArgument(message))
    }

    /// Compiles `task` for this metric and this processor, and runs it.
    pub(crate) fn run<T: Task>(self, task: T) -> T::Output {
        match self {
            Metric::Cosine => simd::dispatch(InSpace { task, space: Cosine }),
            Metric::Dot => simd::dispatch(InSpace { task, space: Dot }),
            Metric::L2 => simd::dispatch(InSpace { task, space: L2 }),
            // Of zeros and ones, the absolute difference is 1 where they differ.
            Metric::L1 | Metric::Hamming => simd::dispatch(InSpace { task, space: L1 }),
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

    /// What a row of this length is multiplied with before it is coded: under cosine codes are of directions.
    pub(crate) fn coding_factor(self, norm: f64) -> f64 {
        match self {
            Metric::Cosine if norm > 0.0 => 1.0 / norm,
            Metric::Cosine => 0.0,
            _ => 1.0,
        }
    }

    /// The term of a row with this squared norm.
    pub(crate) fn term(self, squared_norm: f64) -> f32 {
        match self {
            Metric::Cosine => Cosine::term(squared_norm),
            Metric::Dot => Dot::term(squared_norm),
            Metric::L2 => L2::term(squared_norm),
            Metric::L1 | Metric::Hamming => L1::term(squared_norm),
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

    /// Asks the memory system for the values.
    pub(crate) fn prefetch(&self) {
        for line in self.values.chunks(16) {
            prefetch_far(line.as_ptr());
        }
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
            assert_eq!(Cosine.score(&raw, &row, None).to_bits(), Cosine.score(&scaled, &row, None).to_bits());
        }
    }

    #[test]
    fn names_and_distances_are_those_of_the_documentation() {
        for &metric in Metric::ALL {
            assert_eq!(Metric::from_name(metric.name()), Some(metric));
        }
        assert_eq!(Metric::from_name("euclid"), None);
        assert_eq!(Metric::Cosine.distance(0.25), 0.75);
        assert_eq!(Metric::Dot.distance(3.0), -3.0);
        assert_eq!(Metric::L2.distance(-2.0), 2.0);
        assert_eq!([Metric::L1.distance(-2.0), Metric::Hamming.distance(-3.0)], [2.0, 3.0]);
        assert!(Metric::L2.distance(-0.0).is_sign_positive());
    }
}
