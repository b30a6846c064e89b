//! Memory that begins as a file, and is ours from then on.
//!
//! A private mapping: a page is read when it is first looked at, and copied when it is first written to, so what is written never comes to
//! the file. Whoever is given pages has them alone.

use memmap2::MmapMut;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Part of a private mapping. No two of them that are in use may overlap.
pub(crate) struct Pages {
    map: Arc<Mapping>,
    range: Range<usize>,
}

struct Mapping {
    /// Taken before the mapping was shared; atomic only because plain pointers do not go from thread to thread.
    start: AtomicPtr<u8>,
    memory: MmapMut,
}

impl Pages {
    /// The whole of a mapping, of which only the first `length` bytes count.
    pub(crate) fn new(mut memory: MmapMut, length: usize) -> Pages {
        assert!(length <= memory.len());
        let start = AtomicPtr::new(memory.as_mut_ptr());
        Pages { map: Arc::new(Mapping { start, memory }), range: 0..length }
    }

    /// Part of these pages. They are not to be used themselves any more where they overlap.
    pub(crate) fn part(&self, range: Range<usize>) -> Pages {
        assert!(range.start <= range.end && range.end <= self.len());
        Pages { map: Arc::clone(&self.map), range: self.range.start + range.start..self.range.start + range.end }
    }

    /// Says that the mapping is looked at here and there: then the system reads no more than that of the file.
    pub(crate) fn expect_random(&self) {
        #[cfg(unix)]
        let _ = self.map.memory.advise(memmap2::Advice::Random);
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }

    /// Where they begin. They are there, to be read and written, for as long as this lives.
    pub(crate) fn as_mut_ptr(&self) -> *mut u8 {
        debug_assert!(self.range.end <= self.map.memory.len());
        self.map.start.load(Ordering::Relaxed).wrapping_add(self.range.start)
    }
}
