//! Opening an index file, whatever kind of index it holds.

use super::{FlatIndex, HnswIndex, Index};
use crate::error::{Error, Result};
use crate::storage::Container;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::Arc;

/// An index that was loaded or copied, by kind.
pub enum IndexFile {
    /// A [`FlatIndex`].
    Flat(Arc<FlatIndex>),
    /// An [`HnswIndex`].
    Hnsw(Arc<HnswIndex>),
}

impl IndexFile {
    /// Reads the index at `path` into memory, every checksum verified; or maps it, which reads only what is needed and makes it
    /// read-only.
    pub fn load(path: &Path, mapped: bool) -> Result<IndexFile> {
        IndexFile::from_container(&Container::open(path, mapped)?)
    }

    /// The index in the bytes of a file.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<IndexFile> {
        IndexFile::from_container(&Container::from_bytes(bytes)?)
    }

    fn from_container(container: &Container) -> Result<IndexFile> {
        match container.kind().as_str() {
            FlatIndex::KIND => Ok(IndexFile::Flat(Arc::new(FlatIndex::from_container(container)?))),
            HnswIndex::KIND => Ok(IndexFile::Hnsw(Arc::new(HnswIndex::from_container(container)?))),
            other => {
                Err(container.corrupt("header", format!("{other:?} is not a kind of index that this version knows")))
            }
        }
    }

    /// The index, whatever its kind.
    pub fn index(&self) -> Arc<dyn Index> {
        match self {
            IndexFile::Flat(index) => Arc::<FlatIndex>::clone(index),
            IndexFile::Hnsw(index) => Arc::<HnswIndex>::clone(index),
        }
    }
}

/// The `schema` section, parsed.
pub(crate) fn read_schema<T: DeserializeOwned>(container: &Container) -> Result<T> {
    /// A schema is a handful of numbers.
    const MAX_SCHEMA_BYTES: u64 = 64 << 10;
    let length = container.length("schema")?;
    if length > MAX_SCHEMA_BYTES {
        return Err(container.corrupt("schema", format!("{length} bytes are too many")));
    }
    let bytes = container.read("schema")?;
    serde_json::from_slice(&bytes)
        .map_err(|error: serde_json::Error| -> Error { container.corrupt("schema", error.to_string()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::ContainerWriter;

    #[test]
    fn a_codec_that_the_kind_of_index_does_not_have_is_corrupt() {
        let graph = r#","parameters":{"m":16,"ef_construction":200,"seed":0},"ef_search":64,
                       "graph":{"entry":4294967295,"nodes":[0]}"#;
        for (kind, codec, rest) in [("flat", "f64", ""), ("flat", "F16", ""), ("hnsw", "f16", graph)] {
            let table = r#""dim":4,"metric":"dot","rows":0,"live":0,"next_id":0,"sequential":true,"ascending":true"#;
            let schema = format!(r#"{{"table":{{"codec":"{codec}",{table}}}{rest}}}"#);
            let bytes = ContainerWriter::to_bytes(kind, |writer| {
                writer.section("schema", |out| out.write_all(schema.as_bytes()))
            });
            let error = IndexFile::from_bytes(bytes.expect("writing to memory")).err().expect("no such codec");
            assert!(matches!(&error, Error::Corruption { block, .. } if block == "schema"), "{error}");
            assert!(error.to_string().contains(codec), "{error}");
        }
    }
}
