//! All rows in the order of their keys: those in memory and those of each segment, merged as they are asked for.

use super::{Rows, Sealed};
use crate::error::Result;
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
    pub(super) fn new(rows: &'a Rows, after: Option<&Key>) -> Result<InOrder<'a>> {
        let fresh: Box<dyn Iterator<Item = _> + 'a> = Box::new(rows.fresh.keys_after(after));
        let cursor = |sealed: &'a Sealed| {
            let place = after.map_or(Ok(0), |key| sealed.file.place_after(key.as_ref()))?;
            Ok(Cursor { sealed, place })
        };
        let segments = rows.segments.values().map(cursor).collect::<Result<_>>()?;
        Ok(InOrder { fresh: fresh.peekable(), segments })
    }
}

impl<'a> Cursor<'a> {
    /// The next row that is still there.
    fn peek(&mut self) -> Result<Option<(KeyRef<'a>, i64)>> {
        while self.place < self.sealed.file.keyed() {
            let slot = self.sealed.file.slot_in_order(self.place)?;
            let key = self.sealed.file.key(slot)?;
            if !self.sealed.gone.get(slot) {
                return Ok(Some((key, self.sealed.number(slot))));
            }
            self.place += 1;
        }
        Ok(None)
    }
}

impl InOrder<'_> {
    /// The next row, if there is one; also when it is not known which it is.
    fn advance(&mut self) -> Result<Option<i64>> {
        let mut first: Option<((KeyRef<'_>, i64), usize)> = None;
        for (i, cursor) in self.segments.iter_mut().enumerate() {
            if let Some(next) = cursor.peek()?
                && first.is_none_or(|((key, _), _)| next.0 < key)
            {
                first = Some((next, i));
            }
        }
        let fresh = self.fresh.peek().map(|(key, _)| key.as_ref());
        Ok(match first {
            Some(((key, number), i)) if fresh.is_none_or(|fresh| key < fresh) => {
                self.segments[i].place += 1;
                Some(number)
            }
            _ => self.fresh.next().map(|(_, number)| number),
        })
    }
}

impl Iterator for InOrder<'_> {
    type Item = Result<i64>;

    fn next(&mut self) -> Option<Result<i64>> {
        self.advance().transpose()
    }
}
