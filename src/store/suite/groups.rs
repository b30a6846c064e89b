//! Threads that write at the same time.

use super::model::at_once;
use super::*;
use crate::error::Error;
use crate::runtime::Caller;
use crate::storage::vfs::sim::{Fault, Plan};
use crate::vectors::Rows as Values;
use std::sync::atomic::{AtomicBool, Ordering};

/// A store with an empty collection, and a model of it.
fn empty() -> (SimDisk, Store, Model) {
    let (disk, mut model) = (SimDisk::default(), Model::new());
    let store = Store::on(Arc::new(disk.clone()), StoreOptions::default(), Limits::default()).expect("an empty disk");
    model.apply(&store, &disk, &Change::Create("docs"));
    (disk, store, model)
}

fn put(keys: impl IntoIterator<Item = i64>, seed: u64, conflict: OnConflict) -> Change {
    Change::Put("docs", keys.into_iter().map(Key::Int).collect(), seed, conflict)
}

#[test]
fn threads_that_write_at_once_share_one_write_and_one_sync() {
    let (disk, store, mut model) = empty();
    let changes: Vec<Change> = (0..16).map(|i| put([i], i as u64, OnConflict::Replace)).collect();
    let before = disk.calls();
    model.apply(&store, &disk, &changes[0]);
    let alone = disk.calls() - before;
    let (before, log) = (disk.calls(), store.stats().expect("an open store").log_bytes);
    model.apply(&store, &disk, &Change::Together("docs", changes));
    assert_eq!(disk.calls() - before, alone, "sixteen batches cost as much as one");
    assert_eq!(alone, 2, "a write and a sync");
    assert_eq!(store.stats().expect("an open store").log_bytes - log, 4096, "and one page");
    drop(store);
    assert_eq!(&content(&writer(&disk).expect("a good disk")), model.now());
}

#[test]
fn batches_that_share_a_key_are_written_one_after_another() {
    let (disk, store, mut model) = empty();
    let changes =
        [put([1, 2], 1, OnConflict::Replace), put([2, 3], 2, OnConflict::Replace), put([4], 3, OnConflict::Replace)];
    let before = disk.calls();
    assert!(at_once(&store, &changes).iter().all(Result::is_ok));
    assert_eq!(disk.calls() - before, 4, "the third goes with the second");
    for change in &changes {
        let next = model.announce(change, &disk);
        model.states.push(next);
    }
    let keys = |content: &model::Content| {
        content["docs"].1.iter().map(|(key, row)| (key.clone(), row.0.clone())).collect::<Vec<_>>()
    };
    assert_eq!(keys(&content(&store)), keys(model.now()), "the later one stays");
}

#[test]
fn an_error_goes_to_whoever_made_it() {
    let (_, store, _) = empty();
    let results = at_once(
        &store,
        &[
            put([1], 1, OnConflict::Replace),
            put([2, 1], 2, OnConflict::Error),
            put([3], 3, OnConflict::Error),
            put([2], 4, OnConflict::Error),
        ],
    );
    assert!(matches!(&results[1], Err(Error::DuplicateKey(key)) if key == "1"), "{results:?}");
    assert!([0, 2, 3].iter().all(|i| results[*i].is_ok()), "{results:?}");
    assert_eq!(store.collection("docs").and_then(|docs| docs.len()).expect("an open store"), 3);
}

#[test]
fn when_the_sync_fails_all_of_the_group_fail_and_nothing_is_seen() {
    for fault in [Fault::Io, Fault::Forgetful] {
        let (disk, store, model) = empty();
        // The first call is the write.
        disk.fail(Some(Plan { call: 1, fault, sticky: false }));
        let results = at_once(&store, &[0, 1, 2].map(|i| put([i], 1, OnConflict::Replace)));
        assert!(results.iter().all(|result| matches!(result, Err(Error::Io { .. }))), "{results:?}");
        assert_eq!(&content(&store), model.now());
        let refused = put([7], 1, OnConflict::Replace).apply(&store);
        assert!(matches!(refused, Err(Error::Poisoned { .. })), "{refused:?}");
    }
}

#[test]
fn a_group_may_not_pass_what_memory_there_is() {
    let disk = SimDisk::default();
    let options = StoreOptions { max_bytes: Some(6_000), ..StoreOptions::default() };
    let store = Store::on(Arc::new(disk), options, LIMITS).expect("an empty disk");
    Change::Create("docs").apply(&store).expect("a good disk");
    let results = at_once(&store, &[0, 10, 20, 30, 40, 50].map(|i| put(i..i + 9, 1, OnConflict::Replace)));
    let written = results.iter().filter(|result| result.is_ok()).count();
    assert!((1..5).contains(&written), "{results:?}");
    assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(Error::Capacity { .. }))), "{results:?}");
    let docs = store.collection("docs").expect("it was created");
    assert_eq!(docs.len().expect("an open store"), 9 * written);
}

#[test]
fn whoever_stops_waiting_has_written_nothing() {
    struct Impatient(AtomicBool);
    impl Caller for Impatient {
        fn interrupted(&self) -> bool {
            self.0.store(true, Ordering::Relaxed);
            true
        }
    }
    let (_, store, model) = empty();
    let turn = store.inner.desk.writer(&call()).expect("a turn");
    let caller = Impatient(AtomicBool::new(false));
    let docs = store.collection("docs").expect("it was created");
    let rows = Values::new(&[1.0, 2.0, 3.0], model::DIM).expect("one row");
    let stopped = docs.upsert(&[Key::Int(1)], &rows, None, &Call::new(&caller, None));
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    assert!(caller.0.load(Ordering::Relaxed));
    assert_eq!(store.inner.queue.len(), 0);
    drop(turn);
    assert_eq!(&content(&store), model.now());
}

#[test]
fn a_batch_whose_writer_panics_is_refused() {
    let (_, store, _) = empty();
    let batch = queue::Batch { collection: 0, name: "".into(), wanted: changes::Wanted::Delete(Vec::new()) };
    let ticket = store.inner.queue.enter(batch);
    drop(store.inner.queue.take(|_| true));
    assert!(matches!(ticket.result(), Some(Err(Error::Poisoned { .. }))));
}

#[test]
fn many_threads_write_what_they_write() {
    let (disk, store, _) = empty();
    let before = disk.calls();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for i in 0..40 {
                    // Two threads at a time fight for a key.
                    let keys = [thread * 100 + i, -1 - i - 100 * (thread / 2)];
                    put(keys, thread as u64, OnConflict::Replace).apply(store).expect("a good disk");
                }
            });
        }
    });
    assert!(disk.calls() - before <= 2 * 8 * 40, "never more than a write and a sync for each");
    let seen = content(&store);
    assert_eq!(seen["docs"].1.len(), 8 * 40 + 4 * 40);
    drop(store);
    assert_eq!(content(&writer(&disk).expect("a good disk")), seen);
}
