//! Cells: a walk reads one piece of memory for a node and for all that it links to, fetched before it comes there.

use super::{Ground, Reach, Step};
use crate::index::hnsw::HnswParameters;
use crate::index::hnsw::graph::Layer;
use crate::index::hnsw::walk::{Admission, Beam, Candidate, Gait, Queue, Scratch, Visited};
use crate::kernel::BLOCK_ROWS;
use crate::simd::{Simd, prefetch};
use crate::vectors::{Cell, CellPoint, CellQuery, Cells, Coming, Query};

/// Cells.
#[derive(Clone, Copy)]
pub(crate) struct Linked<'a> {
    pub(crate) cells: &'a Cells,
    /// How many of them are linked; a write may have added more.
    pub(super) nodes: usize,
}

/// Lines of a cell that are asked for at once; the others when the walk is about to come there, while another cell is looked at.
pub(super) const FIRST_LINES: usize = 4;

/// The width of a beam of estimates that finds about as much as one of distances that is `width` wide.
pub(in crate::index::hnsw) fn beam_of_estimates(width: usize) -> usize {
    width + width / 2
}

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
    fn distances<S: Simd, const N: usize>(self, simd: S, from: CellPoint<'_>, slots: [u32; N]) -> [f32; N] {
        from.values(simd, slots.map(|slot| self.cells.cell(slot as usize)))
    }

    #[inline(always)]
    fn distances_to<S: Simd, const N: usize>(
        self,
        simd: S,
        from: CellPoint<'_>,
        rows: &[u8],
        which: [usize; N],
    ) -> [f32; N] {
        let (frame, bytes) = (self.cells.frame(), self.cells.frame().row_bytes());
        from.values(simd, which.map(|at| frame.lone(&rows[at * bytes..][..bytes])))
    }

    fn blur(self, from: CellPoint<'_>, slot: usize) -> f32 {
        from.blur(self.cells.cell(slot))
    }

    #[inline(always)]
    fn prefetch(self, slot: usize) {
        self.cells.prefetch(slot, 0..self.cells.frame().width() / 64 + 1);
    }

    fn nodes(self) -> usize {
        self.nodes
    }

    /// Links are looked at where they lie, all at once.
    fn list<'g>(self, _node: u32) -> &'g [u32]
    where
        Self: 'g,
    {
        &[]
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
    fn prepare(self, query: &Query<'_>, memory: &mut CellQuery) {
        memory.set(self.cells.frame(), query);
    }

    #[inline(always)]
    fn prepare_row(self, slot: usize, memory: &mut CellQuery) {
        memory.set_row(self.cells.frame(), self.cells.cell(slot));
    }

    #[inline(always)]
    fn point<'p>(self, _query: &Query<'p>, memory: &'p CellQuery) -> CellPoint<'p>
    where
        Self: 'p,
    {
        memory.point()
    }

    #[inline(always)]
    fn prefetch_step(self, node: u32) {
        if (node as usize) < self.nodes {
            self.cells.prefetch(node as usize, 0..self.cells.lines());
        }
    }

    #[inline(always)]
    fn begin<S: Simd, A: Admission>(
        self,
        simd: S,
        _query: &Query<'_>,
        start: Option<u32>,
        reach: &Reach<'_, A>,
        scratch: &mut Scratch,
    ) {
        if A::ASKS && reach.chosen {
            scratch.gait.found = self.search_filtered(simd, start.as_slice(), reach, scratch);
        } else {
            self.start(start, reach, scratch);
        }
    }

    /// The beam holds estimates; a cell that the walk comes to has its distance in `accepted`, and what it links to in the beam. A node may come
    /// into the beam by several links, with as many estimates; it is visited once.
    #[inline(always)]
    fn step<S: Simd, A: Admission>(self, simd: S, reach: &Reach<'_, A>, scratch: &mut Scratch) -> Step {
        if A::ASKS && reach.chosen {
            return Step::Ends;
        }
        let Scratch { visited, beam, accepted, query, gait, .. } = scratch;
        let goes_on = self.fill(&mut gait.queue, visited, || beam.follow());
        let Some((node, later)) = gait.queue.pop() else { return Step::Ends };
        gait.steps += 1;
        let mut coming = self.cells.coming(later as usize, FIRST_LINES);
        coming.ask();
        let cell = self.cells.cell(node as usize);
        let value = query.point().value(simd, cell);
        if !A::ASKS || reach.admission.admits(node) {
            accepted.push(Candidate::new(value, node));
        }
        coming.ask();
        take_in(simd, query, (cell, value), visited, beam, &mut coming);
        coming.ask_rest();
        if goes_on { Step::Goes } else { Step::Nears }
    }

    #[inline(always)]
    fn found<'s, S: Simd, A: Admission>(
        self,
        _simd: S,
        reach: &Reach<'_, A>,
        scratch: &'s mut Scratch,
    ) -> Option<&'s [Candidate]> {
        let Scratch { beam, accepted, gait, .. } = scratch;
        if A::ASKS && reach.chosen {
            return gait.found.then_some(accepted.candidates());
        }
        // If what is admitted lay anywhere, so much of it would have been on the way. If far less was, it lies elsewhere.
        let (found, width) = (accepted.candidates().len(), reach.width);
        let expected = width.min(gait.steps * width / reach.beam.max(1));
        let enough = !A::ASKS || found >= reach.kept && found * 2 >= expected || !beam.is_full();
        enough.then_some(accepted.candidates())
    }

    #[inline(always)]
    fn search_base<'s, S: Simd>(
        self,
        simd: S,
        _slot: usize,
        starts: &[u32],
        width: usize,
        scratch: &'s mut Scratch,
    ) -> &'s mut Beam {
        let all = Reach::of_all(width);
        self.start(None, &all, scratch);
        scratch.beam.start(width);
        self.enter(simd, starts, scratch);
        while self.step(simd, &all, scratch) != Step::Ends {}
        &mut scratch.accepted
    }

    fn own_links(self, parameters: &HnswParameters) -> (usize, usize) {
        let links = (7 * parameters.m).div_ceil(4);
        (links, links)
    }

    /// Room is left in a list that was pruned, so that not every new link prunes it again.
    fn kept_links(self, parameters: &HnswParameters) -> (usize, usize) {
        let links = (15 * parameters.m).div_ceil(8);
        (links, links)
    }
}

impl<'a> Linked<'a> {
    /// The first `nodes` of these cells.
    pub(crate) fn new(cells: &'a Cells, nodes: usize) -> Linked<'a> {
        Linked { cells, nodes }
    }

    /// Begins a walk.
    #[inline(always)]
    fn start<A: Admission>(self, start: Option<u32>, reach: &Reach<'_, A>, scratch: &mut Scratch) {
        scratch.beam.start(beam_of_estimates(reach.beam).min(self.nodes.max(1)));
        scratch.accepted.start(if A::ASKS { reach.width.max(reach.kept) } else { reach.kept });
        scratch.visited.start(self.nodes);
        scratch.visited.hide(reach.hidden);
        scratch.gait = Gait::default();
        for node in start.into_iter().filter(|&node| (node as usize) < self.nodes) {
            // How far it is, its cell says once it has come from memory.
            scratch.beam.push(Candidate::new(f32::INFINITY, node));
        }
    }

    /// Fills the queue, once it is low, with nodes that `next` names and that have not been visited, and asks for their cells; false if `next` had no
    /// more before it was full.
    #[inline(always)]
    pub(super) fn fill(self, queue: &mut Queue, visited: &mut Visited, mut next: impl FnMut() -> Option<u32>) -> bool {
        if !queue.is_low() {
            return true;
        }
        while queue.has_room() {
            let Some(node) = next() else { return false };
            if (node as usize) < self.nodes && visited.insert(node) {
                self.cells.prefetch(node as usize, 0..FIRST_LINES.min(self.cells.lines()));
                queue.push(node);
            }
        }
        true
    }

    /// Puts nodes where a walk begins into the beam.
    #[inline(always)]
    pub(super) fn enter<S: Simd>(self, simd: S, starts: &[u32], scratch: &mut Scratch) {
        for &node in starts.iter().filter(|&&node| (node as usize) < self.nodes) {
            scratch.beam.push(Candidate::new(self.distance(simd, scratch.query.point(), node as usize), node));
        }
    }
}

/// Takes into the beam what a cell links to, as far as it is near enough and has not been visited.
#[inline(always)]
fn take_in<S: Simd>(
    simd: S,
    query: &CellQuery,
    (cell, value): (Cell<'_>, f32),
    visited: &Visited,
    beam: &mut Beam,
    coming: &mut Coming,
) {
    for fan in (0..cell.len().div_ceil(BLOCK_ROWS)).step_by(2) {
        let (from, mut estimates) = ((value, beam.reach()), [[0.0; BLOCK_ROWS]; 2]);
        let mut below = estimate_two(simd, query, (cell, fan), from, &mut estimates);
        coming.ask();
        let leads = [cell.leads(fan), cell.leads((fan + 1).min(cell.fans() - 1))];
        let link = |at: usize| u32::from_le_bytes(leads[at / BLOCK_ROWS % 2][at % BLOCK_ROWS]);
        let mut fresh = 0;
        while below != 0 {
            let at = below.trailing_zeros() as usize;
            below &= below - 1;
            // Not at once into the beam: whether it has been visited nobody can guess.
            fresh |= u32::from(!visited.contains(link(at))) << at;
        }
        while fresh != 0 {
            let at = fresh.trailing_zeros() as usize;
            fresh &= fresh - 1;
            beam.push(Candidate::new(estimates[at / BLOCK_ROWS % 2][at % BLOCK_ROWS], link(at)));
        }
        coming.ask();
    }
}

/// Estimates what the links of a fan, and of the one behind it if there is one, lead to: see [`CellQuery::estimate`].
#[inline(always)]
pub(super) fn estimate_two<S: Simd>(
    simd: S,
    query: &CellQuery,
    (cell, fan): (Cell<'_>, usize),
    from: (f32, f32),
    estimates: &mut [[f32; BLOCK_ROWS]; 2],
) -> u32 {
    let below = if (fan + 1) * BLOCK_ROWS < cell.len() {
        query.estimate::<S, 2>(simd, cell, fan, from, estimates)
    } else {
        let [first, _] = estimates;
        query.estimate::<S, 1>(simd, cell, fan, from, std::array::from_mut(first))
    };
    below & mask_of(cell.len() - fan * BLOCK_ROWS)
}

/// As many ones as there are links.
fn mask_of(links: usize) -> u32 {
    if links >= 2 * BLOCK_ROWS { u32::MAX } else { (1 << links) - 1 }
}
