//! What each call does, and what it refuses.

use super::*;
use nearfield::{GraphCodec, HnswParameters};
use std::time::{Duration, Instant};

fn graph(dim: usize) -> Schema {
    Schema::new(dim, Metric::L2).with_graph(HnswParameters::for_size(0, Metric::L2, GraphCodec::Auto))
}

#[test]
fn rows_come_back_with_metadata_and_stamps_from_memory_and_from_disk() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("library.nfdb");
    for (is_durable, store) in [(false, Store::in_memory(StoreOptions::default())), (true, writer(&path)?)] {
        let docs = store.create_collection("docs", Schema::new(4, Metric::Cosine), false, &call())?;
        let metadata: Vec<Document> = (0..50).map(|i| document(json!({"year": 2000 + i, "lang": "en"}))).collect();
        assert_eq!(put(&docs, &keys(0..50), 1, Some(&metadata))?, 50);
        let row = docs.get(&keys(7..8))?.remove(0).expect("it is there");
        assert_eq!((row.vector, &row.metadata), (values(50, 4, 1)[28..32].to_vec(), &metadata[7]));
        assert_eq!(row.created_at, row.updated_at);
        assert_eq!(docs.get(&[Key::Int(50), "7".into()])?, [None, None]);
        let again = put(&docs, &[Key::Int(7), Key::Int(60), Key::Int(7)], 2, None)?;
        let row_again = docs.get(&keys(7..8))?.remove(0).expect("it is there");
        assert_eq!((again, row_again.created_at, row_again.metadata), (2, row.created_at, Document::empty()));
        assert_eq!(row_again.vector, values(3, 4, 2)[8..]);
        assert_eq!(docs.delete(&[Key::Int(60), Key::Int(61), Key::Int(60)], &call())?, 1);
        assert_eq!(docs.len()?, 50);
        docs.set_meta(&object(json!({"model": "e5"})), &call())?;
        let before = everything(&store);
        store.close()?;
        if is_durable {
            assert_eq!(everything(&writer(&path)?), before);
            assert_eq!(everything(&reader(&path)?), before);
        }
    }
    Ok(())
}

#[test]
fn searches_filter_inside_and_equal_scores_are_ordered_by_key() -> Outcome {
    let store = Store::in_memory(StoreOptions::default());
    let docs = store.create_collection("docs", Schema::new(2, Metric::Dot), false, &call())?;
    let names = ["d", "b", "a", "c", "e"];
    let these: Vec<Key> = names.iter().map(|name| Key::from(*name)).collect();
    let metadata: Vec<Document> = (0..5).map(|i| document(json!({"even": i % 2 == 0, "n": i}))).collect();
    let vectors = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 5.0, 0.5, 0.0];
    docs.upsert(&these, &Rows::new(&vectors, 2)?, Some(&metadata), &call())?;
    let query = [1.0, 0.0];
    let found = |search: &StoreSearch<'_>| -> Result<Vec<Key>, Error> {
        let hits = docs.search(&Rows::new(&query, 2)?, search, &call())?.remove(0);
        Ok(hits.into_iter().map(|hit| hit.key).collect())
    };
    for k in 0..7 {
        let expected: Vec<Key> = ["a", "b", "c", "d", "e"].iter().take(k).map(|name| Key::from(*name)).collect();
        assert_eq!(found(&StoreSearch::top(k))?, expected);
    }
    let even = filter(json!({"even": true}));
    let search = StoreSearch { filter: Some(&even), ..StoreSearch::top(10) };
    assert_eq!(found(&search)?, ["a".into(), "d".into(), "e".into()]);
    assert_eq!(found(&StoreSearch { min_score: Some(0.75), ..search })?, ["a".into(), "d".into()]);
    let search = StoreSearch { metadata: true, vectors: true, ..StoreSearch::top(1) };
    let hit = docs.search(&Rows::new(&query, 2)?, &search, &call())?.remove(0).remove(0);
    assert_eq!((hit.score, hit.distance, &*hit.collection), (1.0, -1.0, "docs"));
    assert_eq!((hit.metadata, hit.vector), (Some(metadata[2].clone()), Some(vec![1.0, 0.0])));
    assert_eq!((docs.count(&even, &call())?, docs.delete_where(&even, &call())?, docs.len()?), (3, 3, 2));
    Ok(())
}

#[test]
fn scans_go_page_by_page_in_the_order_of_keys() -> Outcome {
    let store = Store::in_memory(StoreOptions::default());
    let docs = store.create_collection("docs", Schema::new(2, Metric::L2), false, &call())?;
    let mut all: Vec<Key> = keys(-5..20);
    all.extend((0..10u8).map(|i| Key::from(&[i, i][..])));
    all.extend((0..10).map(|i| Key::from(format!("k{i}").as_str())));
    let shuffled: Vec<Key> = (0..45).map(|i| all[i * 7 % 45].clone()).collect();
    put(&docs, &shuffled, 3, None)?;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = docs.scan(None, after.as_ref(), 4)?;
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        seen.extend(page.into_iter().map(|row| row.key));
    }
    assert_eq!(seen, all);
    Ok(())
}

#[test]
fn several_collections_give_one_ranking() -> Outcome {
    let store = Store::in_memory(StoreOptions::default());
    let (a, b) = (Schema::new(2, Metric::Dot), Schema::new(3, Metric::Dot));
    for name in ["zebra", "apple", "middle"] {
        let collection = store.create_collection(name, a, false, &call())?;
        collection.upsert(&keys(1..3), &Rows::new(&[1.0, 0.0, 2.0, 0.0], 2)?, None, &call())?;
    }
    let query = [1.0, 0.0];
    let queries = Rows::new(&query, 2)?;
    let hits = store.search(&queries, Some(&["zebra", "apple", "nowhere"]), &StoreSearch::top(3), &call())?.remove(0);
    let found: Vec<(f32, &str, Key)> = hits.iter().map(|hit| (hit.score, &*hit.collection, hit.key.clone())).collect();
    assert_eq!(found, [(2.0, "apple", Key::Int(2)), (2.0, "zebra", Key::Int(2)), (1.0, "apple", Key::Int(1))]);
    assert_eq!(store.search(&queries, None, &StoreSearch::top(10), &call())?[0].len(), 6);
    assert!(store.search(&queries, Some(&[]), &StoreSearch::top(10), &call())?[0].is_empty());
    store.create_collection("wide", b, false, &call())?;
    let error = store.search(&queries, None, &StoreSearch::top(1), &call()).expect_err("another dimension");
    assert!(matches!(error, Error::Dimension { expected: 3, given: 2 }), "{error}");
    store.create_collection("far", Schema::new(2, Metric::L2), false, &call())?;
    let error = store.search(&queries, Some(&["apple", "far"]), &StoreSearch::top(1), &call()).expect_err("metrics");
    assert!(error.to_string().contains("dot") && error.to_string().contains("l2"), "{error}");
    Ok(())
}

#[test]
fn bad_input_is_refused_and_changes_nothing() -> Outcome {
    let directory = tempfile::tempdir()?;
    for store in [Store::in_memory(StoreOptions::default()), writer(&directory.path().join("store"))?] {
        let docs = store.create_collection("docs", Schema::new(2, Metric::Cosine), false, &call())?;
        put(&docs, &keys(0..3), 1, None)?;
        let before = everything(&store);
        let deep = (0..70).fold(json!(1), |inside, _| json!([inside]));
        let long = "k".repeat(65_537);
        let one = |key: &str| docs.upsert(&[Key::from(key)], &Rows::new(&[1.0, 2.0], 2)?, None, &call());
        let with = |metadata: Value| {
            docs.upsert(&keys(0..1), &Rows::new(&[1.0, 2.0], 2)?, Some(&[Document::new(&metadata, 0)?]), &call())
        };
        let rows = |values: &[f32], dim| docs.upsert(&keys(0..2), &Rows::new(values, dim)?, None, &call());
        let create = |name: &str, dim| store.create_collection(name, Schema::new(dim, Metric::Dot), false, &call());
        let refused: Vec<(&str, Result<(), Error>)> = vec![
            ("empty", one("").map(drop)),
            ("65537", one(&long).map(drop)),
            ("deep", with(json!({ "a": deep })).map(drop)),
            ("16777216", with(json!({"a": "x".repeat(17 << 20)})).map(drop)),
            ("dimension", rows(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3).map(drop)),
            ("row 1, column 0", rows(&[1.0, 2.0, f32::NAN, 4.0], 2).map(drop)),
            ("row 0, column 1", rows(&[1.0, f32::INFINITY, 1.0, 1.0], 2).map(drop)),
            ("keys", rows(&[1.0, 2.0], 2).map(drop)),
            (
                "already in",
                docs.put(&keys(2..4), &Rows::new(&[1.0; 4], 2)?, None, OnConflict::Error, &call()).map(drop),
            ),
            (
                "given twice",
                docs.put(&[9.into(), 9.into()], &Rows::new(&[1.0; 4], 2)?, None, OnConflict::Error, &call()).map(drop),
            ),
            ("exists", create("docs", 2).map(drop)),
            (
                "another schema",
                store.create_collection("docs", Schema::new(3, Metric::Cosine), true, &call()).map(drop),
            ),
            ("between 1", create("none", 0).map(drop)),
            ("between 1", create("wide", 70_000).map(drop)),
            ("'/'", create("../x", 2).map(drop)),
            ("\\0", create("a\0b", 2).map(drop)),
            ("1048576 bytes", create(&"n".repeat(1 << 20), 2).map(drop)),
            ("empty", create("", 2).map(drop)),
            ("directory", create("..", 2).map(drop)),
            ("no collection", store.collection("nowhere").map(drop)),
        ];
        for (hint, result) in refused {
            let error = result.expect_err(hint);
            assert!(error.to_string().contains(hint), "{error} does not say {hint}");
        }
        assert_eq!(everything(&store), before);
        assert!(!store.drop_collection("nowhere", &call())?);
        assert_eq!(docs.put(&keys(2..4), &Rows::new(&[1.0; 4], 2)?, None, OnConflict::Skip, &call())?, 1);
    }
    assert_eq!(std::fs::read_dir(directory.path())?.count(), 1, "something was written outside");
    Ok(())
}

#[test]
fn a_dropped_collection_is_gone_and_a_new_one_of_that_name_is_another() -> Outcome {
    let store = Store::in_memory(StoreOptions::default());
    let schema = Schema::new(2, Metric::Dot);
    let old = store.create_collection("docs", schema, false, &call())?;
    put(&old, &keys(0..3), 1, None)?;
    assert!(store.drop_collection("docs", &call())?);
    assert!(matches!(old.len(), Err(Error::CollectionNotFound(name)) if name == "docs"));
    let new = store.create_collection("docs", schema, false, &call())?;
    assert!(new.is_empty()? && old.len().is_err() && put(&old, &keys(0..1), 1, None).is_err());
    Ok(())
}

#[test]
fn every_codec_gives_the_same_rows_after_compacting_and_opening() -> Outcome {
    let directory = tempfile::tempdir()?;
    for &codec in nearfield::Codec::ALL {
        let metric = if codec.name() == "b1" { Metric::Hamming } else { Metric::L2 };
        let path = directory.path().join(codec.name());
        let store = writer(&path)?;
        let schema = Schema { codec, ..Schema::new(5, metric) };
        let docs = store.create_collection("docs", schema, false, &call())?;
        let values: Vec<f32> = match codec.name() {
            "b1" => (0..100).map(|i| (i * i % 3 % 2) as f32).collect(),
            "u8" => (0..100).map(|i| (i * 7 % 256) as f32).collect(),
            _ => (0..100).map(|i| (i as f32 * 0.37).sin()).collect(),
        };
        docs.upsert(&keys(0..20), &Rows::new(&values, 5)?, None, &call())?;
        let before = everything(&store);
        store.compact(&call())?;
        assert_eq!(everything(&store), before, "{codec:?}");
        store.close()?;
        assert_eq!(everything(&writer(&path)?), before, "{codec:?}");
    }
    Ok(())
}

/// Whether something has come down to what it is in a fresh store, give or take a tenth.
fn is_back(old: u64, fresh: u64) -> bool {
    old * 10 <= fresh * 11
}

fn memory(store: &Store) -> Result<u64, Error> {
    Ok(store.stats()?.collections[0].memory_bytes)
}

#[test]
fn disk_and_memory_come_back_after_deletes_and_compacting() -> Outcome {
    for schema in [Schema::new(64, Metric::L2), graph(64)] {
        let directory = tempfile::tempdir()?;
        let (path, fresh_path) = (directory.path().join("old"), directory.path().join("fresh"));
        let store = writer(&path)?;
        let docs = store.create_collection("docs", schema, false, &call())?;
        for round in 0..10 {
            put(&docs, &keys(round * 2_000..(round + 1) * 2_000), round as usize, None)?;
        }
        store.checkpoint(&call())?;
        docs.delete(&keys(1_500..20_000), &call())?;
        store.compact(&call())?;
        let fresh = writer(&fresh_path)?;
        put(&fresh.create_collection("docs", schema, false, &call())?, &keys(0..1_500), 0, None)?;
        fresh.compact(&call())?;
        let (old, new) = (store.stats()?, fresh.stats()?);
        assert!(is_back(old.disk_bytes, new.disk_bytes), "{} bytes, {} when fresh", old.disk_bytes, new.disk_bytes);
        let (held, wanted) = (memory(&store)?, memory(&fresh)?);
        assert!(is_back(held, wanted), "{held} bytes, {wanted} when fresh");
        assert_eq!((old.collections[0].rows, old.collections[0].dead_rows), (1_500, 0));
        assert!(store.verify(&call())?.damaged.is_empty());
    }
    Ok(())
}

#[test]
fn disk_and_memory_of_replaced_rows_come_back_by_themselves() -> Outcome {
    let directory = tempfile::tempdir()?;
    let (path, fresh_path) = (directory.path().join("old"), directory.path().join("fresh"));
    let fresh = writer(&fresh_path)?;
    put(&fresh.create_collection("docs", graph(32), false, &call())?, &keys(0..1_500), 7, None)?;
    fresh.flush_and_link(&call())?;
    let store = writer(&path)?;
    let docs = store.create_collection("docs", graph(32), false, &call())?;
    for round in 0..8 {
        put(&docs, &keys(0..1_500), round, None)?;
        store.checkpoint(&call())?;
    }
    // Half of the slots may be of rows that are gone; the thread that sees to it has its own time.
    let most = 2 * memory(&fresh)?;
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_back(memory(&store)?, most) {
        assert!(Instant::now() < deadline, "{} bytes, {most} are wanted", memory(&store)?);
        std::thread::sleep(Duration::from_millis(20));
    }
    // The files of the manifest before stay for one checkpoint.
    docs.set_meta(&object(json!({"round": 8})), &call())?;
    store.checkpoint(&call())?;
    docs.set_meta(&object(json!({"round": 9})), &call())?;
    store.checkpoint(&call())?;
    fresh.compact(&call())?;
    let stats = fresh.stats()?;
    let files = stats.segment_bytes + stats.log_bytes + 4 * 8192;
    assert!(stats.disk_bytes <= files, "what was linked before has nothing else beside it: {stats:?}");
    let (old, new) = (store.stats()?.disk_bytes, stats.disk_bytes);
    assert!(is_back(old, 2 * new), "{old} bytes, {new} when fresh");
    assert_eq!(docs.len()?, 1_500);
    Ok(())
}

#[test]
fn a_backup_is_a_store_of_its_own() -> Outcome {
    let directory = tempfile::tempdir()?;
    let copy = directory.path().join("copy");
    for (i, store) in
        [Store::in_memory(StoreOptions::default()), writer(&directory.path().join("store"))?].iter().enumerate()
    {
        let docs = store.create_collection("docs", Schema::new(3, Metric::Cosine), false, &call())?;
        store.create_collection("empty", Schema::new(3, Metric::Dot), false, &call())?;
        put(&docs, &keys(0..40), 1, None)?;
        docs.delete(&keys(3..9), &call())?;
        let copy = copy.with_extension(i.to_string());
        store.backup(&copy, &call())?;
        assert_eq!(everything(&reader(&copy)?), everything(store));
        let copied = writer(&copy)?;
        put(&copied.collection("docs")?, &keys(100..101), 5, None)?;
        assert!(!docs.contains(&Key::Int(100))?);
        assert!(matches!(store.backup(&copy, &call()), Err(Error::InvalidArgument(_))));
    }
    Ok(())
}

#[test]
fn a_limit_on_memory_refuses_before_it_is_passed() -> Outcome {
    let directory = tempfile::tempdir()?;
    let options = StoreOptions { max_bytes: Some(1 << 20), ..StoreOptions::default() };
    for store in [Store::in_memory(options), Store::open(&directory.path().join("store"), options)?] {
        let docs = store.create_collection("docs", Schema::new(64, Metric::Dot), false, &call())?;
        put(&docs, &keys(0..1_000), 1, None)?;
        let error = put(&docs, &keys(1_000..4_000), 1, None).expect_err("no room");
        assert!(matches!(error, Error::Capacity { .. }), "{error}");
        assert_eq!(docs.len()?, 1_000);
        docs.delete(&keys(0..900), &call())?;
        docs.optimize(&call())?;
        assert_eq!(put(&docs, &keys(2_000..2_500), 1, None)?, 500);
    }
    Ok(())
}

#[test]
fn large_batches_and_long_logs_become_segments() -> Outcome {
    let directory = tempfile::tempdir()?;
    let store = writer(directory.path())?;
    let docs = store.create_collection("docs", Schema::new(256, Metric::Dot), false, &call())?;
    put(&docs, &keys(0..10_000), 1, None)?;
    let stats = &store.stats()?;
    assert_eq!((stats.collections[0].segments, stats.collections[0].logged_rows), (1, 0));
    assert!(stats.log_bytes < 100_000);
    for round in 0..36 {
        put(&docs, &keys(20_000..24_000), round, None)?;
    }
    let stats = &store.stats()?;
    assert!(stats.collections[0].segments >= 1 && stats.log_bytes < 128 << 20, "{stats:?}");
    let before = everything(&store);
    store.close()?;
    let store = writer(directory.path())?;
    assert_eq!(everything(&store), before);
    store.checkpoint(&call())?;
    assert_eq!(store.stats()?.collections[0].logged_rows, 0);
    assert_eq!(everything(&reader(directory.path())?), before);
    Ok(())
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() -> Outcome {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("notes.txt");
    std::fs::write(&file, "words")?;
    for path in [directory.path(), &file] {
        for opened in [writer(path), reader(path)] {
            let error = opened.err().expect("no store");
            assert!(matches!(error, Error::NotAStore { .. } | Error::Io { .. }), "{error}");
        }
    }
    assert_eq!(std::fs::read_dir(directory.path())?.count(), 1);
    let nowhere = directory.path().join("nowhere");
    assert!(matches!(reader(&nowhere), Err(Error::Io { .. })));
    let options = StoreOptions { create: false, ..StoreOptions::default() };
    assert!(matches!(Store::open(&nowhere, options), Err(Error::Io { .. })));
    let options = StoreOptions { auto_compact: Some(1.5), ..StoreOptions::default() };
    assert!(matches!(Store::open(&nowhere, options), Err(Error::InvalidArgument(_))));
    assert!(!nowhere.exists());
    Ok(())
}

#[test]
fn what_is_mostly_deleted_is_written_again_when_the_store_is_opened() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store");
    let with = |auto_compact| Store::open(&path, StoreOptions { auto_compact, ..StoreOptions::default() });
    let store = with(None)?;
    let docs = store.create_collection("docs", Schema::new(16, Metric::L2), false, &call())?;
    put(&docs, &keys(0..1_000), 1, None)?;
    store.checkpoint(&call())?;
    docs.delete(&keys(0..600), &call())?;
    let before = everything(&store);
    store.close()?;
    for (auto_compact, dead) in [(None, 600), (Some(0.7), 600), (Some(0.5), 0)] {
        let store = with(auto_compact)?;
        assert_eq!(store.stats()?.collections[0].dead_rows, dead, "{auto_compact:?}");
        assert_eq!(everything(&store), before);
        store.close()?;
    }
    Ok(())
}

#[test]
fn a_patch_goes_to_all_rows_or_there_is_one_for_each() -> Outcome {
    let store = Store::in_memory(StoreOptions::default());
    let docs = store.create_collection("docs", Schema::new(2, Metric::Dot), false, &call())?;
    let metadata: Vec<Document> = (0..3).map(|n| document(json!({"n": n, "old": true}))).collect();
    put(&docs, &keys(0..3), 1, Some(&metadata))?;
    let said = || -> Result<Vec<String>, Error> {
        let rows = docs.scan(None, None, 9)?;
        Ok(rows.iter().map(|row| String::from_utf8_lossy(row.metadata.bytes()).into_owned()).collect())
    };
    assert_eq!(docs.set_metadata(&[0.into(), 9.into()], &[object(json!({"n": null}))], false, &call())?, 1);
    assert_eq!(said()?[0], r#"{"n":null,"old":true}"#);
    // What is said twice of one row is said in that order.
    let patches = [object(json!({"a": 1})), object(json!({"b": 2})), object(json!({"b": 3}))];
    assert_eq!(docs.set_metadata(&[1.into(), 2.into(), 1.into()], &patches, true, &call())?, 2);
    assert_eq!(said()?, [r#"{"n":null,"old":true}"#, r#"{"b":3}"#, r#"{"b":2}"#]);
    assert!(docs.set_metadata(&keys(0..3), &patches[..2], true, &call()).is_err());
    docs.change_meta(|meta| drop(meta.insert("model".to_owned(), json!("e5"))), &call())?;
    assert_eq!(docs.meta()?, object(json!({"model": "e5"})));
    Ok(())
}

#[test]
fn a_filter_that_is_used_again_follows_every_change() -> Outcome {
    let store = Store::in_memory(StoreOptions::default());
    let (a, b) = (Schema::new(2, Metric::Dot), Schema::new(2, Metric::L2));
    let (docs, other) =
        (store.create_collection("docs", a, false, &call())?, store.create_collection("other", b, false, &call())?);
    let yes = filter(json!({"yes": true}));
    let metadata = |flags: &[bool]| flags.iter().map(|yes| document(json!({ "yes": yes }))).collect::<Vec<_>>();
    let found = |collection: &Collection| -> Result<Vec<Key>, Error> {
        let search = StoreSearch { filter: Some(&yes), stamps: true, ..StoreSearch::top(9) };
        let mut hits = collection.search(&Rows::new(&[0.0, 0.0], 2)?, &search, &call())?.remove(0);
        assert!(hits.iter().all(|hit| hit.stamps.is_some_and(|(created, updated)| created <= updated)));
        hits.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(hits.into_iter().map(|hit| hit.key).collect())
    };
    put(&docs, &keys(0..3), 1, Some(&metadata(&[true, false, true])))?;
    put(&other, &keys(0..3), 1, Some(&metadata(&[false, true, false])))?;
    for _ in 0..2 {
        assert_eq!((found(&docs)?, found(&other)?), (vec![0.into(), 2.into()], vec![1.into()]));
    }
    docs.set_metadata(&keys(1..2), &[object(json!({"yes": true}))], false, &call())?;
    assert_eq!(found(&docs)?, keys(0..3));
    docs.delete(&keys(0..2), &call())?;
    docs.optimize(&call())?;
    assert_eq!(found(&docs)?, keys(2..3));
    Ok(())
}
