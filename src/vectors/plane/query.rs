//! What a query needs to meet a plane, and what comes of it.

use super::encode::{SHORTEST, SLACK};
use super::{Coding, Plane, Purpose};
use crate::kernel::{
    BLOCK_ROWS, Levels, PLANE_LINE, SIGN_TABLES, Weights, canonical_dot, level_product, order_query, sign_tables,
};
use crate::simd::{self, Operation, Simd};
use crate::vectors::pair::{high_of_pair, low_of_pair};
use crate::vectors::{Metric, Query};

/// How far above the estimate from its signs, in standard deviations, the estimate of a row may lie. Less means fewer rows to look at, and more that
/// should have been among the best and are not.
pub(crate) const CAP_DEVIATIONS: f64 = 2.4;

/// Far below any difference that an f32 can show, far above what the denormal range can lose.
const ETA: f64 = 1e-36;

/// The shortest query whose bounds are certain.
const SHORTEST_QUERY: f64 = 1e-18;

/// The most that two canonical inner products are off together, relative to the lengths: each adds up at most 8,195 times in f64.
const SUMMING: f64 = 4e-12;

/// A query in whole numbers.
pub(crate) struct PlaneQuery {
    /// p: the rotated query in steps, -127 to 127; for estimates in the order of planes.
    pub(super) digits: Vec<i8>,
    /// The sum of p.
    pub(super) sum: i32,
    /// t, the length of a step.
    step: f64,
    /// `||f||`, what the steps leave.
    rest: f64,
    /// For estimates: the tables of the query, to be met by signs, and the length of their steps.
    pub(super) tables: Vec<u8>,
    sign_step: f64,
    /// What the error of signs is multiplied with.
    cap: f64,
    /// The length of the rotated query (for l2, of the centred one).
    norm: f64,
    /// `||q||`.
    whole_norm: f64,
    /// What the centre contributes to every score: `<q, mean>`; for l2 nothing.
    offset: f64,
    /// How far the offset and a score may be off, together, where they nearly cancel.
    summing: f64,
    /// What the columns of a row are multiplied with.
    pub(super) weights: Weights,
}

impl Coding {
    /// 2 for l2, whose values are twice an inner product.
    fn times(&self) -> f64 {
        if self.metric == Metric::L2 { 2.0 } else { 1.0 }
    }

    /// The query, rotated and in whole numbers.
    pub(crate) fn query(&self, query: &Query<'_>) -> PlaneQuery {
        simd::dispatch(CodeQuery { coding: self, query })
    }

    #[inline(always)]
    fn code_query(&self, query: &Query<'_>) -> PlaneQuery {
        let (mut y, mut room) = (vec![0.0; self.width()], vec![0.0; self.mean.len()]);
        let (values, centred) = (&query.values[..self.mean.len()], self.metric == Metric::L2);
        let norm = self.rotated(values, 1.0, centred, &mut y, &mut room).sqrt();
        let largest = f64::from(largest_of(&y));
        let step = largest / 127.0;
        let digits = in_steps(&y, step, 127.0);
        let rest = squares_left(&y, &digits, step).sqrt();
        let centre = if centred { &[] } else { &self.mean[..] };
        let mut coded = PlaneQuery {
            sum: digits.iter().map(|&digit| i32::from(digit)).sum(),
            step,
            rest,
            tables: Vec::new(),
            sign_step: 0.0,
            cap: self.cap(norm),
            norm,
            whole_norm: query.norm(),
            offset: canonical_dot(&values[..centre.len()], centre),
            summing: query.norm() * canonical_dot(centre, centre).sqrt() * SUMMING,
            weights: self.weights(step, norm, rest),
            digits,
        };
        if self.purpose == Purpose::Estimate {
            coded.tables = vec![0; self.head_lines() * SIGN_TABLES];
            coded.sign_step = f64::from(sign_tables(&y, &mut coded.tables));
            coded.weights.scale = (self.times() * coded.sign_step) as f32;
            coded.digits = order_query(&coded.digits);
        }
        coded
    }

    fn weights(&self, step: f64, norm: f64, rest: f64) -> Weights {
        let (times, roundings) = (self.times(), self.roundings());
        let (error, along) = match self.purpose {
            Purpose::Certify => (norm * (1.0 + roundings), rest + norm * roundings),
            Purpose::Estimate => (self.cap(norm) * (1.0 + roundings), 0.0),
        };
        Weights {
            scale: (times * step) as f32,
            constant: (1.0 - roundings) as f32,
            error: ((times * error) as f32).next_up(),
            along: ((times * along) as f32).next_up(),
        }
    }

    /// What the error of signs is multiplied with: standard deviations of the projection of a random direction on the query.
    fn cap(&self, norm: f64) -> f64 {
        CAP_DEVIATIONS * norm / (self.width() as f64).sqrt()
    }

    /// Whether bounds are certain for a query: not if it is so short that products are in the denormal range, unless it is zero.
    pub(crate) fn is_certain_of(query: &Query<'_>) -> bool {
        query.squared_norm == 0.0 || query.norm() > SHORTEST_QUERY
    }

    /// Every row whose score is `score` or better has a value that is not below this.
    pub(crate) fn limit(&self, query: &PlaneQuery, score: f32) -> f32 {
        if 0.0 < query.norm && query.norm < SHORTEST {
            // Its steps are in the denormal range: what comes of them says nothing.
            return f32::NEG_INFINITY;
        }
        let score = f64::from(score);
        let value = match self.metric {
            // An estimate that is lower yet has this score too.
            Metric::Cosine if score <= -1.0 => f64::NEG_INFINITY,
            Metric::Cosine => query.whole_norm * (score - SLACK) - query.offset,
            Metric::Dot => score - score.abs() * SLACK - query.offset - query.summing,
            _ => query.norm.powi(2) * (1.0 - self.roundings()) - score.powi(2) * (1.0 + SLACK),
        };
        self.loosened(value)
    }

    fn loosened(&self, value: f64) -> f32 {
        if value.is_nan() {
            // Nothing times infinity: of a zero query, before anything has been found.
            return f32::NEG_INFINITY;
        }
        let value = value - value.abs() * self.roundings() - ETA;
        let near = value as f32;
        if f64::from(near) > value { near.next_down() } else { near }
    }

    /// The score that belongs to a value.
    fn score(&self, query: &PlaneQuery, value: f64) -> f32 {
        let score = match self.metric {
            Metric::Cosine if query.whole_norm == 0.0 => 0.0,
            Metric::Cosine => ((value + query.offset) / query.whole_norm).clamp(-1.0, 1.0),
            Metric::Dot => value + query.offset,
            _ => -(query.norm.powi(2) - value).max(0.0).sqrt(),
        };
        // The estimate of a finite product may be beyond what an f32 can be.
        let score = score.clamp(f64::from(f32::MIN), f64::from(f32::MAX));
        // No negative zeros: only ids decide between equal scores.
        score as f32 + 0.0
    }
}

/// A query to be coded, compiled for the processor.
struct CodeQuery<'a> {
    coding: &'a Coding,
    query: &'a Query<'a>,
}

impl Operation for CodeQuery<'_> {
    type Output = PlaneQuery;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> PlaneQuery {
        self.coding.code_query(self.query)
    }
}

/// The coordinates in steps, none beyond `most`, ties to even. A loop, not a chain of iterators: those are compiled for any processor. And no
/// function that rounds, nor a cast that saturates, of which processors have none for many values at once: beyond 2^52 the
/// last bits of a number are its whole part.
#[inline(always)]
fn in_steps(y: &[f32], step: f64, most: f64) -> Vec<i8> {
    const WHOLE: f64 = 1.5 * (1u64 << 52) as f64;
    let per_step = if step > 0.0 { 1.0 / step } else { 0.0 };
    let mut digits = vec![0; y.len()];
    for (digit, &value) in digits.iter_mut().zip(y) {
        *digit = ((f64::from(value) * per_step).clamp(-most, most) + WHOLE).to_bits() as i8;
    }
    digits
}

/// The largest magnitude. In lanes, as [`squares_left`].
#[inline(always)]
fn largest_of(y: &[f32]) -> f32 {
    let mut most = [0f32; 8];
    for y in y.as_chunks::<8>().0 {
        for lane in 0..8 {
            let value = y[lane].abs();
            most[lane] = if value > most[lane] { value } else { most[lane] };
        }
    }
    most.into_iter().fold(0.0, f32::max)
}

/// The squares of what the steps leave, added up. In eight sums, since each waits for the last addition to it.
#[inline(always)]
fn squares_left(y: &[f32], digits: &[i8], step: f64) -> f64 {
    let mut sums = [0.0; 8];
    for (y, digits) in y.as_chunks::<8>().0.iter().zip(digits.as_chunks::<8>().0) {
        for lane in 0..8 {
            let left = f64::from(y[lane]) - step * f64::from(digits[lane]);
            sums[lane] += left * left;
        }
    }
    sums.iter().sum()
}

impl Plane {
    /// An upper bound of the value of the row in `slot`, from the inner product of its levels; as tight as it can be had. Of an estimate
    /// nothing more is known.
    #[inline(always)]
    pub(crate) fn bound(&self, query: &PlaneQuery, slot: usize, product: i32) -> f32 {
        let coding = &*self.coding;
        if coding.purpose == Purpose::Estimate {
            return f32::INFINITY;
        }
        let (times, roundings) = (coding.times(), coding.roundings());
        let scale = f64::from(f32::from_bits(self.number(slot, 0)));
        let constant = self.constant(slot);
        let lengths = self.number(slot, coding.columns() - 1);
        let (error, along) = (f64::from(high_of_pair(lengths)), f64::from(low_of_pair(lengths)));
        let inner = query.step * f64::from(product);
        let low = if along > 0.0 { inner.abs() * scale / along - query.rest } else { 0.0 };
        let across = (query.norm.powi(2) - low.max(0.0).powi(2)).max(0.0).sqrt();
        let apart = error * across + along * query.rest + roundings * query.norm * (error + along);
        let upper = times * (scale * inner + apart) + constant * (1.0 - roundings);
        if upper.is_nan() { f32::INFINITY } else { (upper as f32).next_up() }
    }

    #[inline(always)]
    fn estimate<S: Simd>(&self, simd: S, query: &PlaneQuery, (slot, product): (usize, i32), signs: &[u8]) -> f32 {
        let coding = &*self.coding;
        if self.length(slot) == Some(0.0) {
            return 0.0;
        }
        let of_signs = self.number(slot, 0);
        let cap = f64::from(low_of_pair(of_signs)) * query.sign_step * f64::from(product)
            + f64::from(high_of_pair(of_signs)) * query.cap;
        let levels = coding.table.as_ref().map_or(Levels::Even(query.sum), Levels::Table);
        let product = level_product(simd, coding.code.bits, signs, self.tail(slot), &query.digits, levels);
        let value = (self.scale(slot) * query.step * product as f64).min(cap);
        coding.score(query, coding.times() * value + self.constant(slot))
    }

    /// Asks the memory system for what [`bound`](Plane::bound) will read.
    #[inline(always)]
    pub(crate) fn prefetch_numbers(&self, slot: usize) {
        for line in self.blocks.row(slot / BLOCK_ROWS)[self.coding.head_lines() * 64..].chunks(64) {
            simd::prefetch(line.as_ptr());
        }
    }

    /// Asks the memory system for what an [estimate](Estimates) will read.
    #[inline(always)]
    pub(crate) fn prefetch(&self, slot: usize) {
        let rest = self.rest(slot);
        rest.chunks(64).for_each(|line| simd::prefetch(line.as_ptr()));
        // Such rows begin anywhere in a line, so the last may be one more.
        rest.last().into_iter().for_each(|last| simd::prefetch(last));
        for line in self.blocks.row(slot / BLOCK_ROWS).chunks(64) {
            simd::prefetch(line.as_ptr());
        }
    }
}

/// The scores of up to `N` rows, given with the inner products of their signs. Together, since to gather signs takes stores, and whoever reads at
/// once what he has just written in pieces waits. `room` is memory for the signs. An operation of its own, to be compiled once: not into every place
/// that looks at rows, for each metric.
pub(crate) struct Estimates<'a, const N: usize> {
    pub(crate) plane: &'a Plane,
    pub(crate) query: &'a PlaneQuery,
    pub(crate) rows: &'a [(usize, i32)],
    pub(crate) room: &'a mut Vec<u8>,
}

impl<const N: usize> Operation for Estimates<'_, N> {
    type Output = [f32; N];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [f32; N] {
        let Estimates { plane, query, rows, room } = self;
        let stride = (plane.coding.head_lines() * 4).next_multiple_of(PLANE_LINE);
        room.resize(stride * N, 0);
        for (&(slot, _), signs) in rows.iter().zip(room.chunks_exact_mut(stride)) {
            plane.gather_signs(slot, signs);
        }
        let mut scores = [0.0; N];
        for ((score, row), signs) in scores.iter_mut().zip(rows).zip(room.chunks_exact(stride)) {
            *score = plane.estimate(simd, query, *row, signs);
        }
        scores
    }
}
