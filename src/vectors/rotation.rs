//! A random rotation that is cheap to apply: what makes codes of a few bits work on any data.
//!
//! After a rotation every coordinate of a row is a little of all of them, so that no few dimensions carry most of it, and
//! the coordinates look like draws from one normal distribution, whatever the data were. A dense random rotation would cost
//! d^2; this one costs d log d. It is four rounds of random signs, a Hadamard transform, and a butterfly between the two
//! halves. Where the width is no power of two, the transform covers the largest power of two that fits, at the front and at the
//! back by turns (after Gao and Long, RaBitQ, arXiv 2405.12497, and its library's fast rotation).
//!
//! Only additions, subtractions and multiplications in f32, each rounded once, in an order that does not depend on the
//! processor: the same bits everywhere.

use super::seed::random_bits;
#[cfg(test)]
use crate::simd::{self, Operation, Simd};

/// Rounds of signs and transforms; an outlier in one dimension is spread evenly after four.
const ROUNDS: usize = 4;

/// A rotation of `dim` values into `width` coordinates, the missing values being zero.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    dim: usize,
    width: usize,
    /// The length of a transform.
    power: usize,
    /// For each round, +1 or -1 for each coordinate.
    signs: Vec<f32>,
}

impl Rotation {
    /// The rotation that `seed` names. `width` is even and at least `dim`.
    pub(crate) fn new(dim: usize, width: usize, seed: u64) -> Rotation {
        debug_assert!(width >= dim.max(2) && width.is_multiple_of(2));
        let sign = |i: usize| if random_bits(seed, i as u64) >> 63 == 0 { 1.0 } else { -1.0 };
        let power = 1 << width.ilog2();
        Rotation { dim, width, power, signs: (0..ROUNDS * width).map(sign).collect() }
    }

    /// Values that go in.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// Coordinates that come out.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// `||apply(x) - R x|| <= error() * ||x||`, R being exactly orthogonal, for x whose values are not in the denormal range.
    /// Each of the log2(power) steps of a transform rounds once, its scale twice (the constant and the product), likewise
    /// the butterfly and its scale: as many relative errors of 2^-24, at most, in the norm.
    pub(crate) fn error(&self) -> f64 {
        let roundings = (ROUNDS * (self.power.ilog2() as usize + 5)) as f64 / (1u64 << 24) as f64;
        roundings / (1.0 - roundings)
    }

    /// Rotates `values` (at most [`dim`](Rotation::dim) of them) into `out` ([`width`](Rotation::width) coordinates).
    #[inline(always)]
    pub(crate) fn rotate(&self, values: &[f32], out: &mut [f32]) {
        out[..values.len()].copy_from_slice(values);
        out[values.len()..].fill(0.0);
        for round in 0..ROUNDS {
            for (value, sign) in out.iter_mut().zip(&self.signs[round * self.width..][..self.width]) {
                *value *= sign;
            }
            self.transform(round, out);
            self.mix_halves(out);
        }
    }

    /// Undoes [`rotate`](Rotation::rotate), in place, up to rounding.
    #[inline(always)]
    pub(crate) fn undo(&self, out: &mut [f32]) {
        for round in (0..ROUNDS).rev() {
            self.mix_halves(out);
            self.transform(round, out);
            for (value, sign) in out.iter_mut().zip(&self.signs[round * self.width..][..self.width]) {
                *value *= sign;
            }
        }
    }

    #[inline(always)]
    fn transform(&self, round: usize, out: &mut [f32]) {
        let start = if round.is_multiple_of(2) { 0 } else { self.width - self.power };
        hadamard(&mut out[start..start + self.power], (1.0 / (self.power as f64).sqrt()) as f32);
    }

    /// Where the transform does not reach everything, front and back are mixed.
    #[inline(always)]
    fn mix_halves(&self, out: &mut [f32]) {
        if self.power == self.width {
            return;
        }
        let (front, back) = out.split_at_mut(self.width / 2);
        for (a, b) in front.iter_mut().zip(back) {
            let (sum, difference) = (*a + *b, *a - *b);
            *a = sum * std::f32::consts::FRAC_1_SQRT_2;
            *b = difference * std::f32::consts::FRAC_1_SQRT_2;
        }
    }
}

/// The Hadamard transform and its scale; the length is a power of two.
#[inline(always)]
fn hadamard(values: &mut [f32], scale: f32) {
    let mut half = 1;
    if let (sixteens, []) = values.as_chunks_mut::<16>() {
        for sixteen in sixteens {
            // Unseen by the compiler, which would do sixteen of them at once, gather and scatter every value, and take three times as long.
            let sixteen = std::hint::black_box(sixteen);
            *sixteen = butterflies::<8>(butterflies::<4>(butterflies::<2>(butterflies::<1>(*sixteen))));
        }
        half = 16;
    }
    let first = half;
    // Two steps at a time read and write half as often.
    while 4 * half <= values.len() {
        let factor = if 4 * half == values.len() { scale } else { 1.0 };
        for four in values.chunks_exact_mut(4 * half) {
            two_steps(four, half, factor);
        }
        half *= 4;
    }
    if half < values.len() {
        let (front, back) = values.split_at_mut(half);
        for (a, b) in front.iter_mut().zip(back) {
            (*a, *b) = ((*a + *b) * scale, (*a - *b) * scale);
        }
    } else if half == first {
        values.iter_mut().for_each(|value| *value *= scale);
    }
}

/// The steps between values that are `quarter`, and then twice as many, apart.
#[inline(always)]
fn two_steps(values: &mut [f32], quarter: usize, factor: f32) {
    let (front, back) = values.split_at_mut(2 * quarter);
    let ((a, b), (c, d)) = (front.split_at_mut(quarter), back.split_at_mut(quarter));
    for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
        let (first, second, third, fourth) = (*a + *b, *a - *b, *c + *d, *c - *d);
        (*a, *c) = ((first + third) * factor, (first - third) * factor);
        (*b, *d) = ((second + fourth) * factor, (second - fourth) * factor);
    }
}

/// One step inside sixteen values: a shuffle, a change of signs, an addition.
#[inline(always)]
fn butterflies<const HALF: usize>(values: [f32; 16]) -> [f32; 16] {
    let mut out = [0.0; 16];
    for i in 0..16 {
        let sign = if i & HALF == 0 { 1.0 } else { -1.0 };
        out[i] = values[i ^ HALF] + sign * values[i];
    }
    out
}

/// A single rotation, compiled for the processor.
#[cfg(test)]
struct Rotate<'a> {
    rotation: &'a Rotation,
    values: &'a [f32],
    out: &'a mut [f32],
}

#[cfg(test)]
impl Operation for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        self.rotation.rotate(self.values, self.out);
    }
}

#[cfg(test)]
impl Rotation {
    /// [`rotate`](Rotation::rotate) for a caller that is not compiled for the processor itself.
    pub(crate) fn apply(&self, values: &[f32], out: &mut [f32]) {
        simd::dispatch(Rotate { rotation: self, values, out });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norm(values: &[f32]) -> f64 {
        values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
    }

    fn row(dim: usize, seed: u64) -> Vec<f32> {
        (0..dim).map(|i| random_bits(seed, i as u64) as i64 as f32 / 9e18).collect()
    }

    #[test]
    fn lengths_and_angles_stay() {
        for width in [2, 8, 24, 64, 104, 384, 992, 1024, 1088, 1984] {
            let dim = (width - 1).max(2);
            let rotation = Rotation::new(dim, width, 7);
            let (a, b) = (row(dim, 1), row(dim, 2));
            let (mut ra, mut rb) = (vec![0.0; width], vec![0.0; width]);
            rotation.apply(&a, &mut ra);
            rotation.apply(&b, &mut rb);
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
            let bound = 2.5 * rotation.error() * norm(&a) * norm(&b);
            assert!((dot(&ra, &rb) - dot(&a, &b)).abs() <= bound, "width {width}");
            assert!((norm(&ra) - norm(&a)).abs() <= rotation.error() * norm(&a), "width {width}");
            rotation.undo(&mut ra);
            let apart: Vec<f32> = ra.iter().zip(&a).map(|(x, y)| x - y).collect();
            assert!(norm(&apart) <= 2.5 * rotation.error() * norm(&a) && ra[dim..].iter().all(|v| v.abs() < 1e-5));
        }
    }

    #[test]
    fn an_outlier_is_spread_over_all_coordinates() {
        for width in [104, 384, 768, 992, 1984] {
            let rotation = Rotation::new(width, width, 3);
            for at in [0, width / 2, width - 1] {
                let mut outlier = vec![0.0; width];
                outlier[at] = 1.0;
                let mut out = vec![0.0; width];
                rotation.apply(&outlier, &mut out);
                let largest = out.iter().fold(0f32, |most, value| most.max(value.abs()));
                assert!(f64::from(largest) < 6.0 / (width as f64).sqrt(), "width {width}: {largest}");
            }
        }
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        let rotation = Rotation::new(300, 320, 11);
        let values = row(300, 5);
        let mut expected = vec![0.0; 320];
        rotation.rotate(&values, &mut expected);
        for level in simd::Level::available() {
            let mut out = vec![0.0; 320];
            simd::dispatch_at(level, Rotate { rotation: &rotation, values: &values, out: &mut out });
            assert_eq!(out, expected, "{}", level.name());
        }
    }
}
