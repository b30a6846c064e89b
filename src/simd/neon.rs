//! NEON: two registers of four f32 lanes side by side, so that a block is eight values here too.

use super::{Operation, Simd};
use std::arch::aarch64::*;

/// Proof that the processor has NEON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neon(());

impl Neon {
    /// The token, where the processor has the instructions.
    pub(crate) fn detect() -> Option<Neon> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Neon(()))
    }
}

impl Simd for Neon {
    type F32 = float32x4x2_t;
    const LANES: usize = 8;

    #[inline(always)]
    fn zero(self) -> Self::F32 {
        self.splat(0.0)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F32 {
        // SAFETY: the token proves NEON.
        unsafe { float32x4x2_t(vdupq_n_f32(value), vdupq_n_f32(value)) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::F32 {
        // SAFETY: the token proves NEON; the caller vouches for eight readable values.
        unsafe { float32x4x2_t(vld1q_f32(from), vld1q_f32(from.add(4))) }
    }

    #[inline(always)]
    unsafe fn load_partial(self, from: *const f32, count: usize) -> Self::F32 {
        let mut lanes = [0.0f32; 8];
        // SAFETY: the caller vouches for `count <= 8` readable values; `lanes` holds eight.
        unsafe {
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count);
            self.load(lanes.as_ptr())
        }
    }

    #[cfg(test)]
    #[inline(always)]
    unsafe fn store(self, value: Self::F32, to: *mut f32) {
        // SAFETY: the token proves NEON; the caller vouches for eight writable values.
        unsafe {
            vst1q_f32(to, value.0);
            vst1q_f32(to.add(4), value.1);
        }
    }

    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: the token proves NEON.
        unsafe { float32x4x2_t(vaddq_f32(a.0, b.0), vaddq_f32(a.1, b.1)) }
    }

    #[inline(always)]
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: the token proves NEON.
        unsafe { float32x4x2_t(vsubq_f32(a.0, b.0), vsubq_f32(a.1, b.1)) }
    }

    #[inline(always)]
    fn abs(self, a: Self::F32) -> Self::F32 {
        // SAFETY: the token proves NEON.
        unsafe { float32x4x2_t(vabsq_f32(a.0), vabsq_f32(a.1)) }
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        // SAFETY: the token proves NEON.
        unsafe { float32x4x2_t(vfmaq_f32(c.0, a.0, b.0), vfmaq_f32(c.1, a.1, b.1)) }
    }

    #[inline(always)]
    fn sum(self, a: Self::F32) -> f32 {
        // SAFETY: the token proves NEON.
        unsafe { vaddvq_f32(vaddq_f32(a.0, a.1)) }
    }

    #[inline(always)]
    fn not_below(self, a: Self::F32, b: Self::F32) -> u32 {
        let (mut left, mut right) = ([0.0f32; 8], [0.0f32; 8]);
        // SAFETY: both arrays hold eight values.
        unsafe {
            vst1q_f32(left.as_mut_ptr(), a.0);
            vst1q_f32(left.as_mut_ptr().add(4), a.1);
            vst1q_f32(right.as_mut_ptr(), b.0);
            vst1q_f32(right.as_mut_ptr().add(4), b.1);
        }
        super::Portable.not_below(left, right)
    }

    #[inline(always)]
    fn vectorize<O: Operation>(self, operation: O) -> O::Output {
        #[target_feature(enable = "neon")]
        fn enter<O: Operation>(simd: Neon, operation: O) -> O::Output {
            operation.run(simd)
        }
        // SAFETY: the token proves NEON.
        unsafe { enter(self, operation) }
    }
}
