//! What a query needs to meet a plane, and what comes of it.

use super::encode::SLACK;
use super::{Coding, Plane, Purpose};
use crate::kernel::{BLOCK_ROWS, Columns, Digit, Weights, canonical_dot, code_products};
use crate::simd::{self, Operation, Simd};
use crate::vectors::{Metric, Query};

/// How far above the estimate of its head, in standard deviations, the estimate of a row may lie.
pub(crate) const CAP_DEVIATIONS: f64 = 4.0;

/// Far below any difference that an f32 can show, far above what the denormal range can lose.
const ETA: f64 = 1e-36;

/// A query in whole numbers.
pub(crate) struct PlaneQuery {
    /// p: the rotated query in steps, -127 to 127.
    digits: Vec<i8>,
    /// The sum of p.
    sum: i32,
    /// t, the length of a step.
    step: f64,
    /// `||f||`, what the steps leave.
    rest: f64,
    /// The length of the rotated query (for l2, of the centred one).
    norm: f64,
    /// `||q||`.
    whole_norm: f64,
    /// What the centre contributes to every score: `<q, mean>`; for l2 nothing.
    offset: f64,
    /// What the columns of a row are multiplied with.
    pub(crate) weights: Weights,
}

impl Coding {
    /// 2 for l2, whose values are twice an inner product.
    fn times(&self) -> f64 {
        if self.metric == Metric::L2 { 2.0 } else { 1.0 }
    }

    /// The query, rotated and in whole numbers.
    pub(crate) fn query(&self, query: &Query<'_>) -> PlaneQuery {
        let mut y = vec![0.0; self.width()];
        let squared = simd::dispatch(RotateQuery { coding: self, query, y: &mut y });
        let largest = y.iter().fold(0f32, |most, value| most.max(value.abs()));
        let step = f64::from(largest) / 127.0;
        let (mut rest, mut sum) = (0.0, 0);
        let digits: Vec<i8> = y
            .iter()
            .map(|&value| {
                let digit = if step > 0.0 { (f64::from(value) / step).round() as i8 } else { 0 };
                rest += (f64::from(value) - step * f64::from(digit)).powi(2);
                sum += i32::from(digit);
                digit
            })
            .collect();
        let (norm, rest) = (squared.sqrt(), f64::sqrt(rest));
        let centre: Vec<f32> = if self.metric == Metric::L2 { Vec::new() } else { self.mean.clone() };
        let offset = canonical_dot(&query.values[..centre.len()], &centre);
        let weights = self.weights(step, norm, rest);
        PlaneQuery { digits, sum, step, rest, norm, whole_norm: query.norm(), offset, weights }
    }

    fn weights(&self, step: f64, norm: f64, rest: f64) -> Weights {
        let (times, roundings) = (self.times(), self.roundings());
        let (error, along) = match self.purpose {
            Purpose::Certify => (norm * (1.0 + roundings), rest + norm * roundings),
            Purpose::Estimate => (self.cap(norm) * (1.0 + SLACK), 0.0),
        };
        Weights {
            scale: (times * step) as f32,
            constant: (1.0 - roundings) as f32,
            error: ((times * error) as f32).next_up(),
            along: ((times * along) as f32).next_up(),
        }
    }

    /// What the error of a head is multiplied with: standard deviations of the projection of a random direction on the query.
    fn cap(&self, norm: f64) -> f64 {
        CAP_DEVIATIONS * norm / (self.width() as f64).sqrt()
    }

    /// Every row whose score is `score` or better has a value that is not below this.
    pub(crate) fn limit(&self, query: &PlaneQuery, score: f32) -> f32 {
        let score = f64::from(score);
        let value = match self.metric {
            Metric::Cosine => query.whole_norm * (score - SLACK) - query.offset,
            Metric::Dot => score - score.abs() * SLACK - query.offset - query.offset.abs() * 1e-12,
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

struct RotateQuery<'a> {
    coding: &'a Coding,
    query: &'a Query<'a>,
    y: &'a mut [f32],
}

impl Operation for RotateQuery<'_> {
    /// The squared length of what has been rotated.
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> f64 {
        let mut room = vec![0.0; self.coding.mean.len()];
        let centred = self.coding.metric == Metric::L2;
        self.coding.rotated(&self.query.values[..room.len()], 1.0, centred, self.y, &mut room)
    }
}

/// The digits of up to `lanes` queries side by side: four of the first, four of the second, and so on.
pub(crate) fn pack_panel(queries: &[PlaneQuery], lanes: usize, panel: &mut Vec<i8>) {
    let Some(first) = queries.first() else { return };
    for group in 0..first.digits.len() / 4 {
        for lane in 0..lanes {
            panel.extend(queries.get(lane).map_or(&[0; 4][..], |query| &query.digits[group * 4..][..4]));
        }
    }
}

impl Plane {
    /// The numbers of the rows of a block.
    #[inline(always)]
    pub(crate) fn columns(&self, block: usize) -> Columns<'_> {
        let coding = &*self.coding;
        let columns: &[[u32; BLOCK_ROWS]] = bytemuck::cast_slice(&self.blocks.row(block)[coding.head_lines() * 64..]);
        let constant = usize::from(coding.has_constant());
        Columns {
            scale: &columns[0],
            scale_with_error: coding.code.tail() > 0,
            constant: coding.has_constant().then(|| &columns[1]),
            lengths: (coding.purpose == Purpose::Certify).then(|| &columns[1 + constant]),
        }
    }

    /// The inner products of the levels in these blocks with the queries of a panel.
    #[inline(always)]
    pub(crate) fn products<S: Simd, D: Digit, const R: usize, const Q: usize, const IN_PLACE: bool>(
        &self,
        simd: S,
        blocks: [usize; R],
        panel: &[i8],
        queries: &[PlaneQuery],
    ) -> [[[i32; BLOCK_ROWS]; Q]; R] {
        let lines = self.coding.head_lines();
        assert!(D::BITS == self.coding.code.head && panel.len() >= self.coding.width() * Q);
        let addresses = blocks.map(|block| self.blocks.row(block).as_ptr());
        let sums = std::array::from_fn(|q| queries.get(q).map_or(0, |query| query.sum));
        // SAFETY: every block begins with `lines` lines, and the panel has `width` values for each of Q queries.
        unsafe { code_products::<S, D, R, Q, IN_PLACE>(simd, addresses, panel.as_ptr(), sums, lines) }
    }

    /// An upper bound of the value of row `row` of a block, from the inner product of its levels; as tight as it can be had.
    pub(crate) fn bound(&self, query: &PlaneQuery, columns: Columns<'_>, row: usize, product: i32) -> f32 {
        let coding = &*self.coding;
        let (times, roundings) = (coding.times(), coding.roundings());
        let number = |column: Option<&[u32; BLOCK_ROWS]>| column.map_or(0, |column| column[row]);
        let first = number(Some(columns.scale));
        let constant = f64::from(f32::from_bits(number(columns.constant)));
        let inner = query.step * f64::from(product);
        let (scale, apart) = match coding.purpose {
            Purpose::Estimate if columns.scale_with_error => {
                (low_of_pair(first), f64::from(high_of_pair(first)) * coding.cap(query.norm))
            }
            Purpose::Estimate => (f32::from_bits(first), 0.0),
            Purpose::Certify => {
                let lengths = number(columns.lengths);
                let (error, along) = (f64::from(high_of_pair(lengths)), f64::from(low_of_pair(lengths)));
                let scale = f32::from_bits(first);
                let low = if along > 0.0 { inner.abs() * f64::from(scale) / along - query.rest } else { 0.0 };
                let across = (query.norm.powi(2) - low.max(0.0).powi(2)).max(0.0).sqrt();
                (scale, error * across + along * query.rest + roundings * query.norm * (error + along))
            }
        };
        let upper = times * (f64::from(scale) * inner + apart * (1.0 + roundings)) + constant * (1.0 - roundings);
        if upper.is_nan() { f32::INFINITY } else { (upper as f32).next_up() }
    }

    /// The score of the row in `slot`, from the inner product of its head. `room` is memory for its digits.
    #[inline(always)]
    pub(crate) fn estimate(&self, query: &PlaneQuery, slot: usize, product: i32, room: &mut Vec<u8>) -> f32 {
        let coding = &*self.coding;
        if self.length(slot) == Some(0.0) {
            return 0.0;
        }
        let mut columns = self.lines(slot).skip(coding.head_lines()).map(u32::from_le_bytes);
        let first = columns.next().unwrap_or_default();
        let constant =
            columns.next().filter(|_| coding.has_constant()).map_or(0.0, |bits| f64::from(f32::from_bits(bits)));
        let value = if coding.code.tail() == 0 {
            f64::from(f32::from_bits(first)) * query.step * f64::from(product)
        } else {
            let head = f64::from(low_of_pair(first)) * query.step * f64::from(product);
            let cap = head + f64::from(high_of_pair(first)) * coding.cap(query.norm);
            room.resize(coding.width(), 0);
            self.digits(slot, room);
            (self.scale(slot) * query.step * self.whole_product(query, room) as f64).min(cap)
        };
        coding.score(query, coding.times() * value + constant)
    }

    /// Asks the memory system for what [`estimate`](Plane::estimate) will read.
    #[inline(always)]
    pub(crate) fn prefetch(&self, slot: usize) {
        if self.coding.rest_bytes() > 0 {
            for line in self.rests.row(slot).chunks(64) {
                simd::prefetch(line.as_ptr());
            }
        }
    }

    /// The inner product of all levels of a row.
    #[inline(always)]
    fn whole_product(&self, query: &PlaneQuery, digits: &mut [u8]) -> i64 {
        let code = &self.coding.code;
        let most = (1i64 << code.bits) - 1;
        if let crate::vectors::codec::Grid::Uneven(..) = code.grid {
            // As signed bytes, which hold every level of an uneven code.
            let levels: [u8; 16] = std::array::from_fn(|digit| code.level(digit as u8 & most as u8) as u8);
            for digit in digits.iter_mut() {
                *digit = levels[usize::from(*digit & 15)];
            }
            return digits
                .iter()
                .zip(&query.digits)
                .map(|(&level, &p)| i32::from(level as i8) * i32::from(p))
                .sum::<i32>()
                .into();
        }
        let sum: i32 = digits.iter().zip(&query.digits).map(|(&digit, &p)| i32::from(digit) * i32::from(p)).sum();
        2 * i64::from(sum) - most * i64::from(query.sum)
    }
}

fn low_of_pair(pair: u32) -> f32 {
    f32::from_bits(pair << 16)
}

fn high_of_pair(pair: u32) -> f32 {
    f32::from_bits(pair & 0xFFFF_0000)
}
