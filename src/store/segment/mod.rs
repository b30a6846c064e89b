//! A segment: rows in a file that is written once and never changed.
//!
//! A container (FORMAT.md) with the vectors, each on a cache line, and beside them keys, metadata and stamps, each as one run of bytes
//! with the places where its parts end. A slot may be empty but for its vector: its row was deleted before the segment was written, and
//! the graph that goes with the segment still steps on it. Which of the rows are still there is kept elsewhere: in the deletions that go
//! with it.
//!
//! A segment stays where it is. Opening it compares all but the vectors with their checksums, and copies nothing; a row is decoded when
//! somebody wants it, and found by its key through the slots in the order of their keys.

mod write;

pub(super) use write::{Input, write};

use super::batch::{Row, SegmentName};
use super::coding::Take;
use super::files::{open_sealed, segment_name};
use super::key::KeyRef;
use super::metadata::Document;
use super::postings::{Postings, SECTION};
use crate::error::{Error, Result};
use crate::simd::prefetch_far;
use crate::storage::vfs::Vfs;
use crate::storage::{Container, Section};
use crate::vectors::{RowSource, aligned_width};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::OnceLock;
use xxhash_rust::xxh3::Xxh3Default;

pub(super) const KIND: &str = "segment";

/// The sections beside the vectors that there must be: small, and what answers say depends on them.
const SMALL: [&str; 6] = ["keys", "key_ends", "order", "metadata", "metadata_ends", "stamps"];

/// The `schema` section.
#[derive(Serialize, Deserialize)]
struct SegmentSchema {
    collection: u64,
    dim: usize,
    rows: usize,
}

/// A segment, opened.
pub(super) struct Segment {
    container: Container,
    collection: u64,
    dim: usize,
    rows: usize,
    values: Section,
    keys: Parts,
    order: Section,
    metadata: Parts,
    stamps: Section,
    /// Looked at when somebody first asks for them.
    postings: OnceLock<Option<Postings>>,
}

/// A run of bytes and where its parts end.
struct Parts {
    bytes: Section,
    ends: Section,
}

impl Segment {
    /// Opens the segment of that name and compares all of it but the vectors with its checksums.
    pub(super) fn open(vfs: &dyn Vfs, name: &SegmentName, collection: u64, dim: usize) -> Result<Segment> {
        let container = open_sealed(vfs, &segment_name(name.file), KIND, name.seal, Container::map)?;
        let schema = container.read("schema")?;
        let schema: SegmentSchema =
            serde_json::from_slice(&schema).map_err(|error| container.corrupt("schema", error.to_string()))?;
        let expected = (collection, dim, name.rows);
        if (schema.collection, schema.dim, schema.rows as u64) != expected || name.rows > u64::from(u32::MAX) {
            return Err(container.corrupt("schema", "it belongs to another collection"));
        }
        SMALL.iter().try_for_each(|section| container.verify(section))?;
        if container.names().any(|name| name == SECTION) {
            container.verify(SECTION)?;
        }
        let rows = schema.rows;
        Ok(Segment {
            collection,
            dim,
            rows,
            values: section(&container, "rows", Some(rows * aligned_width(dim) * 4))?,
            keys: Parts::open(&container, "keys", "key_ends", rows)?,
            order: section(&container, "order", None)?,
            metadata: Parts::open(&container, "metadata", "metadata_ends", rows)?,
            stamps: section(&container, "stamps", Some(rows * 16))?,
            postings: OnceLock::new(),
            container,
        })
    }

    /// How many slots there are, with or without a row.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// How many of them had a row when the segment was written.
    pub(super) fn keyed(&self) -> usize {
        self.order.as_ref().len() / 4
    }

    /// How many had none.
    fn holes(&self) -> usize {
        (0..self.rows).filter(|&slot| self.keys.part(slot).is_some_and(<[u8]>::is_empty)).count()
    }

    /// The `place`-th slot in the order of keys. Whoever forges a file may have named any.
    pub(super) fn slot_in_order(&self, place: usize) -> usize {
        self.order.as_ref().as_chunks::<4>().0.get(place).map_or(usize::MAX, |slot| u32::from_le_bytes(*slot) as usize)
    }

    /// The key in a slot.
    pub(super) fn key(&self, slot: usize) -> Option<KeyRef<'_>> {
        KeyRef::decode(&mut Take(self.keys.part(slot)?))
    }

    /// Asks the memory system for the key in a slot.
    pub(super) fn prefetch(&self, slot: usize) {
        if let Some(first) = self.keys.part(slot).and_then(<[u8]>::first) {
            prefetch_far(first);
        }
    }

    /// How many keys come before this one.
    pub(super) fn place_of(&self, key: KeyRef<'_>) -> usize {
        let (mut low, mut high) = (0, self.keyed());
        while low < high {
            let middle = low.midpoint(high);
            if self.key(self.slot_in_order(middle)).is_some_and(|other| other < key) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        low
    }

    /// The slot of the row that had this key when the segment was written.
    pub(super) fn find(&self, key: KeyRef<'_>) -> Option<usize> {
        let slot = self.slot_in_order(self.place_of(key));
        (self.key(slot)? == key).then_some(slot)
    }

    /// What the row in a slot says, as text.
    pub(super) fn metadata(&self, slot: usize) -> Option<&[u8]> {
        self.metadata.part(slot)
    }

    /// Which rows say what; `None` where somebody has forged it: then the rows themselves must be asked.
    pub(super) fn postings(&self) -> Option<&Postings> {
        let parse = || {
            let bytes = section(&self.container, SECTION, None).ok()?;
            Postings::parse(bytes, self.rows, Path::new("")).ok()
        };
        self.postings.get_or_init(parse).as_ref()
    }

    /// The row in a slot, without its values.
    pub(super) fn row(&self, slot: usize) -> Result<Row> {
        let key = self.key(slot).and_then(KeyRef::to_key);
        let key = key.ok_or_else(|| self.corrupt(format!("key {slot} is none")))?;
        let text =
            self.metadata(slot).ok_or_else(|| self.container.corrupt("metadata_ends", "a place is out of range"))?;
        let mut stamps = Take(self.stamps.as_ref().get(slot * 16..).unwrap_or_default());
        let (created, updated) = (stamps.i64().unwrap_or(0), stamps.i64().unwrap_or(0));
        Ok(Row { key, created, updated, metadata: Document::found(text) })
    }

    /// The values of the row in a slot.
    pub(super) fn values(&self, slot: usize, out: &mut [f32]) {
        let width = aligned_width(self.dim) * 4;
        let bytes = &self.values.as_ref()[slot * width..][..self.dim * 4];
        for (value, word) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *value = f32::from_le_bytes(*word);
        }
    }

    /// Compares the vectors with their checksum: before all of them are read.
    pub(super) fn verify_values(&self) -> Result<()> {
        self.container.verify("rows")
    }

    /// What its rows are, whatever their order. Reads every byte, and makes sure that it is one that was written.
    pub(super) fn digest(&self) -> Result<Digest> {
        self.verify_values()?;
        let mut digest = Digest::default();
        let mut values = vec![0.0; self.dim];
        let mut previous = None;
        for place in 0..self.keyed() {
            let slot = self.slot_in_order(place);
            let row = self.row(slot)?;
            self.values(slot, &mut values);
            digest.add(self.collection, &row, &values);
            if previous.replace(row.key.clone()).is_some_and(|previous| previous >= row.key) {
                return Err(self.container.corrupt("order", "its keys are not in order"));
            }
        }
        if self.keyed() + self.holes() != self.rows {
            return Err(self.container.corrupt("order", "a key is missing"));
        }
        Ok(digest)
    }

    pub(super) fn corrupt(&self, what: impl Into<String>) -> Error {
        self.container.corrupt("keys", what)
    }
}

/// A section of a container that is mapped, of so many bytes.
fn section(container: &Container, name: &str, length: Option<usize>) -> Result<Section> {
    match container.mapped(name)? {
        Some(section) if length.is_none_or(|length| length == section.as_ref().len()) => Ok(section),
        _ => Err(container.corrupt(name, format!("it should have {length:?} bytes"))),
    }
}

impl Parts {
    fn open(container: &Container, name: &str, ends_name: &str, count: usize) -> Result<Parts> {
        let ends = section(container, ends_name, Some(count * 8))?;
        Ok(Parts { bytes: section(container, name, None)?, ends })
    }

    /// Part `i`; `None` if it lies where it cannot.
    fn part(&self, i: usize) -> Option<&[u8]> {
        let ends = self.ends.as_ref().as_chunks::<8>().0;
        let end = |i: usize| Some(u64::from_le_bytes(*ends.get(i)?) as usize);
        let start = i.checked_sub(1).map_or(Some(0), end)?;
        self.bytes.as_ref().get(start..end(i)?)
    }
}

/// Some rows of a segment, as an index takes them in.
pub(super) struct SegmentRows<'a> {
    pub(super) segment: &'a Segment,
    pub(super) slots: &'a [u32],
}

impl RowSource for SegmentRows<'_> {
    fn rows(&self) -> usize {
        self.slots.len()
    }

    fn dim(&self) -> usize {
        self.segment.dim
    }

    fn read(&self, row: usize, out: &mut [f32]) {
        self.segment.values(self.slots[row] as usize, out);
    }
}

/// A sum over rows that does not depend on their order: equal for the same rows, and for no others that ever meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    rows: u64,
    sum: u128,
}

impl Digest {
    pub(super) fn add(&mut self, collection: u64, row: &Row, values: &[f32]) {
        let mut hash = Xxh3Default::new();
        let mut head = Vec::with_capacity(64);
        head.extend_from_slice(&collection.to_le_bytes());
        row.key.encode(&mut head);
        head.extend_from_slice(&row.created.to_le_bytes());
        head.extend_from_slice(&row.updated.to_le_bytes());
        hash.update(&head);
        hash.update(bytemuck::cast_slice(values));
        hash.update(row.metadata.bytes());
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash.digest128());
    }
}
