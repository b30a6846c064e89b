//! A frame: one batch in the log, whole or not there.
//!
//! A frame starts on a page of its own and fills it up with zeros, so a torn write never destroys what was written before. It
//! names the log that it is in (by salt), its place (by number) and the frame before it (by checksum), and every byte of it is
//! under a checksum. So of a frame that was written in part, left over from something else, or moved, nothing is believed.

use crate::storage::vfs::PAGE;
use bytemuck::{Pod, Zeroable};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

const MAGIC: [u8; 8] = *b"NFFRAME\0";

/// What a frame begins with; the payload follows.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct FrameRecord {
    magic: [u8; 8],
    /// Of the log.
    salt: [u8; 16],
    /// The number of the batch.
    pub(super) seq: u64,
    /// The checksum of the frame before, or of the header of the log.
    previous: [u8; 16],
    /// Bytes of the payload.
    payload: u64,
    /// XXH3-128 of all of the above, and of payload and padding.
    checksum: [u8; 16],
    /// XXH3-64 of all of the above.
    header_checksum: u64,
}

/// Bytes of the record.
pub(super) const HEADER: usize = size_of::<FrameRecord>();
/// What the second checksum is of.
const HASHED_FIRST: usize = 56;

/// A frame under construction: room for the record, then the payload.
pub(crate) struct Frame {
    bytes: Vec<u8>,
}

/// Where a log goes on: what the next frame must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Where it starts.
    pub(crate) offset: u64,
    /// Its number.
    pub(crate) seq: u64,
    /// The checksum that it names.
    pub(crate) previous: u128,
}

impl Frame {
    /// A frame without a payload.
    pub(crate) fn new() -> Frame {
        Frame { bytes: vec![0; HEADER] }
    }

    /// The payload, to be appended to.
    pub(crate) fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes of the payload so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - HEADER
    }

    /// The finished frame, and where the next one goes.
    pub(super) fn seal(mut self, salt: u128, cursor: &Cursor) -> (Vec<u8>, Cursor) {
        let mut record = FrameRecord {
            magic: MAGIC,
            salt: salt.to_le_bytes(),
            seq: cursor.seq,
            previous: cursor.previous.to_le_bytes(),
            payload: self.len() as u64,
            checksum: [0; 16],
            header_checksum: 0,
        };
        self.bytes.resize(self.bytes.len().next_multiple_of(PAGE), 0);
        record.checksum = record.digest(&self.bytes[HEADER..]);
        record.header_checksum = record.header_digest();
        self.bytes[..HEADER].copy_from_slice(bytemuck::bytes_of(&record));
        let next = record.next(cursor);
        (self.bytes, next)
    }
}

impl FrameRecord {
    /// The record that `bytes` begin with, if it is one of this log. The frame behind it may still be torn.
    pub(super) fn parse(bytes: &[u8; HEADER], salt: u128) -> Option<FrameRecord> {
        let record: FrameRecord = bytemuck::pod_read_unaligned(bytes);
        let is_ours = record.magic == MAGIC && record.salt == salt.to_le_bytes();
        (is_ours && record.header_checksum == record.header_digest()).then_some(record)
    }

    /// Bytes of the whole frame; `None` if it would pass `limit`.
    pub(super) fn frame_bytes(&self, limit: u64) -> Option<u64> {
        let bytes = self.payload.checked_add(HEADER as u64)?.checked_next_multiple_of(PAGE as u64)?;
        (bytes <= limit).then_some(bytes)
    }

    /// The payload in `rest`, which is what follows the record, if it is what was written.
    pub(super) fn payload<'a>(&self, rest: &'a [u8]) -> Option<&'a [u8]> {
        (self.checksum == self.digest(rest)).then(|| &rest[..self.payload as usize])
    }

    /// Whether this is the frame that belongs at `cursor`.
    pub(super) fn follows(&self, cursor: &Cursor) -> bool {
        self.seq == cursor.seq && self.previous == cursor.previous.to_le_bytes()
    }

    /// What follows this frame, which is at `cursor`.
    pub(super) fn next(&self, cursor: &Cursor) -> Cursor {
        let bytes = (self.payload + HEADER as u64).next_multiple_of(PAGE as u64);
        let previous = u128::from_le_bytes(self.checksum);
        Cursor { offset: cursor.offset + bytes, seq: cursor.seq + 1, previous }
    }

    fn digest(&self, rest: &[u8]) -> [u8; 16] {
        let mut hash = Xxh3Default::new();
        hash.update(&bytemuck::bytes_of(self)[..HASHED_FIRST]);
        hash.update(rest);
        hash.digest128().to_le_bytes()
    }

    fn header_digest(&self) -> u64 {
        xxh3_64(&bytemuck::bytes_of(self)[..HEADER - 8])
    }
}
