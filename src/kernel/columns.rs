//! From the inner products of sixteen rows to those whose values reach a limit.
//!
//! The value of a row is its product times a scale of the row and a weight of the query, plus a few numbers of the row, each times
//! a weight of the query. All of it is f32 in registers; only rows that pass are looked at one by one.

use super::BLOCK_ROWS;
use crate::simd::Simd;

/// What a scan needs of the rows of a block beside their codes: up to three columns of sixteen words each.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    /// The scale, an f32; or its upper 16 bits in the lower half, and the error in the upper half.
    pub(crate) scale: &'a [u32; BLOCK_ROWS],
    /// Whether the first column has both.
    pub(crate) scale_with_error: bool,
    /// What the value begins with, an f32.
    pub(crate) constant: Option<&'a [u32; BLOCK_ROWS]>,
    /// Two lengths: the error in the upper half, what lies along the code in the lower.
    pub(crate) lengths: Option<&'a [u32; BLOCK_ROWS]>,
}

/// What the columns are multiplied with, to be added up to the value of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weights {
    pub(crate) scale: f32,
    pub(crate) constant: f32,
    pub(crate) error: f32,
    pub(crate) along: f32,
}

/// The values of the rows of a block for each of `Q` queries, from the inner products of their codes; and which rows reach the limit of each: bit i is
/// set unless the value of row i is below it. Nothing is written before all is known, so that what is made of the columns serves all queries.
#[inline(always)]
pub(crate) fn row_values<S: Simd, const Q: usize>(
    simd: S,
    products: &[[i32; BLOCK_ROWS]; Q],
    columns: Columns<'_>,
    weights: &[Weights; Q],
    limits: &[f32; Q],
) -> ([[f32; BLOCK_ROWS]; Q], [u32; Q]) {
    let (mut all, mut passing) = ([[0.0; BLOCK_ROWS]; Q], [0; Q]);
    for first in (0..BLOCK_ROWS).step_by(S::LANES) {
        let mut values = [simd.zero(); Q];
        for q in 0..Q {
            // SAFETY: LANES divides the sixteen values.
            values[q] = unsafe { some_values(simd, &products[q], columns, weights[q], first) };
        }
        for q in 0..Q {
            passing[q] |= simd.not_below(values[q], simd.splat(limits[q])) << first;
            // SAFETY: as above.
            unsafe { simd.store(values[q], all[q].as_mut_ptr().add(first)) };
        }
    }
    (all, passing)
}

/// The values of LANES rows.
///
/// # Safety
/// `first + LANES` must be at most [`BLOCK_ROWS`].
#[inline(always)]
unsafe fn some_values<S: Simd>(
    simd: S,
    products: &[i32; BLOCK_ROWS],
    columns: Columns<'_>,
    weights: Weights,
    first: usize,
) -> S::F32 {
    // SAFETY: all columns have sixteen words.
    unsafe {
        let scale = columns.scale.as_ptr().add(first);
        let mut base = simd.zero();
        if let Some(constant) = columns.constant {
            base = simd.mul_add(simd.load(constant.as_ptr().add(first).cast()), simd.splat(weights.constant), base);
        }
        let mut values =
            simd.mul_add(simd.load_i32(products.as_ptr().add(first)), simd.splat(weights.scale), simd.zero());
        if columns.scale_with_error {
            base = simd.mul_add(simd.load_upper(scale), simd.splat(weights.error), base);
            values = simd.mul_add(values, simd.load_lower(scale), base);
        } else {
            if let Some(lengths) = columns.lengths {
                let lengths = lengths.as_ptr().add(first);
                base = simd.mul_add(simd.load_upper(lengths), simd.splat(weights.error), base);
                base = simd.mul_add(simd.load_lower(lengths), simd.splat(weights.along), base);
            }
            values = simd.mul_add(values, simd.load(scale.cast()), base);
        }
        values
    }
}
