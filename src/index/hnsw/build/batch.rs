//! The rows that are linked together.

use super::kept_row;
use crate::index::hnsw::graph::Graph;
use crate::index::table::Table;
use hashbrown::HashMap;

/// The rows of a batch and where they will be in each layer.
#[derive(Default)]
pub(super) struct Batch {
    /// Their slots: those that are used again first, then new ones, ascending.
    pub(super) slots: Vec<u32>,
    /// For each row the earlier one of the batch that it is a copy of.
    pub(super) copies: Vec<Option<usize>>,
    /// The level of each row; 0 for copies.
    pub(super) levels: Vec<usize>,
    /// For each layer the rows that are linked there, by their place in the batch.
    pub(super) members: Vec<Vec<usize>>,
    /// For each layer the nodes that these become, and the other way round.
    nodes: Vec<Vec<u32>>,
    places: Vec<HashMap<u32, usize>>,
}

impl Batch {
    pub(super) fn new(table: &Table, graph: &Graph, slots: Vec<u32>) -> Batch {
        let copies = find_copies(table, graph, &slots);
        // A slot that is used again has its nodes already.
        let old: Vec<Vec<u32>> = slots
            .iter()
            .map(|&slot| if (slot as usize) < graph.linked() { graph.nodes_of(slot) } else { Vec::new() })
            .collect();
        let level = |i: usize| match (copies[i], &old[i][..]) {
            (Some(_), _) => 0,
            (None, []) => graph.level_of(slots[i] as usize),
            (None, nodes) => nodes.len() - 1,
        };
        let levels: Vec<usize> = (0..slots.len()).map(level).collect();
        let mut batch = Batch { slots, copies, levels, ..Batch::default() };
        for level in 0..=batch.levels.iter().copied().max().unwrap_or(0) {
            batch.add_layer(level, graph.nodes(level) as u32, &old);
        }
        batch
    }

    /// Numbers the nodes of a layer, `next` being the first that is new.
    fn add_layer(&mut self, level: usize, mut next: u32, old: &[Vec<u32>]) {
        let linked = |&i: &usize| self.levels[i] >= level && self.copies[i].is_none();
        let members: Vec<usize> = (0..self.levels.len()).filter(linked).collect();
        let mut node = |&i: &usize| match old[i].get(level) {
            Some(&node) => node,
            None if level == 0 => self.slots[i],
            None => {
                next += 1;
                next - 1
            }
        };
        let nodes: Vec<u32> = members.iter().map(&mut node).collect();
        self.places.push(nodes.iter().copied().zip(members.iter().copied()).collect());
        self.nodes.push(nodes);
        self.members.push(members);
    }

    /// The slot of a row of the batch.
    #[inline(always)]
    pub(super) fn slot(&self, member: usize) -> usize {
        self.slots[member] as usize
    }

    /// The node that the i-th member of a layer becomes.
    #[inline(always)]
    pub(super) fn node(&self, level: usize, i: usize) -> u32 {
        self.nodes[level][i]
    }

    /// The place in the batch of a node that it brings into a layer.
    #[inline]
    pub(super) fn member(&self, level: usize, node: u32) -> Option<usize> {
        self.places.get(level)?.get(&node).copied()
    }
}

/// For each of these slots the first one among them with the same values, if that is another.
fn find_copies(table: &Table, graph: &Graph, slots: &[u32]) -> Vec<Option<usize>> {
    let mut seen: HashMap<[&[u8]; 2], usize> = HashMap::with_capacity(slots.len());
    let rows = slots.iter().map(|&slot| kept_row(table, graph, slot as usize));
    rows.enumerate()
        .map(|(i, row)| {
            let first = *seen.entry(row).or_insert(i);
            (first != i).then_some(first)
        })
        .collect()
}
