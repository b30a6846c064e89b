//! The graph of a collection in a file: written now and then, taken over at opening.
//!
//! A graph is derived from rows, and may be missing, old or damaged: then rows are looked at until they are linked (again). So its file is
//! written seldom. It goes with one segment, which has the linked rows in the order of their slots in the index, deleted ones too,
//! as slots without a row; both are taken over where they lie, and nothing is read but what searches come to.

use super::batch::SegmentName;
use super::files::{graph_name, open_sealed, segment_name, write_sealed};
use super::manifest::{FileRecord, GraphRecord};
use super::rows::Rows;
use super::schema::{Indexed, Schema};
use super::segment::KIND as SEGMENT;
use crate::error::Result;
use crate::index::{Bits, LinkedPart};
use crate::storage::Container;
use crate::storage::vfs::Vfs;

const KIND: &str = "graph";

/// A graph of fewer new rows than this is not worth writing.
const LEAST_ROWS: usize = 1024;

/// The part by which a graph has grown when it is written if there is time.
pub(super) const GROWN: f64 = 0.2;

/// The index that a graph and its segment make.
pub(super) fn open(
    vfs: &dyn Vfs,
    schema: &Schema,
    graph: &GraphRecord,
    segment: &SegmentName,
    live: Bits,
) -> Result<Indexed> {
    let links = open_sealed(vfs, &graph_name(graph.graph.file), KIND, graph.graph.seal(), Container::take)?;
    let rows = open_sealed(vfs, &segment_name(segment.file), SEGMENT, segment.seal, Container::take)?;
    let index = schema.index_over(&links, &rows, live)?;
    links.expect_random();
    rows.expect_random();
    Ok(index)
}

/// Writes the graph over a segment, and syncs it; its name is not durable yet.
pub(super) fn write(vfs: &dyn Vfs, file: u64, linked: &LinkedPart<'_>, segment: u64) -> Result<GraphRecord> {
    let seal = write_sealed(vfs, &graph_name(file), KIND, |writer| linked.write(writer))?;
    Ok(GraphRecord { graph: FileRecord::new(file, seal), segment })
}

/// Compares every byte of a graph with its checksums.
pub(super) fn verify(vfs: &dyn Vfs, record: &GraphRecord) -> Result<()> {
    let container = open_sealed(vfs, &graph_name(record.graph.file), KIND, record.graph.seal(), Container::map)?;
    container.names().try_for_each(|section| container.verify(&section))
}

/// How many slots of the index the file covers.
pub(super) fn covered(rows: &Rows) -> usize {
    rows.graph.and_then(|graph| rows.segments.get(&graph.segment)).map_or(0, |sealed| sealed.file.len())
}

/// Whether the graph of a collection has grown by so large a part since it was written: of what it was then, and of what is still to be
/// linked, since all of that is written as well.
pub(super) fn is_due(rows: &Rows, part: f64) -> bool {
    let Some(index) = rows.graph_index() else { return false };
    let (covered, linked) = (covered(rows), index.linked());
    let (new, unlinked) = (linked.saturating_sub(covered), rows.len().saturating_sub(linked));
    new >= LEAST_ROWS && new as f64 >= part * covered.max(unlinked) as f64
}
