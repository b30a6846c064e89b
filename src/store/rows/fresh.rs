//! The rows that are in a log only, and in memory.

use crate::store::batch::Row;
use crate::store::key::Key;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Bytes that a row takes beside its vector, key and metadata, about.
pub(super) const ROW_BYTES: usize = 200;

/// Rows by number and by key.
#[derive(Default)]
pub(super) struct Fresh {
    keys: BTreeMap<Key, i64>,
    rows: BTreeMap<i64, Row>,
    /// Bytes of keys and metadata.
    text_bytes: usize,
}

impl Fresh {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.text_bytes + self.len() * ROW_BYTES
    }

    pub(super) fn number_of(&self, key: &Key) -> Option<i64> {
        self.keys.get(key).copied()
    }

    pub(super) fn row(&self, number: i64) -> Option<&Row> {
        self.rows.get(&number)
    }

    /// All rows, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &Row)> {
        self.rows.iter().map(|(number, row)| (*number, row))
    }

    /// Keys and numbers after `after`, in the order of keys.
    pub(super) fn keys_after(&self, after: Option<&Key>) -> impl Iterator<Item = (&Key, i64)> + use<'_> {
        let start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.clone()));
        self.keys.range((start, Bound::Unbounded)).map(|(key, number)| (key, *number))
    }

    /// Puts a row whose key is not there.
    pub(super) fn insert(&mut self, number: i64, row: Row) {
        self.text_bytes += text_bytes(&row);
        self.keys.insert(row.key.clone(), number);
        self.rows.insert(number, row);
    }

    /// Forgets a row; whether it was there.
    pub(super) fn remove(&mut self, number: i64) -> bool {
        let Some(row) = self.rows.remove(&number) else { return false };
        self.text_bytes -= text_bytes(&row);
        self.keys.remove(&row.key);
        true
    }
}

fn text_bytes(row: &Row) -> usize {
    row.key.bytes() + row.metadata.bytes().len()
}
