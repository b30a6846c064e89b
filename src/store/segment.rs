//! A segment: rows in a file that is written once and never changed.
//!
//! A container (FORMAT.md) with the vectors, each on a cache line, and beside them keys, metadata and stamps, each as one run of bytes
//! with the places where its parts end. Which of its rows are still there is kept elsewhere: in the deletions that go with it.

use super::batch::{Row, SegmentName};
use super::coding::Take;
use super::key::Key;
use crate::error::{Error, Result};
use crate::storage::vfs::Vfs;
use crate::storage::{Container, ContainerWriter, Seal};
use crate::vectors::{RowSource, aligned_width};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::ops::Range;
use xxhash_rust::xxh3::Xxh3Default;

const KIND: &str = "segment";

/// Vectors are written in pieces of about this many values.
const PIECE: usize = 1 << 18;

pub(super) fn segment_name(file: u64) -> String {
    format!("seg-{file:016x}.nf")
}

/// The `schema` section.
#[derive(Serialize, Deserialize)]
struct SegmentSchema {
    collection: u64,
    dim: usize,
    rows: usize,
}

/// Rows on their way into a segment.
pub(super) struct Input<'a> {
    pub(super) collection: u64,
    pub(super) dim: usize,
    pub(super) rows: &'a [Row],
    /// Gives the values of some of the rows, one after another.
    pub(super) values: &'a dyn Fn(Range<usize>) -> Result<Vec<f32>>,
}

/// Writes a segment and syncs it; its name is not durable yet.
pub(super) fn write(vfs: &dyn Vfs, file: u64, input: &Input<'_>) -> Result<SegmentName> {
    let name = segment_name(file);
    let written = vfs.create(&name).and_then(|out| {
        let seal = ContainerWriter::write_file(&*out, KIND, |writer| write_sections(writer, input))?;
        out.sync()?;
        Ok(seal)
    });
    let seal = written.map_err(|error| Error::io(&vfs.path(&name), error))?;
    Ok(SegmentName { file, seal, rows: input.rows.len() as u64 })
}

fn write_sections(writer: &mut ContainerWriter<'_>, input: &Input<'_>) -> io::Result<()> {
    let rows = input.rows;
    let schema = SegmentSchema { collection: input.collection, dim: input.dim, rows: rows.len() };
    let schema = serde_json::to_vec(&schema)?;
    writer.section("schema", |out| out.write_all(&schema))?;
    writer.section("rows", |out| write_values(out, input))?;
    let mut key = Vec::new();
    let mut ends = Vec::with_capacity(rows.len());
    writer.section("keys", |out| {
        let mut end = 0;
        for row in rows {
            key.clear();
            row.key.encode(&mut key);
            end += key.len() as u64;
            ends.push(end);
            out.write_all(&key)?;
        }
        Ok(())
    })?;
    writer.section("key_ends", |out| out.write_all(bytemuck::cast_slice(&ends)))?;
    writer.section("metadata", |out| rows.iter().try_for_each(|row| out.write_all(&row.metadata)))?;
    let lengths = rows.iter().map(|row| row.metadata.len() as u64);
    let ends: Vec<u64> = lengths.scan(0, |end, length| Some(std::mem::replace(end, *end + length) + length)).collect();
    writer.section("metadata_ends", |out| out.write_all(bytemuck::cast_slice(&ends)))?;
    let stamps: Vec<[i64; 2]> = rows.iter().map(|row| [row.created, row.updated]).collect();
    writer.section("stamps", |out| out.write_all(bytemuck::cast_slice(&stamps)))
}

fn write_values(out: &mut dyn Write, input: &Input<'_>) -> io::Result<()> {
    let (dim, count) = (input.dim, input.rows.len());
    let padding = vec![0u8; (aligned_width(dim) - dim) * 4];
    let step = (PIECE / dim).max(1);
    for start in (0..count).step_by(step) {
        let values = (input.values)(start..(start + step).min(count)).map_err(io::Error::other)?;
        for row in values.chunks_exact(dim) {
            out.write_all(bytemuck::cast_slice(row))?;
            out.write_all(&padding)?;
        }
    }
    Ok(())
}

/// A segment, opened and verified.
pub(super) struct Segment {
    container: Container,
    collection: u64,
    dim: usize,
    rows: usize,
    values: crate::storage::Section,
    keys: Parts,
    metadata: Parts,
    stamps: Vec<u8>,
}

/// A run of bytes and where its parts end.
struct Parts {
    bytes: Vec<u8>,
    ends: Vec<u64>,
}

impl Segment {
    /// Opens the segment of that name and compares all of it with its checksums.
    pub(super) fn open(vfs: &dyn Vfs, name: &SegmentName, collection: u64, dim: usize) -> Result<Segment> {
        let container = open_sealed(vfs, &segment_name(name.file), KIND, name.seal)?;
        let schema = container.read("schema")?;
        let schema: SegmentSchema =
            serde_json::from_slice(&schema).map_err(|error| container.corrupt("schema", error.to_string()))?;
        let expected = (collection, dim, name.rows);
        if (schema.collection, schema.dim, schema.rows as u64) != expected {
            return Err(container.corrupt("schema", "it belongs to another collection"));
        }
        container.verify("rows")?;
        let rows = schema.rows;
        let width = (aligned_width(dim) * 4) as u64;
        if (rows as u64).checked_mul(width) != Some(container.length("rows")?) {
            return Err(container.corrupt("rows", format!("it should hold {rows} vectors")));
        }
        let Some(values) = container.mapped("rows")? else {
            return Err(container.corrupt("rows", "it is not mapped"));
        };
        let keys = Parts::read(&container, "keys", "key_ends", rows)?;
        let metadata = Parts::read(&container, "metadata", "metadata_ends", rows)?;
        let stamps = container.read("stamps")?;
        if stamps.len() != rows * 16 {
            return Err(container.corrupt("stamps", format!("it should hold {rows} pairs")));
        }
        Ok(Segment { container, collection, dim, rows, values, keys, metadata, stamps })
    }

    /// How many rows there are, deleted or not.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// Row `i`, without its values.
    pub(super) fn row(&self, i: usize) -> Result<Row> {
        let mut key = Take(self.keys.part(i));
        let key = Key::decode(&mut key).filter(|_| key.0.is_empty());
        let key = key.ok_or_else(|| self.container.corrupt("keys", format!("key {i} is none")))?;
        let text = self.metadata.part(i);
        let mut stamps = Take(&self.stamps[i * 16..][..16]);
        let (created, updated) = (stamps.i64().unwrap_or(0), stamps.i64().unwrap_or(0));
        Ok(Row { key, created, updated, metadata: text.into() })
    }

    /// The values of row `i`.
    pub(super) fn values(&self, i: usize, out: &mut [f32]) {
        let width = aligned_width(self.dim) * 4;
        let bytes = &self.values.as_ref()[i * width..][..self.dim * 4];
        for (value, word) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *value = f32::from_le_bytes(*word);
        }
    }

    /// What its rows are, whatever their order.
    pub(super) fn digest(&self) -> Result<Digest> {
        let mut digest = Digest::default();
        let mut values = vec![0.0; self.dim];
        for i in 0..self.rows {
            self.values(i, &mut values);
            digest.add(self.collection, &self.row(i)?, &values);
        }
        Ok(digest)
    }

    pub(super) fn corrupt(&self, what: impl Into<String>) -> Error {
        self.container.corrupt("keys", what)
    }
}

impl Parts {
    fn read(container: &Container, name: &str, ends_name: &str, count: usize) -> Result<Parts> {
        let (bytes, ends) = (container.read(name)?, container.read(ends_name)?);
        let (words, rest) = ends.as_chunks::<8>();
        let ends: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let whole = rest.is_empty() && ends.len() == count && ends.is_sorted();
        if !whole || ends.last().copied().unwrap_or(0) != bytes.len() as u64 {
            return Err(container.corrupt(ends_name, format!("it should hold {count} places in {name}, in order")));
        }
        Ok(Parts { bytes, ends })
    }

    fn part(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start as usize..self.ends[i] as usize]
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
        hash.update(&row.metadata);
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash.digest128());
    }
}

/// Opens a container of the store and makes sure that it is the one that was meant.
pub(super) fn open_sealed(vfs: &dyn Vfs, name: &str, kind: &str, seal: Seal) -> Result<Container> {
    let path = vfs.path(name);
    let bytes = vfs.map(name).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Error::Corruption { path: path.clone(), block: "file".into(), what: "it is missing".into() }
        }
        _ => Error::io(&path, error),
    })?;
    let container = Container::from_map(path, bytes)?;
    if container.seal() != seal || container.kind() != kind {
        return Err(container.corrupt("header", "it is not the file that belongs here"));
    }
    Ok(container)
}
