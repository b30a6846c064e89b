//! What a checkpoint writes of one collection.

use super::effort::{Effort, retired};
use crate::error::Result;
use crate::index::{Bits, HnswIndex, LinkedPart};
use crate::runtime::Call;
use crate::storage::vfs::Vfs;
use crate::store::batch::Row;
use crate::store::files::{deletions_name, graph_name, segment_name};
use crate::store::graph;
use crate::store::manifest::{CollectionRecord, FileRecord, GraphRecord, write_deletions};
use crate::store::rows::{Numbers, Rows, Sealed};
use crate::store::segment::{Digest, Input, Segment, write};
use crate::store::world::{Live, corrupt};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// A graph of which more than one in so many slots is deleted is not written: without them it is made anew.
const LIVE_PART: usize = 3;

/// New files, and what they take the place of.
pub(super) struct Part {
    live: Arc<Live>,
    retired: BTreeSet<u64>,
    written: Vec<Sealed>,
    graph: Option<GraphRecord>,
    /// New deletions, by segment.
    deletions: BTreeMap<u64, FileRecord>,
}

/// Where new files go.
pub(super) struct Files<'a> {
    pub(super) vfs: &'a dyn Vfs,
    /// A number that no file has or has had.
    pub(super) next: &'a mut dyn FnMut() -> u64,
    /// The names of those that there are.
    pub(super) written: &'a mut Vec<String>,
    pub(super) told: Told<'a>,
}

/// Hears of rows that have been written, and says whether to go on.
pub(super) type Told<'a> = &'a dyn Fn(usize) -> Result<()>;

impl Files<'_> {
    fn new_file(&mut self, name: impl Fn(u64) -> String) -> u64 {
        let file = (self.next)();
        self.written.push(name(file));
        file
    }
}

impl Part {
    /// Writes what a checkpoint writes.
    pub(super) fn write(live: &Arc<Live>, effort: Effort, files: &mut Files<'_>) -> Result<Part> {
        let rows = live.rows.read();
        let mut part = Part::of(live, retired(&rows, effort));
        let base_goes = rows.graph.is_some_and(|graph| part.retired.contains(&graph.segment));
        if base_goes || graph::is_due(&rows, effort.grown) {
            part.write_linked(&rows, files)?;
        }
        part.write_rest(&rows, files)?;
        part.write_deletions(&rows, files)?;
        Ok(part)
    }

    /// Writes all rows.
    pub(super) fn write_all(live: &Arc<Live>, files: &mut Files<'_>) -> Result<Part> {
        let rows = live.rows.read();
        let mut part = Part::of(live, rows.segments.keys().copied().collect());
        part.write_linked(&rows, files)?;
        part.write_rest(&rows, files)?;
        Ok(part)
    }

    fn of(live: &Arc<Live>, retired: BTreeSet<u64>) -> Part {
        Part { live: Arc::clone(live), retired, written: Vec::new(), graph: None, deletions: BTreeMap::new() }
    }

    /// The rows that are linked, and the graph over them, if it is worth it. Then all segments are written again.
    fn write_linked(&mut self, rows: &Rows, files: &mut Files<'_>) -> Result<()> {
        let Some(index) = rows.graph_index() else { return Ok(()) };
        let linked = HnswIndex::linked_part(index, &Call::uninterrupted())?;
        let slots: Vec<(i64, bool)> = (0..linked.len()).map(|slot| linked.id(slot)).collect();
        let dead = slots.iter().filter(|(_, is_live)| !is_live).count();
        if slots.is_empty() || dead * LIVE_PART > slots.len() || !slots.is_sorted_by(|a, b| a.0 < b.0) {
            return Ok(());
        }
        let content = slots.iter().map(|(number, is_live)| is_live.then(|| rows.row(*number)).transpose());
        let content: Vec<Option<Row>> = content.collect::<Result<_>>()?;
        self.retired = rows.segments.keys().copied().collect();
        let base = self.write_segment(&content, &|slots| Ok(linked.values(slots)), files)?;
        let gone = holes(&content);
        let deletions = if dead > 0 { Some(self.write_gone(&gone, slots.len() as u64, files)?) } else { None };
        self.graph = Some(self.write_graph(&linked, base.name.file, files)?);
        let numbers = slots.into_iter().map(|(number, _)| number).collect();
        self.written.push(base.listed(gone, deletions).numbered(Numbers::Listed(numbers)));
        Ok(())
    }

    fn write_graph(&self, linked: &LinkedPart<'_>, segment: u64, files: &mut Files<'_>) -> Result<GraphRecord> {
        let file = files.new_file(graph_name);
        graph::write(files.vfs, file, linked, segment)
    }

    /// The rows of the log and of the segments that go, oldest first, but for those that are written already.
    fn write_rest(&mut self, rows: &Rows, files: &mut Files<'_>) -> Result<()> {
        let mut numbers: Vec<i64> = rows.in_segments(&self.retired);
        numbers.extend(rows.fresh());
        numbers.retain(|number| !self.written.iter().any(|sealed| sealed.has(*number)));
        numbers.sort_unstable();
        if numbers.is_empty() {
            return Ok(());
        }
        let content: Vec<Option<Row>> =
            numbers.iter().map(|number| rows.row(*number).map(Some)).collect::<Result<_>>()?;
        let rest = self.write_segment(&content, &|range| rows.values(&numbers[range]), files)?;
        self.written.push(rest.listed(Bits::default(), None).numbered(Numbers::Listed(numbers)));
        Ok(())
    }

    /// What of the segments that stay has been deleted since that was last written.
    fn write_deletions(&mut self, rows: &Rows, files: &mut Files<'_>) -> Result<()> {
        let stays = |(number, sealed): &(&u64, &Sealed)| {
            !self.retired.contains(number) && sealed.gone_count > 0 && sealed.deletions.is_none()
        };
        for (&number, sealed) in rows.segments.iter().filter(stays).collect::<Vec<_>>() {
            let record = self.write_gone(&sealed.gone, sealed.name.rows, files)?;
            self.deletions.insert(number, record);
        }
        Ok(())
    }

    fn write_gone(&self, gone: &Bits, rows: u64, files: &mut Files<'_>) -> Result<FileRecord> {
        let file = files.new_file(deletions_name);
        write_deletions(files.vfs, file, gone, rows)
    }

    /// Writes rows to a new segment, reads it back, and makes sure that nothing got lost or changed.
    fn write_segment(
        &self,
        content: &[Option<Row>],
        values: &dyn Fn(Range<usize>) -> Result<Vec<f32>>,
        files: &mut Files<'_>,
    ) -> Result<Sealed> {
        let (vfs, file, told) = (files.vfs, files.new_file(segment_name), files.told);
        let (collection, schema) = (self.live.id, &self.live.schema);
        let expected = RefCell::new(Digest::default());
        let values = |range: Range<usize>| {
            let values = values(range.clone())?;
            told(range.len())?;
            for (row, values) in content[range].iter().zip(values.chunks_exact(schema.dim)) {
                row.iter().for_each(|row| expected.borrow_mut().add(collection, row, values));
            }
            Ok(values)
        };
        let name = write(vfs, file, &Input { collection, schema, rows: content, values: &values })?;
        let written = Segment::open(vfs, &name, collection, schema)?;
        if written.digest()? != expected.into_inner() {
            let what = "what was written is not what was to be written".to_owned();
            return Err(corrupt(vfs, &segment_name(file), what));
        }
        Ok(Sealed::new(name, written))
    }

    /// What the new manifest says of the collection.
    pub(super) fn describe(&self) -> CollectionRecord {
        let mut record = self.live.rows.read().describe(self.live.id, &self.live.name);
        record.segments.retain(|segment| !self.retired.contains(&segment.segment.file));
        for segment in &mut record.segments {
            if let Some(deletions) = self.deletions.get(&segment.segment.file) {
                segment.deletions = Some(*deletions);
            }
        }
        record.segments.extend(self.written.iter().map(Sealed::describe));
        record.graph = self.graph.or(record.graph.filter(|graph| !self.retired.contains(&graph.segment)));
        record
    }

    /// Tells the rows where they are now.
    pub(super) fn apply(self) -> Result<()> {
        let graph = self.describe().graph;
        let Part { live, retired, written, deletions, .. } = self;
        live.change(|rows| {
            rows.segments.retain(|file, _| !retired.contains(file));
            for (file, sealed) in &mut rows.segments {
                sealed.listed = true;
                sealed.deletions = deletions.get(file).copied().or(sealed.deletions);
            }
            written.into_iter().for_each(|sealed| rows.settle(sealed));
            rows.graph = graph;
            rows.graph_damage.take_if(|_| graph.is_some());
        })
    }
}

/// The slots without a row.
fn holes(content: &[Option<Row>]) -> Bits {
    let mut holes = Bits::zeros(content.len());
    for (slot, _) in content.iter().enumerate().filter(|(_, row)| row.is_none()) {
        holes.set(slot);
    }
    holes
}
