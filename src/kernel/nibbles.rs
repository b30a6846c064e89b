//! Inner products of four-bit codes with a quantized query.
//!
//! Sixteen rows lie in a *block*, their codes side by side in lines of 64 bytes: a line has, for every four dimensions, the four
//! values of row 0, of row 1, ..., the first four dimensions in the lower halves of the bytes and the next four in the upper.
//! So a lane is a row, nothing is ever added up across lanes, and one load of the query's four values, broadcast,
//! serves sixteen rows. All of it is integer arithmetic, so the sums are exact and the same at every level.

use super::BLOCK_ROWS;
use crate::simd::Simd;

/// The dimensions that a line holds: what the number of dimensions must be a multiple of.
pub(crate) const NIBBLE_LINE: usize = 8;

/// The most that a digit can be.
const MOST: i32 = 15;

/// The inner products of the levels in `R` blocks with the `Q` queries of a panel, row by row; the level of a digit is twice the
/// digit less 15. `query` holds, for every four dimensions, the four values of each query, none below -127; `query_sums` the
/// sum of all of them.
///
/// # Safety
/// Each block must be valid for reads of `64 * lines` bytes, `query` of `lines * 8 * Q` values.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "several arrays go by the same numbers, whose ranges are constants")]
pub(crate) unsafe fn nibble_products<S: Simd, const R: usize, const Q: usize>(
    simd: S,
    blocks: [*const u8; R],
    query: *const i8,
    query_sums: [i32; Q],
    lines: usize,
) -> [[[i32; BLOCK_ROWS]; Q]; R] {
    let mut sums = [[simd.sums_of(0); Q]; R];
    let mut pairs = [[simd.no_pairs(); Q]; R];
    // A line adds four products to a sum of pairs.
    let lines_per_flush = (S::PAIR_LIMIT / (4 * 127 * MOST)) as usize;
    let mut unflushed = 0;
    for line in 0..lines {
        for r in 0..R {
            // SAFETY: line < lines.
            let codes = unsafe { simd.load_codes(blocks[r].add(line * 64)) };
            let (front, back) = (simd.digits(codes, 0, 15), simd.digits(codes, 4, 15));
            for q in 0..Q {
                // SAFETY: line < lines and q < Q.
                pairs[r][q] = unsafe { simd.multiply(pairs[r][q], front, query.add((2 * line * Q + q) * 4)) };
            }
            for q in 0..Q {
                // SAFETY: as above.
                pairs[r][q] = unsafe { simd.multiply(pairs[r][q], back, query.add(((2 * line + 1) * Q + q) * 4)) };
            }
        }
        unflushed += 1;
        if unflushed == lines_per_flush {
            unflushed = 0;
            flush(simd, &mut sums, &mut pairs);
        }
    }
    flush(simd, &mut sums, &mut pairs);
    let mut products = [[[0; BLOCK_ROWS]; Q]; R];
    for r in 0..R {
        for q in 0..Q {
            products[r][q] = simd.to_rows(simd.twice_less(sums[r][q], query_sums[q].wrapping_mul(MOST)));
        }
    }
    products
}

#[inline(always)]
fn flush<S: Simd, const R: usize, const Q: usize>(
    simd: S,
    sums: &mut [[S::Sums; Q]; R],
    pairs: &mut [[S::Pairs; Q]; R],
) {
    for r in 0..R {
        for q in 0..Q {
            sums[r][q] = simd.widen(sums[r][q], pairs[r][q]);
            pairs[r][q] = simd.no_pairs();
        }
    }
}

/// What a row has in each line of its block: the digits of eight dimensions in a word.
pub(crate) fn pack_nibbles(digits: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    let word = |&[a, b, c, d, e, f, g, h]: &[u8; 8]| [a | e << 4, b | f << 4, c | g << 4, d | h << 4];
    digits.as_chunks::<8>().0.iter().map(word)
}
