//! The id side of a table: which slot an id is in, and which id a slot has.

use super::Table;
use crate::error::{Error, Result};
use crate::vectors::Matrix;
use hashbrown::HashMap;

/// Which slot an id is in.
pub(super) enum Slots {
    /// Slot i holds id i: what an index has to which rows were only added, with the ids that it gave them.
    Sequential,
    /// Looked up; live ids only.
    Hashed(HashMap<i64, u32>),
    /// The slots of live rows in the order of their ids; of a mapped file.
    Sorted(Matrix<u32>),
}

/// An id map made ahead of its use, and the ids by slot, if they have not been written out before.
pub(crate) struct IdMap {
    pub(super) map: HashMap<i64, u32>,
    pub(super) ids: Option<Matrix<i64>>,
}

impl Table {
    #[inline]
    pub(crate) fn id(&self, slot: usize) -> i64 {
        if self.is_sequential() { slot as i64 } else { self.ids.first(slot) }
    }

    /// The next id to be given.
    pub(crate) fn next_id(&self) -> i64 {
        self.next_id
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

    /// The visible slots, ascending.
    pub(crate) fn visible(&self) -> impl Iterator<Item = usize> {
        self.live.ones()
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

    pub(super) fn is_sequential(&self) -> bool {
        matches!(self.slots, Slots::Sequential)
    }

    pub(super) fn push_hidden_id(&mut self) {
        self.len += 1;
        if !self.is_sequential() {
            self.ids.push(&[-1]);
        }
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
        let ids = if self.is_sequential() { Some(self.written_ids()?) } else { None };
        Ok(Some(IdMap { map, ids }))
    }

    /// The ids of sequential slots, written out.
    fn written_ids(&self) -> Result<Matrix<i64>> {
        let mut ids = Matrix::new(1);
        ids.try_reserve(self.slots())?;
        for slot in 0..self.slots() {
            ids.push(&[if self.live.get(slot) { slot as i64 } else { -1 }]);
        }
        Ok(ids)
    }

    pub(super) fn hash_ids(&self) -> Result<HashMap<i64, u32>> {
        let mut map = HashMap::new();
        let needed = self.live_count * 16;
        map.try_reserve(self.live_count).map_err(|_| Error::out_of_memory("the id map", needed))?;
        map.extend(self.live.ones().map(|slot| (self.id(slot), slot as u32)));
        Ok(map)
    }
}
