//! Codes for rotated rows: each coordinate becomes a digit of a few bits, and the row a vector of whole numbers.
//!
//! After a [rotation](crate::vectors::Rotation) the coordinates of a row y look like draws from a normal distribution with
//! standard deviation `||y|| / sqrt(width)`. A code says by which thresholds they become digits and which whole number, its
//! *level*, stands for each digit, so that y is about a multiple of c, the vector of levels. What multiple, and how well, is
//! then measured for each row: no table is trained, and one row is encoded as a million are.
//!
//! The highest bits of all digits are the signs of the coordinates. A scan may read signs alone and look at the rest of a few rows.

use crate::kernel::canonical_dots_and_squares;

/// A way to turn coordinates into digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Code {
    /// Its name, as files and messages have it.
    pub(crate) name: &'static str,
    /// Bits a digit, 1 to 8.
    pub(crate) bits: u32,
    pub(crate) grid: Grid,
}

/// Where the thresholds lie, and the levels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Grid {
    /// Evenly, this many standard deviations apart; the level of digit u is `2 u - (2^bits - 1)`.
    Even(f32),
    /// Evenly, from the largest magnitude of the row down to minus that.
    Spanning,
    /// At zero, these multiples of the standard deviation, and their negatives; with the levels of the upper half.
    Uneven(&'static [f32], &'static [i8]),
}

impl Code {
    /// The whole number that stands for a digit.
    #[inline(always)]
    pub(crate) fn level(&self, digit: u8) -> i32 {
        match self.grid {
            Grid::Even(_) | Grid::Spanning => 2 * i32::from(digit) - ((1 << self.bits) - 1),
            Grid::Uneven(_, levels) => {
                let (half, digit) = (levels.len(), usize::from(digit));
                if digit >= half { i32::from(levels[digit - half]) } else { -i32::from(levels[half - 1 - digit]) }
            }
        }
    }

    /// The levels of all digits, where they are not even.
    pub(crate) fn table(&self) -> Option<[i8; 16]> {
        let Grid::Uneven(..) = self.grid else { return None };
        Some(std::array::from_fn(|digit| if digit >> self.bits == 0 { self.level(digit as u8) as i8 } else { 0 }))
    }

    /// The digits of `y`, whose length is `norm`, and the levels that stand for them.
    #[inline(always)]
    pub(crate) fn quantize(&self, y: &[f32], norm: f64, digits: &mut [u8], c: &mut [f32]) {
        let deviation = (norm / (y.len() as f64).sqrt()) as f32;
        let half = (1u32 << (self.bits - 1)) as f32;
        match self.grid {
            Grid::Even(step) => even_digits(y, 1.0 / (step * deviation), half, digits),
            Grid::Spanning => {
                let largest = y.iter().fold(0f32, |most, value| most.max(value.abs()));
                even_digits(y, half / largest, half, digits);
            }
            Grid::Uneven(thresholds, levels) => return uneven_digits(y, deviation, thresholds, levels, digits, c),
        }
        even_levels(digits, 0, 2.0 * half - 1.0, c);
    }

    /// The signs of these digits, as levels.
    #[inline(always)]
    pub(crate) fn signs(&self, digits: &[u8], c: &mut [f32]) {
        even_levels(digits, self.bits - 1, 1.0, c);
    }
}

#[inline(always)]
fn even_digits(y: &[f32], per_step: f32, half: f32, digits: &mut [u8]) {
    for (digit, &value) in digits.iter_mut().zip(y) {
        // A row of zeros multiplies 0 by infinity; the cast makes 0 of NaN.
        *digit = (value * per_step + half).clamp(0.0, 2.0 * half - 1.0) as u8;
    }
}

#[inline(always)]
fn even_levels(digits: &[u8], shift: u32, most: f32, c: &mut [f32]) {
    for (c, &digit) in c.iter_mut().zip(digits) {
        *c = 2.0 * f32::from(digit >> shift) - most;
    }
}

/// Sixteen values at a time, threshold by threshold: each one passed raises the digit by one, and the level by a step.
#[inline(always)]
fn uneven_digits(y: &[f32], deviation: f32, thresholds: &[f32], levels: &[i8], digits: &mut [u8], c: &mut [f32]) {
    let middle = [(0.0, 2.0 * f32::from(levels[0]))];
    let upper = thresholds.iter().zip(levels.windows(2));
    let upper = upper.map(|(&threshold, pair)| (threshold * deviation, f32::from(pair[1]) - f32::from(pair[0])));
    let steps = middle.into_iter().chain(upper.clone()).chain(upper.map(|(threshold, step)| (-threshold, step)));
    let lowest = -f32::from(levels[levels.len() - 1]);
    for ((y, digits), c) in y.chunks(16).zip(digits.chunks_mut(16)).zip(c.chunks_mut(16)) {
        let (mut values, mut passed, mut level) = ([0.0; 16], [0i32; 16], [lowest; 16]);
        values[..y.len()].copy_from_slice(y);
        for (threshold, step) in steps.clone() {
            for i in 0..16 {
                passed[i] += i32::from(values[i] > threshold);
                level[i] += if values[i] > threshold { step } else { 0.0 };
            }
        }
        for i in 0..y.len() {
            digits[i] = passed[i] as u8;
            c[i] = level[i];
        }
    }
}

/// How a row lies to its levels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fit {
    /// `||y||^2`.
    pub(crate) squared: f64,
    /// `<y, c>`.
    pub(crate) inner: f64,
    /// `||c||^2`.
    pub(crate) levels: f64,
}

impl Fit {
    #[inline(always)]
    pub(crate) fn of(y: &[f32], squared: f64, c: &[f32]) -> Fit {
        let [(inner, levels)] = canonical_dots_and_squares(y, [c]);
        Fit { squared, inner, levels }
    }

    /// The multiple of c that is nearest to y.
    pub(crate) fn nearest(&self) -> f64 {
        if self.inner > 0.0 { self.inner / self.levels } else { 0.0 }
    }

    /// The multiple of c that makes `<q, scale c>` an unbiased estimate of `<q, y>` over random rotations: `||y||^2 / <y, c>` (Gao and
    /// Long, arXiv 2405.12497, section 3.2).
    pub(crate) fn unbiased(&self) -> f64 {
        if self.inner > 0.0 { self.squared / self.inner } else { 0.0 }
    }

    /// The length of what [`unbiased`](Fit::unbiased) times c has beside y, at a right angle to it.
    pub(crate) fn error(&self) -> f64 {
        (self.unbiased().powi(2) * self.levels - self.squared).max(0.0).sqrt()
    }
}
