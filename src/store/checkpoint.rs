//! From the log to segments, and from many segments to few.
//!
//! A checkpoint writes the rows that are in a log only to a new segment of each collection, together with those of segments that are
//! not worth keeping: small beside the new one, or mostly deleted. What is deleted of the others goes into new files beside them. Then
//! a new manifest lists all of it. Everything happens in files that nobody knows yet; if any step fails, they are removed, and the logs
//! still have all rows. Before the manifest is written the new segments are read back, and must have the rows that went in.

use super::batch::{Row, SegmentName};
use super::manifest::{
    CollectionRecord, FORMAT_FILE, FileRecord, LOCK_FILE, Manifest, SegmentRecord, deletions_name, write_deletions,
};
use super::recover::{is_ours, manifest_names, names};
use super::rows::{Rows, Sealed};
use super::segment::{Digest, Input, Segment, segment_name, write};
use super::world::{Live, World, corrupt};
use super::writer::Writer;
use crate::error::Result;
use crate::index::Bits;
use crate::storage::log::log_name;
use crate::storage::vfs::Vfs;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Which old segments are written again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Merge {
    /// Those that are small beside what is new, and those of which more than this part is deleted.
    Some(Option<f64>),
    /// All of which anything is deleted, and all if there are several.
    All,
}

/// What a checkpoint does to one collection.
struct Part {
    live: Arc<Live>,
    retired: BTreeSet<u64>,
    /// The rows of the new segment, in its order.
    members: Vec<i64>,
    segment: Option<SegmentName>,
    /// New deletions, by segment.
    deletions: BTreeMap<u64, FileRecord>,
}

impl Writer {
    /// Turns the log into segments. On an error nothing has changed, but for a new log.
    pub(super) fn checkpoint(&mut self, world: &World, merge: Merge) -> Result<()> {
        self.log.check()?;
        if self.log.next_seq() == self.manifest.seq + 1 && !merges(world, merge)? {
            return Ok(());
        }
        self.publish(world, merge)
    }

    /// As few files as possible, and nothing kept that is not needed.
    pub(super) fn compact(&mut self, world: &World) -> Result<()> {
        self.checkpoint(world, Merge::Some(None))?;
        if !merges(world, Merge::All)? {
            return Ok(());
        }
        self.publish(world, Merge::All)?;
        // The files of the manifest before are kept: with a second one that lists the same, the old ones go.
        self.publish(world, Merge::Some(None))
    }

    fn publish(&mut self, world: &World, merge: Merge) -> Result<()> {
        self.begin_log()?;
        let mut written = Vec::new();
        let parts = match self.write_parts(world, merge, &mut written) {
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
        parts.into_iter().try_for_each(Part::apply)?;
        self.collect();
        self.logs = vec![self.log.id()];
        Ok(())
    }

    fn write_parts(&mut self, world: &World, merge: Merge, written: &mut Vec<String>) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        for live in world.collections.values() {
            parts.push(self.write_part(live, merge, written)?);
        }
        if !written.is_empty() {
            self.vfs.sync_directory().map_err(|error| crate::error::Error::io(&self.vfs.path(""), error))?;
        }
        Ok(parts)
    }

    fn write_part(&mut self, live: &Arc<Live>, merge: Merge, written: &mut Vec<String>) -> Result<Part> {
        let rows = live.rows.read();
        let retired = retired(&rows, merge);
        let mut members: Vec<i64> = rows.in_segments(&retired);
        members.extend(rows.fresh());
        members.sort_unstable();
        let mut part = Part { live: Arc::clone(live), retired, members, segment: None, deletions: BTreeMap::new() };
        if !part.members.is_empty() {
            let file = self.new_file();
            written.push(segment_name(file));
            part.segment = Some(write_segment(&*self.vfs, file, live, &rows, &part.members)?);
        }
        for (&number, sealed) in &rows.segments {
            if !part.retired.contains(&number) && sealed.gone_count > 0 && sealed.deletions.is_none() {
                let file = self.new_file();
                written.push(deletions_name(file));
                let record = write_deletions(&*self.vfs, file, &sealed.gone, sealed.name.rows)?;
                part.deletions.insert(number, record);
            }
        }
        Ok(part)
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

/// Writes rows of a collection to a new segment, reads it back, and makes sure that nothing got lost or changed.
fn write_segment(vfs: &dyn Vfs, file: u64, live: &Live, rows: &Rows, members: &[i64]) -> Result<SegmentName> {
    let dim = live.schema.dim;
    let content: Vec<Row> =
        members.iter().filter_map(|number| rows.record(*number)).map(|record| record.row.clone()).collect();
    let values = |range: std::ops::Range<usize>| rows.values(&members[range]);
    let name = write(vfs, file, &Input { collection: live.id, dim, rows: &content, values: &values })?;
    let mut expected = Digest::default();
    for (row, number) in content.iter().zip(members) {
        expected.add(live.id, row, &rows.values(&[*number])?);
    }
    let found = Segment::open(vfs, &name, live.id, dim)?.digest()?;
    if found != expected || content.len() != members.len() {
        return Err(corrupt(vfs, &segment_name(file), "what was written is not what was to be written".to_owned()));
    }
    Ok(name)
}

/// Whether a checkpoint would do anything without new batches.
fn merges(world: &World, merge: Merge) -> Result<bool> {
    Ok(world.collections.values().any(|live| !retired(&live.rows.read(), merge).is_empty()))
}

/// The segments that are to be written again. Only those that a manifest lists: what logs still refer to must stay.
fn retired(rows: &Rows, merge: Merge) -> BTreeSet<u64> {
    let there = |sealed: &Sealed| sealed.name.rows - sealed.gone_count;
    let listed = || rows.segments.iter().filter(|(_, sealed)| sealed.listed);
    let fresh = rows.fresh().count() as u64;
    let threshold = match merge {
        Merge::All => {
            let several = listed().count() + usize::from(fresh > 0) > 1;
            return listed().filter(|(_, sealed)| several || sealed.gone_count > 0).map(|(file, _)| *file).collect();
        }
        Merge::Some(threshold) => threshold.unwrap_or(f64::INFINITY),
    };
    let is_poor =
        |sealed: &Sealed| there(sealed) == 0 || sealed.gone_count as f64 > threshold * sealed.name.rows as f64;
    let mut retired: BTreeSet<u64> = listed().filter(|(_, sealed)| is_poor(sealed)).map(|(file, _)| *file).collect();
    let mut total: u64 =
        fresh + listed().filter(|(file, _)| retired.contains(file)).map(|(_, s)| there(s)).sum::<u64>();
    let mut others: Vec<(u64, u64)> =
        listed().filter(|(file, _)| !retired.contains(file)).map(|(file, sealed)| (there(sealed), *file)).collect();
    others.sort_unstable();
    for (count, file) in others {
        // So sizes at least double, and a row is written again only once for each doubling.
        if count > 2 * total {
            break;
        }
        total += count;
        retired.insert(file);
    }
    retired
}

impl Part {
    /// What the new manifest says of the collection.
    fn describe(&self) -> CollectionRecord {
        let mut record = self.live.rows.read().describe(self.live.id, &self.live.name);
        record.segments.retain(|segment| !self.retired.contains(&segment.segment.file));
        for segment in &mut record.segments {
            if let Some(deletions) = self.deletions.get(&segment.segment.file) {
                segment.deletions = Some(*deletions);
            }
        }
        record.segments.extend(self.segment.map(|name| SegmentRecord {
            segment: FileRecord::new(name.file, name.seal),
            rows: name.rows,
            deletions: None,
        }));
        record
    }

    /// Tells the rows where they are now.
    fn apply(self) -> Result<()> {
        self.live.change(|rows| {
            rows.segments.retain(|file, _| !self.retired.contains(file));
            for (file, sealed) in &mut rows.segments {
                sealed.listed = true;
                sealed.deletions = self.deletions.get(file).copied().or(sealed.deletions);
            }
            if let Some(name) = self.segment {
                rows.segments.insert(name.file, Sealed::new(name, Bits::default(), None, true));
                rows.settle(&self.members, name.file);
            }
        })
    }
}

/// Writes all rows to an empty directory, as a store of its own. The file that makes it one comes last.
pub(super) fn export(vfs: &dyn Vfs, world: &World) -> Result<()> {
    use crate::storage::log::{Log, NewLog};
    let store = vfs.random();
    let mut manifest =
        Manifest { generation: 1, store, log: 1, next_collection: world.next_collection, ..Manifest::default() };
    let mut file = 1;
    for live in world.collections.values() {
        let rows = live.rows.read();
        let members: Vec<i64> = rows.from(None).map(|(_, number)| number).collect();
        let mut record = rows.describe(live.id, &live.name);
        record.segments.clear();
        if !members.is_empty() {
            file += 1;
            let name = write_segment(vfs, file, live, &rows, &members)?;
            let segment = FileRecord::new(name.file, name.seal);
            record.segments.push(SegmentRecord { segment, rows: name.rows, deletions: None });
        }
        manifest.collections.push(record);
    }
    Log::begin(vfs, NewLog { store, id: 1, first_seq: 1, previous: (0, 0), synced: true }, None)?;
    manifest.publish(vfs)?;
    super::manifest::write_format(vfs, store)
}
