//! What the processor can do, asked once and then compiled in.
//!
//! An algorithm is written once, generic over [`Simd`]: a small set of operations, on one register of f32 values and on blocks of
//! small unsigned codes. A value of a type that implements it is a *token*: it can only be had from [`Level::detect`], so whoever holds one knows that the
//! processor has those instructions. [`dispatch`] picks the token at the very top (once for a whole search, never for a
//! single distance) and enters a `#[target_feature]` function; everything below is `#[inline(always)]`, so the whole
//! loop is compiled for that instruction set. What is not inlined would silently lose it, which is why closures have no
//! place in a hot loop here.

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

pub(crate) use portable::Portable;

/// One instruction set: operations on a register of [`LANES`](Simd::LANES) f32 values.
///
/// Loads take raw pointers because rows are read in unrolled loops whose bounds are known outside them.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// A register of f32 values.
    type F32: Copy;
    /// How many values it holds.
    const LANES: usize;

    /// A register of zeros.
    fn zero(self) -> Self::F32;
    /// A register that repeats `value`.
    fn splat(self, value: f32) -> Self::F32;
    /// Reads `LANES` values, at any alignment.
    ///
    /// # Safety
    /// `from` must be valid for reads of `LANES` values.
    unsafe fn load(self, from: *const f32) -> Self::F32;
    /// Reads `count < LANES` values; the other lanes are zero.
    ///
    /// # Safety
    /// `from` must be valid for reads of `count` values, and `count <= LANES`.
    unsafe fn load_partial(self, from: *const f32, count: usize) -> Self::F32;
    /// Reads `LANES` halves (IEEE 754 binary16), converted. Every half has the same value as an f32; of a NaN the payload stays, and it
    /// becomes quiet.
    ///
    /// # Safety
    /// `from` must be valid for reads of `LANES` values.
    unsafe fn load_half(self, from: *const u16) -> Self::F32;
    /// Reads `LANES` i32 values, converted.
    ///
    /// # Safety
    /// `from` must be valid for reads of `LANES` values.
    unsafe fn load_i32(self, from: *const i32) -> Self::F32;
    /// Reads the upper halves of `LANES` words as bf16, the bits below being zero.
    ///
    /// # Safety
    /// `from` must be valid for reads of `LANES` values.
    unsafe fn load_upper(self, from: *const u32) -> Self::F32;
    /// Reads the lower halves of `LANES` words as bf16, the bits below being zero.
    ///
    /// # Safety
    /// `from` must be valid for reads of `LANES` values.
    unsafe fn load_lower(self, from: *const u32) -> Self::F32;
    /// Writes `LANES` values, at any alignment.
    ///
    /// # Safety
    /// `to` must be valid for writes of `LANES` values.
    unsafe fn store(self, value: Self::F32, to: *mut f32);
    /// `a + b`.
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a - b`.
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `|a|`.
    fn abs(self, a: Self::F32) -> Self::F32;
    /// `a * b + c`, rounded once where the processor can.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// The sum of all lanes.
    fn sum(self, a: Self::F32) -> f32;
    /// Bit i is set unless `a[i] < b[i]`: a NaN on either side counts as "not below".
    fn not_below(self, a: Self::F32, b: Self::F32) -> u32;

    /// Sixty-four unsigned bytes: four values of each of sixteen rows, those of row r at 4r.
    type Codes: Copy;
    /// For each of the sixteen rows, sums of products that may still lie in two halves.
    type Pairs: Copy;
    /// For each of the sixteen rows an i32.
    type Sums: Copy;
    /// Sixty-four unsigned sums of sixteen bits.
    type Words: Copy;
    /// The largest magnitude that a sum in `Pairs` may reach; beyond it, it is wrong.
    const PAIR_LIMIT: i32;

    /// Sums of nothing.
    fn no_pairs(self) -> Self::Pairs;
    /// Sums that begin with a value.
    fn sums_of(self, value: i32) -> Self::Sums;
    /// Reads sixty-four bytes, at any alignment.
    ///
    /// # Safety
    /// `from` must be valid for reads of 64 bytes.
    unsafe fn load_codes(self, from: *const u8) -> Self::Codes;
    /// Reads `count < 64` bytes; the others are zero.
    ///
    /// # Safety
    /// `from` must be valid for reads of `count` bytes.
    #[inline(always)]
    unsafe fn load_codes_partial(self, from: *const u8, count: usize) -> Self::Codes {
        let mut bytes = [0u8; 64];
        // SAFETY: the caller vouches for `count` readable bytes, fewer than there is room for.
        unsafe {
            std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), count);
            self.load_codes(bytes.as_ptr())
        }
    }
    /// `codes >> shift & mask` in every byte; `mask << shift` must fit a byte.
    fn digits(self, codes: Self::Codes, shift: u32, mask: u8) -> Self::Codes;
    /// `high << shift | low` in every byte; no `high` may reach beyond its byte.
    fn join(self, high: Self::Codes, shift: u32, low: Self::Codes) -> Self::Codes;
    /// The same sixteen bytes four times.
    fn repeat(self, bytes: &[u8; 16]) -> Self::Codes;
    /// In place of each byte of `codes`, which must be below 16, what the sixteen bytes of `tables` around it have there.
    fn look_up(self, tables: Self::Codes, codes: Self::Codes) -> Self::Codes;
    /// `a + b`, byte by byte.
    fn add_bytes(self, a: Self::Codes, b: Self::Codes) -> Self::Codes;
    /// Adds each row's inner product with the four signed values at `query`. Codes may be at most 127.
    ///
    /// # Safety
    /// `query` must be valid for reads of four values.
    unsafe fn multiply(self, pairs: Self::Pairs, codes: Self::Codes, query: *const i8) -> Self::Pairs;
    /// Adds the products of 64 codes, none above 15, with 64 signed bytes, those of neighbours to each sum.
    fn multiply_each(self, pairs: Self::Pairs, codes: Self::Codes, query: Self::Codes) -> Self::Pairs;
    /// Adds the products of 64 signed bytes, none below -127, with the 64 signed values at `query`, those of four neighbours to each
    /// sum.
    ///
    /// # Safety
    /// `query` must be valid for reads of 64 values.
    unsafe fn multiply_signed(self, sums: Self::Sums, bytes: Self::Codes, query: *const i8) -> Self::Sums;
    /// Whether [`multiply_bytes`](Simd::multiply_bytes) shifts rows that are signed like the query.
    const SHIFTS_ROWS: bool = false;
    /// Adds the products of 64 bytes of a query with those of a row to sums, which may wrap around: which product goes to which is for the level to
    /// say. No signed byte may be -128. Where rows are shifted, and both are signed or both are not, every product is off by the same multiple of the query's
    /// byte: a row of zeros gets as much, and nothing else.
    fn multiply_bytes<Q: Byte, R: Byte>(self, sums: Self::Sums, query: Self::Codes, row: Self::Codes) -> Self::Sums;
    /// `sums + pairs`.
    fn widen(self, sums: Self::Sums, pairs: Self::Pairs) -> Self::Sums;
    /// `2 * sums - less`, which may wrap around on the way.
    fn twice_less(self, sums: Self::Sums, less: i32) -> Self::Sums;
    /// Sums of nothing.
    fn no_words(self) -> Self::Words;
    /// Adds a byte to each word.
    fn add_to_words(self, words: Self::Words, bytes: Self::Codes) -> Self::Words;
    /// Adds to each sum the four words of its place in sixteen bytes, which together must be less than 2^16, and any two of them less than 2^15.
    fn fold_words(self, sums: Self::Sums, words: Self::Words) -> Self::Sums;
    /// The sums, row by row.
    fn to_rows(self, sums: Self::Sums) -> [i32; 16];

    /// Runs `operation` compiled for this instruction set.
    fn vectorize<O: Operation>(self, operation: O) -> O::Output;

    /// As [`vectorize`](Simd::vectorize), for work that counts bits: also with instructions for that which not every processor
    /// with this instruction set has.
    fn vectorize_counting<O: Operation>(self, operation: O) -> O::Output {
        self.vectorize(operation)
    }
}

/// A byte that is a number.
pub(crate) trait Byte: Copy + 'static {
    /// Whether it is in two's complement.
    const SIGNED: bool;
}

impl Byte for i8 {
    const SIGNED: bool = true;
}

impl Byte for u8 {
    const SIGNED: bool = false;
}

/// Something to be compiled once for every instruction set. `run` and all that it calls must be `#[inline(always)]`.
pub(crate) trait Operation {
    /// What it computes.
    type Output;
    /// The work, with the token of the instruction set in hand.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// The same operation, for work that counts bits; see [`Simd::vectorize_counting`].
pub(crate) struct Counting<O>(pub(crate) O);

impl<O: Operation> Operation for Counting<O> {
    type Output = O::Output;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> O::Output {
        simd.vectorize_counting(self.0)
    }
}

/// The instruction sets, best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Plain Rust, what every processor of the target has.
    Portable,
    /// AVX2 with FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// NEON.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Level {
    /// All that this processor has, worst first.
    pub(crate) fn available() -> Vec<Level> {
        let mut levels = vec![Level::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if avx2::Avx2::detect().is_some() {
                levels.push(Level::Avx2);
            }
            if avx512::Avx512::detect().is_some() {
                levels.push(Level::Avx512);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if neon::Neon::detect().is_some() {
            levels.push(Level::Neon);
        }
        levels
    }

    /// The best that this processor has; `NEARFIELD_SIMD` (`portable`, `avx2`, `avx512`, `neon`) caps it.
    pub(crate) fn detect() -> Level {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| {
            let wanted = std::env::var("NEARFIELD_SIMD").unwrap_or_default();
            let available = Level::available();
            let named = available.iter().find(|level| level.name() == wanted);
            *named.or(available.last()).unwrap_or(&Level::Portable)
        })
    }

    /// Its name, as `NEARFIELD_SIMD` takes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon",
        }
    }
}

/// Runs `operation` on the best instruction set of this processor.
pub(crate) fn dispatch<O: Operation>(operation: O) -> O::Output {
    dispatch_at(Level::detect(), operation)
}

/// Runs `operation` at `level`; the portable path stands in where the processor lacks it.
pub(crate) fn dispatch_at<O: Operation>(level: Level, operation: O) -> O::Output {
    match level {
        Level::Portable => Portable.vectorize(operation),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => match avx2::Avx2::detect() {
            Some(simd) => simd.vectorize(operation),
            None => Portable.vectorize(operation),
        },
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => match avx512::Avx512::detect() {
            Some(simd) => simd.vectorize(operation),
            None => Portable.vectorize(operation),
        },
        #[cfg(target_arch = "aarch64")]
        Level::Neon => match neon::Neon::detect() {
            Some(simd) => simd.vectorize(operation),
            None => Portable.vectorize(operation),
        },
    }
}

/// As [`prefetch`], but only as far as the second level of the caches. More of these can be under way at a time: what matters where
/// kilobytes are fetched (twice as many bytes a second from main memory, measured on an AMD Zen 4).
#[inline(always)]
pub(crate) fn prefetch_far<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, whatever the address; SSE is part of x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Asks the memory system for the cache line at `address`, without waiting. Any address is allowed.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, whatever the address; SSE is part of x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
