//! What the lock of an index guards: rows, the graph over their slots, and which slots are free.

use super::HnswParameters;
use super::graph::Graph;
use super::settle::store_codes;
use crate::error::Result;
use crate::index::Stats;
use crate::index::intake::Staged;
use crate::index::table::Table;
use crate::index::tabular::Tabled;
use crate::runtime::{Call, Writer};
use crate::vectors::{CENTRED_ROWS, Cells, Piece};
use std::ops::Range;

/// Deleted rows are taken out of the graph when they are so many, and one in so many slots.
const LEAST_REPAIRED: usize = 256;
const REPAIR_PART: usize = 8;

/// Rows that are still to be linked, at most, that each query scores by the way: what a scan of its own needs before it looks at any costs more.
const FEW_NEW: usize = 32;

/// The rows, and the graph over their slots.
pub(crate) struct State {
    pub(super) table: Table,
    pub(super) graph: Graph,
    /// Slots that can be used again: nothing in the graph leads there. Ascending.
    pub(super) free: Vec<u32>,
    /// How many slots of deleted rows the last repair could not free: others hang on their nodes.
    pub(super) kept_dead: usize,
    /// Rows that were ever written or deleted.
    pub(super) changes: usize,
}

impl State {
    /// Rows under a graph.
    pub(super) fn new(table: Table, graph: Graph) -> State {
        State { table, graph, free: Vec::new(), kept_dead: 0, changes: 0 }
    }

    /// How many slots a walk may come to.
    pub(super) fn reachable(&self) -> usize {
        self.table.slots() - self.free.len()
    }

    /// The cells, where they are all that is kept of rows: each slot has one then, linked or not.
    #[inline(always)]
    pub(super) fn codes(&self) -> Option<&Cells> {
        self.graph.cells().filter(|_| !self.table.has_rows())
    }

    /// Copies the values of the row in `slot`, as it is kept.
    pub(super) fn read(&self, slot: usize, out: &mut [f32]) {
        match self.codes() {
            Some(cells) => cells.frame().decode(cells.lean_cell(slot), out),
            None => {
                self.table.read(slot, out);
            }
        }
    }

    /// Whether so many rows were deleted that going round them is worth it.
    pub(super) fn needs_repair(&self) -> bool {
        let gone = (self.reachable() - self.table.live()).saturating_sub(self.kept_dead);
        gone >= LEAST_REPAIRED && gone * REPAIR_PART >= self.table.slots()
    }

    /// Whether it is still to be decided what the graph stands on.
    pub(super) fn awaits_ground(&self, parameters: &HnswParameters) -> bool {
        self.graph.linked() == 0 && self.table.has_rows() && parameters.has_cells(self.table.metric())
    }

    /// The most bytes by which so many rows make the graph grow. With the first rows that are enough for cells all that are there get theirs.
    pub(super) fn graph_growth(&self, rows: usize, parameters: &HnswParameters) -> usize {
        let (slots, dim, shape) = (self.table.slots() + rows, self.table.dim(), parameters.shape());
        if !self.awaits_ground(parameters) {
            return self.graph.growth(rows, None);
        }
        if slots < CENTRED_ROWS {
            return 0;
        }
        self.graph.growth(slots, Some((shape.cell_bytes(dim), shape.row_bytes(dim))))
    }

    /// Forgets all slots, none of which may be visible.
    pub(super) fn clear(&mut self, parameters: &HnswParameters) {
        self.table.truncate(0);
        self.table.keep_rows();
        self.graph = Graph::new(parameters);
        (self.free, self.kept_dead) = (Vec::new(), 0);
    }

    /// Forgets what a write that failed has left: all of it if nothing was visible before, else the rows that are not linked.
    pub(super) fn undo(&mut self, before: usize, was_empty: bool, parameters: &HnswParameters) {
        if was_empty {
            self.clear(parameters);
        } else {
            self.forget(before.max(self.graph.linked()));
        }
    }

    /// How many rows are still to be linked: those of writes that left that for later, and all until there are enough for cells.
    pub(super) fn pending(&self) -> usize {
        self.unsettled().len()
    }

    /// The slots of these rows.
    pub(super) fn unsettled(&self) -> Range<u32> {
        self.graph.settled() as u32..self.table.slots() as u32
    }

    /// Whether they are so few that scoring them costs less than a scan of its own.
    pub(super) fn has_few_new(&self) -> bool {
        self.pending() <= FEW_NEW
    }
}

impl Tabled for State {
    fn table(&self) -> &Table {
        &self.table
    }

    fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    fn try_reserve(&mut self, additional: usize) -> Result<()> {
        self.table.try_reserve(additional)?;
        self.graph.try_reserve(additional)?;
        let cells = if self.table.has_rows() { None } else { self.graph.cells_mut() };
        cells.map_or(Ok(()), |cells| cells.try_reserve(additional))
    }

    fn store(writer: &Writer<'_, State>, piece: &Piece, staged: &[Staged], call: &Call<'_>) -> Result<()> {
        // A statement of its own: the guard must be gone before anything is written.
        let has_rows = writer.read().table.has_rows();
        if !has_rows {
            return store_codes(writer, piece, staged, call);
        }
        writer.write().table.store(piece, staged);
        Ok(())
    }

    fn forget(&mut self, slots: usize) {
        self.table.truncate(slots);
        if !self.table.has_rows()
            && let Some(cells) = self.graph.cells_mut()
        {
            cells.truncate(slots);
        }
    }

    fn freed(&mut self, slots: &[u32]) {
        self.changes += slots.len();
    }

    fn read_rows(&self, slots: &[u32], out: &mut [f32]) {
        if self.table.has_rows() {
            return self.table.kept().read(slots, out);
        }
        for (&slot, row) in slots.iter().zip(out.chunks_exact_mut(self.table.dim())) {
            self.read(slot as usize, row);
        }
    }

    fn bytes(&self) -> usize {
        self.table.bytes() + self.graph.bytes()
    }

    fn describe(&self, stats: &mut Stats) {
        stats.code_bytes = self.graph.cells().map_or(0, Cells::bytes);
        stats.graph_bytes = self.graph.bytes() - stats.code_bytes;
        stats.pending = self.pending();
        stats.layers = if self.graph.entry().is_some() { self.graph.layers().len() } else { 0 };
    }

    fn try_clone(&self) -> Result<State> {
        let (table, graph) = (self.table.try_clone()?, self.graph.try_clone()?);
        Ok(State { table, graph, free: self.free.clone(), kept_dead: self.kept_dead, changes: self.changes })
    }
}
