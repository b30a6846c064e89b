//! The squared Euclidean distance in f32.

use super::pairing::{Pairing, pair_sum};
use crate::simd::Simd;

/// `(a - b)^2`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SquaredDifference;

impl Pairing for SquaredDifference {
    #[inline(always)]
    fn add<S: Simd>(simd: S, a: S::F32, b: S::F32, sum: S::F32) -> S::F32 {
        let difference = simd.sub(a, b);
        simd.mul_add(difference, difference, sum)
    }

    #[inline(always)]
    fn exact(a: f64, b: f64) -> f64 {
        let difference = a - b;
        difference * difference
    }
}

/// `sum((a[i] - b[i])^2)` over the shorter of the two. The relative error is at most `gamma_(n + 2)`: differences are
/// taken before they are squared, so nothing cancels.
#[inline(always)]
pub(crate) fn squared_l2<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    pair_sum::<S, SquaredDifference>(simd, a, b)
}
