//! The rows that are linked together.

use crate::index::hnsw::graph::Graph;
use crate::index::table::Table;
use hashbrown::HashMap;
use std::ops::Range;

/// The rows of a batch and where they will be in each layer.
pub(super) struct Batch {
    pub(super) rows: Range<usize>,
    /// For each row the earlier one of the batch that it is a copy of.
    pub(super) copies: Vec<Option<usize>>,
    /// The level of each row; 0 for copies.
    pub(super) levels: Vec<usize>,
    /// For each layer the rows that are linked there, by their place in the batch.
    pub(super) members: Vec<Vec<usize>>,
    /// For each layer above the base the number of its first new node.
    first: Vec<usize>,
}

impl Batch {
    pub(super) fn new(table: &Table, graph: &Graph, rows: Range<usize>) -> Batch {
        let copies = find_copies(table, rows.clone());
        let level = |(slot, copy): (usize, &Option<usize>)| if copy.is_some() { 0 } else { graph.level_of(slot) };
        let levels: Vec<usize> = rows.clone().zip(&copies).map(level).collect();
        let top = levels.iter().copied().max().unwrap_or(0);
        let linked = |level: usize| (0..levels.len()).filter(|&i| levels[i] >= level && copies[i].is_none()).collect();
        let members = (0..=top).map(linked).collect();
        let first = (0..=top).map(|level| graph.nodes(level)).collect();
        Batch { rows, copies, levels, members, first }
    }

    /// The node that the i-th member of a layer becomes.
    pub(super) fn node(&self, level: usize, i: usize) -> u32 {
        let node = if level == 0 { self.rows.start + self.members[0][i] } else { self.first[level] + i };
        node as u32
    }

    /// The place in the batch of a node that is new in its layer.
    pub(super) fn member(&self, level: usize, node: u32) -> Option<usize> {
        if level == 0 {
            return (node as usize).checked_sub(self.rows.start);
        }
        Some(self.members[level][(node as usize).checked_sub(self.first[level])?])
    }
}

/// For each row of `rows` the first one among them with the same values, if that is another.
fn find_copies(table: &Table, rows: Range<usize>) -> Vec<Option<usize>> {
    let mut seen: HashMap<&[u8], usize> = HashMap::with_capacity(rows.len());
    rows.enumerate()
        .map(|(i, slot)| {
            let first = *seen.entry(table.kept().row(slot)).or_insert(i);
            (first != i).then_some(first)
        })
        .collect()
}
