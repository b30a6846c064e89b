//! Batches that name their keys: what each is to do, and what that comes to when it is its turn.

use super::batch::{Row, encode_delete, encode_put};
use super::intake::{Intake, OnConflict};
use super::key::Key;
use super::metadata::{Document, Metadata};
use super::rows::Rows;
use super::world::Live;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;

/// What is wanted. It depends on what is there under the keys, and on nothing else.
pub(super) enum Wanted {
    /// Rows, and what becomes of those that are there.
    Put(Intake, OnConflict),
    /// Other metadata, one patch for all keys or one for each; with `replace`, all other names go.
    Patch {
        keys: Vec<Key>,
        patches: Vec<Metadata>,
        replace: bool,
    },
    Delete(Vec<Key>),
}

/// What is done: rows that are put, each under a key of its own, or keys of rows that are there and go.
pub(super) enum Changes {
    Put(Intake),
    Delete(Vec<Key>),
}

impl Wanted {
    /// The keys that it looks at.
    pub(super) fn keys(&self) -> Box<dyn Iterator<Item = &Key> + '_> {
        match self {
            Wanted::Put(intake, _) => Box::new(intake.rows.iter().map(|row| &row.key)),
            Wanted::Patch { keys, .. } | Wanted::Delete(keys) => Box::new(keys.iter()),
        }
    }

    /// Bytes that it brings along, about.
    pub(super) fn bytes(&self) -> usize {
        if let Wanted::Put(intake, _) = self { intake.bytes() } else { 0 }
    }

    /// What there is to do, the rows being what they are.
    pub(super) fn meet(self, live: &Live, rows: &Rows, now: i64) -> Result<Changes> {
        match self {
            Wanted::Put(mut intake, conflict) => intake.meet(rows, conflict, now).map(|()| Changes::Put(intake)),
            Wanted::Patch { keys, patches, replace } => {
                let patched = patch(live, rows, &keys, &patches, replace)?;
                rewritten(rows, patched, now).map(Changes::Put)
            }
            Wanted::Delete(mut keys) => {
                keys.sort_unstable();
                keys.dedup();
                let there = |key: Key| Ok(rows.find(&key)?.map(|_| key));
                let there = keys.into_iter().filter_map(|key| there(key).transpose());
                there.collect::<Result<_>>().map(Changes::Delete)
            }
        }
    }
}

impl Changes {
    /// How many rows it changes.
    pub(super) fn len(&self) -> usize {
        match self {
            Changes::Put(intake) => intake.rows.len(),
            Changes::Delete(keys) => keys.len(),
        }
    }

    /// Bytes that it brings along, about.
    pub(super) fn bytes(&self) -> usize {
        if let Changes::Put(intake) = self { intake.bytes() } else { 0 }
    }

    /// Bytes that it makes a collection of this kind larger in memory, about.
    pub(super) fn memory(&self, live: &Live) -> usize {
        match self {
            Changes::Put(intake) => intake.bytes() + intake.rows.len() * live.schema.linked_bytes(),
            Changes::Delete(_) => 0,
        }
    }

    /// What the log says of it.
    pub(super) fn encode(&self, collection: u64, out: &mut Vec<u8>) {
        match self {
            Changes::Put(intake) => {
                for (row, values) in intake.rows.iter().zip(intake.values.chunks_exact(intake.dim)) {
                    encode_put(out, collection, row, values);
                }
            }
            Changes::Delete(keys) => keys.iter().for_each(|key| encode_delete(out, collection, key)),
        }
    }

    /// Does it, for everybody to see.
    pub(super) fn apply(self, live: &Live) -> Result<()> {
        live.change(|rows| match self {
            Changes::Put(intake) => intake.put(rows),
            Changes::Delete(keys) => rows.delete(&keys).map(drop),
        })?
    }
}

/// What the rows with these keys are to say, and the first place of each among them.
fn patch<'a>(
    live: &Live,
    rows: &Rows,
    keys: &'a [Key],
    patches: &[Metadata],
    replace: bool,
) -> Result<BTreeMap<&'a Key, (usize, Metadata)>> {
    let mut patched: BTreeMap<&Key, (usize, Metadata)> = BTreeMap::new();
    for (i, key) in keys.iter().enumerate() {
        let object = match patched.entry(key) {
            Entry::Occupied(entry) => &mut entry.into_mut().1,
            Entry::Vacant(entry) => {
                let Some(number) = rows.find(key)? else { continue };
                &mut entry.insert((i, object(live, &rows.row(number)?.metadata)?)).1
            }
        };
        if replace {
            object.clear();
        }
        object.extend(patches[if patches.len() == 1 { 0 } else { i }].clone());
    }
    Ok(patched)
}

/// Rows that are there, with other metadata.
fn rewritten(rows: &Rows, patched: BTreeMap<&Key, (usize, Metadata)>, now: i64) -> Result<Intake> {
    let mut intake = Intake { rows: Vec::new(), values: Vec::new(), dim: rows.schema.dim };
    for (key, (position, object)) in patched {
        let Some(number) = rows.find(key)? else { continue };
        let metadata = Document::new(&object, position)?;
        intake.values.extend(rows.values(&[number])?);
        intake.rows.push(Row { metadata, updated: now, ..rows.row(number)? });
    }
    Ok(intake)
}

/// The object in a text that came from a file, which somebody may have forged.
fn object(live: &Live, document: &Document) -> Result<Metadata> {
    document.object().ok_or_else(|| Error::Corruption {
        path: PathBuf::from(&*live.name),
        block: "metadata".to_owned(),
        what: "a row has metadata that are no JSON object".to_owned(),
    })
}
