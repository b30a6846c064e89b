//! Codes for rotated rows: each coordinate becomes a digit of a few bits, and the row a vector of whole numbers.
//!
//! After a [rotation](crate::vectors::Rotation) the coordinates of a row y look like draws from a normal distribution with
//! standard deviation `||y|| / sqrt(width)`. A code says by which thresholds they become digits and which whole number, its
//! *level*, stands for each digit, so that y is about a multiple of c, the vector of levels. What multiple, and how well, is
//! then measured for each row: no table is trained, and one row is encoded as a million are.
//!
//! The upper bits of all digits are the *head*. A scan may read heads alone and look at the rest of a few rows.

use crate::kernel::canonical_dot;

/// A way to turn coordinates into digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Code {
    /// Its name, as files and messages have it.
    pub(crate) name: &'static str,
    /// Bits a digit, 1 to 8.
    pub(crate) bits: u32,
    /// The upper bits that a scan reads: 1, 2 or 4.
    pub(crate) head: u32,
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
    /// Bits a digit below the head.
    pub(crate) fn tail(&self) -> u32 {
        self.bits - self.head
    }

    /// What the coordinates of a row must be a multiple of.
    pub(crate) fn granule(&self) -> usize {
        (0..8).filter(|bit| (self.head | self.tail()) >> bit & 1 == 1).map(|bit| 32 >> bit).max().unwrap_or(32)
    }

    /// The whole number that stands for a digit.
    #[inline(always)]
    pub(crate) fn level(&self, digit: u8) -> i32 {
        match self.grid {
            Grid::Even(_) | Grid::Spanning => even_level(self.bits, digit),
            Grid::Uneven(_, levels) => {
                let (half, digit) = (levels.len(), usize::from(digit));
                if digit >= half { i32::from(levels[digit - half]) } else { -i32::from(levels[half - 1 - digit]) }
            }
        }
    }

    /// The whole number that stands for a head.
    #[inline(always)]
    pub(crate) fn head_level(&self, head: u8) -> i32 {
        if self.tail() == 0 { self.level(head) } else { even_level(self.head, head) }
    }

    /// The digits of `y`, whose length is `norm`.
    #[inline(always)]
    pub(crate) fn digits(&self, y: &[f32], norm: f64, digits: &mut [u8]) {
        let deviation = (norm / (y.len() as f64).sqrt()) as f32;
        let half = (1u32 << (self.bits - 1)) as f32;
        match self.grid {
            Grid::Even(step) => even_digits(y, 1.0 / (step * deviation), half, digits),
            Grid::Spanning => {
                let largest = y.iter().fold(0f32, |most, value| most.max(value.abs()));
                even_digits(y, half / largest, half, digits);
            }
            Grid::Uneven(thresholds, _) => {
                for (digit, &value) in digits.iter_mut().zip(y) {
                    let mut above = u8::from(value > 0.0);
                    for &threshold in thresholds {
                        let threshold = threshold * deviation;
                        above += u8::from(value > threshold) + u8::from(value > -threshold);
                    }
                    *digit = above;
                }
            }
        }
    }
}

fn even_level(bits: u32, digit: u8) -> i32 {
    2 * i32::from(digit) - ((1 << bits) - 1)
}

#[inline(always)]
fn even_digits(y: &[f32], per_step: f32, half: f32, digits: &mut [u8]) {
    for (digit, &value) in digits.iter_mut().zip(y) {
        // A row of zeros multiplies 0 by infinity; the cast makes 0 of NaN.
        *digit = (value * per_step + half).clamp(0.0, 2.0 * half - 1.0) as u8;
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
        Fit { squared, inner: canonical_dot(y, c), levels: canonical_dot(c, c) }
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
