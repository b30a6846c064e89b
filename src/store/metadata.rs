//! What a row says beside its vector: a JSON object.
//!
//! It is kept as text, the shortest that there is, with its names in order. Whole numbers keep all their digits (64 bits), others are
//! f64 and come back with the same bits.

use crate::error::{Error, Result};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// A JSON object.
pub type Metadata = Map<String, Value>;

/// Bytes of the text, at most.
const MAX_BYTES: usize = 16 << 20;

/// A JSON object as it is kept: as text.
#[derive(Clone, PartialEq, Eq)]
pub struct Document(Arc<[u8]>);

impl Document {
    /// Lists and objects within each other, at most, the outermost object being one.
    pub const MAX_DEPTH: usize = 64;

    /// The text of anything that is written as an object; its names should come in order. Refuses one that is too deep or too large.
    /// `position` is its place among those of the caller.
    pub fn new(object: &impl Serialize, position: usize) -> Result<Document> {
        let invalid = |what: String| Error::InvalidMetadata { position, what };
        let text = serde_json::to_vec(object).map_err(|error| invalid(error.to_string()))?;
        if text.first() != Some(&b'{') {
            return Err(invalid("it is no object".to_owned()));
        }
        if depth(&text) > Document::MAX_DEPTH {
            return Err(invalid(format!("lists and objects are more than {} deep", Document::MAX_DEPTH)));
        }
        if text.len() > MAX_BYTES {
            return Err(invalid(format!("as JSON it has {} bytes, at most {MAX_BYTES} fit", text.len())));
        }
        Ok(Document(text.into()))
    }

    /// The object without names.
    pub fn empty() -> Document {
        Document(b"{}"[..].into())
    }

    /// Text that came from a file, which somebody may have forged.
    pub(super) fn found(text: &[u8]) -> Document {
        Document(text.into())
    }

    /// The text: JSON, unless it came from a file that somebody forged.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The object; `None` for forged text.
    pub fn object(&self) -> Option<Metadata> {
        decode(&self.0)
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(out)
    }
}

/// How many lists and objects lie within each other, in JSON text.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut bytes) = (0usize, 0, text.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    deepest
}

fn skip_string<'a>(bytes: &mut impl Iterator<Item = &'a u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

/// The object in a text that a [`Document`] has, or that somebody wants us to take for one.
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
        let again = Document::new(&numbers, 0).expect("an object").object().expect("an object");
        assert_eq!(format!("{again:?}"), format!("{numbers:?}"));
    }

    #[test]
    fn depth_and_size_are_limited() {
        let nested = |depth: usize| (1..depth).fold(json!({}), |inside, _| json!({ "in": inside }));
        assert!(Document::new(&nested(Document::MAX_DEPTH), 0).is_ok());
        let error = Document::new(&nested(Document::MAX_DEPTH + 1), 3).expect_err("too deep");
        assert!(matches!(error, Error::InvalidMetadata { position: 3, .. }), "{error}");
        let error = Document::new(&json!({"text": "x".repeat(MAX_BYTES)}), 1).expect_err("too large");
        assert!(error.to_string().contains("16777216"), "{error}");
    }
    #[test]
    fn brackets_in_text_are_no_depth_and_what_is_no_object_is_refused() {
        let text = "[{".repeat(100) + "\\\"[" + &"[".repeat(100);
        assert!(Document::new(&json!({ &text: &text }), 0).is_ok());
        let error = Document::new(&json!([1]), 2).expect_err("a list");
        assert!(matches!(error, Error::InvalidMetadata { position: 2, .. }), "{error}");
    }
}
