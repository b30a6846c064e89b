//! The store: named collections of vectors with keys and metadata, in one directory that survives anything.
//!
//! ```text
//! batch  ->  frame in the log, synced  ->  rows in memory, seen by searches
//!                     |
//!             checkpoint: segments, then a manifest that lists them
//! ```
//!
//! There are two commit points and no more: a [frame](crate::storage::log) makes a batch part of the store, a [`manifest`] makes a
//! reorganisation of its files so. All else is written beside what is there and means nothing until one of these two names it. One
//! process writes; any number of others read, each a state of its own, and write nothing.
//!
//! [`batch`] is what a batch says, [`changes`] what it comes to, [`group`] writes those that come together, [`world`] and [`rows`] are what it changes, [`writer`] and [`recover`] keep and find the files,
//! [`checkpoint`] brings them into order, [`collection`] and [`search`] are what users see.

mod batch;
mod changes;
mod checkpoint;
mod coding;
mod collection;
mod desk;
mod files;
mod filter;
mod graph;
mod group;
mod intake;
mod key;
mod linking;
mod manifest;
mod metadata;
mod ordered;
mod postings;
mod queue;
mod recover;
mod retrieve;
mod rows;
mod schema;
mod search;
mod segment;
mod tools;
mod verify;
mod world;
mod writer;

pub use collection::{Collection, StoredRow};
pub use filter::Filter;
pub use intake::OnConflict;
pub use key::Key;
pub use metadata::{Document, Metadata};
pub use ordered::Direction;
pub use retrieve::{Grouping, Place};
pub use schema::{IndexKind, Schema};
pub use search::{Explanation, Hit, Plan, StoreSearch};
pub use tools::{CollectionStats, StoreStats};
pub use verify::Verified;

use crate::error::{Error, Result};
use crate::runtime::{Call, Shared};
use crate::storage::log::Frame;
use crate::storage::vfs::{Disk, Vfs};
use desk::{Desk, Kind, Reader};
use queue::Queue;
use rows::Rows;
use std::path::Path;
use std::sync::Arc;
use world::{Live, World};
use writer::Writer;

/// Whether a store is opened to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To be read and written; one process at a time.
    ReadWrite,
    /// To be read only: every change is refused, and not a byte is written.
    Read,
}

/// When a batch is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// When the call that writes it returns.
    Batch,
    /// After [`Store::flush`] or [`Store::close`]; until then a power cut may take the last batches, in whole.
    Flush,
}

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// For writing or for reading.
    pub mode: Mode,
    /// Make a store where there is none.
    pub create: bool,
    /// When a batch is durable.
    pub sync: SyncMode,
    /// Write a segment again once more than this part of it is deleted, and make the index anew once more than this part of its slots is of
    /// deleted rows; `None`: only when asked to.
    pub auto_compact: Option<f64>,
    /// Refuse what would make the collections take more memory than this.
    pub max_bytes: Option<u64>,
    /// Compare every byte of the segments with its checksum before any is believed. Where the newest are damaged, and the files before them
    /// lead to the same rows, these are used. Otherwise damage is found when somebody comes to it.
    pub verify: bool,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        let (mode, sync) = (Mode::ReadWrite, SyncMode::Batch);
        StoreOptions { mode, create: true, sync, auto_compact: Some(0.5), max_bytes: None, verify: false }
    }
}

/// Sizes that decide where rows go.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Batches above this go straight into a segment: written once, not twice.
    direct_bytes: usize,
    /// A log of this size is turned into segments.
    checkpoint_bytes: u64,
    /// A log that is shorter than this stays a log when the store is closed.
    short_log: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { direct_bytes: 8 << 20, checkpoint_bytes: 128 << 20, short_log: 1 << 20 }
    }
}

/// Named collections in one directory, or in memory.
pub struct Store {
    inner: Arc<Inner>,
}

/// What a store and its collections share.
struct Inner {
    /// `None` once the store is closed.
    world: Shared<Option<Arc<World>>>,
    desk: Shared<Desk>,
    /// Batches that wait to be written.
    queue: Queue,
    max_bytes: Option<u64>,
    auto_compact: Option<f64>,
}

impl Inner {
    fn world(&self) -> Result<Arc<World>> {
        self.world.read().clone().ok_or(Error::Closed)
    }

    /// Makes `world` what everybody sees.
    fn show(&self, world: Option<World>) -> Result<()> {
        let turn = self.world.writer(&Call::uninterrupted())?;
        let world = world.map(Arc::new);
        let old = std::mem::replace(&mut *turn.write(), world);
        drop(old);
        Ok(())
    }

    /// Does `change` when it is our turn, if we may write.
    fn change<R>(&self, call: &Call<'_>, change: impl FnOnce(&mut Desk, &World) -> Result<R>) -> Result<R> {
        let turn = self.desk.writer(call)?;
        let mut desk = turn.write();
        desk.check()?;
        let world = self.world()?;
        change(&mut desk, &world)
    }

    fn find(&self, name: &str) -> Result<Arc<Live>> {
        let found = self.world()?.collections.get(name).cloned();
        found.ok_or_else(|| Error::CollectionNotFound(name.to_owned()))
    }
}

impl Store {
    /// Opens the store in the directory at `path`.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Store> {
        if options.auto_compact.is_some_and(|part| !(0.0..=1.0).contains(&part)) {
            return Err(Error::InvalidArgument("auto_compact must be between 0 and 1, or nothing".to_owned()));
        }
        let writes = options.mode == Mode::ReadWrite;
        let disk = if writes && options.create { Disk::create(path)? } else { Disk::open(path)? };
        Store::on(Arc::new(disk), options, Limits::default())
    }

    /// A store that is nowhere but in memory.
    pub fn in_memory(options: StoreOptions) -> Store {
        Store::with(Kind::Memory, World::empty(1), options)
    }

    /// The store on this disk.
    fn on(vfs: Arc<dyn Vfs>, options: StoreOptions, limits: Limits) -> Result<Store> {
        let (kind, world) = match options.mode {
            Mode::ReadWrite => {
                let (writer, world) = Writer::open(vfs, options, limits)?;
                (Kind::Writer(Box::new(writer)), world)
            }
            Mode::Read => {
                if recover::examine(&*vfs)? == recover::Directory::Empty {
                    return Err(Error::NotAStore { path: vfs.path(""), what: "the directory is empty".to_owned() });
                }
                let (reader, world) = Reader::open(vfs, options.verify)?;
                (Kind::Reader(Box::new(reader)), world)
            }
        };
        Ok(Store::with(kind, world, options))
    }

    fn with(kind: Kind, world: World, options: StoreOptions) -> Store {
        world.tend_soon(options.auto_compact);
        let StoreOptions { max_bytes, auto_compact, .. } = options;
        let desk = Shared::new(Desk::new(kind, auto_compact));
        let world = Shared::new(Some(Arc::new(world)));
        Store { inner: Arc::new(Inner { world, desk, queue: Queue::default(), max_bytes, auto_compact }) }
    }

    /// Creates a collection. With `exist_ok` one that exists with the same schema is returned as it is.
    pub fn create_collection(&self, name: &str, schema: Schema, exist_ok: bool, call: &Call<'_>) -> Result<Collection> {
        schema::check_name(name)?;
        let rows = Rows::new(schema)?;
        let live = self.inner.change(call, |desk, world| {
            if let Some(live) = world.collections.get(name) {
                return existing(live, schema, exist_ok);
            }
            let id = world.next_collection;
            let mut frame = Frame::new();
            batch::encode_create(frame.payload(), id, name, &schema);
            let live = Live::new(id, name.to_owned(), rows);
            let mut next = world.clone();
            next.insert(Arc::clone(&live));
            desk.commit(frame, || self.inner.show(Some(next)))?;
            Ok(live)
        })?;
        Ok(Collection::new(&self.inner, &live))
    }

    /// The collection of that name.
    pub fn collection(&self, name: &str) -> Result<Collection> {
        let live = self.inner.find(name)?;
        Ok(Collection::new(&self.inner, &live))
    }

    /// The names of all collections, sorted.
    pub fn collections(&self) -> Result<Vec<String>> {
        Ok(self.inner.world()?.collections.keys().cloned().collect())
    }

    /// Removes a collection with all that is in it; whether there was one.
    pub fn drop_collection(&self, name: &str, call: &Call<'_>) -> Result<bool> {
        self.inner.change(call, |desk, world| {
            let Some(live) = world.collections.get(name) else { return Ok(false) };
            let mut frame = Frame::new();
            batch::encode_drop(frame.payload(), live.id);
            let mut next = world.clone();
            next.remove(live.id);
            desk.commit(frame, || self.inner.show(Some(next)))?;
            Ok(true)
        })
    }

    /// Makes every batch so far durable, whatever the mode of syncing.
    pub fn flush(&self, call: &Call<'_>) -> Result<()> {
        self.inner.change(call, |desk, _| desk.flush())
    }

    /// As [`flush`](Store::flush), and links every row into its graph, and keeps that; of flat collections it makes the codes.
    pub fn flush_and_link(&self, call: &Call<'_>) -> Result<()> {
        self.flush(call)?;
        let world = self.inner.world()?;
        let waiting = |live: &Arc<Live>| live.rows.read().index().stats().pending;
        let (total, mut done) = (world.collections.values().map(waiting).sum(), 0);
        for live in world.collections.values() {
            let count = waiting(live);
            call.stage((done, count, total), |call| live.link_now(call))?;
            done += count;
        }
        if world.has_grown_graph() {
            self.inner.change(call, |desk, world| desk.checkpoint(world, true, call))?;
        }
        call.progress(total, total);
        Ok(())
    }

    /// Brings a reader to the newest state that is committed; whether anything was new. A writer is always there.
    pub fn refresh(&self, call: &Call<'_>) -> Result<bool> {
        let turn = self.inner.desk.writer(call)?;
        let mut desk = turn.write();
        let world = self.inner.world()?;
        let Kind::Reader(reader) = &mut desk.kind else { return Ok(false) };
        let (is_new, next) = reader.refresh(&world)?;
        if let Some(next) = next {
            next.tend_soon(self.inner.auto_compact);
            self.inner.show(Some(next))?;
        }
        Ok(is_new)
    }

    /// Makes everything durable and gives the right to write back. From then on every call fails.
    pub fn close(&self) -> Result<()> {
        let turn = self.inner.desk.writer(&Call::uninterrupted())?;
        let mut desk = turn.write();
        let finished = self.finish(&mut desk);
        desk.kind = Kind::Closed;
        self.inner.show(None)?;
        finished
    }

    fn finish(&self, desk: &mut Desk) -> Result<()> {
        if desk.check().is_err() {
            // Closing twice is no error, and a reader, or a child of a writer, has nothing to finish.
            return if let Kind::Writer(writer) = &desk.kind { writer.log.check() } else { Ok(()) };
        }
        desk.flush()?;
        let Kind::Writer(writer) = &desk.kind else { return Ok(()) };
        let world = self.inner.world()?;
        let is_long = writer.log.end() > writer.limits.short_log || world.has_unlisted_segments();
        if is_long || world.has_grown_graph() { desk.checkpoint(&world, true, &Call::uninterrupted()) } else { Ok(()) }
    }
}

/// The collection that is there already, if it is the one that was wanted.
fn existing(live: &Arc<Live>, schema: Schema, exist_ok: bool) -> Result<Arc<Live>> {
    let refuse = |what: String| Err(Error::CollectionExists { name: live.name.to_string(), what });
    match exist_ok {
        true if live.schema == schema => Ok(Arc::clone(live)),
        true => refuse(format!(" with another schema: {:?}, not {schema:?}", live.schema)),
        false => refuse("; pass exist_ok to take it as it is".to_owned()),
    }
}

#[cfg(test)]
mod suite;
