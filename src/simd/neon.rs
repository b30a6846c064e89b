//! NEON: two registers of four f32 lanes side by side, so that a block is eight values here too.

use super::{Byte, Operation, Simd};
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

    /// In integers: the type of four halves is not stable in Rust yet.
    #[inline(always)]
    unsafe fn load_half(self, from: *const u16) -> Self::F32 {
        // SAFETY: the caller vouches for eight readable values, and the array holds eight.
        unsafe { self.load(super::Portable.load_half(from).as_ptr()) }
    }

    #[inline(always)]
    unsafe fn load_i32(self, from: *const i32) -> Self::F32 {
        // SAFETY: the token proves NEON; the caller vouches for eight readable values.
        unsafe { float32x4x2_t(vcvtq_f32_s32(vld1q_s32(from)), vcvtq_f32_s32(vld1q_s32(from.add(4)))) }
    }

    #[inline(always)]
    unsafe fn load_upper(self, from: *const u32) -> Self::F32 {
        // SAFETY: the token proves NEON; the caller vouches for eight readable values.
        unsafe {
            let mask = vdupq_n_u32(0xFFFF_0000);
            let (a, b) = (vandq_u32(vld1q_u32(from), mask), vandq_u32(vld1q_u32(from.add(4)), mask));
            float32x4x2_t(vreinterpretq_f32_u32(a), vreinterpretq_f32_u32(b))
        }
    }

    #[inline(always)]
    unsafe fn load_lower(self, from: *const u32) -> Self::F32 {
        // SAFETY: the token proves NEON; the caller vouches for eight readable values.
        unsafe {
            let (a, b) = (vshlq_n_u32::<16>(vld1q_u32(from)), vshlq_n_u32::<16>(vld1q_u32(from.add(4))));
            float32x4x2_t(vreinterpretq_f32_u32(a), vreinterpretq_f32_u32(b))
        }
    }

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

    type Codes = uint8x16x4_t;
    type Pairs = int32x4x4_t;
    type Sums = int32x4x4_t;
    /// Those of the lower and those of the upper eight places of sixteen bytes, the four parts added up.
    type Words = [uint16x8_t; 2];
    const PAIR_LIMIT: i32 = i32::MAX;

    #[inline(always)]
    fn no_pairs(self) -> int32x4x4_t {
        // SAFETY: the token proves NEON.
        let zero = unsafe { vdupq_n_s32(0) };
        int32x4x4_t(zero, zero, zero, zero)
    }

    #[inline(always)]
    fn sums_of(self, value: i32) -> int32x4x4_t {
        // SAFETY: the token proves NEON.
        let sums = unsafe { vdupq_n_s32(value) };
        int32x4x4_t(sums, sums, sums, sums)
    }

    #[inline(always)]
    unsafe fn load_codes(self, from: *const u8) -> uint8x16x4_t {
        // SAFETY: the token proves NEON; the caller vouches for 64 readable bytes.
        unsafe { uint8x16x4_t(vld1q_u8(from), vld1q_u8(from.add(16)), vld1q_u8(from.add(32)), vld1q_u8(from.add(48))) }
    }

    #[inline(always)]
    fn digits(self, codes: uint8x16x4_t, shift: u32, mask: u8) -> uint8x16x4_t {
        // SAFETY: the token proves NEON. A shift to the left by a negative amount is one to the right.
        unsafe {
            let (shift, mask) = (vdupq_n_s8(-(shift as i8)), vdupq_n_u8(mask));
            uint8x16x4_t(
                vandq_u8(vshlq_u8(codes.0, shift), mask),
                vandq_u8(vshlq_u8(codes.1, shift), mask),
                vandq_u8(vshlq_u8(codes.2, shift), mask),
                vandq_u8(vshlq_u8(codes.3, shift), mask),
            )
        }
    }

    #[inline(always)]
    fn join(self, high: uint8x16x4_t, shift: u32, low: uint8x16x4_t) -> uint8x16x4_t {
        // SAFETY: the token proves NEON.
        unsafe {
            let shift = vdupq_n_s8(shift as i8);
            uint8x16x4_t(
                vorrq_u8(vshlq_u8(high.0, shift), low.0),
                vorrq_u8(vshlq_u8(high.1, shift), low.1),
                vorrq_u8(vshlq_u8(high.2, shift), low.2),
                vorrq_u8(vshlq_u8(high.3, shift), low.3),
            )
        }
    }

    #[inline(always)]
    fn repeat(self, bytes: &[u8; 16]) -> uint8x16x4_t {
        // SAFETY: the token proves NEON; the array holds sixteen bytes.
        let bytes = unsafe { vld1q_u8(bytes.as_ptr()) };
        uint8x16x4_t(bytes, bytes, bytes, bytes)
    }

    #[inline(always)]
    fn look_up(self, tables: uint8x16x4_t, codes: uint8x16x4_t) -> uint8x16x4_t {
        // SAFETY: the token proves NEON.
        unsafe {
            uint8x16x4_t(
                vqtbl1q_u8(tables.0, codes.0),
                vqtbl1q_u8(tables.1, codes.1),
                vqtbl1q_u8(tables.2, codes.2),
                vqtbl1q_u8(tables.3, codes.3),
            )
        }
    }

    #[inline(always)]
    fn add_bytes(self, a: uint8x16x4_t, b: uint8x16x4_t) -> uint8x16x4_t {
        // SAFETY: the token proves NEON.
        unsafe { uint8x16x4_t(vaddq_u8(a.0, b.0), vaddq_u8(a.1, b.1), vaddq_u8(a.2, b.2), vaddq_u8(a.3, b.3)) }
    }

    #[inline(always)]
    unsafe fn multiply_signed(self, sums: int32x4x4_t, bytes: uint8x16x4_t, query: *const i8) -> int32x4x4_t {
        // SAFETY: the token proves NEON; the caller vouches for 64 readable values.
        unsafe {
            int32x4x4_t(
                four_rows(sums.0, bytes.0, vld1q_s8(query)),
                four_rows(sums.1, bytes.1, vld1q_s8(query.add(16))),
                four_rows(sums.2, bytes.2, vld1q_s8(query.add(32))),
                four_rows(sums.3, bytes.3, vld1q_s8(query.add(48))),
            )
        }
    }

    #[inline(always)]
    fn multiply_bytes<Q: Byte, R: Byte>(
        self,
        sums: int32x4x4_t,
        query: uint8x16x4_t,
        row: uint8x16x4_t,
    ) -> int32x4x4_t {
        int32x4x4_t(
            add_products::<Q, R>(sums.0, query.0, row.0),
            add_products::<Q, R>(sums.1, query.1, row.1),
            add_products::<Q, R>(sums.2, query.2, row.2),
            add_products::<Q, R>(sums.3, query.3, row.3),
        )
    }

    #[inline(always)]
    fn no_words(self) -> [uint16x8_t; 2] {
        // SAFETY: the token proves NEON.
        unsafe { [vdupq_n_u16(0); 2] }
    }

    #[inline(always)]
    fn add_to_words(self, [low, high]: [uint16x8_t; 2], bytes: uint8x16x4_t) -> [uint16x8_t; 2] {
        // SAFETY: the token proves NEON.
        unsafe {
            let add = |[low, high]: [uint16x8_t; 2], bytes: uint8x16_t| {
                [vaddw_u8(low, vget_low_u8(bytes)), vaddw_high_u8(high, bytes)]
            };
            add(add(add(add([low, high], bytes.0), bytes.1), bytes.2), bytes.3)
        }
    }

    #[inline(always)]
    fn fold_words(self, sums: int32x4x4_t, [low, high]: [uint16x8_t; 2]) -> int32x4x4_t {
        // SAFETY: the token proves NEON.
        unsafe {
            int32x4x4_t(
                vaddq_s32(sums.0, vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low)))),
                vaddq_s32(sums.1, vreinterpretq_s32_u32(vmovl_high_u16(low))),
                vaddq_s32(sums.2, vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high)))),
                vaddq_s32(sums.3, vreinterpretq_s32_u32(vmovl_high_u16(high))),
            )
        }
    }

    #[inline(always)]
    unsafe fn multiply(self, pairs: int32x4x4_t, codes: uint8x16x4_t, query: *const i8) -> int32x4x4_t {
        // SAFETY: the token proves NEON; the caller vouches for four readable values.
        unsafe {
            let query = vreinterpretq_s8_s32(vdupq_n_s32(query.cast::<i32>().read_unaligned()));
            int32x4x4_t(
                four_rows(pairs.0, codes.0, query),
                four_rows(pairs.1, codes.1, query),
                four_rows(pairs.2, codes.2, query),
                four_rows(pairs.3, codes.3, query),
            )
        }
    }

    #[inline(always)]
    fn multiply_each(self, pairs: int32x4x4_t, codes: uint8x16x4_t, query: uint8x16x4_t) -> int32x4x4_t {
        self.multiply_bytes::<i8, i8>(pairs, query, codes)
    }

    #[inline(always)]
    fn widen(self, sums: int32x4x4_t, pairs: int32x4x4_t) -> int32x4x4_t {
        // SAFETY: the token proves NEON.
        unsafe {
            int32x4x4_t(
                vaddq_s32(sums.0, pairs.0),
                vaddq_s32(sums.1, pairs.1),
                vaddq_s32(sums.2, pairs.2),
                vaddq_s32(sums.3, pairs.3),
            )
        }
    }

    #[inline(always)]
    fn twice_less(self, sums: int32x4x4_t, less: i32) -> int32x4x4_t {
        // SAFETY: the token proves NEON.
        unsafe {
            let less = vdupq_n_s32(less);
            int32x4x4_t(
                vsubq_s32(vaddq_s32(sums.0, sums.0), less),
                vsubq_s32(vaddq_s32(sums.1, sums.1), less),
                vsubq_s32(vaddq_s32(sums.2, sums.2), less),
                vsubq_s32(vaddq_s32(sums.3, sums.3), less),
            )
        }
    }

    #[inline(always)]
    fn to_rows(self, sums: int32x4x4_t) -> [i32; 16] {
        let mut rows = [0; 16];
        // SAFETY: the token proves NEON; `rows` holds sixteen values.
        unsafe {
            vst1q_s32(rows.as_mut_ptr(), sums.0);
            vst1q_s32(rows.as_mut_ptr().add(4), sums.1);
            vst1q_s32(rows.as_mut_ptr().add(8), sums.2);
            vst1q_s32(rows.as_mut_ptr().add(12), sums.3);
        }
        rows
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

/// Adds to four rows the inner products of their four codes, at most 127, with the query's four values.
///
/// Widening multiplications and two pairwise additions: the dot-product instructions would do it in one, but are not
/// stable in Rust yet.
#[inline(always)]
fn four_rows(sums: int32x4_t, codes: uint8x16_t, query: int8x16_t) -> int32x4_t {
    // SAFETY: whoever calls holds the token, which proves NEON.
    unsafe {
        let codes = vreinterpretq_s8_u8(codes);
        let low = vpaddlq_s16(vmull_s8(vget_low_s8(codes), vget_low_s8(query)));
        let high = vpaddlq_s16(vmull_high_s8(codes, query));
        vaddq_s32(sums, vpaddq_s32(low, high))
    }
}

/// Adds the products of sixteen bytes: as bytes if both are signed or both are not, widened first if not.
#[inline(always)]
fn add_products<Q: Byte, R: Byte>(sums: int32x4_t, query: uint8x16_t, row: uint8x16_t) -> int32x4_t {
    // SAFETY: whoever calls holds the token, which proves NEON.
    unsafe {
        if Q::SIGNED && R::SIGNED {
            let (query, row) = (vreinterpretq_s8_u8(query), vreinterpretq_s8_u8(row));
            let low = vmull_s8(vget_low_s8(query), vget_low_s8(row));
            return vpadalq_s16(vpadalq_s16(sums, low), vmull_high_s8(query, row));
        }
        if !Q::SIGNED && !R::SIGNED {
            let low = vmull_u8(vget_low_u8(query), vget_low_u8(row));
            let sums = vpadalq_u16(vreinterpretq_u32_s32(sums), low);
            return vreinterpretq_s32_u32(vpadalq_u16(sums, vmull_high_u8(query, row)));
        }
        let ([a, b], [c, d]) = (halves::<Q>(query), halves::<R>(row));
        let sums = vmlal_high_s16(vmlal_s16(sums, vget_low_s16(a), vget_low_s16(c)), a, c);
        vmlal_high_s16(vmlal_s16(sums, vget_low_s16(b), vget_low_s16(d)), b, d)
    }
}

/// The lower and the upper eight of sixteen bytes, in sixteen bits each.
#[inline(always)]
fn halves<B: Byte>(bytes: uint8x16_t) -> [int16x8_t; 2] {
    // SAFETY: whoever calls holds the token, which proves NEON.
    unsafe {
        if B::SIGNED {
            let bytes = vreinterpretq_s8_u8(bytes);
            [vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)]
        } else {
            [vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))), vreinterpretq_s16_u16(vmovl_high_u8(bytes))]
        }
    }
}
