//! What a store should hold: maps, and nothing else.

use super::super::{Collection, Document, Filter, Key, Metadata, OnConflict, Schema, Store};
use super::call;
use crate::error::Result;
use crate::storage::vfs::sim::{Dice, SimDisk};
use crate::vectors::{Metric, Rows};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const DIM: usize = 3;

/// A row, comparable: the bits of its values, its metadata as text, its stamps.
pub(super) type Row = (Vec<u32>, String, i64, i64);

/// A collection: what it says about itself, and its rows.
type Rows2 = (String, BTreeMap<Key, Row>);

/// A whole store.
pub(super) type Content = BTreeMap<String, Rows2>;

/// Something that is done to a store.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Create(&'static str),
    Drop(&'static str),
    Put(&'static str, Vec<Key>, u64, OnConflict),
    Delete(&'static str, Vec<Key>),
    DeleteWhere(&'static str, i64),
    Patch(&'static str, Vec<Key>, i64),
    Meta(&'static str, i64),
    /// Changes of a collection by threads that come at the same time. They are all done or none is, if they share no key.
    Together(&'static str, Vec<Change>),
    /// These two change no row.
    Checkpoint,
    Compact,
}

/// The states that the store has been in, and the change that is under way.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) states: Vec<Content>,
    time: i64,
}

const NAMES: [&str; 3] = ["docs", "images", "notes"];

fn key(dice: &mut Dice) -> Key {
    match dice.below(3) {
        0 => Key::Int(dice.below(12) as i64),
        1 => Key::from(format!("k{}", dice.below(12)).as_str()),
        _ => Key::from(&[dice.below(8) as u8, 0, 255][..]),
    }
}

/// Up to four changes that have no key in common.
fn together(dice: &mut Dice, name: &'static str) -> Vec<Change> {
    let mut used = BTreeSet::new();
    let mut one = |dice: &mut Dice| {
        // Few enough for one frame.
        let mut keys: Vec<Key> = (0..1 + dice.below(2)).map(|_| key(dice)).collect();
        keys.retain(|key| used.insert(key.clone()));
        match dice.below(4) {
            0 => Change::Delete(name, keys),
            1 => Change::Patch(name, keys, dice.below(9) as i64),
            _ => Change::Put(name, keys, dice.roll(), OnConflict::Replace),
        }
    };
    (0..2 + dice.below(3)).map(|_| one(dice)).collect()
}

/// Has threads make these changes: all of them wait, in this order, before the first is made.
pub(super) fn at_once(store: &Store, changes: &[Change]) -> Vec<Result<()>> {
    std::thread::scope(|scope| {
        let turn = store.inner.desk.writer(&call()).expect("a turn");
        let mut threads = Vec::new();
        for (i, change) in changes.iter().enumerate() {
            threads.push(scope.spawn(move || change.apply(store)));
            while store.inner.queue.len() <= i {
                assert!(!threads[i].is_finished(), "{change:?} does not wait");
                std::thread::yield_now();
            }
        }
        drop(turn);
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

/// Values for row `i` of the batch with that seed.
fn vector(seed: u64, i: usize) -> Vec<f32> {
    let mut dice = Dice(seed.wrapping_mul(31).wrapping_add(i as u64));
    (0..DIM).map(|_| dice.below(7) as f32 - 3.0).collect()
}

fn metadata(seed: u64, i: usize) -> Document {
    let mut dice = Dice(seed ^ (i as u64) << 32);
    let text = "x".repeat(dice.below(30));
    let value = json!({"n": dice.below(5), "text": text, "deep": {"er": [seed, null, 0.1]}});
    Document::new(&value, i).expect("an object")
}

impl Change {
    /// A change that may or may not make sense.
    pub(super) fn random(dice: &mut Dice) -> Change {
        let name = NAMES[dice.below(NAMES.len())];
        let keys = |dice: &mut Dice, most: usize| (0..1 + dice.below(most)).map(|_| key(dice)).collect::<Vec<_>>();
        match dice.below(20) {
            0 | 1 => Change::Create(name),
            2 => Change::Drop(name),
            3 => Change::Meta(name, dice.below(100) as i64),
            4 => Change::Patch(name, keys(dice, 4), dice.below(9) as i64),
            5 => Change::Checkpoint,
            6 => Change::Compact,
            7 | 8 => Change::Delete(name, keys(dice, 5)),
            9 => Change::DeleteWhere(name, dice.below(5) as i64),
            10 => Change::Put(name, keys(dice, 3), dice.roll(), OnConflict::Skip),
            13 | 14 => Change::Together(name, together(dice, name)),
            // Large ones go straight into a segment.
            11 | 12 => Change::Put(name, keys(dice, 40), dice.roll(), OnConflict::Replace),
            _ => Change::Put(name, keys(dice, 6), dice.roll(), OnConflict::Replace),
        }
    }

    /// Does it to a store.
    pub(super) fn apply(&self, store: &Store) -> Result<()> {
        let at = |name: &str| store.collection(name);
        match self {
            Change::Create(name) => {
                store.create_collection(name, Schema::new(DIM, Metric::Dot), true, &call()).map(drop)
            }
            Change::Drop(name) => store.drop_collection(name, &call()).map(drop),
            Change::Put(name, keys, seed, conflict) => put(&at(name)?, keys, *seed, *conflict),
            Change::Delete(name, keys) => at(name)?.delete(keys, &call()).map(drop),
            Change::DeleteWhere(name, n) => {
                at(name)?.delete_where(&Filter::parse(&json!({ "n": n }))?, &call()).map(drop)
            }
            Change::Patch(name, keys, n) => {
                let patch: Metadata = [("n".to_owned(), Value::from(*n))].into_iter().collect();
                at(name)?.set_metadata(keys, &[patch], false, &call()).map(drop)
            }
            Change::Meta(name, n) => {
                at(name)?.set_meta(&[("n".to_owned(), Value::from(*n))].into_iter().collect(), &call())
            }
            Change::Together(name, changes) => {
                at(name)?;
                let mut results = at_once(store, changes);
                assert!(results.iter().all(|result| result.is_ok() == results[0].is_ok()), "{changes:?}: {results:?}");
                results.pop().unwrap_or(Ok(()))
            }
            Change::Checkpoint => store.checkpoint(&call()),
            Change::Compact => store.compact(&call()),
        }
    }

    /// Does it to a model.
    fn expect(&self, content: &mut Content, time: i64) {
        match self {
            Change::Create(name) => {
                content.entry((*name).to_owned()).or_insert(("{}".to_owned(), BTreeMap::new()));
            }
            Change::Drop(name) => drop(content.remove(*name)),
            Change::Checkpoint | Change::Compact => {}
            Change::Put(name, ..)
            | Change::Delete(name, _)
            | Change::DeleteWhere(name, _)
            | Change::Patch(name, ..)
            | Change::Together(name, _)
            | Change::Meta(name, _) => {
                if let Some(rows) = content.get_mut(*name) {
                    self.expect_rows(rows, time);
                }
            }
        }
    }

    fn expect_rows(&self, (meta, rows): &mut Rows2, time: i64) {
        let n_of = |row: &Row| serde_json::from_str::<Value>(&row.1).expect("JSON")["n"].as_i64();
        match self {
            Change::Put(_, keys, seed, conflict) => {
                let before = rows.clone();
                for (i, key) in keys.iter().enumerate() {
                    let first = keys.iter().position(|other| other == key) == Some(i);
                    if *conflict == OnConflict::Skip && (before.contains_key(key) || !first) {
                        continue;
                    }
                    let bits = vector(*seed, i).iter().map(|value| value.to_bits()).collect();
                    let text = String::from_utf8_lossy(metadata(*seed, i).bytes()).into_owned();
                    let created = before.get(key).map_or(time, |row| row.2);
                    rows.insert(key.clone(), (bits, text, created, time));
                }
            }
            Change::Delete(_, keys) => keys.iter().for_each(|key| drop(rows.remove(key))),
            Change::DeleteWhere(_, n) => rows.retain(|_, row| n_of(row) != Some(*n)),
            Change::Patch(_, keys, n) => {
                for key in keys {
                    if let Some(row) = rows.get_mut(key) {
                        let mut value: Value = serde_json::from_str(&row.1).expect("JSON");
                        value["n"] = json!(n);
                        (row.1, row.3) = (value.to_string(), time);
                    }
                }
            }
            Change::Meta(_, n) => *meta = json!({ "n": n }).to_string(),
            Change::Together(_, changes) => {
                for change in changes {
                    let mut both = (meta.clone(), std::mem::take(rows));
                    change.expect_rows(&mut both, time);
                    *rows = both.1;
                }
            }
            _ => {}
        }
    }
}

fn put(collection: &Collection, keys: &[Key], seed: u64, conflict: OnConflict) -> Result<()> {
    let values: Vec<f32> = (0..keys.len()).flat_map(|i| vector(seed, i)).collect();
    let metadata: Vec<Document> = (0..keys.len()).map(|i| metadata(seed, i)).collect();
    collection.put(keys, &Rows::new(&values, DIM)?, Some(&metadata), conflict, &call()).map(drop)
}

impl Model {
    pub(super) fn new() -> Model {
        Model::from(Content::new())
    }

    /// Goes on from a state.
    pub(super) fn from(state: Content) -> Model {
        Model { states: vec![state], time: 0 }
    }

    pub(super) fn now(&self) -> &Content {
        &self.states[self.states.len() - 1]
    }

    /// The state after `change`, which is yet to be done, at the time that the disk is told.
    pub(super) fn announce(&mut self, change: &Change, disk: &SimDisk) -> Content {
        self.time += 1;
        disk.set_time(self.time);
        let mut next = self.now().clone();
        change.expect(&mut next, self.time);
        next
    }

    /// Does a change to both. The disk notes which states it may be in: `2 s` in state s, `2 s + 1` on the way from there to the next.
    pub(super) fn apply(&mut self, store: &Store, disk: &SimDisk, change: &Change) {
        let next = self.announce(change, disk);
        let known = |name: &str| self.now().contains_key(name);
        let changes_nothing = match change {
            Change::Create(_) | Change::Drop(_) | Change::Checkpoint | Change::Compact => false,
            Change::Put(name, ..)
            | Change::Delete(name, _)
            | Change::DeleteWhere(name, _)
            | Change::Patch(name, ..)
            | Change::Together(name, _)
            | Change::Meta(name, _) => !known(name),
        };
        let before = self.states.len() - 1;
        disk.note(2 * before + 1);
        let result = change.apply(store);
        assert_eq!(result.is_err(), changes_nothing, "{change:?}: {result:?}");
        self.states.push(next);
        disk.note(2 * before + 2);
        assert_eq!(&content(store), self.now(), "after {change:?}");
    }
}

/// All that a store holds.
pub(super) fn content(store: &Store) -> Content {
    try_content(store).expect("a whole store")
}

/// The same of a store that may be damaged.
pub(super) fn try_content(store: &Store) -> Result<Content> {
    let names = store.collections().expect("an open store");
    let read = |name: String| {
        let collection = store.collection(&name).expect("it is listed");
        let rows = collection.scan(None, None, usize::MAX)?;
        let rows: BTreeMap<Key, Row> = rows
            .into_iter()
            .map(|row| {
                let bits = row.vector.iter().map(|value| value.to_bits()).collect();
                (
                    row.key,
                    (bits, String::from_utf8_lossy(row.metadata.bytes()).into_owned(), row.created_at, row.updated_at),
                )
            })
            .collect();
        assert_eq!(collection.len().expect("rows"), rows.len());
        Ok((name, (Value::Object(collection.meta().expect("meta")).to_string(), rows)))
    };
    names.into_iter().map(read).collect()
}

/// Holds the searches of a store against a scan of its content.
pub(super) fn check_searches(store: &Store, content: &Content) {
    use super::super::StoreSearch;
    let query = [1.0, -2.0, 0.5];
    for (name, (_, rows)) in content {
        let dot = |bits: &Vec<u32>| bits.iter().zip(query).map(|(bits, q)| f32::from_bits(*bits) * q).sum::<f32>();
        let mut expected: Vec<(f32, &Key)> = rows.iter().map(|(key, row)| (dot(&row.0), key)).collect();
        expected.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        let collection = store.collection(name).expect("it is listed");
        for k in [1, 4, rows.len() + 3] {
            let queries = Rows::new(&query, DIM).expect("one row");
            let hits = collection.search(&queries, &StoreSearch::top(k), &call()).expect("a good query").remove(0);
            let found: Vec<(f32, &Key)> = hits.iter().map(|hit| (hit.score, &hit.key)).collect();
            assert_eq!(found, expected[..k.min(expected.len())], "{name}, k = {k}");
        }
    }
}
