//! A plane of codes over the rows of an index: a few bits a value, laid out to be scanned.
//!
//! A row x is centred (and, under cosine, scaled to length 1 first), rotated to y, and kept as the digits of a
//! [`Code`]. What a scan reads of sixteen rows, their *heads*, lies side by side in a *block*, with the few numbers of each row
//! that it needs; what is left of the digits, the *tail*, lies row by row. What a scan computes of a row is its *value*:
//!
//! - cosine, dot: `<q, y>`, and the score is `<q, mean> + <q, y>` (over ||q|| for cosine);
//! - l2: `2 <q, y> - ||y||^2` with q centred and rotated too, and the squared distance is `||q||^2` less that.
//!
//! # Values that are certain
//!
//! With `s c` the multiple of the levels that is nearest to y, `e = y - s c`, and the query kept as `t p + f` in whole numbers p,
//!
//! `<q, y> = s t <p, c> + s <f, c> + <q, e>`,  so  `|<q, y> - s t <p, c>| <= s ||c|| ||f|| + ||e|| ||q||`.
//!
//! `<p, c>` is exact, s is the f32 that is stored, and the two lengths are rounded up. Since e is nearly at a right angle
//! to c, `||q||` may be replaced by `sqrt(||q||^2 - low^2)`, `low = |t <p, c>| / ||c|| - ||f||` being the least that q can have along c. Everything
//! that rounds (the rotation, s, sums in f32) is at most [`SLACK`](encode::SLACK) or the rotation's error, relative to `||q|| (||e|| + ||s c||)`, and is
//! added. So the upper bound holds always, not with high probability: this is what
//! [`Purpose::Certify`] keeps. Its heads are whole digits of four bits: an eighth of the bytes of the rows, and the rows
//! that they cannot decide are few.
//!
//! # Values that are estimates
//!
//! [`Purpose::Estimate`] keeps the unbiased multiple instead. Its heads are the signs, scanned with a query of four bits. The value of a
//! row is its estimate from all digits, *capped* by the estimate from its signs plus [`CAP_DEVIATIONS`](query::CAP_DEVIATIONS) standard
//! deviations. The cap is a part of the definition: it binds for about one row in a hundred, and makes signs alone an upper bound, so that a scan of
//! signs finds the best values exactly, whatever the order in which rows are seen.

mod encode;
mod heads;
mod query;
#[cfg(test)]
mod suite;

pub(crate) use encode::Encoder;
pub(crate) use heads::{Heads, Met, Panel, Wanted};
pub(crate) use query::{Estimates, PlaneQuery};

use super::codec::Code;
use super::pair::low_of_pair;
use super::{Matrix, Metric, Rotation};
use crate::error::Result;
use crate::kernel::{BLOCK_ROWS, NIBBLE_LINE, SIGN_LINE, unpack_planes};
use std::sync::Arc;

/// The rows whose mean a plane is centred on: the first so many.
pub(crate) const CENTRED_ROWS: usize = 1024;

/// What a plane's values are for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Purpose {
    /// Bounds that always hold. The code has no tail.
    Certify,
    /// The best estimates.
    Estimate,
}

/// How rows become codes: what does not change while rows come and go.
pub(crate) struct Coding {
    pub(crate) metric: Metric,
    pub(crate) purpose: Purpose,
    pub(crate) code: Code,
    /// The levels of the code, where they are not even; made once, since every look at a row needs them.
    table: Option<[i8; 16]>,
    rotation: Rotation,
    mean: Vec<f32>,
}

impl Coding {
    /// The coding for rows of `mean.len()` values, centred on `mean`.
    pub(crate) fn new(metric: Metric, purpose: Purpose, code: Code, mean: Vec<f32>, seed: u64) -> Coding {
        let width = mean.len().next_multiple_of(8);
        let rotation = Rotation::new(mean.len(), width, seed);
        Coding { metric, purpose, table: code.table(), code, rotation, mean }
    }

    /// Whether scores under this metric are inner products in the main: those alone can be coded.
    pub(crate) fn serves(metric: Metric) -> bool {
        matches!(metric, Metric::Cosine | Metric::Dot | Metric::L2)
    }

    /// What rows are centred on.
    pub(crate) fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Coordinates of a rotated row.
    pub(crate) fn width(&self) -> usize {
        self.rotation.width()
    }

    /// Whether a row has a number that its value begins with.
    fn has_constant(&self) -> bool {
        self.metric == Metric::L2
    }

    /// The lines of 64 bytes with the heads of a block.
    fn head_lines(&self) -> usize {
        match self.purpose {
            Purpose::Certify => self.width() / NIBBLE_LINE,
            Purpose::Estimate => self.width().div_ceil(SIGN_LINE),
        }
    }

    /// Bytes of a bit of all digits of a row.
    fn plane_bytes(&self) -> usize {
        self.width() / 8
    }

    /// The numbers of a row that lie in its block, four bytes each.
    fn columns(&self) -> usize {
        1 + usize::from(self.has_constant()) + usize::from(self.purpose == Purpose::Certify)
    }

    /// Bytes of a block of sixteen rows.
    pub(crate) fn block_bytes(&self) -> usize {
        (self.head_lines() + self.columns()) * 64
    }

    /// Bytes of a row's digits below its signs.
    fn tail_bytes(&self) -> usize {
        self.plane_bytes() * (self.code.bits as usize - 1)
    }

    /// Bytes of the scale of an estimate. Of few bits it is kept as a share of that of the signs: of one bit it is the same, of two a tenth of it
    /// at least, since no level is above 10, and all of it at most.
    fn scale_bytes(&self) -> usize {
        match self.code.bits {
            1 => 0,
            2 => 2,
            _ => 4,
        }
    }

    /// Bytes of a row that lie apart from its block: the tail and the scale of an estimate; under cosine the length, as a bf16.
    pub(crate) fn rest_bytes(&self) -> usize {
        let length = if self.metric == Metric::Cosine { 2 } else { 0 };
        match self.purpose {
            Purpose::Certify => 0,
            Purpose::Estimate => self.tail_bytes() + self.scale_bytes() + length,
        }
    }

    /// Where byte `part` of a row's word lies in a line of its block: words side by side, but of signs the first bytes of all rows, then the
    /// second, and so on.
    #[inline(always)]
    fn place(&self, head: bool, row: usize, part: usize) -> usize {
        if head && self.purpose == Purpose::Estimate { part * BLOCK_ROWS + row } else { row * 4 + part }
    }

    /// The bytes of an encoded row: its head, its columns, its rest.
    pub(crate) fn record_bytes(&self) -> usize {
        (self.head_lines() + self.columns()) * 4 + self.rest_bytes()
    }
}

/// The codes of the rows of an index, by slot.
pub(crate) struct Plane {
    coding: Arc<Coding>,
    rows: usize,
    blocks: Matrix<u8>,
    rests: Matrix<u8>,
}

impl Plane {
    /// No rows yet.
    pub(crate) fn new(coding: Arc<Coding>) -> Plane {
        let (blocks, rests) = (Matrix::new(coding.block_bytes()), Matrix::new(coding.rest_bytes().max(1)));
        Plane { coding, rows: 0, blocks, rests }
    }

    /// The `rows` rows in `blocks` and `rests`, which are as wide as `coding` says.
    pub(crate) fn from_parts(coding: Coding, rows: usize, blocks: Matrix<u8>, rests: Matrix<u8>) -> Plane {
        assert!(blocks.width() == coding.block_bytes() && rests.width() == coding.rest_bytes().max(1));
        Plane { coding: Arc::new(coding), rows, blocks, rests }
    }

    /// The blocks, and what lies apart from them.
    pub(crate) fn parts(&self) -> (&Matrix<u8>, &Matrix<u8>) {
        (&self.blocks, &self.rests)
    }

    pub(crate) fn coding(&self) -> &Arc<Coding> {
        &self.coding
    }

    /// How many slots have codes.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Bytes that the codes take.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.bytes() + self.rests.bytes()
    }

    /// Makes room for `additional` rows.
    pub(crate) fn try_reserve(&mut self, additional: usize) -> Result<()> {
        let blocks = (self.rows + additional).div_ceil(BLOCK_ROWS) - self.blocks.len();
        self.blocks.try_reserve(blocks)?;
        if self.coding.rest_bytes() > 0 { self.rests.try_reserve(additional) } else { Ok(()) }
    }

    /// Appends a row, encoded. Room must have been reserved.
    pub(crate) fn push(&mut self, record: &[u8]) {
        if self.rows.is_multiple_of(BLOCK_ROWS) {
            self.blocks.push(&[]);
        }
        if self.coding.rest_bytes() > 0 {
            self.rests.push(&[]);
        }
        self.rows += 1;
        self.overwrite(self.rows - 1, record);
    }

    /// Replaces the row in `slot`.
    pub(crate) fn overwrite(&mut self, slot: usize, record: &[u8]) {
        let lines = self.coding.head_lines();
        let block = self.blocks.row_mut(slot / BLOCK_ROWS);
        let (in_block, rest) = record.split_at(block.len() / BLOCK_ROWS);
        for (line, word) in in_block.as_chunks::<4>().0.iter().enumerate() {
            for (part, &byte) in word.iter().enumerate() {
                block[line * 64 + self.coding.place(line < lines, slot % BLOCK_ROWS, part)] = byte;
            }
        }
        if !rest.is_empty() {
            self.rests.row_mut(slot).copy_from_slice(rest);
        }
    }

    /// Forgets the rows from `rows` on.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.rows = self.rows.min(rows);
        self.blocks.truncate(self.rows.div_ceil(BLOCK_ROWS));
        self.rests.truncate(self.rows);
    }

    /// A plane of its own with the rows in `slots`, in that order.
    pub(crate) fn gathered(&self, slots: &[u32]) -> Result<Plane> {
        let mut plane = Plane::new(Arc::clone(&self.coding));
        plane.try_reserve(slots.len())?;
        let mut record = vec![0; self.coding.record_bytes()];
        for &slot in slots {
            self.read_record(slot as usize, &mut record);
            plane.push(&record);
        }
        Ok(plane)
    }

    /// A plane of its own with the same rows.
    pub(crate) fn try_clone(&self) -> Result<Plane> {
        Ok(Plane {
            coding: Arc::clone(&self.coding),
            rows: self.rows,
            blocks: self.blocks.try_clone()?,
            rests: self.rests.try_clone()?,
        })
    }

    fn read_record(&self, slot: usize, record: &mut [u8]) {
        let lines = self.coding.head_lines();
        let (in_block, rest) = record.split_at_mut(self.blocks.width() / BLOCK_ROWS);
        let block = self.blocks.row(slot / BLOCK_ROWS);
        for (line, word) in in_block.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            for (part, byte) in word.iter_mut().enumerate() {
                *byte = block[line * 64 + self.coding.place(line < lines, slot % BLOCK_ROWS, part)];
            }
        }
        if !rest.is_empty() {
            rest.copy_from_slice(self.rests.row(slot));
        }
    }

    /// Word `column` of the numbers that the row in `slot` has in its block.
    #[inline(always)]
    fn number(&self, slot: usize, column: usize) -> u32 {
        let at = (self.coding.head_lines() + column) * 64 + slot % BLOCK_ROWS * 4;
        let block = self.blocks.row(slot / BLOCK_ROWS);
        u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
    }

    /// What the value of the row in `slot` begins with.
    #[inline(always)]
    fn constant(&self, slot: usize) -> f64 {
        if self.coding.has_constant() { f64::from(f32::from_bits(self.number(slot, 1))) } else { 0.0 }
    }

    /// What the row in `slot` has apart from its block.
    #[inline(always)]
    fn rest(&self, slot: usize) -> &[u8] {
        if self.coding.rest_bytes() > 0 { self.rests.row(slot) } else { &[] }
    }

    /// The planes of the row in `slot` below its signs.
    #[inline(always)]
    fn tail(&self, slot: usize) -> &[u8] {
        &self.rest(slot)[..self.coding.tail_bytes()]
    }

    /// Gathers the signs of the row in `slot`: four bytes for each line of its block.
    #[inline(always)]
    fn gather_signs(&self, slot: usize, signs: &mut [u8]) {
        let (block, row) = (self.blocks.row(slot / BLOCK_ROWS), slot % BLOCK_ROWS);
        let lines = block.as_chunks::<64>().0[..self.coding.head_lines()].iter();
        for (signs, line) in signs.as_chunks_mut::<4>().0.iter_mut().zip(lines) {
            *signs = [line[row], line[BLOCK_ROWS + row], line[2 * BLOCK_ROWS + row], line[3 * BLOCK_ROWS + row]];
        }
    }

    /// The row in `slot` as its estimate has it, `dim` values.
    pub(crate) fn decode(&self, slot: usize, out: &mut [f32]) {
        let (coding, stride) = (&*self.coding, self.coding.plane_bytes());
        if self.length(slot) == Some(0.0) {
            return out.fill(0.0);
        }
        let (mut planes, mut digits) = (vec![0; coding.head_lines() * 4], vec![0; coding.width()]);
        self.gather_signs(slot, &mut planes);
        planes.truncate(stride);
        planes.extend(self.tail(slot));
        unpack_planes(coding.code.bits, &planes, stride, &mut digits);
        let scale = self.scale(slot);
        let value = |&digit: &u8| (scale * f64::from(coding.code.level(digit))) as f32;
        let mut row: Vec<f32> = digits.iter().map(value).collect();
        coding.rotation.undo(&mut row);
        let length = self.length(slot).unwrap_or(1.0);
        for ((out, y), mean) in out.iter_mut().zip(row).zip(&coding.mean) {
            *out = ((f64::from(y) + f64::from(*mean)) * f64::from(length)) as f32;
        }
    }

    /// The multiple of its levels that estimates the row in `slot`.
    #[inline(always)]
    fn scale(&self, slot: usize) -> f64 {
        let kept = &self.rest(slot)[self.coding.tail_bytes()..];
        match (self.coding.scale_bytes(), kept) {
            (0, _) => f64::from(low_of_pair(self.number(slot, 0))),
            (2, &[a, b, ..]) => {
                f64::from(low_of_pair(self.number(slot, 0))) * part_of_signs(u16::from_le_bytes([a, b]))
            }
            (_, &[a, b, c, d, ..]) => f64::from(f32::from_le_bytes([a, b, c, d])),
            _ => 0.0,
        }
    }

    /// The length of the row in `slot`, where it is kept: under cosine.
    pub(crate) fn length(&self, slot: usize) -> Option<f32> {
        if self.coding.purpose == Purpose::Certify || self.coding.metric != Metric::Cosine {
            return None;
        }
        let [.., low, high] = self.rest(slot) else { return None };
        Some(f32::from_bits(u32::from_le_bytes([0, 0, *low, *high])))
    }
}

/// What share of the scale of its signs that of a row of two bits is: from a tenth to all of it, in 65,535 steps. A byte would do for rows that
/// are far from the query; of near ones, whose estimates err little, its steps would be most of the error.
fn part_of_signs(share: u16) -> f64 {
    (65_535.0 + 9.0 * f64::from(share)) / 655_350.0
}

/// The share that is nearest to a part.
fn nearest_share(part: f64) -> u16 {
    // The cast makes 0 of NaN.
    ((655_350.0 * part - 65_535.0) / 9.0).round().clamp(0.0, 65_535.0) as u16
}
