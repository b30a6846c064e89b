//! The Manhattan distance in f32.

use super::pairing::{Pairing, pair_sum};
use crate::simd::Simd;

/// `|a - b|`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AbsoluteDifference;

impl Pairing for AbsoluteDifference {
    #[inline(always)]
    fn add<S: Simd>(simd: S, a: S::F32, b: S::F32, sum: S::F32) -> S::F32 {
        simd.add(sum, simd.abs(simd.sub(a, b)))
    }

    #[inline(always)]
    fn exact(a: f64, b: f64) -> f64 {
        (a - b).abs()
    }
}

/// `sum(|a[i] - b[i]|)` over the shorter of the two. The relative error is at most `gamma_n`: each of the n terms is rounded
/// once when it is made and at most n - 1 times when it is added, and none is negative, so nothing cancels (Higham, section 4.2).
/// There is no absolute error beside it: a sum or a difference in the denormal range is exact.
#[inline(always)]
pub(crate) fn l1<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    pair_sum::<S, AbsoluteDifference>(simd, a, b)
}
