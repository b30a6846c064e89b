//! The kernels on codes, at every level that this machine has: integers, so that every answer must be exact.

use super::codes::line_dims;
use super::suite::Numbers;
use super::{
    BLOCK_ROWS, Columns, Digit, FourBits, OneBit, TwoBits, Weights, append_digits, code_products, pack_digits,
    reference, rows_not_below,
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
struct Products<'a, D, const R: usize, const Q: usize, const IN_PLACE: bool> {
    codes: &'a Codes,
    digit: PhantomData<D>,
}

impl<D: Digit, const R: usize, const Q: usize, const IN_PLACE: bool> Operation for Products<'_, D, R, Q, IN_PLACE> {
    type Output = Vec<i32>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Vec<i32> {
        let panel = self.codes.panel(Q);
        let lines = self.codes.dims / line_dims(D::BITS);
        let blocks = std::array::from_fn(|block| self.codes.blocks[block][1..].as_ptr());
        // SAFETY: every block has `lines` lines after its first byte, and the panel four values for each group and query.
        let products = unsafe { code_products::<S, D, R, Q, IN_PLACE>(simd, blocks, panel.as_ptr(), lines) };
        products.into_iter().flatten().flatten().collect()
    }
}

fn check<D: Digit, const R: usize, const Q: usize>(codes: &Codes, truth: &[Vec<i64>], what: &str) {
    for level in Level::available() {
        let found = dispatch_at(level, Products::<D, R, Q, false> { codes, digit: PhantomData });
        let in_place = dispatch_at(level, Products::<D, R, Q, true> { codes, digit: PhantomData });
        assert_eq!(found, in_place, "{what}, {R} x {Q}, {}: digits left where they lie", level.name());
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

/// What a scan has of the rows of a block.
struct Block {
    products: [i32; BLOCK_ROWS],
    /// Scale, constant, lengths.
    columns: [[u32; BLOCK_ROWS]; 3],
    with_error: bool,
    with_constant: bool,
    with_lengths: bool,
}

impl Block {
    fn columns(&self) -> Columns<'_> {
        let [scale, constant, lengths] = &self.columns;
        Columns {
            scale,
            scale_with_error: self.with_error,
            constant: self.with_constant.then_some(constant),
            lengths: self.with_lengths.then_some(lengths),
        }
    }

    /// The terms that the value of a row is the sum of.
    fn terms(&self, row: usize, weights: Weights) -> [f64; 4] {
        let [scale, constant, lengths] = self.columns.map(|column| column[row]);
        let (low, high) = (|word: u32| f32::from_bits(word << 16), |word: u32| f32::from_bits(word & 0xffff_0000));
        let (scale, error, along) = match (self.with_error, self.with_lengths) {
            (true, _) => (low(scale), high(scale), 0.0),
            (_, true) => (f32::from_bits(scale), high(lengths), low(lengths)),
            _ => (f32::from_bits(scale), 0.0, 0.0),
        };
        let constant = if self.with_constant { f32::from_bits(constant) } else { 0.0 };
        [
            f64::from(self.products[row]) * f64::from(scale) * f64::from(weights.scale),
            f64::from(constant) * f64::from(weights.constant),
            f64::from(error) * f64::from(weights.error),
            f64::from(along) * f64::from(weights.along),
        ]
    }
}

struct NotBelow<'a>(&'a Block, Weights, f32);

impl Operation for NotBelow<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> u32 {
        rows_not_below(simd, &self.0.products, self.0.columns(), self.1, self.2)
    }
}

/// The shapes that columns come in: with the error beside the scale, with a constant, with two lengths.
const SHAPES: [(bool, bool, bool); 6] = [
    (false, false, false),
    (false, true, false),
    (true, false, false),
    (true, true, false),
    (false, false, true),
    (false, true, true),
];

fn block(numbers: &mut Numbers, (with_error, with_constant, with_lengths): (bool, bool, bool)) -> Block {
    let products = std::array::from_fn(|_| numbers.bits() as i32 >> (numbers.bits() % 32));
    let column = |_| std::array::from_fn(|_| (f64::from(numbers.unit()) * 1e3) as f32).map(f32::to_bits);
    Block { products, columns: [0, 1, 2].map(column), with_error, with_constant, with_lengths }
}

#[test]
fn a_row_passes_if_its_value_is_not_below_the_limit() {
    let mut numbers = Numbers(41);
    for shape in SHAPES.into_iter().cycle().take(600) {
        let block = block(&mut numbers, shape);
        let [scale, constant, error, along] = [1e-3, 1.0, 2.0, 0.5].map(|most| numbers.unit() * most);
        let weights = Weights { scale, constant, error, along };
        for row in 0..BLOCK_ROWS {
            let terms = block.terms(row, weights);
            let value: f64 = terms.iter().sum();
            // A lower half may have the bits of NaN or of infinity.
            let slack = 8.0 / 16_777_216.0 * terms.iter().map(|term| term.abs()).sum::<f64>() + 1e-30;
            for (limit, passes) in [(value - slack, true), (value + slack, false)] {
                let Some(limit) = Some(limit as f32).filter(|limit| limit.is_finite()) else { continue };
                for level in Level::available() {
                    let found = dispatch_at(level, NotBelow(&block, weights, limit)) >> row & 1 == 1;
                    assert_eq!(found, passes, "{value} against {limit}, {shape:?}, row {row}, {}", level.name());
                }
            }
        }
    }
}

#[test]
fn a_row_whose_value_or_limit_is_no_number_passes() {
    let mut numbers = Numbers(43);
    let weights = Weights { scale: 1.0, constant: 1.0, error: 1e-45, along: 1e-45 };
    let special = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1.0, 1.0f32.next_down(), -1e-45];
    for shape in SHAPES.into_iter().cycle().take(300) {
        let mut block = block(&mut numbers, shape);
        for row in 0..BLOCK_ROWS {
            // A single term that is not zero, which no sum rounds.
            let value = special[numbers.bits() as usize % special.len()].to_bits();
            block.products[row] = i32::from(!shape.1);
            let scale = if shape.0 { value >> 16 } else { value };
            block.columns.iter_mut().zip([if shape.1 { 0 } else { scale }, value, 0]).for_each(|(c, v)| c[row] = v);
        }
        for limit in special {
            let below = |row: usize| {
                let value: f64 = block.terms(row, weights).iter().sum();
                matches!(value.partial_cmp(&f64::from(limit)), Some(Ordering::Less))
            };
            let expected = (0..BLOCK_ROWS).filter(|&row| !below(row)).fold(0, |rows, row| rows | 1 << row);
            for level in Level::available() {
                let found = dispatch_at(level, NotBelow(&block, weights, limit));
                assert_eq!(found, expected, "{shape:?} against {limit} at {}", level.name());
            }
        }
    }
}
