//! What a graph stands on: how far it is from here to there, and what a walk through the base layer reads.
//!
//! There are two grounds. [`Rows`] measures between rows as they are kept, under any metric. [`Linked`] has a [`Cell`](crate::vectors::Cells)
//! for every node, which says of all that the node links to how far it about is: far fewer reads, for metrics
//! that follow from inner products. Everything else (layers, batches, pruning, search) is written over either.

mod linked;
mod rows;

pub(crate) use linked::Linked;
pub(crate) use rows::{Point, Rows};

use super::HnswParameters;
use super::graph::{Graph, Layer};
use super::walk::{Beam, Scratch};
use crate::index::table::Table;
use crate::simd::Simd;
use crate::vectors::Space;

/// What a graph stands on.
pub(crate) trait Ground: Copy {
    /// One side of a distance.
    type Point<'p>: Copy
    where
        Self: 'p;

    /// The row in a slot as one side of a distance.
    fn at<'p>(self, slot: usize) -> Self::Point<'p>
    where
        Self: 'p;

    /// The distance from a point to the row in a slot, which must exist.
    fn distance<S: Simd>(self, simd: S, from: Self::Point<'_>, slot: usize) -> f32;

    /// Asks the memory system for what [`distance`](Ground::distance) will read.
    fn prefetch(self, slot: usize);

    /// The distance from a point to a node of an upper layer.
    #[inline(always)]
    fn distance_above<S: Simd>(self, simd: S, from: Self::Point<'_>, layer: &Layer, node: u32) -> f32 {
        self.distance(simd, from, layer.slot(node) as usize)
    }

    /// Asks for what [`distance_above`](Ground::distance_above) will read.
    #[inline(always)]
    fn prefetch_above(self, layer: &Layer, node: u32) {
        self.prefetch(layer.slot(node) as usize);
    }

    /// How many prefetches may be under way.
    fn ahead(self) -> usize;

    /// Whether a link of length `distance` is spared by another whose end is `between` away from its own.
    fn spares(self, between: f32, distance: f32) -> bool;

    /// Walks the base layer in search of neighbours for the row in `slot`; they are left in the beam that is returned.
    fn search_base<'s, S: Simd>(
        self,
        simd: S,
        slot: usize,
        starts: &[u32],
        width: usize,
        scratch: &'s mut Scratch,
    ) -> &'s mut Beam;

    /// How many links a new row may make in the base layer, and up to how many are made even if others spare them.
    fn own_links(self, parameters: &HnswParameters) -> (usize, usize);

    /// As [`own_links`](Ground::own_links), for a row whose list has become too long.
    fn kept_links(self, parameters: &HnswParameters) -> (usize, usize);
}

/// Which ground a graph stands on, with the metric to stand on it where that matters.
pub(crate) fn ground_of<'a, M: Space>(table: &'a Table, graph: &'a Graph, space: M) -> Standing<'a, M> {
    match graph.cells() {
        Some(cells) => Standing::Linked(Linked::new(cells, graph.linked())),
        None => Standing::Rows(Rows { table, base: graph.base(), space }),
    }
}

/// One of the grounds.
pub(crate) enum Standing<'a, M> {
    Rows(Rows<'a, M>),
    Linked(Linked<'a>),
}
