//! The rows of one collection: what a search meets.
//!
//! Every row has a number of its own, never used again; the index knows rows by it. Rows that are in a log only are in memory; the others
//! are read where they lie, in segments. A change puts new rows into the index first, which may fail and then has changed nothing,
//! and does everything else after that, which cannot fail.

mod filtered;
mod fresh;
mod order;
mod sealed;
mod search;

pub(super) use order::InOrder;
pub(super) use sealed::{Numbers, Sealed};
pub(super) use search::{Found, Picked};

use super::batch::Row;
use super::key::Key;
use super::manifest::{CollectionRecord, GraphRecord};
use super::metadata::Metadata;
use super::schema::{Indexed, Schema};
use super::segment::SegmentRows;
use crate::error::{Error, Result};
use crate::index::{HnswIndex, Index};
use crate::runtime::Call;
use crate::vectors::RowSource;
use fresh::Fresh;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// All rows of a collection.
pub(super) struct Rows {
    /// No other rows in this process have it or had it.
    pub(super) identity: u64,
    pub(super) schema: Schema,
    pub(super) meta: Metadata,
    index: Indexed,
    next: i64,
    fresh: Fresh,
    pub(super) segments: BTreeMap<u64, Sealed>,
    /// The file with the graph over one of the segments.
    pub(super) graph: Option<GraphRecord>,
    /// What is wrong with the graph that there was, if it is being made again.
    pub(super) graph_damage: Option<String>,
}

/// Where a row is.
enum Place<'a> {
    Fresh(&'a Row),
    Sealed(&'a Sealed, usize),
}

impl Place<'_> {
    fn key(&self) -> Result<Key> {
        match self {
            Place::Fresh(row) => Ok(row.key.clone()),
            Place::Sealed(sealed, slot) => sealed.file.owned_key(*slot),
        }
    }

    /// Asks the memory system for the key.
    fn prefetch(&self) {
        if let Place::Sealed(sealed, slot) = self {
            sealed.file.prefetch(*slot);
        }
    }
}

impl Rows {
    pub(super) fn new(schema: Schema) -> Result<Rows> {
        Ok(Rows::over(schema, schema.index()?))
    }

    /// No rows yet; the index may have some already, for segments that are attached next.
    pub(super) fn over(schema: Schema, index: Indexed) -> Rows {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Rows {
            identity: NEXT.fetch_add(1, Ordering::Relaxed),
            schema,
            meta: Metadata::new(),
            index,
            next: 0,
            fresh: Fresh::default(),
            segments: BTreeMap::new(),
            graph: None,
            graph_damage: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.segments.values().map(Sealed::there).sum::<u64>() as usize
    }

    pub(super) fn index(&self) -> Arc<dyn Index> {
        self.index.any()
    }

    /// The index, if it has a graph.
    pub(super) fn graph_index(&self) -> Option<&Arc<HnswIndex>> {
        self.index.graph()
    }

    /// The number of the row with this key.
    pub(super) fn find(&self, key: &Key) -> Result<Option<i64>> {
        if let Some(number) = self.fresh.number_of(key) {
            return Ok(Some(number));
        }
        for sealed in self.segments.values().rev() {
            if let Some(slot) = sealed.find(key.as_ref())? {
                return Ok(Some(sealed.number(slot)));
            }
        }
        Ok(None)
    }

    fn place(&self, number: i64) -> Option<Place<'_>> {
        if let Some(row) = self.fresh.row(number) {
            return Some(Place::Fresh(row));
        }
        self.segments.values().find_map(|sealed| Some(Place::Sealed(sealed, sealed.slot_of(number)?)))
    }

    fn place_of(&self, number: i64) -> Result<Place<'_>> {
        self.place(number).ok_or(Error::MissingId(number))
    }

    /// The row with this number.
    pub(super) fn row(&self, number: i64) -> Result<Row> {
        match self.place_of(number)? {
            Place::Fresh(row) => Ok(row.clone()),
            Place::Sealed(sealed, slot) => sealed.file.row(slot),
        }
    }

    /// The key of the row with this number.
    pub(super) fn key(&self, number: i64) -> Result<Key> {
        self.place_of(number)?.key()
    }

    /// The numbers of the rows after `after`, in the order of their keys.
    pub(super) fn in_order(&self, after: Option<&Key>) -> Result<InOrder<'_>> {
        InOrder::new(self, after)
    }

    /// The rows that are in a log only, oldest first.
    pub(super) fn fresh(&self) -> impl Iterator<Item = i64> {
        self.fresh.iter().map(|(number, _)| number)
    }

    /// How many rows are in a log only.
    pub(super) fn fresh_count(&self) -> usize {
        self.fresh.len()
    }

    /// The rows in these segments, oldest first.
    pub(super) fn in_segments(&self, files: &BTreeSet<u64>) -> Vec<i64> {
        let segments = files.iter().filter_map(|file| self.segments.get(file));
        let mut numbers: Vec<i64> =
            segments.flat_map(|sealed| sealed.slots().map(|slot| sealed.number(slot))).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Bytes that all of it takes in memory, about, with the index as it will be when no row waits for anything.
    pub(super) fn bytes(&self) -> u64 {
        let stats = self.index().stats();
        let index = stats.bytes + stats.pending * self.schema.awaited_bytes();
        (index + self.fresh.bytes()) as u64
    }

    /// Puts rows with distinct keys; all or, on an error, none.
    pub(super) fn put(&mut self, rows: Vec<Row>, values: &dyn RowSource) -> Result<()> {
        let numbers: Vec<i64> = (self.next..).take(rows.len()).collect();
        self.index().add(values, Some(&numbers), &Call::uninterrupted())?;
        self.next += rows.len() as i64;
        let mut replaced = Vec::new();
        for (row, number) in rows.into_iter().zip(numbers) {
            replaced.extend(self.forget(&row.key)?);
            self.fresh.insert(number, row);
        }
        self.hide(&replaced)
    }

    /// Puts the rows of a segment that are still there; all or, on an error, none. Unless they are known to be new, they replace what is
    /// there under their keys.
    pub(super) fn attach(&mut self, sealed: Sealed, are_new: bool) -> Result<()> {
        sealed.file.verify_values()?;
        let slots: Vec<u32> = sealed.slots().map(|slot| slot as u32).collect();
        let numbers: Vec<i64> = slots.iter().map(|&slot| self.next + i64::from(slot)).collect();
        let keys: Vec<Key> = if are_new {
            Vec::new()
        } else {
            slots.iter().map(|&slot| sealed.file.owned_key(slot as usize)).collect::<Result<_>>()?
        };
        let values = SegmentRows { segment: &sealed.file, slots: &slots };
        self.index().add(&values, Some(&numbers), &Call::uninterrupted())?;
        let replaced = self.forget_all(&keys)?;
        self.adopt(sealed, self.next);
        self.hide(&replaced)
    }

    /// Takes a segment whose rows are in the index, with this number and those that follow.
    pub(super) fn adopt(&mut self, sealed: Sealed, first: i64) {
        self.next = first + sealed.file.len() as i64;
        self.segments.insert(sealed.name.file, sealed.numbered(Numbers::From(first)));
    }

    /// Removes the rows with these keys; how many there were.
    pub(super) fn delete(&mut self, keys: &[Key]) -> Result<usize> {
        let numbers = self.forget_all(keys)?;
        self.hide(&numbers)?;
        Ok(numbers.len())
    }

    fn hide(&self, numbers: &[i64]) -> Result<()> {
        if numbers.is_empty() { Ok(()) } else { self.index().delete(numbers, &Call::uninterrupted()).map(drop) }
    }

    fn forget_all(&mut self, keys: &[Key]) -> Result<Vec<i64>> {
        keys.iter().filter_map(|key| self.forget(key).transpose()).collect()
    }

    /// Forgets the row with this key; the number that it had. It does not fail where [`find`](Rows::find) did not.
    fn forget(&mut self, key: &Key) -> Result<Option<i64>> {
        if let Some(number) = self.fresh.number_of(key) {
            self.fresh.remove(number);
            return Ok(Some(number));
        }
        for sealed in self.segments.values_mut().rev() {
            if let Some(slot) = sealed.find(key.as_ref())? {
                sealed.forget(slot);
                return Ok(Some(sealed.number(slot)));
            }
        }
        Ok(None)
    }

    /// Takes a segment to which rows from a log, or from segments that are retired, were written.
    pub(super) fn settle(&mut self, sealed: Sealed) {
        for slot in sealed.slots() {
            self.fresh.remove(sealed.number(slot));
        }
        self.segments.insert(sealed.name.file, sealed);
    }

    /// The values of these rows, as they are kept.
    pub(super) fn values(&self, numbers: &[i64]) -> Result<Vec<f32>> {
        self.index().get(numbers)
    }

    /// What a manifest says of this collection.
    pub(super) fn describe(&self, id: u64, name: &str) -> CollectionRecord {
        let segments = self.segments.values().map(Sealed::describe).collect();
        let (name, meta) = (name.to_owned(), self.meta.clone());
        CollectionRecord { id, name, schema: self.schema, meta, segments, graph: self.graph }
    }
}
