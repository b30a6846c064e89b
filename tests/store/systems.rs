//! What the systems do that this store is to replace, row by row. The systems: a table store over a dynamic vector type (tables), a
//! directory of collections (directory), a record store (records), and the string-keyed store of a search engine (engine).

use super::*;

#[test]
fn tables_have_frozen_schemas_opaque_keys_json_stamps_and_two_backends() -> Outcome {
    let directory = tempfile::tempdir()?;
    for store in [Store::in_memory(StoreOptions::default()), writer(directory.path())?] {
        for (i, &metric) in Metric::ALL.iter().enumerate() {
            let schema = Schema::new(2 + i, metric);
            let table = store.create_collection(metric.name(), schema, false, &call())?;
            assert_eq!((table.schema(), schema.index), (schema, IndexKind::Flat));
        }
        let table = store.collection("l2")?;
        let key = Key::from(&[0u8, 255, 10][..]);
        table.upsert(
            std::slice::from_ref(&key),
            &Rows::new(&[1.0; 4], 4)?,
            Some(&[object(json!({"a": [1, null]}))]),
            &call(),
        )?;
        let row = table.get(std::slice::from_ref(&key))?.remove(0).expect("it is there");
        assert!(row.created_at > 1_600_000_000_000 && row.updated_at == row.created_at);
        let delete = || table.delete(std::slice::from_ref(&key), &call());
        assert_eq!((delete()?, delete()?), (1, 0));
        let stats = store.stats()?;
        assert_eq!(stats.collections.iter().map(|table| table.rows).sum::<usize>(), 0);
    }
    assert_eq!(writer(directory.path())?.collections()?.len(), Metric::ALL.len());
    Ok(())
}

#[test]
fn directory_many_collections_with_meta_created_and_dropped_idempotently_and_listed_in_order() -> Outcome {
    let directory = tempfile::tempdir()?;
    let store = writer(directory.path())?;
    for name in ["b", "a", "c", "a"] {
        store.create_collection(name, Schema::new(2, Metric::Cosine), true, &call())?;
    }
    assert_eq!(store.collections()?, ["a", "b", "c"]);
    assert_eq!([store.drop_collection("b", &call())?, store.drop_collection("b", &call())?], [true, false]);
    store.collection("a")?.set_meta(&object(json!({"model": "e5", "of": {"dim": 2}})), &call())?;
    store.close()?;
    let store = reader(directory.path())?;
    assert_eq!(store.collection("a")?.meta()?, object(json!({"model": "e5", "of": {"dim": 2}})));
    assert_eq!(store.collections()?, ["a", "c"]);
    Ok(())
}

#[test]
fn directory_batches_are_all_or_nothing_and_synced_one_by_one_or_on_flush() -> Outcome {
    let directory = tempfile::tempdir()?;
    for (i, sync) in [SyncMode::Batch, SyncMode::Flush].into_iter().enumerate() {
        let path = directory.path().join(i.to_string());
        let store = Store::open(&path, StoreOptions { sync, ..StoreOptions::default() })?;
        let docs = store.create_collection("docs", Schema::new(2, Metric::Dot), false, &call())?;
        put(&docs, &keys(0..5), 1, None)?;
        let half = [1.0, 1.0, f32::NAN, 1.0];
        assert!(docs.upsert(&keys(3..5), &Rows::new(&half, 2)?, None, &call()).is_err());
        let before = everything(&store);
        store.flush(&call())?;
        store.close()?;
        assert_eq!(everything(&reader(&path)?), before);
    }
    Ok(())
}

#[test]
fn directory_filters_by_equality_glob_and_lists_and_deletes_by_filter() -> Outcome {
    let store = Store::in_memory(StoreOptions::default());
    let docs = store.create_collection("docs", Schema::new(2, Metric::Dot), false, &call())?;
    let paths = ["src/a.rs", "src/b.rs", "docs/a.md"];
    let metadata: Vec<Metadata> = paths.iter().map(|path| object(json!({ "path": path }))).collect();
    put(&docs, &keys(0..3), 1, Some(&metadata))?;
    let count = |json| docs.count(&filter(json));
    assert_eq!(count(json!({"path": "src/a.rs"}))?, 1);
    assert_eq!(count(json!({"path": {"$glob": "src/*.rs"}}))?, 2);
    assert_eq!(count(json!({"path": {"$in": ["docs/a.md", "src/b.rs", "none"]}}))?, 2);
    assert_eq!(docs.delete_where(&filter(json!({"path": {"$glob": "src/*"}})), &call())?, 2);
    assert_eq!(docs.scan(None, None, 10)?.len(), 1);
    Ok(())
}

#[test]
fn directory_the_footprint_counts_rows_dead_rows_and_bytes_and_compaction_brings_them_down() -> Outcome {
    let directory = tempfile::tempdir()?;
    let store = writer(directory.path())?;
    let docs = store.create_collection("docs", Schema::new(16, Metric::Dot), false, &call())?;
    put(&docs, &keys(0..1_000), 1, None)?;
    store.checkpoint(&call())?;
    docs.delete(&keys(0..300), &call())?;
    let (before, stats) = (store.stats()?, docs.stats()?);
    assert_eq!((stats.rows, stats.dead_rows, stats.segments), (700, 300, 1));
    store.compact(&call())?;
    let (after, stats) = (store.stats()?, docs.stats()?);
    assert_eq!((stats.rows, stats.dead_rows, stats.segments), (700, 0, 1));
    assert!(after.segment_bytes < before.segment_bytes && after.disk_bytes < before.disk_bytes);
    // By itself, once more than half of a segment is dead.
    docs.delete(&keys(300..800), &call())?;
    store.checkpoint(&call())?;
    assert_eq!((docs.stats()?.rows, docs.stats()?.dead_rows), (200, 0));
    Ok(())
}

#[test]
fn records_are_safe_to_share_between_threads() -> Outcome {
    let directory = tempfile::tempdir()?;
    let store = writer(directory.path())?;
    let docs = store.create_collection("docs", Schema::new(4, Metric::Dot), false, &call())?;
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|thread| {
                let docs = &docs;
                scope.spawn(move || {
                    (0..20).try_for_each(|i| {
                        put(docs, &keys(thread * 100 + i * 5..thread * 100 + i * 5 + 5), 1, None).map(drop)
                    })
                })
            })
            .collect();
        let mut seen = 0;
        while writers.iter().any(|writer| !writer.is_finished()) {
            let now = docs.len()?;
            assert!(now >= seen && now % 5 == 0, "half of a batch");
            seen = now;
        }
        writers.into_iter().try_for_each(|writer| writer.join().expect("no panic"))
    })?;
    assert_eq!((docs.len()?, docs.is_empty()?), (400, false));
    Ok(())
}

#[test]
fn engine_string_ids_keep_their_rows_over_slots_that_move() -> Outcome {
    let directory = tempfile::tempdir()?;
    let store = writer(directory.path())?;
    let docs = store.create_collection("docs", Schema::new(4, Metric::Cosine), false, &call())?;
    let names: Vec<Key> = (0..100).map(|i| Key::from(format!("doc-{i}").as_str())).collect();
    put(&docs, &names, 1, None)?;
    docs.delete(&names[..50], &call())?;
    store.compact(&call())?;
    put(&docs, &names[20..30], 2, None)?;
    let before = everything(&store);
    store.close()?;
    let store = writer(directory.path())?;
    assert_eq!(everything(&store), before);
    // Higher is better, and the nearest of a row is itself.
    let docs = store.collection("docs")?;
    for row in docs.scan(None, None, 100)? {
        let hits = docs.search(&Rows::new(&row.vector, 4)?, &StoreSearch::top(60), &call())?.remove(0);
        assert!(hits.is_sorted_by(|a, b| a.score >= b.score) && hits.len() == 60);
        assert!(hits.iter().any(|hit| hit.key == row.key && hit.score > 0.999));
    }
    Ok(())
}
