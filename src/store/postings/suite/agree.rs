//! 10,000 random filters over random rows: postings, the evaluator and a naive evaluator say the same.

use super::*;
use crate::storage::vfs::sim::Dice;
use std::cmp::Ordering;

/// Filters in all, and for each set of rows.
const FILTERS: usize = 10_000;
const FILTERS_PER_SET: usize = 200;

const NAMES: [&str; 6] = ["a", "b", "c", "lang", "ä", "deep"];
const PATHS: [&str; 12] =
    ["a", "b", "c", "lang", "ä", "deep", "deep.a", "deep.b", "deep.deep", "deep.deep.a", "missing", "a.b"];
const PATTERNS: [&str; 10] = ["*", "", "a*", "*b", "src/*", "src/?.rs", "[ab]*", "x*x", "zz*", "ä*"];

fn pick<T: Clone>(dice: &mut Dice, from: &[T]) -> T {
    from[dice.below(from.len())].clone()
}

fn text(dice: &mut Dice) -> String {
    let texts =
        ["", "a", "b", "ab", "abc", "src/a.rs", "src/b.rs", "src/lib/c.rs", "x", "xx", "ä", "zebra", "\u{10ffff}"];
    match dice.below(12) {
        // Longer than what is a term, some alike up to there.
        0 => "x".repeat(120 + dice.below(12)),
        _ => pick(dice, &texts).to_owned(),
    }
}

fn number(dice: &mut Dice) -> Value {
    let edges = json!([
        0,
        -0.0,
        1.0,
        2,
        2.5,
        -1,
        -1.5,
        1e300,
        -1e300,
        u64::MAX,
        i64::MIN,
        i64::MAX,
        9_007_199_254_740_993_u64,
        9_007_199_254_740_992.0,
        18_446_744_073_709_551_616.0,
        9_223_372_036_854_775_808_u64,
        9_223_372_036_854_775_808.0
    ]);
    match dice.below(3) {
        0 => pick(dice, edges.as_array().expect("a list")),
        1 => json!(dice.below(40)),
        _ => json!(dice.below(40) as f64 / 2.0),
    }
}

fn value(dice: &mut Dice, depth: usize) -> Value {
    match dice.below(if depth == 0 { 8 } else { 11 }) {
        0 => Value::Null,
        1 => json!(dice.below(2) == 0),
        2..5 => number(dice),
        5..8 => json!(text(dice)),
        8 => (0..dice.below(3)).map(|_| value(dice, depth - 1)).collect(),
        9 => (0..dice.below(6)).map(|_| value(dice, 0)).collect(),
        _ => document(dice, depth - 1),
    }
}

fn document(dice: &mut Dice, depth: usize) -> Value {
    let count = dice.below(5);
    Value::Object((0..count).map(|_| (pick(dice, &NAMES).to_owned(), value(dice, depth))).collect())
}

fn condition(dice: &mut Dice) -> Value {
    let list = |dice: &mut Dice| (0..dice.below(4)).map(|_| value(dice, 1)).collect::<Value>();
    let limit = |dice: &mut Dice| if dice.below(2) == 0 { number(dice) } else { json!(text(dice)) };
    match dice.below(14) {
        0 => json!({"$eq": value(dice, 1)}),
        1 => json!({"$ne": value(dice, 1)}),
        2 => json!({"$gt": limit(dice)}),
        3 => json!({"$gte": limit(dice)}),
        4 => json!({"$lt": limit(dice)}),
        5 => json!({"$lte": limit(dice)}),
        6 => json!({"$gte": limit(dice), "$lt": limit(dice)}),
        7 => json!({"$in": list(dice)}),
        8 => json!({"$nin": list(dice)}),
        9 => json!({"$exists": dice.below(2) == 0}),
        10 | 11 => json!({"$contains": value(dice, 1)}),
        12 => json!({"$glob": pick(dice, &PATTERNS)}),
        _ => json!({"$not": condition(dice)}),
    }
}

fn random_filter(dice: &mut Dice, depth: usize) -> Value {
    let parts = |dice: &mut Dice| (0..=dice.below(3)).map(|_| random_filter(dice, depth - 1)).collect::<Value>();
    match dice.below(if depth == 0 { 5 } else { 8 }) {
        0 => json!({ pick(dice, &PATHS): number(dice) }),
        1 => json!({ pick(dice, &PATHS): condition(dice), pick(dice, &PATHS): condition(dice) }),
        2..5 => json!({ pick(dice, &PATHS): condition(dice) }),
        5 => json!({ "$and": parts(dice) }),
        6 => json!({ "$or": parts(dice) }),
        _ => json!({ "$not": random_filter(dice, depth - 1) }),
    }
}

/// Whether a filter holds, by the shortest way to say it.
fn holds(filter: &Value, row: &Value) -> bool {
    filter.as_object().expect("a filter").iter().all(|(name, json)| match name.as_str() {
        "$and" => json.as_array().expect("a list").iter().all(|filter| holds(filter, row)),
        "$or" => json.as_array().expect("a list").iter().any(|filter| holds(filter, row)),
        "$not" => !holds(json, row),
        path => meets(json, path.split('.').try_fold(row, |at, name| at.as_object()?.get(name))),
    })
}

fn meets(json: &Value, found: Option<&Value>) -> bool {
    let operators = json.as_object().filter(|map| map.keys().any(|name| name.starts_with('$')));
    let Some(operators) = operators else { return found.is_some_and(|found| same(found, json)) };
    operators.iter().all(|(operator, wanted)| {
        if operator == "$exists" {
            return found.is_some() == (wanted == true);
        }
        if operator == "$not" {
            return !meets(wanted, found);
        }
        let Some(found) = found else { return false };
        let list = || wanted.as_array().expect("a list").iter();
        let is_like = |other: &Value| kind(other) == kind(found);
        let order = match (found, wanted) {
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (Value::Number(_), Value::Number(_)) => Some(compared(found, wanted)),
            _ => None,
        };
        match operator.as_str() {
            "$eq" => same(found, wanted),
            "$ne" => is_like(wanted) && !same(found, wanted),
            "$gt" => order.is_some_and(Ordering::is_gt),
            "$gte" => order.is_some_and(Ordering::is_ge),
            "$lt" => order.is_some_and(Ordering::is_lt),
            "$lte" => order.is_some_and(Ordering::is_le),
            "$in" => list().any(|wanted| same(found, wanted)),
            "$nin" => (list().len() == 0 || list().any(is_like)) && !list().any(|wanted| same(found, wanted)),
            "$contains" => match (found, wanted) {
                (Value::Array(items), _) => items.iter().any(|item| same(item, wanted)),
                (Value::String(text), Value::String(part)) => text.contains(part),
                _ => false,
            },
            "$glob" => found.as_str().is_some_and(|text| fits(&chars(wanted.as_str().expect("text")), &chars(text))),
            _ => panic!("{operator}"),
        }
    })
}

fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}

fn fits(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], _) => text.is_empty(),
        (['*', rest @ ..], _) => (0..=text.len()).any(|skip| fits(rest, &text[skip..])),
        (['[', 'a', 'b', ']', rest @ ..], [c, left @ ..]) => "ab".contains(*c) && fits(rest, left),
        (['?', rest @ ..], [_, left @ ..]) => fits(rest, left),
        ([wanted, rest @ ..], [c, left @ ..]) => wanted == c && fits(rest, left),
        _ => false,
    }
}

fn kind(value: &Value) -> usize {
    let is = [value.is_null(), value.is_boolean(), value.is_number(), value.is_string(), value.is_array()];
    is.iter().position(|is| *is).unwrap_or(is.len())
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(_), Value::Number(_)) => compared(a, b).is_eq(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// Numbers in halves, where no number here has a digit behind that.
fn compared(a: &Value, b: &Value) -> Ordering {
    let halves = |number: &Value| match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(whole), ..) => i128::from(whole) * 2,
        (_, Some(whole), _) => i128::from(whole) * 2,
        // What is beyond 128 bits, such as 1e300, becomes the last number there is.
        (.., float) => (float.expect("a number") * 2.0) as i128,
    };
    halves(a).cmp(&halves(b))
}

#[test]
fn postings_say_what_looking_at_the_rows_says() {
    let mut looked_at = 0;
    for set in 0..(FILTERS / FILTERS_PER_SET) as u64 {
        let mut dice = Dice(set);
        let rows = pick(&mut dice, &[0, 1, 10, 70, 200]);
        let documents: Vec<Value> = (0..rows).map(|_| document(&mut dice, 2)).collect();
        let texts = texts(&documents);
        let built = build(&texts);
        let postings = Postings::parse(built.bytes().to_vec(), rows, Path::new("file")).expect("its own bytes");
        for _ in 0..FILTERS_PER_SET {
            let json = random_filter(&mut dice, 2);
            let filter = filter(&json);
            let naive: Vec<u32> = (0..rows as u32).filter(|&slot| holds(&json, &documents[slot as usize])).collect();
            assert_eq!(evaluate(&texts, &filter), naive, "{json} in set {set}");
            let (found, candidates) = solve(&postings, &texts, &filter);
            assert_eq!(found, naive, "{json} in set {set}");
            let (low, high) = postings.estimate(&filter);
            let count = found.len() as u64;
            assert!(low <= count && count <= high && high <= rows as u64, "{json}: {low} <= {count} <= {high}");
            looked_at += candidates;
        }
    }
    // Most filters are answered without a look at any row.
    assert!(looked_at < FILTERS as u64 * 15, "{looked_at}");
}
