//! One query through the graph.
//!
//! From the entry point down to the base layer the walk keeps a single node; in the base layer it keeps `ef`. The nearest of the
//! beam are then scored canonically, and that score alone decides what is returned and in which order. Rows that may not be
//! returned (deleted, or not selected) are walked over all the same: they lead to others.

use super::gather::Gather;
use super::graph::Graph;
use super::ground::{Ground, GroundTask, Reach, stand};
use super::state::State;
use super::walk::{Admission, Beam, Everything, Scratch, Terrain};
use crate::index::Search;
use crate::index::selection::Selection;
use crate::index::table::Table;
use crate::index::topk::TopK;
use crate::simd::{self, Operation, Simd};
use crate::vectors::{CellQuery, Cells, Codec, Query, Space, Task};

/// Rows beyond k that are scored canonically too, in case the distances of the walk have them in the wrong order.
pub(super) const SPARE: usize = 4;

/// One query in one state.
pub(super) struct GraphSearch<'a> {
    pub(super) state: &'a State,
    pub(super) search: &'a Search<'a>,
    pub(super) query: &'a Query<'a>,
    /// A node that the walk must not come to.
    pub(super) hidden: Option<u32>,
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

    #[inline(always)]
    fn knows(&self, slot: u32) -> bool {
        self.has(slot as usize)
    }

    #[inline(always)]
    fn prefetch(&self, slot: u32) {
        self.state.graph.prefetch_twins(slot);
    }

    fn some(&self, most: usize) -> Vec<u32> {
        self.selection.map_or_else(Vec::new, |selection| selection.bits().spread(most))
    }
}

impl GraphSearch<'_> {
    /// The best rows that a walk comes to with a beam of this width, the nearest `ef` that may be returned being what it is after, and how many
    /// such it reached. `None` if they are not found this way, or it would be quicker to look at all: `budget` is how many steps that takes.
    pub(super) fn walk(&self, ef: usize, beam: usize, budget: usize, scratch: &mut Scratch) -> Option<(TopK, usize)> {
        let (State { table, graph, .. }, query, hidden) = (self.state, self.query, self.hidden);
        let eligible = Eligible { state: self.state, selection: self.search.selection };
        let (kept, chosen) = (self.search.k + SPARE, self.search.selection.is_some());
        let ended = if self.search.selection.is_some() || !table.all_live() {
            let reach = Reach { width: ef, beam, kept, chosen, budget, hidden, admission: &eligible };
            stand(table, graph, Walk { graph, query, reach, scratch })
        } else {
            let reach = Reach { width: ef, beam, kept, chosen, budget, hidden, admission: &Everything };
            stand(table, graph, Walk { graph, query, reach, scratch })
        };
        if !ended {
            return None;
        }
        let Scratch { near, query, .. } = scratch;
        for &node in near.iter() {
            self.prefetch(node);
            graph.prefetch_twins(node);
        }
        let sharing = near.iter().flat_map(|&node| graph.sharing(node));
        Some(self.rank(sharing.filter(|&slot| eligible.has(slot as usize)), query))
    }

    /// Asks for what scoring a row will read.
    fn prefetch(&self, slot: u32) {
        match self.state.codes() {
            Some(cells) => cells.prefetch_lean(slot as usize),
            None => self.state.table.prefetch(slot as usize),
        }
    }

    /// The best of these rows, all of which may be returned: by what the ground says of each those are scored that may be as near as the k-th.
    pub(super) fn gather(&self, slots: &[u32], scratch: &mut Scratch) -> TopK {
        let State { table, graph, .. } = self.state;
        stand(table, graph, Gather { slots, query: self.query, k: self.search.k, scratch });
        for &slot in &scratch.near {
            self.prefetch(slot);
        }
        self.rank(scratch.near.iter().copied(), &scratch.query).0
    }

    /// The best of these rows, all of which are scored.
    pub(super) fn look_at_all(&self, slots: &[u32], scratch: &mut Scratch) -> TopK {
        let State { table, graph, .. } = self.state;
        stand(table, graph, Prepare { query: self.query, memory: &mut scratch.query });
        self.rank(slots.iter().copied(), &scratch.query).0
    }

    /// Scores rows, canonically or as their codes have them; the best, and how many there were. `prepared` is what the ground has made of the query.
    fn rank(&self, slots: impl Iterator<Item = u32>, prepared: &CellQuery) -> (TopK, usize) {
        let table = &self.state.table;
        let top = TopK::new(self.search.k, self.search.floor());
        match self.state.codes() {
            Some(cells) => simd::dispatch(RankCodes { table, cells, slots, query: prepared, top }),
            None => table.metric().run(Rank { table, slots, query: self.query, top }),
        }
    }
}

/// What a ground makes of a query.
struct Prepare<'a> {
    query: &'a Query<'a>,
    memory: &'a mut CellQuery,
}

impl GroundTask for Prepare<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, G: Ground>(self, _simd: S, ground: G) {
        ground.prepare(self.query, self.memory);
    }
}

/// The walk, from the entry point down and through the base layer; the nearest are left in `near`. Whether it ended.
struct Walk<'a, 's, A> {
    graph: &'a Graph,
    query: &'a Query<'a>,
    reach: Reach<'a, A>,
    scratch: &'s mut Scratch,
}

impl<A: Admission> GroundTask for Walk<'_, '_, A> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd, G: Ground>(self, simd: S, ground: G) -> bool {
        let Walk { graph, query, reach, scratch } = self;
        let mut memory = std::mem::take(&mut scratch.query);
        ground.prepare(query, &mut memory);
        let start = descend(simd, ground, graph, ground.point(query, &memory), scratch);
        scratch.query = memory;
        let (kept, mut near) = (reach.kept, std::mem::take(&mut scratch.near));
        near.clear();
        let found = ground.search(simd, query, start.as_slice(), reach, scratch);
        let nearest = found.map_or(&[][..], Beam::candidates);
        near.extend(nearest.iter().take(kept).map(|candidate| candidate.node()));
        let ended = found.is_some();
        scratch.near = near;
        ended
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
    Some(graph.pivots().nearest(simd, ground, point, node))
}

/// Scores rows canonically.
struct Rank<'a, I> {
    table: &'a Table,
    slots: I,
    query: &'a Query<'a>,
    top: TopK,
}

impl<I: Iterator<Item = u32>> Task for Rank<'_, I> {
    /// The best rows, and how many there were.
    type Output = (TopK, usize);

    #[inline(always)]
    fn run<S: Simd, M: Space>(self, _simd: S, space: M) -> (TopK, usize) {
        let Rank { table, slots, query, mut top } = self;
        let (mut reached, mut room) = (0, vec![0.0; if table.codec() == Codec::F32 { 0 } else { table.width() }]);
        for slot in slots {
            let score = space.score(query, table.values(slot as usize, &mut room));
            top.push(score, table.id(slot as usize));
            reached += 1;
        }
        (top, reached)
    }
}

/// Scores rows as their codes have them.
struct RankCodes<'a, I> {
    table: &'a Table,
    cells: &'a Cells,
    slots: I,
    query: &'a CellQuery,
    top: TopK,
}

impl<I: Iterator<Item = u32>> Operation for RankCodes<'_, I> {
    /// The best rows, and how many there were.
    type Output = (TopK, usize);

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> (TopK, usize) {
        let RankCodes { table, cells, slots, query, mut top } = self;
        let mut reached = 0;
        for slot in slots {
            top.push(query.score(cells.lean_cell(slot as usize)), table.id(slot as usize));
            reached += 1;
        }
        (top, reached)
    }
}
