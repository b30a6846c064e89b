//! The part of a row's text that a filter looks at.
//!
//! A filter names a few fields, and a row may say much more. So its text is read from end to end, but values are made only of what is
//! named; the rest is passed over.

use super::super::metadata::Metadata;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::BTreeSet;
use std::fmt;

/// The fields with these names; `None` for text that is no object.
pub(super) fn excerpt(text: &[u8], names: &BTreeSet<String>) -> Option<Metadata> {
    let mut from = serde_json::Deserializer::from_slice(text);
    let found = from.deserialize_map(Fields(names)).ok()?;
    from.end().ok().map(|()| found)
}

struct Fields<'a>(&'a BTreeSet<String>);

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Metadata;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Metadata, A::Error> {
        let mut found = Metadata::new();
        while let Some(name) = entries.next_key_seed(Name(self.0))? {
            match name {
                Some(name) => drop(found.insert(name.clone(), entries.next_value()?)),
                None => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// A name, if it is one of these.
struct Name<'a>(&'a BTreeSet<String>);

impl<'de, 'a> DeserializeSeed<'de> for Name<'a> {
    type Value = Option<&'a String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Name<'a> {
    type Value = Option<&'a String>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.get(name))
    }
}
