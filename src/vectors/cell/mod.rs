//! Cells: all that a walk reads of a node, in one piece.
//!
//! A step of a walk looks at one node and at everything that it links to. Where each of these has a row of its own somewhere, a step is
//! some thirty reads from memory that nobody could foresee. A *cell* has it all in one place: the row of its node in eight
//! bits, the links, and beside each link a code of where it leads, one bit a dimension. So a step is one read, in order, whose place
//! is known one or two steps ahead.
//!
//! # What a cell says
//!
//! Rows are centred, rotated (see [`Rotation`]) and rounded to `y = s c`, c in whole numbers up to 127; from there on these
//! y *are* the rows, so that all distances between nodes are sums of whole numbers times two factors. A link from u to v has the
//! signs of `o = y_v - y_u`. With `f = ||o||^2 / <sign o, o>`, the vector `f sign(o)` is an estimate of o that is unbiased under a random rotation
//! (Gao and Long, RaBitQ, arXiv 2405.12497), and
//!
//! `<q, o> = <q - y_u, o> + <y_u, o>`, which is about `f <q, sign o> - f <y_u, sign o> + <y_u, o>`.
//!
//! Of these only the first depends on q, and it is a sum of signs, which tables give for sixteen links at a time
//! ([`sign_products`](crate::kernel::sign_products)). What a walk needs of v is its *value*, which orders rows as their distances from q do:
//!
//! - cosine (rows are directions), l2: `||q - y||^2`,
//! - dot: `-2 <q, y>`, with the centre added to both again, and less what is the same for all rows.
//!
//! Either is `own + part - 2 <q, y>`, the *part* of a row being `||y||^2`, or, under dot, `-2 <mean, y>`. So
//!
//! `value_v` is about `value_u + A + B <q, sign o>`, with `A = part_v - part_u - 2 <y_u, o> + 2 f <y_u, sign o>` and `B = -2 f`,
//!
//! two numbers that are kept with the link; the value of u is known, since a walk computes it when it comes there. This is the idea of
//! SymphonyQG (Gou, Gao, Xu and Long, arXiv 2411.12229); since here both ends of a link are kept rotated, a link can be coded in
//! one pass over them, and cells can change one link at a time.
//!
//! Rows of many values have signs for some of their coordinates alone: see [`shape`].
//!
//! [`lean`] cells do without the codes of links, and without the rows that other cells have beside them.

mod coming;
mod encode;
mod lean;
mod measure;
mod outlook;
mod query;
mod shape;
#[cfg(test)]
mod suite;

pub(crate) use coming::Coming;
pub(crate) use encode::EdgeCode;
pub(crate) use lean::LeanPoint;
pub(crate) use outlook::Outlook;
pub(crate) use query::{CellPoint, CellQuery};
pub(crate) use shape::Shape;
use shape::{NUMBERS, signs};

use super::{Matrix, Metric, Rotation};
use crate::error::Result;
use crate::kernel::{BLOCK_ROWS, SIGN_LINE};
use crate::simd;
use std::sync::Arc;

/// See [`Frame::longer`].
const ALPHA: f32 = 1.02;

/// How rows become cells: what does not change while rows come and go.
pub(crate) struct Frame {
    metric: Metric,
    /// What rows are centred on, in units.
    mean: Vec<f32>,
    /// The same, rotated.
    centre: Vec<f32>,
    /// What rows are multiplied with, so that their common distance from the mean is 1.
    unit: f64,
    rotation: Rotation,
    shape: Shape,
    /// How many of the first coordinates have signs in links: every look at a link asks, and to find out takes a division.
    signs: usize,
}

/// The numbers that make a [`Frame`], as files keep them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FrameParts {
    pub(crate) mean: Vec<f32>,
    pub(crate) unit: f64,
}

impl Frame {
    /// The frame with these numbers, for rows of as many values as the mean and cells of this shape.
    pub(crate) fn new(metric: Metric, shape: Shape, seed: u64, parts: FrameParts) -> Frame {
        let FrameParts { mean, unit } = parts;
        let rotation = Rotation::new(mean.len(), shape.width(mean.len()), seed);
        let mut centre = vec![0.0; rotation.width()];
        rotation.rotate(&mean, &mut centre);
        let signs = signs(rotation.width());
        Frame { metric, mean, centre, unit, rotation, shape, signs }
    }

    /// What near means.
    pub(crate) fn metric(&self) -> Metric {
        self.metric
    }

    /// Whether distances under this metric can be had from inner products: those alone can be coded.
    pub(crate) fn serves(metric: Metric) -> bool {
        matches!(metric, Metric::Cosine | Metric::Dot | Metric::L2)
    }

    /// What [`new`](Frame::new) was given.
    pub(crate) fn parts(&self) -> FrameParts {
        FrameParts { mean: self.mean.clone(), unit: self.unit }
    }

    /// Coordinates of a rotated row.
    pub(crate) fn width(&self) -> usize {
        self.rotation.width()
    }

    /// How many times as far from here as from a neighbour another row must be to need no link of its own (alpha, of Subramanya et al.,
    /// DiskANN, NeurIPS 2019). For squared distances; inner products have no such proportions.
    #[inline(always)]
    pub(crate) fn longer(&self) -> f32 {
        if self.metric == Metric::Dot { 1.0 } else { ALPHA * ALPHA }
    }

    /// Lines of 64 bytes with the signs of a fan.
    fn sign_lines(&self) -> usize {
        self.signs / SIGN_LINE
    }

    /// Where in a cell its fans begin.
    fn list_start(&self) -> usize {
        self.width() + NUMBERS
    }

    /// Bytes of a fan, sixteen links whose codes lie side by side: signs, factors, links.
    fn fan_bytes(&self) -> usize {
        (self.sign_lines() + 2) * 64
    }

    /// A row that lies alone, as a cell; it has no links.
    #[inline(always)]
    pub(crate) fn lone<'a>(&'a self, row: &'a [u8]) -> Cell<'a> {
        debug_assert_eq!(row.len(), self.row_bytes());
        Cell { frame: self, bytes: row }
    }

    /// Bytes of a cell as it lies; of a lean one of its head and of its rest.
    pub(crate) fn widths(&self) -> [usize; 2] {
        let dim = self.mean.len();
        if self.is_lean() { [self.shape.head_bytes(dim), self.shape.rest_bytes(dim)] } else { [self.cell_bytes(), 1] }
    }

    /// Bytes of a cell.
    pub(crate) fn cell_bytes(&self) -> usize {
        self.shape.cell_bytes(self.mean.len())
    }
}

/// The cells of an index, by slot.
pub(crate) struct Cells {
    frame: Arc<Frame>,
    /// Of lean cells the heads.
    cells: Matrix<u8>,
    /// What lean cells have beside their heads.
    rests: Matrix<u8>,
}

/// One cell, to be read.
#[derive(Clone, Copy)]
pub(crate) struct Cell<'a> {
    frame: &'a Frame,
    bytes: &'a [u8],
}

impl<'a> Cell<'a> {
    /// The row alone, as [`Frame::encode`] made it: what a cell begins with, and a cell without links.
    pub(crate) fn row(self) -> &'a [u8] {
        &self.bytes[..self.frame.row_bytes()]
    }

    /// The row in whole numbers.
    #[inline(always)]
    pub(crate) fn code(self) -> &'a [i8] {
        bytemuck::cast_slice(&self.bytes[..self.frame.width()])
    }

    #[inline(always)]
    fn word(self, at: usize) -> u32 {
        let at = self.frame.width() + at * 4;
        u32::from_le_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]])
    }

    /// What the whole numbers are multiples of.
    #[inline(always)]
    pub(crate) fn scale(self) -> f32 {
        f32::from_bits(self.word(0))
    }

    /// What the row adds to its value for every query.
    #[inline(always)]
    pub(crate) fn part(self) -> f32 {
        f32::from_bits(self.word(1))
    }

    /// How many links there are. A forged number cannot exceed the room for them.
    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        (self.word(2) as usize).min(self.frame.shape.degree)
    }

    /// How many fans there are.
    #[inline(always)]
    pub(crate) fn fans(self) -> usize {
        self.frame.shape.fans()
    }

    #[inline(always)]
    fn fan(self, fan: usize) -> &'a [u8] {
        let bytes = self.frame.fan_bytes();
        &self.bytes[self.frame.list_start() + fan * bytes..][..bytes]
    }

    /// Where link `at` leads.
    #[inline(always)]
    pub(crate) fn link(self, at: usize) -> u32 {
        u32::from_le_bytes(self.leads(at / BLOCK_ROWS)[at % BLOCK_ROWS])
    }

    /// Where the links of a fan lead, least significant byte first.
    #[inline(always)]
    pub(crate) fn leads(self, fan: usize) -> &'a [[u8; 4]; BLOCK_ROWS] {
        let fan = self.fan(fan);
        bytemuck::from_bytes(&fan[fan.len() - 64..])
    }

    /// Where the links lead, in the order in which they lie.
    pub(crate) fn links(self) -> impl Iterator<Item = u32> + 'a {
        (0..self.len()).map(move |at| self.link(at))
    }

    /// Whether a link leads to a slot. All places of a fan are looked at at once; what lies behind the last link may be left of others.
    #[inline(always)]
    fn leads_to(self, to: u32) -> bool {
        let has = |fan| self.leads(fan).iter().fold(false, |has, &lead| has | (lead == to.to_le_bytes()));
        (0..self.fans()).any(has) && self.links().any(|link| link == to)
    }
}

/// Writes link `at` of a cell that lies in `bytes`.
fn write_link(frame: &Frame, bytes: &mut [u8], at: usize, to: u32, code: EdgeCode<'_>) {
    let fan_bytes = frame.fan_bytes();
    let (fan, place) = (at / BLOCK_ROWS, at % BLOCK_ROWS);
    let fan = &mut bytes[frame.list_start() + fan * fan_bytes..][..fan_bytes];
    let (signs, numbers) = fan.split_at_mut(fan_bytes - 128);
    for (line, word) in signs.as_chunks_mut::<64>().0.iter_mut().zip(code.signs.as_chunks::<4>().0) {
        for (part, &byte) in word.iter().enumerate() {
            line[part * BLOCK_ROWS + place] = byte;
        }
    }
    numbers[place * 4..][..4].copy_from_slice(&code.factors.to_le_bytes());
    numbers[64 + place * 4..][..4].copy_from_slice(&to.to_le_bytes());
}

impl Cells {
    /// No cells yet.
    pub(crate) fn new(frame: Arc<Frame>) -> Cells {
        let [cells, rests] = frame.widths().map(Matrix::new);
        Cells { frame, cells, rests }
    }

    /// These cells, which are as wide as `frame` says; lean ones in two parts.
    pub(crate) fn from_parts(frame: Frame, [cells, rests]: [Matrix<u8>; 2]) -> Cells {
        assert_eq!([cells.width(), rests.width()], frame.widths());
        Cells { frame: Arc::new(frame), cells, rests }
    }

    pub(crate) fn frame(&self) -> &Arc<Frame> {
        &self.frame
    }

    /// The bytes of all cells, of lean ones in two parts.
    pub(crate) fn parts(&self) -> [&Matrix<u8>; 2] {
        [&self.cells, &self.rests]
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// Makes room for `additional` cells.
    pub(crate) fn try_reserve(&mut self, additional: usize) -> Result<()> {
        self.cells.try_reserve(additional)?;
        if self.frame.is_lean() { self.rests.try_reserve(additional) } else { Ok(()) }
    }

    /// Appends the cell of a row without links; `row` is as [`Frame::encode`] made it. Room must have been reserved.
    pub(crate) fn push(&mut self, row: &[u8]) {
        if !self.frame.is_lean() {
            return self.cells.push(row);
        }
        let (head, low) = row.split_at(self.cells.width());
        self.cells.push(head);
        self.rests.push(low);
        self.set_list(self.len() - 1, &[]);
    }

    /// Makes a cell that of another row, without links.
    pub(crate) fn set_row(&mut self, slot: usize, row: &[u8]) {
        if !self.frame.is_lean() {
            self.cells.row_mut(slot)[..row.len()].copy_from_slice(row);
            return self.set_len(slot, 0);
        }
        let (head, low) = row.split_at(self.cells.width());
        self.cells.row_mut(slot).copy_from_slice(head);
        self.rests.row_mut(slot)[..low.len()].copy_from_slice(low);
        self.set_list(slot, &[]);
    }

    /// Where the links of a cell lead.
    pub(crate) fn links(&self, slot: usize) -> Vec<u32> {
        if self.frame.is_lean() {
            return self.lean_cell(slot).links().collect();
        }
        self.cell(slot).links().collect()
    }

    /// Whether a link of a cell leads to a slot.
    #[inline(always)]
    pub(crate) fn leads_to(&self, slot: usize, to: u32) -> bool {
        if self.frame.is_lean() { self.links(slot).contains(&to) } else { self.cell(slot).leads_to(to) }
    }

    /// Where the first link of a cell leads.
    pub(crate) fn first_link(&self, slot: usize) -> Option<u32> {
        if self.frame.is_lean() { self.lean_cell(slot).links().next() } else { self.cell(slot).links().next() }
    }

    /// Forgets the cells from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.cells.truncate(len);
        self.rests.truncate(len);
    }

    /// The cell of a slot.
    #[inline(always)]
    pub(crate) fn cell(&self, slot: usize) -> Cell<'_> {
        Cell { frame: &self.frame, bytes: self.cells.row(slot) }
    }

    /// Writes link `at` of a cell: where it leads, and its code.
    pub(crate) fn set_link(&mut self, slot: usize, at: usize, to: u32, code: EdgeCode<'_>) {
        write_link(&self.frame, self.cells.row_mut(slot), at, to, code);
    }

    /// Says how many of the links of a cell count.
    pub(crate) fn set_len(&mut self, slot: usize, len: usize) {
        debug_assert!(len <= self.frame.shape.degree);
        let at = self.frame.width() + 8;
        self.cells.row_mut(slot)[at..at + 4].copy_from_slice(&(len as u32).to_le_bytes());
    }

    /// Asks the memory system for some lines of the cell in `slot`, counted from its beginning.
    #[inline(always)]
    pub(crate) fn prefetch(&self, slot: usize, lines: std::ops::Range<usize>) {
        debug_assert!(slot < self.len());
        // SAFETY: callers bring slots that exist; a prefetch of what lies beyond a cell would do no harm either.
        let cell = unsafe { self.cells.address_unchecked(slot) };
        for line in lines {
            simd::prefetch_far(cell.wrapping_add(line * 64));
        }
    }

    /// Asks for how many links a cell has, and where those in its first so many fans lead.
    #[inline(always)]
    pub(crate) fn prefetch_links(&self, slot: usize, fans: usize) {
        if self.frame.is_lean() {
            return;
        }
        let numbers = self.frame.width() / 64;
        self.prefetch(slot, numbers..numbers + 1);
        for fan in 1..=fans.min(self.frame.shape.fans()) {
            let end = (self.frame.list_start() + fan * self.frame.fan_bytes()) / 64;
            self.prefetch(slot, end - 1..end);
        }
    }

    /// Cache lines of a cell.
    #[inline(always)]
    pub(crate) fn lines(&self) -> usize {
        self.cells.width() / 64
    }

    /// Bytes that the cells take.
    pub(crate) fn bytes(&self) -> usize {
        self.cells.bytes() + self.rests.bytes()
    }

    /// Cells of their own with the same content.
    pub(crate) fn try_clone(&self) -> Result<Cells> {
        let (cells, rests) = (self.cells.try_clone()?, self.rests.try_clone()?);
        Ok(Cells { frame: Arc::clone(&self.frame), cells, rests })
    }
}
