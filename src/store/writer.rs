//! Who has the right to write: the lock, the log, and what the newest manifest says.

use super::checkpoint::{Effort, is_mostly_deleted};
use super::files::{file_number, segment_name};
use super::manifest::{LOCK_FILE, Manifest, write_format};
use super::recover::{Directory, Loaded, examine, generations, largest_number, load, names};
use super::world::World;
use super::{Limits, StoreOptions, SyncMode};
use crate::error::{Error, Result};
use crate::runtime::Call;
use crate::storage::log::{Frame, Log, NewLog, log_name};
use crate::storage::vfs::{Lock, TEMPORARY, Vfs, remove_if_there};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The writer of a store on a disk.
pub(super) struct Writer {
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) log: Log,
    /// The logs with all batches after the manifest's, oldest first.
    pub(super) logs: Vec<u64>,
    pub(super) manifest: Manifest,
    /// The segments that these logs name.
    pub(super) attached: BTreeSet<String>,
    /// The files that the manifest before needs, with its logs, and its number.
    pub(super) previous: (BTreeSet<String>, Option<u64>),
    /// Whether that one needs files, or logs with batches, that the newest does not; so far as is known.
    pub(super) has_past: bool,
    /// The last number that a manifest has had, or may have.
    pub(super) generation: u64,
    pub(super) limits: Limits,
    next_file: u64,
    checkpoint_at: u64,
    /// Last: the right is given back when all else is closed.
    _lock: Lock,
}

impl Writer {
    /// Opens the store for writing, or makes one in an empty directory.
    pub(super) fn open(vfs: Arc<dyn Vfs>, options: StoreOptions, limits: Limits) -> Result<(Writer, World)> {
        // A directory that is no store stays as it is, without a lock in it.
        if examine(&*vfs)? == Directory::Empty && !options.create {
            let what = "the directory is empty, and create is false".to_owned();
            return Err(Error::NotAStore { path: vfs.path(""), what });
        }
        let lock = vfs.lock(LOCK_FILE)?;
        if examine(&*vfs)? == Directory::Empty {
            write_format(&*vfs, vfs.random())?;
        }
        let loaded = load(&*vfs, options.verify)?;
        let is_whole = loaded.damage.is_none();
        let (mut writer, world) = Writer::recover(vfs, lock, loaded, options.sync == SyncMode::Batch, limits)?;
        let threshold = options.auto_compact;
        if is_whole && world.collections.values().any(|live| is_mostly_deleted(&live.rows.read(), threshold)) {
            // As with every checkpoint that nobody asked for: if it fails nothing is lost, and it is tried again later.
            let _ = writer.checkpoint(&world, Effort::usual(threshold), &Call::uninterrupted());
        }
        Ok((writer, world))
    }

    /// Begins a log of our own, with a copy of what the newest one has.
    fn recover(vfs: Arc<dyn Vfs>, lock: Lock, loaded: Loaded, synced: bool, limits: Limits) -> Result<(Writer, World)> {
        let Loaded { store, world, manifest, chain, damage } = loaded;
        let names = names(&*vfs)?;
        let id = largest_number(&names) + 1;
        let (first_seq, previous) =
            chain.as_ref().map_or((1, (0, 0)), |chain| (chain.newest.header.first_seq, chain.newest.header.previous));
        let log = Log::begin(&*vfs, NewLog { store, id, first_seq, previous, synced }, chain.as_ref())?;
        let mut logs = chain.as_ref().map_or(Vec::new(), |chain| chain.logs.clone());
        let first = logs.first().copied().unwrap_or(id);
        let replaced = logs.pop();
        logs.push(id);
        let generation = generations(&names).first().copied().unwrap_or(0).max(manifest.generation);
        let mut writer = Writer {
            vfs,
            log,
            logs,
            attached: world.attached.iter().map(|file| segment_name(*file)).collect(),
            previous: (BTreeSet::new(), None),
            has_past: manifest.generation > 0,
            generation,
            manifest,
            next_file: id + 1,
            checkpoint_at: limits.checkpoint_bytes,
            limits,
            _lock: lock,
        };
        writer.keep_previous(&names);
        if damage.is_none() {
            writer.tidy(&names, first, replaced);
        }
        Ok((writer, world))
    }

    /// Finds the manifest before the one in use: what it lists is not removed yet.
    fn keep_previous(&mut self, names: &[String]) {
        let older = generations(names).into_iter().find(|&generation| generation < self.manifest.generation);
        let opened = older.and_then(|generation| Manifest::open(&*self.vfs, generation, self.manifest.store).ok());
        if let Some(manifest) = opened {
            self.previous = (manifest.files(), Some(manifest.generation));
        }
    }

    /// Removes what an earlier writer left unfinished since the manifest, when it began the log `first`. If that fails, the next one
    /// will do it. What is older may be needed by the manifest before.
    fn tidy(&self, names: &[String], first: u64, replaced: Option<u64>) {
        let needed = self.needed();
        let is_unfinished =
            |name: &&String| name.starts_with(TEMPORARY) || file_number(name) > Some(first) && !needed.contains(*name);
        for name in names.iter().filter(is_unfinished).cloned().chain(replaced.map(log_name)) {
            let _ = remove_if_there(&*self.vfs, &name);
        }
        let _ = self.vfs.sync_directory();
    }

    /// A number that no file has or has had.
    pub(super) fn new_file(&mut self) -> u64 {
        self.next_file += 1;
        self.next_file - 1
    }

    /// Makes a batch part of the store. On an error it is not, and the state before it goes on.
    pub(super) fn commit(&mut self, frame: Frame) -> Result<()> {
        self.log.check()?;
        if self.log.has_ended() {
            self.begin_log()?;
        }
        self.log.append(frame)
    }

    /// Ends the log and begins the next one.
    pub(super) fn begin_log(&mut self) -> Result<()> {
        let id = self.new_file();
        self.log = self.log.next(&*self.vfs, id)?;
        self.logs.push(id);
        Ok(())
    }

    /// Turns the log into segments if it has become long. That may fail without anything being lost, and is then tried again later.
    pub(super) fn checkpoint_if_due(&mut self, world: &World, threshold: Option<f64>) {
        if self.log.end() < self.checkpoint_at {
            return;
        }
        let checkpoint = self.checkpoint(world, Effort::usual(threshold), &Call::uninterrupted());
        let usual = self.limits.checkpoint_bytes;
        self.checkpoint_at = if checkpoint.is_ok() { usual } else { self.log.end() + usual / 4 };
    }
}
