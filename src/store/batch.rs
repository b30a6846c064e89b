//! What a batch does, as it stands in the log.
//!
//! A batch is a sequence of operations. Each says all that must be known to do it again: stamps are in it, not taken from a clock,
//! and a vector is there as it is kept. So a log that is read twice gives the same rows twice.

use super::coding::{Put, Take};
use super::key::Key;
use super::metadata::{self, Metadata};
use super::schema::Schema;
use crate::storage::Seal;
use std::sync::Arc;

/// A row, without its vector.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) key: Key,
    /// Milliseconds since 1970.
    pub(super) created: i64,
    pub(super) updated: i64,
    /// JSON.
    pub(super) metadata: Arc<[u8]>,
}

/// A sealed segment of a collection, as a log or a manifest names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentName {
    pub(super) file: u64,
    pub(super) seal: Seal,
    pub(super) rows: u64,
}

/// One operation, taken from a log.
pub(super) enum Operation {
    /// Puts a row, with these values, little-endian.
    Put {
        collection: u64,
        row: Row,
        values: Vec<f32>,
    },
    Delete {
        collection: u64,
        key: Key,
    },
    Create {
        collection: u64,
        name: String,
        schema: Schema,
    },
    Drop {
        collection: u64,
    },
    /// Replaces what the collection says about itself.
    Meta {
        collection: u64,
        meta: Metadata,
    },
    /// Puts all rows of a segment.
    Attach {
        collection: u64,
        segment: SegmentName,
    },
}

const PUT: u8 = 1;
const DELETE: u8 = 2;
const CREATE: u8 = 3;
const DROP: u8 = 4;
const META: u8 = 5;
const ATTACH: u8 = 6;

pub(super) fn encode_put(out: &mut Vec<u8>, collection: u64, row: &Row, values: &[f32]) {
    out.put_u8(PUT);
    out.put_u64(collection);
    row.key.encode(out);
    out.put_i64(row.created);
    out.put_i64(row.updated);
    out.put_bytes(&row.metadata);
    out.put_bytes(bytemuck::cast_slice(values));
}

pub(super) fn encode_delete(out: &mut Vec<u8>, collection: u64, key: &Key) {
    out.put_u8(DELETE);
    out.put_u64(collection);
    key.encode(out);
}

pub(super) fn encode_create(out: &mut Vec<u8>, collection: u64, name: &str, schema: &Schema) {
    out.put_u8(CREATE);
    out.put_u64(collection);
    out.put_bytes(name.as_bytes());
    // A schema is four plain fields: writing it cannot fail.
    out.put_bytes(&serde_json::to_vec(schema).unwrap_or_default());
}

pub(super) fn encode_drop(out: &mut Vec<u8>, collection: u64) {
    out.put_u8(DROP);
    out.put_u64(collection);
}

/// `meta` is the JSON text of the object.
pub(super) fn encode_meta(out: &mut Vec<u8>, collection: u64, meta: &[u8]) {
    out.put_u8(META);
    out.put_u64(collection);
    out.put_bytes(meta);
}

pub(super) fn encode_attach(out: &mut Vec<u8>, collection: u64, segment: &SegmentName) {
    out.put_u8(ATTACH);
    out.put_u64(collection);
    out.put_u64(segment.file);
    out.put_u64(segment.seal.length);
    out.put_u128(segment.seal.root);
    out.put_u64(segment.rows);
}

/// The operations of a batch; `None` if the bytes are anything else.
pub(super) fn decode(payload: &[u8]) -> Option<Vec<Operation>> {
    let (mut from, mut operations) = (Take(payload), Vec::new());
    while !from.0.is_empty() {
        operations.push(decode_one(&mut from)?);
    }
    Some(operations)
}

fn decode_one(from: &mut Take<'_>) -> Option<Operation> {
    let (tag, collection) = (from.u8()?, from.u64()?);
    Some(match tag {
        PUT => {
            let row = Row {
                key: Key::decode(from)?,
                created: from.i64()?,
                updated: from.i64()?,
                metadata: from.bytes()?.into(),
            };
            let (words, rest) = from.bytes()?.as_chunks::<4>();
            let values = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
            return rest.is_empty().then_some(Operation::Put { collection, row, values });
        }
        DELETE => Operation::Delete { collection, key: Key::decode(from)? },
        CREATE => {
            let name = from.text()?.to_owned();
            Operation::Create { collection, name, schema: serde_json::from_slice(from.bytes()?).ok()? }
        }
        DROP => Operation::Drop { collection },
        META => Operation::Meta { collection, meta: metadata::decode(from.bytes()?)? },
        ATTACH => {
            let (file, length, root, rows) = (from.u64()?, from.u64()?, from.u128()?, from.u64()?);
            Operation::Attach { collection, segment: SegmentName { file, seal: Seal { length, root }, rows } }
        }
        _ => return None,
    })
}
