//! Which way a search goes.
//!
//! A walk through the graph sees the nearest rows, whether they may be returned or not; the fewer may, the farther it has to go. A *gather*
//! looks at what cells say of all rows that may be returned, and at nothing else: where these are few, it is the shorter way. Where there are no
//! cells, a scan of the rows is. All ways end with canonical scores, and a walk that brings home too little is followed by one of the others, so
//! a search never returns fewer rows than there are.
//!
//! Rows that are not linked yet are looked at one by one.

use super::ground::Stretch;
use super::search::{GraphSearch, SPARE};
use super::state::State;
use super::walk::{Scratch, Scratches};
use crate::error::Result;
use crate::index::Search;
use crate::index::scan::Scan;
use crate::index::selection::Selection;
use crate::index::topk::TopK;
use crate::runtime::{Call, map};
use crate::vectors::{Cells, Query};

/// How many times wider the beam of a second walk is, if the first has not reached enough rows.
const SECOND_WALK: usize = 4;

/// Queries of a batch that one task answers, and how many tasks there are at least for each thread.
const WALKS_PER_TASK: usize = 16;
const TASKS_PER_THREAD: usize = 4;

/// What a row costs a gather, and a step a walk, beside the cache lines that they read: as many lines as could be read meanwhile.
/// From times measured with 128 and 384 dimensions: 21 to 30 ns a row, and half a microsecond a step or more, most of which goes into what it sees.
const GATHER_LINES: usize = 2;
const STEP_LINES: usize = 200;
/// The same among lean cells, where a walk is as much longer as fewer rows may be returned.
const LEAN_GATHER_LINES: usize = 3;
const LEAN_STEP_LINES: usize = 40;

/// Rows that a walk without cells looks at for each place of its beam.
const ROWS_PER_PLACE: usize = 40;

/// Rows of which a gather looks at the cells while a walk comes to one place of its beam: where there are no more, all are looked at.
const CELLS_PER_PLACE: usize = 12;
/// So few rows are always looked at: a walk would be shorter, but may miss what lies far from the first rows.
const FEW_CELLS: usize = 2560;

/// The ways of a search.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Scan,
    Gather,
    Walk,
}

/// A search in one state of an index.
pub(super) struct Answer<'a> {
    pub(super) state: &'a State,
    pub(super) search: &'a Search<'a>,
    pub(super) ef: usize,
    pub(super) scratches: &'a Scratches,
}

impl Answer<'_> {
    /// The best rows for each query.
    pub(super) fn run(&self, queries: &[Query<'_>], call: &Call<'_>) -> Result<Vec<TopK>> {
        let way = self.way();
        let mut found = match way {
            Way::Walk => self.walk(queries, call)?,
            Way::Gather | Way::Scan => vec![None; queries.len()],
        };
        let gathers = way != Way::Scan && self.state.graph.cells().is_some();
        let left: Vec<usize> = (0..queries.len()).filter(|&i| found[i].is_none()).collect();
        if let Some(trace) = self.search.trace {
            trace.walked(queries.len() - left.len());
            if gathers { trace.gathered(left.len()) } else { trace.scanned(left.len()) }
        }
        if !left.is_empty() {
            let asked: Vec<_> = left.iter().map(|&i| queries[i]).collect();
            let tops = if gathers { self.gather(&asked, call)? } else { self.scan(0, &asked, call)? };
            for (&i, top) in left.iter().zip(tops) {
                found[i] = Some(top);
            }
        }
        let mut found: Vec<TopK> = found.into_iter().flatten().collect();
        if gathers && !self.state.has_few_new() {
            for (top, newest) in found.iter_mut().zip(self.scan(self.state.graph.settled(), queries, call)?) {
                top.merge(newest);
            }
        }
        Ok(found)
    }

    /// How many rows may be returned.
    fn eligible(&self) -> usize {
        self.search.selection.map_or(self.state.table.live(), Selection::count)
    }

    /// The beam that reaches as many eligible rows as `ef` would reach if all were.
    fn beam(&self) -> usize {
        let (reachable, wanted) = (self.state.reachable(), self.ef.max(self.search.k));
        let beam = wanted.saturating_mul(reachable).div_ceil(self.eligible().max(1));
        beam.min(reachable).max(wanted)
    }

    /// The steps after which a walk is dearer than a gather.
    fn most_steps(&self) -> usize {
        let Some(cells) = self.state.graph.cells() else { return usize::MAX };
        let is_lean = cells.frame().is_lean();
        let (row, step) = if is_lean { (LEAN_GATHER_LINES, LEAN_STEP_LINES) } else { (GATHER_LINES, STEP_LINES) };
        self.eligible().saturating_mul(cells.frame().row_bytes() / 64 + row) / (cells.lines() + step)
    }

    /// The steps that a walk will take.
    fn steps(&self, cells: &Cells) -> usize {
        if cells.frame().is_lean() {
            return self.beam() + self.beam() / 2;
        }
        let rarer = self.state.reachable() as f32 / self.eligible().max(1) as f32;
        Stretch::new(self.search.k + SPARE, self.ef.max(self.search.k), rarer).steps
    }

    fn way(&self) -> Way {
        let cells = self.state.graph.cells();
        // Where rows are still to be given up for codes, they have not all got any.
        let is_coming = self.state.table.has_rows() && cells.is_some_and(|cells| cells.frame().is_lean());
        if self.search.exact || self.state.graph.settled() == 0 || is_coming {
            return Way::Scan;
        }
        let is_few = |rows: usize| self.eligible() <= self.beam().saturating_mul(rows);
        if let Some(cells) = cells {
            // Steps are dearer where not all rows may be returned: what a step sees is looked at as well.
            let is_gathered = match self.search.selection {
                None => self.eligible() <= FEW_CELLS || is_few(CELLS_PER_PLACE),
                Some(_) => self.most_steps() <= self.steps(cells),
            };
            return if is_gathered { Way::Gather } else { Way::Walk };
        }
        if is_few(ROWS_PER_PLACE) || self.state.pending() > 0 { Way::Scan } else { Way::Walk }
    }

    /// Queries through the graph; `None` for each that did not reach as many rows as there are, or was about to take longer than a gather.
    fn walk(&self, queries: &[Query<'_>], call: &Call<'_>) -> Result<Vec<Option<TopK>>> {
        // Codes are scored with what has been made of the query, which the next one changes.
        let most = if self.state.codes().is_some() { 1 } else { WALKS_PER_TASK };
        let together = (queries.len() / (TASKS_PER_THREAD * call.threads())).clamp(1, most);
        if together == 1 {
            return map(call, queries.len(), |i| self.scratches.lend(|scratch| self.walk_one(&queries[i], scratch)));
        }
        let tasks: Vec<_> = queries.chunks(together).collect();
        let found = map(call, tasks.len(), |i| self.scratches.lend(|scratch| self.walk_in_turn(tasks[i], scratch)))?;
        Ok(found.into_iter().flatten().collect())
    }

    /// One query after the other. What a walk has found is scored after the next one, when it has come from memory.
    fn walk_in_turn(&self, queries: &[Query<'_>], scratch: &mut Scratch) -> Vec<Option<TopK>> {
        let (ef, beam, budget) = self.reach();
        let (mut found, mut enough) = (Vec::with_capacity(queries.len()), false);
        for i in 0..=queries.len() {
            // The values of the one that comes next.
            queries.get(i + 1).into_iter().for_each(Query::prefetch);
            let had_enough = enough;
            enough = queries.get(i).is_some_and(|query| self.search_of(query).go(ef, beam, budget, scratch));
            std::mem::swap(&mut scratch.near, &mut scratch.before);
            if let Some(query) = i.checked_sub(1).map(|before| &queries[before]) {
                let best = had_enough.then(|| self.search_of(query).best(&scratch.near, &scratch.query));
                found.push(best.and_then(|best| self.suffices(best).or_else(|| self.walk_again(query, scratch))));
            }
        }
        found
    }

    /// One query.
    fn walk_one(&self, query: &Query<'_>, scratch: &mut Scratch) -> Option<TopK> {
        let (ef, beam, budget) = self.reach();
        let best = self.search_of(query).walk(ef, beam, budget, scratch)?;
        self.suffices(best).or_else(|| self.walk_again(query, scratch))
    }

    /// A query whose walk ended with too few rows: several links may bring one node into a beam.
    fn walk_again(&self, query: &Query<'_>, scratch: &mut Scratch) -> Option<TopK> {
        let (ef, beam, budget) = self.reach();
        let wider = |width: usize| width.saturating_mul(SECOND_WALK);
        self.suffices(self.search_of(query).walk(wider(ef), wider(beam), budget, scratch)?)
    }

    /// What a walk is after, how many of all nodes are as near, and the steps that it may take.
    fn reach(&self) -> (usize, usize, usize) {
        (self.ef.max(self.search.k), self.beam(), self.most_steps())
    }

    /// The best rows, if as many were reached as there should be.
    fn suffices(&self, (top, reached): (TopK, usize)) -> Option<TopK> {
        (reached >= self.search.k.min(self.eligible())).then_some(top)
    }

    /// One query, on its own.
    fn search_of<'q>(&'q self, query: &'q Query<'q>) -> GraphSearch<'q> {
        GraphSearch { state: self.state, search: self.search, query, hidden: None }
    }

    /// What cells say of every linked row that may be returned decides which are scored.
    fn gather(&self, queries: &[Query<'_>], call: &Call<'_>) -> Result<Vec<TopK>> {
        let settled = self.state.graph.settled();
        let mut found = Vec::new();
        // What is selected is visible: a selection is of this state.
        let slots = self.search.selection.and_then(Selection::slots).unwrap_or_else(|| {
            Scan::new(&self.state.table, self.search).candidates(0..settled, &mut found);
            &found
        });
        let slots = &slots[..slots.partition_point(|&slot| (slot as usize) < settled)];
        map(call, queries.len(), |i| {
            let one = self.search_of(&queries[i]);
            self.scratches.lend(|scratch| one.gather(slots, scratch))
        })
    }

    /// Every row that may be returned, from a slot on, is looked at.
    pub(super) fn scan(&self, from: usize, queries: &[Query<'_>], call: &Call<'_>) -> Result<Vec<TopK>> {
        let scan = Scan { from, ..Scan::new(&self.state.table, self.search) };
        if self.state.codes().is_none() {
            return scan.run(queries, call);
        }
        let mut slots = Vec::new();
        scan.candidates(0..self.state.table.slots(), &mut slots);
        map(call, queries.len(), |i| {
            let one = self.search_of(&queries[i]);
            self.scratches.lend(|scratch| one.look_at_all(&slots, scratch))
        })
    }
}
