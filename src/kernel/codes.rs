//! Inner products of small codes with a quantized query: the inner loop of every scan over codes.
//!
//! Sixteen rows lie in a *block*, their codes side by side: for every four dimensions the four values of row 0, of row 1, ...
//! So a lane is a row, nothing is ever added up across lanes, and one load of the query's four values, broadcast,
//! serves sixteen rows. All of it is integer arithmetic, so the sums are exact and the same at every level.

use crate::simd::Simd;

/// The rows of a block.
pub(crate) const BLOCK_ROWS: usize = 16;

/// How the digits of a block are packed into lines of 64 bytes: so many groups of four dimensions a line, the first in the lowest
/// bits of every byte.
pub(crate) trait Digit: Copy {
    /// Bits a digit.
    const BITS: u32;
    /// The groups of a line.
    const GROUPS: usize;
    /// The places in half a byte: digits that are left in theirs are multiples of a power of two.
    const PLACES: usize;

    /// The groups of one line; those beyond `GROUPS` are copies. If `IN_PLACE`, group g is left shifted up by
    /// `g % PLACES` digits, which saves most of the shifting.
    ///
    /// # Safety
    /// `from` must be valid for reads of 64 bytes.
    unsafe fn unpack<S: Simd, const IN_PLACE: bool>(simd: S, from: *const u8) -> [S::Codes; 8];
}

/// Digits of one bit: eight groups a line.
#[derive(Clone, Copy)]
pub(crate) struct OneBit;

impl Digit for OneBit {
    const BITS: u32 = 1;
    const GROUPS: usize = 8;
    const PLACES: usize = 4;

    #[inline(always)]
    unsafe fn unpack<S: Simd, const IN_PLACE: bool>(simd: S, from: *const u8) -> [S::Codes; 8] {
        // SAFETY: the caller vouches for one line.
        let line = unsafe { simd.load_codes(from) };
        if IN_PLACE {
            let above = simd.digits::<4, 15>(line);
            return [
                simd.digits::<0, 1>(line),
                simd.digits::<0, 2>(line),
                simd.digits::<0, 4>(line),
                simd.digits::<0, 8>(line),
                simd.digits::<0, 1>(above),
                simd.digits::<0, 2>(above),
                simd.digits::<0, 4>(above),
                simd.digits::<0, 8>(above),
            ];
        }
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
    const PLACES: usize = 2;

    #[inline(always)]
    unsafe fn unpack<S: Simd, const IN_PLACE: bool>(simd: S, from: *const u8) -> [S::Codes; 8] {
        // SAFETY: the caller vouches for one line.
        let line = unsafe { simd.load_codes(from) };
        let [a, b, c, d] = if IN_PLACE {
            let above = simd.digits::<4, 15>(line);
            [
                simd.digits::<0, 3>(line),
                simd.digits::<0, 12>(line),
                simd.digits::<0, 3>(above),
                simd.digits::<0, 12>(above),
            ]
        } else {
            [simd.digits::<0, 3>(line), simd.digits::<2, 3>(line), simd.digits::<4, 3>(line), simd.digits::<6, 3>(line)]
        };
        [a, b, c, d, a, b, c, d]
    }
}

/// Digits of four bits: two groups a line.
#[derive(Clone, Copy)]
pub(crate) struct FourBits;

impl Digit for FourBits {
    const BITS: u32 = 4;
    const GROUPS: usize = 2;
    const PLACES: usize = 1;

    #[inline(always)]
    unsafe fn unpack<S: Simd, const IN_PLACE: bool>(simd: S, from: *const u8) -> [S::Codes; 8] {
        // SAFETY: the caller vouches for one line.
        let line = unsafe { simd.load_codes(from) };
        let (a, b) = (simd.digits::<0, 15>(line), simd.digits::<4, 15>(line));
        [a, b, a, b, a, b, a, b]
    }
}

/// The most places that a digit has.
const MOST_PLACES: usize = 4;

/// The inner products of the levels in `R` blocks with the `Q` queries of a panel, row by row; the level of a digit is twice
/// the digit less the most that it can be. `query` holds, for every four dimensions, the four values of each query, none below -127;
/// `query_sums` the sum of all of them. `IN_PLACE` takes more registers: it is for few sums at a time.
///
/// # Safety
/// Each block must be valid for reads of `64 * lines` bytes, `query` of `lines * D::GROUPS * 4 * Q` values.
#[inline(always)]
pub(crate) unsafe fn code_products<S: Simd, D: Digit, const R: usize, const Q: usize, const IN_PLACE: bool>(
    simd: S,
    blocks: [*const u8; R],
    query: *const i8,
    query_sums: [i32; Q],
    lines: usize,
) -> [[[i32; BLOCK_ROWS]; Q]; R] {
    let places = if IN_PLACE { D::PLACES } else { 1 };
    let mut sums = [[[simd.no_sums(); MOST_PLACES]; Q]; R];
    let mut pairs = [[[simd.no_pairs(); MOST_PLACES]; Q]; R];
    // Each group adds two products to a sum of pairs; the highest place has the largest.
    let digit = ((1 << D::BITS) - 1) << ((places as u32 - 1) * D::BITS);
    let lines_per_flush = (S::PAIR_LIMIT / (2 * 127 * digit * (D::GROUPS / places) as i32)) as usize;
    let mut unflushed = 0;
    for line in 0..lines {
        for r in 0..R {
            // SAFETY: line < lines.
            let codes = unsafe { D::unpack::<S, IN_PLACE>(simd, blocks[r].add(line * 64)) };
            for group in 0..D::GROUPS {
                for q in 0..Q {
                    let at = ((line * D::GROUPS + group) * Q + q) * 4;
                    let pairs = &mut pairs[r][q][group % places];
                    // SAFETY: group < GROUPS and q < Q.
                    *pairs = unsafe { simd.multiply(*pairs, codes[group], query.add(at)) };
                }
            }
        }
        unflushed += 1;
        if unflushed == lines_per_flush {
            unflushed = 0;
            flush(simd, places, &mut sums, &mut pairs);
        }
    }
    flush(simd, places, &mut sums, &mut pairs);
    let most = (1 << D::BITS) - 1;
    let mut products = [[[0; BLOCK_ROWS]; Q]; R];
    for r in 0..R {
        for q in 0..Q {
            let mut total = sums[r][q][0];
            for place in 1..places {
                total = simd.add_shifted(total, sums[r][q][place], place as u32 * D::BITS);
            }
            products[r][q] = simd.to_rows(simd.twice_less(total, query_sums[q].wrapping_mul(most)));
        }
    }
    products
}

#[inline(always)]
fn flush<S: Simd, const R: usize, const Q: usize>(
    simd: S,
    places: usize,
    sums: &mut [[[S::Sums; MOST_PLACES]; Q]; R],
    pairs: &mut [[[S::Pairs; MOST_PLACES]; Q]; R],
) {
    for r in 0..R {
        for q in 0..Q {
            for place in 0..places {
                sums[r][q][place] = simd.widen(sums[r][q][place], pairs[r][q][place]);
                pairs[r][q][place] = simd.no_pairs();
            }
        }
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

/// What a scan needs of the rows of a block beside their codes: up to three columns of sixteen words each.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    /// The scale, an f32; or its upper 16 bits in the lower half, and the error in the upper half.
    pub(crate) scale: &'a [u32; BLOCK_ROWS],
    /// Whether the first column has both.
    pub(crate) scale_with_error: bool,
    /// What the value begins with, an f32.
    pub(crate) constant: Option<&'a [u32; BLOCK_ROWS]>,
    /// Two lengths: the error in the upper half, what lies along the code in the lower.
    pub(crate) lengths: Option<&'a [u32; BLOCK_ROWS]>,
}

/// What the columns are multiplied with, to be added up to the value of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weights {
    pub(crate) scale: f32,
    pub(crate) constant: f32,
    pub(crate) error: f32,
    pub(crate) along: f32,
}

/// The values of a block's rows, from the inner products of their codes: `products * scale * weight + ...`. Gives bits: bit i is set
/// unless the value of row i is below the limit.
#[inline(always)]
pub(crate) fn rows_not_below<S: Simd>(
    simd: S,
    products: &[i32; BLOCK_ROWS],
    columns: Columns<'_>,
    weights: Weights,
    limit: f32,
) -> u32 {
    let mut passing = 0;
    for first in (0..BLOCK_ROWS).step_by(S::LANES) {
        // SAFETY: LANES divides the sixteen values.
        let values = unsafe { row_values(simd, products, columns, weights, first) };
        passing |= simd.not_below(values, simd.splat(limit)) << first;
    }
    passing
}

/// The values of LANES rows.
///
/// # Safety
/// `first + LANES` must be at most [`BLOCK_ROWS`].
#[inline(always)]
unsafe fn row_values<S: Simd>(
    simd: S,
    products: &[i32; BLOCK_ROWS],
    columns: Columns<'_>,
    weights: Weights,
    first: usize,
) -> S::F32 {
    // SAFETY: all columns have sixteen words.
    unsafe {
        let scale = columns.scale.as_ptr().add(first);
        let mut base = simd.zero();
        if let Some(constant) = columns.constant {
            base = simd.mul_add(simd.load(constant.as_ptr().add(first).cast()), simd.splat(weights.constant), base);
        }
        let mut values =
            simd.mul_add(simd.load_i32(products.as_ptr().add(first)), simd.splat(weights.scale), simd.zero());
        if columns.scale_with_error {
            base = simd.mul_add(simd.load_upper(scale), simd.splat(weights.error), base);
            values = simd.mul_add(values, simd.load_lower(scale), base);
        } else {
            if let Some(lengths) = columns.lengths {
                let lengths = lengths.as_ptr().add(first);
                base = simd.mul_add(simd.load_upper(lengths), simd.splat(weights.error), base);
                base = simd.mul_add(simd.load_lower(lengths), simd.splat(weights.along), base);
            }
            values = simd.mul_add(values, simd.load(scale.cast()), base);
        }
        values
    }
}
