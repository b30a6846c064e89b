//! The kernels on codes, at every level that this machine has: integers, so that every answer must be exact.

use super::suite::Numbers;
use super::{
    BLOCK_ROWS, Columns, Levels, NIBBLE_LINE, PLANE_LINE, SIGN_LINE, Weights, level_product, nibble_products,
    order_query, pack_nibbles, pack_planes, pack_signs, reference, row_values, sign_products, sign_tables,
    unpack_planes,
};
use crate::simd::{Level, Operation, Simd, dispatch_at};
use std::cmp::Ordering;

/// The most blocks and the most queries of a call.
const BLOCKS: usize = 4;
const QUERIES: usize = 8;

/// Rows of digits, and as many queries as a panel can hold, all of `dims` dimensions.
struct Codes {
    dims: usize,
    /// The digits of each row, block after block.
    rows: Vec<Vec<u8>>,
    queries: Vec<Vec<i8>>,
}

impl Codes {
    fn new(dims: usize, digit: &mut dyn FnMut() -> u8, value: &mut dyn FnMut(usize) -> i8) -> Codes {
        let rows = (0..BLOCKS * BLOCK_ROWS).map(|_| (0..dims).map(|_| digit()).collect()).collect();
        let queries = (0..QUERIES).map(|query| (0..dims).map(|_| value(query)).collect()).collect();
        Codes { dims, rows, queries }
    }

    /// Digits up to `most` and values up to `largest`: drawn, and all as large as they can be, of one sign or of both.
    fn cases(dims: usize, most: u8, largest: i8) -> Vec<Codes> {
        let mut numbers = Numbers(dims as u64);
        let mut more = Numbers(dims as u64 + 1);
        let drawn = Codes::new(dims, &mut || (numbers.bits() % (u64::from(most) + 1)) as u8, &mut |_| {
            ((more.bits() % (2 * largest as u64 + 1)) as i64 - i64::from(largest)) as i8
        });
        let most = |signs: fn(usize) -> bool| {
            Codes::new(dims, &mut || most, &mut |query| if signs(query) { largest } else { -largest })
        };
        vec![drawn, most(|_| true), most(|_| false), most(|query| query % 2 == 0)]
    }

    /// What a product of levels `2 digit - most` with a query must be.
    fn truth(&self, row: usize, query: usize, most: i64) -> i64 {
        let query = &self.queries[query];
        let sum: i64 = query.iter().map(|&value| i64::from(value)).sum();
        2 * reference::code_product(&self.rows[row], query) - most * sum
    }

    /// Holds products, block by block, query by query, row by row, against the truth.
    fn check(&self, found: &[i32], (blocks, queries): (usize, usize), most: i64, what: &str) {
        let mut found = found.iter();
        for block in 0..blocks {
            for query in 0..queries {
                for row in block * BLOCK_ROWS..(block + 1) * BLOCK_ROWS {
                    let found = found.next().copied().map(i64::from);
                    let label =
                        || format!("{what}, dims {}, {blocks} x {queries}, row {row}, query {query}", self.dims);
                    assert_eq!(found, Some(self.truth(row, query, most)), "{}", label());
                }
            }
        }
    }
}

/// Sixteen rows side by side, after one byte that belongs to nobody: no alignment is promised.
fn nibble_block(rows: &[Vec<u8>]) -> Vec<u8> {
    let mut block = vec![0xa5; 1 + rows[0].len() / NIBBLE_LINE * 64];
    for (row, digits) in rows.iter().enumerate() {
        for (line, word) in block[1..].chunks_exact_mut(64).zip(pack_nibbles(digits)) {
            line[row * 4..][..4].copy_from_slice(&word);
        }
    }
    block
}

fn sign_block(rows: &[Vec<u8>]) -> Vec<u8> {
    let mut block = vec![0; 1 + rows[0].len().div_ceil(SIGN_LINE) * 64];
    for (row, digits) in rows.iter().enumerate() {
        for (byte, signs) in pack_signs(1, digits).enumerate() {
            block[1 + byte * BLOCK_ROWS + row] = signs;
        }
    }
    block
}

struct Nibbles<'a, const R: usize, const Q: usize>(&'a Codes, &'a [Vec<u8>]);

impl<const R: usize, const Q: usize> Operation for Nibbles<'_, R, Q> {
    type Output = Vec<i32>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Vec<i32> {
        let Nibbles(codes, blocks) = self;
        let four = |group: usize| codes.queries[..Q].iter().flat_map(move |query| &query[group * 4..][..4]);
        let panel: Vec<i8> = (0..codes.dims / 4).flat_map(four).copied().collect();
        let sums = std::array::from_fn(|q| codes.queries[q].iter().map(|&value| i32::from(value)).sum());
        let blocks = std::array::from_fn(|block| blocks[block][1..].as_ptr());
        // SAFETY: every block has its lines after its first byte, and the panel four values for each group and query.
        let products =
            unsafe { nibble_products::<S, R, Q>(simd, blocks, panel.as_ptr(), sums, codes.dims / NIBBLE_LINE) };
        products.into_iter().flatten().flatten().collect()
    }
}

struct Signs<'a, const R: usize, const Q: usize>(&'a Codes, &'a [Vec<u8>]);

impl<const R: usize, const Q: usize> Operation for Signs<'_, R, Q> {
    type Output = Vec<i32>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Vec<i32> {
        let Signs(codes, blocks) = self;
        let lines = codes.dims.div_ceil(SIGN_LINE);
        let tables = |query: &Vec<i8>| {
            let (query, mut tables): (Vec<f32>, _) =
                (query.iter().map(|&value| f32::from(value)).collect(), vec![0; lines * 128]);
            (sign_tables(&query, &mut tables), tables)
        };
        let tables: Vec<(f32, Vec<u8>)> = codes.queries[..Q].iter().map(tables).collect();
        let line = |line: usize| tables.iter().flat_map(move |(_, tables)| &tables[line * 128..][..128]);
        let panel: Vec<u8> = (0..lines).flat_map(line).copied().collect();
        let blocks = std::array::from_fn(|block| blocks[block][1..].as_ptr());
        // SAFETY: every block has its lines after its first byte, and the panel 128 bytes for each line and query.
        let products = unsafe { sign_products::<S, R, Q>(simd, blocks, panel.as_ptr(), lines) };
        let whole = |(product, step)| (f64::from(product) * f64::from(step)).round() as i32;
        let steps = tables.iter().flat_map(|&(step, _)| [step; BLOCK_ROWS]).cycle();
        products.into_iter().flatten().flatten().zip(steps).map(whole).collect()
    }
}

#[test]
fn products_of_nibbles_are_exact_in_every_shape() {
    for dims in [8, 16, 24, 104, 384, 1000, 65_536] {
        for codes in Codes::cases(dims, 15, 127) {
            let blocks: Vec<Vec<u8>> = codes.rows.chunks(BLOCK_ROWS).map(nibble_block).collect();
            for level in Level::available() {
                let found = dispatch_at(level, Nibbles::<4, 1>(&codes, &blocks));
                codes.check(&found, (4, 1), 15, level.name());
                codes.check(&dispatch_at(level, Nibbles::<1, 1>(&codes, &blocks)), (1, 1), 15, level.name());
                codes.check(&dispatch_at(level, Nibbles::<1, 2>(&codes, &blocks)), (1, 2), 15, level.name());
                codes.check(&dispatch_at(level, Nibbles::<1, 8>(&codes, &blocks)), (1, 8), 15, level.name());
            }
        }
    }
}

#[test]
fn products_of_signs_are_exact_in_every_shape() {
    // From a part of a line to more lines than words can hold.
    for dims in [8, 24, 32, 40, 64, 104, 384, 1000, 4096, 4104, 65_536] {
        let mut cases = Codes::cases(dims, 1, 7);
        // With this for their largest sum, drawn ones are counted in steps of one; the others are all as large as a table can say.
        cases[0].queries.iter_mut().for_each(|query| query[..4].copy_from_slice(&[8, 8, 8, 7]));
        for codes in cases {
            let blocks: Vec<Vec<u8>> = codes.rows.chunks(BLOCK_ROWS).map(sign_block).collect();
            for level in Level::available() {
                codes.check(&dispatch_at(level, Signs::<4, 1>(&codes, &blocks)), (4, 1), 1, level.name());
                codes.check(&dispatch_at(level, Signs::<1, 1>(&codes, &blocks)), (1, 1), 1, level.name());
                codes.check(&dispatch_at(level, Signs::<1, 2>(&codes, &blocks)), (1, 2), 1, level.name());
                codes.check(&dispatch_at(level, Signs::<1, 8>(&codes, &blocks)), (1, 8), 1, level.name());
            }
        }
    }
}

struct Tables<'a>(&'a [f32]);

impl Operation for Tables<'_> {
    /// The step and the tables.
    type Output = (f32, Vec<u8>);

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> Self::Output {
        let mut tables = vec![0; self.0.len().div_ceil(SIGN_LINE) * 128];
        (sign_tables(self.0, &mut tables), tables)
    }
}

#[test]
fn tables_say_what_any_four_signs_make_to_half_a_step() {
    for dims in [4, 32, 40, 384] {
        let mut numbers = Numbers(dims as u64);
        let query: Vec<f32> = (0..dims).map(|_| numbers.unit()).collect();
        let (step, tables) = dispatch_at(Level::Portable, Tables(&query));
        let value = |i: usize| query.get(i).map_or(0.0, |&value| f64::from(value));
        let sum_of = |first: usize, choice: usize| -> f64 {
            (0..4).map(|i| if choice >> i & 1 == 1 { value(first + i) } else { -value(first + i) }).sum()
        };
        let sums = (0..dims).step_by(4).flat_map(|first| (0..16).map(move |choice| (first, choice)));
        let largest = sums.map(|(first, choice)| sum_of(first, choice)).fold(0.0, f64::max);
        assert!((f64::from(step) * 31.0 / largest - 1.0).abs() < 1e-6, "{step} of {largest}");
        for (at, &entry) in tables.iter().enumerate() {
            let (line, half, byte, choice) = (at / 128, at / 64 % 2, at / 16 % 4, at % 16);
            let sum = sum_of(line * SIGN_LINE + byte * 8 + half * 4, choice);
            let off = (f64::from(entry) - 31.0) * f64::from(step) - sum;
            assert!(off.abs() < 0.5001 * f64::from(step), "dims {dims}, entry {at}: {entry} for {sum}");
        }
        for level in Level::available() {
            assert_eq!(dispatch_at(level, Tables(&query)), (step, tables.clone()), "{}", level.name());
        }
    }
}

#[test]
fn tables_of_nothing_and_of_what_is_out_of_range_have_no_steps() {
    for value in [0.0, 1e-44, f32::INFINITY, f32::MAX] {
        for level in Level::available() {
            assert_eq!(dispatch_at(level, Tables(&[value; 8])).0, 0.0, "{value}, {}", level.name());
        }
    }
}

/// The planes of a row as [`level_product`] reads them: signs padded with bytes that meet zeros of the query, and the others.
fn planes(bits: u32, digits: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let bytes = digits.len() / 8;
    let mut tail = vec![0; bytes * (bits as usize - 1)];
    pack_planes(bits, digits, &mut tail);
    let mut signs = vec![0xa5; bytes.next_multiple_of(PLANE_LINE)];
    signs.iter_mut().zip(pack_signs(bits, digits)).for_each(|(to, signs)| *to = signs);
    (signs, tail)
}

struct LevelProduct<'a> {
    bits: u32,
    signs: &'a [u8],
    tail: &'a [u8],
    query: &'a [i8],
    levels: Levels<'a>,
}

impl Operation for LevelProduct<'_> {
    type Output = i64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> i64 {
        level_product(simd, self.bits, self.signs, self.tail, self.query, self.levels)
    }
}

/// Levels that are not even, some as large as they can be.
const TABLE: [i8; 16] = [-127, -96, -75, -58, -44, -31, -18, -6, 6, 18, 31, 44, 58, 75, 96, 127];

#[test]
fn products_of_levels_are_exact_for_every_number_of_bits() {
    for dims in [8, 16, 104, 384, 512, 1000, 65_536] {
        for bits in 1..=8 {
            let most = ((1u32 << bits) - 1) as u8;
            for codes in Codes::cases(dims, most, 127) {
                let (digits, query) = (&codes.rows[0], &codes.queries[0]);
                let ((signs, tail), ordered) = (planes(bits, digits), order_query(query));
                let sum = query.iter().map(|&value| i32::from(value)).sum();
                let table = |&digit: &u8| i64::from(TABLE[usize::from(digit & 15)]);
                let truth: i64 = digits.iter().zip(query).map(|(digit, &value)| table(digit) * i64::from(value)).sum();
                let mut back = vec![0; dims];
                unpack_planes(bits, &[&signs[..dims / 8], &tail].concat(), dims / 8, &mut back);
                assert_eq!(&back, digits, "{bits} bits, dims {dims}");
                for level in Level::available() {
                    let of = |levels| LevelProduct { bits, signs: &signs, tail: &tail, query: &ordered, levels };
                    let what = format!("{bits} bits, dims {dims}, {}", level.name());
                    let found = dispatch_at(level, of(Levels::Even(sum)));
                    assert_eq!(found, codes.truth(0, 0, i64::from(most)), "{what}");
                    if bits <= 4 {
                        assert_eq!(dispatch_at(level, of(Levels::Table(&TABLE))), truth, "{what}, by table");
                    }
                }
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
    type Output = u32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> u32 {
        let NotBelow(block, weights, limit) = self;
        let products = [block.products, [0; BLOCK_ROWS], block.products];
        let limits = [limit, limit, f32::NEG_INFINITY];
        let (values, [passing, _, all]) = row_values(simd, &products, block.columns(), &[weights; 3], &limits);
        for (row, value) in values[0].into_iter().enumerate() {
            let below = matches!(value.partial_cmp(&limit), Some(Ordering::Less));
            assert_eq!(passing >> row & 1 == 0, below, "its value is what is compared");
        }
        assert_eq!(all, 0xffff, "nothing is below minus infinity");
        passing
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
