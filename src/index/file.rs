//! Opening an index file, whatever kind of index it holds.

use super::tabular::Tabular;
use super::{FlatIndex, HnswIndex, Index, QuantizedIndex};
use crate::error::{Error, Result};
use crate::storage::{Container, ContainerWriter};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// An index that was loaded or copied, by kind.
pub enum IndexFile {
    /// A [`FlatIndex`].
    Flat(Arc<FlatIndex>),
    /// An [`HnswIndex`].
    Hnsw(Arc<HnswIndex>),
    /// A [`QuantizedIndex`].
    Quantized(Arc<QuantizedIndex>),
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
            FlatIndex::KIND => Ok(IndexFile::Flat(Arc::new(FlatIndex::read(container)?))),
            HnswIndex::KIND => Ok(IndexFile::Hnsw(Arc::new(HnswIndex::read(container)?))),
            QuantizedIndex::KIND => Ok(IndexFile::Quantized(Arc::new(QuantizedIndex::read(container)?))),
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
            IndexFile::Quantized(index) => Arc::<QuantizedIndex>::clone(index),
        }
    }
}

/// Writes the `schema` section: what the other sections need to be understood.
pub(crate) fn write_schema(writer: &mut ContainerWriter<'_>, schema: &impl Serialize) -> io::Result<()> {
    let schema = serde_json::to_vec(schema)?;
    writer.section("schema", |out| out.write_all(&schema))
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
    use crate::index::{GraphCodec, HnswParameters, IndexOptions, QuantizedParameters, Search};
    use crate::runtime::{Call, Caller};
    use crate::storage::ContainerWriter;
    use crate::vectors::{Codec, Metric, Rows};
    use serde_json::{Value, json};
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_codec_that_the_kind_of_index_does_not_have_is_corrupt() {
        let graph = r#","parameters":{"m":16,"ef_construction":200,"seed":0,"codec":"auto"},"ef_search":64,
                       "graph":{"entry":4294967295,"pivots":{"nodes":[],"apart":0.0},"nodes":[0],"cells":false}"#;
        let rows_alone = graph.replace("auto", "f32");
        let flat = r#","codes":false,"accelerate":true"#;
        let wrong =
            [("flat", "f64", flat), ("flat", "F16", flat), ("hnsw", "bf16", graph), ("hnsw", "f16", &rows_alone)];
        for (kind, codec, rest) in wrong {
            let table = r#""dim":4,"metric":"dot","rows":0,"live":0,"next_id":0,"sequential":true,"ascending":true"#;
            let schema = format!(r#"{{"table":{{"codec":"{codec}",{table},"has_rows":true}}{rest}}}"#);
            let bytes = ContainerWriter::to_bytes(kind, |writer| {
                writer.section("schema", |out| out.write_all(schema.as_bytes()))
            });
            let error = IndexFile::from_bytes(bytes.expect("writing to memory")).err().expect("no such codec");
            assert!(matches!(&error, Error::Corruption { block, .. } if block == "schema"), "{error}");
            assert!(error.to_string().contains(codec), "{error}");
        }
    }

    const DIM: usize = 12;
    const ROWS: usize = 1100;

    fn values(rows: usize) -> Vec<f32> {
        // Scattered, so that cells serve them.
        let scattered = |i: usize| {
            let i = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((i ^ i >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) % 1009
        };
        (0..rows * DIM).map(|i| scattered(i) as f32 - 500.0).collect()
    }

    fn filled(index: &dyn Index) -> Vec<u8> {
        index
            .add(&Rows::new(&values(ROWS), DIM).expect("whole rows"), None, &Call::uninterrupted())
            .expect("good rows");
        index.to_bytes().expect("writing to memory")
    }

    fn graph(metric: Metric, codec: Codec) -> HnswIndex {
        graph_of(metric, codec, GraphCodec::Auto)
    }

    fn graph_of(metric: Metric, codec: Codec, walked: GraphCodec) -> HnswIndex {
        let parameters = HnswParameters { m: 16, ef_construction: 60, seed: 0, codec: walked };
        HnswIndex::new(IndexOptions { codec, ..IndexOptions::new(DIM, metric) }, parameters).expect("good options")
    }

    /// A file of each kind with codes or cells, under each metric that they serve.
    fn files() -> Vec<Vec<u8>> {
        let mut files = Vec::new();
        for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
            let options = IndexOptions::new(DIM, metric);
            files.extend([Codec::F32, Codec::F16].map(|codec| filled(&graph(metric, codec))));
            files.push(filled(&graph_of(metric, Codec::F32, GraphCodec::Lean)));
            files.push(filled(&FlatIndex::new(options).expect("good options")));
            for (bits, keep) in [(1, false), (4, true), (7, false), (8, false)] {
                let parameters = QuantizedParameters { bits, keep, seed: 0 };
                files.push(filled(&QuantizedIndex::new(options, parameters).expect("good options")));
            }
        }
        files
    }

    /// All sections that these files have, and some that they might.
    const SECTIONS: [&str; 21] = [
        "schema", "rows", "terms", "ids", "live", "order", "mean", "codes", "rests", "heads", "twins", "frame",
        "cells", "links.0", "links.1", "places.1", "rows.1", "links.2", "places.2", "rows.2", "links.3",
    ];

    /// Those of a file.
    fn sections(file: &[u8]) -> Vec<&'static str> {
        let container = Container::from_bytes(file.to_vec()).expect("a good file");
        SECTIONS.into_iter().filter(|name| container.length(name).is_ok()).collect()
    }

    /// The file with each section as `change` leaves it, and with the checksums that go with that.
    fn forged(file: &[u8], change: &dyn Fn(&str, &mut Vec<u8>)) -> Result<IndexFile> {
        let container = Container::from_bytes(file.to_vec()).expect("a good file");
        let bytes = ContainerWriter::to_bytes(&container.kind(), |writer| {
            for name in sections(file) {
                let mut content = container.read(name).expect("a good section");
                change(name, &mut content);
                writer.section(name, |out| out.write_all(&content))?;
            }
            Ok(())
        });
        IndexFile::from_bytes(bytes.expect("writing to memory"))
    }

    fn schema_of(file: &[u8]) -> Value {
        read_schema(&Container::from_bytes(file.to_vec()).expect("a good file")).expect("a good schema")
    }

    fn assert_corrupt(result: Result<IndexFile>, blocks: &[&str], what: &str) {
        match result {
            Err(Error::Corruption { block, .. }) => assert!(blocks.contains(&block.as_str()), "{what}: {block}"),
            Err(error) => panic!("{what}: {error}"),
            Ok(_) => panic!("{what} is taken"),
        }
    }

    /// A place in a schema, what is put there, and the sections that may contradict it.
    fn lies() -> Vec<(&'static str, Value, &'static [&'static str])> {
        vec![
            ("/codes", json!(false), &["schema"]),
            ("/table/has_rows", json!(null), &["schema"]),
            ("/table/dim", json!(0), &["schema"]),
            ("/table/dim", json!(DIM + 1), &["rows", "mean", "frame"]),
            ("/table/dim", json!(DIM + 16), &["rows", "mean", "frame"]),
            ("/table/dim", json!(65_536), &["schema"]),
            // The first row of another block: codes of one bit have nothing that says how much of the last one is in use.
            ("/table/rows", json!(ROWS.next_multiple_of(16) + 1), &["rows", "codes", "heads"]),
            ("/table/rows", json!(ROWS - 500), &["rows", "live"]),
            ("/table/rows", json!(1u64 << 62), &["schema"]),
            ("/table/metric", json!("l1"), &["schema"]),
            ("/accelerate", json!(false), &["schema"]),
            ("/parameters/keep", json!(true), &["schema"]),
            ("/parameters/bits", json!(0), &["schema"]),
            ("/parameters/bits", json!(3), &["rests"]),
            ("/parameters/bits", json!(9), &["schema"]),
            ("/rerank", json!(0.5), &["schema"]),
            ("/ef_search", json!(0), &["schema"]),
            ("/parameters/codec", json!("f32"), &["schema"]),
            ("/parameters/codec", json!("cells"), &["schema"]),
            ("/parameters/m", json!(1), &["schema"]),
            ("/parameters/m", json!(15), &["links.1", "rests"]),
            ("/parameters/m", json!(17), &["cells", "rests"]),
            ("/parameters/m", json!(300), &["schema"]),
            ("/graph/cells", json!(false), &["schema", "header"]),
            ("/graph/entry", json!(u32::MAX), &["schema"]),
            ("/graph/nodes", json!([]), &["schema"]),
            ("/graph/nodes", json!([0]), &["schema"]),
            ("/graph/nodes", json!(vec![1; 33]), &["schema"]),
            ("/graph/nodes/0", json!(ROWS + 1), &["schema"]),
            ("/graph/nodes/0", json!(ROWS - 1), &["twins"]),
            ("/graph/nodes/1", json!(ROWS), &["links.1"]),
            ("/graph/nodes/1", json!(1u64 << 62), &["links.1"]),
        ]
    }

    #[test]
    fn a_schema_that_its_sections_contradict_is_corrupt() {
        let changes = lies();
        for file in files() {
            let schema = schema_of(&file);
            for (place, value, blocks) in &changes {
                let mut schema = schema.clone();
                let keeps_rows = schema["table"]["has_rows"] == json!(true);
                // What an index has in one of its forms is no lie in another.
                if *place == "/codes" && keeps_rows || schema.pointer(place).is_none_or(|old| old == value) {
                    continue;
                }
                *schema.pointer_mut(place).expect("it is there") = value.clone();
                let text = schema.to_string().into_bytes();
                let result = forged(&file, &|name, content| {
                    if name == "schema" {
                        content.clone_from(&text);
                    }
                });
                assert_corrupt(result, blocks, &format!("{place}: {value}"));
            }
        }
    }

    #[test]
    fn a_section_of_another_length_is_corrupt() {
        for file in files() {
            for section in sections(&file).into_iter().filter(|name| *name != "schema") {
                for longer in [true, false] {
                    let container = Container::from_bytes(file.clone()).expect("a good file");
                    if !longer && container.length(section).expect("it is there") == 0 {
                        continue;
                    }
                    let result = forged(&file, &|name, content| {
                        if name == section && longer {
                            content.extend([0; 8]);
                        } else if name == section {
                            content.pop();
                        }
                    });
                    assert_corrupt(result, &[section], section);
                }
            }
        }
    }

    #[test]
    fn any_numbers_in_rows_codes_and_cells_make_wrong_answers_and_no_panic() {
        let queries = values(3);
        let queries = Rows::new(&queries, DIM).expect("whole rows");
        for file in files() {
            for (seed, filler) in [(1, None), (2, Some(0xFF)), (3, Some(0x7F)), (4, None), (5, Some(0))] {
                let result = forged(&file, &|name, content| {
                    // Those are checked when the file is read.
                    if !["schema", "ids", "live"].contains(&name) && !name.starts_with("places") {
                        for (i, byte) in content.iter_mut().enumerate() {
                            *byte = filler.unwrap_or((i * i * seed % 251) as u8 ^ (i / 7) as u8);
                        }
                    }
                });
                use_all(&*result.expect("checksums that fit").index(), &queries);
            }
        }
    }

    /// Calls everything that reads or writes.
    fn use_all(index: &dyn Index, queries: &Rows<'_>) {
        let narrow = Search { ef: Some(1), ..Search::top(1) };
        for search in [narrow, Search::top(5), Search::top(ROWS), Search { exact: true, ..Search::top(5) }] {
            let hits = index.search(queries, &search, &Call::uninterrupted()).expect("good queries");
            assert!(hits.ids.iter().all(|&id| (-1..ROWS as i64).contains(&id)));
        }
        index.range_search(queries, 1.0, None, &Call::uninterrupted()).expect("good queries");
        assert_eq!(index.get(&[0, 1099]).expect("ids that exist").len(), 2 * DIM);
        index.upsert(&[3, 5000, 9], queries, &Call::uninterrupted()).expect("good rows");
        index.search(queries, &narrow, &Call::uninterrupted()).expect("good queries");
        index.delete(&[0, 1], &Call::uninterrupted()).expect("ids");
        index.optimize(&Call::uninterrupted()).expect("room");
        index.search(queries, &Search::top(5), &Call::uninterrupted()).expect("good queries");
    }

    #[test]
    fn any_part_of_a_graph_of_cells_may_be_wrong_alone() {
        let queries = values(3);
        let queries = Rows::new(&queries, DIM).expect("whole rows");
        let units = [0.0, f64::INFINITY, f64::NAN, -1.0, 1e300, 1e-300];
        let graphs = [
            graph(Metric::Cosine, Codec::F32),
            graph(Metric::Dot, Codec::F16),
            graph(Metric::L2, Codec::F32),
            graph_of(Metric::Cosine, Codec::F32, GraphCodec::Lean),
            graph_of(Metric::L2, Codec::F32, GraphCodec::Lean),
        ];
        for graph in graphs {
            let file = filled(&graph);
            for unit in units {
                let change = |name: &str, content: &mut Vec<u8>| {
                    if name == "frame" {
                        content[..8].copy_from_slice(&unit.to_le_bytes());
                    }
                };
                use_all(&*forged(&file, &change).expect("checksums that fit").index(), &queries);
            }
            for section in ["frame", "cells", "heads", "rests", "twins", "links.1", "rows.1", "rows"] {
                for filler in [None, Some(0xFF), Some(0x7F)] {
                    let change = |name: &str, content: &mut Vec<u8>| {
                        // Words in which some bits are as they were: links to other nodes that exist, and some that do not.
                        let bytes = content.iter_mut().enumerate().filter(|(i, _)| name == section && i % 3 == 0);
                        bytes.for_each(|(i, byte)| *byte = filler.unwrap_or(*byte ^ (i / 5) as u8));
                    };
                    use_all(&*forged(&file, &change).expect("checksums that fit").index(), &queries);
                }
            }
            let change = |name: &str, content: &mut Vec<u8>| {
                if name == "places.1" {
                    content[..4].copy_from_slice(&(ROWS as u32).to_le_bytes());
                }
            };
            assert_corrupt(forged(&file, &change), &["places.1"], "a slot that does not exist");
        }
    }

    /// Interrupts once something has been linked.
    #[derive(Default)]
    struct Impatient(AtomicBool);

    impl Caller for Impatient {
        fn interrupted(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }

        fn progress(&self, _done: usize, _total: usize) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_index_whose_last_write_was_interrupted_is_loaded_as_it_was_saved() {
        let many: Vec<f32> = (0..20_000 * DIM).map(|i| (i * i % 10_007) as f32 - 5_000.0).collect();
        let (many, queries) = (Rows::new(&many, DIM).expect("whole rows"), values(20));
        let queries = Rows::new(&queries, DIM).expect("whole rows");
        // Rows before that wait for more, and rows that are linked.
        for before in [1000, 1100] {
            let index = graph(Metric::L2, Codec::F32);
            let first = values(before);
            index.add(&Rows::new(&first, DIM).expect("whole rows"), None, &Call::uninterrupted()).expect("good rows");
            let impatient = Impatient::default();
            let result = index.add(&many, None, &Call::new(&impatient, None));
            assert!(matches!(result, Err(Error::Interrupted)), "linking 20,000 rows took less than 20 ms?");
            let loaded = IndexFile::from_bytes(index.to_bytes().expect("memory")).expect("a good file").index();
            for index in [&*loaded, &index as &dyn Index] {
                assert_eq!(index.len(), before);
                index.add(&queries, None, &Call::uninterrupted()).expect("good rows");
            }
            let hits = |index: &dyn Index| index.search(&queries, &Search::top(5), &Call::uninterrupted());
            assert_eq!(hits(&*loaded).expect("good queries"), hits(&index).expect("good queries"));
        }
    }
}
