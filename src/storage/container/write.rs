//! Writing a container: section by section, and the header last.

use super::blocks::{BLOCK_SUMS, BlockSums};
use super::{FORMAT, HeaderRecord, MAGIC, Seal, SectionRecord, fixed_name};
use crate::error::Result;
use crate::storage::vfs::file::{self as vfs, Output};
use crate::storage::vfs::{PAGE, Sequential, VfsFile};
use bytemuck::Zeroable;
use std::io::{self, BufWriter, SeekFrom, Write};
use std::path::Path;
use xxhash_rust::xxh3::Xxh3Default;

/// Writes a container, section by section.
pub(crate) struct ContainerWriter<'a> {
    output: &'a mut dyn Output,
    header: Box<HeaderRecord>,
    position: u64,
    /// Of the sections that are written in blocks.
    blocks: BlockSums,
}

/// Writes to the file and into the checksum.
struct Hashed<'a> {
    output: &'a mut dyn Output,
    hash: Xxh3Default,
    length: u64,
    blocks: Option<&'a mut BlockSums>,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes)?;
        self.hash.update(&bytes[..written]);
        if let Some(blocks) = &mut self.blocks {
            blocks.update(&bytes[..written]);
        }
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

impl<'a> ContainerWriter<'a> {
    /// Writes the container that `body` fills to `path`: whole or not at all, and durable when this returns.
    pub(crate) fn save(
        path: &Path,
        kind: &str,
        body: impl FnOnce(&mut ContainerWriter<'_>) -> io::Result<()>,
    ) -> Result<()> {
        vfs::replace(path, |output| ContainerWriter::write(output, kind, body).map(drop))
    }

    /// The bytes of the file that [`save`](Self::save) would write.
    pub(crate) fn to_bytes(
        kind: &str,
        body: impl FnOnce(&mut ContainerWriter<'_>) -> io::Result<()>,
    ) -> io::Result<Vec<u8>> {
        let mut output = io::Cursor::new(Vec::new());
        ContainerWriter::write(&mut output, kind, body)?;
        Ok(output.into_inner())
    }

    /// Writes the container that `body` fills to a new file.
    pub(crate) fn write_file(
        file: &dyn VfsFile,
        kind: &str,
        body: impl FnOnce(&mut ContainerWriter<'_>) -> io::Result<()>,
    ) -> io::Result<Seal> {
        let mut output = BufWriter::with_capacity(1 << 20, Sequential::new(file));
        let seal = ContainerWriter::write(&mut output, kind, body)?;
        output.flush()?;
        Ok(seal)
    }

    /// Writes the container that `body` fills.
    fn write(
        output: &'a mut dyn Output,
        kind: &str,
        body: impl FnOnce(&mut ContainerWriter<'_>) -> io::Result<()>,
    ) -> io::Result<Seal> {
        let mut header = Box::new(HeaderRecord::zeroed());
        header.magic = MAGIC;
        header.format = FORMAT;
        header.kind = fixed_name(kind);
        output.write_all(&[0; PAGE])?;
        let mut writer = ContainerWriter { output, header, position: PAGE as u64, blocks: BlockSums::default() };
        body(&mut writer)?;
        writer.finish()
    }

    /// Writes one section: what `body` writes, then zeros up to the next page. At most 84, with names of at most 16 bytes.
    pub(crate) fn section(
        &mut self,
        name: &str,
        body: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.write_section(name, false, body)
    }

    /// Writes a section that can be verified block by block, with what [`block_sums`](Self::block_sums) writes.
    pub(crate) fn section_in_blocks(
        &mut self,
        name: &str,
        body: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.write_section(name, true, body)
    }

    /// Writes the checksums of all blocks so far.
    pub(crate) fn block_sums(&mut self) -> io::Result<()> {
        let sums = std::mem::take(&mut self.blocks.sums);
        self.section(BLOCK_SUMS, |out| out.write_all(bytemuck::cast_slice(&sums)))
    }

    fn write_section(
        &mut self,
        name: &str,
        in_blocks: bool,
        body: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let blocks = in_blocks.then_some(&mut self.blocks);
        let mut hashed = Hashed { output: self.output, hash: Xxh3Default::new(), length: 0, blocks };
        body(&mut hashed)?;
        if let Some(blocks) = hashed.blocks.take() {
            blocks.end();
        }
        let length = hashed.length;
        let padding = length.next_multiple_of(PAGE as u64) - length;
        hashed.write_all(&[0; PAGE][..padding as usize])?;
        let checksum = hashed.hash.digest128().to_le_bytes();
        let record = SectionRecord { name: fixed_name(name), offset: self.position, length, checksum };
        self.header.table[self.header.sections as usize] = record;
        self.header.sections += 1;
        self.position += length + padding;
        Ok(())
    }

    fn finish(mut self) -> io::Result<Seal> {
        self.header.length = self.position;
        self.header.checksum = self.header.digest();
        self.output.seek(SeekFrom::Start(0))?;
        self.output.write_all(bytemuck::bytes_of(&*self.header))?;
        Ok(self.header.seal())
    }
}
