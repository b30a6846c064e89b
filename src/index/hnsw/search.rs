//! One query through the graph.
//!
//! From the entry point down to the base layer the walk keeps a single node; in the base layer it keeps `ef`. The nearest of the
//! beam are then scored canonically, and that score alone decides what is returned and in which order. Rows that may not be
//! returned (deleted, or not selected) are walked over all the same: they lead to others.

use super::State;
use super::graph::Graph;
use super::ground::{Ground, GroundTask, Reach, stand};
use super::walk::{Admission, Beam, Candidate, Everything, Scratch, Terrain};
use crate::index::selection::Selection;
use crate::index::topk::TopK;
use crate::simd::Simd;
use crate::vectors::{Codec, Query, Space, Task};

/// Rows beyond k that are scored canonically too, in case the distances of the walk have them in the wrong order.
const SPARE: usize = 4;

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

impl GraphSearch<'_> {
    /// The best rows, and how many eligible ones were reached.
    pub(crate) fn run(self) -> (TopK, usize) {
        let State { table, graph, .. } = self.state;
        let eligible = Eligible { state: self.state, selection: self.selection };
        let GraphSearch { query, k, floor, .. } = self;
        let kept = k + SPARE;
        let beam = if self.selection.is_some() || !table.all_live() {
            let reach = Reach { width: self.ef.max(k), kept, admission: &eligible };
            stand(table, graph, Walk { graph, query: &query, reach, scratch: self.scratch })
        } else {
            let reach = Reach { width: self.ef.max(k), kept, admission: &Everything };
            stand(table, graph, Walk { graph, query: &query, reach, scratch: self.scratch })
        };
        let candidates = &beam.candidates()[..beam.candidates().len().min(kept)];
        table.metric().run(Rank { candidates, eligible, query: &query, top: TopK::new(k, floor) })
    }
}

/// The walk, from the entry point down and through the base layer.
struct Walk<'a, 's, A> {
    graph: &'a Graph,
    query: &'a Query<'a>,
    reach: Reach<'a, A>,
    scratch: &'s mut Scratch,
}

impl<'s, A: Admission> GroundTask for Walk<'_, 's, A> {
    type Output = &'s Beam;

    #[inline(always)]
    fn run<S: Simd, G: Ground>(self, simd: S, ground: G) -> &'s Beam {
        let Walk { graph, query, reach, scratch } = self;
        let mut memory = std::mem::take(&mut scratch.query);
        ground.prepare(query, &mut memory);
        let start = descend(simd, ground, graph, ground.point(query, &memory), scratch);
        scratch.query = memory;
        ground.search(simd, query, start.as_slice(), reach, scratch)
    }
}

/// The node of the base layer where its walk begins.
#[inline(always)]
fn descend<S: Simd, G: Ground>(
    simd: S,
    ground: G,
    graph: &Graph,
    point: G::Point<'_>,
    scratch: &mut Scratch,
) -> Option<u32> {
    let mut node = graph.entry()?;
    for layer in graph.layers()[1..].iter().rev() {
        let terrain = Terrain::<_, true> { ground, layer };
        scratch.beam.start(1);
        terrain.start(simd, point, &[node], &Everything, scratch);
        terrain.walk(simd, point, &Everything, scratch);
        let nearest = scratch.beam.candidates().first();
        node = layer.below(nearest.map_or(node, |candidate| candidate.node()));
    }
    Some(node)
}

/// Scores what a walk has found, canonically.
struct Rank<'a> {
    candidates: &'a [Candidate],
    eligible: Eligible<'a>,
    query: &'a Query<'a>,
    top: TopK,
}

impl Task for Rank<'_> {
    type Output = (TopK, usize);

    #[inline(always)]
    fn run<S: Simd, M: Space>(self, _simd: S, space: M) -> (TopK, usize) {
        let Rank { candidates, eligible, query, mut top } = self;
        let State { table, graph, .. } = eligible.state;
        let mut reached = 0;
        for candidate in candidates {
            table.prefetch(candidate.node() as usize);
            graph.prefetch_twins(candidate.node());
        }
        let mut room = vec![0.0; if table.codec() == Codec::F32 { 0 } else { table.width() }];
        for candidate in candidates {
            let score = space.score(query, table.values(candidate.node() as usize, &mut room));
            for slot in graph.sharing(candidate.node()).filter(|&slot| eligible.has(slot as usize)) {
                top.push(score, table.id(slot as usize));
                reached += 1;
            }
        }
        (top, reached)
    }
}
