//! Everything that a store asks of the world outside, in fifteen calls.
//!
//! A store lives in one directory, and [`Vfs`] is that directory: names in, files out. The real one is [`Disk`]; the tests have
//! another, a simulated disk that forgets what was not synced, tears writes and fails on demand. Since a store can do nothing
//! else, whatever survives the simulated disk survives the real one, as far as it keeps these promises:
//!
//! - after [`VfsFile::sync`] what was written to that file is durable; before it, any part of it may be;
//! - creating, renaming and removing is atomic, and durable after [`Vfs::sync_directory`]; before it, any part of it may be;
//! - a write that is cut off may destroy the whole page of 4 KiB that it touches.
//!
//! [`file`] has the calls for files that stand alone, which indexes are saved to.

mod disk;
pub(super) mod file;
mod lock;
#[cfg(test)]
pub(crate) mod sim;

pub(crate) use disk::Disk;

use crate::error::{Error, Result};
use memmap2::{Mmap, MmapMut};
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// The page that a torn write may destroy: what is committed never shares one with what is not.
pub(crate) const PAGE: usize = 4096;

/// A mapping, or memory.
pub(crate) trait Mapped: AsRef<[u8]> + Send + Sync {
    /// Says that this part is about to be read from one end to the other.
    fn read_soon(&self, part: Range<usize>) {
        let _ = part;
    }
}

impl Mapped for Vec<u8> {}

impl Mapped for Mmap {
    fn read_soon(&self, part: Range<usize>) {
        // A hint: if the system does not take it, reading takes longer.
        #[cfg(unix)]
        let _ = self.advise_range(memmap2::Advice::WillNeed, part.start, part.len());
        #[cfg(not(unix))]
        let _ = part;
    }
}

/// Bytes that somebody keeps alive.
pub(crate) type Bytes = Arc<dyn Mapped>;

/// The right to write, until it is dropped.
pub(crate) type Lock = Box<dyn Send + Sync>;

/// One directory, and what is random or passes by. Names are ours, never a user's: no separators, no `..`.
pub(crate) trait Vfs: Send + Sync {
    /// Where the file of that name would be; for messages.
    fn path(&self, name: &str) -> PathBuf;
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens a file for reading.
    fn open(&self, name: &str) -> io::Result<Box<dyn VfsFile>>;
    /// Makes a file that does not exist yet, for reading and writing.
    fn create(&self, name: &str) -> io::Result<Box<dyn VfsFile>>;
    /// All bytes of a file that nobody changes any more, to be looked at here and there.
    fn map(&self, name: &str) -> io::Result<Bytes>;
    /// The same in pages that are ours: what is written to them never comes to the file.
    fn map_private(&self, name: &str) -> io::Result<MmapMut>;
    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Takes a name away; who has the file open or mapped keeps it.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names durable.
    fn sync_directory(&self) -> io::Result<()>;
    /// Takes the one right to write, at once or not at all: then [`Error::Locked`] names who has it.
    fn lock(&self, name: &str) -> Result<Lock>;
    /// A number that nobody can guess.
    fn random(&self) -> u128;
    /// Milliseconds since 1970.
    fn now(&self) -> i64;
}

/// One open file.
pub(crate) trait VfsFile: Send + Sync {
    /// How long it is.
    fn len(&self) -> io::Result<u64>;
    /// Reads some bytes from `offset` on; none at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some of `bytes` at `offset`; how many.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()>;
}

/// Fills `buffer` from `offset`.
pub(crate) fn read_exact_at(file: &dyn VfsFile, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                buffer = &mut buffer[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `bytes` at `offset`, in as many steps as the system takes.
pub(crate) fn write_all_at(file: &dyn VfsFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = &bytes[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A file that is being written from its beginning, and may be returned to.
pub(crate) struct Sequential<'a> {
    file: &'a dyn VfsFile,
    position: u64,
}

impl<'a> Sequential<'a> {
    pub(crate) fn new(file: &'a dyn VfsFile) -> Sequential<'a> {
        Sequential { file, position: 0 }
    }
}

impl Write for Sequential<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write_at(bytes, self.position)?;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Sequential<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(position) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        self.position = position;
        Ok(position)
    }
}

/// The prefix of names that mean nothing: whoever has the right to write removes them.
pub(crate) const TEMPORARY: &str = "tmp-";

/// Puts a file under `name`, whole or not at all, durable with its name when this returns. What `write` gives is handed on.
pub(crate) fn publish<T>(
    vfs: &dyn Vfs,
    name: &str,
    write: impl FnOnce(&dyn VfsFile) -> io::Result<T>,
) -> Result<(Box<dyn VfsFile>, T)> {
    let temporary = format!("{TEMPORARY}{name}");
    let written = (|| {
        remove_if_there(vfs, &temporary)?;
        let file = vfs.create(&temporary)?;
        let value = write(&*file)?;
        file.sync()?;
        vfs.rename(&temporary, name)?;
        vfs.sync_directory()?;
        Ok((file, value))
    })();
    written.map_err(|error| {
        // What cannot be removed now has a name that says so.
        let _ = remove_if_there(vfs, &temporary);
        Error::io(&vfs.path(name), error)
    })
}

/// Removes a file, unless there is none.
pub(crate) fn remove_if_there(vfs: &dyn Vfs, name: &str) -> io::Result<()> {
    match vfs.remove(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
