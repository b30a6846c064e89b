//! One layer: a list of links for each node, and where the node is one layer below.

use super::NONE;
use crate::vectors::{Cells, Matrix};

/// One layer.
pub(crate) struct Layer {
    /// A row a node.
    pub(crate) links: Matrix<u32>,
    /// Slot, and node one layer below; empty in the base layer, where a node is its slot.
    pub(super) places: Matrix<u32>,
    /// Above cells, the beginnings of those of the nodes, side by side: so few that they stay in the caches.
    pub(super) rows: Matrix<u8>,
}

impl Layer {
    pub(super) fn new(degree: usize) -> Layer {
        Layer { links: Matrix::new(degree), places: Matrix::new(2), rows: Matrix::new(1) }
    }

    /// No nodes yet, of up to `degree` links, above these cells.
    pub(super) fn above(degree: usize, cells: Option<&Cells>) -> Layer {
        let rows = Matrix::new(cells.map_or(1, |cells| cells.frame().row_bytes()));
        Layer { rows, ..Layer::new(degree) }
    }

    /// The row of a node above cells, as its cell begins with it.
    #[inline(always)]
    pub(crate) fn row(&self, node: u32) -> &[u8] {
        self.rows.row(node as usize)
    }

    /// How many nodes there are.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// The most links that a node can have.
    pub(crate) fn degree(&self) -> usize {
        self.links.width()
    }

    /// The links of a node.
    pub(crate) fn neighbours(&self, node: u32) -> impl Iterator<Item = u32> {
        self.links.row(node as usize).iter().copied().take_while(|&node| node != NONE)
    }

    /// The slot of a node of an upper layer.
    #[inline(always)]
    pub(crate) fn slot(&self, node: u32) -> u32 {
        self.places.row(node as usize)[0]
    }

    /// The node of a slot in an upper layer. Nodes come in the order of their slots.
    pub(super) fn node_of(&self, slot: u32) -> Option<u32> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.slot(middle as u32).cmp(&slot) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(middle as u32),
            }
        }
        None
    }

    /// The same node one layer below an upper layer.
    pub(crate) fn below(&self, node: u32) -> u32 {
        self.places.row(node as usize)[1]
    }

    /// Appends a node without links; returns its number.
    pub(super) fn push(&mut self, place: &[u32]) -> u32 {
        let node = self.len() as u32;
        self.links.push(&[]);
        self.set_links(node, &[]);
        if !place.is_empty() {
            self.places.push(place);
        }
        node
    }

    /// Replaces the links of a node.
    pub(crate) fn set_links(&mut self, node: u32, links: &[u32]) {
        let row = self.links.row_mut(node as usize);
        row[..links.len()].copy_from_slice(links);
        row[links.len()..].fill(NONE);
    }
}
