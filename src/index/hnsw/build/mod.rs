//! Linking new rows into the graph, in parallel and yet always the same way.
//!
//! Rows are linked in batches. In a batch every row looks for its neighbours in the graph as it was before the batch, and among the
//! other rows of the batch directly; then every node that is to be linked back decides on its new list. Both steps only read, so any
//! number of threads may share them and none can see another's work. Last, the lists are written, in holds of a
//! fraction of a millisecond between which searches run; any prefix of these writes is a valid graph.
//!
//! Batches are counted in rows, so the graph depends on the sequence of calls alone. The construction is HNSW's (Malkov and
//! Yashunin, arXiv 1603.09320, algorithms 1 and 4); the batches are those of ParlayANN (arXiv 2305.04359), except that rows of
//! a batch see each other, so that a cluster that arrives at once is not cut in two.

mod batch;
mod lists;
mod propose;
mod rejoin;
mod repair;

pub(crate) use repair::repair;

use self::batch::Batch;
use self::lists::List;
use self::propose::Proposal;
use self::rejoin::Rejoin;
use super::graph::{Graph, NONE};
use super::ground::Ground;
use super::pivots::Pivots;
use super::settle::{encoded, settle_ground};
use super::walk::{Candidate, Scratches};
use super::{HnswParameters, State};
use crate::error::Result;
use crate::index::table::Table;
use crate::runtime::{Call, Writer, map};
use crate::simd::Simd;
use crate::vectors::Cells;

/// Rows a batch. They are compared with each other, which costs as much as a small part of a search.
const BATCH: usize = 256;
/// Rows that a task encodes.
const ROWS_PER_TASK: usize = 32;
/// How many candidates for links ahead their rows are asked for.
const SELECT_AHEAD: usize = 2;
/// Lists that are written under one guard.
const LISTS_PER_GUARD: usize = 128;

/// Rows that are to be linked.
#[derive(Clone, Copy)]
pub(crate) struct Linking<'a> {
    /// Slots of staged rows that had others before, and to which nothing leads.
    pub(crate) reused: &'a [u32],
    /// How many of those that have never been linked.
    pub(crate) most: usize,
    /// Rows a batch.
    pub(crate) batch: usize,
    /// Whether lists have been led round what is gone: any row may have been lost with that.
    pub(crate) repaired: bool,
}

impl Linking<'_> {
    /// All rows that have never been linked.
    pub(crate) const ALL: Linking<'static> = Linking { reused: &[], most: usize::MAX, batch: BATCH, repaired: false };
}

/// Links rows.
pub(crate) fn link(
    writer: &Writer<'_, State>,
    parameters: &HnswParameters,
    linking: Linking<'_>,
    call: &Call<'_>,
) -> Result<()> {
    let Linking { reused, most, batch, .. } = linking;
    // What the graph stands on costs a while to decide, and nothing depends on it yet.
    let has_work = most > 0 || !reused.is_empty();
    if !has_work || !settle_ground(writer, parameters)? {
        return Ok(());
    }
    let slots: Vec<u32> = {
        let State { table, graph, .. } = &*writer.read();
        reused.iter().copied().chain((graph.linked() as u32..table.slots() as u32).take(most)).collect()
    };
    let (scratches, mut done) = (Scratches::default(), 0);
    let mut rejoin = Rejoin::new(writer, parameters, (slots.len(), linking), &scratches);
    for batch in slots.chunks(batch) {
        add_cells(writer, batch, call)?;
        let plan = {
            let state = &*writer.read();
            let State { table, graph, .. } = state;
            let batch = Batch::new(table, graph, batch.to_vec());
            let mut linker = Linker::over(state, parameters, reused, &batch, &scratches);
            let own = linker.propose(call)?;
            linker.anchors = own.iter().map(Proposal::anchor).collect();
            let lists = linker.lists(&own, call)?;
            rejoin.note(&lists);
            let twins: Vec<Option<u32>> = own.into_iter().map(|proposal| proposal.twin).collect();
            let nodes = batch.slots.iter().zip(&twins).filter(|(_, twin)| twin.is_none());
            let nodes: Vec<u32> = nodes.map(|(&slot, _)| slot).collect();
            let pivots = graph.pivots().grown(table, graph, &nodes);
            Plan { slots: batch.slots, levels: batch.levels, twins, lists, pivots }
        };
        plan.apply(writer)?;
        call.progress(done, slots.len());
        done += batch.len();
    }
    rejoin.run(call)?;
    if done > 0 {
        call.progress(done, slots.len());
    }
    Ok(())
}

/// What is kept of the row in a slot, in bytes: its values, or both parts of its code.
fn kept_row<'a>(table: &'a Table, graph: &'a Graph, slot: usize) -> [&'a [u8]; 2] {
    match graph.cells() {
        Some(cells) if !table.has_rows() => cells.lean_cell(slot).row(),
        _ => [table.kept().row(slot), &[]],
    }
}

/// Makes the cells of some rows, without links, where there are cells: nobody leads there yet.
fn add_cells(writer: &Writer<'_, State>, slots: &[u32], call: &Call<'_>) -> Result<()> {
    let (codes, bytes) = {
        let State { table, graph, .. } = &*writer.read();
        // Where there are no rows, each slot has its cell already.
        let Some(cells) = graph.cells().filter(|_| table.has_rows()) else { return Ok(()) };
        let codes = map(call, slots.len().div_ceil(ROWS_PER_TASK), |task| {
            let slots = &slots[task * ROWS_PER_TASK..slots.len().min((task + 1) * ROWS_PER_TASK)];
            encoded(table, cells.frame(), slots.iter().map(|&slot| slot as usize))
        })?;
        (codes, cells.frame().row_bytes())
    };
    let mut state = writer.write();
    let linked = state.graph.linked();
    let Some(cells) = state.graph.cells_mut() else { return Ok(()) };
    // Rows that an earlier call did not come to link have left theirs.
    cells.truncate(linked);
    cells.try_reserve(slots.len())?;
    for (&slot, code) in slots.iter().zip(codes.iter().flat_map(|codes| codes.chunks_exact(bytes))) {
        if (slot as usize) < linked {
            cells.set_row(slot as usize, code);
        } else {
            cells.push(code);
        }
    }
    Ok(())
}

/// What a batch has decided on.
struct Plan {
    slots: Vec<u32>,
    levels: Vec<usize>,
    twins: Vec<Option<u32>>,
    lists: Vec<List>,
    pivots: Pivots,
}

/// Looks, and decides; changes nothing.
struct Linker<'a> {
    table: &'a Table,
    graph: &'a Graph,
    parameters: &'a HnswParameters,
    /// The slots among those of this call that had other rows before.
    reused: &'a [u32],
    batch: &'a Batch,
    /// The anchors of the rows of the batch, once these are known.
    anchors: Vec<Option<u32>>,
    scratches: &'a Scratches,
}

impl<'a> Linker<'a> {
    /// Over a state, for a batch whose anchors are not known yet.
    fn over(
        State { table, graph, .. }: &'a State,
        parameters: &'a HnswParameters,
        reused: &'a [u32],
        batch: &'a Batch,
        scratches: &'a Scratches,
    ) -> Linker<'a> {
        Linker { table, graph, parameters, reused, batch, anchors: Vec::new(), scratches }
    }
}

impl Linker<'_> {
    /// The slot of a node, old or new.
    fn slot(&self, level: usize, node: u32) -> usize {
        if level == 0 {
            return node as usize;
        }
        match self.batch.member(level, node) {
            Some(member) => self.batch.slot(member),
            None => self.graph.layers()[level].slot(node) as usize,
        }
    }

    /// Whether the row in a slot is a deleted one, not one that is only not visible yet.
    fn is_deleted(&self, slot: u32) -> bool {
        let is_new = self.table.is_unseen(slot) || self.reused.binary_search(&slot).is_ok();
        !self.table.is_live(slot as usize) && !is_new
    }

    /// The cells, if the nodes of a layer have codes beside their links.
    fn cells(&self, level: usize) -> Option<&Cells> {
        self.graph.cells().filter(|cells| level == 0 && !cells.frame().is_lean())
    }

    /// What is kept of the row in a slot, in bytes.
    fn row(&self, slot: usize) -> [&[u8]; 2] {
        kept_row(self.table, self.graph, slot)
    }

    fn degree(&self, level: usize) -> usize {
        if level == 0 { self.parameters.base_links() } else { self.parameters.m }
    }

    /// Where the list of a base node begins: see [`lists`].
    fn anchor(&self, node: u32) -> Option<u32> {
        match self.batch.member(0, node) {
            Some(member) => self.anchors.get(member).copied().flatten(),
            None => self.graph.first_link(node),
        }
    }

    /// `taken`, and of `sorted` the nearest that no nearer one spares, at most `most` in all: near, and spread in all directions
    /// (arXiv 1603.09320, algorithm 4). If that leaves fewer than `least`, the nearest of the others too.
    #[inline(always)]
    fn select<S: Simd, G: Ground>(
        &self,
        simd: S,
        ground: G,
        level: usize,
        (mut taken, sorted): (Vec<Candidate>, &[Candidate]),
        (most, least): (usize, usize),
    ) -> Vec<Candidate> {
        let mut slots = Vec::with_capacity(most.max(taken.len()));
        slots.extend(taken.iter().map(|other| self.slot(level, other.node())));
        taken.reserve(most.saturating_sub(taken.len()));
        let mut spared = Vec::with_capacity(least);
        for (at, &candidate) in sorted.iter().enumerate() {
            if taken.len() >= most {
                break;
            }
            if let Some(next) = sorted.get(at + SELECT_AHEAD) {
                ground.prefetch(self.slot(level, next.node()));
            }
            let slot = self.slot(level, candidate.node());
            let point = ground.at(slot);
            let mut by = 0;
            while by < slots.len() && !ground.spares(ground.distance(simd, point, slots[by]), candidate.distance()) {
                by += 1;
            }
            if by == slots.len() {
                taken.push(candidate);
                slots.push(slot);
                continue;
            }
            // What has spared one is likely to spare another, and is asked earlier.
            slots.swap(by, by / 2);
            if spared.len() < least {
                spared.push(candidate);
            }
        }
        let room = least.saturating_sub(taken.len());
        taken.extend(spared.into_iter().take(room));
        taken
    }
}

impl Plan {
    /// Writes it all.
    fn apply(self, writer: &Writer<'_, State>) -> Result<()> {
        // One hold for all, if that is short: each waits for the searches that run, and others wait for it.
        let mut state = writer.write();
        self.add_nodes(&mut state.graph)?;
        for (i, lists) in self.lists.chunks(LISTS_PER_GUARD).enumerate() {
            if i > 0 {
                drop(state);
                state = writer.write();
            }
            set_lists(&mut state.graph, lists);
        }
        state.graph.settle(self.pivots);
        Ok(())
    }

    fn add_nodes(&self, graph: &mut Graph) -> Result<()> {
        let mut top = graph.entry().map(|_| graph.layers().len() - 1);
        for ((&slot, &level), &twin) in self.slots.iter().zip(&self.levels).zip(&self.twins) {
            if (slot as usize) < graph.linked() {
                graph.reuse_node(slot, twin);
                continue;
            }
            let nodes = graph.push_node(slot, level, twin)?;
            if top.is_none_or(|top| level > top) {
                top = Some(level);
                graph.set_entry(nodes.last().copied().unwrap_or(NONE));
            }
        }
        Ok(())
    }
}

/// Writes new lists, in short holds between which searches run.
fn write_lists(writer: &Writer<'_, State>, lists: &[List]) {
    for lists in lists.chunks(LISTS_PER_GUARD) {
        set_lists(&mut writer.write().graph, lists);
    }
}

fn set_lists(graph: &mut Graph, lists: &[List]) {
    for List { level, node, links, change, .. } in lists {
        match change {
            Some(change) => graph.change_cell(*node, change),
            None => graph.set_links(*level, *node, links),
        }
    }
}
