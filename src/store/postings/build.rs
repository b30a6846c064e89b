//! From metadata to fields: every text is read once, and what stands in it is noted down where its path leads.

use super::super::filter::value::Exact;
use super::{MAX_FIELDS, MAX_PATH, MAX_TEXT, number, terms};
use hashbrown::HashMap;
use roaring::RoaringBitmap;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// What was found in the rows.
pub(super) struct Found {
    pub(super) rows: u32,
    pub(super) complete: bool,
    pub(super) odd: RoaringBitmap,
    /// The first one is the whole object, which is no field.
    pub(super) fields: Vec<FoundField>,
}

/// What the rows say at one path.
#[derive(Default)]
pub(super) struct FoundField {
    pub(super) path: String,
    /// The fields inside of it.
    inside: HashMap<Box<str>, usize>,
    pub(super) values: Notes,
    pub(super) elements: Notes,
    /// Whether its lists have more elements than pay.
    pub(super) is_too_varied: bool,
    /// The last row that has it.
    last: Option<u32>,
}

/// Which rows have which terms, as they come. Terms are numbered as they come, too, behind the [single](terms::SINGLE) ones.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) numbers: HashMap<[u8; number::BYTES], u32>,
    pub(super) texts: HashMap<Box<str>, u32>,
    /// Slot and term.
    pub(super) pairs: Vec<(u32, u32)>,
}

/// The single terms while terms are collected.
pub(super) const LONG: u32 = 3;
pub(super) const LIST: u32 = 4;
pub(super) const OBJECT: u32 = 5;

/// Reads the metadata of all rows.
pub(super) fn build<'a>(rows: usize, text: impl Fn(usize) -> &'a [u8]) -> Found {
    let rows = rows as u32;
    let fields = vec![FoundField::default()];
    let mut found = Found { rows, complete: true, odd: RoaringBitmap::new(), fields };
    for slot in 0..rows {
        let mut from = serde_json::Deserializer::from_slice(text(slot as usize));
        let read = from.deserialize_map(At { found: &mut found, field: 0, slot }).and_then(|()| from.end());
        if read.is_err() {
            found.odd.insert(slot);
        }
    }
    found
}

impl Found {
    /// Notes that a row has this value at a field. Nobody has two, unless somebody wrote a name twice.
    fn note(&mut self, field: usize, slot: u32, term: impl FnOnce(&mut Notes) -> u32) {
        let field = &mut self.fields[field];
        if field.last == Some(slot) {
            self.odd.insert(slot);
            return;
        }
        field.last = Some(slot);
        let term = term(&mut field.values);
        field.values.pairs.push((slot, term));
    }

    /// The field of this name inside of another, new or not; `None` for what is no field. No filter can name a part of a path that is empty
    /// or has a dot in it.
    fn inside(&mut self, field: usize, name: &str) -> Option<usize> {
        if let Some(&known) = self.fields[field].inside.get(name) {
            return Some(known);
        }
        if name.is_empty() || name.contains('.') {
            return None;
        }
        let outer = &self.fields[field].path;
        if self.fields.len() > MAX_FIELDS || outer.len() + name.len() >= MAX_PATH {
            self.complete = false;
            return None;
        }
        let path = if field == 0 { name.to_owned() } else { format!("{outer}.{name}") };
        let new = self.fields.len();
        self.fields[field].inside.insert(name.into(), new);
        self.fields.push(FoundField { path, ..FoundField::default() });
        Some(new)
    }

    /// Notes the elements of a list, which lie at the end of the pairs.
    fn end_list(&mut self, field: usize, start: usize) {
        let (rows, field) = (self.rows as usize, &mut self.fields[field]);
        let pairs = &mut field.elements.pairs;
        pairs[start..].sort_unstable();
        let mut kept = start;
        for i in start..pairs.len() {
            if i == start || pairs[i] != pairs[kept - 1] {
                pairs[kept] = pairs[i];
                kept += 1;
            }
        }
        pairs.truncate(kept);
        // Eight elements a row still cost less than the row.
        if pairs.len() > rows * 8 + 1024 {
            field.is_too_varied = true;
            field.elements = Notes::default();
        }
    }
}

impl Notes {
    fn number(&mut self, number: Exact) -> u32 {
        let new = self.len();
        *self.numbers.entry(number::encode(number)).or_insert(new)
    }

    fn text(&mut self, text: &str) -> u32 {
        if text.len() > MAX_TEXT {
            return LONG;
        }
        if let Some(&known) = self.texts.get(text) {
            return known;
        }
        let new = self.len();
        self.texts.insert(text.into(), new);
        new
    }

    /// How many terms there are.
    fn len(&self) -> u32 {
        (terms::SINGLE + self.numbers.len() + self.texts.len()) as u32
    }
}

/// A value at a field of a row.
struct At<'a> {
    found: &'a mut Found,
    field: usize,
    slot: u32,
}

impl At<'_> {
    fn note(self, term: impl FnOnce(&mut Notes) -> u32) {
        self.found.note(self.field, self.slot, term);
    }
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.note(|_| terms::NULL as u32);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.note(|_| (if value { terms::TRUE } else { terms::FALSE }) as u32);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.note(|notes| notes.number(Exact::Whole(value.into())));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.note(|notes| notes.number(Exact::Whole(value.into())));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.note(|notes| notes.number(Exact::Float(value)));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.note(|notes| notes.text(value));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let At { found, field, slot } = self;
        // A name that comes twice notes nothing more.
        let is_new = found.fields[field].last != Some(slot) && !found.fields[field].is_too_varied;
        let start = found.fields[field].elements.pairs.len();
        found.note(field, slot, |_| LIST);
        while let Some(item) = items.next_element::<Value>()? {
            if is_new {
                let elements = &mut found.fields[field].elements;
                let term = elements.term(&item);
                elements.pairs.push((slot, term));
            }
        }
        found.end_list(field, start);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let At { found, field, slot } = self;
        if field > 0 {
            found.note(field, slot, |_| OBJECT);
        }
        while let Some(inside) = entries.next_key_seed(Name(found, field))? {
            match inside {
                Some(field) => entries.next_value_seed(At { found, field, slot })?,
                None => drop(entries.next_value::<Value>()?),
            }
        }
        Ok(())
    }
}

impl Notes {
    /// The term of an element.
    fn term(&mut self, value: &Value) -> u32 {
        match value {
            Value::Null => terms::NULL as u32,
            Value::Bool(false) => terms::FALSE as u32,
            Value::Bool(true) => terms::TRUE as u32,
            Value::Number(number) => self.number(Exact::of(number)),
            Value::String(text) => self.text(text),
            Value::Array(_) => LIST,
            Value::Object(_) => OBJECT,
        }
    }
}

/// The field that a name leads to.
struct Name<'a>(&'a mut Found, usize);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<usize>, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.inside(self.1, name))
    }
}
