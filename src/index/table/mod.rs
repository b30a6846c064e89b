//! Rows under ids: what every index keeps, whatever it builds on top.
//!
//! A row lies in a *slot* and has an *id*. A slot is visible while its live bit is set, and nothing else decides that: rows
//! are written first, in as many steps as it takes, and become visible together. Slots are what selections, graphs and
//! scans speak of; ids exist only at the edge.

mod file;

pub(crate) use file::{TableSchema, load_matrix};

use super::selection::{Bits, Selection, Version};
use crate::error::{Error, Result};
use crate::vectors::{Codec, KeptRows, Matrix, Metric};
use hashbrown::HashMap;

/// The most rows that one index can hold: slots fit 31 bits.
pub(crate) const MAX_ROWS: usize = i32::MAX as usize;

/// Which slot an id is in.
enum Slots {
    /// Slot i holds id i: what an index has to which rows were only added, with the ids that it gave them.
    Sequential,
    /// Looked up; live ids only.
    Hashed(HashMap<i64, u32>),
    /// The slots of live rows in the order of their ids; of a mapped file.
    Sorted(Matrix<u32>),
}

/// Rows under ids.
pub(crate) struct Table {
    metric: Metric,
    rows: KeptRows,
    terms: Matrix<f32>,
    ids: Matrix<i64>,
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
            terms: Matrix::new(1),
            ids: Matrix::new(1),
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
        self.terms.len()
    }

    /// How many rows are visible.
    pub(crate) fn live(&self) -> usize {
        self.live_count
    }

    /// Whether every slot is visible.
    pub(crate) fn all_live(&self) -> bool {
        self.live_count == self.slots()
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

    pub(crate) fn terms(&self) -> &Matrix<f32> {
        &self.terms
    }

    #[inline]
    pub(crate) fn id(&self, slot: usize) -> i64 {
        self.ids.first(slot)
    }

    /// The next id to be given.
    pub(crate) fn next_id(&self) -> i64 {
        self.next_id
    }

    /// Whether the rows lie in a mapped file.
    pub(crate) fn is_mapped(&self) -> bool {
        self.rows.is_borrowed()
    }

    /// Bytes that the rows take, with all that belongs to them.
    pub(crate) fn bytes(&self) -> usize {
        let map = match &self.slots {
            Slots::Sequential => 0,
            Slots::Hashed(map) => map.allocation_size(),
            Slots::Sorted(order) => order.bytes(),
        };
        self.rows.bytes() + self.terms.bytes() + self.ids.bytes() + self.live.words().len() * 8 + map
    }

    /// The most bytes by which the table grows when rows come into these slots, `reused` of them free ones, under these ids.
    pub(crate) fn growth(&self, places: impl Iterator<Item = (u32, i64)>, reused: usize) -> usize {
        let (mut stored, mut sequential) = (0, true);
        for (slot, id) in places {
            stored += 1;
            sequential &= i64::from(slot) == id;
        }
        let row = self.rows.row_bytes() + size_of::<f32>() + size_of::<i64>();
        let words = (self.slots() + stored - reused).div_ceil(64).saturating_sub(self.live.words().len());
        let map = match &self.slots {
            Slots::Sequential if sequential => 0,
            Slots::Hashed(map) if map.capacity() - map.len() >= stored => 0,
            // Seven eighths full at most, a power of two, sixteen bytes and a tag each; see `prepare_map`.
            _ => ((self.live_count + stored) * 10 / 7 + 16).next_power_of_two() * 17 + 64,
        };
        (stored - reused) * row + words * 8 + map
    }

    /// The slot of a visible row.
    pub(crate) fn slot_of(&self, id: i64) -> Option<usize> {
        let slot = match &self.slots {
            Slots::Sequential => usize::try_from(id).ok()?,
            Slots::Hashed(map) => *map.get(&id)? as usize,
            Slots::Sorted(order) => self.find_sorted(order, id)?,
        };
        self.live.get(slot).then_some(slot)
    }

    /// Binary search; a forged order gives a wrong answer, never a slot that does not exist.
    fn find_sorted(&self, order: &Matrix<u32>, id: i64) -> Option<usize> {
        let (mut low, mut high) = (0, order.len());
        while low < high {
            let middle = low.midpoint(high);
            let slot = order.first(middle) as usize;
            if slot >= self.slots() {
                return None;
            }
            match self.id(slot).cmp(&id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(slot),
            }
        }
        None
    }

    /// The visible slots in the order of their ids.
    pub(crate) fn slots_by_id(&self) -> Vec<u32> {
        let mut slots: Vec<u32> =
            self.live.ones().take_while(|&slot| slot < self.slots()).map(|slot| slot as u32).collect();
        if !self.ascending {
            slots.sort_unstable_by_key(|&slot| self.id(slot as usize));
        }
        slots
    }

    /// The visible ids, ascending.
    pub(crate) fn sorted_ids(&self) -> Vec<i64> {
        self.slots_by_id().into_iter().map(|slot| self.id(slot as usize)).collect()
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
        self.rows.try_reserve(additional)?;
        self.terms.try_reserve(additional)?;
        self.ids.try_reserve(additional)
    }

    /// Appends a row in a slot of its own, not visible yet: the bytes in which it is kept, and the squared norm of that. Room
    /// must have been reserved.
    pub(crate) fn push_hidden(&mut self, row: &[u8], squared_norm: f64) {
        self.rows.push(row);
        self.terms.push(&[self.metric.term(squared_norm)]);
        self.ids.push(&[-1]);
    }

    /// Writes a row into a slot that is not visible.
    pub(crate) fn overwrite_hidden(&mut self, slot: usize, row: &[u8], squared_norm: f64) {
        debug_assert!(!self.live.get(slot));
        self.rows.overwrite(slot, row);
        self.terms.row_mut(slot)[0] = self.metric.term(squared_norm);
    }

    /// Forgets the slots from `slots` on, none of which may be visible.
    pub(crate) fn truncate(&mut self, slots: usize) {
        self.rows.truncate(slots);
        self.terms.truncate(slots);
        self.ids.truncate(slots);
    }

    /// An id map that can take `entries`; computed before anything is visible, since it may need memory. `None`: the one that
    /// is there will do.
    pub(crate) fn prepare_map(&self, entries: &[(u32, i64)]) -> Result<Option<IdMap>> {
        let room = |map: &HashMap<i64, u32>| map.capacity() - map.len() >= entries.len();
        let stays = match &self.slots {
            Slots::Sequential => entries.iter().all(|&(slot, id)| i64::from(slot) == id),
            Slots::Hashed(map) => room(map),
            Slots::Sorted(_) => false,
        };
        if stays {
            return Ok(None);
        }
        let mut map = HashMap::new();
        let wanted = self.live_count + entries.len();
        // A quarter more than needed, so that row after row does not copy the map each time.
        map.try_reserve(wanted + wanted / 4).map_err(|_| Error::out_of_memory("the id map", wanted * 16))?;
        map.extend(self.live.ones().map(|slot| (self.id(slot), slot as u32)));
        Ok(Some(IdMap(map)))
    }

    /// Makes hidden rows visible under these ids, and hides the rows that had them. Returns the slots that are free now.
    pub(crate) fn publish(&mut self, entries: &[(u32, i64)], map: Option<IdMap>) -> Vec<u32> {
        if let Some(IdMap(map)) = map {
            self.slots = Slots::Hashed(map);
        }
        let mut freed = Vec::new();
        for &(slot, id) in entries {
            if let Some(old) = self.slot_of(id) {
                self.hide(old, id);
                freed.push(old as u32);
            }
            self.ascending &= slot >= self.published && id >= self.next_id;
            self.published = self.published.max(slot + 1);
            self.ids.row_mut(slot as usize)[0] = id;
            self.live.set(slot as usize);
            self.live_count += 1;
            self.next_id = self.next_id.max(id.saturating_add(1));
            if let Slots::Hashed(map) = &mut self.slots {
                map.insert(id, slot);
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
        if let Slots::Hashed(map) = &mut self.slots {
            map.remove(&id);
        }
    }

    /// The visible rows alone, in the order of their ids, in memory of their own.
    pub(crate) fn compacted(&self) -> Result<Table> {
        let mut table = Table::new(self.dim(), self.metric, self.codec());
        table.try_reserve(self.live_count)?;
        let mut entries = Vec::with_capacity(self.live_count);
        for (new, slot) in self.slots_by_id().into_iter().enumerate() {
            let slot = slot as usize;
            table.rows.push(self.rows.row(slot));
            table.terms.push(self.terms.row(slot));
            table.ids.push(&[-1]);
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
            live: self.live.clone(),
            live_count: self.live_count,
            slots: Slots::Sequential,
            ascending: self.ascending,
            published: self.published,
            next_id: self.next_id,
            version: Version::next(),
        };
        if !matches!(self.slots, Slots::Sequential) {
            table.slots = Slots::Hashed(table.hash_ids()?);
        }
        Ok(table)
    }

    fn hash_ids(&self) -> Result<HashMap<i64, u32>> {
        let mut map = HashMap::new();
        let needed = self.live_count * 16;
        map.try_reserve(self.live_count).map_err(|_| Error::out_of_memory("the id map", needed))?;
        map.extend(self.live.ones().map(|slot| (self.id(slot), slot as u32)));
        Ok(map)
    }
}

/// An id map made ahead of its use.
pub(crate) struct IdMap(HashMap<i64, u32>);
