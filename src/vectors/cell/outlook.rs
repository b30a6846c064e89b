//! An outlook: some rows as they are seen from the centre.
//!
//! It is laid out like a cell, but of no row, or of the one that lies where rows are centred: so a query has the estimates of all its rows at the
//! price of a step or two, and without reading the cells of any.

use super::{Cell, CellQuery, Cells, EdgeCode, Frame, write_link};
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

impl Outlook {
    /// Of these slots. None under metrics that have no centre: rows are not near because they lie there.
    pub(crate) fn new(cells: &Cells, slots: &[u32]) -> Outlook {
        let frame = Arc::clone(cells.frame());
        let fans = slots.len().div_ceil(BLOCK_ROWS).next_multiple_of(TOGETHER);
        let mut bytes = Aligned::zeros(frame.list_start() + fans * frame.fan_bytes());
        dispatch(Encode { cells, slots, bytes: &mut bytes });
        Outlook { frame, bytes, len: slots.len() }
    }
}

/// The task of coding the links of an outlook.
struct Encode<'a> {
    cells: &'a Cells,
    slots: &'a [u32],
    bytes: &'a mut [u8],
}

impl Operation for Encode<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Encode { cells, slots, bytes } = self;
        let (frame, mut signs) = (&**cells.frame(), vec![0; cells.frame().sign_bytes()]);
        for (at, &slot) in slots.iter().enumerate() {
            let factors = Cell { frame, bytes: &*bytes }.encode_link(simd, cells.cell(slot as usize), &mut signs);
            write_link(frame, bytes, at, slot, EdgeCode { signs: &signs, factors });
        }
    }
}

impl CellQuery {
    /// Estimates the values of all rows of an outlook, and tells each with its slot.
    #[inline(always)]
    pub(crate) fn look_out<S: Simd>(&self, simd: S, outlook: &Outlook, mut tell: impl FnMut(f32, u32)) {
        let cell = Cell { frame: &outlook.frame, bytes: &outlook.bytes };
        for fan in (0..outlook.len.div_ceil(BLOCK_ROWS)).step_by(TOGETHER) {
            let mut estimates = [[0.0; BLOCK_ROWS]; TOGETHER];
            self.estimate(simd, cell, fan, (self.own, f32::INFINITY), &mut estimates);
            let first = fan * BLOCK_ROWS;
            for (at, &estimate) in (first..outlook.len).zip(estimates.as_flattened()) {
                tell(estimate, cell.link(at));
            }
        }
    }
}
