//! Lean cells: all that an index keeps of a row, in little more than a byte a value.
//!
//! Such a cell has the row in eight bits, three numbers and the links; neither is there a code beside a link, nor a row anywhere else. So a walk
//! reads of everything that a node links to the row itself, but only the upper halves of its bytes ([`Nested`]): a *glance*. What it ends with
//! is looked at with both halves, and the best are scored.
//!
//! What glances read, the *heads*, lies apart from the rest. It is little more than a third of all bytes, so that most of it stays in the caches;
//! with all of a cell in one piece, a glance took four times as long, since processors fetch what lies beside a line too.
//!
//! The scale of a row is rounded up to a bf16, so that in the same word there is room for the length of the row, which under cosine is not
//! in its direction. There are two links fewer than twice m: as many bytes as the numbers of a row take.
//!
//! # Scores
//!
//! Nothing else is known of a row, so its score is what follows from the query, not rounded, and the multiple of the code, in sixteen lanes
//! of f32: one number, whichever way a search came to the row, on every processor.
//!
//! - l2: `-||q - y||`,
//! - cosine: `1 - ||q - y||^2 / 2`, which it is for directions,
//! - dot: `<q, y>`, the centre added to both again.

use super::encode::{MOST, in_steps};
use super::{CellQuery, Cells, Frame, Shape};
use crate::error::Result;
use crate::kernel::{NESTED_LINE, Nested, Whole, canonical_dot, high_dot, pack_nested, side_dot, unpack_nested};
use crate::simd::{Simd, prefetch_far};
use crate::vectors::pair::{high_of_pair, low_of_pair, nearest_bf16, pair, upper_bf16};
use crate::vectors::{Metric, Query};
use std::sync::Arc;

/// Bytes of the numbers of a cell: scale and length in one word, part.
pub(super) const NUMBERS: usize = 8;

/// Ends a list of links.
pub(super) const NONE: u32 = u32::MAX;

/// What stands for the lower half of a byte where that is not read: its mean.
const MIDDLE: f32 = 7.5;

/// The largest bf16 that is a number.
const LONGEST: u16 = 0x7F7F;

impl Shape {
    /// Bytes of the head of a lean cell: the upper halves, and the numbers.
    pub(super) fn head_bytes(self, dim: usize) -> usize {
        self.width(dim) / 2 + NUMBERS
    }

    /// Bytes of what it has besides: the lower halves, and the links.
    pub(super) fn rest_bytes(self, dim: usize) -> usize {
        self.width(dim) / 2 + self.degree * size_of::<u32>()
    }
}

impl Frame {
    /// Whether cells are lean.
    #[inline(always)]
    pub(crate) fn is_lean(&self) -> bool {
        self.shape.lean
    }

    /// Writes the row that was y, as its cell begins with it.
    #[inline(always)]
    pub(super) fn write_lean(&self, y: &[f32], squared_norm: f64, row: &mut [u8]) {
        let (high, rest) = row.split_at_mut(self.width() / 2);
        let (numbers, low) = rest.split_at_mut(NUMBERS);
        let mut largest = 0f32;
        for &value in y {
            largest = largest.max(value.abs());
        }
        let mut code = vec![0; self.width()];
        // Rounded up: no coordinate is more than 127 steps.
        let step = upper_bf16(largest / MOST);
        let scale = high_of_pair(pair(step, 0));
        let squares = if scale.is_normal() { in_steps(y, 1.0 / scale, &mut code) } else { 0 };
        let length = nearest_bf16(squared_norm.sqrt() as f32).min(LONGEST).max(u16::from(squared_norm > 0.0));
        pack_nested(&code, high, low);
        numbers[..4].copy_from_slice(&pair(if scale.is_normal() { step } else { 0 }, length).to_le_bytes());
        numbers[4..].copy_from_slice(&self.part(y, scale, squares, &code).to_le_bytes());
    }

    /// The values of a row, as near as its code has them.
    pub(crate) fn decode(&self, cell: LeanCell<'_>, out: &mut [f32]) {
        if self.metric == Metric::Cosine && cell.length() == 0.0 {
            return out.fill(0.0);
        }
        let mut code = vec![0; self.width()];
        cell.unpack(&mut code);
        let mut y: Vec<f32> = code.iter().map(|&whole| f32::from(whole) * cell.scale()).collect();
        self.rotation.undo(&mut y);
        let length = if self.metric == Metric::Cosine { f64::from(cell.length()) } else { 1.0 };
        for ((out, y), mean) in out.iter_mut().zip(y).zip(&self.mean) {
            let value = (f64::from(y) + f64::from(*mean)) / self.unit * length;
            *out = value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
        }
    }

    /// What scores need of a query.
    pub(super) fn known(&self, query: &Query<'_>) -> Known {
        let factor = self.query_factor(query);
        let along_mean = factor * self.unit * canonical_dot(&query.values[..self.mean.len()], &self.mean);
        let is_dot = self.metric == Metric::Dot;
        Known {
            is_zero: query.squared_norm == 0.0,
            offset: if is_dot { along_mean } else { 0.0 },
            per_square: if is_dot { 1.0 / (factor * self.unit * self.unit) } else { 1.0 / (self.unit * self.unit) },
        }
    }
}

/// What makes scores of sums.
#[derive(Clone, Copy, Default)]
pub(super) struct Known {
    /// Whether the query is nothing but zeros.
    is_zero: bool,
    /// Under dot, the inner product with the centre, in units.
    offset: f64,
    /// What a square of a unit is.
    per_square: f64,
}

/// One lean cell, to be read.
#[derive(Clone, Copy)]
pub(crate) struct LeanCell<'a> {
    frame: &'a Frame,
    head: &'a [u8],
    rest: &'a [u8],
}

impl<'a> LeanCell<'a> {
    /// The row as [`Frame::encode`] made it, in two parts.
    pub(crate) fn row(self) -> [&'a [u8]; 2] {
        [self.head, &self.rest[..self.frame.width() / 2]]
    }

    #[inline(always)]
    fn word(self, at: usize) -> u32 {
        let at = self.frame.width() / 2 + at * 4;
        u32::from_le_bytes([self.head[at], self.head[at + 1], self.head[at + 2], self.head[at + 3]])
    }

    /// What the whole numbers are multiples of.
    #[inline(always)]
    pub(super) fn scale(self) -> f32 {
        high_of_pair(self.word(0))
    }

    /// How long the row was.
    #[inline(always)]
    fn length(self) -> f32 {
        low_of_pair(self.word(0))
    }

    /// What the row adds to its value for every query.
    #[inline(always)]
    pub(super) fn part(self) -> f32 {
        f32::from_bits(self.word(1))
    }

    /// The row in two halves.
    #[inline(always)]
    fn nested(self) -> Nested {
        let half = self.frame.width() / 2;
        Nested { high: self.head[..half].as_ptr(), low: self.rest[..half].as_ptr() }
    }

    /// The row in whole numbers.
    #[inline(always)]
    pub(super) fn unpack(self, code: &mut [i8]) {
        let half = self.frame.width() / 2;
        unpack_nested(&self.head[..half], &self.rest[..half], code);
    }

    /// All places for links; the list ends at the first [`NONE`].
    #[inline(always)]
    pub(crate) fn list(self) -> &'a [u32] {
        bytemuck::cast_slice(&self.rest[self.frame.width() / 2..])
    }

    /// Where the links lead.
    pub(crate) fn links(self) -> impl Iterator<Item = u32> + 'a {
        self.list().iter().copied().take_while(|&link| link != NONE)
    }

    /// The row as one side of a distance.
    #[inline(always)]
    pub(crate) fn point(self) -> LeanPoint<'a> {
        LeanPoint { frame: self.frame, of: Of::Row(self.nested()), scale: self.scale(), own: self.part() }
    }
}

/// One side of a distance among lean cells.
#[derive(Clone, Copy)]
pub(crate) struct LeanPoint<'a> {
    frame: &'a Frame,
    of: Of<'a>,
    scale: f32,
    /// What all of its values begin with.
    own: f32,
}

/// A query with the sum of its code, or a row.
#[derive(Clone, Copy)]
enum Of<'a> {
    Query(&'a [i8], f32),
    Row(Nested),
}

impl LeanPoint<'_> {
    /// The value of a row: the smaller, the nearer.
    #[inline(always)]
    pub(crate) fn value<S: Simd>(self, simd: S, row: LeanCell<'_>) -> f32 {
        let (lines, nested) = (self.frame.width() / NESTED_LINE, row.nested());
        // SAFETY: queries and rows are as wide as the frame says, which is a multiple of a line.
        let product = unsafe {
            match self.of {
                Of::Query(code, _) => side_dot(simd, Whole(code.as_ptr()), nested, lines),
                Of::Row(of) => side_dot(simd, of, nested, lines),
            }
        };
        self.value_of(row, product as f32)
    }

    /// About the value of a row, from the upper halves of its bytes; of another row all of it.
    #[inline(always)]
    pub(crate) fn glance<S: Simd>(self, simd: S, row: LeanCell<'_>) -> f32 {
        let Of::Query(code, sum) = self.of else { return self.value(simd, row) };
        let lines = self.frame.width() / NESTED_LINE;
        // SAFETY: queries and rows are as wide as the frame says, which is a multiple of a line.
        let product = unsafe { high_dot(simd, code.as_ptr(), row.head[..self.frame.width() / 2].as_ptr(), lines) };
        self.value_of(row, 16.0 * product as f32 - (128.0 - MIDDLE) * sum)
    }

    #[inline(always)]
    fn value_of(self, row: LeanCell<'_>, product: f32) -> f32 {
        let value = self.own + row.part() - 2.0 * self.scale * row.scale() * product;
        // What is no number, since a row is out of all proportion, is infinitely far: it must not sort before the others.
        value.min(f32::INFINITY)
    }

    /// Three standard deviations of what rounding the query makes of the value of a row: it is evenly spread over a step, and the
    /// length of what it is multiplied with follows from the scale, the largest of so many normal coordinates being about 3.3 times as long as they commonly are.
    pub(crate) fn blur(self, row: LeanCell<'_>) -> f32 {
        /// A common coordinate, in scales.
        const COMMON: f32 = MOST / 3.3;
        let dims = self.frame.width() as f32;
        3.0 * 2.0 * (dims / 12.0).sqrt() * COMMON * self.scale * row.scale()
    }
}

impl CellQuery {
    /// The query as one side of a distance among lean cells.
    #[inline(always)]
    pub(crate) fn lean_point<'a>(&'a self, frame: &'a Frame) -> LeanPoint<'a> {
        assert_eq!(self.code.len(), frame.width());
        LeanPoint { frame, of: Of::Query(&self.code, self.sum as f32), scale: self.scale, own: self.own }
    }

    /// The score of a row.
    #[inline(always)]
    pub(crate) fn score(&self, row: LeanCell<'_>) -> f32 {
        let (metric, Known { is_zero, offset, per_square }) = (row.frame.metric, self.known);
        let is_nothing = is_zero || metric == Metric::Cosine && row.length() == 0.0;
        let score = match metric {
            Metric::Cosine | Metric::Dot if is_nothing => 0.0,
            Metric::Cosine => (1.0 - f64::from(self.squared_distance(row)) * per_square / 2.0).clamp(-1.0, 1.0),
            Metric::Dot => (f64::from(self.inner_product(row)) - f64::from(row.part()) / 2.0 + offset) * per_square,
            _ => -(f64::from(self.squared_distance(row)) * per_square).sqrt(),
        };
        // What is out of range is as far as can be; and no negative zeros: only ids decide between equal scores.
        score.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32 + 0.0
    }

    #[inline(always)]
    fn squared_distance(&self, row: LeanCell<'_>) -> f32 {
        if row.part() == f32::INFINITY {
            return f32::INFINITY;
        }
        self.fold(row, |sum, y, x| sum + (y - x) * (y - x))
    }

    #[inline(always)]
    fn inner_product(&self, row: LeanCell<'_>) -> f32 {
        self.fold(row, |sum, y, x| sum + y * x)
    }

    /// Sums over the coordinates of the query and of a row, in sixteen lanes.
    #[inline(always)]
    fn fold(&self, row: LeanCell<'_>, step: impl Fn(f32, f32, f32) -> f32) -> f32 {
        let (mut lanes, scale, width) = ([0f32; 16], row.scale(), row.frame.width());
        let (high, low) = (&row.head[..width / 2], &row.rest[..width / 2]);
        let halves = high.as_chunks::<64>().0.iter().zip(low.as_chunks::<64>().0);
        for (y, (high, low)) in self.y.as_chunks::<NESTED_LINE>().0.iter().zip(halves) {
            for from in [0, 16, 32, 48] {
                for i in 0..16 {
                    let (high, low) = (i32::from(high[from + i]), i32::from(low[from + i]));
                    let (front, back) = ((high & 15) << 4 | low & 15, high & 0xF0 | low >> 4);
                    lanes[i] = step(lanes[i], y[from + i], (front - 128) as f32 * scale);
                    lanes[i] = step(lanes[i], y[64 + from + i], (back - 128) as f32 * scale);
                }
            }
        }
        lanes.into_iter().sum()
    }
}

impl Cells {
    /// The cells of some slots, without links, in this order.
    pub(crate) fn gathered(&self, slots: &[u32]) -> Result<Cells> {
        let mut cells = Cells::new(Arc::clone(&self.frame));
        cells.try_reserve(slots.len())?;
        for &slot in slots {
            cells.push(&self.lean_cell(slot as usize).row().concat());
        }
        Ok(cells)
    }

    /// Replaces the links of a lean cell.
    pub(crate) fn set_list(&mut self, slot: usize, links: &[u32]) {
        let list = self.list_mut(slot);
        list[..links.len()].copy_from_slice(links);
        list[links.len()..].fill(NONE);
    }

    /// The places for links of a lean cell.
    #[inline(always)]
    fn list_mut(&mut self, slot: usize) -> &mut [u32] {
        let half = self.frame.width() / 2;
        bytemuck::cast_slice_mut(&mut self.rests.row_mut(slot)[half..])
    }

    /// The lean cell of a slot.
    #[inline(always)]
    pub(crate) fn lean_cell(&self, slot: usize) -> LeanCell<'_> {
        LeanCell { frame: &self.frame, head: self.cells.row(slot), rest: self.rests.row(slot) }
    }

    /// Asks for what [`glance`](LeanPoint::glance) reads of a cell.
    #[inline(always)]
    pub(crate) fn prefetch_head(&self, slot: usize) {
        fetch(self.cells.row(slot));
    }

    /// Asks for what [`value`](LeanPoint::value) reads.
    #[inline(always)]
    pub(crate) fn prefetch_lean(&self, slot: usize) {
        fetch(self.cells.row(slot));
        fetch(&self.rests.row(slot)[..self.frame.width() / 2]);
    }
}

/// Asks for all lines that these bytes lie in.
#[inline(always)]
fn fetch(bytes: &[u8]) {
    for line in bytes.chunks(64) {
        prefetch_far(line.as_ptr());
    }
    // They may begin within a line.
    if let Some(last) = bytes.last() {
        prefetch_far(last);
    }
}
