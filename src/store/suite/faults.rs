//! Any call may fail, once or from then on.

use super::*;
use crate::error::Error;
use crate::storage::vfs::sim::{Dice, Fault, Plan, State, crash};

/// A store with some of everything in it, closed.
fn prepared() -> (State, Model) {
    let (disk, mut model) = (SimDisk::default(), Model::new());
    let store = writer(&disk).expect("an empty disk");
    let keys = |range: std::ops::Range<i64>| range.map(Key::Int).collect::<Vec<_>>();
    for change in [
        Change::Create("docs"),
        Change::Put("docs", keys(0..30), 1, OnConflict::Replace),
        Change::Checkpoint,
        Change::Put("docs", keys(3..9), 2, OnConflict::Replace),
        Change::Checkpoint,
        Change::Delete("docs", keys(5..7)),
        Change::Put("docs", keys(40..43), 3, OnConflict::Replace),
    ] {
        model.apply(&store, &disk, &change);
    }
    drop(store);
    (disk.state(), model)
}

fn changes() -> Vec<Change> {
    let keys = |range: std::ops::Range<i64>| range.map(Key::Int).collect::<Vec<_>>();
    let put = |keys| Change::Put("docs", keys, 11, OnConflict::Replace);
    vec![
        Change::Put("docs", keys(1..4), 7, OnConflict::Replace),
        Change::Put("docs", keys(2..35), 8, OnConflict::Replace),
        Change::Delete("docs", keys(0..9)),
        Change::Together("docs", vec![put(keys(1..3)), Change::Delete("docs", keys(3..8)), put(keys(28..32))]),
        Change::Create("images"),
        Change::Drop("docs"),
        Change::Meta("docs", 5),
        Change::Checkpoint,
        Change::Compact,
    ]
}

fn is_typed(error: &Error) -> bool {
    matches!(error, Error::Io { .. } | Error::NoSpace { .. } | Error::Poisoned { .. })
}

/// Does `change` with a fault under way, then another without, then opens the store again. Whether the fault was ever met.
fn try_one(start: &(State, Model), change: &Change, plan: Plan, sync: SyncMode) -> bool {
    let what = format!("{change:?}, {plan:?}, {sync:?}");
    let disk = SimDisk::of(start.0.clone());
    let mut model = start.1.clone();
    let store = open(&disk, Mode::ReadWrite, sync).expect("a good disk");
    disk.fail(Some(plan));
    let (before, after) = (model.now().clone(), model.announce(change, &disk));
    let result = change.apply(&store);
    let met = disk.calls() > plan.call;
    let now = if result.is_ok() { after.clone() } else { before };
    if let Err(error) = &result {
        assert!(is_typed(error), "{what}: {error}");
    }
    assert_eq!(content(&store), now, "{what}: {result:?}");
    disk.fail(None);
    model.states.push(now.clone());
    // The next call works, or says that only opening again helps.
    let another = Change::Put("docs", vec![Key::Int(1000)], 9, OnConflict::Replace);
    let next = model.announce(&another, &disk);
    let exists = now.contains_key("docs");
    let possible = match another.apply(&store) {
        Ok(()) => vec![next],
        Err(Error::CollectionNotFound(_)) if !exists => vec![now],
        Err(Error::Poisoned { .. }) => {
            assert_eq!(content(&store), now, "{what}");
            vec![now, after]
        }
        Err(error) => panic!("{what}, then: {error}"),
    };
    drop(store);
    let again = content(&writer(&disk).unwrap_or_else(|error| panic!("{what}, opened again: {error}")));
    assert!(possible.contains(&again), "{what}: {result:?}, opened again: {again:?}\nexpected {possible:?}");
    for seed in 0..3 {
        // What a writer has seen stays, even if the power goes now.
        let disk = SimDisk::of(crash(&disk.state(), &mut Dice(seed)));
        assert_eq!(content(&reader(&disk).expect("a good disk")), again, "{what}, after a crash");
    }
    met
}

#[test]
fn whichever_call_fails_the_state_is_that_before_or_after() {
    let start = prepared();
    for sync in [SyncMode::Batch, SyncMode::Flush] {
        for change in changes() {
            for fault in Fault::ALL {
                for sticky in [false, true] {
                    // A medium that does less each time than it was asked for comes to an end all the same.
                    let mut call = 0;
                    while try_one(&start, &change, Plan { call, fault, sticky }, sync) {
                        call += 1;
                        assert!(call < 200, "{change:?} takes too many calls");
                    }
                }
            }
        }
    }
}

#[test]
fn whichever_call_of_an_opening_fails_nothing_is_lost() {
    let (state, model) = prepared();
    for fault in Fault::ALL {
        for call in 0.. {
            let disk = SimDisk::of(state.clone());
            disk.fail(Some(Plan { call, fault, sticky: false }));
            let opened = writer(&disk);
            let met = disk.calls() > call;
            disk.fail(None);
            match opened {
                Ok(store) => assert_eq!(&content(&store), model.now(), "{fault:?} {call}"),
                Err(error) => assert!(is_typed(&error), "{error}"),
            }
            assert_eq!(&content(&writer(&disk).expect("a good disk")), model.now(), "{fault:?} {call}, again");
            if !met {
                break;
            }
        }
    }
}

#[test]
fn a_panic_in_a_writer_leaves_the_state_before_it() {
    struct Bomb;
    impl crate::vectors::RowSource for Bomb {
        fn rows(&self) -> usize {
            2
        }
        fn dim(&self) -> usize {
            model::DIM
        }
        fn read(&self, row: usize, out: &mut [f32]) {
            assert!(row == 0, "a bomb");
            out.fill(1.0);
        }
    }
    let (state, mut model) = prepared();
    let disk = SimDisk::of(state);
    let store = writer(&disk).expect("a good disk");
    let docs = store.collection("docs").expect("it is there");
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        docs.upsert(&[Key::Int(1), Key::Int(2)], &Bomb, None, &call())
    }));
    assert!(result.is_err());
    assert_eq!(&content(&store), model.now());
    model.apply(&store, &disk, &Change::Put("docs", vec![Key::Int(1)], 77, OnConflict::Replace));
}
