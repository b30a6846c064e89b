//! One query through the graph.
//!
//! From the entry point down to the base layer the walk keeps a single node; in the base layer it keeps `ef`. The nearest of the
//! beam are then scored canonically, and that score alone decides what is returned and in which order. Rows that may not be
//! returned (deleted, or not selected) are walked over all the same: they lead to others.

use super::State;
use super::ground::{Ground, Linked, Point, Rows, Standing, ground_of};
use super::walk::{Admission, Beam, Everything, Scratch, Terrain};
use crate::index::selection::Selection;
use crate::index::topk::TopK;
use crate::simd::Simd;
use crate::vectors::{Codec, Query, Space, Task};

/// Rows beyond k that are scored canonically too, in case f32 distances have them in the wrong order.
const SPARE: usize = 4;

/// The width of a beam of estimates that finds about as much as one of distances that is `width` wide.
fn widened(width: usize) -> usize {
    width + width / 2
}

/// A search of the graph for one query.
pub(crate) struct GraphSearch<'a> {
    pub(crate) state: &'a State,
    pub(crate) query: Query<'a>,
    pub(crate) k: usize,
    pub(crate) floor: f32,
    pub(crate) ef: usize,
    pub(crate) selection: Option<&'a Selection>,
    pub(crate) scratch: &'a mut Scratch,
}

/// Admits what is visible and selected.
struct Eligible<'a> {
    state: &'a State,
    selection: Option<&'a Selection>,
}

impl Eligible<'_> {
    #[inline(always)]
    fn has(&self, slot: usize) -> bool {
        self.state.table.is_live(slot) && self.selection.is_none_or(|selection| selection.bits().get(slot))
    }
}

impl Admission for Eligible<'_> {
    const ASKS: bool = true;

    #[inline(always)]
    fn admits(&self, slot: u32) -> bool {
        self.state.graph.sharing(slot).any(|slot| self.has(slot as usize))
    }
}

impl Task for GraphSearch<'_> {
    /// The best rows, and how many eligible ones were reached.
    type Output = (TopK, usize);

    #[inline(always)]
    fn run<S: Simd, M: Space>(mut self, simd: S, space: M) -> Self::Output {
        let eligible = Eligible { state: self.state, selection: self.selection };
        let asks = self.selection.is_some() || !self.state.table.all_live();
        match ground_of(&self.state.table, &self.state.graph, space) {
            Standing::Rows(ground) if asks => self.walk_rows(simd, ground, &eligible),
            Standing::Rows(ground) => self.walk_rows(simd, ground, &Everything),
            Standing::Linked(ground) if asks => self.walk_cells(simd, ground, &eligible),
            Standing::Linked(ground) => self.walk_cells(simd, ground, &Everything),
        }
        let all_in_beam = self.state.graph.cells().is_none() && !asks;
        let beam = if all_in_beam { &self.scratch.beam } else { &self.scratch.accepted };
        self.rank(space, beam, &eligible)
    }
}

impl<'a> GraphSearch<'a> {
    fn width(&self) -> usize {
        self.ef.max(self.k)
    }

    /// The node of the base layer where its walk begins.
    #[inline(always)]
    fn descend<S: Simd, G: Ground>(&mut self, simd: S, ground: G, point: G::Point<'_>) -> Option<u32> {
        let graph = &self.state.graph;
        let mut node = graph.entry()?;
        for layer in graph.layers()[1..].iter().rev() {
            let terrain = Terrain::<_, true> { ground, layer };
            self.scratch.beam.start(1);
            terrain.start(simd, point, &[node], &Everything, self.scratch);
            terrain.walk(simd, point, &Everything, self.scratch);
            let nearest = self.scratch.beam.candidates().first();
            node = layer.below(nearest.map_or(node, |candidate| candidate.node()));
        }
        Some(node)
    }

    #[inline(always)]
    fn walk_rows<S: Simd, M: Space, A: Admission>(&mut self, simd: S, ground: Rows<'a, M>, admission: &A) {
        let point = Point { values: self.query.values, term: self.query.term };
        let start = self.descend(simd, ground, point);
        let terrain = Terrain::<_, false> { ground, layer: self.state.graph.base() };
        self.scratch.beam.start(self.width());
        self.scratch.accepted.start(self.k + SPARE);
        terrain.start(simd, point, start.as_slice(), admission, self.scratch);
        terrain.walk(simd, point, admission, self.scratch);
    }

    #[inline(always)]
    fn walk_cells<S: Simd, A: Admission>(&mut self, simd: S, ground: Linked<'a>, admission: &A) {
        let mut query = std::mem::take(&mut self.scratch.query);
        query.set(ground.cells.frame(), &self.query);
        let start = self.descend(simd, ground, query.point());
        self.scratch.query = query;
        self.scratch.beam.start(widened(self.width()));
        self.scratch.accepted.start(self.k + SPARE);
        ground.walk(simd, start.as_slice(), admission, self.scratch);
    }

    #[inline(always)]
    fn rank<M: Space>(&self, space: M, beam: &Beam, eligible: &Eligible<'_>) -> (TopK, usize) {
        let State { table, graph } = self.state;
        let mut top = TopK::new(self.k, self.floor);
        let mut reached = 0;
        let candidates = beam.candidates();
        let candidates = &candidates[..candidates.len().min(self.k + SPARE)];
        for candidate in candidates {
            table.prefetch(candidate.node() as usize);
            graph.prefetch_twins(candidate.node());
        }
        let mut room = vec![0.0; if table.codec() == Codec::F32 { 0 } else { table.width() }];
        for candidate in candidates {
            let score = space.score(&self.query, table.values(candidate.node() as usize, &mut room));
            for slot in graph.sharing(candidate.node()).filter(|&slot| eligible.has(slot as usize)) {
                top.push(score, table.id(slot as usize));
                reached += 1;
            }
        }
        (top, reached)
    }
}
