//! The kernels on codes, at every level that this machine has: integers, so that every answer must be exact.

use super::suite::Numbers;
use super::{
    BLOCK_ROWS, Columns, Levels, MOST_COARSE, NIBBLE_LINE, PLANE_LINE, SIGN_LINE, Weights, level_product,
    nibble_products, order_query, pack_nibbles, pack_planes, pack_signs, reference, rows_not_below, sign_products,
    sign_tables, unpack_planes,
};
use crate::simd::{Level, Operation, Simd, dispatch_at};
use std::cmp::Ordering;

/// The most blocks and the most queries of a call.
const BLOCKS: usize = 4;
const QUERIES: usize = 8;

/// The longest row that there is, padded.
const LONGEST: usize = 65_536;

/// Rows of digits and some queries, all of `dims` dimensions.
struct Codes {
    dims: usize,
    /// The digits of each row, block after block.
    rows: Vec<Vec<u8>>,
    queries: Vec<Vec<i8>>,
}

/// How large the digits and the values of a query are: random, all as large as can be, with changing signs.
const SIZES: [&str; 3] = ["random", "largest", "extremes by turns"];

impl Codes {
    fn new(size: &str, dims: usize, most_digit: u8, most: i8) -> Codes {
        let mut numbers = Numbers(23 + dims as u64);
        let mut digit = || match size {
            "largest" => most_digit,
            "random" => (numbers.bits() % (u64::from(most_digit) + 1)) as u8,
            _ => numbers.bits() as u8 % 2 * most_digit,
        };
        let rows = (0..BLOCKS * BLOCK_ROWS).map(|_| (0..dims).map(|_| digit()).collect()).collect();
        let mut value = |query: usize, i: usize| match size {
            "largest" => [most, -most][query % 2],
            "random" => ((numbers.bits() % (2 * most as u64 + 1)) as i16 - i16::from(most)) as i8,
            _ => [most, -most][i % 2],
        };
        let queries = (0..QUERIES).map(|query| (0..dims).map(|i| value(query, i)).collect()).collect();
        Codes { dims, rows, queries }
    }

    /// The digits of each row multiplied with each query, once `level` has made levels of them: query by query.
    fn truth(&self, level: impl Fn(u8) -> i8) -> Vec<Vec<i64>> {
        let levels: Vec<Vec<i8>> =
            self.rows.iter().map(|row| row.iter().map(|&digit| level(digit)).collect()).collect();
        let products = |query: &Vec<i8>| levels.iter().map(|row| reference::code_product(row, query)).collect();
        self.queries.iter().map(products).collect()
    }
}

/// Each block after one byte that belongs to nobody: no alignment is promised.
fn blocks(
    codes: &Codes,
    lines: usize,
    place: fn(usize, usize) -> usize,
    bytes: impl Fn(&[u8]) -> Vec<u8>,
) -> Vec<Vec<u8>> {
    let block = |rows: &[Vec<u8>]| {
        let mut block = vec![0; 1 + lines * 64];
        for (row, digits) in rows.iter().enumerate() {
            for (i, byte) in bytes(digits).into_iter().enumerate() {
                block[1 + i / 4 * 64 + place(row, i % 4)] = byte;
            }
        }
        block
    };
    codes.rows.chunks(BLOCK_ROWS).map(block).collect()
}

/// The products of `R` blocks with `Q` queries: of signs, or of digits of four bits.
struct Products<'a, const SIGNS: bool, const R: usize, const Q: usize> {
    blocks: &'a [Vec<u8>],
    /// What queries show, the first by itself.
    shown: &'a [Vec<u8>],
    sums: &'a [i32],
}

impl<const SIGNS: bool, const R: usize, const Q: usize> Operation for Products<'_, SIGNS, R, Q> {
    type Output = [[[i32; BLOCK_ROWS]; Q]; R];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let piece = if SIGNS { 128 } else { 4 };
        let pieces = |at: usize| self.shown[..Q].iter().flat_map(move |bytes| &bytes[at * piece..][..piece]);
        let panel: Vec<u8> = (0..self.shown[0].len() / piece).flat_map(pieces).copied().collect();
        let addresses = std::array::from_fn(|block| self.blocks[block][1..].as_ptr());
        let lines = self.blocks[0].len() / 64;
        if SIGNS {
            // SAFETY: every block has `lines` lines after its first byte, and every query tables for as many.
            return unsafe { sign_products(simd, addresses, panel.as_ptr(), lines) };
        }
        let sums = std::array::from_fn(|query| self.sums[query]);
        // SAFETY: as above, with eight values for each line.
        unsafe { nibble_products(simd, addresses, panel.as_ptr().cast(), sums, lines) }
    }
}

/// The blocks before the queries, and what comes of it.
struct Meeting<'a> {
    blocks: Vec<Vec<u8>>,
    shown: Vec<Vec<u8>>,
    sums: Vec<i32>,
    truth: Vec<Vec<i64>>,
    what: &'a str,
}

impl Meeting<'_> {
    fn check<const SIGNS: bool, const R: usize, const Q: usize>(&self) {
        for level in Level::available() {
            let products = Products::<SIGNS, R, Q> { blocks: &self.blocks, shown: &self.shown, sums: &self.sums };
            let found = dispatch_at(level, products);
            for (block, found) in found.iter().enumerate() {
                for (query, found) in found.iter().enumerate() {
                    let expected = &self.truth[query][block * BLOCK_ROWS..][..BLOCK_ROWS];
                    let what = format!("{}, {R} x {Q}, {}, block {block}, query {query}", self.what, level.name());
                    assert_eq!(found.map(i64::from), expected, "{what}");
                }
            }
        }
    }

    fn check_all_shapes<const SIGNS: bool>(&self) {
        self.check::<SIGNS, 1, 1>();
        self.check::<SIGNS, 1, 2>();
        self.check::<SIGNS, 1, 8>();
        self.check::<SIGNS, 4, 1>();
        self.check::<SIGNS, 4, 2>();
        self.check::<SIGNS, 4, 8>();
    }
}

fn sum(query: &[i8]) -> i32 {
    query.iter().map(|&value| i32::from(value)).sum()
}

#[test]
fn products_of_four_bits_are_exact_in_every_shape() {
    // One line, a few, those around the places where sums of pairs are flushed, and the longest row.
    for lines in (1..=35).chain([96, 97, LONGEST / NIBBLE_LINE]) {
        for size in SIZES {
            let codes = Codes::new(size, lines * NIBBLE_LINE, 15, 127);
            let words = |digits: &[u8]| pack_nibbles(digits).flatten().collect();
            Meeting {
                blocks: blocks(&codes, lines, |row, part| row * 4 + part, words),
                shown: codes.queries.iter().map(|query| bytemuck::cast_slice(query).to_vec()).collect(),
                sums: codes.queries.iter().map(|query| sum(query)).collect(),
                truth: codes.truth(|digit| 2 * digit as i8 - 15),
                what: &format!("{} dims, {size}", codes.dims),
            }
            .check_all_shapes::<false>();
        }
    }
}

#[test]
fn products_of_signs_are_exact_in_every_shape() {
    // Lines that are not full, those around the places where words are folded, and the longest row.
    let folds = [127, 128, 129, 130, 255, 256, 257].map(|lines| lines * SIGN_LINE);
    for dims in (8..=200).step_by(8).chain(folds).chain([folds[2] + 8, LONGEST]) {
        for size in SIZES {
            let codes = Codes::new(size, dims, 255, MOST_COARSE);
            let tables = |query: &Vec<i8>| {
                let mut tables = Vec::new();
                sign_tables(query, &mut tables);
                tables
            };
            let signs = |digits: &[u8]| pack_signs(8, digits).collect();
            Meeting {
                blocks: blocks(&codes, dims.div_ceil(SIGN_LINE), |row, part| part * BLOCK_ROWS + row, signs),
                shown: codes.queries.iter().map(tables).collect(),
                sums: Vec::new(),
                truth: codes.truth(|digit| if digit < 128 { -1 } else { 1 }),
                what: &format!("{dims} dims, {size}"),
            }
            .check_all_shapes::<true>();
        }
    }
}

struct LevelProduct<'a> {
    bits: u32,
    planes: &'a [u8],
    stride: usize,
    query: &'a [i8],
    levels: Levels<'a>,
}

impl Operation for LevelProduct<'_> {
    type Output = i64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> i64 {
        level_product(simd, self.bits, self.planes, self.stride, self.query, self.levels)
    }
}

/// The planes of a row, each in `stride` bytes; what is between them belongs to nobody.
fn planes(bits: u32, digits: &[u8], stride: usize) -> Vec<u8> {
    let bytes = digits.len() / 8;
    let mut tail = vec![0; bytes * (bits as usize - 1)];
    pack_planes(bits, digits, &mut tail);
    let mut planes = vec![0xa5; stride * bits as usize];
    planes[..bytes].iter_mut().zip(pack_signs(bits, digits)).for_each(|(to, byte)| *to = byte);
    for (plane, part) in planes.chunks_exact_mut(stride).skip(1).zip(tail.chunks_exact(bytes)) {
        plane[..bytes].copy_from_slice(part);
    }
    planes
}

#[test]
fn products_of_whole_digits_are_exact_for_any_number_of_bits() {
    for dims in (8..=80).step_by(8).chain([504, 512, 520, 1000, 4096, LONGEST]) {
        for (bits, size) in (1..=8).flat_map(|bits| SIZES.map(|size| (bits, size))) {
            let codes = Codes::new(size, dims, ((1u32 << bits) - 1) as u8, 127);
            // Levels as uneven as can be.
            let table: [i8; 16] = std::array::from_fn(|digit| [127, -127, 1, -3, 0, 99, -100, 64][digit % 8]);
            for (digits, query) in codes.rows.iter().zip(&codes.queries) {
                let stride = (dims / 8).next_multiple_of(PLANE_LINE);
                let planes = planes(bits, digits, stride);
                let product = |level: &dyn Fn(u8) -> i64| -> i64 {
                    digits.iter().zip(query).map(|(&digit, &value)| level(digit) * i64::from(value)).sum()
                };
                let even = product(&|digit| 2 * i64::from(digit) - ((1 << bits) - 1));
                let uneven = product(&|digit| i64::from(table[usize::from(digit) % 16]));
                let ordered = order_query(query);
                for level in Level::available() {
                    let what = format!("{dims} dims, {bits} bits, {size}, {}", level.name());
                    let run = |levels| LevelProduct { bits, planes: &planes, stride, query: &ordered, levels };
                    assert_eq!(dispatch_at(level, run(Levels::Even(sum(query)))), even, "{what}, even");
                    if bits <= 4 {
                        assert_eq!(dispatch_at(level, run(Levels::Table(&table))), uneven, "{what}, uneven");
                    }
                }
            }
        }
    }
}

#[test]
fn digits_come_back_from_their_planes() {
    for (bits, dims) in (1..=8).flat_map(|bits| [8, 64, 72, 1000].map(|dims| (bits, dims))) {
        let codes = Codes::new("random", dims, ((1u32 << bits) - 1) as u8, 1);
        for digits in &codes.rows {
            for stride in [dims / 8, (dims / 8).next_multiple_of(PLANE_LINE)] {
                let mut back = vec![0; dims];
                unpack_planes(bits, &planes(bits, digits, stride), stride, &mut back);
                assert_eq!(back, *digits, "{bits} bits, {dims} dims");
            }
        }
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
    type Output = ([f32; BLOCK_ROWS], u32);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
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
                    let (values, found) = dispatch_at(level, NotBelow(&block, weights, limit));
                    let found = found >> row & 1 == 1;
                    let near = (f64::from(values[row]) - value).abs() <= slack;
                    assert!(near, "{} is not {value}, {shape:?}, {}", values[row], level.name());
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
                let (_, found) = dispatch_at(level, NotBelow(&block, weights, limit));
                assert_eq!(found, expected, "{shape:?} against {limit} at {}", level.name());
            }
        }
    }
}
