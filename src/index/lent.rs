//! Rows that lie in files of others, and are read there.
//!
//! A store has its rows in files already. An index that looks at rows as they are can do so where they lie, so making it costs the same however
//! many there are. The files have a checksum for each block, and a block is compared with it before an answer depends on it: a lone row when
//! somebody asks for it, all of them before the first scan.
//!
//! Each part begins at a slot that is a multiple of [`LENT_ROWS`], and its rows have their slots as ids. Slots in between never have a row.

use super::IndexOptions;
use super::selection::{Bits, Selection};
use super::table::Table;
use crate::error::Result;
use crate::runtime::{Call, map};
use crate::storage::Guarded;
use crate::vectors::{KeptRows, LENT_ROWS, Lender, Matrix, kept_bytes};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of rows that one task compares with their checksums.
const TASK_BYTES: usize = 4 << 20;

/// The rows of one file.
pub(crate) struct LentPart {
    /// How many slots there are, with or without a row.
    pub(crate) len: usize,
    /// The rows as they are kept.
    pub(crate) rows: Arc<Guarded>,
    /// What scores need beside each.
    pub(crate) terms: Arc<Guarded>,
    /// Which slots have a row.
    pub(crate) live: Bits,
}

/// All rows of an index that lie elsewhere: its first ones.
#[derive(Default)]
pub(crate) struct Lent {
    /// With the first slot of each.
    parts: Vec<(usize, LentPart)>,
    /// Slots from here on are the index's own.
    end: usize,
    row_bytes: usize,
    /// Slots between the parts.
    gaps: usize,
    is_verified: AtomicBool,
}

impl LentPart {
    /// Compares the rows in these slots with their checksums.
    fn check(&self, slots: Range<usize>, row_bytes: usize) -> Result<()> {
        self.rows.check(slots.start * row_bytes..slots.end * row_bytes)?;
        self.terms.check(slots.start * size_of::<f32>()..slots.end * size_of::<f32>())
    }
}

impl Lent {
    /// These parts, one after another, and a table of them.
    pub(crate) fn new(options: &IndexOptions, parts: Vec<LentPart>) -> Result<(Lent, Table)> {
        let row_bytes = kept_bytes(options.codec, options.dim);
        let mut lent = Lent { row_bytes, ..Lent::default() };
        let mut live = Vec::new();
        for part in parts {
            // What does not fill a block is copied, and looked at by nobody before that.
            part.check(part.len / LENT_ROWS * LENT_ROWS..part.len, row_bytes)?;
            let first = lent.end.next_multiple_of(LENT_ROWS);
            live.resize(first / 64, 0);
            live.extend((0..part.len.div_ceil(64)).map(|word| part.live.word(word)));
            lent.gaps += first - lent.end;
            lent.end = first + part.len;
            lent.parts.push((first, part));
        }
        let lenders = |of: fn(&LentPart) -> &Guarded| -> Vec<Lender> {
            lent.parts.iter().map(|(_, part)| Arc::new(of(part).section()) as Lender).collect()
        };
        let rows = KeptRows::lent(options.dim, options.codec, lenders(|part| &part.rows))?;
        let terms = Matrix::lent(1, lenders(|part| &part.terms))?;
        let table = Table::of_slots(options, rows, terms, Bits::from_words(live))?;
        Ok((lent, table))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The first slot behind all that is lent.
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    /// How many slots never had a row.
    pub(crate) fn gaps(&self) -> usize {
        self.gaps
    }

    /// The first slot of each part.
    pub(crate) fn firsts(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().map(|(first, _)| *first)
    }

    /// Compares the rows that a search may look at with their checksums, unless that has been done.
    pub(crate) fn check_for(&self, selection: Option<&Selection>, call: &Call<'_>) -> Result<()> {
        if self.is_verified.load(Ordering::Relaxed) {
            return Ok(());
        }
        match selection.and_then(Selection::slots) {
            Some(few) => self.check_slots(few),
            None => self.check_all(call),
        }
    }

    /// The same for some slots.
    pub(crate) fn check_slots(&self, slots: &[u32]) -> Result<()> {
        if self.is_verified.load(Ordering::Relaxed) {
            return Ok(());
        }
        slots.iter().try_for_each(|&slot| self.check_range(slot as usize..slot as usize + 1))
    }

    /// The same for slots that follow each other.
    pub(crate) fn check_range(&self, slots: Range<usize>) -> Result<()> {
        self.parts.iter().try_for_each(|(first, part)| {
            let (start, end) = (slots.start.max(*first), slots.end.min(first + part.len));
            if start < end { part.check(start - first..end - first, self.row_bytes) } else { Ok(()) }
        })
    }

    /// The same for all rows.
    pub(crate) fn check_all(&self, call: &Call<'_>) -> Result<()> {
        if self.is_verified.load(Ordering::Relaxed) {
            return Ok(());
        }
        let step = (TASK_BYTES / self.row_bytes.max(1)).next_multiple_of(LENT_ROWS);
        let checked =
            map(call, self.end.div_ceil(step), |task| self.check_range(task * step..self.end.min((task + 1) * step)))?;
        checked.into_iter().collect::<Result<()>>()?;
        self.is_verified.store(true, Ordering::Relaxed);
        Ok(())
    }
}
