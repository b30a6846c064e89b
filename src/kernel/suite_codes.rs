//! The kernels on codes, at every level that this machine has: integers, so that every answer must be exact.

use super::codes::line_dims;
use super::suite::Numbers;
use super::{
    BLOCK_ROWS, Digit, FourBits, OneBit, TwoBits, append_digits, code_products, pack_digits, reference, rows_not_below,
};
use crate::simd::{Level, Operation, Simd, dispatch_at};
use std::cmp::Ordering;
use std::marker::PhantomData;

/// The most blocks and the most queries of a call.
const BLOCKS: usize = 4;
const QUERIES: usize = 8;

/// Blocks of codes and as many queries as a panel can hold, all of `dims` dimensions.
struct Codes {
    dims: usize,
    /// The digits of each row, block after block.
    rows: Vec<Vec<u8>>,
    queries: Vec<Vec<i8>>,
    /// The blocks as a kernel reads them. Each starts at an odd address: no alignment is promised.
    blocks: Vec<Vec<u8>>,
}

impl Codes {
    fn new(bits: u32, lines: usize, digit: &mut dyn FnMut() -> u8, value: &mut dyn FnMut(usize) -> i8) -> Codes {
        let dims = lines * line_dims(bits);
        let rows: Vec<Vec<u8>> = (0..BLOCKS * BLOCK_ROWS).map(|_| (0..dims).map(|_| digit()).collect()).collect();
        let blocks = rows.chunks(BLOCK_ROWS).map(|rows| packed(bits, lines, rows)).collect();
        let queries = (0..QUERIES).map(|query| (0..dims).map(|_| value(query)).collect()).collect();
        Codes { dims, rows, queries, blocks }
    }

    /// The first `count` queries, four values of each by turns.
    fn panel(&self, count: usize) -> Vec<i8> {
        let four = |group: usize| self.queries[..count].iter().flat_map(move |query| &query[group * 4..][..4]);
        (0..self.dims / 4).flat_map(four).copied().collect()
    }
}

/// Sixteen rows side by side, after one byte that belongs to nobody.
fn packed(bits: u32, lines: usize, rows: &[Vec<u8>]) -> Vec<u8> {
    let mut block = vec![0xa5; 1 + lines * 64];
    for (row, digits) in rows.iter().enumerate() {
        for (line, word) in block[1..].chunks_exact_mut(64).zip(pack_digits(bits, digits)) {
            line[row * 4..][..4].copy_from_slice(&word);
        }
    }
    block
}

/// The inner products of `R` blocks with `Q` queries: block by block, query by query, row by row.
struct Products<'a, D, const R: usize, const Q: usize> {
    codes: &'a Codes,
    digit: PhantomData<D>,
}

impl<D: Digit, const R: usize, const Q: usize> Operation for Products<'_, D, R, Q> {
    type Output = Vec<i32>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Vec<i32> {
        let panel = self.codes.panel(Q);
        let lines = self.codes.dims / line_dims(D::BITS);
        let blocks = std::array::from_fn(|block| self.codes.blocks[block][1..].as_ptr());
        // SAFETY: every block has `lines` lines after its first byte, and the panel four values for each group and query.
        let sums = unsafe { code_products::<S, D, R, Q>(simd, blocks, panel.as_ptr(), lines) };
        sums.into_iter().flatten().flat_map(|sums| simd.to_rows(sums)).collect()
    }
}

fn check<D: Digit, const R: usize, const Q: usize>(codes: &Codes, truth: &[Vec<i64>], what: &str) {
    for level in Level::available() {
        let found = dispatch_at(level, Products::<D, R, Q> { codes, digit: PhantomData });
        let mut found = found.into_iter().map(i64::from);
        for block in 0..R {
            for (query, truth) in truth[..Q].iter().enumerate() {
                let rows: Vec<i64> = found.by_ref().take(BLOCK_ROWS).collect();
                let expected = &truth[block * BLOCK_ROWS..][..BLOCK_ROWS];
                assert_eq!(rows, expected, "{what}, {R} x {Q}, {}, block {block}, query {query}", level.name());
            }
        }
    }
}

fn check_all_shapes<D: Digit>(codes: &Codes, what: &str) {
    let what = format!("{} bits, {} dims, {what}", D::BITS, codes.dims);
    let products = |query: &Vec<i8>| codes.rows.iter().map(|row| reference::code_product(row, query)).collect();
    let truth: Vec<Vec<i64>> = codes.queries.iter().map(products).collect();
    check::<D, 1, 1>(codes, &truth, &what);
    check::<D, 1, 2>(codes, &truth, &what);
    check::<D, 1, 8>(codes, &truth, &what);
    check::<D, 4, 1>(codes, &truth, &what);
    check::<D, 4, 2>(codes, &truth, &what);
    check::<D, 4, 8>(codes, &truth, &what);
}

fn check_digit<D: Digit>() {
    let most = (1u8 << D::BITS) - 1;
    let mut numbers = Numbers(23);
    // One line, a few, those around the places where sums of pairs are flushed, and the longest row that there is.
    let longest = 65_536 / line_dims(D::BITS);
    for lines in (1..=35).chain([96, 97, longest]) {
        let mut others = Numbers(29);
        let random = &mut |_| ((others.bits() % 255) as i16 - 127) as i8;
        let codes = Codes::new(D::BITS, lines, &mut || numbers.bits() as u8 & most, random);
        check_all_shapes::<D>(&codes, "random");
        let codes = Codes::new(D::BITS, lines, &mut || most, &mut |query| if query % 2 == 0 { 127 } else { -127 });
        check_all_shapes::<D>(&codes, "all as large as can be");
        let mut sign = 1;
        let alternating = &mut |_| {
            sign = -sign;
            127 * sign
        };
        let codes = Codes::new(D::BITS, lines, &mut || numbers.bits() as u8 % 2 * most, alternating);
        check_all_shapes::<D>(&codes, "extremes by turns");
    }
}

#[test]
fn products_of_one_bit_are_exact_in_every_shape() {
    check_digit::<OneBit>();
}

#[test]
fn products_of_two_bits_are_exact_in_every_shape() {
    check_digit::<TwoBits>();
}

#[test]
fn products_of_four_bits_are_exact_in_every_shape() {
    check_digit::<FourBits>();
}

#[test]
fn digits_come_back_from_the_lines_that_they_were_packed_in() {
    let mut numbers = Numbers(31);
    for bits in [1u32, 2, 4] {
        for lines in [1, 2, 5, 65_536 / line_dims(bits)] {
            let digits: Vec<u8> =
                (0..lines * line_dims(bits)).map(|_| numbers.bits() as u8 & ((1 << bits) - 1)).collect();
            let words: Vec<[u8; 4]> = pack_digits(bits, &digits).collect();
            assert_eq!(words.len(), lines, "{bits} bits");
            let mut back = vec![0; digits.len()];
            append_digits(bits, words.iter().copied(), &mut back);
            assert_eq!(back, digits, "{bits} bits, {lines} lines");
            // Dimension 4g + i of a line lies in byte i, from bit g * bits on.
            let at = |line: usize, i: usize| words[line][i % 4] >> (i / 4 * bits as usize) & ((1 << bits) - 1);
            let there = (0..digits.len()).map(|i| at(i / line_dims(bits), i % line_dims(bits)));
            assert!(there.eq(digits.iter().copied()), "{bits} bits, {lines} lines");
        }
    }
}

#[test]
fn pieces_of_digits_add_up_to_whole_ones() {
    let mut numbers = Numbers(37);
    for pieces in [&[4, 4][..], &[2, 4, 1], &[2, 1], &[1, 4, 2, 1], &[2, 2], &[4], &[2, 4]] {
        let total: u32 = pieces.iter().sum();
        let digits: Vec<u8> = (0..96).map(|_| (numbers.bits() % (1 << total)) as u8).collect();
        let (mut back, mut below) = (vec![0; digits.len()], total);
        for &bits in pieces {
            below -= bits;
            let part: Vec<u8> = digits.iter().map(|digit| digit >> below & ((1 << bits) - 1)).collect();
            append_digits(bits, pack_digits(bits, &part), &mut back);
        }
        assert_eq!(back, digits, "{pieces:?}");
    }
}

struct NotBelow<'a>(&'a [f32; BLOCK_ROWS], f32);

impl Operation for NotBelow<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> u32 {
        rows_not_below(simd, self.0, self.1)
    }
}

#[test]
fn a_row_passes_unless_its_value_is_below_the_limit() {
    let special = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1.0, 1.0f32.next_down(), -1e-45];
    let mut numbers = Numbers(41);
    for _ in 0..500 {
        let values = std::array::from_fn(|_| special[numbers.bits() as usize % special.len()]);
        for limit in special {
            let below = |value: &f32| matches!(value.partial_cmp(&limit), Some(Ordering::Less));
            let expected = (0..BLOCK_ROWS).filter(|&row| !below(&values[row])).fold(0, |rows, row| rows | 1 << row);
            for level in Level::available() {
                let found = dispatch_at(level, NotBelow(&values, limit));
                assert_eq!(found, expected, "{values:?} against {limit} at {}", level.name());
            }
        }
    }
}
