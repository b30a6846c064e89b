//! What one does with a store now and then: look at it, copy it, make it small.

use super::checkpoint::export;
use super::collection::Collection;
use super::desk::Kind;
use super::graph;
use super::recover::{self, examine, names};
use super::world::Live;
use super::{Inner, Store};
use crate::error::{Error, Result};
use crate::runtime::Call;
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
    /// Rows that are not linked into the graph yet, or of a flat collection have no codes yet, and are looked at one by one.
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
    pub(super) fn vfs(&self) -> Result<Option<Arc<dyn Vfs>>> {
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
        let lives: Vec<Arc<Live>> = self.inner.world()?.collections.values().map(Arc::clone).collect();
        let counts: Vec<usize> = lives.iter().map(|live| live.rows.read().len()).collect();
        // Each row is put in order in memory, and written.
        let (rows, mut done) = (counts.iter().sum::<usize>(), 0);
        for (live, count) in lives.iter().zip(counts) {
            call.stage((done, count, 2 * rows), |call| Collection::new(&self.inner, live).tidy(call))?;
            done += count;
        }
        call.stage((rows, rows, 2 * rows), |call| self.inner.change(call, |desk, world| desk.compact(world, call)))?;
        call.progress(2 * rows, 2 * rows);
        Ok(())
    }

    /// Turns the log into segments.
    pub fn checkpoint(&self, call: &Call<'_>) -> Result<()> {
        self.inner.change(call, |desk, world| desk.checkpoint(world, false, call))
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
        let exported = export(&disk, &world, call);
        drop(turn);
        exported
    }
}
