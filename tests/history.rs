//! What searches see while rows are written: always some state that there was between their beginning and their end.
//!
//! One thread writes without pause, group after group; a group of rows is put or deleted by one call, and each of its rows says in its values which
//! call that was. Another thread searches. Whatever it finds must be all of a group or nothing of it, of one call, and of one that had not been
//! overtaken when the search began, nor was still to come when it ended.

use nearfield::{Call, FlatIndex, GraphCodec, HnswIndex, HnswParameters, Index, IndexOptions, Metric, Rows, Search};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const DIM: usize = 8;
const GROUP: usize = 16;
const GROUPS: usize = 80;
const ROUNDS: u32 = 12;
/// Searches that there are at least.
const SEARCHES: usize = 40;

/// Of each group the number of the last call that has begun, and of the last that has ended.
struct Clock {
    begun: Vec<AtomicU32>,
    ended: Vec<AtomicU32>,
    finished: AtomicBool,
}

/// Every fifth call for a group deletes it; not the first.
fn deletes(call: u32) -> bool {
    call % 5 == 4
}

fn ids_of(group: usize) -> Vec<i64> {
    (0..GROUP).map(|row| (group * GROUP + row) as i64).collect()
}

/// Whole numbers, so that sums of their squares are exact in any order: which row it is, and which call put it there.
fn row(id: i64, call: u32) -> [f32; DIM] {
    std::array::from_fn(|at| match at {
        7 => call as f32,
        _ => (id * (2 * at as i64 + 3) % 61) as f32,
    })
}

fn score(query: &[f32], row: &[f32]) -> f32 {
    let squares = query.iter().zip(row).map(|(&q, &x)| (f64::from(q) - f64::from(x)).powi(2));
    -squares.sum::<f64>().sqrt() as f32
}

fn write(index: &dyn Index, clock: &Clock) -> Outcome {
    for call in 0..ROUNDS {
        for group in 0..GROUPS {
            let ids = ids_of(group);
            clock.begun[group].store(call, SeqCst);
            if deletes(call) {
                index.delete(&ids, &Call::uninterrupted())?;
            } else {
                let values: Vec<f32> = ids.iter().flat_map(|&id| row(id, call)).collect();
                index.upsert(&ids, &Rows::new(&values, DIM)?, &Call::uninterrupted())?;
            }
            clock.ended[group].store(call, SeqCst);
        }
    }
    Ok(())
}

/// One search: what is found, and what is allowed to be.
fn search_once(index: &dyn Index, clock: &Clock, search: &Search<'_>, scored: bool, number: usize) -> Outcome {
    let query: Vec<f32> = (0..DIM).map(|at| (number * (at + 2) % 47) as f32).collect();
    let earliest: Vec<u32> = clock.ended.iter().map(|call| call.load(SeqCst)).collect();
    let hits = index.search(&Rows::new(&query, DIM)?, search, &Call::uninterrupted())?;
    let latest: Vec<u32> = clock.begun.iter().map(|call| call.load(SeqCst)).collect();
    let found = hits.counts[0] as usize;
    let mut calls: Vec<Vec<u32>> = vec![Vec::new(); GROUPS];
    let mut seen = std::collections::BTreeSet::new();
    for (&id, &given) in hits.ids.iter().zip(&hits.scores).take(found) {
        assert!(seen.insert(id), "row {id} was found twice");
        let group = id as usize / GROUP;
        let mut possible = (earliest[group]..=latest[group]).filter(|&call| !deletes(call));
        let of = possible.find(|&call| !scored || score(&query, &row(id, call)) == given);
        let range = earliest[group]..=latest[group];
        calls[group]
            .push(of.unwrap_or_else(|| panic!("row {id} with score {given} was never there in calls {range:?}")));
    }
    if search.k < GROUP * GROUPS {
        return Ok(());
    }
    for (group, calls) in calls.iter().enumerate() {
        assert!(calls.is_empty() || calls.len() == GROUP, "{} rows of group {group}", calls.len());
        assert!(!scored || calls.iter().all(|call| *call == calls[0]), "group {group} is of several calls: {calls:?}");
        let gone = (earliest[group]..=latest[group]).any(deletes);
        assert!(!calls.is_empty() || gone, "group {group} was there all the time");
    }
    Ok(())
}

/// Writes and searches at the same time. Scores are compared where they are those of the rows.
fn race(index: &dyn Index, scored: bool) -> Outcome {
    let zeros = || (0..GROUPS).map(|_| AtomicU32::new(0)).collect();
    let clock = Clock { begun: zeros(), ended: zeros(), finished: AtomicBool::new(false) };
    // Every group is there before the first search, so that none is missing for another reason than that it was deleted.
    for group in 0..GROUPS {
        let values: Vec<f32> = ids_of(group).iter().flat_map(|&id| row(id, 0)).collect();
        index.upsert(&ids_of(group), &Rows::new(&values, DIM)?, &Call::uninterrupted())?;
    }
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let outcome = write(index, &clock).map_err(|error| error.to_string());
            clock.finished.store(true, SeqCst);
            outcome
        });
        let all = GROUP * GROUPS;
        let searches = [
            Search { ef: Some(40), ..Search::top(10) },
            Search { exact: true, ..Search::top(all) },
            Search { ef: Some(2 * all), ..Search::top(all) },
        ];
        let mut number = 0;
        while number < SEARCHES || !clock.finished.load(SeqCst) {
            search_once(index, &clock, &searches[number % searches.len()], scored, number)?;
            number += 1;
        }
        writer.join().map_err(|_| "the writer panicked")??;
        Ok(())
    })
}

fn graph(codec: GraphCodec) -> HnswIndex {
    let parameters = HnswParameters { m: 8, ef_construction: 40, seed: 3, codec };
    HnswIndex::new(IndexOptions::new(DIM, Metric::L2), parameters).expect("good options")
}

#[test]
fn a_graph_of_cells_shows_whole_states() -> Outcome {
    race(&graph(GraphCodec::Auto), true)
}

#[test]
fn a_graph_of_rows_shows_whole_states() -> Outcome {
    race(&graph(GraphCodec::F32), true)
}

#[test]
fn a_graph_without_rows_shows_whole_groups() -> Outcome {
    race(&graph(GraphCodec::Lean), false)
}

#[test]
fn a_flat_index_shows_whole_states() -> Outcome {
    race(&FlatIndex::new(IndexOptions::new(DIM, Metric::L2))?, true)
}
