//! AVX-512: sixteen f32 lanes, masks instead of tails, and four products of bytes added up by one instruction (VNNI).

use super::{Operation, Simd};
use std::arch::x86_64::*;

/// Proof that the processor has AVX-512 F, BW, DQ, VL and VNNI (Cascade Lake, Zen 4 and later), and AVX2 with FMA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The token, where the processor has the instructions.
    pub(crate) fn detect() -> Option<Avx512> {
        let has = super::avx2::Avx2::detect().is_some()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        has.then_some(Avx512(()))
    }
}

impl Simd for Avx512 {
    type F32 = __m512;
    const LANES: usize = 16;

    #[inline(always)]
    fn zero(self) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        // SAFETY: the token proves AVX-512F; the caller vouches for sixteen readable values.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_partial(self, from: *const f32, count: usize) -> __m512 {
        let mask = ((1u32 << count) - 1) as __mmask16;
        // SAFETY: the token proves AVX-512F; a masked load touches only the lanes that are set, which the caller
        // vouches for.
        unsafe { _mm512_maskz_loadu_ps(mask, from) }
    }

    #[inline(always)]
    unsafe fn load_i32(self, from: *const i32) -> __m512 {
        // SAFETY: the token proves AVX-512F; the caller vouches for sixteen readable values.
        unsafe { _mm512_cvtepi32_ps(_mm512_loadu_si512(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_upper(self, from: *const u32) -> __m512 {
        // SAFETY: the token proves AVX-512F; the caller vouches for sixteen readable values.
        unsafe {
            let words = _mm512_loadu_si512(from.cast());
            _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32(0xFFFF_0000u32.cast_signed())))
        }
    }

    #[inline(always)]
    unsafe fn load_lower(self, from: *const u32) -> __m512 {
        // SAFETY: the token proves AVX-512F; the caller vouches for sixteen readable values.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_loadu_si512(from.cast()))) }
    }

    #[cfg(test)]
    #[inline(always)]
    unsafe fn store(self, value: __m512, to: *mut f32) {
        // SAFETY: the token proves AVX-512F; the caller vouches for sixteen writable values.
        unsafe { _mm512_storeu_ps(to, value) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sum(self, a: __m512) -> f32 {
        // SAFETY: the token proves AVX-512 F and DQ.
        unsafe {
            let half = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half));
            let pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
        }
    }

    #[inline(always)]
    fn not_below(self, a: __m512, b: __m512) -> u32 {
        // SAFETY: the token proves AVX-512F. NLT_UQ: true unless a < b, and for NaN.
        unsafe { u32::from(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(a, b)) }
    }

    type Codes = __m512i;
    type Pairs = __m512i;
    type Sums = __m512i;
    const PAIR_LIMIT: i32 = i32::MAX;

    #[inline(always)]
    fn no_pairs(self) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn no_sums(self) -> __m512i {
        self.no_pairs()
    }

    #[inline(always)]
    unsafe fn load_codes(self, from: *const u8) -> __m512i {
        // SAFETY: the token proves AVX-512F; the caller vouches for 64 readable bytes.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    fn digits<const SHIFT: u32, const MASK: u8>(self, codes: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512 F and BW.
        unsafe { _mm512_and_si512(_mm512_srli_epi16::<SHIFT>(codes), _mm512_set1_epi8(MASK.cast_signed())) }
    }

    #[inline(always)]
    unsafe fn multiply(self, pairs: __m512i, codes: __m512i, query: *const i8) -> __m512i {
        // SAFETY: the token proves AVX-512 F and VNNI; the caller vouches for four readable values.
        unsafe { _mm512_dpbusd_epi32(pairs, codes, _mm512_set1_epi32(query.cast::<i32>().read_unaligned())) }
    }

    #[inline(always)]
    fn widen(self, sums: __m512i, pairs: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_add_epi32(sums, pairs) }
    }

    #[inline(always)]
    fn add_shifted(self, a: __m512i, b: __m512i, right: u32) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_add_epi32(a, _mm512_sra_epi32(b, _mm_cvtsi32_si128(right.cast_signed()))) }
    }

    #[inline(always)]
    fn twice_less(self, sums: __m512i, less: i32) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_sub_epi32(_mm512_add_epi32(sums, sums), _mm512_set1_epi32(less)) }
    }

    #[inline(always)]
    fn to_rows(self, sums: __m512i) -> [i32; 16] {
        // SAFETY: both types are sixteen i32.
        unsafe { std::mem::transmute(sums) }
    }

    #[inline(always)]
    fn vectorize<O: Operation>(self, operation: O) -> O::Output {
        #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,popcnt,lzcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        fn enter<O: Operation>(simd: Avx512, operation: O) -> O::Output {
            operation.run(simd)
        }
        // SAFETY: the token proves all of these; every processor with AVX2 has BMI, POPCNT and LZCNT.
        unsafe { enter(self, operation) }
    }
}
