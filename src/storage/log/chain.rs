//! Reading logs back: which there are, and which of their frames are part of the store.

use super::frame::{FrameRecord, HEADER};
use super::{Cursor, Frame, LogHeader, log_id, log_name};
use crate::error::{Error, Result};
use crate::storage::vfs::{PAGE, Vfs, VfsFile, read_exact_at};
use std::io;
use std::path::PathBuf;

/// A log, opened for reading.
pub(crate) struct LogFile {
    pub(crate) header: LogHeader,
    path: PathBuf,
    file: Box<dyn VfsFile>,
    start: Cursor,
}

/// The newest log, read to its end.
pub(crate) struct Chain {
    pub(crate) newest: LogFile,
    /// Where it goes on.
    pub(crate) cursor: Cursor,
    /// All logs that hold what the caller asked for, oldest first.
    pub(crate) logs: Vec<u64>,
}

/// What is behind the last good frame.
enum Tail {
    /// Nothing, or a frame that was never finished.
    Torn,
    /// A good frame at this offset, behind one that is not.
    Damaged(u64),
}

impl LogFile {
    pub(crate) fn open(vfs: &dyn Vfs, id: u64, store: u128) -> Result<LogFile> {
        let name = log_name(id);
        let path = vfs.path(&name);
        let file = vfs.open(&name).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::Corruption { path: path.clone(), block: "file".into(), what: "it is missing".into() }
            }
            _ => Error::io(&path, error),
        })?;
        let mut page = [0; PAGE];
        let length = file.len().map_err(|error| Error::io(&path, error))?;
        let what = "the log is shorter than its header".to_owned();
        if length < PAGE as u64 {
            return Err(Error::Corruption { path, block: "header".into(), what });
        }
        read_exact_at(&*file, &mut page, 0).map_err(|error| Error::io(&path, error))?;
        let (header, checksum) = LogHeader::parse(&page, path.clone())?;
        let log = LogFile { start: header.start(checksum), header, path, file };
        if header.store != store || header.id != id {
            return Err(log.corrupt("header", "it belongs to another store or has another number"));
        }
        Ok(log)
    }

    fn corrupt(&self, block: &str, what: &str) -> Error {
        Error::Corruption { path: self.path.clone(), block: block.to_owned(), what: what.to_owned() }
    }

    fn length(&self) -> Result<u64> {
        self.file.len().map_err(|error| Error::io(&self.path, error))
    }

    /// Hands the good frames from `cursor` on, up to `end`, to `take`. Returns where the first one is missing.
    fn frames(&self, mut cursor: Cursor, end: u64, take: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<Cursor> {
        let mut room = Vec::new();
        while let Some(record) = self.frame_at(cursor.offset, end, &mut room)?.filter(|record| record.follows(&cursor))
        {
            let payload = record.payload(&room).unwrap_or_default();
            take(cursor.seq, payload)?;
            cursor = record.next(&cursor);
        }
        Ok(cursor)
    }

    /// The good frame at `offset`, if there is one: its record, and in `room` what follows that.
    fn frame_at(&self, offset: u64, end: u64, room: &mut Vec<u8>) -> Result<Option<FrameRecord>> {
        if end.saturating_sub(offset) < PAGE as u64 {
            return Ok(None);
        }
        let io = |error| Error::io(&self.path, error);
        let mut head = [0; HEADER];
        read_exact_at(&*self.file, &mut head, offset).map_err(io)?;
        let record = FrameRecord::parse(&head, self.header.salt);
        let Some((record, bytes)) = record.and_then(|record| Some((record, record.frame_bytes(end - offset)?))) else {
            return Ok(None);
        };
        let rest = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_sub(HEADER);
        room.clear();
        room.try_reserve_exact(rest).map_err(|_| Error::out_of_memory("reading the log", rest))?;
        room.resize(rest, 0);
        read_exact_at(&*self.file, room, offset + HEADER as u64).map_err(io)?;
        Ok(record.payload(room).is_some().then_some(record))
    }

    /// What is behind `cursor`, where no good frame is.
    fn tail(&self, cursor: &Cursor, end: u64) -> Result<Tail> {
        let mut room = Vec::new();
        let mut offset = cursor.offset;
        while offset < end {
            if let Some(record) = self.frame_at(offset, end, &mut room)?
                && record.seq > cursor.seq
            {
                return Ok(Tail::Damaged(offset));
            }
            offset += PAGE as u64;
        }
        Ok(Tail::Torn)
    }

    /// Fails if what was once durable is missing behind `cursor`. An unfinished frame at the end is none of that.
    fn judge(&self, cursor: &Cursor, end: u64) -> Result<()> {
        let block = format!("the frame at byte {}", cursor.offset);
        if cursor.offset < self.header.durable_end {
            return Err(self.corrupt(&block, "it is damaged"));
        }
        match self.tail(cursor, end)? {
            Tail::Damaged(at) if self.header.synced => {
                Err(self.corrupt(&block, &format!("it is damaged, and there is a good one behind it, at byte {at}")))
            }
            _ => Ok(()),
        }
    }
}

impl Chain {
    /// The frames of the newest log again, each with its place in a copy that begins at `at`.
    pub(super) fn copy(
        &self,
        put: &mut dyn FnMut(Frame, &Cursor) -> io::Result<Cursor>,
        mut at: Cursor,
    ) -> io::Result<Cursor> {
        let copied = self.newest.frames(self.newest.start, self.cursor.offset, &mut |_, payload| {
            let mut frame = Frame::new();
            frame.payload().extend_from_slice(payload);
            at = put(frame, &at).map_err(|error| Error::io(&self.newest.path, error))?;
            Ok(())
        });
        match copied {
            Ok(end) if end == self.cursor => Ok(at),
            Ok(_) => Err(io::Error::other("the log has changed while it was copied")),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Hands frames that have been added since to `take`.
    pub(crate) fn follow(&mut self, take: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let end = self.newest.length()?;
        self.cursor = self.newest.frames(self.cursor, end, take)?;
        self.newest.judge(&self.cursor, end)
    }
}

/// Finds the logs with all batches after number `after`, and hands these to `take`. `None`: there are no logs at all.
pub(crate) fn chain(
    vfs: &dyn Vfs,
    store: u128,
    after: u64,
    take: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
) -> Result<Option<Chain>> {
    let names = vfs.list().map_err(|error| Error::io(&vfs.path(""), error))?;
    let Some(mut id) = names.iter().filter_map(|name| log_id(name)).max() else { return Ok(None) };
    let mut files = Vec::new();
    loop {
        let file = LogFile::open(vfs, id, store)?;
        let header = file.header;
        files.push(file);
        if header.first_seq <= after.saturating_add(1) {
            break;
        }
        if header.previous.0 == 0 || header.previous.0 >= id {
            let last = &files[files.len() - 1];
            return Err(last.corrupt("header", &format!("the batches after {after} should be before it, and are not")));
        }
        id = header.previous.0;
    }
    files.reverse();
    let logs = files.iter().map(|file| file.header.id).collect();
    let mut take = |seq, payload: &[u8]| if seq > after { take(seq, payload) } else { Ok(()) };
    for pair in files.windows(2) {
        let (file, next) = (&pair[0], &pair[1].header);
        let end = file.frames(file.start, next.previous.1, &mut take)?;
        if (end.offset, end.seq) != (next.previous.1, next.first_seq) {
            return Err(file.corrupt(&format!("the frame at byte {}", end.offset), "it is damaged or missing"));
        }
    }
    let Some(newest) = files.pop() else { return Ok(None) };
    let length = newest.length()?;
    let cursor = newest.frames(newest.start, length, &mut take)?;
    newest.judge(&cursor, length)?;
    Ok(Some(Chain { newest, cursor, logs }))
}
