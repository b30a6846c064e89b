//! The right to write, kept by the kernel.
//!
//! An advisory lock on an open file: taken at once or not at all, and given back by the kernel when the process that has it ends,
//! however it ends. So there is no time limit, nothing to renew and nothing to clean up. What stands in the file, the number of
//! the process, is for people and for messages; no decision depends on it.
//!
//! A forked child inherits the open file, and with it the lock, which would then outlive the parent. So all locks of a process
//! are listed here, and a child closes them first thing.

use super::Lock;
use crate::error::{Error, Result};
use crate::runtime::fork;
use parking_lot::Mutex;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// A lock that this process, or the one it was forked from, has.
struct Held {
    number: u64,
    process: u32,
    file: File,
}

/// All of them, and the number of the next.
static HELD: Mutex<(u64, Vec<Held>)> = Mutex::new((0, Vec::new()));

/// How often somebody may take the file away under us before we give up.
const ATTEMPTS: usize = 8;

/// Locks the file that `open` opens, which is at `path`.
pub(super) fn take(path: &Path, open: &dyn Fn() -> io::Result<File>) -> Result<Lock> {
    let failed = |error| Error::io(path, error);
    for _ in 0..ATTEMPTS {
        let mut file = open().map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked { path: path.to_owned(), pid: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Somebody may have removed the file between opening and locking: then the lock is on a file that nobody else will find.
        if same_file(&file, &open().map_err(failed)?).map_err(failed)? {
            sign(&mut file);
            return Ok(Box::new(register(file)));
        }
    }
    Err(failed(io::Error::other("somebody keeps replacing it")))
}

/// The number in the file.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Writes our number into the file. If that fails, somebody will read a worse message.
fn sign(file: &mut File) {
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
}

#[cfg(unix)]
fn same_file(a: &File, b: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (a, b) = (a.metadata()?, b.metadata()?);
    Ok((a.dev(), a.ino()) == (b.dev(), b.ino()))
}

/// Elsewhere an open file cannot be removed.
#[cfg(not(unix))]
fn same_file(_a: &File, _b: &File) -> io::Result<bool> {
    Ok(true)
}

/// Stands for an entry of the list.
struct Ticket(u64);

fn register(file: File) -> Ticket {
    fork::in_child(close_inherited);
    let _pass = fork::pass();
    let mut held = HELD.lock();
    let number = held.0;
    held.0 += 1;
    held.1.push(Held { number, process: std::process::id(), file });
    Ticket(number)
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let _pass = fork::pass();
        let mut held = HELD.lock();
        let Some(at) = held.1.iter().position(|held| held.number == self.0) else { return };
        let held = held.1.swap_remove(at);
        if held.process == std::process::id() {
            // Closing is not enough if somebody has inherited the file.
            let _ = held.file.unlock();
        }
    }
}

/// Closes the files of a parent, without giving up its locks.
fn close_inherited() {
    let process = std::process::id();
    HELD.lock().1.retain(|held| held.process == process);
}
