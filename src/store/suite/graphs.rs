//! Graphs in files: taken over at opening, and done without wherever they cannot be.

use super::*;
use crate::error::Error;
use crate::index::{GraphCodec, HnswParameters};
use crate::storage::vfs::sim::{Dice, Fault, Plan, crash};
use crate::vectors::{Metric, Rows as Values};

const DIM: usize = 8;
const ROWS: usize = 1500;

/// Vectors in no pattern that a graph could make use of.
fn values(rows: std::ops::Range<usize>) -> Vec<f32> {
    rows.flat_map(|row| (0..DIM).map(move |i| ((row * 7919 + i * 104_729 + row * i * 31) % 2003) as f32 - 1000.0))
        .collect()
}

fn schema() -> Schema {
    Schema::new(DIM, Metric::Cosine).with_graph(HnswParameters::for_size(ROWS, Metric::Cosine, GraphCodec::Auto))
}

fn put(store: &Store, rows: std::ops::Range<usize>) {
    let collection = store.collection("docs").expect("it is there");
    let keys: Vec<Key> = rows.clone().map(|row| Key::Int(row as i64 * 3 % 6007)).collect();
    let metadata: Vec<Document> =
        rows.clone().map(|row| Document::new(&serde_json::json!({ "row": row }), 0).expect("an object")).collect();
    let values = values(rows);
    let values = Values::new(&values, DIM).expect("whole rows");
    collection.upsert(&keys, &values, Some(&metadata), &call()).expect("good rows");
}

/// A store with rows under a graph in a file, some of them deleted before that and some after it, and rows that came later.
fn sample() -> SimDisk {
    let disk = SimDisk::default();
    let store = writer(&disk).expect("an empty disk");
    store.create_collection("docs", schema(), false, &call()).expect("a name");
    put(&store, 0..ROWS);
    let docs = store.collection("docs").expect("it is there");
    let key = |row: i64| Key::Int(row * 3 % 6007);
    docs.delete(&(0..40).map(key).collect::<Vec<_>>(), &call()).expect("keys");
    store.flush_and_link(&call()).expect("room");
    docs.delete(&(40..50).map(key).collect::<Vec<_>>(), &call()).expect("keys");
    put(&store, ROWS..ROWS + 20);
    put(&store, 60..65);
    disk
}

/// What a store answers, as one number: its rows in order, and the nearest rows of some queries as a scan and as the graph find them.
fn answers(store: &Store) -> u64 {
    let docs = store.collection("docs").expect("it is there");
    let queries = values(5000..5020);
    let queries = Values::new(&queries, DIM).expect("whole rows");
    let search = |exact| StoreSearch { exact, ef: (!exact).then_some(400), metadata: true, ..StoreSearch::top(5) };
    let hits = |exact| docs.search(&queries, &search(exact), &call()).expect("good queries");
    let rows = docs.scan(None, None, usize::MAX).expect("rows");
    assert_eq!(rows.len(), docs.len().expect("rows"));
    let found = docs.get(&rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>()).expect("rows");
    assert!(found.iter().flatten().eq(&rows), "a row is not found under its key");
    assert!(hits(false) == hits(true), "a wide beam finds the nearest of so few rows");
    xxhash_rust::xxh3::xxh3_64(format!("{rows:?}{:?}", hits(true)).as_bytes())
}

fn stats(store: &Store) -> CollectionStats {
    store.collection("docs").and_then(|docs| docs.stats()).expect("it is there")
}

fn graph_file(disk: &SimDisk) -> String {
    disk.list().expect("a disk").into_iter().find(|name| name.starts_with("graph-")).expect("a graph")
}

#[test]
fn a_graph_is_taken_over_and_only_later_rows_are_linked() {
    let disk = sample();
    for open in [reader, writer] {
        let store = open(&disk).expect("a store");
        let stats = stats(&store);
        assert_eq!((stats.rows, stats.saved_rows, &stats.graph_damage), (ROWS - 50 + 20, ROWS, &None));
        assert!(stats.unlinked_rows <= 25, "{stats:?}");
        answers(&store);
    }
}

#[test]
fn live_and_reopened_give_the_same_answers_whatever_was_written_when() {
    let disk = sample();
    let store = writer(&disk).expect("a store");
    let expected = answers(&store);
    for step in 0..4 {
        match step {
            0 => store.checkpoint(&call()).expect("room"),
            1 => store.flush_and_link(&call()).expect("room"),
            2 => store.compact(&call()).expect("room"),
            _ => {}
        }
        assert_eq!(answers(&store), expected, "live after step {step}");
        assert_eq!(answers(&reader(&disk).expect("a store")), expected, "reopened after step {step}");
    }
    assert_eq!(stats(&store).dead_rows, 0);
    drop(store);
    let store = writer(&disk).expect("a store");
    assert_eq!((stats(&store).saved_rows, stats(&store).unlinked_rows), (ROWS - 30, 0));
    // What was taken over can be changed and is written again.
    put(&store, 3000..4600);
    store.flush_and_link(&call()).expect("room");
    let expected = answers(&store);
    drop(store);
    let store = reader(&disk).expect("a store");
    assert_eq!((answers(&store), stats(&store).saved_rows), (expected, ROWS - 30 + 1600));
}

#[test]
fn a_damaged_or_missing_graph_is_made_again_and_costs_no_answer() {
    let disk = sample();
    let expected = answers(&reader(&disk).expect("a store"));
    let name = graph_file(&disk);
    let whole = disk.read(&name);
    let mut header = whole.clone();
    header[40] ^= 1;
    for damage in [Some(header), Some(whole[..4096].to_vec()), Some(Vec::new()), None] {
        match &damage {
            Some(bytes) => disk.overwrite(&name, bytes.clone()),
            None => disk.remove(&name).expect("it is there"),
        }
        let store = reader(&disk).expect("a store");
        assert_eq!(answers(&store), expected);
        let stats = stats(&store);
        assert!(stats.graph_damage.is_some() && stats.saved_rows == 0, "{stats:?}");
        assert_eq!(store.verify(&call()).expect("a disk").damaged.len(), 1);
    }
    let store = writer(&disk).expect("a store");
    store.flush_and_link(&call()).expect("room");
    assert_eq!((answers(&store), stats(&store).graph_damage), (expected, None));
}

#[test]
fn any_byte_of_a_graph_may_be_wrong_and_exact_answers_stay_right() {
    let disk = sample();
    let exact = |store: &Store| {
        let queries = values(5000..5005);
        let queries = Values::new(&queries, DIM).expect("whole rows");
        let docs = store.collection("docs").expect("it is there");
        let search = |exact| docs.search(&queries, &StoreSearch { exact, ..StoreSearch::top(5) }, &call());
        search(false).expect("good queries");
        search(true).expect("good queries")
    };
    let expected = exact(&reader(&disk).expect("a store"));
    let (name, mut dice) = (graph_file(&disk), Dice(3));
    let whole = disk.read(&name);
    for _ in 0..40 {
        let mut bytes = whole.clone();
        for _ in 0..200 {
            let at = 4096 + dice.below(bytes.len() - 4096);
            bytes[at] = dice.roll() as u8;
        }
        disk.overwrite(&name, bytes);
        let store = reader(&disk).expect("rows are whole");
        assert_eq!(exact(&store), expected);
        assert!(!store.verify(&call()).expect("a disk").damaged.is_empty());
    }
}

#[test]
fn a_crash_while_a_graph_is_written_loses_nothing() {
    let disk = sample();
    let expected = answers(&reader(&disk).expect("a store"));
    disk.record();
    let store = writer(&disk).expect("a store");
    store.compact(&call()).expect("room");
    drop(store);
    let (moments, mut dice) = (disk.history(), Dice(11));
    assert!(moments.len() > 20);
    for (i, moment) in moments.iter().enumerate().step_by(moments.len() / 30) {
        let crashed = SimDisk::of(crash(&moment.state, &mut dice));
        assert_eq!(answers(&writer(&crashed).expect("a store")), expected, "moment {i} of {}", moments.len());
    }
}

#[test]
fn no_room_for_a_graph_is_an_error_that_changes_nothing() {
    let before = sample().state();
    let expected = answers(&reader(&SimDisk::of(before.clone())).expect("a store"));
    for call_number in (0..).step_by(5) {
        let disk = SimDisk::of(before.clone());
        let store = writer(&disk).expect("a store");
        disk.fail(Some(Plan { call: call_number, fault: Fault::Full, sticky: true }));
        let result = store.compact(&call());
        disk.fail(None);
        assert_eq!(answers(&store), expected, "call {call_number}");
        drop(store);
        assert_eq!(answers(&reader(&disk).expect("a store")), expected, "reopened, call {call_number}");
        let Err(error) = result else { return assert!(call_number > 10) };
        assert!(matches!(error, Error::NoSpace { .. } | Error::Io { .. }), "{error}");
    }
}
