//! An outlook: some rows as they are seen from the centre.
//!
//! It is laid out like a cell, but of no row, or of the one that lies where rows are centred: so a query has the estimates of all its rows at the
//! price of a step or two, and without reading the cells of any.

use super::{Cell, CellQuery, EdgeCode, Frame, write_link};
use crate::kernel::BLOCK_ROWS;
use crate::simd::{Operation, Simd, dispatch};
use crate::vectors::aligned::Aligned;
use std::sync::Arc;

/// Fans that are estimated together.
const TOGETHER: usize = 2;

/// Some rows, under the numbers of their slots.
pub(crate) struct Outlook {
    frame: Arc<Frame>,
    bytes: Aligned<u8>,
    len: usize,
}

impl Frame {
    /// Lines of 64 bytes that a query of so many rows of an outlook reads.
    pub(crate) fn outlook_lines(&self, rows: usize) -> usize {
        rows.div_ceil(BLOCK_ROWS) * self.fan_bytes() / 64
    }
}

impl Outlook {
    /// Of these rows.
    pub(crate) fn new(frame: &Arc<Frame>, rows: &[(u32, Cell<'_>)]) -> Outlook {
        let fans = rows.len().div_ceil(BLOCK_ROWS).next_multiple_of(TOGETHER);
        let mut bytes = Aligned::zeros(frame.list_start() + fans * frame.fan_bytes());
        dispatch(Encode { frame, rows, bytes: &mut bytes });
        Outlook { frame: Arc::clone(frame), bytes, len: rows.len() }
    }

    /// A cell without a row, and with as many links as rows are seen.
    #[inline(always)]
    fn cell(&self) -> Cell<'_> {
        Cell { frame: &self.frame, bytes: &self.bytes }
    }

    /// The slots of the rows.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> {
        (0..self.len).map(|at| self.cell().link(at))
    }
}

/// The task of coding the links of an outlook.
struct Encode<'a> {
    frame: &'a Frame,
    rows: &'a [(u32, Cell<'a>)],
    bytes: &'a mut [u8],
}

impl Operation for Encode<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Encode { frame, rows, bytes } = self;
        let mut signs = vec![0; frame.sign_bytes()];
        for (at, &(slot, row)) in rows.iter().enumerate() {
            let factors = Cell { frame, bytes: &*bytes }.encode_link(simd, row, &mut signs);
            write_link(frame, bytes, at, slot, EdgeCode { signs: &signs, factors });
        }
    }
}

impl CellQuery {
    /// Estimates the values of all rows of an outlook, and tells those that are below a limit, each with its slot. The limit is infinity at first, then
    /// what `tell` has returned last: whoever is after the nearest is told of few.
    #[inline(always)]
    pub(crate) fn look_out<S: Simd>(&self, simd: S, outlook: &Outlook, mut tell: impl FnMut(f32, u32) -> f32) {
        let (cell, mut limit) = (outlook.cell(), f32::INFINITY);
        for fan in (0..outlook.len.div_ceil(BLOCK_ROWS)).step_by(TOGETHER) {
            let (first, mut estimates) = (fan * BLOCK_ROWS, [[0.0; BLOCK_ROWS]; TOGETHER]);
            let rows = (outlook.len - first).min(TOGETHER * BLOCK_ROWS);
            let below = self.estimate(simd, cell, fan, (self.own, limit), &mut estimates);
            let mut below = below & u32::MAX >> (u32::BITS as usize - rows);
            while below != 0 {
                let at = below.trailing_zeros() as usize;
                below &= below - 1;
                limit = tell(estimates[at / BLOCK_ROWS][at % BLOCK_ROWS], cell.link(first + at));
            }
        }
    }
}
