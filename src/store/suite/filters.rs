//! What a filter remembers.

use super::model::DIM;
use super::*;
use crate::vectors::{Metric, Rows as Values};
use serde_json::json;

#[test]
fn a_filter_remembers_rows_of_each_of_several_collections() {
    let store = Store::in_memory(StoreOptions::default());
    let filter = Filter::parse(&json!({"n": 1})).expect("a filter");
    let values = [1.0, 2.0, 3.0];
    let query = Values::new(&values, DIM).expect("one row");
    let search = |docs: &Collection, found| {
        let wanted = StoreSearch { filter: Some(&filter), ..StoreSearch::top(1) };
        assert_eq!(docs.search(&query, &wanted, &call()).expect("a query")[0].len(), found);
    };
    let document = |n: usize| Document::new(&json!({ "n": n % 2 }), 0).expect("an object");
    let collections: Vec<Collection> = (0..20)
        .map(|i| {
            let schema = Schema::new(DIM, Metric::Dot);
            let docs = store.create_collection(&format!("docs-{i}"), schema, false, &call()).expect("a name");
            docs.upsert(&[Key::Int(1)], &query, Some(&[document(i)]), &call()).expect("a row");
            search(&docs, i % 2);
            docs
        })
        .collect();
    let remembered = |docs: &Collection| filter.selected(docs.live().expect("it is there").rows.read().identity);
    let first: Vec<_> = collections.iter().map(remembered).collect();
    assert_eq!(first.iter().flatten().count(), 16, "the last ones");
    for (i, docs) in collections.iter().enumerate().skip(4) {
        search(docs, i % 2);
        let (before, now) = (first[i].as_ref().expect("one"), remembered(docs).expect("one"));
        assert!(Arc::ptr_eq(before, &now), "{i} was found out again");
    }
    // What changes is found out again, and the others are not.
    collections[18].upsert(&[Key::Int(2)], &query, Some(&[document(1)]), &call()).expect("a row");
    search(&collections[18], 1);
    assert!(!Arc::ptr_eq(first[18].as_ref().expect("one"), &remembered(&collections[18]).expect("one")));
    assert!(Arc::ptr_eq(first[19].as_ref().expect("one"), &remembered(&collections[19]).expect("one")));
}
