//! Files that stand alone, as an index is saved to.
//!
//! A file is written under a temporary name, made durable, and only then renamed over its final name; the rename itself
//! becomes durable with the directory. So a reader finds the old file or the new one, whole, whenever the power went.

use crate::error::{Error, Result};
use memmap2::{Mmap, MmapMut, MmapOptions};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A destination that can be written and returned to: the header of a container is written last.
pub(crate) trait Output: Write + Seek {}
impl<T: Write + Seek> Output for T {}

/// Opens a file for reading.
#[expect(clippy::disallowed_methods, reason = "this is the module that touches files")]
pub(crate) fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| Error::io(path, error))
}

/// Maps a whole file.
pub(crate) fn map(path: &Path, file: &File) -> Result<Mmap> {
    map_file(file).map_err(|error| Error::io(path, error))
}

/// Maps a whole file that is not empty.
pub(super) fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is read-only. Our own writers never change a file in place, they rename a new one over it; a
    // foreign process that truncates a mapped file raises SIGBUS, as it does for every program that maps files.
    unsafe { Mmap::map(file) }
}

/// Maps a whole file, copying each page that is written to.
pub(super) fn map_file_private(file: &File) -> io::Result<MmapMut> {
    // SAFETY: as above, and what is written to the mapping is seen by nobody else.
    unsafe { MmapOptions::new().map_copy(file) }
}

/// Fills `buffer` from `offset`, whatever the file's position.
pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    #[cfg(unix)]
    {
        std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
    }
    #[cfg(not(unix))]
    {
        use std::io::Read;
        let mut file = file;
        file.seek(io::SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }
}

/// Puts what `write` writes at `path`, whole or not at all.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut dyn Output) -> io::Result<()>) -> Result<()> {
    let temporary = Temporary::beside(path)?;
    let mut output = BufWriter::with_capacity(1 << 20, &temporary.file);
    let written = write(&mut output).and_then(|()| output.flush());
    drop(output);
    written.and_then(|()| temporary.file.sync_all()).map_err(|error| Error::io(path, error))?;
    temporary.rename_to(path)
}

/// A file under a name that nobody else uses, removed unless it is renamed.
struct Temporary {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl Temporary {
    #[expect(clippy::disallowed_methods, reason = "this is the module that touches files")]
    fn beside(path: &Path) -> Result<Temporary> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let Some(name) = path.file_name() else {
            let message = format!("{} does not name a file", path.display());
            return Err(Error::InvalidArgument(message));
        };
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{}.tmp", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
        let temporary = path.with_file_name(temporary);
        let file =
            OpenOptions::new().write(true).create_new(true).open(&temporary).map_err(|error| Error::io(path, error))?;
        Ok(Temporary { path: temporary, file, kept: false })
    }

    #[expect(clippy::disallowed_methods, reason = "this is the module that touches files")]
    fn rename_to(mut self, path: &Path) -> Result<()> {
        std::fs::rename(&self.path, path).map_err(|error| Error::io(path, error))?;
        self.kept = true;
        sync_parent(path).map_err(|error| Error::io(path, error))
    }
}

impl Drop for Temporary {
    #[expect(clippy::disallowed_methods, reason = "this is the module that touches files")]
    fn drop(&mut self) {
        if !self.kept {
            // Nothing more can be done about a temporary file that cannot be removed; its name says what it is.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes the directory entry of `path` durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    sync_directory(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Makes the entries of a directory durable. Windows has no such call and orders its metadata itself.
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "this is the module that touches files")]
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
pub(super) fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}
