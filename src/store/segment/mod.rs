//! A segment: rows in a file that is written once and never changed.
//!
//! A container (FORMAT.md) with the vectors as the index keeps them, what scores need beside each, and keys, metadata and stamps, each as one run of bytes
//! with the places where its parts end. A slot may be empty but for its vector: its row was deleted before the segment was written, and
//! the graph that goes with the segment still steps on it. Which of the rows are still there is kept elsewhere: in the deletions that go
//! with it.
//!
//! A segment stays where it is. Opening it reads a header and a table of checksums, however many rows there are; each block of keys,
//! metadata and stamps is compared with its checksum when somebody first looks at it. A row is decoded when somebody wants it, and found by its key
//! through the slots in the order of their keys.

mod write;

pub(super) use write::{Input, write};

use super::batch::{Row, SegmentName};
use super::coding::Take;
use super::files::{open_sealed, segment_name};
use super::key::{Key, KeyRef};
use super::metadata::Document;
use super::postings::{Postings, SECTION};
use super::schema::Schema;
use crate::error::{Error, Result};
use crate::index::{Bits, LentPart};
use crate::simd::prefetch_far;
use crate::storage::vfs::Vfs;
use crate::storage::{Container, Guarded};
use crate::vectors::{Codec, KeptRows, RowSource, kept_bytes};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use xxhash_rust::xxh3::Xxh3Default;

pub(super) const KIND: &str = "segment";

/// The sections that what answers say depends on.
const GUARDED: [&str; 8] = ["rows", "terms", "keys", "key_ends", "order", "metadata", "metadata_ends", "stamps"];

/// The `schema` section.
#[derive(Serialize, Deserialize)]
struct SegmentSchema {
    collection: u64,
    dim: usize,
    codec: Codec,
    rows: usize,
}

/// A segment, opened.
pub(super) struct Segment {
    container: Container,
    collection: u64,
    dim: usize,
    rows: usize,
    kept: KeptRows,
    values: Arc<Guarded>,
    terms: Arc<Guarded>,
    keys: Parts,
    order: Guarded,
    metadata: Parts,
    stamps: Guarded,
    /// Looked at when somebody first asks for them.
    postings: OnceLock<Option<Postings>>,
    /// Whether the system knows that all vectors are going to be read.
    announced: AtomicBool,
}

/// A run of bytes and where its parts end.
struct Parts {
    bytes: Guarded,
    ends: Guarded,
}

impl Segment {
    /// Opens the segment of that name.
    pub(super) fn open(vfs: &dyn Vfs, name: &SegmentName, collection: u64, of: &Schema) -> Result<Segment> {
        let container = open_sealed(vfs, &segment_name(name.file), KIND, name.seal, Container::map)?;
        let schema = container.read("schema")?;
        let schema: SegmentSchema =
            serde_json::from_slice(&schema).map_err(|error| container.corrupt("schema", error.to_string()))?;
        let (dim, codec) = (of.dim, of.codec);
        let expected = (collection, dim, codec, name.rows);
        let found = (schema.collection, schema.dim, schema.codec, schema.rows as u64);
        if found != expected || name.rows > u64::from(u32::MAX) {
            return Err(container.corrupt("schema", "it belongs to another collection"));
        }
        let rows = schema.rows;
        let [values, terms, keys, key_ends, order, metadata, metadata_ends, stamps] = container.guarded(GUARDED)?;
        let fits = [
            (&values, rows * kept_bytes(codec, dim)),
            (&terms, rows * 4),
            (&key_ends, rows * 8),
            (&metadata_ends, rows * 8),
            (&stamps, rows * 16),
        ];
        if fits.iter().any(|(section, length)| section.len() != *length) || order.len() > rows * 4 {
            return Err(container.corrupt("schema", "its sections are not as long as it says"));
        }
        Ok(Segment {
            collection,
            dim,
            rows,
            kept: KeptRows::borrowed(dim, codec, Arc::new(values.section())),
            values: Arc::new(values),
            terms: Arc::new(terms),
            keys: Parts { bytes: keys, ends: key_ends },
            order,
            metadata: Parts { bytes: metadata, ends: metadata_ends },
            stamps,
            postings: OnceLock::new(),
            announced: AtomicBool::new(false),
            container,
        })
    }

    /// Compares every byte with the checksums.
    pub(super) fn verify(&self) -> Result<()> {
        self.container.names().try_for_each(|section| self.container.verify(&section))
    }

    /// How many slots there are, with or without a row.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// How many of them had a row when the segment was written.
    pub(super) fn keyed(&self) -> usize {
        self.order.len() / 4
    }

    /// How many had none.
    fn holes(&self) -> Result<usize> {
        let mut holes = 0;
        for slot in 0..self.rows {
            holes += usize::from(self.keys.part(slot)?.is_empty());
        }
        Ok(holes)
    }

    /// The `place`-th slot in the order of keys. Whoever forges a file may have named any.
    pub(super) fn slot_in_order(&self, place: usize) -> Result<usize> {
        let slot = self.order.get(place * 4..place * 4 + 4)?;
        Ok(slot.try_into().map_or(usize::MAX, |slot| u32::from_le_bytes(slot) as usize))
    }

    /// The key in a slot.
    pub(super) fn key(&self, slot: usize) -> Result<KeyRef<'_>> {
        KeyRef::decode(&mut Take(self.keys.part(slot)?)).ok_or_else(|| self.no_key(slot))
    }

    /// The same, to be kept.
    pub(super) fn owned_key(&self, slot: usize) -> Result<Key> {
        self.key(slot)?.to_key().ok_or_else(|| self.no_key(slot))
    }

    fn no_key(&self, slot: usize) -> Error {
        self.container.corrupt("keys", format!("key {slot} is none"))
    }

    /// The error for a key that another segment has as well.
    pub(super) fn shared(&self, key: KeyRef<'_>) -> Error {
        self.container.corrupt("keys", format!("key {:?} is in another segment, too", key.to_key()))
    }

    /// Asks the memory system for the key in a slot.
    pub(super) fn prefetch(&self, slot: usize) {
        self.keys.prefetch(slot);
    }

    /// How many keys come before this one.
    pub(super) fn place_of(&self, key: KeyRef<'_>) -> Result<usize> {
        let (mut low, mut high) = (0, self.keyed());
        while low < high {
            let middle = low.midpoint(high);
            if self.key(self.slot_in_order(middle)?)? < key { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    /// How many keys come before this one or are it.
    pub(super) fn place_after(&self, key: KeyRef<'_>) -> Result<usize> {
        let place = self.place_of(key)?;
        Ok(place + usize::from(self.slot_at(place, key)?.is_some()))
    }

    /// The slot of the row that had this key when the segment was written.
    pub(super) fn find(&self, key: KeyRef<'_>) -> Result<Option<usize>> {
        self.slot_at(self.place_of(key)?, key)
    }

    /// The slot at this place of the order, if it has this key.
    fn slot_at(&self, place: usize, key: KeyRef<'_>) -> Result<Option<usize>> {
        if place >= self.keyed() {
            return Ok(None);
        }
        let slot = self.slot_in_order(place)?;
        Ok((self.key(slot)? == key).then_some(slot))
    }

    /// What the row in a slot says, as text.
    pub(super) fn metadata(&self, slot: usize) -> Result<&[u8]> {
        self.metadata.part(slot)
    }

    /// Which rows say what; `None` where that is damaged: then the rows themselves must be asked.
    pub(super) fn postings(&self) -> Option<&Postings> {
        let parse = || {
            self.container.verify(SECTION).ok()?;
            let bytes = self.container.mapped(SECTION).ok()??;
            Postings::parse(bytes, self.rows, Path::new("")).ok()
        };
        self.postings.get_or_init(parse).as_ref()
    }

    /// The row in a slot, without its values.
    pub(super) fn row(&self, slot: usize) -> Result<Row> {
        let key = self.owned_key(slot)?;
        let metadata = Document::found(self.metadata(slot)?);
        let mut stamps = Take(self.stamps.get(slot * 16..slot * 16 + 16)?);
        let (created, updated) = (stamps.i64().unwrap_or(0), stamps.i64().unwrap_or(0));
        Ok(Row { key, created, updated, metadata })
    }

    /// The values of the row in a slot, as they are kept. Unverified.
    fn values(&self, slot: usize, out: &mut [f32]) {
        self.kept.read(&[slot as u32], out);
    }

    /// The vectors, for an index that reads them here. Those of slots that are `gone` it does not find.
    pub(super) fn lent(&self, gone: &Bits) -> LentPart {
        let (rows, terms) = (Arc::clone(&self.values), Arc::clone(&self.terms));
        LentPart { len: self.rows, rows, terms, live: gone.complement(self.rows) }
    }

    /// Says that all vectors are going to be read; the first time, for then the system has them.
    pub(super) fn read_soon(&self) {
        if !self.announced.swap(true, Ordering::Relaxed) {
            self.values.section().read_soon();
        }
    }

    /// Compares the vectors with their checksums: before all of them are read.
    pub(super) fn verify_values(&self) -> Result<()> {
        self.values.check(0..self.values.len())
    }

    /// What its rows are, whatever their order. Reads every byte, and makes sure that it is one that was written.
    pub(super) fn digest(&self) -> Result<Digest> {
        self.verify()?;
        let mut digest = Digest::default();
        let mut values = vec![0.0; self.dim];
        let mut previous = None;
        for place in 0..self.keyed() {
            let slot = self.slot_in_order(place)?;
            let row = self.row(slot)?;
            self.values(slot, &mut values);
            digest.add(self.collection, &row, &values);
            if previous.replace(row.key.clone()).is_some_and(|previous| previous >= row.key) {
                return Err(self.container.corrupt("order", "its keys are not in order"));
            }
        }
        if self.keyed() + self.holes()? != self.rows {
            return Err(self.container.corrupt("order", "a key is missing"));
        }
        Ok(digest)
    }
}

impl Parts {
    /// Where part `i` begins or the one before ends.
    fn end(&self, i: usize) -> Result<usize> {
        let end = self.ends.get(i * 8..i * 8 + 8)?;
        Ok(end.try_into().map_or(usize::MAX, |end| u64::from_le_bytes(end) as usize))
    }

    /// Part `i`.
    fn part(&self, i: usize) -> Result<&[u8]> {
        let start = if i == 0 { 0 } else { self.end(i - 1)? };
        self.bytes.get(start..self.end(i)?)
    }

    /// Asks the memory system for part `i`.
    fn prefetch(&self, i: usize) {
        if let Ok(start) = if i == 0 { Ok(0) } else { self.end(i - 1) }
            && let Some(first) = self.bytes.hint(start)
        {
            prefetch_far(first);
        }
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
