//! All rows in the order of their keys: those in memory and those of each segment, merged as they are asked for.

use super::{Rows, Sealed};
use crate::store::key::{Key, KeyRef};
use std::iter::Peekable;

/// The numbers of rows, in the order of their keys.
pub(in crate::store) struct InOrder<'a> {
    fresh: Peekable<Box<dyn Iterator<Item = (&'a Key, i64)> + 'a>>,
    segments: Vec<Cursor<'a>>,
}

/// The rest of one segment.
struct Cursor<'a> {
    sealed: &'a Sealed,
    place: usize,
}

impl<'a> InOrder<'a> {
    /// Those after `after`.
    pub(super) fn new(rows: &'a Rows, after: Option<&Key>) -> InOrder<'a> {
        let fresh: Box<dyn Iterator<Item = _> + 'a> = Box::new(rows.fresh.keys_after(after));
        let cursor = |sealed: &'a Sealed| {
            let place = after.map_or(0, |key| {
                let place = sealed.file.place_of(key.as_ref());
                let is_it = sealed.file.key(sealed.file.slot_in_order(place)) == Some(key.as_ref());
                place + usize::from(is_it)
            });
            Cursor { sealed, place }
        };
        InOrder { fresh: fresh.peekable(), segments: rows.segments.values().map(cursor).collect() }
    }
}

impl<'a> Cursor<'a> {
    /// The next row that is still there.
    fn peek(&mut self) -> Option<(KeyRef<'a>, i64)> {
        while self.place < self.sealed.file.keyed() {
            let slot = self.sealed.file.slot_in_order(self.place);
            if let Some(key) = self.sealed.file.key(slot).filter(|_| !self.sealed.gone.get(slot)) {
                return Some((key, self.sealed.number(slot)));
            }
            self.place += 1;
        }
        None
    }
}

impl Iterator for InOrder<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        let in_segments = self.segments.iter_mut().enumerate().filter_map(|(i, cursor)| Some((cursor.peek()?, i)));
        let first = in_segments.min_by_key(|((key, _), _)| *key);
        let fresh = self.fresh.peek().map(|(key, _)| key.as_ref());
        match first {
            Some(((key, number), i)) if fresh.is_none_or(|fresh| key < fresh) => {
                self.segments[i].place += 1;
                Some(number)
            }
            _ => self.fresh.next().map(|(_, number)| number),
        }
    }
}
