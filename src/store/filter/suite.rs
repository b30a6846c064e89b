//! The filter language, row by row.

use super::*;
use crate::error::Error;
use serde_json::json;

fn row() -> Metadata {
    let row = json!({
        "lang": "en", "year": 2021, "score": 0.5, "big": 9_007_199_254_740_993_u64, "most": u64::MAX, "least": i64::MIN,
        "nothing": null, "yes": true, "tags": ["a", "b", 3], "empty": "", "deep": {"er": {"est": "down"}, "n": 1},
        "point": {"x": 1, "y": 2.0}, "odd": "a*b[c]?", "word": "Größe"
    });
    row.as_object().expect("an object").clone()
}

fn holds(filter: Value) -> bool {
    Filter::parse(&filter).unwrap_or_else(|error| panic!("{filter}: {error}")).matches(&row())
}

#[test]
fn conditions_hold_or_they_do_not() {
    let yes = json!([
        {}, {"lang": "en"}, {"lang": "en", "year": 2021}, {"year": 2021.0}, {"year": {"$gte": 2021, "$lt": 2021.5}},
        {"lang": {"$ne": "de"}}, {"year": {"$ne": 2020}}, {"lang": {"$gt": "de"}}, {"lang": {"$lte": "en"}},
        {"lang": {"$in": ["de", "en"]}}, {"year": {"$in": [1, 2021.0]}}, {"lang": {"$nin": ["de", 5]}}, {"lang": {"$nin": []}},
        {"nothing": null}, {"nothing": {"$exists": true}}, {"missing": {"$exists": false}}, {"nothing": {"$in": [null]}},
        {"yes": true}, {"tags": {"$contains": "b"}}, {"tags": {"$contains": 3.0}}, {"tags": ["a", "b", 3.0]},
        {"lang": {"$contains": "e"}}, {"empty": {"$contains": ""}}, {"deep.er.est": "down"}, {"deep.n": {"$lt": 2}},
        {"point": {"y": 2, "x": 1.0}}, {"deep.er": {"est": "down"}},
        {"$and": [{"lang": "en"}, {"year": 2021}]}, {"$or": [{"lang": "de"}, {"year": 2021}]}, {"$not": {"lang": "de"}},
        {"$not": {"missing": 1}}, {"missing": {"$not": {"$eq": 1}}}, {"year": {"$not": {"$lt": 2000}}},
        {"lang": {"$not": {"$eq": 5}}}, {"big": 9_007_199_254_740_993_u64}, {"big": {"$gt": 9_007_199_254_740_992.0}},
        {"most": {"$gt": 18_446_744_073_709_550_000.0}}, {"most": {"$lt": 18_446_744_073_709_551_616.0}},
        {"least": -9_223_372_036_854_775_808.0}, {"least": {"$gt": -1e300}}, {"most": {"$lt": 1e300}}, {"score": {"$gt": 0, "$lt": 1}}
    ]);
    for filter in yes.as_array().expect("a list") {
        assert!(holds(filter.clone()), "{filter}");
        assert!(!holds(json!({"$not": filter})), "not {filter}");
    }
    let no = json!([
        {"lang": "EN"}, {"lang": "en", "year": 2020}, {"year": "2021"}, {"yes": 1}, {"score": {"$gt": 0.5}},
        {"missing": null}, {"missing": {"$ne": 1}}, {"missing": {"$nin": [1]}}, {"missing": {"$nin": []}}, {"missing": {"$exists": true}},
        {"nothing": {"$exists": false}}, {"nothing": {"$ne": 1}}, {"lang": {"$ne": 5}}, {"lang": {"$nin": [5]}},
        {"year": {"$gt": "2000"}}, {"lang": {"$gt": 5}}, {"yes": {"$gt": 0}}, {"nothing": {"$lte": 5}},
        {"lang": {"$in": []}}, {"tags": {"$contains": "c"}}, {"year": {"$contains": 2}}, {"tags": ["b", "a", 3]},
        {"deep.er.est.more": 1}, {"tags.0": "a"}, {"deep.missing.est": "down"}, {"point": {"x": 1}},
        {"big": 9_007_199_254_740_992.0}, {"big": {"$lte": 9_007_199_254_740_992.0}}, {"most": 18_446_744_073_709_551_616.0},
        {"$or": [{"lang": "de"}, {"year": 1}]}, {"$and": [{"lang": "en"}, {"year": 1}]}
    ]);
    for filter in no.as_array().expect("a list") {
        assert!(!holds(filter.clone()), "{filter}");
        assert!(holds(json!({"$not": filter})), "not {filter}");
    }
}

#[test]
fn patterns_match_the_whole_text() {
    let cases = [
        ("*", "", true),
        ("", "", true),
        ("", "a", false),
        ("a*", "abc", true),
        ("*c", "abc", true),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("*b*", "abc", true),
        ("a*b*c", "aXbYbZc", true),
        ("a*b*c", "aXbYbZ", false),
        ("**a**", "bab", true),
        ("Gr?ße", "Größe", true),
        ("[a-c]x", "bx", true),
        ("[!a-c]x", "bx", false),
        ("[!a-c]x", "dx", true),
        ("[*]", "*", true),
        ("[*]", "a", false),
        ("[]]", "]", true),
        ("[a-]", "-", true),
        ("a[[]c]", "a[c]", true),
        ("[ä-ö]", "ö", true),
        ("?", "", false),
    ];
    for (pattern, text, fits) in cases {
        assert_eq!(Glob::parse(pattern).expect(pattern).matches(text), fits, "{pattern} {text}");
    }
    assert!(holds(json!({"lang": {"$glob": "e?"}})) && !holds(json!({"year": {"$glob": "*"}})));
    let (pattern, text) = ("a*".repeat(5_000) + "b", "a".repeat(20_000));
    assert!(!Glob::parse(&pattern).expect("a pattern").matches(&text));
}

#[test]
fn what_is_no_filter_is_refused_and_the_place_is_named() {
    let deep = |depth: usize| (0..depth).fold(json!({"a": 1}), |inside, _| json!({ "$not": inside }));
    let cases = [
        (json!(5), "the top", "object"),
        (json!([]), "the top", "object"),
        (json!({"$nor": []}), "$nor", "$and"),
        (json!({"$and": []}), "$and", "at least one"),
        (json!({"$or": {"a": 1}}), "$or", "list"),
        (json!({"$and": [{"a": 1}, 7]}), "$and > 1", "object"),
        (json!({"a": {"$gt": 1, "b": 2}}), "a > b", "no operator"),
        (json!({"a": {"$near": 1}}), "a > $near", "$glob"),
        (json!({"a": {"$gt": null}}), "a > $gt", "null"),
        (json!({"a": {"$gt": true}}), "a > $gt", "true"),
        (json!({"a": {"$in": 5}}), "a > $in", "list"),
        (json!({"a": {"$in": vec![0; 65_537]}}), "a > $in", "65536"),
        (json!({"a": {"$exists": 1}}), "a > $exists", "true or false"),
        (json!({"a": {"$glob": "[a"}}), "a > $glob", "closed"),
        (json!({"a": {"$glob": "[z-a]"}}), "a > $glob", "empty"),
        (json!({"a": {"$not": 5}}), "a > $not", "operators"),
        (json!({"a..b": 1}), "a..b", "empty"),
        (json!({"": 1}), "", "empty"),
        (json!({"a": {"$contains": (0..70).fold(json!(1), |inside, _| json!([inside]))}}), "a > $contains", "deep"),
        (deep(70), "$not > $not", "64 deep"),
    ];
    for (filter, place, hint) in cases {
        let error = Filter::parse(&filter).expect_err("no filter");
        let Error::Filter { path, what } = &error else { panic!("{error}") };
        assert!(path.starts_with(place) && what.contains(hint), "{path:?} {what:?} for {place:?} {hint:?}");
    }
    assert!(Filter::parse(&deep(60)).is_ok());
    assert!(Filter::parse(&json!({"a": {"$in": vec![0; 65_536]}})).is_ok());
}
