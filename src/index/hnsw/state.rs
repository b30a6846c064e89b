//! What the lock of an index guards: rows, the graph over their slots, and which slots are free.

use super::HnswParameters;
use super::graph::Graph;
use crate::error::Result;
use crate::index::Stats;
use crate::index::table::Table;
use crate::index::tabular::Tabled;
use crate::vectors::Cells;

/// Deleted rows are taken out of the graph when they are so many, and one in so many slots.
const LEAST_REPAIRED: usize = 256;
const REPAIR_PART: usize = 8;

/// The rows, and the graph over their slots.
pub(crate) struct State {
    pub(super) table: Table,
    pub(super) graph: Graph,
    /// Slots that can be used again: nothing in the graph leads there. Ascending.
    pub(super) free: Vec<u32>,
    /// How many slots of deleted rows the last repair could not free: others hang on their nodes.
    pub(super) kept_dead: usize,
}

impl State {
    /// Rows under a graph.
    pub(super) fn new(table: Table, graph: Graph) -> State {
        State { table, graph, free: Vec::new(), kept_dead: 0 }
    }

    /// How many slots a walk may come to.
    pub(super) fn reachable(&self) -> usize {
        self.table.slots() - self.free.len()
    }

    /// Whether so many rows were deleted that going round them is worth it.
    pub(super) fn needs_repair(&self) -> bool {
        let gone = (self.reachable() - self.table.live()).saturating_sub(self.kept_dead);
        gone >= LEAST_REPAIRED && gone * REPAIR_PART >= self.table.slots()
    }

    /// Forgets all slots, none of which may be visible.
    pub(super) fn clear(&mut self, parameters: &HnswParameters) {
        self.table.truncate(0);
        self.graph = Graph::new(parameters);
        (self.free, self.kept_dead) = (Vec::new(), 0);
    }

    /// Forgets what a write that failed has left: all of it if nothing was visible before, else the rows that are not linked.
    pub(super) fn undo(&mut self, before: usize, was_empty: bool, parameters: &HnswParameters) {
        if was_empty {
            self.clear(parameters);
        } else {
            self.table.truncate(before.max(self.graph.linked()));
        }
    }

    /// Whether the graph is still to come: walks of cells begin when there are enough rows.
    pub(super) fn waits(&self) -> bool {
        self.graph.linked() < self.table.slots()
    }
}

impl Tabled for State {
    fn table(&self) -> &Table {
        &self.table
    }

    fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    fn bytes(&self) -> usize {
        self.table.bytes() + self.graph.bytes()
    }

    fn describe(&self, stats: &mut Stats) {
        stats.code_bytes = self.graph.cells().map_or(0, Cells::bytes);
        stats.graph_bytes = self.graph.bytes() - stats.code_bytes;
        stats.layers = if self.graph.entry().is_some() { self.graph.layers().len() } else { 0 };
    }

    fn try_clone(&self) -> Result<State> {
        let (table, graph) = (self.table.try_clone()?, self.graph.try_clone()?);
        Ok(State { table, graph, free: self.free.clone(), kept_dead: self.kept_dead })
    }
}
