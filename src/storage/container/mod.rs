//! The one file frame: a header page, then named sections, every byte under a checksum.
//!
//! ```text
//! page 0      magic, format, kind, length, the table of sections, a checksum of all that
//! page 1..    section after section, each starting on a 4 KiB page and padded with zeros to the next
//! ```
//!
//! The table must describe the file exactly: sections in order, without gaps or overlaps, up to the last byte. So a
//! truncated, extended or foreign file is recognised before anything in it is believed. FORMAT.md has every byte.
//!
//! A container is *read* (each section is copied out and its checksum verified on the way) or *mapped* (nothing is read but
//! the header and what is asked for; whoever uses a mapped section checks each value that could lead out of bounds). Or it is
//! *taken*: each of its sections can be had once, as memory to go on from.

mod blocks;
mod write;

pub(crate) use blocks::Guarded;
pub(crate) use write::ContainerWriter;

use super::vfs::file as vfs;
use super::vfs::{Bytes, PAGE, Vfs, VfsFile, read_exact_at};
use crate::error::{Error, Result};
use crate::runtime::Pages;
use bytemuck::{Pod, Zeroable};
use memmap2::MmapMut;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

/// The version of every file kind. 0: may still change from one release to the next.
pub(crate) const FORMAT: u32 = 0;

const MAGIC: [u8; 8] = *b"\x89NEARF\r\n";
const MAX_SECTIONS: usize = 84;

/// One row of the table of sections.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SectionRecord {
    name: [u8; 16],
    offset: u64,
    length: u64,
    /// XXH3-128 of the section and the zeros up to the next page.
    checksum: [u8; 16],
}

/// Page 0.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct HeaderRecord {
    magic: [u8; 8],
    format: u32,
    sections: u32,
    kind: [u8; 16],
    length: u64,
    reserved: [u8; 8],
    table: [SectionRecord; MAX_SECTIONS],
    /// XXH3-128 of everything before it.
    checksum: [u8; 16],
}

const _: () = assert!(size_of::<HeaderRecord>() == PAGE);

impl HeaderRecord {
    fn digest(&self) -> [u8; 16] {
        let bytes = bytemuck::bytes_of(self);
        xxh3_128(&bytes[..PAGE - 16]).to_le_bytes()
    }

    fn seal(&self) -> Seal {
        Seal { length: self.length, root: u128::from_le_bytes(self.checksum) }
    }
}

/// What tells one container from every other: whoever has its seal recognises a file that was swapped or cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    /// Bytes of the file.
    pub(crate) length: u64,
    /// The checksum of its header, which holds those of all sections.
    pub(crate) root: u128,
}

fn padded(length: u64) -> Option<u64> {
    length.checked_next_multiple_of(PAGE as u64)
}

fn fixed_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}

fn shown_name(name: &[u8; 16]) -> String {
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(16);
    String::from_utf8_lossy(&name[..end]).into_owned()
}

/// Where the bytes of a container are.
enum Source {
    File(File),
    Map(Bytes),
    Copy(Bytes),
    Taken(Taken),
}

/// A private mapping whose sections are handed out, and the file to read from without looking at what others may be changing.
struct Taken {
    file: Box<dyn VfsFile>,
    pages: Pages,
    /// Whether a section was handed out, by its place in the table.
    given: [AtomicBool; MAX_SECTIONS],
}

/// A container, opened for reading.
pub(crate) struct Container {
    path: PathBuf,
    source: Source,
    header: Box<HeaderRecord>,
}

/// The bytes of one section of a mapped container; keeps the mapping alive.
#[derive(Clone)]
pub(crate) struct Section {
    map: Bytes,
    range: Range<usize>,
}

impl Section {
    /// Says that all of it is going to be read from one end to the other.
    pub(crate) fn read_soon(&self) {
        self.map.read_soon(self.range.clone());
    }
}

impl AsRef<[u8]> for Section {
    fn as_ref(&self) -> &[u8] {
        &(*self.map).as_ref()[self.range.clone()]
    }
}

impl Container {
    /// Opens the container at `path`, mapped or to be read.
    pub(crate) fn open(path: &Path, mapped: bool) -> Result<Container> {
        let file = vfs::open(path)?;
        let length = file.metadata().map_err(|error| Error::io(path, error))?.len();
        let source =
            if mapped && length > 0 { Source::Map(Arc::new(vfs::map(path, &file)?)) } else { Source::File(file) };
        Container::with_source(path.to_owned(), source, length)
    }

    /// The container in `bytes`.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Result<Container> {
        let length = bytes.len() as u64;
        Container::with_source(PathBuf::from("<bytes>"), Source::Copy(Arc::new(bytes)), length)
    }

    /// The container in a file of `vfs`, mapped.
    pub(crate) fn map(vfs: &dyn Vfs, name: &str) -> Result<Container> {
        let path = vfs.path(name);
        let bytes = vfs.map(name).map_err(|error| Error::io(&path, error))?;
        let length = (*bytes).as_ref().len() as u64;
        Container::with_source(path, Source::Map(bytes), length)
    }

    /// The container in a file of `vfs`, to be taken: its sections are given away as pages that can be written to.
    pub(crate) fn take(vfs: &dyn Vfs, name: &str) -> Result<Container> {
        let path = vfs.path(name);
        let taken = || {
            let file = vfs.open(name)?;
            let length = file.len()?;
            let map = if length == 0 { MmapMut::map_anon(1)? } else { vfs.map_private(name)? };
            let pages = Pages::new(map, usize::try_from(length).unwrap_or(usize::MAX));
            Ok((length, Taken { file, pages, given: [const { AtomicBool::new(false) }; MAX_SECTIONS] }))
        };
        let (length, taken) = taken().map_err(|error| Error::io(&path, error))?;
        Container::with_source(path, Source::Taken(taken), length)
    }

    fn with_source(path: PathBuf, source: Source, length: u64) -> Result<Container> {
        let mut container = Container { path, source, header: Box::new(HeaderRecord::zeroed()) };
        if length < PAGE as u64 {
            return Err(container.corrupt("header", format!("not a Nearfield file: it has {length} bytes")));
        }
        let mut header = Box::new(HeaderRecord::zeroed());
        container.read_at(bytemuck::bytes_of_mut(&mut *header), 0)?;
        container.header = header;
        container.validate(length)?;
        Ok(container)
    }

    fn validate(&self, actual_length: u64) -> Result<()> {
        let header = &self.header;
        let corrupt = |what: String| Err(self.corrupt("header", what));
        if header.magic != MAGIC {
            return corrupt("not a Nearfield file: the first bytes are others".to_owned());
        }
        // The version comes first: another version may keep its checksum elsewhere.
        if header.format != FORMAT {
            let advice = if header.format > FORMAT { "install a newer nearfield" } else { "build the index again" };
            let path = self.path.clone();
            return Err(Error::FormatVersion { path, found: header.format, supported: FORMAT, advice });
        }
        if header.checksum != header.digest() {
            return corrupt("its checksum does not match".to_owned());
        }
        if header.length != actual_length {
            return corrupt(format!("the file has {actual_length} bytes, its header says {}", header.length));
        }
        let Some(table) = header.table.get(..header.sections as usize) else {
            return corrupt(format!("{} sections are more than a file can have", header.sections));
        };
        let mut position = PAGE as u64;
        for record in table {
            let end = padded(record.length).and_then(|length| position.checked_add(length));
            match end {
                Some(end) if record.offset == position && end <= actual_length => position = end,
                _ => return corrupt(format!("section {:?} does not lie where it must", shown_name(&record.name))),
            }
        }
        if position != actual_length {
            return corrupt(format!("the sections end at byte {position} of {actual_length}"));
        }
        Ok(())
    }

    /// What tells it from every other container.
    pub(crate) fn seal(&self) -> Seal {
        self.header.seal()
    }

    /// What kind of file this is.
    pub(crate) fn kind(&self) -> String {
        shown_name(&self.header.kind)
    }

    /// Whether the container is mapped.
    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.source, Source::Map(_))
    }

    /// The length of a section in bytes.
    pub(crate) fn length(&self, name: &str) -> Result<u64> {
        self.record(name).map(|record| record.length)
    }

    /// A small section, read and verified.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let length = self.length(name)?;
        let needed = usize::try_from(length).unwrap_or(usize::MAX);
        bytes.try_reserve_exact(needed).map_err(|_| Error::out_of_memory("reading a section", needed))?;
        self.read_with(name, |reader| reader.read_to_end(&mut bytes).map(drop))?;
        Ok(bytes)
    }

    /// Hands a section to `take` as a stream, then verifies its checksum. `take` must read all of it.
    pub(crate) fn read_with(&self, name: &str, take: impl FnOnce(&mut dyn Read) -> io::Result<()>) -> Result<()> {
        let record = *self.record(name)?;
        let mut reader = SectionReader {
            container: self,
            hash: Xxh3Default::new(),
            position: record.offset,
            end: record.offset + record.length,
            announced: record.offset,
        };
        let io = |error| Error::io(&self.path, error);
        take(&mut reader).map_err(io)?;
        // The padding is under the checksum too.
        reader.end = record.offset + record.length.next_multiple_of(PAGE as u64);
        io::copy(&mut reader, &mut io::sink()).map_err(io)?;
        if reader.hash.digest128().to_le_bytes() != record.checksum {
            return Err(self.corrupt(name, "its checksum does not match"));
        }
        Ok(())
    }

    /// Compares a section with its checksum.
    pub(crate) fn verify(&self, name: &str) -> Result<()> {
        self.read_with(name, |reader| io::copy(reader, &mut io::sink()).map(drop))
    }

    /// A section of a mapped container, unread and unverified; `None` if the container is not mapped.
    pub(crate) fn mapped(&self, name: &str) -> Result<Option<Section>> {
        let record = self.record(name)?;
        let Source::Map(map) = &self.source else { return Ok(None) };
        // `validate` has compared both ends with the length of the mapping, so they fit a usize.
        let start = record.offset as usize;
        Ok(Some(Section { map: Arc::clone(map), range: start..start + record.length as usize }))
    }

    /// A section as pages of our own, unread and unverified; `None` if the container was not opened to be taken.
    ///
    /// # Panics
    /// If it was given away before.
    pub(crate) fn pages(&self, name: &str) -> Result<Option<Pages>> {
        let place = self.place(name)?;
        let Source::Taken(taken) = &self.source else { return Ok(None) };
        assert!(!taken.given[place].swap(true, Ordering::Relaxed), "section {name} is somebody's already");
        let record = &self.header.table[place];
        let start = record.offset as usize;
        Ok(Some(taken.pages.part(start..start + record.length as usize)))
    }

    /// Says that a container that is taken is looked at here and there.
    pub(crate) fn expect_random(&self) {
        if let Source::Taken(taken) = &self.source {
            taken.pages.expect_random();
        }
    }

    /// The error for damage in `block`: the header or a section.
    pub(crate) fn corrupt(&self, block: &str, what: impl Into<String>) -> Error {
        Error::Corruption { path: self.path.clone(), block: block.to_owned(), what: what.into() }
    }

    /// The names of all sections, in their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.header.table[..self.header.sections as usize].iter().map(|record| shown_name(&record.name))
    }

    fn record(&self, name: &str) -> Result<&SectionRecord> {
        Ok(&self.header.table[self.place(name)?])
    }

    /// Which row of the table it is.
    fn place(&self, name: &str) -> Result<usize> {
        let wanted = fixed_name(name);
        let mut table = self.header.table[..self.header.sections as usize].iter();
        let place = table.position(|record| record.name == wanted);
        place.ok_or_else(|| self.corrupt("header", format!("section {name:?} is missing")))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.fill(buffer, offset).map_err(|error| Error::io(&self.path, error))
    }

    /// Says that bytes are going to be read one after another.
    fn read_soon(&self, from: u64, to: u64) {
        if let Source::Map(bytes) = &self.source {
            bytes.read_soon(from as usize..to as usize);
        }
    }

    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = match &self.source {
            Source::File(file) => return vfs::read_exact_at(file, buffer, offset),
            Source::Taken(taken) => return read_exact_at(&*taken.file, buffer, offset),
            Source::Map(bytes) | Source::Copy(bytes) => (**bytes).as_ref(),
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let part = start.checked_add(buffer.len()).and_then(|end| bytes.get(start..end));
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Reads a section, keeping its checksum.
struct SectionReader<'a> {
    container: &'a Container,
    hash: Xxh3Default,
    position: u64,
    end: u64,
    /// Up to here the system knows what is going to be read.
    announced: u64,
}

/// Bytes of a mapped section that are asked for at once when it is read from one end to the other.
const READ_AHEAD: u64 = 4 << 20;

impl Read for SectionReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        if self.position >= self.announced && count > 0 {
            self.announced = self.end.min(self.position + READ_AHEAD);
            self.container.read_soon(self.position, self.announced);
        }
        self.container.fill(&mut buffer[..count], self.position)?;
        self.hash.update(&buffer[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod suite;
