//! Inner products of signed bytes that lie in two halves, one inside the other.
//!
//! Of each byte, 128 more than it, the upper four bits lie in the *high half* of its row and the lower four in the *low half*. Whoever reads the
//! high half alone has the row in four bits, with half the memory traffic; with the low half it is the byte again. A line of 64 bytes holds 128
//! dimensions: the first 64 in the lower halves of its bytes, the next 64 in the upper, so that neighbours in a row stay neighbours in registers.
//! All of it is integer arithmetic: exact, and the same at every level.

use super::bytes::{Sums, total};
use crate::simd::Simd;

/// The dimensions that a line holds: what the number of dimensions must be a multiple of.
pub(crate) const NESTED_LINE: usize = 128;

/// What is added to a byte before it is cut in two.
const SHIFT: u8 = 128;

/// The most that a high digit can be.
const MOST: i32 = 15;

/// One side of an inner product, a line at a time.
pub(crate) trait Side: Copy {
    /// The signed bytes of line `line`: its first 64 dimensions, and the next 64.
    ///
    /// # Safety
    /// The side must have so many lines.
    unsafe fn line<S: Simd>(self, simd: S, line: usize) -> [S::Codes; 2];
}

/// Signed bytes that lie one after another.
#[derive(Clone, Copy)]
pub(crate) struct Whole(pub(crate) *const i8);

impl Side for Whole {
    #[inline(always)]
    unsafe fn line<S: Simd>(self, simd: S, line: usize) -> [S::Codes; 2] {
        let from = self.0.cast::<u8>();
        // SAFETY: the caller vouches for the line.
        unsafe { [simd.load_codes(from.add(line * NESTED_LINE)), simd.load_codes(from.add(line * NESTED_LINE + 64))] }
    }
}

/// Signed bytes in two halves.
#[derive(Clone, Copy)]
pub(crate) struct Nested {
    pub(crate) high: *const u8,
    pub(crate) low: *const u8,
}

impl Side for Nested {
    #[inline(always)]
    unsafe fn line<S: Simd>(self, simd: S, line: usize) -> [S::Codes; 2] {
        // SAFETY: the caller vouches for the line.
        let (high, low) =
            unsafe { (simd.load_codes(self.high.add(line * 64)), simd.load_codes(self.low.add(line * 64))) };
        let back = simd.repeat(&[SHIFT; 16]);
        let front = simd.join(simd.digits(high, 0, 15), 4, simd.digits(low, 0, 15));
        let rear = simd.join(simd.digits(high, 4, 15), 4, simd.digits(low, 4, 15));
        [simd.add_bytes(front, back), simd.add_bytes(rear, back)]
    }
}

/// The inner product of two sides of `lines` lines, none of whose bytes is -128.
///
/// # Safety
/// Both sides must have so many lines.
#[inline(always)]
pub(crate) unsafe fn side_dot<S: Simd, A: Side, B: Side>(simd: S, a: A, b: B, lines: usize) -> i64 {
    let mut sums: Sums<_, 1, 2> = Sums::new(simd);
    for line in 0..lines {
        // SAFETY: the caller vouches for both sides.
        let (a, b) = unsafe { (a.line(simd, line), b.line(simd, line)) };
        sums.add::<S, i8, i8>(simd, 0, a[0], [b[0]], true);
        sums.add::<S, i8, i8>(simd, 1, a[1], [b[1]], true);
    }
    let [product] = sums.totals::<S, i8, i8>(simd, None);
    product
}

/// The sum of the products of signed bytes, none below -127, with the high digits of a row.
///
/// # Safety
/// `query` must be valid for reads of `lines * 128` bytes, `high` of `lines * 64`.
#[inline(always)]
pub(crate) unsafe fn high_dot<S: Simd>(simd: S, query: *const i8, high: *const u8, lines: usize) -> i32 {
    let (mut sums, mut pairs) = (simd.sums_of(0), simd.no_pairs());
    // A line adds twice two products to a sum of pairs.
    let lines_per_flush = (S::PAIR_LIMIT / (4 * 127 * MOST)) as usize;
    let mut unflushed = 0;
    for line in 0..lines {
        // SAFETY: the caller vouches for both.
        let (codes, [front, back]) = unsafe { (simd.load_codes(high.add(line * 64)), Whole(query).line(simd, line)) };
        pairs = simd.multiply_each(pairs, simd.digits(codes, 0, 15), front);
        pairs = simd.multiply_each(pairs, simd.digits(codes, 4, 15), back);
        unflushed += 1;
        if unflushed == lines_per_flush {
            unflushed = 0;
            sums = simd.widen(sums, pairs);
            pairs = simd.no_pairs();
        }
    }
    total(simd, simd.widen(sums, pairs))
}

/// Cuts bytes in two halves.
pub(crate) fn pack_nested(bytes: &[i8], high: &mut [u8], low: &mut [u8]) {
    let halves = high.as_chunks_mut::<64>().0.iter_mut().zip(low.as_chunks_mut::<64>().0);
    for (bytes, (high, low)) in bytes.as_chunks::<NESTED_LINE>().0.iter().zip(halves) {
        for i in 0..64 {
            let (front, back) = (bytes[i].cast_unsigned() ^ SHIFT, bytes[i + 64].cast_unsigned() ^ SHIFT);
            high[i] = front >> 4 | back & 0xF0;
            low[i] = front & 15 | back << 4;
        }
    }
}

/// What [`pack_nested`] was given.
#[inline(always)]
pub(crate) fn unpack_nested(high: &[u8], low: &[u8], bytes: &mut [i8]) {
    let halves = high.as_chunks::<64>().0.iter().zip(low.as_chunks::<64>().0);
    for (bytes, (high, low)) in bytes.as_chunks_mut::<NESTED_LINE>().0.iter_mut().zip(halves) {
        for i in 0..64 {
            bytes[i] = ((high[i] << 4 | low[i] & 15) ^ SHIFT).cast_signed();
            bytes[i + 64] = ((high[i] & 0xF0 | low[i] >> 4) ^ SHIFT).cast_signed();
        }
    }
}
