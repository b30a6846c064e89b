//! From the log to segments, and from many segments to few.
//!
//! A checkpoint writes the rows that are in a log only to a new segment of each collection, together with those of segments that are
//! not worth keeping: small beside the new one, or mostly deleted. What is deleted of the others goes into new files beside them. Then
//! a new manifest lists all of it. Everything happens in files that nobody knows yet; if any step fails, they are removed, and the logs
//! still have all rows. Before the manifest is written the new segments are read back, and must have the rows that went in.
//!
//! Where the [`graph`](super::graph) of a collection is written as well, all of its rows are: those that are linked to one segment, in the
//! order of their slots, the others to a second one.

mod effort;
mod part;

pub(super) use effort::{Effort, is_mostly_deleted};

use super::graph;
use super::manifest::{FORMAT_FILE, LOCK_FILE, Manifest, write_format};
use super::recover::{is_ours, manifest_names, names};
use super::world::World;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::runtime::Call;
use crate::storage::log::{Log, NewLog, log_name};
use crate::storage::vfs::Vfs;
use effort::retired;
use part::{Files, Part, Told};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Writer {
    /// Turns the log into segments. On an error nothing has changed, but for a new log.
    pub(super) fn checkpoint(&mut self, world: &World, effort: Effort, call: &Call<'_>) -> Result<()> {
        self.log.check()?;
        if self.log.next_seq() == self.manifest.seq + 1 && !has_work(world, effort) {
            return Ok(());
        }
        self.publish(world, effort, &|_| call.check())
    }

    /// As few files as possible, and nothing kept that is not needed. Reports rows that are written.
    pub(super) fn compact(&mut self, world: &World, call: &Call<'_>) -> Result<()> {
        self.checkpoint(world, Effort::usual(None), call)?;
        if has_work(world, Effort::all()) {
            let total = world.collections.values().map(|live| live.rows.read().len()).sum();
            let done = Cell::new(0);
            self.publish(world, Effort::all(), &|rows| {
                done.set(done.get() + rows);
                call.progress(done.get().min(total), total);
                call.check()
            })?;
        }
        // What the manifest before needs is kept: with a second one that lists the same, that goes.
        if self.has_past { self.publish(world, Effort::usual(None), &|_| call.check()) } else { Ok(()) }
    }

    /// Writes what is to be written, and a manifest that lists it. `told` hears of rows that are written, and may stop it.
    fn publish(&mut self, world: &World, effort: Effort, told: Told<'_>) -> Result<()> {
        let had_batches = self.log.next_seq() > self.manifest.seq + 1;
        self.begin_log()?;
        let mut written = Vec::new();
        let parts = match self.write_parts(world, effort, &mut written, told) {
            Ok(parts) => parts,
            Err(error) => {
                for name in written {
                    let _ = self.vfs.remove(&name);
                }
                return Err(error);
            }
        };
        self.generation += 1;
        let manifest = Manifest {
            generation: self.generation,
            store: self.manifest.store,
            seq: self.log.next_seq() - 1,
            log: self.log.id(),
            next_collection: world.next_collection,
            collections: parts.iter().map(Part::describe).collect(),
        };
        // If this fails, the manifest may be there all the same. Then its files must be, and so must those of the old one.
        manifest.publish(&*self.vfs)?;
        let old = std::mem::replace(&mut self.manifest, manifest);
        // The manifest before needs its logs, and what they name.
        self.previous = (old.files(), Some(old.generation));
        self.previous.0.append(&mut self.attached);
        self.has_past = had_batches || !self.previous.0.is_subset(&self.manifest.files());
        parts.into_iter().try_for_each(Part::apply)?;
        self.collect();
        self.logs = vec![self.log.id()];
        Ok(())
    }

    fn write_parts(
        &mut self,
        world: &World,
        effort: Effort,
        written: &mut Vec<String>,
        told: Told<'_>,
    ) -> Result<Vec<Part>> {
        let vfs = Arc::clone(&self.vfs);
        let mut files = Files { vfs: &*vfs, next: &mut || self.new_file(), written, told };
        let lives = world.collections.values();
        let parts = lives.map(|live| Part::write(live, effort, &mut files)).collect::<Result<_>>()?;
        if !written.is_empty() {
            vfs.sync_directory().map_err(|error| Error::io(&vfs.path(""), error))?;
        }
        Ok(parts)
    }

    /// The names of all files that are needed: by the manifest, by the one before, by logs.
    pub(super) fn needed(&self) -> BTreeSet<String> {
        let mut needed = self.manifest.files();
        needed.extend(self.previous.0.iter().cloned());
        needed.extend(manifest_names([self.manifest.generation].into_iter().chain(self.previous.1)));
        needed.extend(self.logs.iter().map(|id| log_name(*id)));
        needed.extend([FORMAT_FILE.to_owned(), LOCK_FILE.to_owned()]);
        needed.extend(self.attached.iter().cloned());
        needed
    }

    /// Removes all other files of ours. What cannot be removed now is removed the next time.
    fn collect(&self) {
        let needed = self.needed();
        for name in names(&*self.vfs).unwrap_or_default() {
            if is_ours(&name) && !needed.contains(&name) {
                let _ = self.vfs.remove(&name);
            }
        }
    }
}

/// Whether a checkpoint would do anything without new batches.
fn has_work(world: &World, effort: Effort) -> bool {
    world.collections.values().any(|live| {
        let rows = live.rows.read();
        !retired(&rows, effort).is_empty() || graph::is_due(&rows, effort.grown)
    })
}

/// Writes all rows to an empty directory, as a store of its own. The file that makes it one comes last.
pub(super) fn export(vfs: &dyn Vfs, world: &World, call: &Call<'_>) -> Result<()> {
    let store = vfs.random();
    let mut manifest =
        Manifest { generation: 1, store, log: 1, next_collection: world.next_collection, ..Manifest::default() };
    let (mut file, mut written) = (manifest.log, Vec::new());
    let mut next = || {
        file += 1;
        file
    };
    let mut files = Files { vfs, next: &mut next, written: &mut written, told: &|_| call.check() };
    for live in world.collections.values() {
        manifest.collections.push(Part::write_all(live, &mut files)?.describe());
    }
    Log::begin(vfs, NewLog { store, id: 1, first_seq: 1, previous: (0, 0), synced: true }, None)?;
    manifest.publish(vfs)?;
    write_format(vfs, store)
}
