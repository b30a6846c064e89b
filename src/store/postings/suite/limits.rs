//! What has no postings, and what postings answer alone.

use super::*;

fn documents() -> Vec<Value> {
    let row = |i: usize| {
        json!({
            "id": i, "lang": (["en", "de", "fr"][i % 3]), "year": 2000 + i % 20, "score": i as f64 / 7.0,
            "tags": [format!("t{}", i % 50), "all"], "path": format!("src/{}/{i}.rs", i % 10), "deep": {"er": i.is_multiple_of(2)},
            "body": "word ".repeat(i % 60)
        })
    };
    (0..3000).map(row).collect()
}

#[test]
fn what_has_terms_is_answered_without_a_look_at_the_rows_and_counted_exactly() {
    let texts = texts(&documents());
    let postings = build(&texts);
    let filters = json!([
        {"lang": "en"}, {"lang": {"$ne": "en"}}, {"lang": {"$in": ["de", "fr", "de"]}}, {"lang": {"$nin": ["de"]}},
        {"id": 5}, {"id": {"$lt": 17.5}},
        {"year": {"$gte": 2010}}, {"year": {"$gte": 2001, "$lt": 2019}}, {"score": {"$gt": 100}}, {"tags": {"$contains": "t7"}},
        {"tags": {"$contains": "all"}}, {"path": {"$glob": "src/3/*"}}, {"path": {"$glob": "*/29.rs"}}, {"deep.er": true},
        {"deep": {"$exists": true}}, {"nowhere": {"$exists": false}}, {"nowhere": 3}, {"deep.er.more": 1},
        {"$or": [{"year": 2003}, {"$not": {"lang": "en"}}]}, {"lang": "en", "deep.er": true, "year": {"$ne": 2005}}
    ]);
    for json in filters.as_array().expect("a list") {
        let filter = filter(json);
        let (found, candidates) = solve(&postings, &texts, &filter);
        assert_eq!((found.clone(), candidates), (evaluate(&texts, &filter), 0), "{json}");
        let (low, high) = postings.estimate(&filter);
        assert!(low <= found.len() as u64 && found.len() as u64 <= high, "{json}");
        if json.as_object().is_some_and(|map| map.len() == 1 && !map.contains_key("$or"))
            && !json.to_string().contains("lt\":2019")
        {
            assert_eq!(low, high, "{json}");
        }
    }
}

#[test]
fn long_texts_lists_and_objects_leave_candidates() {
    let texts = texts(&documents());
    let postings = build(&texts);
    let cases = [
        (json!({"body": "word ".repeat(30)}), true),
        // A short text is no long one.
        (json!({"body": "word "}), false),
        (json!({"body": {"$contains": "rd w"}}), true),
        (json!({"body": {"$gt": "x"}}), true),
        (json!({"tags": ["t3", "all"]}), true),
        (json!({"deep": {"er": true}}), true),
        (json!({"lang": "en", "body": {"$glob": "*d"}}), true),
        (json!({"lang": "xx", "body": {"$glob": "*d"}}), false),
    ];
    for (json, looks) in cases {
        let filter = filter(&json);
        let (found, candidates) = solve(&postings, &texts, &filter);
        assert_eq!(found, evaluate(&texts, &filter), "{json}");
        assert_eq!(candidates > 0, looks, "{json}: {candidates}");
        assert!(candidates <= 3000, "{json}");
    }
}

#[test]
fn long_lists_are_known_to_be_lists_and_no_more() {
    let documents: Vec<Value> =
        (0..20).map(|i| json!({"vector": (i * 100..i * 100 + 100).collect::<Vec<_>>(), "n": i})).collect();
    let texts = texts(&documents);
    let postings = build(&texts);
    for (json, looks) in
        [(json!({"vector": {"$contains": 250}}), 20), (json!({"vector": {"$exists": true}, "n": {"$lt": 3}}), 0)]
    {
        let filter = filter(&json);
        let (found, candidates) = solve(&postings, &texts, &filter);
        assert_eq!((found, candidates), (evaluate(&texts, &filter), looks), "{json}");
    }
    let all: usize = texts.iter().map(Vec::len).sum();
    assert!(postings.bytes().len() < all, "{} bytes for {all}", postings.bytes().len());
}

#[test]
fn paths_after_the_first_thousand_are_looked_at() {
    let documents: Vec<Value> =
        (0..600).map(|i| json!({"lang": "en", "by_user": {format!("u{i}"): i, format!("v{i}"): i}})).collect();
    let texts = texts(&documents);
    let postings = build(&texts);
    let cases = [("lang", 0), ("by_user.u3", 0), ("by_user.u599", 600), ("other", 600)];
    for (path, looks) in cases {
        let filter = filter(&json!({ path: {"$exists": true} }));
        let (found, candidates) = solve(&postings, &texts, &filter);
        assert_eq!((found, candidates), (evaluate(&texts, &filter), looks), "{path}");
    }
    let long = "n".repeat(2000);
    let texts = super::texts(&[json!({&long: 1, "a.b": 2, "": 3, "c": 4})]);
    let postings = build(&texts);
    for path in [long.as_str(), "a.b", "a", "c"] {
        let filter = filter(&json!({ path: {"$exists": true} }));
        assert_eq!(solve(&postings, &texts, &filter).0, evaluate(&texts, &filter), "{path}");
    }
}

#[test]
fn no_rows_and_no_fields_are_no_special_cases() {
    for documents in [vec![], vec![json!({})], vec![json!({}); 300]] {
        let texts = texts(&documents);
        let postings = build(&texts);
        assert!(Postings::parse(postings.bytes().to_vec(), texts.len(), Path::new("file")).is_ok());
        for json in [json!({}), json!({"a": 1}), json!({"$not": {"a": 1}}), json!({"a": {"$exists": false}})] {
            let filter = filter(&json);
            assert_eq!(solve(&postings, &texts, &filter), (evaluate(&texts, &filter), 0), "{json}");
        }
    }
}
