//! The terms of a field, read where they lie.
//!
//! ```text
//! term     0     1      2     3 ...     ...        n-3        n-2    n-1
//!        null  false  true  numbers   texts   longer texts   lists  objects
//! ```
//!
//! Each has an end: how many slots it and all terms before it have. The slots of the terms lie one after another, those of a term
//! ascending; only terms of many rows have a Roaring bitmap instead, which is smaller and quicker to unite with others.

use super::super::coding::Take;
use super::super::filter::value::Exact;
use super::number;
use roaring::RoaringBitmap;
use serde_json::Value;
use std::cmp::Ordering;
use std::ops::Range;

pub(super) const NULL: usize = 0;
pub(super) const FALSE: usize = 1;
pub(super) const TRUE: usize = 2;
/// The first number.
pub(super) const NUMBERS: usize = 3;
/// Terms that are neither numbers nor texts.
pub(super) const SINGLE: usize = 6;

/// What the terms are of: a row has one value, and any number of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Values,
    Elements,
}

pub(super) struct Terms<'a> {
    holds: Holds,
    rows: u32,
    numbers: &'a [[u8; number::BYTES]],
    text_ends: &'a [[u8; 8]],
    text: &'a [u8],
    /// Of every term.
    ends: &'a [[u8; 8]],
    /// Terms that have a bitmap, and where each of these ends.
    frequent: &'a [[u8; 16]],
    lists: &'a [[u8; 4]],
    bitmaps: &'a [u8],
}

/// The rows in a bitmap as it is written; `None` if it is none, or of other rows.
pub(super) fn bitmap(mut bytes: &[u8], rows: u32) -> Option<RoaringBitmap> {
    let bitmap = RoaringBitmap::deserialize_from(&mut bytes).ok()?;
    (bytes.is_empty() && bitmap.max().is_none_or(|last| last < rows)).then_some(bitmap)
}

impl<'a> Terms<'a> {
    /// The terms in `bytes`; `None` if these are too few or too many.
    pub(super) fn read(bytes: &'a [u8], rows: u32, holds: Holds) -> Option<Terms<'a>> {
        fn chunks<'a, const N: usize>(take: &mut Take<'a>, count: usize) -> Option<&'a [[u8; N]]> {
            take.slice(count.checked_mul(N)?).map(|bytes| bytes.as_chunks().0)
        }
        let mut take = Take(bytes);
        let (numbers, texts, frequent) = (take.u32()? as usize, take.u32()? as usize, take.u32()? as usize);
        let numbers = chunks(&mut take, numbers)?;
        let text_ends: &[[u8; 8]] = chunks(&mut take, texts)?;
        let text = take.slice(usize::try_from(text_ends.last().map_or(0, |end| u64::from_le_bytes(*end))).ok()?)?;
        let ends = chunks(&mut take, numbers.len() + texts + SINGLE)?;
        let frequent = chunks(&mut take, frequent)?;
        let mut terms = Terms { holds, rows, numbers, text_ends, text, ends, frequent, lists: &[], bitmaps: &[] };
        terms.lists = chunks(&mut take, usize::try_from(terms.listed(terms.len())?).ok()?)?;
        terms.bitmaps = take.0;
        Some(terms)
    }

    /// Compares everything with everything else; `None` if it does not fit.
    pub(super) fn check(&self) -> Option<()> {
        let numbers = self.numbers.iter().map(number::decode).collect::<Option<Vec<Exact>>>()?;
        let text_ends = || self.text_ends.iter().map(|end| u64::from_le_bytes(*end));
        let in_order = numbers.is_sorted_by(|a, b| a.compare(*b).is_lt())
            && text_ends().is_sorted()
            && self.ends.iter().map(|end| u64::from_le_bytes(*end)).is_sorted()
            && self.frequent.is_sorted_by(|a, b| term_of(a) < term_of(b));
        if !in_order || self.frequent.last().is_some_and(|last| term_of(last) >= self.len()) {
            return None;
        }
        let texts = (0..self.text_ends.len()).map(|i| std::str::from_utf8(self.text_bytes(i)).ok());
        if !texts.collect::<Option<Vec<&str>>>()?.is_sorted_by(|a, b| a < b) {
            return None;
        }
        let mut seen = RoaringBitmap::new();
        for (i, frequent) in self.frequent.iter().enumerate() {
            let bitmap = bitmap(self.bitmap_bytes(i)?, self.rows)?;
            let term = term_of(frequent);
            if bitmap.len() != self.count(term..term + 1) {
                return None;
            }
            seen |= bitmap;
        }
        if self.frequent.last().map_or(0, end_of) != self.bitmaps.len() as u64 {
            return None;
        }
        for term in (0..self.len()).filter(|&term| self.frequent_place(term).is_err()) {
            let list = self.list(term..term + 1);
            if !slots_in(list).is_sorted_by(|a, b| a < b)
                || slots_in(list).next_back().is_some_and(|last| last >= self.rows)
            {
                return None;
            }
        }
        (self.holds == Holds::Elements || self.values_are_distinct(seen)).then_some(())
    }

    /// Whether no row has two values.
    fn values_are_distinct(&self, mut seen: RoaringBitmap) -> bool {
        seen |= self.united(&[self.lists]);
        seen.len() == self.count(0..self.len())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn numbers(&self) -> Range<usize> {
        NUMBERS..NUMBERS + self.numbers.len()
    }

    pub(super) fn texts(&self) -> Range<usize> {
        self.numbers().end..self.numbers().end + self.text_ends.len()
    }

    /// Texts that are too long to be terms, all of them.
    pub(super) fn long(&self) -> Range<usize> {
        self.texts().end..self.texts().end + 1
    }

    pub(super) fn lists(&self) -> Range<usize> {
        self.long().end..self.long().end + 1
    }

    pub(super) fn objects(&self) -> Range<usize> {
        self.lists().end..self.len()
    }

    /// The first number for which `before` does not hold, when it holds for all that come before some number, and for no others.
    pub(super) fn number_from(&self, before: impl Fn(Ordering) -> bool, limit: Exact) -> usize {
        let is_before =
            |bytes: &[u8; number::BYTES]| number::decode(bytes).is_some_and(|number| before(number.compare(limit)));
        NUMBERS + self.numbers.partition_point(is_before)
    }

    /// The first text for which `before` does not hold.
    pub(super) fn text_from(&self, before: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.text_ends.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if before(self.text_bytes(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.texts().start + low
    }

    /// The text of this term.
    pub(super) fn text(&self, term: usize) -> &'a str {
        std::str::from_utf8(self.text_bytes(term - self.texts().start)).unwrap_or_default()
    }

    fn text_bytes(&self, i: usize) -> &'a [u8] {
        let end = |i: usize| u64::from_le_bytes(self.text_ends[i]) as usize;
        let start = if i == 0 { 0 } else { end(i - 1) };
        self.text.get(start..end(i)).unwrap_or_default()
    }

    /// The term of this value, if it is one that has a term of its own.
    pub(super) fn find(&self, value: &Value) -> Option<usize> {
        match value {
            Value::Null => Some(NULL),
            Value::Bool(false) => Some(FALSE),
            Value::Bool(true) => Some(TRUE),
            Value::Number(number) => {
                let number = Exact::of(number);
                let at = self.number_from(Ordering::is_lt, number);
                let found = number::decode(self.numbers.get(at - NUMBERS)?)?;
                found.compare(number).is_eq().then_some(at)
            }
            Value::String(text) => {
                let at = self.text_from(|other| other < text.as_bytes());
                (at < self.texts().end && self.text(at) == text).then_some(at)
            }
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// How many slots these terms have, a slot counted once for each term that has it.
    pub(super) fn count(&self, terms: Range<usize>) -> u64 {
        self.end_before(terms.end).saturating_sub(self.end_before(terms.start))
    }

    fn end_before(&self, term: usize) -> u64 {
        term.checked_sub(1).and_then(|last| self.ends.get(last)).map_or(0, |end| u64::from_le_bytes(*end))
    }

    /// How many of the slots of the terms before this one are in lists.
    fn listed(&self, term: usize) -> Option<u64> {
        let before = self.frequent.iter().map(term_of).take_while(|&frequent| frequent < term);
        let counts = before.map(|frequent| self.count(frequent..frequent + 1));
        let in_bitmaps = counts.fold(0u64, u64::saturating_add);
        self.end_before(term).checked_sub(in_bitmaps)
    }

    fn list(&self, terms: Range<usize>) -> &'a [[u8; 4]] {
        let place = |term| self.listed(term).map_or(0, |place| place as usize);
        self.lists.get(place(terms.start)..place(terms.end)).unwrap_or_default()
    }

    fn frequent_place(&self, term: usize) -> Result<usize, usize> {
        self.frequent.binary_search_by_key(&term, term_of)
    }

    fn bitmap_bytes(&self, i: usize) -> Option<&'a [u8]> {
        let start = if i == 0 { 0 } else { end_of(&self.frequent[i - 1]) };
        self.bitmaps.get(start as usize..end_of(&self.frequent[i]) as usize)
    }

    /// The slots that the terms in these ranges have.
    pub(super) fn slots(&self, ranges: &[Range<usize>]) -> RoaringBitmap {
        let (wanted, all) =
            (ranges.iter().map(|range| self.count(range.clone())).sum::<u64>(), self.count(0..self.len()));
        // Where every row has a value, those that have another one may be fewer.
        if let [range] = ranges
            && self.holds == Holds::Values
            && all == u64::from(self.rows)
            && wanted > all / 2
        {
            let mut rest = RoaringBitmap::new();
            rest.insert_range(0..self.rows);
            return rest - self.union(&[0..range.start, range.end..self.len()]);
        }
        self.union(ranges)
    }

    fn union(&self, ranges: &[Range<usize>]) -> RoaringBitmap {
        let lists: Vec<&[[u8; 4]]> = ranges.iter().map(|range| self.list(range.clone())).collect();
        let mut slots = match (ranges, lists.as_slice()) {
            // The slots of one term are in order, those of several are not.
            ([range], [list]) if range.len() == 1 => {
                RoaringBitmap::from_sorted_iter(slots_in(list)).unwrap_or_default()
            }
            _ => self.united(&lists),
        };
        let place = |term| self.frequent_place(term).unwrap_or_else(|place| place);
        for i in ranges.iter().flat_map(|range| place(range.start)..place(range.end)) {
            slots |= self.bitmap_bytes(i).and_then(|bytes| bitmap(bytes, self.rows)).unwrap_or_default();
        }
        slots
    }

    /// These slots, in whatever order they come.
    fn united(&self, lists: &[&[[u8; 4]]]) -> RoaringBitmap {
        let slots = lists.iter().flat_map(|list| slots_in(list));
        if lists.iter().map(|list| list.len()).sum::<usize>() < self.rows as usize / 128 {
            return slots.collect();
        }
        let mut bits = vec![0u8; (self.rows as usize).div_ceil(8)];
        for slot in slots {
            if let Some(byte) = bits.get_mut(slot as usize / 8) {
                *byte |= 1 << (slot % 8);
            }
        }
        RoaringBitmap::from_lsb0_bytes(0, &bits)
    }
}

fn slots_in(list: &[[u8; 4]]) -> impl DoubleEndedIterator<Item = u32> {
    list.iter().map(|slot| u32::from_le_bytes(*slot))
}

fn term_of(frequent: &[u8; 16]) -> usize {
    let [a, b, c, d, ..] = *frequent;
    u32::from_le_bytes([a, b, c, d]) as usize
}

/// Where its bitmap ends.
fn end_of(frequent: &[u8; 16]) -> u64 {
    let [_, _, _, _, _, _, _, _, end @ ..] = *frequent;
    u64::from_le_bytes(end)
}
