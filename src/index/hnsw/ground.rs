//! What a graph stands on: how far it is from here to there, and what a walk through the base layer reads.
//!
//! There are two grounds. [`Rows`] measures between rows as they are kept, under any metric. [`Linked`] has a [`Cell`](crate::vectors::Cells)
//! for every node, which says of all that the node links to how far it about is: far fewer reads, for metrics
//! that follow from inner products. Everything else (layers, batches, pruning, search) is written over either.

use super::HnswParameters;
use super::graph::{Graph, Layer};
use super::walk::{Admission, Beam, Candidate, Everything, Scratch, Terrain, Visited};
use crate::index::table::Table;
use crate::simd::{Simd, prefetch};
use crate::vectors::{Cell, CellPoint, CellQuery, Cells, Space};

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

/// Rows as they are kept: of f32.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, M> {
    pub(crate) table: &'a Table,
    pub(crate) base: &'a Layer,
    pub(crate) space: M,
}

/// A row or a query: values and term.
#[derive(Clone, Copy)]
pub(crate) struct Point<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) term: f32,
}

/// Bytes of rows that are asked for ahead of their use: about as many lines as a core can wait for at a time. On rows of 512 bytes
/// three times as much cost 5 to 10 %; on longer rows it makes no difference.
const PREFETCH_BYTES: usize = 2 << 10;

impl<M: Space> Ground for Rows<'_, M> {
    type Point<'p>
        = Point<'p>
    where
        Self: 'p;

    #[inline(always)]
    fn at<'p>(self, slot: usize) -> Point<'p>
    where
        Self: 'p,
    {
        Point { values: self.table.rows().row(slot), term: self.table.terms().first(slot) }
    }

    #[inline(always)]
    fn distance<S: Simd>(self, simd: S, from: Point<'_>, slot: usize) -> f32 {
        debug_assert!(slot < self.table.slots());
        // SAFETY: nodes that come here are nodes of a layer (`Visited` lets no others through), and the slots of a layer are slots
        // of its table: the base layer has as many nodes as the table has linked slots, upper layers are checked when loaded. The
        // rows are f32: the index takes no other codec on this ground.
        let (row, term) =
            unsafe { (self.table.rows().row_unchecked(slot), *self.table.terms().address_unchecked(slot)) };
        self.space.distance(simd, from.values, from.term, row, term)
    }

    #[inline(always)]
    fn prefetch(self, slot: usize) {
        // SAFETY: as in `distance`.
        let (row, term) =
            unsafe { (self.table.rows().address_unchecked(slot), self.table.terms().address_unchecked(slot)) };
        prefetch(term);
        let lines = self.table.width() / 16;
        for line in 0..lines.min(PREFETCH_BYTES / 64) {
            prefetch(row.wrapping_add(line * 16));
        }
    }

    #[inline(always)]
    fn ahead(self) -> usize {
        (PREFETCH_BYTES / (self.table.width() * size_of::<f32>())).clamp(1, 8)
    }

    #[inline(always)]
    fn spares(self, between: f32, distance: f32) -> bool {
        between < distance
    }

    #[inline(always)]
    fn search_base<'s, S: Simd>(
        self,
        simd: S,
        slot: usize,
        starts: &[u32],
        width: usize,
        scratch: &'s mut Scratch,
    ) -> &'s mut Beam {
        let terrain = Terrain::<_, false> { ground: self, layer: self.base };
        scratch.beam.start(width);
        terrain.start(simd, self.at(slot), starts, &Everything, scratch);
        terrain.walk(simd, self.at(slot), &Everything, scratch);
        &mut scratch.beam
    }

    fn own_links(self, parameters: &HnswParameters) -> (usize, usize) {
        (parameters.m, 0)
    }

    fn kept_links(self, parameters: &HnswParameters) -> (usize, usize) {
        (2 * parameters.m, 0)
    }
}

/// Cells.
#[derive(Clone, Copy)]
pub(crate) struct Linked<'a> {
    pub(crate) cells: &'a Cells,
    /// How many of them are linked; a write may have added more.
    nodes: usize,
}

/// Cells that a walk fetches ahead of the one that it is in. With fewer it waits for memory; with more it goes where it would not have
/// gone, had it seen what lies between.
const AHEAD: usize = 2;

/// Lines of a cell that are asked for at once. The others are asked for bit by bit, while another cell is looked at.
const FIRST_LINES: usize = 4;

impl Ground for Linked<'_> {
    type Point<'p>
        = CellPoint<'p>
    where
        Self: 'p;

    #[inline(always)]
    fn at<'p>(self, slot: usize) -> CellPoint<'p>
    where
        Self: 'p,
    {
        self.cells.cell(slot).point()
    }

    #[inline(always)]
    fn distance<S: Simd>(self, simd: S, from: CellPoint<'_>, slot: usize) -> f32 {
        from.value(simd, self.cells.cell(slot))
    }

    #[inline(always)]
    fn prefetch(self, slot: usize) {
        self.cells.prefetch(slot, 0..self.cells.frame().width() / 64 + 1);
    }

    #[inline(always)]
    fn distance_above<S: Simd>(self, simd: S, from: CellPoint<'_>, layer: &Layer, node: u32) -> f32 {
        from.value(simd, self.cells.frame().lone(layer.row(node)))
    }

    #[inline(always)]
    fn prefetch_above(self, layer: &Layer, node: u32) {
        for line in layer.row(node).chunks(64) {
            prefetch(line.as_ptr());
        }
    }

    #[inline(always)]
    fn ahead(self) -> usize {
        8
    }

    #[inline(always)]
    fn spares(self, between: f32, distance: f32) -> bool {
        self.cells.frame().longer() * between < distance
    }

    #[inline(always)]
    fn search_base<'s, S: Simd>(
        self,
        simd: S,
        slot: usize,
        starts: &[u32],
        width: usize,
        scratch: &'s mut Scratch,
    ) -> &'s mut Beam {
        scratch.query.set_row(self.cells.frame(), self.cells.cell(slot));
        scratch.beam.start(width);
        scratch.accepted.start(width);
        self.walk(simd, starts, &Everything, scratch);
        &mut scratch.accepted
    }

    fn own_links(self, parameters: &HnswParameters) -> (usize, usize) {
        let links = (3 * parameters.m).div_ceil(2);
        (links, links)
    }

    /// Room is left in a list that was pruned, so that not every new link prunes it again.
    fn kept_links(self, parameters: &HnswParameters) -> (usize, usize) {
        self.own_links(parameters)
    }
}

impl Linked<'_> {
    /// Walks the base layer from `starts` with the query in `scratch`. The beam holds estimates; a cell that the walk comes to has its distance in
    /// `accepted`, and what it links to in the beam. A node may come into the beam by several links, with as many
    /// estimates; it is visited once.
    #[inline(always)]
    pub(crate) fn walk<S: Simd, A: Admission>(self, simd: S, starts: &[u32], admission: &A, scratch: &mut Scratch) {
        let Scratch { visited, beam, accepted, query, .. } = scratch;
        let Linked { cells, nodes } = self;
        visited.start(nodes);
        for &node in starts.iter().filter(|&&node| (node as usize) < nodes) {
            beam.push(Candidate::new(self.distance(simd, query.point(), node as usize), node));
        }
        let (lines, mut queue, mut waiting) = (cells.lines(), [0u32; AHEAD + 1], 0);
        let third = (lines.saturating_sub(FIRST_LINES)).div_ceil(3);
        loop {
            while waiting <= AHEAD {
                let Some(node) = beam.follow() else { break };
                if (node as usize) < nodes && visited.insert(node) {
                    cells.prefetch(node as usize, 0..FIRST_LINES.min(lines));
                    queue[waiting] = node;
                    waiting += 1;
                }
            }
            if waiting == 0 {
                return;
            }
            let (node, newest) = (queue[0], queue[waiting - 1] as usize);
            queue.copy_within(1.., 0);
            waiting -= 1;
            let fetch = |part: usize| {
                let from = (FIRST_LINES + part * third).min(lines);
                cells.prefetch(newest, from..(from + third).min(lines));
            };
            fetch(0);
            let cell = cells.cell(node as usize);
            let value = query.point().value(simd, cell);
            if !A::ASKS || admission.admits(node) {
                accepted.push(Candidate::new(value, node));
            }
            fetch(1);
            take_in(simd, query, cell, value, visited, beam);
            fetch(2);
        }
    }
}

/// Takes into the beam what a cell links to, as far as it is near enough and has not been visited.
#[inline(always)]
fn take_in<S: Simd>(simd: S, query: &CellQuery, cell: Cell<'_>, value: f32, visited: &Visited, beam: &mut Beam) {
    for fan in (0..cell.len().div_ceil(16)).step_by(2) {
        let (from, mut estimates) = ((value, beam.reach()), [[0.0; 16]; 2]);
        let below = if (fan + 1) * 16 < cell.len() {
            query.estimate::<S, 2>(simd, cell, fan, from, &mut estimates)
        } else {
            let [first, _] = &mut estimates;
            query.estimate::<S, 1>(simd, cell, fan, from, std::array::from_mut(first))
        };
        let mut below = below & mask_of(cell.len() - fan * 16);
        while below != 0 {
            let at = below.trailing_zeros() as usize;
            below &= below - 1;
            let neighbour = cell.link(fan * 16 + at);
            if !visited.contains(neighbour) {
                beam.push(Candidate::new(estimates[at / 16][at % 16], neighbour));
            }
        }
    }
}

/// As many ones as there are links.
fn mask_of(links: usize) -> u32 {
    if links >= 32 { u32::MAX } else { (1 << links) - 1 }
}

/// Which ground a graph stands on, with the metric to stand on it where that matters.
pub(crate) fn ground_of<'a, M: Space>(table: &'a Table, graph: &'a Graph, space: M) -> Standing<'a, M> {
    match graph.cells() {
        Some(cells) => Standing::Linked(Linked { cells, nodes: graph.linked() }),
        None => Standing::Rows(Rows { table, base: graph.base(), space }),
    }
}

/// One of the grounds.
pub(crate) enum Standing<'a, M> {
    Rows(Rows<'a, M>),
    Linked(Linked<'a>),
}
