//! Rows under ids: what every index keeps, whatever it builds on top.
//!
//! A row lies in a *slot* and has an *id*. A slot is visible while its live bit is set, and nothing else decides that: rows
//! are written first, in as many steps as it takes, and become visible together. Slots are what selections, graphs and
//! scans speak of; ids exist only at the edge.

mod file;
mod ids;
mod lookup;
mod terms;

pub(crate) use file::{TableSchema, load_matrix};

use self::ids::{IdMap, Slots};
use self::lookup::Lookup;
use self::terms::Terms;
use super::intake::Staged;
use super::selection::{Bits, Selection, Version};
use crate::error::{Error, Result};
use crate::kernel::canonical_dot;
use crate::simd;
use crate::vectors::{Codec, Decode, KeptRows, Matrix, Metric, Piece};

/// The most rows that one index can hold: slots fit 31 bits.
pub(crate) const MAX_ROWS: usize = i32::MAX as usize;

/// Rows under ids.
pub(crate) struct Table {
    metric: Metric,
    rows: KeptRows,
    terms: Terms,
    /// Empty while slots are sequential.
    ids: Matrix<i64>,
    /// How many slots there are.
    len: usize,
    /// Whether rows and terms are kept here. If not, both are empty, and somebody else has what is kept of the rows.
    has_rows: bool,
    mapped: bool,
    live: Bits,
    live_count: usize,
    slots: Slots,
    /// Whether ids grow with slots, dead ones included.
    ascending: bool,
    /// One more than the last slot that was ever visible.
    published: u32,
    next_id: i64,
    version: Version,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(dim: usize, metric: Metric, codec: Codec) -> Table {
        Table {
            metric,
            rows: KeptRows::new(dim, codec),
            terms: Terms::new(metric),
            ids: Matrix::new(1),
            len: 0,
            has_rows: true,
            mapped: false,
            live: Bits::default(),
            live_count: 0,
            slots: Slots::Sequential,
            ascending: true,
            published: 0,
            next_id: 0,
            version: Version::next(),
        }
    }

    pub(crate) fn dim(&self) -> usize {
        self.rows.dim()
    }

    pub(crate) fn metric(&self) -> Metric {
        self.metric
    }

    pub(crate) fn codec(&self) -> Codec {
        self.rows.codec()
    }

    /// Values a row as kernels read it: padded with zeros to whole cache lines.
    pub(crate) fn width(&self) -> usize {
        self.rows.plain().width()
    }

    /// How many slots are in use, visible or not.
    #[inline(always)]
    pub(crate) fn slots(&self) -> usize {
        self.len
    }

    /// How many rows are visible.
    pub(crate) fn live(&self) -> usize {
        self.live_count
    }

    /// Whether every slot is visible.
    pub(crate) fn all_live(&self) -> bool {
        self.live_count == self.slots()
    }

    /// Whether no row in this slot has ever been visible.
    pub(crate) fn is_unseen(&self, slot: u32) -> bool {
        slot >= self.published
    }

    #[inline]
    pub(crate) fn is_live(&self, slot: usize) -> bool {
        self.live.get(slot)
    }

    /// The 64 live bits from slot `64 * word` on.
    #[inline]
    pub(crate) fn live_word(&self, word: usize) -> u64 {
        self.live.word(word)
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The rows by slot, under f32; under any other codec there are none in here.
    #[inline(always)]
    pub(crate) fn rows(&self) -> &Matrix<f32> {
        self.rows.plain()
    }

    /// The rows by slot, in whatever codec.
    pub(crate) fn kept(&self) -> &KeptRows {
        &self.rows
    }

    /// The values of the rows in some slots, padded with zeros; decoded to `room`, unless they are kept as f32.
    #[inline(always)]
    pub(crate) fn values<'a, const R: usize>(&'a self, slots: [u32; R], room: &'a mut Vec<f32>) -> [&'a [f32]; R] {
        if self.codec() == Codec::F32 {
            return self.plain(slots);
        }
        let width = self.width();
        room.resize(R * width, 0.0);
        simd::dispatch(Decode { rows: &self.rows, slots: &slots, width, out: room });
        std::array::from_fn(|at| &room[at * width..][..width])
    }

    /// The values of the rows in some slots, where they lie as f32.
    #[inline(always)]
    pub(crate) fn plain<const R: usize>(&self, slots: [u32; R]) -> [&[f32]; R] {
        slots.map(|slot| self.rows.plain().row(slot as usize))
    }

    /// Copies the values of the row in `slot`; returns their squared norm.
    pub(crate) fn read(&self, slot: usize, out: &mut [f32]) -> f64 {
        self.rows.read(&[slot as u32], out);
        canonical_dot(out, out)
    }

    /// Asks the memory system for the row in `slot`, and for all else that scoring it reads.
    #[inline(always)]
    pub(crate) fn prefetch(&self, slot: usize) {
        for line in self.rows.row(slot).chunks(64) {
            simd::prefetch_far(line.as_ptr());
        }
        if !self.is_sequential() {
            simd::prefetch_far(self.ids.row(slot).as_ptr());
        }
        self.terms.prefetch_square(slot);
    }

    /// What is kept of the rows beside their values.
    #[inline(always)]
    pub(crate) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Whether the table lies in a mapped file.
    pub(crate) fn is_mapped(&self) -> bool {
        self.mapped
    }

    /// Whether rows are kept here.
    pub(crate) fn has_rows(&self) -> bool {
        self.has_rows
    }

    /// Gives the rows up: from here on there are only ids.
    pub(crate) fn drop_rows(&mut self) {
        self.rows = KeptRows::new(self.dim(), self.codec());
        self.terms = Terms::new(self.metric);
        self.has_rows = false;
    }

    /// Keeps the rows that come from here on; there must be none.
    pub(crate) fn keep_rows(&mut self) {
        debug_assert_eq!(self.len, 0);
        self.has_rows = true;
    }

    /// Bytes that the rows take, with all that belongs to them.
    pub(crate) fn bytes(&self) -> usize {
        let map = match &self.slots {
            Slots::Sequential => 0,
            Slots::LookedUp(lookup) => lookup.bytes(),
            Slots::Sorted(order) => order.bytes(),
        };
        self.rows.bytes() + self.terms.bytes() + self.ids.bytes() + self.live.words().len() * 8 + map
    }

    /// The most bytes by which the table grows when rows come into these slots, `reused` of them free ones, under these ids: in turn, or in whatever
    /// order.
    pub(crate) fn growth(&self, places: impl Iterator<Item = (u32, i64)>, reused: usize, in_turn: bool) -> usize {
        let (mut stored, mut sequential, mut highest) = (0, in_turn, -1);
        for (slot, id) in places {
            stored += 1;
            sequential &= i64::from(slot) == id;
            highest = highest.max(id);
        }
        let row = if self.has_rows { self.rows.row_bytes() + self.terms.row_bytes() } else { 0 };
        let ids = match &self.slots {
            Slots::Sequential if sequential => 0,
            Slots::Sequential => self.slots() + stored - reused,
            _ => stored - reused,
        };
        let words = (self.slots() + stored - reused).div_ceil(64).saturating_sub(self.live.words().len());
        let map = match &self.slots {
            Slots::Sequential if sequential => 0,
            Slots::LookedUp(lookup) if lookup.has_room(stored, highest) => 0,
            _ => Lookup::most_bytes(self.live_count + stored),
        };
        (stored - reused) * row + ids * size_of::<i64>() + words * 8 + map
    }

    /// The visible rows among `ids`; others are passed over.
    pub(crate) fn select_ids(&self, ids: &[i64]) -> Selection {
        let mut bits = Bits::zeros(self.slots());
        for slot in ids.iter().filter_map(|&id| self.slot_of(id)) {
            bits.set(slot);
        }
        Selection::new(bits, self.version)
    }

    /// The visible rows whose entry in `mask`, which goes with the ascending ids, is true.
    pub(crate) fn select_mask(&self, mask: &[bool]) -> Result<Selection> {
        if mask.len() != self.live_count {
            return Err(Error::MaskLength { rows: self.live_count, given: mask.len() });
        }
        let mut bits = Bits::zeros(self.slots());
        for (&slot, _) in self.slots_by_id().iter().zip(mask).filter(|(_, wanted)| **wanted) {
            bits.set(slot as usize);
        }
        Ok(Selection::new(bits, self.version))
    }

    /// Makes room for `additional` rows.
    pub(crate) fn try_reserve(&mut self, additional: usize) -> Result<()> {
        if additional > MAX_ROWS - self.slots() {
            let limit = format!("and an index holds at most {MAX_ROWS} rows");
            return Err(Error::Capacity { what: "adding rows", needed: additional as u64, limit });
        }
        if self.has_rows {
            self.rows.try_reserve(additional)?;
            self.terms.try_reserve(additional)?;
        }
        if self.is_sequential() { Ok(()) } else { self.ids.try_reserve(additional) }
    }

    /// Puts rows of a piece into slots that are not visible: old ones, or new ones in order, for which there is room.
    pub(crate) fn store(&mut self, piece: &Piece, staged: &[Staged]) {
        for &Staged { at, slot, squared_norm } in staged {
            debug_assert!(!self.live.get(slot));
            let is_new = slot == self.len;
            if is_new {
                self.push_hidden_id();
            }
            if self.has_rows && is_new {
                self.rows.push(piece.row(at));
                self.terms.push(squared_norm);
            } else if self.has_rows {
                self.rows.overwrite(slot, piece.row(at));
                self.terms.overwrite(slot, squared_norm);
            }
        }
    }

    /// Lets the rows in two slots that are not visible change places.
    pub(crate) fn swap_hidden(&mut self, a: usize, b: usize) {
        debug_assert!(!self.live.get(a) && !self.live.get(b) && self.has_rows);
        self.rows.swap(a, b);
        self.terms.swap(a, b);
    }

    /// Forgets the slots from `slots` on, none of which may be visible.
    pub(crate) fn truncate(&mut self, slots: usize) {
        self.len = self.len.min(slots);
        self.published = self.published.min(self.len as u32);
        self.rows.truncate(slots);
        self.terms.truncate(slots);
        self.ids.truncate(slots);
    }

    /// Makes hidden rows visible under these ids, and hides the rows that had them. Returns the slots that are free now.
    pub(crate) fn publish(&mut self, entries: &[(u32, i64)], map: Option<IdMap>) -> Vec<u32> {
        if let Some(IdMap { lookup, ids }) = map {
            self.slots = Slots::LookedUp(lookup);
            self.ids = ids.unwrap_or(std::mem::replace(&mut self.ids, Matrix::new(1)));
        }
        let mut freed = Vec::new();
        for &(slot, id) in entries {
            if let Some(old) = self.slot_of(id) {
                self.hide(old, id);
                freed.push(old as u32);
            }
            self.ascending &= slot >= self.published && id >= self.next_id;
            self.published = self.published.max(slot + 1);
            if !self.is_sequential() {
                self.ids.row_mut(slot as usize)[0] = id;
            }
            self.live.set(slot as usize);
            self.live_count += 1;
            self.next_id = self.next_id.max(id.saturating_add(1));
            if let Slots::LookedUp(lookup) = &mut self.slots {
                lookup.insert(id, slot);
            }
        }
        self.version = Version::next();
        freed
    }

    /// Hides the rows with these ids; returns the slots that are free now.
    pub(crate) fn remove(&mut self, ids: &[i64]) -> Vec<u32> {
        let mut freed = Vec::new();
        for &id in ids {
            if let Some(slot) = self.slot_of(id) {
                self.hide(slot, id);
                freed.push(slot as u32);
            }
        }
        if !freed.is_empty() {
            self.version = Version::next();
        }
        freed
    }

    fn hide(&mut self, slot: usize, id: i64) {
        self.live.clear(slot);
        self.live_count -= 1;
        if let Slots::LookedUp(lookup) = &mut self.slots {
            lookup.remove(id);
        }
    }

    /// The visible rows alone, which are in these slots, in that order and memory of their own.
    pub(crate) fn compacted(&self, slots: &[u32]) -> Result<Table> {
        debug_assert_eq!(slots.len(), self.live_count);
        let mut table = Table::new(self.dim(), self.metric, self.codec());
        (table.has_rows, table.terms) = (self.has_rows, self.terms.emptied());
        table.try_reserve(self.live_count)?;
        let mut entries = Vec::with_capacity(self.live_count);
        for (new, &slot) in slots.iter().enumerate() {
            let slot = slot as usize;
            if self.has_rows {
                table.rows.push(self.rows.row(slot));
                table.terms.push_from(&self.terms, slot);
            }
            table.push_hidden_id();
            entries.push((new as u32, self.id(slot)));
        }
        let map = table.prepare_map(&entries)?;
        table.publish(&entries, map);
        table.next_id = self.next_id;
        Ok(table)
    }

    /// A table of its own with the same slots.
    pub(crate) fn try_clone(&self) -> Result<Table> {
        let mut table = Table {
            metric: self.metric,
            rows: self.rows.try_clone()?,
            terms: self.terms.try_clone()?,
            ids: self.ids.try_clone()?,
            len: self.len,
            has_rows: self.has_rows,
            mapped: false,
            live: self.live.clone(),
            live_count: self.live_count,
            slots: Slots::Sequential,
            ascending: self.ascending,
            published: self.published,
            next_id: self.next_id,
            version: Version::next(),
        };
        if !self.is_sequential() {
            // From the old one: the copy is still sequential, and so has other ids.
            table.slots = Slots::LookedUp(self.looked_up(0, -1)?.0);
        }
        Ok(table)
    }
}
