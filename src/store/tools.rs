//! What one does with a store now and then: look at it, check it, copy it, make it small.

use super::checkpoint::export;
use super::collection::Collection;
use super::desk::Kind;
use super::graph;
use super::manifest::{Manifest, read_deletions, read_format};
use super::recover::{self, examine, generations, names};
use super::segment::Segment;
use super::{Inner, Store};
use crate::error::{Error, Result};
use crate::runtime::Call;
use crate::storage::log::chain;
use crate::storage::vfs::{Disk, Vfs};
use std::path::Path;
use std::sync::Arc;

/// Numbers about a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CollectionStats {
    /// Its name.
    pub name: String,
    /// Rows that can be found.
    pub rows: usize,
    /// Rows in segments that are deleted or replaced, and still take room on the disk.
    pub dead_rows: usize,
    /// Rows that are in a log only.
    pub logged_rows: usize,
    /// Segments.
    pub segments: usize,
    /// Rows that are not linked into the graph yet, and looked at one by one.
    pub unlinked_rows: usize,
    /// Rows under the graph that is in a file; with it they need not be linked again.
    pub saved_rows: usize,
    /// What was wrong with that file when the store was opened, if it had to be done without.
    pub graph_damage: Option<String>,
    /// Bytes in memory, about.
    pub memory_bytes: u64,
}

/// Numbers about a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStats {
    /// Each collection, by name.
    pub collections: Vec<CollectionStats>,
    /// Bytes of the log that is being written; 0 for a reader.
    pub log_bytes: u64,
    /// Bytes of the segments and deletions that the manifest lists; 0 for a reader.
    pub segment_bytes: u64,
    /// Bytes of all files in the directory that are ours.
    pub disk_bytes: u64,
}

/// What a look at every byte found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Verified {
    /// Files that were read.
    pub files: usize,
    /// What is wrong with those that are damaged.
    pub damaged: Vec<Error>,
}

impl Collection {
    /// Numbers about the collection.
    pub fn stats(&self) -> Result<CollectionStats> {
        let live = self.live()?;
        let rows = live.rows.read();
        Ok(CollectionStats {
            name: self.name().to_owned(),
            rows: rows.len(),
            dead_rows: rows.segments.values().map(|sealed| sealed.gone_count as usize).sum(),
            logged_rows: rows.fresh_count(),
            segments: rows.segments.len(),
            unlinked_rows: rows.index().stats().pending,
            saved_rows: graph::covered(&rows),
            graph_damage: rows.graph_damage.clone(),
            memory_bytes: rows.bytes(),
        })
    }

    /// Gives the memory of deleted rows back and brings the index into order.
    pub fn optimize(&self, call: &Call<'_>) -> Result<()> {
        // The guard must be gone: a writer that waits for it would wait as long as this takes.
        let index = self.live()?.rows.read().index();
        index.optimize(call)
    }

    /// The same where anything is deleted; elsewhere what is not linked is linked.
    fn tidy(&self, call: &Call<'_>) -> Result<()> {
        let live = self.live()?;
        let dead = live.rows.read().index().stats().dead;
        if dead > 0 { self.optimize(call) } else { live.link_now(call) }
    }
}

impl Inner {
    /// The directory, unless there is none.
    fn vfs(&self) -> Result<Option<Arc<dyn Vfs>>> {
        match &self.desk.read().kind {
            Kind::Writer(writer) => Ok(Some(Arc::clone(&writer.vfs))),
            Kind::Reader(reader) => Ok(Some(Arc::clone(&reader.vfs))),
            Kind::Memory => Ok(None),
            Kind::Closed => Err(Error::Closed),
        }
    }
}

impl Store {
    /// Numbers about the store.
    pub fn stats(&self) -> Result<StoreStats> {
        let collections =
            self.collections()?.iter().map(|name| self.collection(name)?.stats()).collect::<Result<_>>()?;
        let mut stats = StoreStats { collections, log_bytes: 0, segment_bytes: 0, disk_bytes: 0 };
        if let Kind::Writer(writer) = &self.inner.desk.read().kind {
            stats.log_bytes = writer.log.end();
            stats.segment_bytes = writer.manifest.bytes();
        }
        if let Some(vfs) = self.inner.vfs()? {
            let ours = names(&*vfs)?.into_iter().filter(|name| recover::is_ours(name));
            // A file that has just been removed takes no room.
            stats.disk_bytes = ours.filter_map(|name| vfs.open(&name).and_then(|file| file.len()).ok()).sum();
        }
        Ok(stats)
    }

    /// Writes all rows to as few files as possible, gives the room of deleted rows back, on the disk and in memory.
    pub fn compact(&self, call: &Call<'_>) -> Result<()> {
        self.collections()?.iter().try_for_each(|name| self.collection(name)?.tidy(call))?;
        self.inner.change(call, |desk, world| desk.compact(world))
    }

    /// Turns the log into segments.
    pub fn checkpoint(&self, call: &Call<'_>) -> Result<()> {
        self.inner.change(call, |desk, world| desk.checkpoint(world, false))
    }

    /// Reads every byte of every file that the store consists of, and compares it with its checksums.
    pub fn verify(&self, call: &Call<'_>) -> Result<Verified> {
        let turn = self.inner.desk.writer(call)?;
        let mut verified = Verified { files: 0, damaged: Vec::new() };
        if let Some(vfs) = self.inner.vfs()? {
            verified.look_at(&*vfs, call)?;
        }
        drop(turn);
        Ok(verified)
    }

    /// Writes a copy of the store to a directory that is empty or does not exist.
    pub fn backup(&self, path: &Path, call: &Call<'_>) -> Result<()> {
        let disk = Disk::create(path)?;
        let turn = self.inner.desk.writer(call)?;
        let world = self.inner.world()?;
        if !names(&disk)?.is_empty() {
            let _ = examine(&disk)?;
            let what = "a backup needs a directory of its own, and this one is not empty".to_owned();
            return Err(Error::InvalidArgument(format!("{}: {what}", path.display())));
        }
        let exported = export(&disk, &world);
        drop(turn);
        exported
    }
}

impl Verified {
    fn note<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        self.files += 1;
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error @ (Error::Corruption { .. } | Error::FormatVersion { .. })) => {
                self.damaged.push(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn look_at(&mut self, vfs: &dyn Vfs, call: &Call<'_>) -> Result<()> {
        let Some(store) = self.note(read_format(vfs))? else { return Ok(()) };
        let generations = generations(&names(vfs)?);
        let newest = generations.first().copied();
        for generation in generations {
            let Some(manifest) = self.note(Manifest::open(vfs, generation, store))? else { continue };
            self.look_at_files(vfs, &manifest, call)?;
            if Some(generation) == newest {
                self.note(chain(vfs, store, manifest.seq, &mut |_, _| call.check()).map(drop))?;
            }
        }
        if newest.is_none() {
            self.note(chain(vfs, store, 0, &mut |_, _| call.check()).map(drop))?;
        }
        Ok(())
    }

    fn look_at_files(&mut self, vfs: &dyn Vfs, manifest: &Manifest, call: &Call<'_>) -> Result<()> {
        for collection in &manifest.collections {
            for segment in &collection.segments {
                call.check()?;
                let opened = Segment::open(vfs, &segment.name(), collection.id, collection.schema.dim);
                self.note(opened.and_then(|opened| opened.digest()).map(drop))?;
                if let Some(deletions) = &segment.deletions {
                    self.note(read_deletions(vfs, deletions, segment.rows).map(drop))?;
                }
            }
            if let Some(record) = &collection.graph {
                call.check()?;
                self.note(graph::verify(vfs, record))?;
            }
        }
        Ok(())
    }
}
