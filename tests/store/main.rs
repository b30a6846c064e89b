//! The store as its users see it, on a real directory.

#![expect(clippy::disallowed_methods, reason = "these tests prepare files and look at what was written")]

mod behaviour;
mod processes;
mod retrieval;
mod systems;

use nearfield::{
    Call, Collection, Document, Error, Filter, IndexKind, Key, Metadata, Metric, Mode, OnConflict, Rows, Schema, Store,
    StoreOptions, StoreSearch, SyncMode,
};
use serde_json::{Value, json};
use std::path::Path;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn call() -> Call<'static> {
    Call::uninterrupted()
}

fn object(value: Value) -> Metadata {
    value.as_object().expect("an object").clone()
}

fn document(value: Value) -> Document {
    Document::new(&value, 0).expect("an object")
}

fn filter(value: Value) -> Filter {
    Filter::parse(&value).expect("a filter")
}

fn keys(range: std::ops::Range<i64>) -> Vec<Key> {
    range.map(Key::Int).collect()
}

fn writer(path: &Path) -> Result<Store, Error> {
    Store::open(path, StoreOptions::default())
}

fn reader(path: &Path) -> Result<Store, Error> {
    Store::open(path, StoreOptions { mode: Mode::Read, ..StoreOptions::default() })
}

/// Whole numbers that tell rows from each other.
fn values(rows: usize, dim: usize, seed: usize) -> Vec<f32> {
    (0..rows * dim).map(|i| ((i * 37 + seed * 101 + i / dim * 11) % 23) as f32 - 11.0).collect()
}

fn put(collection: &Collection, keys: &[Key], seed: usize, metadata: Option<&[Document]>) -> Result<usize, Error> {
    let dim = collection.schema().dim;
    let values = values(keys.len(), dim, seed);
    collection.upsert(keys, &Rows::new(&values, dim)?, metadata, &call())
}

/// Every row, with what belongs to it.
fn everything(store: &Store) -> Vec<(String, Metadata, Vec<nearfield::StoredRow>)> {
    let names = store.collections().expect("an open store");
    let all = names.into_iter().map(|name| {
        let collection = store.collection(&name).expect("it is listed");
        let rows = collection.scan(None, None, usize::MAX).expect("rows");
        (name, collection.meta().expect("meta"), rows)
    });
    all.collect()
}
