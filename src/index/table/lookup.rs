//! Which slot an id is in, where that has to be looked up.
//!
//! Ids that an index gives itself are about as many as its rows, and so are most that users give. Then a list by id is all it takes: four bytes an
//! id, and one look. Only where ids are few among many numbers they are hashed.

use crate::error::{Error, Result};
use hashbrown::HashMap;

/// In a list where an id is in no slot.
const NONE: u32 = u32::MAX;

/// The most numbers a list may have for each row.
const LISTED_PART: usize = 2;

/// The slots of live ids.
pub(super) enum Lookup {
    /// By id.
    Listed(Vec<u32>),
    Hashed(HashMap<i64, u32>),
}

impl Lookup {
    /// Room for so many rows, none of which has an id above `highest`, and a quarter more, so that row after row does not copy it all each time.
    pub(super) fn with_room(rows: usize, highest: i64) -> Result<Lookup> {
        let numbers = usize::try_from(highest).map_or(usize::MAX, |highest| highest.saturating_add(1));
        if numbers <= LISTED_PART * rows {
            let (mut list, len) = (Vec::new(), numbers + numbers / 4);
            list.try_reserve_exact(len).map_err(|_| Error::out_of_memory("the id list", len * size_of::<u32>()))?;
            list.resize(len, NONE);
            return Ok(Lookup::Listed(list));
        }
        let (mut map, room) = (HashMap::new(), rows + rows / 4);
        map.try_reserve(room).map_err(|_| Error::out_of_memory("the id map", room * 16))?;
        Ok(Lookup::Hashed(map))
    }

    /// Whether so many rows more, none of which has an id above `highest`, find room.
    pub(super) fn has_room(&self, rows: usize, highest: i64) -> bool {
        match self {
            Lookup::Listed(list) => usize::try_from(highest).is_ok_and(|highest| highest < list.len()),
            Lookup::Hashed(map) => map.capacity() - map.len() >= rows,
        }
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Lookup::Listed(list) => list.len() * size_of::<u32>(),
            Lookup::Hashed(map) => map.allocation_size(),
        }
    }

    /// The most bytes that [`with_room`](Lookup::with_room) takes for so many rows.
    pub(super) fn most_bytes(rows: usize) -> usize {
        // Hashed: seven eighths full at most, a power of two, sixteen bytes and a tag each. A list takes ten bytes a row at most.
        (rows * 10 / 7 + 16).next_power_of_two() * 17 + 64
    }

    #[inline]
    pub(super) fn get(&self, id: i64) -> Option<u32> {
        match self {
            Lookup::Listed(list) => list.get(usize::try_from(id).ok()?).copied().filter(|&slot| slot != NONE),
            Lookup::Hashed(map) => map.get(&id).copied(),
        }
    }

    /// Puts an id into a slot. Whether that was possible, and it was in none: there must be room for it, which a file that is damaged may deny.
    pub(super) fn insert(&mut self, id: i64, slot: u32) -> bool {
        match self {
            Lookup::Listed(list) => {
                let place = usize::try_from(id).ok().and_then(|id| list.get_mut(id));
                place.is_some_and(|place| std::mem::replace(place, slot) == NONE)
            }
            Lookup::Hashed(map) => map.insert(id, slot).is_none(),
        }
    }

    pub(super) fn remove(&mut self, id: i64) {
        match self {
            Lookup::Listed(list) => list[id as usize] = NONE,
            Lookup::Hashed(map) => _ = map.remove(&id),
        }
    }

    /// The slots in the order of their ids, if it knows that order.
    pub(super) fn in_order(&self) -> Option<impl Iterator<Item = u32>> {
        match self {
            Lookup::Listed(list) => Some(list.iter().copied().filter(|&slot| slot != NONE)),
            Lookup::Hashed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_listed_where_they_are_about_as_many_as_rows() {
        let made = |rows, highest| Lookup::with_room(rows, highest).expect("memory");
        assert!(matches!(made(10, 19), Lookup::Listed(list) if list.len() == 25));
        assert!(matches!(made(10, 9), Lookup::Listed(list) if list.len() == 12));
        for highest in [20, i64::MAX] {
            assert!(matches!(made(10, highest), Lookup::Hashed(map) if map.capacity() >= 12));
        }
        for (rows, highest) in [(0, -1), (1, 1), (1000, 1999), (1000, i64::MAX), (100_000, 100_000)] {
            assert!(made(rows, highest).bytes() <= Lookup::most_bytes(rows), "{rows} {highest}");
        }
    }

    #[test]
    fn both_kinds_find_what_was_put_in_and_nothing_else() {
        for highest in [15, i64::MAX] {
            let mut lookup = Lookup::with_room(8, highest).expect("memory");
            assert!(lookup.has_room(8, 15));
            for (id, slot) in [(3, 0), (15, 1), (0, 2)] {
                assert!(lookup.insert(id, slot));
            }
            assert!(!lookup.insert(3, 7));
            lookup.remove(0);
            let found = [0, 3, 15, 16, -1, i64::MIN].map(|id| lookup.get(id));
            assert_eq!(found, [None, Some(7), Some(1), None, None, None]);
            let in_order = lookup.in_order().map(|slots| slots.collect::<Vec<_>>());
            assert_eq!(in_order, (highest == 15).then(|| vec![7, 1]));
        }
        let mut full = Lookup::with_room(8, 7).expect("memory");
        assert!(full.has_room(1, 9) && !full.has_room(1, 10) && !full.has_room(0, i64::MAX));
        assert!(!full.insert(10, 0) && !full.insert(-1, 0), "as a damaged file may want it");
    }
}
