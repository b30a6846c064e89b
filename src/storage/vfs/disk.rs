//! The real directory.
//!
//! A name is opened as a file or not at all: a symbolic link is refused, so that a store from elsewhere cannot make us read or
//! write outside of its directory.

use super::{Bytes, Lock, Vfs, VfsFile, file, lock};
use crate::error::{Error, Result};
use memmap2::MmapMut;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// A directory on a local file system.
pub(crate) struct Disk {
    directory: PathBuf,
}

impl Disk {
    /// The directory at `path`, which exists.
    pub(crate) fn open(path: &Path) -> Result<Disk> {
        let directory = absolute(path).map_err(|error| Error::io(path, error))?;
        match is_directory(&directory) {
            Ok(true) => Ok(Disk { directory }),
            Ok(false) => Err(Error::NotAStore { path: path.to_owned(), what: "it is not a directory".to_owned() }),
            Err(error) => Err(Error::io(path, error)),
        }
    }

    /// The directory at `path`, made if it does not exist; the one that it lies in must.
    #[expect(clippy::disallowed_methods, reason = "this is the module that touches files")]
    pub(crate) fn create(path: &Path) -> Result<Disk> {
        let made = match std::fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => absolute(path).and_then(|path| file::sync_parent(&path)),
        };
        made.map_err(|error| Error::io(path, error))?;
        Disk::open(path)
    }

    fn options(&self) -> OpenOptions {
        let mut options = OpenOptions::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
        }
        options.read(true);
        options
    }

    #[expect(clippy::disallowed_methods, reason = "this is the module that touches files")]
    fn open_file(&self, name: &str, options: &OpenOptions) -> io::Result<File> {
        let file = options.open(self.directory.join(name))?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a plain file")) }
    }
}

/// The path, whatever becomes of the working directory. Not through the symbolic links in it: they may point elsewhere later.
fn absolute(path: &Path) -> io::Result<PathBuf> {
    std::path::absolute(path)
}

#[expect(clippy::disallowed_methods, reason = "this is the module that touches files")]
fn is_directory(path: &Path) -> io::Result<bool> {
    Ok(std::fs::metadata(path)?.is_dir())
}

impl Vfs for Disk {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the module that touches files")]
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            // A name that is no UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(self.open_file(name, &self.options())?))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(self.open_file(name, self.options().write(true).create_new(true))?))
    }

    fn map(&self, name: &str) -> io::Result<Bytes> {
        let file = self.open_file(name, &self.options())?;
        if file.metadata()?.len() == 0 {
            return Ok(Arc::new(Vec::new()));
        }
        let map = file::map_file(&file)?;
        // Without being told the system reads megabytes around every byte that is looked at.
        #[cfg(unix)]
        let _ = map.advise(memmap2::Advice::Random);
        Ok(Arc::new(map))
    }

    fn map_private(&self, name: &str) -> io::Result<MmapMut> {
        file::map_file_private(&self.open_file(name, &self.options())?)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the module that touches files")]
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the module that touches files")]
    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        file::sync_directory(&self.directory)
    }

    fn lock(&self, name: &str) -> Result<Lock> {
        let open = || self.open_file(name, self.options().write(true).create(true));
        lock::take(&self.path(name), &open)
    }

    fn random(&self) -> u128 {
        // Each state hashes with keys of its own, which the standard library draws from the system.
        let half = |salt: u8| u128::from(RandomState::new().hash_one((salt, self.now(), std::process::id())));
        half(0) << 64 | half(1)
    }

    fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
    }
}

impl VfsFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(self, buffer, offset);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_read(self, buffer, offset);
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::write_at(self, bytes, offset);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_write(self, bytes, offset);
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
