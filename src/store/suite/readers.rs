//! Others who read while somebody writes.

use super::*;
use crate::error::Error;
use crate::storage::vfs::sim::Dice;
use crate::vectors::{Metric, Rows};

#[test]
fn a_reader_keeps_its_state_until_it_refreshes_and_then_has_the_newest() {
    for seed in 0..30 {
        let (disk, mut model, mut dice) = (SimDisk::default(), Model::new(), Dice(seed));
        let mut store = writer(&disk).expect("an empty disk");
        model.apply(&store, &disk, &Change::Create("docs"));
        let follower = reader(&disk).expect("a store");
        for _ in 0..40 {
            let before = content(&follower);
            let steps = dice.below(4);
            for _ in 0..steps {
                model.apply(&store, &disk, &Change::random(&mut dice));
                if dice.one_in(8) {
                    drop(store);
                    store = writer(&disk).expect("a store");
                }
            }
            assert_eq!(content(&follower), before, "seed {seed}: it moved by itself");
            let calls = disk.calls();
            let is_new = follower.refresh(&call()).expect("a store");
            assert_eq!(disk.calls(), calls, "a reader wrote");
            assert_eq!(&content(&follower), model.now(), "seed {seed}");
            assert!(is_new || &before == model.now(), "seed {seed}: nothing new?");
        }
    }
}

#[test]
fn a_reader_refuses_every_change_and_a_second_writer_is_told_who_has_the_lock() {
    let disk = SimDisk::default();
    let store = writer(&disk).expect("an empty disk");
    store.create_collection("docs", Schema::new(model::DIM, Metric::Dot), false, &call()).expect("a new one");
    let error = writer(&disk).err().expect("a second writer");
    assert!(matches!(error, Error::Locked { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    let follower = reader(&disk).expect("a store");
    let docs = follower.collection("docs").expect("it is there");
    let (key, values) = ([Key::Int(1)], [1.0; model::DIM]);
    let rows = Rows::new(&values, model::DIM).expect("one row");
    let refused: Vec<Result<()>> = vec![
        docs.upsert(&key, &rows, None, &call()).map(drop),
        docs.delete(&key, &call()).map(drop),
        docs.set_meta(&Metadata::new(), &call()),
        docs.set_metadata(&key, &Metadata::new(), true, &call()).map(drop),
        follower.drop_collection("docs", &call()).map(drop),
        follower.create_collection("more", Schema::new(2, Metric::L2), false, &call()).map(drop),
        follower.compact(&call()),
        follower.checkpoint(&call()),
        follower.flush(&call()),
    ];
    for result in refused {
        assert!(matches!(result, Err(Error::ReadOnlyStore(_))), "{result:?}");
    }
    drop(store);
    writer(&disk).expect("the lock is free at once").close().expect("a good disk");
}

#[test]
fn a_closed_store_answers_nothing_and_closing_twice_is_no_error() {
    let disk = SimDisk::default();
    let store = writer(&disk).expect("an empty disk");
    let docs = store.create_collection("docs", Schema::new(2, Metric::Dot), false, &call()).expect("a new one");
    store.close().expect("a good disk");
    store.close().expect("a good disk");
    assert!(matches!(docs.len(), Err(Error::Closed)));
    assert!(matches!(docs.delete(&[Key::Int(1)], &call()), Err(Error::Closed)));
    assert!(matches!(store.stats(), Err(Error::Closed)));
}

#[test]
fn a_segment_stays_as_long_as_a_log_names_it() {
    let (disk, mut model) = (SimDisk::default(), Model::new());
    let keys = |range: std::ops::Range<i64>| range.map(Key::Int).collect::<Vec<_>>();
    let large = Change::Put("docs", keys(0..60), 1, OnConflict::Replace);
    let changes = [
        Change::Create("docs"),
        large.clone(),
        Change::Drop("docs"),
        Change::Create("docs"),
        large,
        Change::Delete("docs", keys(0..60)),
    ];
    for change in changes {
        let store = writer(&disk).expect("a store");
        model.apply(&store, &disk, &change);
    }
    let segments = || disk.list().expect("a disk").iter().filter(|name| name.starts_with("seg-")).count();
    let store = writer(&disk).expect("a store");
    assert_eq!((&content(&store), segments()), (model.now(), 2));
    // The manifest before the first has both in its logs; the one after that has not.
    for left in [2, 1, 0] {
        model.apply(&store, &disk, &Change::Meta("docs", left as i64));
        model.apply(&store, &disk, &Change::Checkpoint);
        assert_eq!(segments(), left);
    }
}
