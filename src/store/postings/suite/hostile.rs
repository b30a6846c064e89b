//! Metadata and postings that nobody wrote: an error or an answer, and never anything else.

use super::*;

#[test]
fn forged_metadata_are_looked_at() {
    let forged = [
        "",
        "[]",
        "null",
        "{",
        "{}}",
        "{\"a\":1",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"a\":{\"b\":1}}",
        "{\"a\":{\"b\":1},\"a\":{\"b\":2}}",
        "{\"a\":[1,2],\"a\":[3]}",
        "{\"a\":1e999}",
        "{\"a\":[1e999]}",
        "{\"a\":{\"b\":[{}",
        "{\"a\":1}x",
        "{\"a\":\"\u{7f}\",\"b\":2}",
    ];
    let mut texts: Vec<Vec<u8>> = forged.iter().map(|text| text.as_bytes().to_vec()).collect();
    texts.push(b"{\"a\":\"\xff\"}".to_vec());
    texts.extend((0..100).map(|i| format!("{{\"a\":{}}}", i % 5).into_bytes()));
    let nested = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
    texts.push(nested.into_bytes());
    let postings = build(&texts);
    let filters = json!([
        {}, {"a": 1}, {"a": 2}, {"a.b": 2}, {"$not": {"a": 1}}, {"a": {"$exists": true}}, {"a": {"$exists": false}}, {"a": {"$contains": 3}},
        {"b": 2},
        {"a": {"$gte": 0}}, {"a": {"$not": {"$lt": 3}}}
    ]);
    for json in filters.as_array().expect("a list") {
        let filter = filter(json);
        assert_eq!(solve(&postings, &texts, &filter).0, evaluate(&texts, &filter), "{json}");
        let (low, high) = postings.estimate(&filter);
        let count = evaluate(&texts, &filter).len() as u64;
        assert!(low <= count && count <= high, "{json}: {low} <= {count} <= {high}");
    }
}

fn small() -> (Vec<Vec<u8>>, Vec<u8>) {
    let row = |i: usize| match i {
        0 => json!({"n": 7, "t": "abc", "l": [1, "x", null], "o": {"p": 2.5}}),
        1 => json!({"n": -1, "t": "b", "l": [], "long": "y".repeat(200)}),
        _ => json!({"n": 7, "t": "b", "u": u64::MAX}),
    };
    let texts = texts(&(0..80).map(row).collect::<Vec<Value>>());
    let bytes = build(&texts).bytes().to_vec();
    (texts, bytes)
}

#[test]
fn every_byte_may_be_another_one() {
    let (texts, bytes) = small();
    let json = json!([
        {"n": 7}, {"n": {"$lt": 7}}, {"t": {"$gte": "b"}}, {"t": {"$glob": "a*"}}, {"l": {"$contains": "x"}}, {"o.p": {"$gt": 2}},
        {"long": {"$contains": "y"}},
        {"$not": {"u": {"$ne": 3}}}, {"u": {"$nin": [1, 2]}}
    ]);
    let filters: Vec<Filter> = json.as_array().expect("a list").iter().map(filter).collect();
    let mut accepted = 0;
    for at in 0..bytes.len() {
        for byte in [0, 1, 0x7f, 0xff, bytes[at] ^ 1, bytes[at] ^ 0x80, bytes[at].wrapping_add(1)] {
            let mut forged = bytes.clone();
            forged[at] = byte;
            match Postings::parse(forged, texts.len(), Path::new("file")) {
                Ok(postings) => {
                    accepted += 1;
                    for filter in &filters {
                        let verdict = postings.matches(filter);
                        assert!(verdict.resolve(|_| true).max().is_none_or(|last| (last as usize) < texts.len()));
                        assert!(postings.estimate(filter).1 <= texts.len() as u64);
                    }
                }
                Err(Error::Corruption { block, .. }) => assert_eq!(block, super::super::SECTION),
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(accepted > 0, "other texts are as good");
}

#[test]
fn cut_swapped_and_foreign_postings_are_refused() {
    let (texts, bytes) = small();
    let parse = |bytes: &[u8], rows: usize| Postings::parse(bytes.to_vec(), rows, Path::new("file"));
    assert!((0..bytes.len()).all(|end| parse(&bytes[..end], texts.len()).is_err()));
    assert!(parse(&[&bytes[..], &[0]].concat(), texts.len()).is_err());
    assert!(parse(&bytes, texts.len() + 1).is_err() && parse(&bytes, texts.len() - 1).is_err());
    for at in (0..bytes.len() - 8).step_by(4) {
        for word in [u64::MAX, u64::MAX / 2, 1 << 32, u64::from(u32::MAX)] {
            let mut forged = bytes.clone();
            forged[at..at + 8].copy_from_slice(&word.to_le_bytes());
            drop(parse(&forged, texts.len()));
        }
    }
}
