//! One query through the graph.
//!
//! From the entry point down to the base layer the walk keeps a single node; in the base layer it keeps `ef`. The nearest of the
//! beam are then scored canonically, and that score alone decides what is returned and in which order. Rows that may not be
//! returned (deleted, or not selected) are walked over all the same: they lead to others.

use super::State;
use super::walk::{Admission, Beam, Everything, Point, Scratch, Terrain};
use crate::index::selection::Selection;
use crate::index::topk::TopK;
use crate::simd::Simd;
use crate::vectors::{Query, Space, Task};

/// Rows beyond k that are scored canonically too, in case f32 distances have them in the wrong order.
const SPARE: usize = 8;

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
        let start = self.descend(simd, space);
        let beam_width = self.ef.max(self.k);
        let eligible = Eligible { state: self.state, selection: self.selection };
        if self.selection.is_none() && self.state.table.all_live() {
            self.base(simd, space, start, beam_width, &Everything);
            self.rank(space, &self.scratch.beam, &eligible)
        } else {
            self.base(simd, space, start, beam_width, &eligible);
            self.rank(space, &self.scratch.accepted, &eligible)
        }
    }
}

impl<'a> GraphSearch<'a> {
    fn point(&self) -> Point<'a> {
        Point { values: self.query.values, term: self.query.term }
    }

    /// The node of the base layer where its walk begins.
    #[inline(always)]
    fn descend<S: Simd, M: Space>(&mut self, simd: S, space: M) -> Option<u32> {
        let (table, graph) = (&self.state.table, &self.state.graph);
        let point = self.point();
        let mut node = graph.entry()?;
        for layer in graph.layers()[1..].iter().rev() {
            let terrain = Terrain::<true> { table, layer };
            self.scratch.beam.start(1);
            terrain.start(simd, space, point, &[node], &Everything, self.scratch);
            terrain.walk(simd, space, point, &Everything, self.scratch);
            let nearest = self.scratch.beam.candidates().first();
            node = layer.below(nearest.map_or(node, |candidate| candidate.node()));
        }
        Some(node)
    }

    #[inline(always)]
    fn base<S: Simd, M: Space, A: Admission>(
        &mut self,
        simd: S,
        space: M,
        start: Option<u32>,
        width: usize,
        admission: &A,
    ) {
        let terrain = Terrain::<false> { table: &self.state.table, layer: self.state.graph.base() };
        let point = self.point();
        let starts: Option<[u32; 1]> = start.map(|node| [node]);
        self.scratch.beam.start(width);
        self.scratch.accepted.start(self.k + SPARE);
        terrain.start(simd, space, point, starts.as_ref().map_or(&[], |node| &node[..]), admission, self.scratch);
        terrain.walk(simd, space, point, admission, self.scratch);
    }

    #[inline(always)]
    fn rank<M: Space>(&self, space: M, beam: &Beam, eligible: &Eligible<'_>) -> (TopK, usize) {
        let State { table, graph } = self.state;
        let mut top = TopK::new(self.k, self.floor);
        let mut reached = 0;
        for candidate in beam.candidates().iter().take(self.k + SPARE) {
            let score = space.score(&self.query, table.rows().row(candidate.node() as usize));
            for slot in graph.sharing(candidate.node()).filter(|&slot| eligible.has(slot as usize)) {
                top.push(score, table.id(slot as usize));
                reached += 1;
            }
        }
        (top, reached)
    }
}
