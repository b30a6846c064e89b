//! The work of a scan: its slots in chunks, each of which is one task for each group of queries.

use std::ops::Range;

/// Chunks of slots.
pub(super) struct Plan {
    first: usize,
    slots: usize,
    chunk: usize,
    /// How many there are.
    pub(super) chunks: usize,
}

impl Plan {
    /// Chunks of about `chunk` of these slots: whole words of live bits.
    pub(super) fn cut(slots: Range<usize>, chunk: usize) -> Plan {
        let chunk = chunk.max(64).next_multiple_of(64);
        let first = slots.start / 64 * 64;
        Plan { first, slots: slots.end, chunk, chunks: slots.end.saturating_sub(first).div_ceil(chunk) }
    }

    /// The slots of a chunk.
    pub(super) fn range(&self, chunk: usize) -> Range<usize> {
        let start = self.first + chunk * self.chunk;
        start..(start + self.chunk).min(self.slots)
    }
}
