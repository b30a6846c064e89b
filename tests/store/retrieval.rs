//! Pages, groups, diversity, order and explanations. What they should be in full is in tests/python/test_retrieval.py.

use super::*;
use nearfield::{Direction, Explanation, Grouping, Hit, Place};

/// 60 rows on a line, with a group and a number each, some of these missing.
fn line() -> Result<(Store, Collection), Error> {
    let store = Store::in_memory(StoreOptions::default());
    let docs = store.create_collection("docs", Schema::new(1, Metric::L2), false, &call())?;
    let values: Vec<f32> = (0..60).map(|i| i as f32).collect();
    let said = |i: i64| match i % 6 {
        0 => json!({}),
        1 => json!({"group": 1, "n": -i}),
        2 => json!({"group": 1.0, "n": -i}),
        _ => json!({"group": format!("g{}", i % 4), "n": "text"}),
    };
    let metadata: Vec<Document> = (0..60).map(|i| document(said(i))).collect();
    docs.upsert(&keys(0..60), &Rows::new(&values, 1)?, Some(&metadata), &call())?;
    Ok((store, docs))
}

fn found(docs: &Collection, search: &StoreSearch<'_>) -> Result<Vec<Hit>, Error> {
    Ok(docs.search(&Rows::new(&[0.0], 1)?, search, &call())?.remove(0))
}

fn numbers(hits: &[Hit]) -> Vec<i64> {
    let number = |hit: &Hit| if let Key::Int(number) = hit.key { number } else { -1 };
    hits.iter().map(number).collect()
}

#[test]
fn a_page_goes_on_behind_a_place() -> Outcome {
    let (_store, docs) = line()?;
    let place = Place { score: -9.5, collection: "docs".to_owned(), key: Key::Int(0) };
    let hits = found(&docs, &StoreSearch { after: Some(&place), ..StoreSearch::top(5) })?;
    assert_eq!(numbers(&hits), [10, 11, 12, 13, 14]);
    let last = Place { score: -57.0, collection: "docs".to_owned(), key: Key::Int(57) };
    assert_eq!(numbers(&found(&docs, &StoreSearch { after: Some(&last), ..StoreSearch::top(5) })?), [58, 59]);
    Ok(())
}

#[test]
fn groups_have_their_best_rows_and_equal_numbers_are_one_group() -> Outcome {
    let (_store, docs) = line()?;
    let grouping = Grouping { path: "group".to_owned(), size: 3 };
    let search = StoreSearch { group_by: Some(&grouping), ..StoreSearch::top(2) };
    let hits = found(&docs, &search)?;
    assert_eq!(numbers(&hits), [1, 2, 3, 7, 11, 15]);
    assert!(hits.iter().all(|hit| hit.group.is_some() && hit.metadata.is_none()));
    // There are five groups, however many are asked for.
    let all = found(
        &docs,
        &StoreSearch { group_by: Some(&Grouping { size: 1, ..grouping.clone() }), ..StoreSearch::top(50) },
    )?;
    assert_eq!(all.len(), 5);
    let place = Place { score: 0.0, collection: "docs".to_owned(), key: Key::Int(0) };
    let error = found(&docs, &StoreSearch { after: Some(&place), ..search }).expect_err("both");
    assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
    Ok(())
}

#[test]
fn diverse_hits_are_far_from_each_other() -> Outcome {
    let (_store, docs) = line()?;
    let hits = found(&docs, &StoreSearch { diversity: Some(0.9), ..StoreSearch::top(3) })?;
    // Of the best 50: the nearest, then the farthest of these, then what lies between.
    assert_eq!(numbers(&hits)[..2], [0, 49]);
    assert_eq!(numbers(&found(&docs, &StoreSearch { diversity: Some(0.0), ..StoreSearch::top(3) })?), [0, 1, 2]);
    assert!(found(&docs, &StoreSearch { diversity: Some(2.0), ..StoreSearch::top(3) }).is_err());
    Ok(())
}

#[test]
fn rows_come_in_the_order_of_what_they_say() -> Outcome {
    let (_store, docs) = line()?;
    let ascending = docs.ordered(None, "n", Direction::Ascending, None, &call())?;
    assert_eq!(ascending[..3], [Key::Int(56), Key::Int(55), Key::Int(50)]);
    assert_eq!(ascending[20..22], [Key::Int(3), Key::Int(4)], "text comes behind numbers");
    assert_eq!(ascending[50..52], [Key::Int(0), Key::Int(6)], "and what is missing last");
    let descending = docs.ordered(None, "n", Direction::Descending, None, &call())?;
    assert_eq!((&descending[0], &descending[30], &descending[50]), (&Key::Int(3), &Key::Int(1), &Key::Int(0)));
    let rest = docs.ordered(None, "n", Direction::Ascending, Some((&Key::Int(50), None)), &call())?;
    assert_eq!(rest, ascending[3..]);
    assert!(docs.ordered(None, "n", Direction::Ascending, Some((&Key::Int(99), None)), &call()).is_err());
    Ok(())
}

#[test]
fn an_explanation_says_what_was_done() -> Outcome {
    let (_store, docs) = line()?;
    let explanation = Explanation::default();
    let some = filter(json!({"n": "text"}));
    found(&docs, &StoreSearch { explain: Some(&explanation), filter: Some(&some), ..StoreSearch::top(3) })?;
    let plans = explanation.plans();
    assert_eq!((plans.len(), plans[0].rows, plans[0].matches, plans[0].scans), (1, 60, Some(30), 1));
    assert_eq!((plans[0].walks, plans[0].gathers), (0, 0));
    Ok(())
}
