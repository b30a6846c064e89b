//! AVX-512: sixteen f32 lanes, masks instead of tails, and four products of bytes added up by one instruction (VNNI).

use super::{Byte, Operation, Simd};
use std::arch::x86_64::*;

/// Proof that the processor has AVX-512 F, BW, DQ, VL and VNNI (Cascade Lake, Zen 4 and later), and AVX2 with FMA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

/// Where the two words lie that are added up for each of sixteen rows: those of even rows in a first register, those of odd rows in a second.
const HALVES: [u16; 32] = {
    let (mut places, mut row) = ([0; 32], 0);
    while row < 16 {
        places[2 * row as usize] = row / 2 + row % 2 * 32;
        places[2 * row as usize + 1] = row / 2 + row % 2 * 32 + 8;
        row += 1;
    }
    places
};

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
    unsafe fn load_half(self, from: *const u16) -> __m512 {
        // SAFETY: the token proves AVX-512F; the caller vouches for sixteen readable values.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
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
    fn abs(self, a: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_abs_ps(a) }
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
    /// Those of bytes and 256 times their neighbours, which wrap around, and those of the neighbours.
    type Words = [__m512i; 2];
    const PAIR_LIMIT: i32 = i32::MAX;

    #[inline(always)]
    fn no_pairs(self) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn sums_of(self, value: i32) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_set1_epi32(value) }
    }

    #[inline(always)]
    unsafe fn load_codes(self, from: *const u8) -> __m512i {
        // SAFETY: the token proves AVX-512F; the caller vouches for 64 readable bytes.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn load_codes_partial(self, from: *const u8, count: usize) -> __m512i {
        let mask = (1u64 << count) - 1;
        // SAFETY: the token proves AVX-512BW; a masked load touches only the bytes that are set, which the caller vouches for.
        unsafe { _mm512_maskz_loadu_epi8(mask, from.cast()) }
    }

    #[inline(always)]
    fn digits(self, codes: __m512i, shift: u32, mask: u8) -> __m512i {
        // SAFETY: the token proves AVX-512 F and BW.
        unsafe {
            let shifted = _mm512_srl_epi16(codes, _mm_cvtsi32_si128(shift.cast_signed()));
            _mm512_and_si512(shifted, _mm512_set1_epi8(mask.cast_signed()))
        }
    }

    #[inline(always)]
    fn join(self, high: __m512i, shift: u32, low: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512 F and BW.
        unsafe { _mm512_or_si512(_mm512_sll_epi16(high, _mm_cvtsi32_si128(shift.cast_signed())), low) }
    }

    #[inline(always)]
    fn repeat(self, bytes: &[u8; 16]) -> __m512i {
        // SAFETY: the token proves AVX-512F; the array holds sixteen bytes.
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn look_up(self, tables: __m512i, codes: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512BW.
        unsafe { _mm512_shuffle_epi8(tables, codes) }
    }

    #[inline(always)]
    fn add_bytes(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512BW.
        unsafe { _mm512_add_epi8(a, b) }
    }

    #[inline(always)]
    unsafe fn multiply_signed(self, sums: __m512i, bytes: __m512i, query: *const i8) -> __m512i {
        // SAFETY: the token proves AVX-512 F, BW and VNNI; the caller vouches for 64 readable values.
        unsafe {
            let query = _mm512_loadu_si512(query.cast());
            let negative = _mm512_movepi8_mask(bytes);
            let signed = _mm512_mask_sub_epi8(query, negative, _mm512_setzero_si512(), query);
            _mm512_dpbusd_epi32(sums, _mm512_abs_epi8(bytes), signed)
        }
    }

    const SHIFTS_ROWS: bool = true;

    /// The instruction multiplies unsigned bytes with signed ones. If both are of one kind, 128 is added to the row, or taken from it,
    /// which is the same change of a bit, to make it one of the other.
    #[inline(always)]
    fn multiply_bytes<Q: Byte, R: Byte>(self, sums: __m512i, query: __m512i, row: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512 F and VNNI.
        unsafe {
            let row = if Q::SIGNED == R::SIGNED { _mm512_xor_si512(row, _mm512_set1_epi8(i8::MIN)) } else { row };
            if Q::SIGNED { _mm512_dpbusd_epi32(sums, row, query) } else { _mm512_dpbusd_epi32(sums, query, row) }
        }
    }

    #[inline(always)]
    fn no_words(self) -> [__m512i; 2] {
        [self.no_pairs(); 2]
    }

    #[inline(always)]
    fn add_to_words(self, [both, odd]: [__m512i; 2], bytes: __m512i) -> [__m512i; 2] {
        // SAFETY: the token proves AVX-512 F and BW.
        unsafe { [_mm512_add_epi16(both, bytes), _mm512_add_epi16(odd, _mm512_srli_epi16::<8>(bytes))] }
    }

    #[inline(always)]
    fn fold_words(self, sums: __m512i, [both, odd]: [__m512i; 2]) -> __m512i {
        #[inline(always)]
        fn half(words: __m512i) -> __m256i {
            // SAFETY: whoever calls holds the token, which proves AVX-512F and AVX2.
            unsafe { _mm256_add_epi16(_mm512_castsi512_si256(words), _mm512_extracti64x4_epi64::<1>(words)) }
        }
        // SAFETY: the token proves AVX-512 F, BW and VNNI, and AVX2.
        unsafe {
            let (both, odd) = (half(both), half(odd));
            let even = _mm256_sub_epi16(both, _mm256_slli_epi16::<8>(odd));
            let places = _mm512_loadu_si512(HALVES.as_ptr().cast());
            let halves = _mm512_permutex2var_epi16(_mm512_castsi256_si512(even), places, _mm512_castsi256_si512(odd));
            _mm512_dpwssd_epi32(sums, halves, _mm512_set1_epi16(1))
        }
    }

    #[inline(always)]
    unsafe fn multiply(self, pairs: __m512i, codes: __m512i, query: *const i8) -> __m512i {
        // SAFETY: the token proves AVX-512 F and VNNI; the caller vouches for four readable values.
        unsafe { _mm512_dpbusd_epi32(pairs, codes, _mm512_set1_epi32(query.cast::<i32>().read_unaligned())) }
    }

    #[inline(always)]
    fn multiply_each(self, pairs: __m512i, codes: __m512i, query: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512 F and VNNI.
        unsafe { _mm512_dpbusd_epi32(pairs, codes, query) }
    }

    #[inline(always)]
    fn widen(self, sums: __m512i, pairs: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_add_epi32(sums, pairs) }
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

    #[inline(always)]
    fn vectorize_counting<O: Operation>(self, operation: O) -> O::Output {
        // Not part of the level: Skylake-X and Cascade Lake have all of it but this.
        #[target_feature(
            enable = "avx2,fma,f16c,bmi1,bmi2,popcnt,lzcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq"
        )]
        fn enter<O: Operation>(simd: Avx512, operation: O) -> O::Output {
            operation.run(simd)
        }
        if !is_x86_feature_detected!("avx512vpopcntdq") {
            return self.vectorize(operation);
        }
        // SAFETY: the token proves all of these but the last, as in `vectorize`, and that has just been detected.
        unsafe { enter(self, operation) }
    }
}
