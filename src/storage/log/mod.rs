//! The batch log: the only place where a batch becomes part of the store.
//!
//! A log is a header page, then [frames](frame). Writing a frame and syncing the file *is* the commit; there is nothing else to keep
//! in step with it. A log is begun under a temporary name and renamed when its header is durable, so a log that exists is whole up
//! to there. It is never shortened and no byte in it is ever written again:
//!
//! - a write that fails ends the log. The next batch begins a new one, whose header says where the old one ended; what the failed
//!   write may have left behind that place does not exist.
//! - a sync that fails ends the right to write: nobody knows what is on the disk. Whoever opens the store again finds out.
//! - recovery does not go on with the log that it finds. It copies its frames to a new one and syncs that: so nothing depends on
//!   pages that an earlier process failed to sync and that only look as if they were on the disk.

mod chain;
mod frame;

pub(crate) use chain::{Chain, chain};
pub(crate) use frame::{Cursor, Frame};

use super::vfs::{PAGE, Vfs, VfsFile, publish, write_all_at};
use crate::error::{Error, Result};
use bytemuck::{Pod, Zeroable};
use std::io;
use std::path::PathBuf;
use xxhash_rust::xxh3::xxh3_128;

const MAGIC: [u8; 8] = *b"\x89NFLOG\r\n";
/// The version of the log; 0: may still change from one release to the next.
const FORMAT: u32 = 0;

/// The file name of a log.
pub(crate) fn log_name(id: u64) -> String {
    format!("wal-{id:016x}.log")
}

/// The number of the log of that name.
pub(crate) fn log_id(name: &str) -> Option<u64> {
    number(name, "wal-", ".log")
}

/// The number between `prefix` and `suffix`, written as we write it.
pub(crate) fn number(name: &str, prefix: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
    let plain = digits.len() == 16 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if plain { u64::from_str_radix(digits, 16).ok() } else { None }
}

/// The first page of a log.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct LogRecord {
    magic: [u8; 8],
    format: u32,
    synced: u32,
    store: [u8; 16],
    salt: [u8; 16],
    id: u64,
    first_seq: u64,
    previous_id: u64,
    previous_end: u64,
    durable_end: u64,
    reserved: [u8; 3992],
    checksum: [u8; 16],
}

const _: () = assert!(size_of::<LogRecord>() == PAGE);

/// What a log says about itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogHeader {
    /// The store that it belongs to.
    pub(crate) store: u128,
    pub(crate) id: u64,
    /// The number of its first batch.
    pub(crate) first_seq: u64,
    /// The log that it continues, 0 if there is none, and where that one ends.
    pub(crate) previous: (u64, u64),
    /// Whether every batch was synced before the next one was written.
    pub(crate) synced: bool,
    salt: u128,
    /// Up to here it was durable when it was born.
    durable_end: u64,
}

impl LogHeader {
    fn record(&self) -> LogRecord {
        let mut record = LogRecord {
            magic: MAGIC,
            format: FORMAT,
            synced: self.synced.into(),
            store: self.store.to_le_bytes(),
            salt: self.salt.to_le_bytes(),
            id: self.id,
            first_seq: self.first_seq,
            previous_id: self.previous.0,
            previous_end: self.previous.1,
            durable_end: self.durable_end,
            reserved: [0; 3992],
            checksum: [0; 16],
        };
        record.checksum = record.digest();
        record
    }

    fn parse(page: &[u8; PAGE], path: PathBuf) -> Result<(LogHeader, u128)> {
        let record: LogRecord = bytemuck::pod_read_unaligned(page);
        let corrupt = |what: &str| Error::Corruption { path: path.clone(), block: "header".into(), what: what.into() };
        if record.magic != MAGIC {
            return Err(corrupt("not a Nearfield log: the first bytes are others"));
        }
        if record.format != FORMAT {
            let advice = if record.format > FORMAT { "install a newer nearfield" } else { "load the data again" };
            return Err(Error::FormatVersion { path, found: record.format, supported: FORMAT, advice });
        }
        if record.checksum != record.digest() {
            return Err(corrupt("its checksum does not match"));
        }
        let header = LogHeader {
            store: u128::from_le_bytes(record.store),
            id: record.id,
            first_seq: record.first_seq,
            previous: (record.previous_id, record.previous_end),
            synced: record.synced != 0,
            salt: u128::from_le_bytes(record.salt),
            durable_end: record.durable_end,
        };
        Ok((header, u128::from_le_bytes(record.checksum)))
    }

    /// Where its first frame goes.
    fn start(&self, checksum: u128) -> Cursor {
        Cursor { offset: PAGE as u64, seq: self.first_seq, previous: checksum }
    }
}

impl LogRecord {
    fn digest(&self) -> [u8; 16] {
        xxh3_128(&bytemuck::bytes_of(self)[..PAGE - 16]).to_le_bytes()
    }
}

/// What a new log is to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewLog {
    pub(crate) store: u128,
    pub(crate) id: u64,
    pub(crate) first_seq: u64,
    pub(crate) previous: (u64, u64),
    pub(crate) synced: bool,
}

/// Whether a log can be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// A write failed: nothing more goes into this log.
    Ended,
    /// A sync failed: nothing is known of this log.
    Lost,
}

/// A log that is being written.
pub(crate) struct Log {
    header: LogHeader,
    path: PathBuf,
    file: Box<dyn VfsFile>,
    cursor: Cursor,
    /// Up to here it is durable.
    durable: u64,
    health: Health,
}

impl Log {
    /// Begins a log with the payloads that `old`, if there is one, has in its frames. Durable, and so is its name.
    pub(crate) fn begin(vfs: &dyn Vfs, new: NewLog, old: Option<&Chain>) -> Result<Log> {
        let path = vfs.path(&log_name(new.id));
        let NewLog { store, id, first_seq, previous, synced } = new;
        let mut header = LogHeader { store, id, first_seq, previous, synced, salt: vfs.random(), durable_end: 0 };
        // How long the copy will be is known from the original; its header comes before everything else.
        header.durable_end = old.map_or(PAGE as u64, |old| old.cursor.offset);
        let record = header.record();
        let start = header.start(u128::from_le_bytes(record.checksum));
        let salt = header.salt;
        let (file, cursor) = publish(vfs, &log_name(id), |file| {
            write_all_at(file, bytemuck::bytes_of(&record), 0)?;
            let Some(old) = old else { return Ok(start) };
            old.copy(
                &mut |frame, cursor| {
                    let (bytes, next) = frame.seal(salt, cursor);
                    write_all_at(file, &bytes, cursor.offset).map(|()| next)
                },
                start,
            )
        })?;
        Ok(Log { header, path, file, cursor, durable: cursor.offset, health: Health::Good })
    }

    /// The number of the next batch.
    pub(crate) fn next_seq(&self) -> u64 {
        self.cursor.seq
    }

    /// Bytes of the log so far.
    pub(crate) fn end(&self) -> u64 {
        self.cursor.offset
    }

    pub(crate) fn id(&self) -> u64 {
        self.header.id
    }

    /// Whether a write has failed, so that the next batch needs a new log.
    pub(crate) fn has_ended(&self) -> bool {
        self.health == Health::Ended
    }

    /// Fails if a sync has failed.
    pub(crate) fn check(&self) -> Result<()> {
        if self.health == Health::Lost { Err(Error::Poisoned { path: self.path.clone() }) } else { Ok(()) }
    }

    /// Writes a frame, and syncs it if every batch is to be. On an error it is not part of the store.
    pub(crate) fn append(&mut self, frame: Frame) -> Result<()> {
        self.check()?;
        if self.health == Health::Ended {
            return Err(Error::io(&self.path, io::Error::other("this log has ended")));
        }
        let (bytes, next) = frame.seal(self.header.salt, &self.cursor);
        if let Err(error) = write_all_at(&*self.file, &bytes, self.cursor.offset) {
            self.health = Health::Ended;
            return Err(Error::io(&self.path, error));
        }
        if self.header.synced {
            self.sync_up_to(next.offset)?;
        }
        self.cursor = next;
        Ok(())
    }

    /// Makes all of it durable.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.check()?;
        if self.durable == self.cursor.offset { Ok(()) } else { self.sync_up_to(self.cursor.offset) }
    }

    fn sync_up_to(&mut self, end: u64) -> Result<()> {
        match self.file.sync() {
            Ok(()) => self.durable = end,
            Err(error) => {
                self.health = Health::Lost;
                return Err(Error::io(&self.path, error));
            }
        }
        Ok(())
    }

    /// The log that continues this one: it is durable first.
    pub(crate) fn next(&mut self, vfs: &dyn Vfs, id: u64) -> Result<Log> {
        self.sync()?;
        // Whether this succeeds or not: a log that says where this one ends may exist from here on, so this one must end there.
        self.health = Health::Ended;
        let LogHeader { store, synced, .. } = self.header;
        let previous = (self.header.id, self.cursor.offset);
        Log::begin(vfs, NewLog { store, id, first_seq: self.cursor.seq, previous, synced }, None)
    }
}
