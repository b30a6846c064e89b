//! Inner products of signs with a query: four dimensions by one look into a table.
//!
//! Sixteen rows lie in a *block*. A row has a bit for each dimension, eight to a byte, and a line of 64 bytes has four bytes of each
//! row: the first of all rows, the second of all rows, and so on. Half a byte is four signs, and what four signs make of four values
//! of the query is one of sixteen sums: those lie in a table of sixteen bytes, which a shuffle looks up for all rows at once
//! (Andre, Kermarrec and Le Scouarnec, Cache locality is not enough, VLDB 2015). Entries are rounded so that four looks fit a byte before they
//! are added to words. From there on all is integer arithmetic, so the sums of entries are exact and the same at every level.

use super::BLOCK_ROWS;
use crate::simd::Simd;

/// The dimensions that a line holds. The last line may be short of some, which count as zero.
pub(crate) const SIGN_LINE: usize = 32;

/// Bytes of the tables of a line.
pub(crate) const SIGN_TABLES: usize = 128;

/// The most steps that a sum of four is away from nothing, and what every look adds, so that no entry of a table is negative. Four of them, twice as
/// large, fit a byte.
const OFFSET: i32 = 31;

/// Words hold the looks of so many lines: 8 looks a line, up to twice [`OFFSET`] each.
const LINES_PER_FOLD: usize = 128;

/// The tables for a query, line after line: sixteen bytes for the lower half of each of the four bytes of a row, then for
/// the upper halves. There must be room for those of all lines, the last one perhaps short of values. Returns how long the steps are
/// that entries count.
///
/// Sums are rounded, not what they are made of: so their steps are as fine as bytes allow, and one rounding does for four values.
#[inline(always)]
pub(crate) fn sign_tables(query: &[f32], tables: &mut [u8]) -> f32 {
    let (lines, rest) = query.as_chunks::<SIGN_LINE>();
    let (tables, _) = tables.as_chunks_mut::<SIGN_TABLES>();
    assert_eq!(tables.len(), query.len().div_ceil(SIGN_LINE));
    let mut last = [0.0; SIGN_LINE];
    last[..rest.len()].copy_from_slice(rest);
    let step = lines.iter().chain([&last]).map(largest_sum).fold(0.0, f32::max) / OFFSET as f32;
    // Of what is not there, or out of range, nothing is said.
    let (step, per_step) = if step.is_normal() { (step, 1.0 / step) } else { (0.0, 0.0) };
    for (line, tables) in lines.iter().chain([&last]).zip(tables) {
        for (i, table) in tables.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let first = i % 4 * 8 + i / 4 * 4;
            *table = sums_of_four([line[first], line[first + 1], line[first + 2], line[first + 3]], per_step);
        }
    }
    step
}

/// The largest sum of four values that any choice of signs makes.
#[inline(always)]
fn largest_sum(line: &[f32; SIGN_LINE]) -> f32 {
    line.as_chunks::<4>().0.iter().map(|[a, b, c, d]| (a.abs() + b.abs()) + (c.abs() + d.abs())).fold(0.0, f32::max)
}

/// For each choice of four signs the sum, in steps, and [`OFFSET`]: bit i says that value i is added, not taken away.
#[inline(always)]
fn sums_of_four(values: [f32; 4], per_step: f32) -> [u8; 16] {
    // In this range floats are whole numbers, and follow each other like integers: an addition rounds, and the last byte is what is counted.
    const NONE: f32 = (3 << 22) as f32 + OFFSET as f32;
    let mut sums = [0; 16];
    for (choice, sum) in sums.iter_mut().enumerate() {
        let signed = |i: usize| f32::from_bits(values[i].to_bits() ^ TURNED[i][choice]);
        *sum = (((signed(0) + signed(1)) + (signed(2) + signed(3))) * per_step + NONE).to_bits() as u8;
    }
    sums
}

/// For each of four values, and each choice of their signs, the bit that turns the value's sign round, or none.
const TURNED: [[u32; 16]; 4] = {
    let mut turned = [[0; 16]; 4];
    let mut at = 0;
    while at < 64 {
        let (i, choice) = (at / 16, at % 16);
        turned[i][choice] = if choice >> i & 1 == 1 { 0 } else { 1 << 31 };
        at += 1;
    }
    turned
};

/// The inner products of the signs in `R` blocks with `Q` queries, row by row, in steps of the tables. `tables` holds, for every line, those of each query.
///
/// # Safety
/// Each block must be valid for reads of `64 * lines` bytes, `tables` of `lines * 128 * Q` bytes.
#[inline(always)]
pub(crate) unsafe fn sign_products<S: Simd, const R: usize, const Q: usize>(
    simd: S,
    blocks: [*const u8; R],
    tables: *const u8,
    lines: usize,
) -> [[[i32; BLOCK_ROWS]; Q]; R] {
    let mut sums = [[simd.sums_of(-OFFSET * 8 * lines as i32); Q]; R];
    let mut start = 0;
    while start < lines {
        let end = lines.min(start + LINES_PER_FOLD);
        let mut words = [[simd.no_words(); Q]; R];
        let mut line = start;
        while line + 2 <= end {
            for r in 0..R {
                // SAFETY: line + 1 < lines.
                unsafe { two_lines(simd, blocks[r].add(line * 64), tables.add(line * SIGN_TABLES * Q), &mut words[r]) };
            }
            line += 2;
        }
        if line < end {
            for r in 0..R {
                // SAFETY: line < lines.
                unsafe { one_line(simd, blocks[r].add(line * 64), tables.add(line * SIGN_TABLES * Q), &mut words[r]) };
            }
        }
        for r in 0..R {
            for q in 0..Q {
                sums[r][q] = simd.fold_words(sums[r][q], words[r][q]);
            }
        }
        start = end;
    }
    let mut products = [[[0; BLOCK_ROWS]; Q]; R];
    for r in 0..R {
        for q in 0..Q {
            products[r][q] = simd.to_rows(sums[r][q]);
        }
    }
    products
}

/// Adds the looks of two lines: four of them fit a byte.
///
/// # Safety
/// As for [`sign_products`], with two lines.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "words and tables go by the same number, whose range is a constant")]
unsafe fn two_lines<S: Simd, const Q: usize>(simd: S, block: *const u8, tables: *const u8, words: &mut [S::Words; Q]) {
    // SAFETY: the caller vouches for two lines of the block and of the tables.
    unsafe {
        let (a, b) = (simd.load_codes(block), simd.load_codes(block.add(64)));
        let (a_low, a_high) = (simd.digits(a, 0, 15), simd.digits(a, 4, 15));
        let (b_low, b_high) = (simd.digits(b, 0, 15), simd.digits(b, 4, 15));
        for q in 0..Q {
            let (first, second) = (tables.add(q * SIGN_TABLES), tables.add((Q + q) * SIGN_TABLES));
            let a_low = simd.look_up(simd.load_codes(first), a_low);
            let a_high = simd.look_up(simd.load_codes(first.add(64)), a_high);
            let b_low = simd.look_up(simd.load_codes(second), b_low);
            let b_high = simd.look_up(simd.load_codes(second.add(64)), b_high);
            let sum = simd.add_bytes(simd.add_bytes(a_low, a_high), simd.add_bytes(b_low, b_high));
            words[q] = simd.add_to_words(words[q], sum);
        }
    }
}

/// Adds the looks of one line.
///
/// # Safety
/// As for [`sign_products`], with one line.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "words and tables go by the same number, whose range is a constant")]
unsafe fn one_line<S: Simd, const Q: usize>(simd: S, block: *const u8, tables: *const u8, words: &mut [S::Words; Q]) {
    // SAFETY: the caller vouches for one line of the block and of the tables.
    unsafe {
        let line = simd.load_codes(block);
        let (low, high) = (simd.digits(line, 0, 15), simd.digits(line, 4, 15));
        for q in 0..Q {
            let tables = tables.add(q * SIGN_TABLES);
            let low = simd.look_up(simd.load_codes(tables), low);
            let high = simd.look_up(simd.load_codes(tables.add(64)), high);
            words[q] = simd.add_to_words(words[q], simd.add_bytes(low, high));
        }
    }
}
