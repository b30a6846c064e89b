//! Inner products of small codes with a quantized query: the inner loop of every scan over codes.
//!
//! Sixteen rows lie in a *block*, their codes side by side: for every four dimensions the four values of row 0, of row 1, ...
//! So a lane is a row, nothing is ever added up across lanes, and one load of the query's four values, broadcast,
//! serves sixteen rows. All of it is integer arithmetic, so the sums are exact and the same at every level.

use crate::simd::Simd;

/// The rows of a block.
pub(crate) const BLOCK_ROWS: usize = 16;

/// How the digits of a block are packed into lines of 64 bytes.
pub(crate) trait Digit: Copy {
    /// Bits a digit.
    const BITS: u32;
    /// The groups of four dimensions that a line holds.
    const GROUPS: usize;

    /// The groups of one line; those beyond `GROUPS` are copies.
    ///
    /// # Safety
    /// `from` must be valid for reads of 64 bytes.
    unsafe fn unpack<S: Simd>(simd: S, from: *const u8) -> [S::Codes; 8];
}

/// Digits of one bit: eight groups a line, the first in bit 0 of every byte.
#[derive(Clone, Copy)]
pub(crate) struct OneBit;

impl Digit for OneBit {
    const BITS: u32 = 1;
    const GROUPS: usize = 8;

    #[inline(always)]
    unsafe fn unpack<S: Simd>(simd: S, from: *const u8) -> [S::Codes; 8] {
        // SAFETY: the caller vouches for one line.
        let line = unsafe { simd.load_codes(from) };
        [
            simd.digits::<0, 1>(line),
            simd.digits::<1, 1>(line),
            simd.digits::<2, 1>(line),
            simd.digits::<3, 1>(line),
            simd.digits::<4, 1>(line),
            simd.digits::<5, 1>(line),
            simd.digits::<6, 1>(line),
            simd.digits::<7, 1>(line),
        ]
    }
}

/// Digits of two bits: four groups a line.
#[derive(Clone, Copy)]
pub(crate) struct TwoBits;

impl Digit for TwoBits {
    const BITS: u32 = 2;
    const GROUPS: usize = 4;

    #[inline(always)]
    unsafe fn unpack<S: Simd>(simd: S, from: *const u8) -> [S::Codes; 8] {
        // SAFETY: the caller vouches for one line.
        let line = unsafe { simd.load_codes(from) };
        let (a, b) = (simd.digits::<0, 3>(line), simd.digits::<2, 3>(line));
        let (c, d) = (simd.digits::<4, 3>(line), simd.digits::<6, 3>(line));
        [a, b, c, d, a, b, c, d]
    }
}

/// Digits of four bits: two groups a line.
#[derive(Clone, Copy)]
pub(crate) struct FourBits;

impl Digit for FourBits {
    const BITS: u32 = 4;
    const GROUPS: usize = 2;

    #[inline(always)]
    unsafe fn unpack<S: Simd>(simd: S, from: *const u8) -> [S::Codes; 8] {
        // SAFETY: the caller vouches for one line.
        let line = unsafe { simd.load_codes(from) };
        let (a, b) = (simd.digits::<0, 15>(line), simd.digits::<4, 15>(line));
        [a, b, a, b, a, b, a, b]
    }
}

/// The inner products of `R` blocks with the `Q` queries of a panel, row by row. `query` holds, for every four dimensions,
/// the four values of each query, none below -127.
///
/// # Safety
/// Each block must be valid for reads of `64 * lines` bytes, `query` of `lines * D::GROUPS * 4 * Q` values.
#[inline(always)]
pub(crate) unsafe fn code_products<S: Simd, D: Digit, const R: usize, const Q: usize>(
    simd: S,
    blocks: [*const u8; R],
    query: *const i8,
    lines: usize,
) -> [[S::Sums; Q]; R] {
    let mut sums = [[simd.no_sums(); Q]; R];
    let mut pairs = [[simd.no_pairs(); Q]; R];
    // Each group adds two products to a sum of pairs.
    let largest = 2 * 127 * ((1 << D::BITS) - 1) * D::GROUPS as i32;
    let lines_per_flush = (S::PAIR_LIMIT / largest) as usize;
    let mut unflushed = 0;
    for line in 0..lines {
        for r in 0..R {
            // SAFETY: line < lines.
            let codes = unsafe { D::unpack(simd, blocks[r].add(line * 64)) };
            for group in 0..D::GROUPS {
                for q in 0..Q {
                    let at = ((line * D::GROUPS + group) * Q + q) * 4;
                    // SAFETY: group < GROUPS and q < Q.
                    pairs[r][q] = unsafe { simd.multiply(pairs[r][q], codes[group], query.add(at)) };
                }
            }
        }
        unflushed += 1;
        if unflushed == lines_per_flush {
            unflushed = 0;
            for r in 0..R {
                flush(simd, &mut sums[r], &mut pairs[r]);
            }
        }
    }
    for r in 0..R {
        flush(simd, &mut sums[r], &mut pairs[r]);
    }
    sums
}

#[inline(always)]
fn flush<S: Simd, const Q: usize>(simd: S, sums: &mut [S::Sums; Q], pairs: &mut [S::Pairs; Q]) {
    for q in 0..Q {
        sums[q] = simd.widen(sums[q], pairs[q]);
        pairs[q] = simd.no_pairs();
    }
}

/// The dimensions that a line holds: what the number of dimensions must be a multiple of.
pub(crate) fn line_dims(bits: u32) -> usize {
    32 / bits as usize
}

/// Every byte of a word: `bits` ones.
fn mask(bits: u32) -> u32 {
    0x0101_0101 * ((1 << bits) - 1)
}

/// Packs digits of `bits` bits (1, 2 or 4), line by line: what a row has in each line are the four bytes of a word.
pub(crate) fn pack_digits(bits: u32, digits: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    digits.chunks_exact(line_dims(bits)).map(move |line| {
        let mut word = 0;
        for (group, &four) in line.as_chunks::<4>().0.iter().enumerate() {
            word |= u32::from_le_bytes(four) << (group as u32 * bits);
        }
        word.to_le_bytes()
    })
}

/// Adds to each value of `digits`, shifted up to make room, the digits that [`pack_digits`] packed.
pub(crate) fn append_digits(bits: u32, words: impl Iterator<Item = [u8; 4]>, digits: &mut [u8]) {
    for (line, word) in digits.chunks_exact_mut(line_dims(bits)).zip(words) {
        let word = u32::from_le_bytes(word);
        for (group, four) in line.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let above = u32::from_le_bytes(*four) << bits;
            *four = (above | word >> (group as u32 * bits) & mask(bits)).to_le_bytes();
        }
    }
}

/// Bit i is set unless `values[i] < limit`.
#[inline(always)]
pub(crate) fn rows_not_below<S: Simd>(simd: S, values: &[f32; BLOCK_ROWS], limit: f32) -> u32 {
    let mut rows = 0;
    for first in (0..BLOCK_ROWS).step_by(S::LANES) {
        // SAFETY: LANES divides the sixteen values.
        let lanes = unsafe { simd.load(values.as_ptr().add(first)) };
        rows |= simd.not_below(lanes, simd.splat(limit)) << first;
    }
    rows
}
