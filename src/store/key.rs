//! What a row is called: a number, bytes or text.

use super::coding::{Put, Take};
use crate::error::{Error, Result};
use std::fmt;
use std::sync::Arc;

/// The most bytes of a key.
const MAX_BYTES: usize = 64 << 10;

/// The key of a row. Typed: `1`, `"1"` and `b"1"` are three keys. In order numbers come first, then bytes, then text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A number.
    Int(i64),
    /// Bytes, compared as such.
    Bytes(Arc<[u8]>),
    /// Text, compared by code points.
    Str(Arc<str>),
}

impl Key {
    /// Refuses a key that is empty or too long.
    pub(super) fn check(&self, position: usize) -> Result<()> {
        let length = match self {
            Key::Int(_) => return Ok(()),
            Key::Bytes(bytes) => bytes.len(),
            Key::Str(text) => text.len(),
        };
        match length {
            0 => Err(Error::InvalidKey { position, what: "it is empty".to_owned() }),
            1..=MAX_BYTES => Ok(()),
            _ => Err(Error::InvalidKey { position, what: format!("it has {length} bytes, at most {MAX_BYTES} fit") }),
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Key::Int(number) => {
                out.put_u8(0);
                out.put_i64(*number);
            }
            Key::Bytes(bytes) => {
                out.put_u8(1);
                out.put_bytes(bytes);
            }
            Key::Str(text) => {
                out.put_u8(2);
                out.put_bytes(text.as_bytes());
            }
        }
    }

    pub(super) fn decode(from: &mut Take<'_>) -> Option<Key> {
        KeyRef::decode(from)?.to_key()
    }

    /// The key, to be compared with others where they lie.
    pub(super) fn as_ref(&self) -> KeyRef<'_> {
        match self {
            Key::Int(number) => KeyRef::Int(*number),
            Key::Bytes(bytes) => KeyRef::Bytes(bytes),
            Key::Str(text) => KeyRef::Str(text.as_bytes()),
        }
    }

    /// Bytes that it takes in memory, beside itself.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Key::Int(_) => 0,
            Key::Bytes(bytes) => bytes.len(),
            Key::Str(text) => text.len(),
        }
    }
}

/// A key where it lies, in the same order as [`Key`]: code points are in the order of their bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum KeyRef<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    Str(&'a [u8]),
}

impl<'a> KeyRef<'a> {
    pub(super) fn decode(from: &mut Take<'a>) -> Option<KeyRef<'a>> {
        Some(match from.u8()? {
            0 => KeyRef::Int(from.i64()?),
            1 => KeyRef::Bytes(from.bytes()?),
            2 => KeyRef::Str(from.bytes()?),
            _ => return None,
        })
    }

    /// A key of its own; `None` if it is none.
    pub(super) fn to_key(self) -> Option<Key> {
        let key = match self {
            KeyRef::Int(number) => Key::Int(number),
            KeyRef::Bytes(bytes) => Key::Bytes(bytes.into()),
            KeyRef::Str(text) => Key::Str(std::str::from_utf8(text).ok()?.into()),
        };
        key.check(0).is_ok().then_some(key)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Int(number) => number.fmt(out),
            Key::Bytes(bytes) => write!(out, "b\"{}\"", bytes.escape_ascii()),
            Key::Str(text) => text.fmt(out),
        }
    }
}

impl From<i64> for Key {
    fn from(number: i64) -> Key {
        Key::Int(number)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Key {
        Key::Str(text.into())
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Key {
        Key::Bytes(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_typed_and_numbers_come_before_bytes_before_text() {
        let keys = [Key::Int(-3), Key::Int(1), b"1"[..].into(), b"\xff"[..].into(), "1".into(), "a".into(), "ä".into()];
        assert!(keys.is_sorted_by(|a, b| a < b && a.as_ref() < b.as_ref()));
        for key in &keys {
            let mut bytes = Vec::new();
            key.encode(&mut bytes);
            assert_eq!(Key::decode(&mut Take(&bytes)).as_ref(), Some(key));
            assert!((0..bytes.len()).all(|end| Key::decode(&mut Take(&bytes[..end])).is_none()), "{key:?}");
        }
        assert_eq!(format!("{:?}", keys), r#"[-3, 1, b"1", b"\xff", "1", "a", "ä"]"#);
    }

    #[test]
    fn empty_and_endless_keys_are_refused() {
        let longest = "k".repeat(MAX_BYTES);
        assert!(Key::from(longest.as_str()).check(0).is_ok());
        for key in [Key::from(""), Key::from(&b""[..]), Key::from(format!("{longest}k").as_str())] {
            let error = key.check(7).expect_err("no key");
            assert!(matches!(error, Error::InvalidKey { position: 7, .. }), "{error}");
        }
    }
}
