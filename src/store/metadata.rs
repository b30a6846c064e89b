//! What a row says beside its vector: a JSON object.
//!
//! It is kept as text, the shortest that there is, with its names in order. Whole numbers keep all their digits (64 bits), others are
//! f64 and come back with the same bits.

use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A JSON object.
pub type Metadata = Map<String, Value>;

/// Lists and objects within each other, at most.
const MAX_DEPTH: usize = 64;
/// Bytes of the text, at most.
const MAX_BYTES: usize = 16 << 20;

/// The text of an object; refuses one that is too deep or too large. `position` is its place among those of the caller.
pub(super) fn encode(metadata: &Metadata, position: usize) -> Result<Arc<[u8]>> {
    let invalid = |what: String| Error::InvalidMetadata { position, what };
    if metadata.values().any(|value| is_deeper(value, MAX_DEPTH - 1)) {
        return Err(invalid(format!("lists and objects are more than {MAX_DEPTH} deep")));
    }
    let text = serde_json::to_vec(metadata).map_err(|error| invalid(error.to_string()))?;
    if text.len() > MAX_BYTES {
        return Err(invalid(format!("as JSON it has {} bytes, at most {MAX_BYTES} fit", text.len())));
    }
    Ok(text.into())
}

fn is_deeper(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth == 0 || items.iter().any(|item| is_deeper(item, depth - 1)),
        Value::Object(map) => depth == 0 || map.values().any(|item| is_deeper(item, depth - 1)),
        _ => false,
    }
}

/// The object in a text that [`encode`] made, or that somebody wants us to take for one.
pub(super) fn decode(text: &[u8]) -> Option<Metadata> {
    if text.len() > MAX_BYTES { None } else { serde_json::from_slice(text).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Metadata {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn every_number_comes_back_as_it_was() {
        let numbers = json!({"a": [u64::MAX, i64::MIN, 0.1, 5e-324, 1.797_693_134_862_315_7e308, 1.0, 9_007_199_254_740_993_u64, -0.0],
                             "b": [2.225_073_858_507_201e-308, 6.123_233_995_736_766e-17, 123_456_789.123_456_79]});
        let numbers = object(numbers);
        let again = decode(&encode(&numbers, 0).expect("an object")).expect("an object");
        assert_eq!(format!("{again:?}"), format!("{numbers:?}"));
    }

    #[test]
    fn depth_and_size_are_limited() {
        let nested = |depth: usize| (1..depth).fold(json!({}), |inside, _| json!({ "in": inside }));
        assert!(encode(&object(nested(MAX_DEPTH)), 0).is_ok());
        let error = encode(&object(nested(MAX_DEPTH + 1)), 3).expect_err("too deep");
        assert!(matches!(error, Error::InvalidMetadata { position: 3, .. }), "{error}");
        let error = encode(&object(json!({"text": "x".repeat(MAX_BYTES)})), 1).expect_err("too large");
        assert!(error.to_string().contains("16777216"), "{error}");
    }
}
