//! Encoding a row.

use super::{Coding, Purpose, nearest_share};
use crate::kernel::{canonical_dot, pack_nibbles, pack_planes, pack_signs};
use crate::simd::{self, Operation, Simd};
use crate::vectors::Metric;
use crate::vectors::codec::Fit;
use crate::vectors::pair::{low_of_pair, nearest_bf16, pair, upper_bf16};

/// Sixty-four roundings of f32, relative: more than any path from a row or a query to a value has, beside the rotation's.
pub(crate) const SLACK: f64 = 64.0 / (1u64 << 24) as f64;

/// Rows shorter than this, or longer than its inverse, would leave the range of f32 on the way; nothing is certified of them.
pub(crate) const SHORTEST: f64 = 1e-30;
const LONGEST: f64 = 1e18;

impl Coding {
    /// All roundings between rows and queries as they are and what their bounds are computed from, relative to the product of the lengths.
    pub(crate) fn roundings(&self) -> f64 {
        3.0 * self.rotation.error() + SLACK
    }

    /// Rotates what is left of `values * factor` without the mean (or with it, if not `centred`). Returns `||y||^2`.
    #[inline(always)]
    pub(crate) fn rotated(&self, values: &[f32], factor: f64, centred: bool, y: &mut [f32], room: &mut [f32]) -> f64 {
        let share = if centred { 1.0 } else { 0.0 };
        for ((out, &value), &mean) in room.iter_mut().zip(values).zip(&self.mean) {
            *out = (f64::from(value) * factor - f64::from(mean) * share) as f32;
        }
        self.rotation.rotate(room, y);
        canonical_dot(y, y)
    }
}

/// Encodes rows, one after another, with memory of its own.
pub(crate) struct Encoder<'a> {
    coding: &'a Coding,
    room: Vec<f32>,
    y: Vec<f32>,
    c: Vec<f32>,
    digits: Vec<u8>,
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(coding: &'a Coding) -> Encoder<'a> {
        let width = coding.width();
        Encoder {
            coding,
            room: vec![0.0; coding.rotation.dim()],
            y: vec![0.0; width],
            c: vec![0.0; width],
            digits: vec![0; width],
        }
    }

    /// Writes the record of a row.
    pub(crate) fn encode(&mut self, values: &[f32], squared_norm: f64, record: &mut [u8]) {
        simd::dispatch(Encode { encoder: self, values, squared_norm, record });
    }

    #[inline(always)]
    pub(super) fn encode_one(&mut self, values: &[f32], squared_norm: f64, record: &mut [u8]) {
        let coding = self.coding;
        let norm = squared_norm.sqrt();
        let squared = coding.rotated(values, coding.metric.coding_factor(norm), true, &mut self.y, &mut self.room);
        coding.code.quantize(&self.y, squared.sqrt(), &mut self.digits, &mut self.c);
        let (head, rest) = record.split_at_mut(coding.head_lines() * 4);
        let (columns, rest) = rest.split_at_mut(coding.columns() * 4);
        let numbers = match coding.purpose {
            Purpose::Certify => {
                for (to, word) in head.as_chunks_mut::<4>().0.iter_mut().zip(pack_nibbles(&self.digits)) {
                    *to = word;
                }
                self.certain(squared)
            }
            Purpose::Estimate => {
                // What is short of a line stays zero.
                for (to, signs) in head.iter_mut().zip(pack_signs(coding.code.bits, &self.digits)) {
                    *to = signs;
                }
                self.estimated(squared, norm, rest)
            }
        };
        for (column, number) in columns.as_chunks_mut::<4>().0.iter_mut().zip(numbers.into_iter().flatten()) {
            *column = number.to_le_bytes();
        }
    }

    /// The columns of a row whose value has bounds: scale, constant (l2), the two lengths that the bounds are made of.
    #[inline(always)]
    fn certain(&mut self, squared: f64) -> [Option<u32>; 3] {
        let fit = Fit::of(&self.y, squared, &self.c);
        let constant = self.coding.has_constant();
        let length = squared.sqrt();
        if length != 0.0 && !(SHORTEST..LONGEST).contains(&length) {
            // An infinite length: it passes every comparison.
            return [Some(0), constant.then_some(0), Some(pair(upper_bf16(f32::INFINITY), 0))];
        }
        let scale = fit.nearest() as f32;
        let s = f64::from(scale);
        let error = (fit.squared - 2.0 * s * fit.inner + s * s * fit.levels).max(0.0).sqrt();
        let along = (s * fit.levels.sqrt()) as f32;
        let (error, along) = (upper_bf16((error as f32).next_up()), upper_bf16(along.next_up()));
        [Some(scale.to_bits()), constant.then(|| (-squared as f32).to_bits()), Some(pair(error, along))]
    }

    /// The columns of a row whose value is an estimate: the scale of its signs and how far they may be off; constant (l2). Also fills
    /// in what lies apart.
    #[inline(always)]
    fn estimated(&mut self, squared: f64, norm: f64, rest: &mut [u8]) -> [Option<u32>; 3] {
        let coding = self.coding;
        let (tail, numbers) = rest.split_at_mut(coding.tail_bytes());
        let (kept_scale, length) = numbers.split_at_mut(coding.scale_bytes());
        pack_planes(coding.code.bits, &self.digits, tail);
        let scale = Fit::of(&self.y, squared, &self.c).unbiased();
        if coding.metric == Metric::Cosine {
            // A short length is rounded, not made zero: zero says that there is no direction.
            let least = u16::from(norm > 0.0);
            length.copy_from_slice(&nearest_bf16(norm.min(f64::from(f32::MAX)) as f32).max(least).to_le_bytes());
        }
        coding.code.signs(&self.digits, &mut self.c);
        let signs = Fit::of(&self.y, squared, &self.c);
        let of_signs = nearest_bf16(signs.unbiased() as f32);
        match kept_scale {
            [] => {}
            [low, high] => [*low, *high] = nearest_share(scale / f64::from(low_of_pair(of_signs.into()))).to_le_bytes(),
            all => all.copy_from_slice(&(scale as f32).to_le_bytes()),
        }
        // A row of zeros under cosine passes every comparison; its score is set aside.
        let error = if norm == 0.0 { f32::INFINITY } else { signs.error() as f32 };
        let both = pair(upper_bf16(error), of_signs);
        let constant = coding.has_constant().then(|| (-squared.min(f64::from(f32::MAX)) as f32).to_bits());
        [Some(both), constant, None]
    }
}

/// A row to be encoded, compiled for the processor.
struct Encode<'e, 'a, 'r> {
    encoder: &'e mut Encoder<'a>,
    values: &'r [f32],
    squared_norm: f64,
    record: &'r mut [u8],
}

impl Operation for Encode<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        self.encoder.encode_one(self.values, self.squared_norm, self.record);
    }
}
