//! The manifest: which files make up the store, and up to which batch.
//!
//! A manifest lists every collection with its segments and what of them is deleted, as of one batch; all later batches are in the logs.
//! Writing it under a new number, by renaming a finished file, *is* the commit of a reorganisation. The one before is kept, and so
//! are its files and logs: should the newest turn out to be damaged, the one before leads to the same rows. A store that has never been
//! reorganised has no manifest; all of it is in the logs.

use super::batch::SegmentName;
use super::files::{deletions_name, graph_name, open_sealed, segment_name, write_sealed};
use super::metadata::Metadata;
use super::schema::Schema;
use crate::error::{Error, Result};
use crate::index::Bits;
use crate::storage::log::number;
use crate::storage::vfs::{Vfs, publish};
use crate::storage::{Container, ContainerWriter, Seal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const KIND: &str = "manifest";
const DELETIONS: &str = "deletions";
const FORMAT_KIND: &str = "store";
/// The file that makes a directory a store.
pub(super) const FORMAT_FILE: &str = "FORMAT";
/// The file that whoever writes has locked.
pub(super) const LOCK_FILE: &str = "LOCK";

pub(super) fn manifest_name(generation: u64) -> String {
    format!("MANIFEST-{generation:016x}")
}

pub(super) fn manifest_generation(name: &str) -> Option<u64> {
    number(name, "MANIFEST-", "")
}

/// A file, with what tells it from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileRecord {
    pub(super) file: u64,
    pub(super) length: u64,
    /// In hexadecimal digits: JSON has no numbers that large.
    #[serde(with = "hexadecimal")]
    pub(super) root: u128,
}

/// A segment and its deletions.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SegmentRecord {
    pub(super) segment: FileRecord,
    pub(super) rows: u64,
    pub(super) deletions: Option<FileRecord>,
}

/// The graph over the rows of one segment.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GraphRecord {
    pub(super) graph: FileRecord,
    /// The number of the segment.
    pub(super) segment: u64,
}

/// One collection.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CollectionRecord {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) schema: Schema,
    pub(super) meta: Metadata,
    pub(super) segments: Vec<SegmentRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) graph: Option<GraphRecord>,
}

/// The whole of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) generation: u64,
    #[serde(with = "hexadecimal")]
    pub(super) store: u128,
    /// The last batch that is in here.
    pub(super) seq: u64,
    /// The log that was begun for the batches after it.
    pub(super) log: u64,
    /// The number of the next collection.
    pub(super) next_collection: u64,
    pub(super) collections: Vec<CollectionRecord>,
}

/// What `FORMAT` says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreRecord {
    #[serde(with = "hexadecimal")]
    store: u128,
}

mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &u128, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&format!("{value:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        let text = String::deserialize(from)?;
        u128::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

impl FileRecord {
    pub(super) fn new(file: u64, seal: Seal) -> FileRecord {
        FileRecord { file, length: seal.length, root: seal.root }
    }

    pub(super) fn seal(&self) -> Seal {
        Seal { length: self.length, root: self.root }
    }
}

impl CollectionRecord {
    /// All files of the collection, by name.
    fn files(&self) -> impl Iterator<Item = (String, FileRecord)> {
        let graph = self.graph.map(|record| (graph_name(record.graph.file), record.graph));
        let segments = self.segments.iter().map(|record| (segment_name(record.segment.file), record.segment));
        let deletions = self.segments.iter().filter_map(|record| record.deletions);
        segments.chain(deletions.map(|record| (deletions_name(record.file), record))).chain(graph)
    }
}

impl SegmentRecord {
    pub(super) fn name(&self) -> SegmentName {
        SegmentName { file: self.segment.file, seal: self.segment.seal(), rows: self.rows }
    }
}

impl Manifest {
    /// The names of all files that it lists.
    pub(super) fn files(&self) -> BTreeSet<String> {
        self.collections.iter().flat_map(CollectionRecord::files).map(|(name, _)| name).collect()
    }

    /// Bytes of those files.
    pub(super) fn bytes(&self) -> u64 {
        self.collections.iter().flat_map(CollectionRecord::files).map(|(_, file)| file.length).sum()
    }

    /// Makes this the newest manifest. On an error it may have become so all the same.
    pub(super) fn publish(&self, vfs: &dyn Vfs) -> Result<()> {
        let text = serde_json::to_vec(self).map_err(|error| Error::InvalidArgument(error.to_string()))?;
        publish_text(vfs, &manifest_name(self.generation), KIND, &text)
    }

    /// The manifest of that generation.
    pub(super) fn open(vfs: &dyn Vfs, generation: u64, store: u128) -> Result<Manifest> {
        let (container, text) = open_text(vfs, &manifest_name(generation), KIND)?;
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|error| container.corrupt("text", error.to_string()))?;
        if manifest.store != store || manifest.generation != generation {
            return Err(container.corrupt("text", "it belongs to another store or has another number"));
        }
        Ok(manifest)
    }
}

/// Makes the directory the store of that number.
pub(super) fn write_format(vfs: &dyn Vfs, store: u128) -> Result<()> {
    let text = serde_json::to_vec(&StoreRecord { store }).map_err(|error| Error::InvalidArgument(error.to_string()))?;
    publish_text(vfs, FORMAT_FILE, FORMAT_KIND, &text)
}

/// The store's number.
pub(super) fn read_format(vfs: &dyn Vfs) -> Result<u128> {
    let (container, text) = open_text(vfs, FORMAT_FILE, FORMAT_KIND)?;
    let record: StoreRecord =
        serde_json::from_slice(&text).map_err(|error| container.corrupt("text", error.to_string()))?;
    Ok(record.store)
}

/// Writes which rows of a segment are gone, and syncs it; its name is not durable yet.
pub(super) fn write_deletions(vfs: &dyn Vfs, file: u64, gone: &Bits, rows: u64) -> Result<FileRecord> {
    let name = deletions_name(file);
    let mut words = gone.words().to_vec();
    words.resize((rows as usize).div_ceil(64), 0);
    let seal = write_sealed(vfs, &name, DELETIONS, |writer| {
        writer.section("bits", |out| out.write_all(bytemuck::cast_slice(&words)))
    })?;
    Ok(FileRecord::new(file, seal))
}

/// Which rows of a segment are gone.
pub(super) fn read_deletions(vfs: &dyn Vfs, record: &FileRecord, rows: u64) -> Result<Bits> {
    let container = open_sealed(vfs, &deletions_name(record.file), DELETIONS, record.seal(), Container::map)?;
    let bytes = container.read("bits")?;
    let bits = Bits::from_words(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect());
    let beyond = bits.ones().last().is_some_and(|last| last as u64 >= rows);
    if bytes.len() as u64 != rows.div_ceil(64) * 8 || beyond {
        return Err(container.corrupt("bits", format!("it should hold {rows} bits")));
    }
    Ok(bits)
}

/// A container with one section, `text`.
fn publish_text(vfs: &dyn Vfs, name: &str, kind: &str, text: &[u8]) -> Result<()> {
    publish(vfs, name, |file| {
        ContainerWriter::write_file(file, kind, |writer| writer.section("text", |out| out.write_all(text)))
    })
    .map(drop)
}

fn open_text(vfs: &dyn Vfs, name: &str, kind: &str) -> Result<(Container, Vec<u8>)> {
    let container = Container::map(vfs, name)?;
    if container.kind() != kind {
        return Err(container.corrupt("header", format!("it should be a {kind}, it is a {:?}", container.kind())));
    }
    let text = container.read("text")?;
    Ok((container, text))
}
