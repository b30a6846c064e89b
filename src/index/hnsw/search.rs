//! One query through the graph.
//!
//! From the entry point down to the base layer the walk keeps a single node; in the base layer it keeps `ef`. The nearest of the
//! beam are then scored canonically, and that score alone decides what is returned and in which order. Rows that may not be
//! returned (deleted, or not selected) are walked over all the same: they lead to others.

use super::course::Course;
use super::gather::Gather;
use super::ground::{Ground, GroundTask, Reach, stand};
use super::state::State;
use super::walk::{Admission, Everything, Scratch};
use crate::index::Search;
use crate::index::score::Scorer;
use crate::index::selection::Selection;
use crate::index::table::Table;
use crate::index::topk::TopK;
use crate::simd::{self, Operation, Simd};
use crate::vectors::{CellQuery, Cells, Query, Space, Task};

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
        // What is selected is visible: a selection is of this state.
        self.selection.map_or_else(|| self.state.table.is_live(slot), |selection| selection.bits().get(slot))
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
        self.go(ef, beam, budget, scratch).then(|| self.best(&scratch.near, &scratch.query))
    }

    /// Goes that walk. The nodes that it leaves in `near` are on their way from memory: see [`best`](GraphSearch::best). Whether it found enough.
    pub(super) fn go(&self, ef: usize, beam: usize, budget: usize, scratch: &mut Scratch) -> bool {
        let (State { table, graph, .. }, hidden) = (self.state, self.hidden);
        let (kept, chosen) = (self.search.k + SPARE, self.search.selection.is_some());
        let eligible = self.eligible();
        if self.search.selection.is_some() || !table.all_live() {
            let reach = Reach { width: ef, beam, kept, chosen, budget, hidden, admission: &eligible };
            stand(table, graph, Course { search: self, reach, scratch })
        } else {
            let reach = Reach { width: ef, beam, kept, chosen, budget, hidden, admission: &Everything };
            stand(table, graph, Course { search: self, reach, scratch })
        }
    }

    /// The best rows of what a walk has brought home, and how many that may be returned there were. `prepared` is what the ground has made of the query.
    pub(super) fn best(&self, near: &[u32], prepared: &CellQuery) -> (TopK, usize) {
        let (graph, eligible) = (&self.state.graph, self.eligible());
        let sharing = near.iter().flat_map(|&node| graph.sharing(node));
        // Those that are being linked are looked at one by one.
        let may_be = |&slot: &u32| (slot as usize) < graph.settled() && eligible.has(slot as usize);
        self.rank(sharing.filter(may_be).chain(self.newest()), prepared)
    }

    /// Rows that are still to be linked and may be returned, where they are so few that they are scored with what a way brings home.
    fn newest(&self) -> impl Iterator<Item = u32> {
        let (eligible, hidden) = (self.eligible(), self.hidden);
        let slots = if self.state.has_few_new() { self.state.unsettled() } else { 0..0 };
        slots.filter(move |&slot| hidden != Some(slot) && eligible.has(slot as usize))
    }

    fn eligible(&self) -> Eligible<'_> {
        Eligible { state: self.state, selection: self.search.selection }
    }

    /// Asks for what scoring the rows of a node will read.
    pub(super) fn fetch(&self, node: u32) {
        self.prefetch(node);
        self.state.graph.prefetch_twins(node);
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
        let rows = self.held(slots);
        stand(table, graph, Gather { slots, rows, query: self.query, k: self.search.k, scratch });
        for &slot in &scratch.near {
            self.prefetch(slot);
        }
        self.rank(scratch.near.iter().copied().chain(self.newest()), &scratch.query).0
    }

    /// What cells say of the rows in these slots, if it lies side by side: the selection keeps it, if these are all of its slots.
    fn held(&self, slots: &[u32]) -> Option<&[u8]> {
        let cells = self.state.graph.cells().filter(|cells| !cells.frame().is_lean())?;
        let selection = self.search.selection.filter(|selection| selection.count() == slots.len())?;
        let read = || slots.iter().flat_map(|&slot| cells.cell(slot as usize).row()).copied().collect();
        selection.rows(cells.frame().row_bytes(), read)
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
        let reached = Scorer::new(table, space).score_all(query, slots, &mut top);
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
