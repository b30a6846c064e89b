//! What a graph will stand on, and the rows of cells.
//!
//! Cells are centred on a thousand rows, so nothing is linked until there are so many. Then it is decided, once: cells, or rows as they are
//! kept. If there are more by then, those thousand are taken from all of them: rows that come in order of what they are about begin with
//! what says little of the rest.

use super::graph::Graph;
use super::{HnswParameters, State};
use crate::error::Result;
use crate::index::intake::Staged;
use crate::index::table::Table;
use crate::runtime::{Call, Writer, map};
use crate::vectors::{CENTRED_ROWS, Cells, Codec, Frame, Piece};
use std::sync::Arc;

/// Rows that a task encodes, and that are encoded before any of their codes is put in its place.
const ROWS_PER_TASK: usize = 32;
const ROWS_AT_ONCE: usize = 1024;

/// Decides what the graph stands on, if that is to be decided now: cells, if they tell rows apart, or if walks cannot read rows as
/// they are kept. Returns whether there are enough rows to link any.
pub(super) fn settle_ground(writer: &Writer<'_, State>, parameters: &HnswParameters) -> Result<bool> {
    let graph = {
        let state = &*writer.read();
        let table = &state.table;
        if !state.awaits_ground(parameters) {
            return Ok(true);
        }
        if table.slots() < CENTRED_ROWS {
            return Ok(false);
        }
        let sample = sample(table);
        let frame = frame_of(table, &sample, parameters);
        let resolves = || {
            let codes = encoded(table, &frame, sample.iter().copied());
            frame.resolves(&codes, |a, b| same(table, sample[a], sample[b]))
        };
        if parameters.keeps_rows() && table.codec() == Codec::F32 && !resolves() {
            return Ok(true);
        }
        let mut graph = Graph::with_cells(parameters, Cells::new(Arc::new(frame)));
        graph.try_reserve(table.slots())?;
        graph
    };
    writer.write().graph = graph;
    Ok(true)
}

/// As many rows as decide, evenly from all slots.
fn sample(table: &Table) -> Vec<usize> {
    (0..CENTRED_ROWS).map(|i| i * table.slots() / CENTRED_ROWS).collect()
}

/// The frame that these rows of a table make.
fn frame_of(table: &Table, sample: &[usize], parameters: &HnswParameters) -> Frame {
    let read = |i: usize, values: &mut [f32]| table.read(sample[i], values);
    let parts = Frame::measure(table.metric(), table.dim(), sample.len(), read);
    Frame::new(table.metric(), parameters.shape(), parameters.seed, parts)
}

/// The rows in these slots, as their cells begin with them.
pub(super) fn encoded(table: &Table, frame: &Frame, slots: impl ExactSizeIterator<Item = usize>) -> Vec<u8> {
    encode_each(frame, table.dim(), slots, |slot, values| table.read(slot, values))
}

/// Rows as their cells begin with them. `read` writes the values of one and returns their squared norm.
fn encode_each(
    frame: &Frame,
    dim: usize,
    which: impl ExactSizeIterator<Item = usize>,
    read: impl Fn(usize, &mut [f32]) -> f64,
) -> Vec<u8> {
    let (mut rows, mut values) = (vec![0; which.len() * frame.row_bytes()], vec![0.0; dim]);
    for (i, row) in which.zip(rows.chunks_exact_mut(frame.row_bytes())) {
        let squared_norm = read(i, &mut values);
        frame.encode(&values, squared_norm, row);
    }
    rows
}

fn same(table: &Table, a: usize, b: usize) -> bool {
    table.kept().row(a) == table.kept().row(b)
}

/// Codes of the rows that have none yet, where they are all that will be kept.
pub(super) fn encode_rest(writer: &Writer<'_, State>, parameters: &HnswParameters, call: &Call<'_>) -> Result<()> {
    loop {
        let (slots, bytes, codes) = {
            let State { table, graph, .. } = &*writer.read();
            let Some(cells) = graph.cells().filter(|_| !parameters.keeps_rows() && table.has_rows()) else {
                return Ok(());
            };
            let slots = cells.len()..table.slots().min(cells.len() + ROWS_AT_ONCE);
            if slots.is_empty() {
                return Ok(());
            }
            let tasks = map(call, slots.len().div_ceil(ROWS_PER_TASK), |task| {
                let start = slots.start + task * ROWS_PER_TASK;
                encoded(table, cells.frame(), start..slots.end.min(start + ROWS_PER_TASK))
            })?;
            (slots, cells.frame().row_bytes(), tasks)
        };
        let mut state = writer.write();
        let Some(cells) = state.graph.cells_mut() else { return Ok(()) };
        cells.try_reserve(slots.len())?;
        codes.iter().flat_map(|codes| codes.chunks_exact(bytes)).for_each(|code| cells.push(code));
    }
}

/// Puts the codes of the rows of a piece into the cells of hidden slots, old or new.
pub(super) fn store_codes(writer: &Writer<'_, State>, piece: &Piece, staged: &[Staged], call: &Call<'_>) -> Result<()> {
    let (dim, frame) = {
        let state = writer.read();
        let Some(cells) = state.codes() else { return Ok(()) };
        (state.table.dim(), Arc::clone(cells.frame()))
    };
    let codes = map(call, staged.len().div_ceil(ROWS_PER_TASK), |task| {
        let which = task * ROWS_PER_TASK..staged.len().min((task + 1) * ROWS_PER_TASK);
        encode_each(&frame, dim, which, |i, values| {
            piece.values(staged[i].at, values);
            staged[i].squared_norm
        })
    })?;
    let mut state = writer.write();
    let State { table, graph, .. } = &mut *state;
    let Some(cells) = graph.cells_mut() else { return Ok(()) };
    table.store(piece, staged);
    let codes = codes.iter().flat_map(|codes| codes.chunks_exact(frame.row_bytes()));
    for (&Staged { slot, .. }, code) in staged.iter().zip(codes) {
        if slot < cells.len() { cells.set_row(slot, code) } else { cells.push(code) }
    }
    Ok(())
}
