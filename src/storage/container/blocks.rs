//! Sections that are verified block by block, each when it is first looked at.
//!
//! A checksum of a whole section can be compared only by reading all of it. Where somebody is going to look at a few places of a large
//! one, the section `blocks` of the container has a checksum for each 16 KiB of it: so nothing is believed unseen, and nothing is read that nobody wants.

use super::{Container, Section};
use crate::error::{Error, Result};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

/// The section with the checksums: XXH3-64 of each block of each of the other sections that are written in blocks, in their order.
pub(crate) const BLOCK_SUMS: &str = "blocks";

const BLOCK: usize = 16 << 10;

/// Checksums of blocks, as bytes come in.
#[derive(Default)]
pub(super) struct BlockSums {
    pub(super) sums: Vec<u64>,
    hash: Xxh3Default,
    /// Bytes in the block so far.
    filled: usize,
}

impl BlockSums {
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (block, rest) = bytes.split_at(bytes.len().min(BLOCK - self.filled));
            self.hash.update(block);
            self.filled += block.len();
            if self.filled == BLOCK {
                self.end();
            }
            bytes = rest;
        }
    }

    /// Ends the block, if one is begun.
    pub(super) fn end(&mut self) {
        if self.filled > 0 {
            self.sums.push(self.hash.digest());
            self.hash.reset();
            self.filled = 0;
        }
    }
}

/// A section of a mapped container that is verified where it is looked at.
pub(crate) struct Guarded {
    section: Section,
    sums: Vec<u64>,
    /// A bit for each block that was verified.
    seen: Box<[AtomicU64]>,
    path: PathBuf,
    name: &'static str,
}

impl Container {
    /// The sections of a mapped container that are written in blocks. These must be all of them, in their order.
    pub(crate) fn guarded<const N: usize>(&self, names: [&'static str; N]) -> Result<[Guarded; N]> {
        let bytes = self.read(BLOCK_SUMS)?;
        let sums: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|sum| u64::from_le_bytes(*sum)).collect();
        let mut taken = 0;
        let mut one = |name: &'static str| {
            let section = self.mapped(name)?.ok_or_else(|| self.corrupt(name, "it is not mapped"))?;
            let blocks = section.as_ref().len().div_ceil(BLOCK);
            let sums = sums.get(taken..taken + blocks).ok_or_else(|| self.corrupt(BLOCK_SUMS, "it is too short"))?;
            taken += blocks;
            let seen = (0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
            Ok(Guarded { section, sums: sums.to_vec(), seen, path: self.path.clone(), name })
        };
        let mut guarded = Vec::with_capacity(N);
        for name in names {
            guarded.push(one(name)?);
        }
        if taken * 8 != bytes.len() {
            return Err(self.corrupt(BLOCK_SUMS, "it is too long"));
        }
        guarded.try_into().map_err(|_| self.corrupt(BLOCK_SUMS, "it is too short"))
    }
}

impl Guarded {
    pub(crate) fn len(&self) -> usize {
        self.section.as_ref().len()
    }

    /// Its bytes, verified or not: whoever reads them sees to that with [`check`](Guarded::check).
    pub(crate) fn section(&self) -> Section {
        self.section.clone()
    }

    /// Compares what lies in `range` with its checksums, unless that has been done.
    pub(crate) fn check(&self, range: Range<usize>) -> Result<()> {
        if range.end > self.len() {
            return Err(self.out_of_range());
        }
        let mut blocks = (range.start / BLOCK..range.end.div_ceil(BLOCK)).filter(|&block| !self.is_seen(block));
        let Some(first) = blocks.next() else { return Ok(()) };
        let Section { map, range: section } = &self.section;
        map.read_soon(section.start + first * BLOCK..section.start + range.end);
        self.compare(first)?;
        blocks.try_for_each(|block| self.compare(block))
    }

    /// Some bytes of it.
    #[inline]
    pub(crate) fn get(&self, range: Range<usize>) -> Result<&[u8]> {
        let Some(bytes) = self.section.as_ref().get(range.clone()) else {
            return Err(self.out_of_range());
        };
        if !bytes.is_empty() {
            for block in range.start / BLOCK..=(range.end - 1) / BLOCK {
                if !self.is_seen(block) {
                    self.verify(block)?;
                }
            }
        }
        Ok(bytes)
    }

    /// The place of some bytes, unread: for prefetches.
    pub(crate) fn hint(&self, at: usize) -> Option<&u8> {
        self.section.as_ref().get(at)
    }

    #[inline]
    fn is_seen(&self, block: usize) -> bool {
        self.seen[block / 64].load(Ordering::Relaxed) >> (block % 64) & 1 == 1
    }

    #[cold]
    fn verify(&self, block: usize) -> Result<()> {
        let Section { map, range } = &self.section;
        let start = range.start + block * BLOCK;
        map.read_soon(start..range.end.min(start + BLOCK));
        self.compare(block)
    }

    fn compare(&self, block: usize) -> Result<()> {
        let (bytes, start) = (self.section.as_ref(), block * BLOCK);
        let end = bytes.len().min(start + BLOCK);
        if xxh3_64(&bytes[start..end]) != self.sums[block] {
            return Err(self.corrupt(format!("the checksum of the block at byte {start} does not match")));
        }
        self.seen[block / 64].fetch_or(1 << (block % 64), Ordering::Relaxed);
        Ok(())
    }

    fn out_of_range(&self) -> Error {
        self.corrupt("a place is out of range".to_owned())
    }

    fn corrupt(&self, what: String) -> Error {
        Error::Corruption { path: self.path.clone(), block: self.name.to_owned(), what }
    }
}
