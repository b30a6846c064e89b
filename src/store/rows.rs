//! The rows of one collection, in memory: what a search meets.
//!
//! Every row has a number of its own, never used again; the index knows rows by it. A change puts new rows into the index first, which
//! may fail and then has changed nothing, and does everything else after that, which cannot fail.

use super::batch::{Row, SegmentName};
use super::filter::Filter;
use super::key::Key;
use super::manifest::{CollectionRecord, FileRecord, SegmentRecord};
use super::metadata::Metadata;
use super::schema::Schema;
use crate::error::{Error, Result};
use crate::index::{Bits, Index, Search, Selection};
use crate::runtime::{Call, map};
use crate::vectors::RowSource;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where a row is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a log only.
    Log,
    /// In this slot of this segment.
    Segment(u64, u32),
}

/// A row and where it is.
pub(super) struct Record {
    pub(super) row: Row,
    pub(super) place: Place,
}

/// A segment, as the collection knows it.
#[derive(Clone)]
pub(super) struct Sealed {
    pub(super) name: SegmentName,
    /// Which of its rows are gone.
    pub(super) gone: Bits,
    pub(super) gone_count: u64,
    /// The file that says so, if it still says all.
    pub(super) deletions: Option<FileRecord>,
    /// Whether a manifest lists it.
    pub(super) listed: bool,
}

/// All rows of a collection.
pub(super) struct Rows {
    pub(super) schema: Schema,
    pub(super) meta: Metadata,
    keys: BTreeMap<Key, i64>,
    records: HashMap<i64, Record>,
    index: Arc<dyn Index>,
    next: i64,
    /// The rows that are in a log only.
    fresh: BTreeSet<i64>,
    pub(super) segments: BTreeMap<u64, Sealed>,
    /// Bytes of keys and metadata.
    text_bytes: usize,
}

/// A row that a search found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) score: f32,
    pub(super) key: Key,
    pub(super) row: i64,
}

/// Bytes that a row takes beside its vector, key and metadata, about.
const RECORD_BYTES: usize = 200;

/// Rows that a thread looks at, with a filter, before it takes the next ones.
const ROWS_PER_TASK: usize = 4096;

impl Rows {
    pub(super) fn new(schema: Schema) -> Result<Rows> {
        Ok(Rows {
            schema,
            meta: Metadata::new(),
            keys: BTreeMap::new(),
            records: HashMap::new(),
            index: schema.index()?,
            next: 0,
            fresh: BTreeSet::new(),
            segments: BTreeMap::new(),
            text_bytes: 0,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn index(&self) -> &Arc<dyn Index> {
        &self.index
    }

    pub(super) fn number_of(&self, key: &Key) -> Option<i64> {
        self.keys.get(key).copied()
    }

    pub(super) fn find(&self, key: &Key) -> Option<&Record> {
        self.records.get(self.keys.get(key)?)
    }

    pub(super) fn record(&self, number: i64) -> Option<&Record> {
        self.records.get(&number)
    }

    /// Keys and numbers after `after`, in the order of keys.
    pub(super) fn from<'a>(&'a self, after: Option<&Key>) -> impl Iterator<Item = (&'a Key, i64)> + use<'a> {
        use std::ops::Bound;
        let start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.clone()));
        self.keys.range((start, Bound::Unbounded)).map(|(key, number)| (key, *number))
    }

    /// The rows that are in a log only, oldest first.
    pub(super) fn fresh(&self) -> impl Iterator<Item = i64> {
        self.fresh.iter().copied()
    }

    /// The rows in these segments, oldest first.
    pub(super) fn in_segments(&self, files: &BTreeSet<u64>) -> Vec<i64> {
        let is_in = |place| matches!(place, Place::Segment(file, _) if files.contains(&file));
        let mut numbers: Vec<i64> =
            self.records.iter().filter(|(_, record)| is_in(record.place)).map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Bytes that all of it takes in memory, about, with the graph as it will be when all rows are linked.
    pub(super) fn bytes(&self) -> u64 {
        let stats = self.index.stats();
        let graph = stats.bytes + stats.pending * self.schema.linked_bytes();
        (graph + self.text_bytes + self.len() * RECORD_BYTES) as u64
    }

    /// Puts rows with distinct keys; all or, on an error, none. `place` says where each is on the disk.
    pub(super) fn put(&mut self, rows: Vec<Row>, values: &dyn RowSource, place: impl Fn(usize) -> Place) -> Result<()> {
        let out = |_| Error::out_of_memory("adding rows", rows.len() * RECORD_BYTES);
        self.records.try_reserve(rows.len()).map_err(out)?;
        let numbers: Vec<i64> = (self.next..).take(rows.len()).collect();
        self.index.add(values, Some(&numbers), &Call::uninterrupted())?;
        self.next += rows.len() as i64;
        let mut replaced = Vec::new();
        for (i, (row, number)) in rows.into_iter().zip(numbers).enumerate() {
            let place = place(i);
            self.text_bytes += row.key.bytes() + row.metadata.bytes().len();
            if place == Place::Log {
                self.fresh.insert(number);
            }
            if let Some(old) = self.keys.insert(row.key.clone(), number) {
                self.forget(old);
                replaced.push(old);
            }
            self.records.insert(number, Record { row, place });
        }
        if replaced.is_empty() { Ok(()) } else { self.index.delete(&replaced, &Call::uninterrupted()).map(drop) }
    }

    /// Puts the rows that lie in these slots of a segment, which is new here; all or, on an error, none.
    pub(super) fn attach(
        &mut self,
        sealed: &Sealed,
        rows: Vec<Row>,
        values: &dyn RowSource,
        slots: &[u32],
    ) -> Result<()> {
        let file = sealed.name.file;
        self.put(rows, values, |i| Place::Segment(file, slots[i]))?;
        self.segments.insert(file, sealed.clone());
        Ok(())
    }

    /// Removes the rows with these keys; how many there were.
    pub(super) fn delete(&mut self, keys: &[Key]) -> Result<usize> {
        let numbers: Vec<i64> = keys.iter().filter_map(|key| self.keys.remove(key)).collect();
        for &number in &numbers {
            self.forget(number);
        }
        self.index.delete(&numbers, &Call::uninterrupted())
    }

    fn forget(&mut self, number: i64) {
        let Some(record) = self.records.remove(&number) else { return };
        self.fresh.remove(&number);
        self.text_bytes -= record.row.key.bytes() + record.row.metadata.bytes().len();
        let Place::Segment(file, slot) = record.place else { return };
        if let Some(segment) = self.segments.get_mut(&file)
            && segment.gone.set(slot as usize)
        {
            segment.gone_count += 1;
            segment.deletions = None;
        }
    }

    /// Tells the rows `numbers`, in that order, that they are now in a segment.
    pub(super) fn settle(&mut self, numbers: &[i64], file: u64) {
        for (slot, number) in numbers.iter().enumerate() {
            self.fresh.remove(number);
            if let Some(record) = self.records.get_mut(number) {
                record.place = Place::Segment(file, slot as u32);
            }
        }
    }

    /// The values of these rows, as they are kept.
    pub(super) fn values(&self, numbers: &[i64]) -> Result<Vec<f32>> {
        self.index.get(numbers)
    }

    /// The rows that a filter lets through, in any order.
    pub(super) fn passing(&self, filter: &Filter, call: &Call<'_>) -> Result<Vec<i64>> {
        let records: Vec<(&i64, &Record)> = self.records.iter().collect();
        let pieces: Vec<_> = records.chunks(ROWS_PER_TASK).collect();
        let passing = map(call, pieces.len(), |i| -> Vec<i64> {
            let passing = pieces[i].iter().filter(|(_, record)| filter.matches(&record.row.metadata));
            passing.map(|(number, _)| **number).collect()
        })?;
        Ok(passing.concat())
    }

    pub(super) fn matches(&self, number: i64, filter: &Filter) -> bool {
        self.records.get(&number).is_some_and(|record| filter.matches(&record.row.metadata))
    }

    /// What a manifest says of this collection.
    pub(super) fn describe(&self, id: u64, name: &str) -> CollectionRecord {
        let record = |sealed: &Sealed| SegmentRecord {
            segment: FileRecord::new(sealed.name.file, sealed.name.seal),
            rows: sealed.name.rows,
            deletions: sealed.deletions,
        };
        let segments = self.segments.values().map(record).collect();
        CollectionRecord { id, name: name.to_owned(), schema: self.schema, meta: self.meta.clone(), segments }
    }

    /// The best `k` rows for each query: by score, and among equal scores by key.
    pub(super) fn search(
        &self,
        queries: &dyn RowSource,
        search: &Search<'_>,
        filter: Option<&Filter>,
        call: &Call<'_>,
    ) -> Result<Vec<Vec<Found>>> {
        let Some(filter) = filter else { return self.search_selected(queries, search, call) };
        let mut selected = filter.selected();
        loop {
            let selection = selected.take().map_or_else(|| filter.remember(self.select(filter, call)?), Ok)?;
            match self.search_selected(queries, &Search { selection: Some(&selection), ..*search }, call) {
                // It is of another collection or another state, or the index was put in order meanwhile.
                Err(Error::StaleSelection) => call.check()?,
                found => return found,
            }
        }
    }

    fn select(&self, filter: &Filter, call: &Call<'_>) -> Result<Selection> {
        Ok(self.index.select_ids(&self.passing(filter, call)?))
    }

    fn search_selected(
        &self,
        queries: &dyn RowSource,
        search: &Search<'_>,
        call: &Call<'_>,
    ) -> Result<Vec<Vec<Found>>> {
        let k = search.k.min(self.len());
        // One more than is wanted shows whether equal scores go on behind the last place.
        let mut wanted = if k == 0 { 0 } else { (k + 1).min(self.len()) };
        loop {
            let hits = self.index.search(queries, &Search { k: wanted, ..*search }, call)?;
            let goes_on = |scores: &[f32]| {
                let (last, end) = (scores.get(k.wrapping_sub(1)), scores.last());
                matches!((last, end), (Some(last), Some(end)) if *last != f32::NEG_INFINITY && last.total_cmp(end).is_eq())
            };
            let cut = wanted > k && hits.scores.chunks(wanted).any(goes_on);
            if wanted < self.len() && cut {
                wanted = wanted.saturating_mul(2).min(self.len());
                continue;
            }
            return Ok((0..queries.rows()).map(|i| self.found(&hits.ids, &hits.scores, i, wanted, k)).collect());
        }
    }

    /// The first `k` of the answers to query `i`, in the order that counts.
    fn found(&self, ids: &[i64], scores: &[f32], i: usize, wanted: usize, k: usize) -> Vec<Found> {
        let range = i * wanted..(i + 1) * wanted;
        let pairs = ids[range.clone()].iter().zip(&scores[range]);
        let found = pairs.filter_map(|(&row, &score)| {
            let key = self.records.get(&row)?.row.key.clone();
            Some(Found { score, key, row })
        });
        let mut found: Vec<Found> = found.collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.key.cmp(&b.key)));
        found.truncate(k);
        found
    }
}
