//! Writing batches that wait: as many as go together, in one frame, with one sync.
//!
//! A group is in the store as a whole or not at all, so each of its batches is. No two of them name the same key of a collection: each
//! means what it would mean alone, and all of them are met by the rows as they were before the group. A batch that shares a key with one before it
//! waits for the next group, and so do all behind it; so does one that goes straight into a segment, which is a group of its own.

use super::Inner;
use super::batch::encode_attach;
use super::changes::Changes;
use super::desk::{Desk, Kind};
use super::files::segment_name;
use super::intake::Intake;
use super::key::Key;
use super::queue::{Batch, Claim};
use super::rows::Sealed;
use super::segment::{self, Input, Segment};
use super::world::{Live, World};
use crate::error::{Error, Result};
use crate::runtime::{Call, Writer};
use crate::storage::log::Frame;
use crate::storage::vfs::Vfs;
use hashbrown::{DefaultHashBuilder, HashSet};
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;

/// Batches that are written together.
#[derive(Default)]
struct Group {
    claims: Vec<Claim>,
    parts: Vec<(Arc<Live>, Changes)>,
    /// Bytes of these, in a log and in memory, about.
    bytes: usize,
    memory: usize,
    /// Hashes of all keys that the batches look at. Two that are equal by chance cost a sync.
    keys: HashSet<u64>,
    hash: DefaultHashBuilder,
}

impl Inner {
    /// Writes a batch, together with those of other threads if there are any. How many rows it changed.
    pub(super) fn write(&self, batch: Batch, call: &Call<'_>) -> Result<usize> {
        let ticket = self.queue.enter(batch);
        let turn = match self.desk.writer_unless(call, || ticket.is_settled()) {
            Err(error) if self.queue.withdraw(&ticket) => return Err(error),
            // Somebody is writing it: it is too late to stop.
            Err(_) => self.desk.writer_unless(&Call::uninterrupted(), || ticket.is_settled())?,
            Ok(turn) => turn,
        };
        if let Some(turn) = turn {
            while !ticket.is_settled() && self.lead(&turn) {}
        }
        ticket.result().unwrap_or(Err(Error::Closed))
    }

    /// Writes the first batches that wait; whether there were any.
    fn lead(&self, turn: &Writer<'_, Desk>) -> bool {
        let mut desk = turn.write();
        let limit = desk.limit();
        let mut group = Group::default();
        let mut is_first = true;
        while let Some((claim, batch)) = self.queue.take(|batch| is_first || group.fits(batch, limit)) {
            is_first = false;
            match self.meet(&desk, &mut group, batch) {
                Ok(Some(part)) => {
                    group.claims.push(claim);
                    group.parts.push(part);
                }
                Ok(None) => claim.settle(Ok(0)),
                Err(error) => claim.settle(Err(error)),
            }
        }
        let lives: Vec<Arc<Live>> = group.parts.iter().map(|(live, _)| Arc::clone(live)).collect();
        group.write(&mut desk);
        // What comes now may take long, and is no business of theirs.
        turn.announce();
        lives.iter().for_each(|live| live.tend_soon(self.auto_compact));
        if let Ok(world) = self.world()
            && !lives.is_empty()
        {
            desk.checkpoint_if_due(&world);
        }
        !is_first
    }

    /// What a batch changes; `None` if nothing.
    fn meet(&self, desk: &Desk, group: &mut Group, batch: Batch) -> Result<Option<(Arc<Live>, Changes)>> {
        desk.check()?;
        let world = self.world()?;
        let live = world.live(batch.collection).ok_or(Error::CollectionNotFound(batch.name.to_string()))?;
        group.keys.extend(batch.wanted.keys().map(|key| group.hash.hash_one((live.id, key))).collect::<Vec<_>>());
        let changes = batch.wanted.meet(live, &live.rows.read(), desk.now())?;
        if changes.len() == 0 {
            return Ok(None);
        }
        self.check_room(&world, group.memory + changes.memory(live))?;
        group.memory += changes.memory(live);
        group.bytes += changes.bytes();
        Ok(Some((Arc::clone(live), changes)))
    }

    /// Refuses what would take more memory than is allowed.
    pub(super) fn check_room(&self, world: &World, bytes: usize) -> Result<()> {
        let Some(max) = self.max_bytes else { return Ok(()) };
        let held: u64 = world.collections.values().map(|live| live.rows.read().bytes()).sum();
        let needed = held.saturating_add(bytes as u64);
        if needed <= max {
            return Ok(());
        }
        Err(Error::Capacity { what: "the store with these rows", needed, limit: format!("and max_bytes is {max}") })
    }
}

impl Group {
    /// Whether a batch may join.
    fn fits(&self, batch: &Batch, limit: usize) -> bool {
        let is_known = |key: &Key| self.keys.contains(&self.hash.hash_one((batch.collection, key)));
        self.bytes + batch.wanted.bytes() <= limit && !batch.wanted.keys().any(is_known)
    }

    /// Makes all of it part of the store, or nothing, and tells everybody.
    fn write(self, desk: &mut Desk) {
        let counts: Vec<usize> = self.parts.iter().map(|(_, changes)| changes.len()).collect();
        let written = if self.bytes > desk.limit() && self.parts.len() == 1 {
            self.parts.into_iter().map(|(live, changes)| write_alone(desk, &live, changes)).collect()
        } else {
            write_together(desk, self.parts, self.bytes)
        };
        let outcomes: Vec<Result<()>> = match written {
            Ok(outcomes) => outcomes,
            Err(error) => counts.iter().map(|_| Err(error.for_another())).collect(),
        };
        for ((claim, outcome), count) in self.claims.into_iter().zip(outcomes).zip(counts) {
            claim.settle(outcome.map(|()| count));
        }
    }
}

/// Writes one frame with all of it, then does each: what came of that.
fn write_together(desk: &mut Desk, parts: Vec<(Arc<Live>, Changes)>, bytes: usize) -> Result<Vec<Result<()>>> {
    let mut frame = Frame::new();
    if matches!(desk.kind, Kind::Writer(_)) {
        frame.payload().try_reserve(bytes).map_err(|_| Error::out_of_memory("the batch", bytes))?;
        parts.iter().for_each(|(live, changes)| changes.encode(live.id, frame.payload()));
    }
    desk.commit_all(frame, || parts.into_iter().map(|(live, changes)| changes.apply(&live)).collect())
}

/// Writes many rows, which go straight into a segment.
fn write_alone(desk: &mut Desk, live: &Arc<Live>, changes: Changes) -> Result<Result<()>> {
    let (Kind::Writer(writer), Changes::Put(intake)) = (&mut desk.kind, changes) else { return Err(Error::Closed) };
    let (vfs, file) = (Arc::clone(&writer.vfs), writer.new_file());
    write_directly(desk, live, &*vfs, file, intake).map(Ok)
}

/// Writes the rows to a segment first; then the batch only has to name it.
fn write_directly(desk: &mut Desk, live: &Live, vfs: &dyn Vfs, file: u64, intake: Intake) -> Result<()> {
    let (id, dim, schema) = (live.id, intake.dim, &live.schema);
    let Intake { rows, values, .. } = intake;
    let rows: Vec<_> = rows.into_iter().map(Some).collect();
    let written = (|| {
        let values = |range: Range<usize>| Ok(values[range.start * dim..range.end * dim].to_vec());
        let name = segment::write(vfs, file, &Input { collection: id, schema, rows: &rows, values: &values })?;
        vfs.sync_directory().map_err(|error| Error::io(&vfs.path(""), error))?;
        Ok((name, Segment::open(vfs, &name, id, schema)?))
    })();
    let (name, opened) = written.inspect_err(|_| drop(vfs.remove(&segment_name(file))))?;
    let mut frame = Frame::new();
    encode_attach(frame.payload(), id, &name);
    if let Kind::Writer(writer) = &mut desk.kind {
        // From here on a log may name it, whatever comes of the call.
        writer.attached.insert(segment_name(file));
    }
    desk.commit(frame, || live.change(|rows| rows.attach(Sealed::new(name, opened), false))?)
}

/// Writes what is to be done to one collection; how many rows that changed.
pub(super) fn write_one(desk: &mut Desk, live: &Arc<Live>, changes: Changes) -> Result<usize> {
    let count = changes.len();
    if count == 0 {
        return Ok(0);
    }
    let bytes = changes.bytes();
    write_together(desk, vec![(Arc::clone(live), changes)], bytes)?.into_iter().collect::<Result<()>>()?;
    Ok(count)
}
