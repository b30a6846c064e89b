//! When two JSON values are equal, and how they are ordered.
//!
//! Numbers are compared as the numbers that they are, whether written as integers or with a point: 1 equals 1.0, and
//! 9007199254740993 does not equal 9007199254740992.0. Nothing else crosses types: `true` is not 1 and `"1"` is not 1.

use serde_json::{Number, Value};
use std::cmp::Ordering;

/// Whether they are the same value.
pub(in super::super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare(a, b).is_eq(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

/// Which comes first, of two numbers or two texts (by code points).
pub(in super::super) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Some(compare(a, b)),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// Whether both are numbers, both texts, and so on.
pub(in super::super) fn same_type(a: &Value, b: &Value) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

/// A number without rounding.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Exact {
    /// Of at most 65 bits.
    Whole(i128),
    /// Finite.
    Float(f64),
}

impl Exact {
    pub(in super::super) fn of(number: &Number) -> Exact {
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        // JSON knows no other numbers, and none that is not finite.
        whole.map_or_else(|| Exact::Float(number.as_f64().unwrap_or(0.0)), Exact::Whole)
    }

    pub(in super::super) fn compare(self, other: Exact) -> Ordering {
        match (self, other) {
            (Exact::Whole(a), Exact::Whole(b)) => a.cmp(&b),
            // 0.0 and -0.0 are the same number.
            (Exact::Float(a), Exact::Float(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Exact::Whole(a), Exact::Float(b)) => compare_mixed(a, b),
            (Exact::Float(a), Exact::Whole(b)) => compare_mixed(b, a).reverse(),
        }
    }
}

fn compare(a: &Number, b: &Number) -> Ordering {
    Exact::of(a).compare(Exact::of(b))
}

/// A whole number of at most 65 bits beside a float.
fn compare_mixed(whole: i128, float: f64) -> Ordering {
    // The conversion is exact below 2^127 and stops at the ends of i128 above, far beyond any whole number here.
    let part = float.trunc();
    whole.cmp(&(part as i128)).then_with(|| part.partial_cmp(&float).unwrap_or(Ordering::Equal))
}
