//! What a cell has room for, and how many signs a link has.
//!
//! A step takes as long as it takes to fetch its cell, and most of a cell of wide rows are signs. The variance of `<q, sign o>`, of unit vectors of w
//! coordinates of which s have signs, is `pi / (2 s) - 1 / w`: of s = w coordinates 0.57 / w. So rows of many values have signs for their first
//! coordinates alone, a random choice after the rotation: for as many as it takes to estimate as well as with all signs of 640.

use crate::kernel::{BLOCK_ROWS, NESTED_LINE, SIGN_LINE};

/// Coordinates are a multiple of so many: whole lines for every kernel.
const WIDTH_STEP: usize = 64;

/// Rows so wide have a sign for every coordinate; wider ones for as many as make estimates as good: see [`signs`].
const SIGNED: usize = 640;

/// How many of the coordinates of a row have signs in its links.
pub(super) fn signs(width: usize) -> usize {
    // s of pi / (2 s) - 1 / width = (pi / 2 - 1) / SIGNED, pi being 3.14.
    width.min((157 * SIGNED * width).div_ceil(57 * width + 100 * SIGNED).next_multiple_of(WIDTH_STEP))
}

/// Bytes of the numbers of a cell: scale, part, how many links there are; the rest is zero.
pub(super) const NUMBERS: usize = 64;

/// What a cell has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The most links.
    pub(crate) degree: usize,
    /// Whether it is a [`lean`](super::lean) one.
    pub(crate) lean: bool,
}

impl Shape {
    /// The coordinates of a rotated row of `dim` values: whole lines for every kernel.
    pub(super) fn width(self, dim: usize) -> usize {
        dim.next_multiple_of(if self.lean { NESTED_LINE } else { WIDTH_STEP })
    }

    /// Bytes of the row in a cell for rows of `dim` values, with its two numbers.
    pub(crate) fn row_bytes(self, dim: usize) -> usize {
        self.width(dim) + 8
    }

    /// Fans that the links of a cell take.
    #[inline(always)]
    pub(super) fn fans(self) -> usize {
        self.degree.div_ceil(BLOCK_ROWS)
    }

    /// Bytes of a cell for rows of `dim` values.
    pub(crate) fn cell_bytes(self, dim: usize) -> usize {
        let width = self.width(dim);
        if self.lean {
            return self.head_bytes(dim) + self.rest_bytes(dim);
        }
        width + NUMBERS + self.fans() * (signs(width) / SIGN_LINE + 2) * 64
    }
}
