//! Directories that nobody wrote, and files that somebody changed.

use super::model::try_content;
use super::*;
use crate::error::Error;
use crate::storage::vfs::sim::Dice;

/// A store with segments, deletions, two manifests and a log.
fn sample() -> (SimDisk, model::Content) {
    let (disk, mut model) = (SimDisk::default(), Model::new());
    let store = writer(&disk).expect("an empty disk");
    let keys = |range: std::ops::Range<i64>| range.map(Key::Int).collect::<Vec<_>>();
    for change in [
        Change::Create("docs"),
        Change::Put("docs", keys(0..60), 1, OnConflict::Replace),
        Change::Checkpoint,
        Change::Delete("docs", keys(0..3)),
        Change::Put("docs", keys(50..53), 4, OnConflict::Replace),
        Change::Checkpoint,
        Change::Put("docs", keys(70..72), 5, OnConflict::Replace),
    ] {
        model.apply(&store, &disk, &change);
    }
    drop(store);
    (disk, model.now().clone())
}

#[test]
fn a_flipped_bit_gives_the_same_answer_or_a_typed_error() {
    let (disk, expected) = sample();
    let names = disk.list().expect("a disk");
    assert!(names.iter().filter(|name| name.starts_with("seg-")).count() >= 2, "{names:?}");
    assert!(names.iter().any(|name| name.starts_with("del-")), "{names:?}");
    let mut dice = Dice(5);
    for name in &names {
        let whole = disk.read(name);
        for _ in 0..400 {
            let mut bytes = whole.clone();
            let Some(last) = bytes.len().checked_sub(1) else { break };
            bytes[dice.below(last + 1)] ^= 1 << dice.below(8);
            disk.overwrite(name, bytes);
            check(&disk, &expected, name);
        }
        for length in (0..whole.len()).step_by(whole.len() / 60 + 1) {
            disk.overwrite(name, whole[..length].to_vec());
            check(&disk, &expected, name);
        }
        disk.overwrite(name, whole);
    }
}

/// A damaged file is no reason to say anything false.
fn check(disk: &SimDisk, expected: &model::Content, name: &str) {
    match reader(disk).and_then(|store| try_content(&store)) {
        Ok(found) => {
            // The end of the log cannot be told from a batch that was never finished.
            let is_log = name.starts_with("wal-");
            let rows = |content: &model::Content| content.get("docs").map_or(0, |docs| docs.1.len());
            assert!(found == *expected || is_log && rows(&found) < rows(expected), "{name}");
        }
        Err(Error::Corruption { .. } | Error::FormatVersion { .. }) => {}
        Err(error) => panic!("{name}: {error}"),
    }
}

#[test]
fn a_damaged_newest_manifest_or_segment_is_made_up_for_by_the_one_before() {
    let (disk, expected) = sample();
    let names = disk.list().expect("a disk");
    let newest = names.iter().rfind(|name| name.starts_with("MANIFEST-")).expect("two manifests");
    let newest_segment = names.iter().rfind(|name| name.starts_with("seg-")).expect("segments");
    for name in [newest, newest_segment] {
        let whole = disk.read(name);
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 8;
        disk.overwrite(name, bytes);
        let open = |mode| {
            let options = StoreOptions { mode, verify: true, ..StoreOptions::default() };
            Store::on(Arc::new(disk.clone()), options, LIMITS).expect("the one before")
        };
        assert_eq!(content(&open(Mode::Read)), expected, "{name}");
        let store = open(Mode::ReadWrite);
        assert_eq!(content(&store), expected, "{name}");
        assert!(!store.verify(&call()).expect("a disk").damaged.is_empty(), "{name}");
        drop(store);
        disk.overwrite(name, whole);
    }
    let store = writer(&disk).expect("a whole store");
    assert!(store.verify(&call()).expect("a disk").damaged.is_empty());
}

#[test]
fn damage_that_opening_does_not_see_is_found_before_it_is_believed() {
    let (disk, mut model) = (SimDisk::default(), Model::new());
    let store = writer(&disk).expect("an empty disk");
    let keys: Vec<Key> = (0..3000).map(Key::Int).collect();
    for change in [Change::Create("docs"), Change::Put("docs", keys.clone(), 1, OnConflict::Replace), Change::Compact] {
        model.apply(&store, &disk, &change);
    }
    drop(store);
    let name = disk.list().expect("a disk").into_iter().find(|name| name.starts_with("seg-")).expect("a segment");
    let whole = disk.read(&name);
    let (mut errors, mut dice) = (0, Dice(3));
    for _ in 0..60 {
        let mut bytes = whole.clone();
        bytes[4096 + dice.below(whole.len() - 4096)] ^= 1;
        disk.overwrite(&name, bytes);
        let docs = reader(&disk).and_then(|store| store.collection("docs"));
        let docs = match docs {
            Err(Error::Corruption { .. }) => continue,
            other => other.expect("a store"),
        };
        for key in &keys {
            match docs.get(std::slice::from_ref(key)) {
                Ok(rows) => assert_eq!(rows[0].as_ref().map(|row| &row.key), Some(key)),
                Err(error) => {
                    assert!(matches!(&error, Error::Corruption { .. }), "{error}");
                    errors += 1;
                }
            }
        }
    }
    assert!(errors > 0, "no block of keys was damaged");
}

#[test]
fn a_key_in_two_segments_is_found_by_verify() {
    let (disk, mut model) = (SimDisk::default(), Model::new());
    let store = writer(&disk).expect("an empty disk");
    for change in [
        Change::Create("docs"),
        Change::Put("docs", (0..60).map(Key::Int).collect(), 1, OnConflict::Replace),
        Change::Checkpoint,
    ] {
        model.apply(&store, &disk, &change);
    }
    store.close().expect("a good disk");
    let verify = || writer(&disk).expect("a store").verify(&call()).expect("a disk").damaged;
    assert!(verify().is_empty());
    let loaded = recover::load(&disk, false).expect("a store");
    let mut manifest = loaded.manifest;
    let collection = &mut manifest.collections[0];
    let schema = collection.schema;
    let file = 900;
    let row = batch::Row { key: Key::Int(17), created: 1, updated: 1, metadata: Document::empty() };
    let values = |_| Ok(vec![1.0; model::DIM]);
    let input = segment::Input { collection: collection.id, schema: &schema, rows: &[Some(row)], values: &values };
    let name = segment::write(&disk, file, &input).expect("room");
    let segment = manifest::FileRecord::new(file, name.seal);
    collection.segments.push(manifest::SegmentRecord { segment, rows: 1, deletions: None });
    manifest.generation += 1;
    manifest.publish(&disk).expect("room");
    let damaged = verify();
    assert!(matches!(&damaged[..], [Error::Corruption { what, .. }] if what.contains("17")), "{damaged:?}");
}

#[test]
fn a_directory_with_other_things_in_it_is_left_alone() {
    let disk = SimDisk::default();
    disk.overwrite("thesis.txt", b"words".to_vec());
    for mode in [Mode::ReadWrite, Mode::Read] {
        let error = open(&disk, mode, SyncMode::Batch).err().expect("no store");
        assert!(matches!(&error, Error::NotAStore { what, .. } if what.contains("thesis.txt")), "{error}");
    }
    assert_eq!((disk.list().expect("a disk").len(), disk.calls()), (1, 0));
}

#[test]
fn a_missing_file_is_an_error_unless_nothing_needs_it() {
    let names = sample().0.list().expect("a disk");
    let mut errors = 0;
    for name in names.iter().filter(|name| *name != "LOCK") {
        let (disk, expected) = sample();
        disk.remove(name).expect("it is there");
        match reader(&disk) {
            // What only the manifest before needs; and without the newest manifest, that one leads to the same.
            Ok(store) => assert_eq!(content(&store), expected, "{name} is missing, and nobody noticed"),
            Err(Error::NotAStore { .. }) => assert_eq!(name, "FORMAT"),
            Err(error) => {
                assert!(matches!(error, Error::Corruption { .. }), "{name}: {error}");
                errors += 1;
            }
        }
    }
    let newest = names.iter().rfind(|name| name.starts_with("wal-")).expect("a log");
    let (disk, _) = sample();
    disk.remove(newest).expect("it is there");
    assert!(reader(&disk).is_err() && errors > 0);
}
