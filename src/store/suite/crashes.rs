//! The power goes, anywhere, and comes back.

use super::*;
use crate::error::Error;
use crate::storage::vfs::sim::{Dice, Moment, State, crash};
use model::{Content, check_searches};
use std::ops::RangeInclusive;

/// States that all runs together look at.
const STATES: usize = 10_000;
/// Each run has so many changes, and is looked at in so many states.
const CHANGES: usize = 26;
const STATES_PER_RUN: usize = 500;

/// Does random changes to a store that is now and then opened again; remembers every moment.
fn run(seed: u64, sync: SyncMode) -> (Model, Vec<Moment>) {
    let (disk, mut model, mut dice) = (SimDisk::default(), Model::new(), Dice(seed));
    disk.record();
    let mut store = open(&disk, Mode::ReadWrite, sync).expect("an empty disk");
    model.apply(&store, &disk, &Change::Create("docs"));
    for _ in 0..CHANGES {
        model.apply(&store, &disk, &Change::random(&mut dice));
        match dice.below(12) {
            0 => {
                store.close().expect("a good disk");
                store = open(&disk, Mode::ReadWrite, sync).expect("a good disk");
            }
            1 => {
                // As after kill -9: nothing is finished, and the lock is free.
                drop(store);
                store = open(&disk, Mode::ReadWrite, sync).expect("a good disk");
            }
            _ => {}
        }
        assert_eq!(&content(&store), model.now());
    }
    store.close().expect("a good disk");
    (model, disk.history())
}

/// Opens what a crash left; it must be one of `range`. Returns which.
fn check(state: State, range: RangeInclusive<usize>, states: &[Content], dice: &mut Dice, depth: usize) {
    let disk = SimDisk::of(state.clone());
    let seen = match reader(&disk) {
        Ok(store) => content(&store),
        // A store that never came to be.
        Err(Error::NotAStore { .. }) if *range.start() == 0 => states[0].clone(),
        Err(error) => panic!("reader, {range:?}: {error}"),
    };
    assert_eq!(disk.calls(), 0, "a reader wrote");
    disk.record();
    let store = writer(&disk).unwrap_or_else(|error| panic!("writer, {range:?}: {error}"));
    assert_eq!(content(&store), seen, "reader and writer differ");
    let found = range.clone().find(|&s| states[s] == seen);
    let found =
        found.unwrap_or_else(|| panic!("none of the states {range:?}: {seen:?}\nbut {:?}", &states[range.clone()]));
    disk.note(1);
    if dice.one_in(4) {
        check_searches(&store, &seen);
    }
    // It goes on, and what is written now stays.
    let mut model = Model::from(states[found].clone());
    let changes = [Change::Create("docs"), Change::random(dice), Change::random(dice)];
    disk.note(2);
    for change in &changes {
        let next = model.announce(change, &disk);
        if change.apply(&store).is_ok() {
            model.states.push(next);
        }
    }
    assert_eq!(&content(&store), model.now());
    disk.note(3);
    drop(store);
    check_again(&disk, (found, range), states, &model, dice, depth);
}

/// Crashes again: during the recovery, or behind all of it.
fn check_again(
    disk: &SimDisk,
    (found, range): (usize, RangeInclusive<usize>),
    states: &[Content],
    model: &Model,
    dice: &mut Dice,
    depth: usize,
) {
    let moments = disk.history();
    let last = moments.last().expect("something was written");
    let after = SimDisk::of(crash(&last.state, dice));
    assert_eq!(&content(&reader(&after).expect("it was acknowledged")), model.now(), "after a second crash");
    if depth == 0 || !dice.one_in(3) {
        return;
    }
    let during: Vec<&Moment> = moments.iter().filter(|moment| moment.note < 2).collect();
    let moment = during[dice.below(during.len())];
    // What a writer has shown is durable.
    let range = if moment.note == 1 { found..=found } else { range };
    check(crash(&moment.state, dice), range, states, dice, depth - 1);
}

fn crash_runs(sync: SyncMode, seeds: std::ops::Range<u64>, range: impl Fn(usize, usize) -> RangeInclusive<usize>) {
    for seed in seeds {
        let (model, moments) = run(seed, sync);
        let mut dice = Dice(seed ^ 0xC0FFEE);
        for i in 0..STATES_PER_RUN {
            let moment = &moments[i * moments.len() / STATES_PER_RUN];
            let (acked, submitted) = (moment.note / 2, moment.note.div_ceil(2));
            let state = crash(&moment.state, &mut dice);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                check(state, range(acked, submitted), &model.states, &mut dice, 2);
            }));
            assert!(result.is_ok(), "seed {seed}, {sync:?}, state {i}, note {}", moment.note);
        }
    }
}

#[test]
fn after_any_crash_the_store_is_as_some_acknowledged_or_submitted_batch_left_it() {
    crash_runs(SyncMode::Batch, 0..(STATES * 4 / 5 / STATES_PER_RUN) as u64, |acked, submitted| acked..=submitted);
}

#[test]
fn without_a_sync_for_each_batch_whole_batches_may_be_missing_from_the_end() {
    crash_runs(SyncMode::Flush, 1000..1000 + (STATES / 5 / STATES_PER_RUN) as u64, |_, submitted| 0..=submitted);
}
