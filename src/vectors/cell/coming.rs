//! A cell on its way from memory, asked for bit by bit.
//!
//! A core keeps only so many lines under way: whoever asks for more waits until some have come. So a long cell is asked for in parts, and a walk has
//! something else to do between them.

use super::Cells;
use crate::simd;

/// How many parts a cell is asked for in, and how many lines one has at least: short cells come in fewer.
const PARTS: usize = 6;
const LEAST_LINES: usize = 8;

/// The lines of a cell that have not been asked for.
pub(crate) struct Coming {
    next: *const u8,
    left: usize,
    part: usize,
}

impl Cells {
    /// The cell in `slot`, of which the first `asked` lines have been asked for.
    #[inline(always)]
    pub(crate) fn coming(&self, slot: usize, asked: usize) -> Coming {
        let (cell, left) = (self.cells.row(slot), self.lines().saturating_sub(asked));
        Coming { next: cell.as_ptr().wrapping_add(asked * 64), left, part: left.div_ceil(PARTS).max(LEAST_LINES) }
    }
}

impl Coming {
    /// Asks for the next part, if there is one.
    #[inline(always)]
    pub(crate) fn ask(&mut self) {
        self.ask_lines(self.part.min(self.left));
    }

    /// Asks for all that is left.
    #[inline(always)]
    pub(crate) fn ask_rest(&mut self) {
        self.ask_lines(self.left);
    }

    #[inline(always)]
    fn ask_lines(&mut self, lines: usize) {
        for line in 0..lines {
            simd::prefetch_far(self.next.wrapping_add(line * 64));
        }
        (self.next, self.left) = (self.next.wrapping_add(lines * 64), self.left - lines);
    }
}
