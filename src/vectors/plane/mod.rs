//! A plane of codes over the rows of an index: a few bits a value, laid out to be scanned.
//!
//! A row x is centred (and, under cosine, scaled to length 1 first), rotated to y, and kept as the digits of a
//! [`Code`]. The heads of sixteen rows lie side by side in a *block*, with the few numbers of each row that a scan needs; what
//! is left of the digits, the *tail*, lies row by row. What a scan computes of a row is its *value*:
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
//! added. So upper and lower bounds hold always, not with high probability: this is what
//! [`Purpose::Certify`] keeps. It is a quarter or an eighth of the bytes, and the rows that it cannot decide are few.
//!
//! # Values that are estimates
//!
//! [`Purpose::Estimate`] keeps the unbiased multiple instead. The value of a row is its estimate from all digits, *capped* by the
//! estimate from its head plus [`CAP_DEVIATIONS`](query::CAP_DEVIATIONS) standard deviations. The cap is a part of the definition: it binds once
//! in tens of thousands, and makes heads alone an upper bound, so that a scan of heads finds the best values exactly, whatever the
//! order in which rows are seen.

mod encode;
mod query;

pub(crate) use encode::Encoder;
pub(crate) use query::{PlaneQuery, pack_panel};

use super::codec::Code;
use super::{Matrix, Metric, Rotation};
use crate::error::Result;
use crate::kernel::{BLOCK_ROWS, append_digits};
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
    rotation: Rotation,
    mean: Vec<f32>,
}

impl Coding {
    /// The coding for rows of `mean.len()` values, centred on `mean`.
    pub(crate) fn new(metric: Metric, purpose: Purpose, code: Code, mean: Vec<f32>, seed: u64) -> Coding {
        let width = mean.len().next_multiple_of(code.granule());
        let rotation = Rotation::new(mean.len(), width, seed);
        Coding { metric, purpose, code, rotation, mean }
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
        self.width() * self.code.head as usize / 32
    }

    /// The numbers of a row that lie in its block, four bytes each.
    fn columns(&self) -> usize {
        1 + usize::from(self.has_constant()) + usize::from(self.purpose == Purpose::Certify)
    }

    /// Bytes of a block of sixteen rows.
    pub(crate) fn block_bytes(&self) -> usize {
        (self.head_lines() + self.columns()) * 64
    }

    /// Bytes of a row's digits below its head.
    fn tail_bytes(&self) -> usize {
        self.width() * self.code.tail() as usize / 8
    }

    /// Bytes of a row that lie apart from its block: the tail and its scale; under cosine the length, as a bf16.
    pub(crate) fn rest_bytes(&self) -> usize {
        let scale = if self.code.tail() > 0 { 4 } else { 0 };
        let length = if self.purpose == Purpose::Estimate && self.metric == Metric::Cosine { 2 } else { 0 };
        self.tail_bytes() + scale + length
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
    pub(crate) fn new(coding: Coding) -> Plane {
        let (block, rest) = (coding.block_bytes(), coding.rest_bytes().max(1));
        Plane { coding: Arc::new(coding), rows: 0, blocks: Matrix::new(block), rests: Matrix::new(rest) }
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
        let block = self.blocks.row_mut(slot / BLOCK_ROWS);
        let (in_block, rest) = record.split_at(block.len() / BLOCK_ROWS);
        for (line, word) in block.chunks_exact_mut(64).zip(in_block.as_chunks::<4>().0) {
            line[slot % BLOCK_ROWS * 4..][..4].copy_from_slice(word);
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
        let coding = &self.coding;
        let mut plane = Plane {
            coding: Arc::clone(coding),
            rows: 0,
            blocks: Matrix::new(self.blocks.width()),
            rests: Matrix::new(self.rests.width()),
        };
        plane.try_reserve(slots.len())?;
        let mut record = vec![0; coding.record_bytes()];
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
        let (in_block, rest) = record.split_at_mut(self.blocks.width() / BLOCK_ROWS);
        for (word, line) in in_block.as_chunks_mut::<4>().0.iter_mut().zip(self.lines(slot)) {
            *word = line;
        }
        if !rest.is_empty() {
            rest.copy_from_slice(self.rests.row(slot));
        }
    }

    /// What the row in `slot` has in each line of its block.
    fn lines(&self, slot: usize) -> impl Iterator<Item = [u8; 4]> + '_ {
        let at = slot % BLOCK_ROWS * 4;
        let block = self.blocks.row(slot / BLOCK_ROWS).as_chunks::<64>().0;
        block.iter().map(move |line| [line[at], line[at + 1], line[at + 2], line[at + 3]])
    }

    /// All digits of the row in `slot`.
    #[inline(always)]
    fn digits(&self, slot: usize, digits: &mut [u8]) {
        let coding = &*self.coding;
        digits.fill(0);
        append_digits(coding.code.head, self.lines(slot).take(coding.head_lines()), digits);
        if coding.code.tail() > 0 {
            let mut rest = self.rests.row(slot);
            for bits in pieces(coding.code.tail()) {
                let (words, more) = rest.split_at(coding.width() * bits as usize / 8);
                append_digits(bits, words.as_chunks::<4>().0.iter().copied(), digits);
                rest = more;
            }
        }
    }

    /// The row in `slot` as its code has it, `dim` values.
    pub(crate) fn decode(&self, slot: usize, out: &mut [f32]) {
        let coding = &*self.coding;
        if self.length(slot) == Some(0.0) {
            return out.fill(0.0);
        }
        let mut digits = vec![0; coding.width()];
        self.digits(slot, &mut digits);
        let scale = self.scale(slot);
        let mut row: Vec<f32> =
            digits.iter().map(|&digit| (scale * f64::from(coding.code.level(digit))) as f32).collect();
        coding.rotation.undo(&mut row);
        let length = self.length(slot).unwrap_or(1.0);
        for ((out, y), mean) in out.iter_mut().zip(row).zip(&coding.mean) {
            *out = ((f64::from(y) + f64::from(*mean)) * f64::from(length)) as f32;
        }
    }

    /// The multiple of its levels that estimates the row in `slot`.
    fn scale(&self, slot: usize) -> f64 {
        let coding = &*self.coding;
        let scale = if coding.code.tail() > 0 {
            let at = coding.tail_bytes();
            let rest = self.rests.row(slot);
            [rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]
        } else {
            self.lines(slot).nth(coding.head_lines()).unwrap_or_default()
        };
        f64::from(f32::from_le_bytes(scale))
    }

    /// The length of the row in `slot`, where it is kept: under cosine.
    pub(crate) fn length(&self, slot: usize) -> Option<f32> {
        if self.coding.purpose == Purpose::Certify || self.coding.metric != Metric::Cosine {
            return None;
        }
        let rest = self.rests.row(slot);
        let [.., low, high] = rest else { return None };
        Some(f32::from_bits(u32::from_le_bytes([0, 0, *low, *high])))
    }
}

/// The pieces of 4, 2 and 1 bits that a number of bits is made of, the largest first.
fn pieces(bits: u32) -> impl Iterator<Item = u32> {
    [4, 2, 1].into_iter().filter(move |piece| bits & piece != 0)
}
