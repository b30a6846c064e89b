//! A segment as a collection knows it: which of its rows are gone, and what numbers the others have.

use crate::error::Result;
use crate::index::Bits;
use crate::store::batch::SegmentName;
use crate::store::filter::Filter;
use crate::store::key::KeyRef;
use crate::store::manifest::{FileRecord, SegmentRecord};
use crate::store::postings::Verdict;
use crate::store::segment::Segment;
use roaring::RoaringBitmap;
use std::sync::Arc;

/// A segment, open.
#[derive(Clone)]
pub(in crate::store) struct Sealed {
    pub(in crate::store) name: SegmentName,
    pub(in crate::store) file: Arc<Segment>,
    pub(super) numbers: Numbers,
    /// Which of its slots have no row any more.
    pub(in crate::store) gone: Bits,
    pub(in crate::store) gone_count: u64,
    /// The file that says so, if it still says all.
    pub(in crate::store) deletions: Option<FileRecord>,
    /// Whether a manifest lists it.
    pub(in crate::store) listed: bool,
}

/// The numbers of the rows in a segment: they grow with the slots.
#[derive(Clone)]
pub(in crate::store) enum Numbers {
    /// This one for the first slot, and so on.
    From(i64),
    /// One for each slot.
    Listed(Vec<i64>),
}

impl Sealed {
    /// A segment that no manifest lists yet, with all of its rows.
    pub(in crate::store) fn new(name: SegmentName, file: Segment) -> Sealed {
        Sealed {
            name,
            file: Arc::new(file),
            numbers: Numbers::From(0),
            gone: Bits::default(),
            gone_count: 0,
            deletions: None,
            listed: false,
        }
    }

    /// The same segment, listed in a manifest, without the rows in `gone`.
    pub(in crate::store) fn listed(self, gone: Bits, deletions: Option<FileRecord>) -> Sealed {
        Sealed { gone_count: gone.count() as u64, gone, deletions, listed: true, ..self }
    }

    /// The same segment, of which the rows have these numbers.
    pub(in crate::store) fn numbered(self, numbers: Numbers) -> Sealed {
        Sealed { numbers, ..self }
    }

    /// How many rows are still there.
    pub(in crate::store) fn there(&self) -> u64 {
        self.name.rows - self.gone_count
    }

    /// The slots whose rows are still there.
    pub(in crate::store) fn slots(&self) -> impl Iterator<Item = usize> {
        (0..self.file.len()).filter(|&slot| !self.gone.get(slot))
    }

    pub(super) fn number(&self, slot: usize) -> i64 {
        match &self.numbers {
            Numbers::From(first) => first + slot as i64,
            Numbers::Listed(numbers) => numbers[slot],
        }
    }

    /// The slot of the row with this number, if it is here and still there.
    pub(super) fn slot_of(&self, number: i64) -> Option<usize> {
        let slot = match &self.numbers {
            Numbers::From(first) => usize::try_from(number.checked_sub(*first)?).ok()?,
            Numbers::Listed(numbers) => numbers.binary_search(&number).ok()?,
        };
        (slot < self.file.len() && !self.gone.get(slot)).then_some(slot)
    }

    /// Whether it has the row with this number, and that is still there.
    pub(in crate::store) fn has(&self, number: i64) -> bool {
        self.slot_of(number).is_some()
    }

    /// The slot of the row with this key, if it is here and still there.
    pub(super) fn find(&self, key: KeyRef<'_>) -> Result<Option<usize>> {
        Ok(self.file.find(key)?.filter(|slot| *slot < self.file.len() && !self.gone.get(*slot)))
    }

    /// Which of the rows that are still there a filter lets through, as far as postings say.
    pub(super) fn verdict(&self, filter: &Filter) -> Verdict {
        let mut verdict = match self.file.postings() {
            Some(postings) => postings.matches(filter),
            None => Verdict { candidates: (0..self.file.len() as u32).collect(), ..Verdict::default() },
        };
        if self.gone_count > 0 {
            let gone: RoaringBitmap = self.gone.ones().map(|slot| slot as u32).collect();
            verdict.matches -= &gone;
            verdict.candidates -= &gone;
        }
        verdict
    }

    pub(super) fn forget(&mut self, slot: usize) {
        if self.gone.set(slot) {
            self.gone_count += 1;
            self.deletions = None;
        }
    }

    /// What a manifest says of it.
    pub(in crate::store) fn describe(&self) -> SegmentRecord {
        let segment = FileRecord::new(self.name.file, self.name.seal);
        SegmentRecord { segment, rows: self.name.rows, deletions: self.deletions }
    }
}
