//! How the slots that a scan looks at are cut into chunks: each is a task's, or with several groups of queries that of several.

use std::ops::Range;

/// How the rows are cut into chunks.
pub(super) struct Plan {
    first: usize,
    slots: usize,
    chunk: usize,
    pub(super) chunks: usize,
}

impl Plan {
    /// Chunks of about `chunk` of these slots: whole words of live bits.
    pub(super) fn cut(slots: Range<usize>, chunk: usize) -> Plan {
        let chunk = chunk.max(64).next_multiple_of(64);
        let first = slots.start / 64 * 64;
        Plan { first, slots: slots.end, chunk, chunks: slots.end.saturating_sub(first).div_ceil(chunk) }
    }

    pub(super) fn range(&self, chunk: usize) -> Range<usize> {
        let start = self.first + chunk * self.chunk;
        start..(start + self.chunk).min(self.slots)
    }
}
