//! What a graph will stand on, and the rows of cells.
//!
//! Cells are centred on the first rows, so nothing is linked until there are so many. Then it is decided, once: cells, or rows as they are
//! kept.

use super::graph::Graph;
use super::{HnswParameters, State};
use crate::error::Result;
use crate::index::table::Table;
use crate::runtime::Writer;
use crate::vectors::{CENTRED_ROWS, Cells, Codec, Frame};
use std::sync::Arc;

/// Decides what the graph stands on, if that is to be decided now: cells, if they tell the first rows apart, or if walks cannot read rows as
/// they are kept. Returns whether there are enough rows to link any.
pub(super) fn settle_ground(writer: &Writer<'_, State>, parameters: &HnswParameters) -> Result<bool> {
    let graph = {
        let State { table, graph, .. } = &*writer.read();
        if graph.linked() > 0 || !parameters.has_cells(table.metric()) {
            return Ok(true);
        }
        if table.slots() < CENTRED_ROWS {
            return Ok(false);
        }
        let frame = frame_of(table, parameters);
        let resolves = || frame.resolves(&encoded(table, &frame, 0..CENTRED_ROWS), |a, b| same(table, a, b));
        if table.codec() == Codec::F32 && !resolves() {
            return Ok(true);
        }
        let mut graph = Graph::with_cells(parameters, Cells::new(Arc::new(frame)));
        graph.try_reserve(table.slots())?;
        graph
    };
    writer.write().graph = graph;
    Ok(true)
}

/// The frame that the first rows of a table make.
fn frame_of(table: &Table, parameters: &HnswParameters) -> Frame {
    let parts = Frame::measure(table.metric(), table.dim(), CENTRED_ROWS, |slot, values| table.read(slot, values));
    Frame::new(table.metric(), 2 * parameters.m, parameters.seed, parts)
}

/// The rows in these slots, as their cells begin with them.
pub(super) fn encoded(table: &Table, frame: &Frame, slots: impl ExactSizeIterator<Item = usize>) -> Vec<u8> {
    let (mut rows, mut values) = (vec![0; slots.len() * frame.row_bytes()], vec![0.0; table.dim()]);
    for (slot, row) in slots.zip(rows.chunks_exact_mut(frame.row_bytes())) {
        let squared_norm = table.read(slot, &mut values);
        frame.encode(&values, squared_norm, row);
    }
    rows
}

fn same(table: &Table, a: usize, b: usize) -> bool {
    table.kept().row(a) == table.kept().row(b)
}
