//! The id side of a table: which slot an id is in, and which id a slot has.

use super::Table;
use super::lookup::Lookup;
use crate::error::Result;
use crate::vectors::Matrix;

/// Which slot an id is in.
pub(super) enum Slots {
    /// Slot i holds id i: what an index has to which rows were only added, with the ids that it gave them.
    Sequential,
    /// Looked up; live ids only.
    LookedUp(Lookup),
    /// The slots of live rows in the order of their ids; of a mapped file.
    Sorted(Matrix<u32>),
}

/// What ids are looked up in, made ahead of its use, and the ids by slot, if they have not been written out before.
pub(crate) struct IdMap {
    pub(super) lookup: Lookup,
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
            Slots::LookedUp(lookup) => lookup.get(id)? as usize,
            Slots::Sorted(order) => self.find_sorted(order, id)?,
        };
        self.live.get(slot).then_some(slot)
    }

    /// Binary search, which begins where the id is if there is none that is not used; a forged order gives a wrong answer, never a slot that
    /// does not exist.
    fn find_sorted(&self, order: &Matrix<u32>, id: i64) -> Option<usize> {
        let (mut low, mut high) = (0, order.len());
        let mut guess = usize::try_from(id).ok();
        while low < high {
            let middle = guess.take().filter(|&guess| guess < high).unwrap_or(low.midpoint(high));
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

    /// Whether ids grow with slots, dead ones included.
    pub(crate) fn is_ascending(&self) -> bool {
        self.ascending
    }

    /// The visible slots, ascending.
    pub(crate) fn visible(&self) -> impl Iterator<Item = usize> {
        self.live.ones()
    }

    /// The visible slots in the order of their ids.
    pub(crate) fn slots_by_id(&self) -> Vec<u32> {
        match &self.slots {
            Slots::Sorted(order) => {
                let slots = (0..order.len()).map(|at| order.first(at));
                return slots.filter(|&slot| self.live.get(slot as usize)).collect();
            }
            Slots::LookedUp(lookup) if !self.ascending => {
                if let Some(slots) = lookup.in_order() {
                    return slots.collect();
                }
            }
            _ => (),
        }
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

    /// What ids are looked up in once there are `entries`; made before anything is visible, since it may need memory. `None`: what there is
    /// will do.
    pub(crate) fn prepare_map(&self, entries: &[(u32, i64)]) -> Result<Option<IdMap>> {
        let highest = entries.iter().map(|&(_, id)| id).max().unwrap_or(-1);
        let stays = match &self.slots {
            Slots::Sequential => entries.iter().all(|&(slot, id)| i64::from(slot) == id),
            Slots::LookedUp(lookup) => lookup.has_room(entries.len(), highest),
            Slots::Sorted(_) => false,
        };
        if stays {
            return Ok(None);
        }
        let lookup = self.looked_up(entries.len(), highest)?.0;
        let ids = if self.is_sequential() { Some(self.written_ids()?) } else { None };
        Ok(Some(IdMap { lookup, ids }))
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

    /// Something to look up the visible ids in, with room for `more` others up to `highest`; and how many ids there are.
    pub(super) fn looked_up(&self, more: usize, highest: i64) -> Result<(Lookup, usize)> {
        // All ids were given, or are below the next one.
        let highest = highest.max(self.next_id - 1);
        let mut lookup = Lookup::with_room(self.live_count + more, highest)?;
        let ids = self.live.ones().filter(|&slot| lookup.insert(self.id(slot), slot as u32)).count();
        Ok((lookup, ids))
    }
}
