//! Flat collections that were opened: their rows are read where they lie, get codes later, and are the same all the time.

use super::*;
use crate::error::Error;
use crate::storage::vfs::sim::Dice;
use crate::vectors::{Codec, Metric, Rows as Values};

const DIM: usize = 12;

/// Vectors in no pattern, for every codec: whole numbers from 0 to 255, or bits.
fn values(rows: std::ops::Range<usize>, codec: Codec) -> Vec<f32> {
    let most = if codec == Codec::B1 { 2 } else { 256 };
    let value = |row: usize, i: usize| (row * 7919 + i * 104_729 + row * i * 31 + row * row / 3) % 2003 % most;
    rows.flat_map(|row| (0..DIM).map(move |i| value(row, i) as f32)).collect()
}

fn schema(metric: Metric, codec: Codec) -> Schema {
    Schema { codec, ..Schema::new(DIM, metric) }
}

fn docs(store: &Store) -> Collection {
    store.collection("docs").expect("it is there")
}

fn keys(rows: std::ops::Range<usize>) -> Vec<Key> {
    rows.map(|row| Key::Int(row as i64 * 5 % 9001)).collect()
}

/// Puts these rows, with vectors that begin with that of row `first`.
fn put(store: &Store, rows: std::ops::Range<usize>, first: usize) {
    let docs = docs(store);
    let values = values(first..first + rows.len(), docs.schema().codec);
    let metadata: Vec<Document> = rows
        .clone()
        .map(|row| Document::new(&serde_json::json!({ "part": row % 10 }), 0).expect("an object"))
        .collect();
    docs.upsert(&keys(rows), &Values::new(&values, DIM).expect("whole rows"), Some(&metadata), &call()).expect("rows");
}

/// A store with two segments that are read in place and a small one, rows deleted from each and replaced in another, and some in the log.
fn sample(schema: Schema) -> (SimDisk, Store) {
    let disk = SimDisk::default();
    let store = writer(&disk).expect("an empty disk");
    store.create_collection("docs", schema, false, &call()).expect("a name");
    put(&store, 0..3500, 0);
    store.checkpoint(&call()).expect("room");
    put(&store, 3500..4800, 3500);
    docs(&store).delete(&keys(100..120), &call()).expect("keys");
    store.checkpoint(&call()).expect("room");
    put(&store, 4800..4890, 4800);
    put(&store, 3600..3610, 6000);
    store.checkpoint(&call()).expect("room");
    docs(&store).delete(&keys(4880..4885), &call()).expect("keys");
    put(&store, 5000..5010, 5000);
    (disk, store)
}

fn queries(codec: Codec) -> Vec<f32> {
    values(7000..7009, codec)
}

/// What a store answers: lone queries, a batch, filters that let many and few rows through, many rows.
fn try_answers(store: &Store) -> Result<String> {
    let docs = store.collection("docs")?;
    let queries = queries(docs.schema().codec);
    let batch = Values::new(&queries, DIM)?;
    let lone = Values::new(&queries[..DIM], DIM)?;
    let filters = [serde_json::json!({"part": {"$lt": 6}}), serde_json::json!({"part": 3})];
    let filters: Vec<Filter> = filters.iter().map(Filter::parse).collect::<Result<_>>()?;
    let mut found = vec![docs.search(&batch, &StoreSearch::top(7), &call())?];
    for search in [
        StoreSearch::top(1),
        StoreSearch::top(3000),
        StoreSearch { filter: Some(&filters[0]), ..StoreSearch::top(5) },
        StoreSearch { filter: Some(&filters[1]), vectors: true, ..StoreSearch::top(5) },
    ] {
        found.push(docs.search(&lone, &search, &call())?);
    }
    Ok(format!("{found:?}"))
}

fn answers(store: &Store) -> String {
    try_answers(store).expect("a good store")
}

fn stats(store: &Store) -> CollectionStats {
    docs(store).stats().expect("it is there")
}

/// As [`open`], with no thread that makes codes.
fn without_codes(disk: &SimDisk, mode: Mode) -> Result<Store> {
    let options = StoreOptions { mode, ..StoreOptions::default() };
    let world = recover::load(disk, false)?.world;
    let (kind, _) = match mode {
        Mode::Read => {
            Reader::open(Arc::new(disk.clone()), false).map(|(reader, _)| (Kind::Reader(Box::new(reader)), ()))?
        }
        Mode::ReadWrite => (Kind::Memory, ()),
    };
    world.collections.values().for_each(|live| live.is_linking.store(true, std::sync::atomic::Ordering::Release));
    Ok(Store::with(kind, world, options))
}

const KINDS: [(Metric, Codec); 10] = [
    (Metric::Cosine, Codec::F32),
    (Metric::Dot, Codec::F32),
    (Metric::L2, Codec::F32),
    (Metric::L1, Codec::F32),
    (Metric::Cosine, Codec::F16),
    (Metric::L2, Codec::Bf16),
    (Metric::L2, Codec::U8),
    (Metric::Cosine, Codec::I8),
    (Metric::L1, Codec::I8),
    (Metric::Hamming, Codec::B1),
];

#[test]
fn answers_are_those_of_the_live_store_without_codes_and_with_them() {
    for (metric, codec) in KINDS {
        let (disk, store) = sample(schema(metric, codec));
        let expected = answers(&store);
        let what = format!("{} {}", metric.name(), codec.name());
        let opened = without_codes(&disk, Mode::Read).expect("a store");
        let has_codes = matches!(metric, Metric::Cosine | Metric::Dot | Metric::L2);
        assert_eq!(stats(&opened).unlinked_rows > 4000, has_codes, "{what}: {:?}", stats(&opened));
        assert_eq!(answers(&opened), expected, "{what}, without codes");
        // In steps, with answers in between.
        let index = docs(&opened).live().expect("it is there").rows.read().index();
        let mut steps = 1;
        while index.catch_up(1, &call()).expect("whole rows") > 0 {
            assert_eq!(answers(&opened), expected, "{what}, with some codes");
            steps += 1;
        }
        assert!(steps > 3 || !has_codes, "{what}: {steps}");
        assert_eq!((answers(&opened), stats(&opened).unlinked_rows), (expected.clone(), 0), "{what}, with codes");
        assert_eq!(index.stats().code_bytes > 0, has_codes, "{what}");
        drop(store);
        let store = writer(&disk).expect("a store");
        store.flush_and_link(&call()).expect("room");
        assert_eq!((answers(&store), stats(&store).unlinked_rows), (expected, 0), "{what}");
    }
}

#[test]
fn a_store_that_was_opened_takes_the_same_changes_before_and_after_it_has_codes() {
    for (metric, codec) in [(Metric::Cosine, Codec::F32), (Metric::L2, Codec::I8), (Metric::Hamming, Codec::B1)] {
        let (disk, live) = sample(schema(metric, codec));
        let opened = [without_codes(&disk, Mode::ReadWrite), without_codes(&disk, Mode::ReadWrite)];
        let [none, all] = opened.map(|store| store.expect("a store"));
        all.flush_and_link(&call()).expect("room");
        assert_eq!(stats(&all).unlinked_rows, 0);
        for store in [&live, &none, &all] {
            docs(store).delete(&keys(200..230), &call()).expect("keys");
            put(store, 300..340, 6100);
            put(store, 5100..5700, 5100);
            docs(store).delete(&keys(5150..5200), &call()).expect("keys");
            put(store, 5200..5260, 6200);
            put(store, 4800..4810, 6300);
        }
        let expected = answers(&live);
        for store in [&none, &all] {
            assert_eq!(answers(store), expected);
            store.flush_and_link(&call()).expect("memory");
            assert_eq!((answers(store), stats(store).unlinked_rows), (expected.clone(), 0));
            docs(store).optimize(&call()).expect("memory");
            assert_eq!(answers(store), expected, "in order");
        }
    }
}

#[test]
fn searches_and_writes_go_on_while_codes_are_made() {
    let kind = schema(Metric::Cosine, Codec::F32);
    for round in 0..5 {
        let ((_, live), (disk, closed)) = (sample(kind), sample(kind));
        drop(closed);
        let opened = writer(&disk).expect("a store");
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..40).for_each(|_| drop(answers(&opened))));
            }
            for step in 0..20 {
                for store in [&live, &opened] {
                    put(store, 5020 + step * 9..5040 + step * 10, 6000 + step);
                    docs(store).delete(&keys(400 + step..400 + 2 * step), &call()).expect("keys");
                }
            }
        });
        assert_eq!(answers(&opened), answers(&live), "round {round}");
        opened.flush_and_link(&call()).expect("room");
        assert_eq!((answers(&opened), stats(&opened).unlinked_rows), (answers(&live), 0), "round {round}");
    }
}

#[test]
fn live_reopened_compacted_and_copied_give_the_same_answers() {
    for (metric, codec) in [(Metric::Cosine, Codec::F32), (Metric::Cosine, Codec::I8), (Metric::L1, Codec::F16)] {
        let (disk, mut store) = sample(schema(metric, codec));
        let expected = answers(&store);
        for step in 0..4 {
            match step {
                0 => store.checkpoint(&call()).expect("room"),
                1 => store.compact(&call()).expect("room"),
                2 => docs(&store).optimize(&call()).expect("memory"),
                _ => store.flush_and_link(&call()).expect("room"),
            }
            assert_eq!(answers(&store), expected, "live after step {step}");
            assert_eq!(answers(&reader(&disk).expect("a store")), expected, "reopened after step {step}");
            let copy = tempfile::tempdir().expect("a directory");
            store.backup(copy.path(), &call()).expect("room");
            let options = StoreOptions { mode: Mode::Read, ..StoreOptions::default() };
            assert_eq!(
                answers(&Store::open(copy.path(), options).expect("a store")),
                expected,
                "copied after step {step}"
            );
            drop(store);
            store = writer(&disk).expect("a store");
        }
        assert_eq!((answers(&store), stats(&store).dead_rows, stats(&store).segments), (expected, 0, 1));
    }
}

#[test]
fn what_was_written_directly_is_listed_when_the_store_is_closed() {
    let (disk, store) = sample(schema(Metric::Cosine, Codec::F32));
    put(&store, 6000..8000, 0);
    let expected = answers(&store);
    store.close().expect("room");
    let loaded = recover::load(&disk, false).expect("a store");
    let rows: u64 = loaded.manifest.collections[0].segments.iter().map(|segment| segment.rows).sum();
    assert!(rows >= 6800, "{rows}");
    assert_eq!(answers(&reader(&disk).expect("a store")), expected);
}

#[test]
fn a_damaged_byte_is_an_error_where_an_answer_depends_on_it_and_never_a_wrong_answer() {
    for (metric, codec) in [(Metric::Cosine, Codec::F32), (Metric::L2, Codec::I8), (Metric::Hamming, Codec::B1)] {
        let (disk, store) = sample(schema(metric, codec));
        let expected = answers(&store);
        drop(store);
        let (mut dice, mut found) = (Dice(7), [0; 3]);
        for name in disk.list().expect("a disk").into_iter().filter(|name| name.starts_with("seg-")) {
            let whole = disk.read(&name);
            for _ in 0..40 {
                let mut bytes = whole.clone();
                bytes[4096 + dice.below(whole.len() - 4096)] ^= 1 << dice.below(8);
                disk.overwrite(&name, bytes);
                let (Ok(store), Ok(other)) = (without_codes(&disk, Mode::Read), reader(&disk)) else {
                    found[0] += 1;
                    continue;
                };
                for store in [&store, &other] {
                    // The second time, too.
                    for _ in 0..2 {
                        match try_answers(store) {
                            Ok(answers) => assert!(answers == expected, "{name}"),
                            Err(Error::Corruption { .. }) => found[1] += 1,
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
                let index = docs(&store).live().expect("it is there").rows.read().index();
                match index.catch_up(usize::MAX, &call()) {
                    // Codes are made of whole rows; keys may still be damaged.
                    Ok(left) => assert_eq!(left, 0),
                    Err(Error::Corruption { .. }) => found[2] += 1,
                    Err(error) => panic!("{error}"),
                }
                match try_answers(&store) {
                    Ok(answers) => assert!(answers == expected, "{name}"),
                    Err(error) => assert!(matches!(error, Error::Corruption { .. }), "{error}"),
                }
                assert!(!other.verify(&call()).expect("a disk").damaged.is_empty());
            }
            disk.overwrite(&name, whole);
        }
        // Rows of bits are so short that nearly all of them are looked at when the store is opened.
        let is_short = codec == Codec::B1;
        assert!(found[0] > 0 && found[1] > if is_short { 0 } else { 20 } && (is_short || found[2] > 0), "{found:?}");
        assert_eq!(answers(&reader(&disk).expect("a store")), expected);
    }
}

#[test]
fn a_row_is_given_out_only_if_its_block_is_whole() {
    let (disk, store) = sample(schema(Metric::L2, Codec::F32));
    let all = docs(&store).scan(None, None, usize::MAX).expect("rows");
    drop(store);
    let name = disk.list().expect("a disk").into_iter().find(|name| name.starts_with("seg-")).expect("a segment");
    let mut bytes = disk.read(&name);
    // The rows begin on the third page, and the first block of them has 256.
    bytes[8192 + 64 * 17] ^= 1;
    disk.overwrite(&name, bytes);
    let docs = docs(&reader(&disk).expect("nobody has looked"));
    let (mut good, mut bad) = (0, 0);
    for row in &all {
        match docs.get(std::slice::from_ref(&row.key)) {
            Ok(found) => {
                assert_eq!(found[0].as_ref(), Some(row));
                good += 1;
            }
            Err(error) => {
                assert!(matches!(&error, Error::Corruption { block, .. } if block == "rows"), "{error}");
                bad += 1;
            }
        }
    }
    assert!(good > 4000 && bad > 200, "{good} {bad}");
}
