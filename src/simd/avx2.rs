//! AVX2 with FMA: eight f32 lanes.

use super::{Byte, Operation, Simd};
use std::arch::x86_64::*;

/// Proof that the processor has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The token, where the processor has the instructions.
    pub(crate) fn detect() -> Option<Avx2> {
        let has =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        has.then_some(Avx2(()))
    }
}

/// `MASKS[8 - n..]` starts with n lanes of ones.
static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

impl Simd for Avx2 {
    type F32 = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    fn zero(self) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        // SAFETY: the token proves AVX2; the caller vouches for eight readable values.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_partial(self, from: *const f32, count: usize) -> __m256 {
        // SAFETY: the token proves AVX2; `count <= 8` keeps the mask inside MASKS, and a masked load touches
        // only the lanes that are set, which the caller vouches for.
        unsafe {
            let mask = _mm256_loadu_si256(MASKS.as_ptr().add(8 - count).cast());
            _mm256_maskload_ps(from, mask)
        }
    }

    #[inline(always)]
    unsafe fn load_half(self, from: *const u16) -> __m256 {
        // SAFETY: the token proves F16C; the caller vouches for eight readable values.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_i32(self, from: *const i32) -> __m256 {
        // SAFETY: the token proves AVX2; the caller vouches for eight readable values.
        unsafe { _mm256_cvtepi32_ps(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_upper(self, from: *const u32) -> __m256 {
        // SAFETY: the token proves AVX2; the caller vouches for eight readable values.
        unsafe {
            let words = _mm256_loadu_si256(from.cast());
            _mm256_castsi256_ps(_mm256_and_si256(words, _mm256_set1_epi32(0xFFFF_0000u32.cast_signed())))
        }
    }

    #[inline(always)]
    unsafe fn load_lower(self, from: *const u32) -> __m256 {
        // SAFETY: the token proves AVX2; the caller vouches for eight readable values.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_loadu_si256(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn store(self, value: __m256, to: *mut f32) {
        // SAFETY: the token proves AVX2; the caller vouches for eight writable values.
        unsafe { _mm256_storeu_ps(to, value) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        // SAFETY: the token proves AVX2. Of -0.0 only the sign is set, and the sign is what is taken off.
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the token proves FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sum(self, a: __m256) -> f32 {
        // SAFETY: the token proves AVX2, which includes SSE3.
        unsafe {
            let half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
        }
    }

    #[inline(always)]
    fn not_below(self, a: __m256, b: __m256) -> u32 {
        // SAFETY: the token proves AVX2. NLT_UQ: true unless a < b, and for NaN.
        unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NLT_UQ>(a, b)).cast_unsigned() }
    }

    type Codes = [__m256i; 2];
    /// Sixteen i16 each: two for every row.
    type Pairs = [__m256i; 2];
    type Sums = [__m256i; 2];
    /// Of each half those of bytes and 256 times their neighbours, which wrap around, and those of the neighbours.
    type Words = [[__m256i; 2]; 2];
    const PAIR_LIMIT: i32 = i16::MAX as i32;

    #[inline(always)]
    fn no_pairs(self) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    fn sums_of(self, value: i32) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_set1_epi32(value); 2] }
    }

    #[inline(always)]
    unsafe fn load_codes(self, from: *const u8) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2; the caller vouches for 64 readable bytes.
        unsafe { [_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(32).cast())] }
    }

    /// Whole words by a mask, the bytes that are left over by themselves. (By way of memory, the processor waits for the store.)
    #[inline(always)]
    unsafe fn load_codes_partial(self, from: *const u8, count: usize) -> [__m256i; 2] {
        let words = count / 4;
        let mut last = 0;
        for i in 4 * words..count {
            // SAFETY: the caller vouches for `count` readable bytes.
            last |= i32::from(unsafe { *from.add(i) }) << (8 * (i % 4));
        }
        // SAFETY: the token proves AVX2; a masked load touches only the words that are set, which the caller vouches for.
        unsafe {
            let (end, last) = (_mm256_set1_epi32(words as i32), _mm256_set1_epi32(last));
            let first = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let places = [first, _mm256_add_epi32(first, _mm256_set1_epi32(8))];
            let from = from.cast::<i32>();
            let [a, b] = [_mm256_cmpgt_epi32(end, places[0]), _mm256_cmpgt_epi32(end, places[1])];
            let whole = [_mm256_maskload_epi32(from, a), _mm256_maskload_epi32(from.wrapping_add(8), b)];
            let at = [_mm256_cmpeq_epi32(end, places[0]), _mm256_cmpeq_epi32(end, places[1])];
            [
                _mm256_or_si256(whole[0], _mm256_and_si256(at[0], last)),
                _mm256_or_si256(whole[1], _mm256_and_si256(at[1], last)),
            ]
        }
    }

    #[inline(always)]
    fn digits(self, codes: [__m256i; 2], shift: u32, mask: u8) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        codes.map(|half| unsafe {
            let shifted = _mm256_srl_epi16(half, _mm_cvtsi32_si128(shift.cast_signed()));
            _mm256_and_si256(shifted, _mm256_set1_epi8(mask.cast_signed()))
        })
    }

    #[inline(always)]
    fn join(self, high: [__m256i; 2], shift: u32, low: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe {
            let shift = _mm_cvtsi32_si128(shift.cast_signed());
            [
                _mm256_or_si256(_mm256_sll_epi16(high[0], shift), low[0]),
                _mm256_or_si256(_mm256_sll_epi16(high[1], shift), low[1]),
            ]
        }
    }

    #[inline(always)]
    fn repeat(self, bytes: &[u8; 16]) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2; the array holds sixteen bytes.
        unsafe { [_mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast())); 2] }
    }

    #[inline(always)]
    fn look_up(self, tables: [__m256i; 2], codes: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_shuffle_epi8(tables[0], codes[0]), _mm256_shuffle_epi8(tables[1], codes[1])] }
    }

    #[inline(always)]
    fn add_bytes(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_add_epi8(a[0], b[0]), _mm256_add_epi8(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn multiply_signed(self, [a, b]: [__m256i; 2], bytes: [__m256i; 2], query: *const i8) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2; the caller vouches for 64 readable values. Two products of at most 127^2 fit i16.
        unsafe {
            let one = _mm256_set1_epi16(1);
            let add = |sums: __m256i, bytes: __m256i, query: __m256i| {
                let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(bytes), _mm256_sign_epi8(query, bytes));
                _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, one))
            };
            [
                add(a, bytes[0], _mm256_loadu_si256(query.cast())),
                add(b, bytes[1], _mm256_loadu_si256(query.add(32).cast())),
            ]
        }
    }

    #[inline(always)]
    fn multiply_bytes<Q: Byte, R: Byte>(
        self,
        [a, b]: [__m256i; 2],
        query: [__m256i; 2],
        row: [__m256i; 2],
    ) -> [__m256i; 2] {
        [add_products::<Q, R>(a, query[0], row[0]), add_products::<Q, R>(b, query[1], row[1])]
    }

    #[inline(always)]
    fn no_words(self) -> [[__m256i; 2]; 2] {
        [self.no_pairs(); 2]
    }

    #[inline(always)]
    fn add_to_words(self, words: [[__m256i; 2]; 2], bytes: [__m256i; 2]) -> [[__m256i; 2]; 2] {
        // SAFETY: the token proves AVX2.
        unsafe {
            let add = |[both, odd]: [__m256i; 2], bytes: __m256i| {
                [_mm256_add_epi16(both, bytes), _mm256_add_epi16(odd, _mm256_srli_epi16::<8>(bytes))]
            };
            [add(words[0], bytes[0]), add(words[1], bytes[1])]
        }
    }

    #[inline(always)]
    fn fold_words(self, sums: [__m256i; 2], [a, b]: [[__m256i; 2]; 2]) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe {
            let fold = |a: __m256i, b: __m256i| {
                let half = _mm256_add_epi16(a, b);
                _mm_add_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
            };
            let (both, odd) = (fold(a[0], b[0]), fold(a[1], b[1]));
            let even = _mm_sub_epi16(both, _mm_slli_epi16::<8>(odd));
            let (low, high) = (_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd));
            [
                _mm256_add_epi32(sums[0], _mm256_cvtepu16_epi32(low)),
                _mm256_add_epi32(sums[1], _mm256_cvtepu16_epi32(high)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn multiply(self, [a, b]: [__m256i; 2], codes: [__m256i; 2], query: *const i8) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2; the caller vouches for four readable values. The products of two neighbours stay
        // within i16, since codes are at most 127.
        unsafe {
            let query = _mm256_set1_epi32(query.cast::<i32>().read_unaligned());
            [
                _mm256_add_epi16(a, _mm256_maddubs_epi16(codes[0], query)),
                _mm256_add_epi16(b, _mm256_maddubs_epi16(codes[1], query)),
            ]
        }
    }

    #[inline(always)]
    fn multiply_each(self, [a, b]: [__m256i; 2], codes: [__m256i; 2], query: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe {
            [
                _mm256_add_epi16(a, _mm256_maddubs_epi16(codes[0], query[0])),
                _mm256_add_epi16(b, _mm256_maddubs_epi16(codes[1], query[1])),
            ]
        }
    }

    #[inline(always)]
    fn widen(self, [a, b]: [__m256i; 2], pairs: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe {
            let one = _mm256_set1_epi16(1);
            [
                _mm256_add_epi32(a, _mm256_madd_epi16(pairs[0], one)),
                _mm256_add_epi32(b, _mm256_madd_epi16(pairs[1], one)),
            ]
        }
    }

    #[inline(always)]
    fn twice_less(self, [a, b]: [__m256i; 2], less: i32) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe {
            let less = _mm256_set1_epi32(less);
            [_mm256_sub_epi32(_mm256_add_epi32(a, a), less), _mm256_sub_epi32(_mm256_add_epi32(b, b), less)]
        }
    }

    #[inline(always)]
    fn to_rows(self, sums: [__m256i; 2]) -> [i32; 16] {
        // SAFETY: both types are sixteen i32.
        unsafe { std::mem::transmute(sums) }
    }

    #[inline(always)]
    fn vectorize<O: Operation>(self, operation: O) -> O::Output {
        #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,popcnt,lzcnt")]
        fn enter<O: Operation>(simd: Avx2, operation: O) -> O::Output {
            operation.run(simd)
        }
        // SAFETY: the token proves AVX2, FMA and F16C; every processor with AVX2 has BMI, POPCNT and LZCNT.
        unsafe { enter(self, operation) }
    }
}

/// Adds the products of 32 bytes. Signed ones, of which the sign can be moved from one to the other, by the instruction for bytes: two products
/// of at most 127^2 fit its sums of sixteen bits. Two of 255 * 127 do not, so all else is widened first.
#[inline(always)]
fn add_products<Q: Byte, R: Byte>(sums: __m256i, query: __m256i, row: __m256i) -> __m256i {
    // SAFETY: whoever calls holds the token, which proves AVX2.
    unsafe {
        if Q::SIGNED && R::SIGNED {
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(query), _mm256_sign_epi8(row, query));
            return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
        }
        let ([a, b], [c, d]) = (halves::<Q>(query), halves::<R>(row));
        _mm256_add_epi32(sums, _mm256_add_epi32(_mm256_madd_epi16(a, c), _mm256_madd_epi16(b, d)))
    }
}

/// Every second byte, from the first on and from the second on, in sixteen bits each.
#[inline(always)]
fn halves<B: Byte>(bytes: __m256i) -> [__m256i; 2] {
    // SAFETY: whoever calls holds the token, which proves AVX2.
    unsafe {
        if B::SIGNED {
            [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes)), _mm256_srai_epi16::<8>(bytes)]
        } else {
            [_mm256_and_si256(bytes, _mm256_set1_epi16(0xFF)), _mm256_srli_epi16::<8>(bytes)]
        }
    }
}
