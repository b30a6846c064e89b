//! The inner product in f32.

use super::pairing::{Pairing, pair_sum};
use crate::simd::Simd;

/// `a * b`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product;

impl Pairing for Product {
    #[inline(always)]
    fn add<S: Simd>(simd: S, a: S::F32, b: S::F32, sum: S::F32) -> S::F32 {
        simd.mul_add(a, b, sum)
    }

    #[inline(always)]
    fn exact(a: f64, b: f64) -> f64 {
        a * b
    }
}

/// `sum(a[i] * b[i])` over the shorter of the two.
///
/// With n values the error is at most `gamma_n * ||a|| * ||b||`, `gamma_n = n u / (1 - n u)`, `u = 2^-24`
/// (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
#[inline(always)]
pub(crate) fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    pair_sum::<S, Product>(simd, a, b)
}
