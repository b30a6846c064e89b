//! Inner products of signs with a coarsely quantized query: four dimensions by one look into a table.
//!
//! Sixteen rows lie in a *block*. A row has a bit for each dimension, eight to a byte, and a line of 64 bytes has four bytes of each
//! row: the first of all rows, the second of all rows, and so on. Half a byte is four signs, and what four signs make of four values
//! of the query is one of sixteen sums: those lie in a table of sixteen bytes, which a shuffle looks up for all rows at once
//! (Andre, Kermarrec and Le Scouarnec, Cache locality is not enough, VLDB 2015). Four looks fit a byte before they are added to
//! words. All of it is integer arithmetic, so the sums are exact and the same at every level.

use super::BLOCK_ROWS;
use crate::simd::Simd;

/// The dimensions that a line holds. The last line may be short of some: their tables are zero.
pub(crate) const SIGN_LINE: usize = 32;

/// The largest magnitude of a query's value.
pub(crate) const MOST_COARSE: i8 = 7;

/// Bytes of the tables of a line.
pub(crate) const SIGN_TABLES: usize = 128;

/// What every look adds, so that no entry of a table is negative.
const OFFSET: i32 = 4 * MOST_COARSE as i32;

/// Words hold the looks of so many lines: 8 looks a line, up to twice [`OFFSET`] each.
const LINES_PER_FOLD: usize = 128;

/// The tables for a query, line after line: sixteen bytes for the lower half of each of the four bytes of a row, then for
/// the upper halves. There must be room for those of all lines, the last one perhaps short of values.
#[inline(always)]
pub(crate) fn sign_tables(query: &[i8], tables: &mut [u8]) {
    let (lines, rest) = query.as_chunks::<SIGN_LINE>();
    let (tables, _) = tables.as_chunks_mut::<SIGN_TABLES>();
    assert_eq!(tables.len(), query.len().div_ceil(SIGN_LINE));
    for (line, tables) in lines.iter().zip(&mut *tables) {
        *tables = line_tables(line);
    }
    if !rest.is_empty() {
        let mut line = [0; SIGN_LINE];
        line[..rest.len()].copy_from_slice(rest);
        tables[lines.len()] = line_tables(&line);
    }
}

#[inline(always)]
fn line_tables(line: &[i8; SIGN_LINE]) -> [u8; SIGN_TABLES] {
    let mut tables = [0; SIGN_TABLES];
    for (i, table) in tables.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let first = i % 4 * 8 + i / 4 * 4;
        *table = sums_of_four([line[first], line[first + 1], line[first + 2], line[first + 3]]);
    }
    tables
}

/// For each choice of four signs the sum, and [`OFFSET`]: bit i says that value i is added, not taken away. Four sums at a time lie in the bytes of
/// one number. None is negative in the end, so that nothing is carried from byte to byte, whatever happens on the way there.
#[inline(always)]
fn sums_of_four(values: [i8; 4]) -> [u8; 16] {
    const ONES: u32 = 0x0101_0101;
    // Byte i has one, taken away where i has no bit 0, or no bit 1.
    const BIT_0: u32 = (1u32 << 24).wrapping_sub(1 << 16).wrapping_add(1 << 8).wrapping_sub(1);
    const BIT_1: u32 = (1u32 << 24).wrapping_add(1 << 16).wrapping_sub(1 << 8).wrapping_sub(1);
    let times = |value: i8, ones: u32| (i32::from(value) as u32).wrapping_mul(ones);
    let (c, d) = (times(values[2], ONES), times(values[3], ONES));
    let low = (ONES * OFFSET as u32).wrapping_add(times(values[0], BIT_0)).wrapping_add(times(values[1], BIT_1));
    let (less, more) = (low.wrapping_sub(d), low.wrapping_add(d));
    let words = [less.wrapping_sub(c), less.wrapping_add(c), more.wrapping_sub(c), more.wrapping_add(c)];
    bytemuck::cast(words.map(u32::to_le))
}

/// The inner products of the signs in `R` blocks with `Q` queries, row by row. `tables` holds, for every line, those of each query.
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
