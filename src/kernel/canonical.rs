//! Sums in f64 whose every bit is fixed: eight lanes (lane j takes the elements j, j + 8, j + 16, ...), added up in one tree.
//!
//! Plain Rust on purpose. The language never fuses or reorders floating-point operations, so the bits are the same at
//! every level; the eight independent lanes let the compiler use whatever registers the level has. (The product of two
//! f32 is exact in f64, so for the inner product even a fused multiply-add would give the same bits.)

use super::pairing::Pairing;
use super::{AbsoluteDifference, Product, SquaredDifference};

/// The number of lanes; part of the definition of a score.
const LANES: usize = 8;

#[inline(always)]
fn tree(lanes: [f64; LANES]) -> f64 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// The sum of what the pairs add, in f64. Both slices must have the same length.
#[inline(always)]
fn canonical_sum<P: Pairing>(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for j in 0..LANES {
            lanes[j] += P::exact(f64::from(x[j]), f64::from(y[j]));
        }
    }
    for (lane, (&x, &y)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane += P::exact(f64::from(x), f64::from(y));
    }
    tree(lanes)
}

/// `sum(a[i] * b[i])` in f64. Both slices must have the same length.
#[inline(always)]
pub(crate) fn canonical_dot(a: &[f32], b: &[f32]) -> f64 {
    canonical_sum::<Product>(a, b)
}

/// `sum(a[i] * b[i])` and `sum(b[i]^2)` in f64, each with the bits that [`canonical_dot`] gives it. Both slices must have the same
/// length.
#[inline(always)]
pub(crate) fn canonical_dot_and_square(a: &[f32], b: &[f32]) -> (f64, f64) {
    // One after the other: in one loop, the compiler pairs the two sums of a lane instead of the lanes of a sum.
    (canonical_sum::<Product>(a, b), canonical_sum::<Product>(b, b))
}

/// `sum((a[i] - b[i])^2)` in f64, subtracted in f64 too. Both slices must have the same length.
#[inline(always)]
pub(crate) fn canonical_squared_l2(a: &[f32], b: &[f32]) -> f64 {
    canonical_sum::<SquaredDifference>(a, b)
}

/// `sum(|a[i] - b[i]|)` in f64, subtracted in f64 too. Both slices must have the same length.
#[inline(always)]
pub(crate) fn canonical_l1(a: &[f32], b: &[f32]) -> f64 {
    canonical_sum::<AbsoluteDifference>(a, b)
}
