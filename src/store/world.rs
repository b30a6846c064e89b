//! All collections as of one batch, and how a batch changes them.

use super::batch::{Operation, Row};
use super::graph;
use super::key::Key;
use super::manifest::{CollectionRecord, GraphRecord, Manifest, SegmentRecord, read_deletions};
use super::rows::{Rows, Sealed};
use super::schema::{IndexKind, Schema};
use super::segment::Segment;
use crate::error::{Error, Result};
use crate::index::Bits;
use crate::runtime::{Call, Shared};
use crate::storage::vfs::Vfs;
use crate::vectors::{RowSource, Rows as Values};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// One collection.
pub(super) struct Live {
    pub(super) id: u64,
    pub(super) name: Arc<str>,
    pub(super) schema: Schema,
    pub(super) rows: Shared<Rows>,
    /// Whether a thread links rows.
    pub(super) is_linking: AtomicBool,
}

/// All collections by name.
#[derive(Clone, Default)]
pub(super) struct World {
    pub(super) collections: BTreeMap<String, Arc<Live>>,
    by_id: BTreeMap<u64, Arc<Live>>,
    /// The number of the next collection.
    pub(super) next_collection: u64,
    /// The segments that batches of the logs name, whatever has become of their collections.
    pub(super) attached: BTreeSet<u64>,
}

impl Live {
    pub(super) fn new(id: u64, name: String, rows: Rows) -> Arc<Live> {
        Arc::new(Live {
            id,
            name: name.into(),
            schema: rows.schema,
            rows: Shared::new(rows),
            is_linking: AtomicBool::new(false),
        })
    }

    /// Changes the rows, with all readers out.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Rows) -> R) -> Result<R> {
        // Whoever changes the index may take long: we wait before we keep readers out, not after.
        let index = self.rows.read().index();
        index.catch_up(0, &Call::uninterrupted())?;
        let turn = self.rows.writer(&Call::uninterrupted())?;
        let mut rows = turn.write();
        Ok(change(&mut rows))
    }
}

impl World {
    /// No collections; the first will have this number.
    pub(super) fn empty(next_collection: u64) -> World {
        World { next_collection, ..World::default() }
    }

    pub(super) fn insert(&mut self, live: Arc<Live>) {
        self.next_collection = self.next_collection.max(live.id.saturating_add(1));
        self.by_id.insert(live.id, Arc::clone(&live));
        self.collections.insert(live.name.to_string(), live);
    }

    /// The collection with this number.
    pub(super) fn live(&self, id: u64) -> Option<&Arc<Live>> {
        self.by_id.get(&id)
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Arc<Live>> {
        let live = self.by_id.remove(&id)?;
        self.collections.remove(&*live.name)
    }

    /// What a manifest says, and what the files have that it lists.
    pub(super) fn open(vfs: &dyn Vfs, manifest: &Manifest) -> Result<World> {
        let mut world = World::empty(manifest.next_collection);
        for record in &manifest.collections {
            if world.by_id.contains_key(&record.id) || world.collections.contains_key(&record.name) {
                return Err(corrupt(vfs, "manifest", format!("collection {:?} is there twice", record.name)));
            }
            world.insert(open_collection(vfs, record)?);
        }
        Ok(world)
    }

    /// Compares every byte of the segments with its checksum.
    pub(super) fn verify(&self) -> Result<()> {
        let verify = |live: &Arc<Live>| live.rows.read().segments.values().try_for_each(|sealed| sealed.file.verify());
        self.collections.values().try_for_each(verify)
    }

    /// Whether there are segments that only a log names: who opens the store reads all of their rows.
    pub(super) fn has_unlisted_segments(&self) -> bool {
        let is_unlisted = |live: &Arc<Live>| live.rows.read().segments.values().any(|sealed| !sealed.listed);
        self.collections.values().any(is_unlisted)
    }

    /// Whether there are graphs that have grown so much that they should be written when there is time.
    pub(super) fn has_grown_graph(&self) -> bool {
        self.collections.values().any(|live| graph::is_due(&live.rows.read(), graph::GROWN))
    }

    /// Does a batch from the log again.
    pub(super) fn replay(&mut self, vfs: &dyn Vfs, seq: u64, payload: &[u8]) -> Result<()> {
        let corrupt = |what: &str| corrupt(vfs, &format!("batch {seq} of the log"), what.to_owned());
        let operations = super::batch::decode(payload).ok_or_else(|| corrupt("it cannot be read"))?;
        let mut run = Run::default();
        for operation in operations {
            let (collection, deletes) = match &operation {
                Operation::Put { collection, .. } => (*collection, false),
                Operation::Delete { collection, .. } => (*collection, true),
                _ => (0, false),
            };
            // What belongs together becomes visible together.
            if !run.is_of(collection, deletes) {
                std::mem::replace(&mut run, Run::of(collection, deletes))
                    .apply(self)
                    .map_err(|what| what.or(&corrupt))?;
            }
            match operation {
                Operation::Put { row, values, .. } => {
                    run.rows.push(row);
                    run.values.extend(values);
                }
                Operation::Delete { key, .. } => run.deleted.push(key),
                other => self.replay_one(vfs, other).map_err(|what| what.or(&corrupt))?,
            }
        }
        run.apply(self).map_err(|what| what.or(&corrupt))
    }

    fn replay_one(&mut self, vfs: &dyn Vfs, operation: Operation) -> Result<(), Unfit> {
        match operation {
            Operation::Put { .. } | Operation::Delete { .. } => {}
            Operation::Create { collection, name, schema } => {
                let taken = self.by_id.contains_key(&collection) || self.collections.contains_key(&name);
                if taken || super::schema::check_name(&name).is_err() {
                    return Err(Unfit::Batch("it creates a collection that cannot be"));
                }
                self.insert(Live::new(collection, name, Rows::new(schema)?));
            }
            Operation::Drop { collection } => {
                self.remove(collection).ok_or(Unfit::Batch("it drops a collection that is not there"))?;
            }
            Operation::Meta { collection, meta } => self.known(collection)?.change(|rows| rows.meta = meta)?,
            Operation::Attach { collection, segment } => {
                self.attached.insert(segment.file);
                let live = self.known(collection)?;
                let file = Segment::open(vfs, &segment, collection, &live.schema)?;
                live.change(|rows| rows.attach(Sealed::new(segment, file), false))??;
            }
        }
        Ok(())
    }

    fn known(&self, id: u64) -> Result<&Arc<Live>, Unfit> {
        self.live(id).ok_or(Unfit::Batch("it changes a collection that is not there"))
    }
}

/// Why a batch could not be done again.
enum Unfit {
    /// It is not one that we would have written.
    Batch(&'static str),
    Other(Error),
}

impl From<Error> for Unfit {
    fn from(error: Error) -> Unfit {
        match error {
            Error::Capacity { .. } | Error::Corruption { .. } | Error::Io { .. } => Unfit::Other(error),
            _ => Unfit::Batch("it has rows that the collection cannot have"),
        }
    }
}

impl Unfit {
    fn or(self, corrupt: &dyn Fn(&str) -> Error) -> Error {
        match self {
            Unfit::Batch(what) => corrupt(what),
            Unfit::Other(error) => error,
        }
    }
}

/// Rows for one collection that follow each other in a batch, or keys.
#[derive(Default)]
struct Run {
    collection: u64,
    deletes: bool,
    rows: Vec<Row>,
    values: Vec<f32>,
    deleted: Vec<Key>,
}

impl Run {
    fn of(collection: u64, deletes: bool) -> Run {
        Run { collection, deletes, ..Run::default() }
    }

    fn is_of(&self, collection: u64, deletes: bool) -> bool {
        (self.collection, self.deletes) == (collection, deletes)
    }

    fn apply(self, world: &World) -> Result<(), Unfit> {
        if self.rows.is_empty() && self.deleted.is_empty() {
            return Ok(());
        }
        let live = world.known(self.collection)?;
        if self.deletes {
            return Ok(live.change(|rows| rows.delete(&self.deleted))?.map(drop)?);
        }
        let values = Values::new(&self.values, live.schema.dim)?;
        if values.rows() != self.rows.len() || !distinct(&self.rows) {
            return Err(Unfit::Batch("its keys and vectors do not fit each other"));
        }
        Ok(live.change(|rows| rows.put(self.rows, &values))??)
    }
}

fn distinct(rows: &[Row]) -> bool {
    let keys: BTreeSet<&Key> = rows.iter().map(|row| &row.key).collect();
    keys.len() == rows.len()
}

/// The rows of a collection, as the manifest lists them: those under the graph are taken over with it, those of a flat collection where they lie,
/// and the others are added.
fn open_collection(vfs: &dyn Vfs, record: &CollectionRecord) -> Result<Arc<Live>> {
    let open = |segment: &SegmentRecord| {
        let file = Segment::open(vfs, &segment.name(), record.id, &record.schema)?;
        let gone = match &segment.deletions {
            Some(deletions) => read_deletions(vfs, deletions, segment.rows)?,
            None => Bits::default(),
        };
        Ok(Sealed::new(segment.name(), file).listed(gone, segment.deletions))
    };
    let mut segments: Vec<Sealed> = record.segments.iter().map(open).collect::<Result<_>>()?;
    let base = record.graph.and_then(|graph| {
        let at = segments.iter().position(|sealed| sealed.name.file == graph.segment)?;
        Some((graph, segments.remove(at)))
    });
    let mut rows = match base {
        Some((graph, base)) => open_with_graph(vfs, record, graph, base)?,
        None => open_in_place(record.schema, &mut segments)?,
    };
    rows.meta.clone_from(&record.meta);
    segments.into_iter().try_for_each(|sealed| rows.attach(sealed, true))?;
    Ok(Live::new(record.id, record.name.clone(), rows))
}

/// If no segment has so many rows, all are read at once: that takes no longer.
const LEAST_LENT: usize = 1024;

/// The rows of the segments that an index reads where they lie; these are taken out of the list.
fn open_in_place(schema: Schema, segments: &mut Vec<Sealed>) -> Result<Rows> {
    if schema.index != IndexKind::Flat || segments.iter().all(|sealed| sealed.file.len() < LEAST_LENT) {
        return Rows::new(schema);
    }
    let lent = std::mem::take(segments);
    let (index, firsts) = schema.index_in(lent.iter().map(|sealed| sealed.file.lent(&sealed.gone)).collect())?;
    let mut rows = Rows::over(schema, index);
    lent.into_iter().zip(firsts).for_each(|(sealed, first)| rows.adopt(sealed, first));
    Ok(rows)
}

/// The rows of a segment under the graph that goes with it. If that is damaged it is made again, in time.
fn open_with_graph(vfs: &dyn Vfs, record: &CollectionRecord, graph: GraphRecord, base: Sealed) -> Result<Rows> {
    let live = base.gone.complement(base.file.len());
    match graph::open(vfs, &record.schema, &graph, &base.name, live) {
        Ok(index) => {
            let mut rows = Rows::over(record.schema, index);
            rows.graph = Some(graph);
            rows.adopt(base, 0);
            Ok(rows)
        }
        Err(damage @ (Error::Corruption { .. } | Error::FormatVersion { .. })) => {
            let mut rows = Rows::new(record.schema)?;
            rows.graph_damage = Some(damage.to_string());
            rows.attach(base, true)?;
            Ok(rows)
        }
        Err(error) => Err(error),
    }
}

/// The error for a store that contradicts itself.
pub(super) fn corrupt(vfs: &dyn Vfs, block: &str, what: String) -> Error {
    Error::Corruption { path: vfs.path(""), block: block.to_owned(), what }
}
