//! What a graph stands on: how far it is from here to there, and what a walk through the base layer reads.
//!
//! There are three grounds. [`Rows`] measures between rows as they are kept, under any metric. [`Linked`] has a [`Cell`](crate::vectors::Cells)
//! for every node, which says of all that the node links to how far it about is: far fewer reads, for metrics
//! that follow from inner products. [`Lean`] has cells that say only what they are themselves: far less memory. Everything else (layers, batches,
//! pruning, search) is written over all of them.

mod filtered;
mod lean;
mod linked;
mod rows;

pub(super) use filtered::Stretch;
use lean::Lean;
use linked::Linked;
use rows::Rows;

use super::HnswParameters;
use super::graph::{Graph, Layer};
use super::walk::{Admission, Beam, Candidate, Everything, Scratch};
use crate::index::table::Table;
use crate::simd::{self, Operation, Simd};
use crate::vectors::{CellQuery, Query, Space, Task};

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

    /// About that distance, as a walk measures it on its way.
    #[inline(always)]
    fn glance<S: Simd>(self, simd: S, from: Self::Point<'_>, slot: usize) -> f32 {
        self.distance(simd, from, slot)
    }

    /// By how much such a distance may be off: hardly ever more.
    fn blur(self, from: Self::Point<'_>, slot: usize) -> f32;

    /// Asks the memory system for what [`distance`](Ground::distance) will read.
    fn prefetch(self, slot: usize);

    /// Asks for what [`glance`](Ground::glance) will read.
    #[inline(always)]
    fn prefetch_glance(self, slot: usize) {
        self.prefetch(slot);
    }

    /// How many nodes the base layer has.
    fn nodes(self) -> usize;

    /// The distances from a point to the rows in some slots.
    #[inline(always)]
    fn distances<S: Simd, const N: usize>(self, simd: S, from: Self::Point<'_>, slots: [u32; N]) -> [f32; N] {
        let mut distances = [0.0; N];
        for (distance, slot) in distances.iter_mut().zip(slots) {
            *distance = self.distance(simd, from, slot as usize);
        }
        distances
    }

    /// The distances to some of the rows that lie side by side. Who has none is not asked.
    #[inline(always)]
    fn distances_to<S: Simd, const N: usize>(
        self,
        simd: S,
        from: Self::Point<'_>,
        rows: &[u8],
        which: [usize; N],
    ) -> [f32; N] {
        let _ = (simd, from, rows, which);
        unreachable!("only the rows of cells lie side by side")
    }

    /// The places for links of a base node, where a walk follows these one by one.
    fn list<'g>(self, node: u32) -> &'g [u32]
    where
        Self: 'g;

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

    /// Whether a walk through the base layer begins a step before it has measured what the last one led to.
    fn overlaps(self) -> bool {
        false
    }

    /// Whether a link of length `distance` is spared by another whose end is `between` away from its own.
    fn spares(self, between: f32, distance: f32) -> bool;

    /// Makes of a query what walks compare with.
    fn prepare(self, query: &Query<'_>, memory: &mut CellQuery);

    /// As [`prepare`](Ground::prepare), of the row in a slot.
    fn prepare_row(self, slot: usize, memory: &mut CellQuery);

    /// A query as one side of a distance, `memory` being what [`prepare`](Ground::prepare) made of it.
    fn point<'p>(self, query: &Query<'p>, memory: &'p CellQuery) -> Self::Point<'p>
    where
        Self: 'p;

    /// Asks for what a first [`step`](Ground::step) from this node will read, if steps are what a walk is made of.
    #[inline(always)]
    fn prefetch_step(self, node: u32) {
        let _ = node;
    }

    /// Begins a walk through the base layer with a query that is prepared in `scratch`; or goes all the way, where it would not wait.
    fn begin<S: Simd, A: Admission>(
        self,
        simd: S,
        query: &Query<'_>,
        start: Option<u32>,
        reach: &Reach<'_, A>,
        scratch: &mut Scratch,
    );

    /// Goes a step on.
    #[inline(always)]
    fn step<S: Simd, A: Admission>(self, simd: S, reach: &Reach<'_, A>, scratch: &mut Scratch) -> Step {
        let _ = (simd, reach, scratch);
        Step::Ends
    }

    /// The nearest that are admitted of what a walk that has ended came to. `None` if it took too many steps, or hardly anything that is admitted
    /// lay on the way: what is, may lie elsewhere.
    fn found<'s, S: Simd, A: Admission>(
        self,
        simd: S,
        reach: &Reach<'_, A>,
        scratch: &'s mut Scratch,
    ) -> Option<&'s [Candidate]>;

    /// Walks the base layer in search of neighbours for the row in `slot`, which is prepared in `scratch`; they are left in the beam that is returned.
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

/// What a step of a walk has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It goes on.
    Goes,
    /// It ends with what is on its way from memory, unless that leads to more.
    Nears,
    /// It has ended.
    Ends,
}

/// How far a search goes, and what it may bring home.
pub(crate) struct Reach<'a, A> {
    /// How many of the nearest that are admitted it is after.
    pub(crate) width: usize,
    /// How many of all nodes are about as near.
    pub(crate) beam: usize,
    /// How many of the nearest are kept.
    pub(crate) kept: usize,
    /// Whether what may be returned was chosen, so that it may lie anywhere.
    pub(crate) chosen: bool,
    /// The steps after which it would be quicker to look at all that may be returned, as far as steps are counted.
    pub(crate) budget: usize,
    /// A node that it must not come to.
    pub(crate) hidden: Option<u32>,
    /// Among what.
    pub(crate) admission: &'a A,
}

impl Reach<'static, Everything> {
    /// The nearest `width` of all.
    pub(crate) fn of_all(width: usize) -> Reach<'static, Everything> {
        let (chosen, budget) = (false, usize::MAX);
        Reach { width, beam: width, kept: width, chosen, budget, hidden: None, admission: &Everything }
    }
}

/// Work in a graph, whatever that stands on.
pub(crate) trait GroundTask {
    /// What it computes.
    type Output;

    /// The work, on this ground.
    fn run<S: Simd, G: Ground>(self, simd: S, ground: G) -> Self::Output;
}

/// Compiles `task` for what the graph stands on, and for this processor, and runs it.
pub(crate) fn stand<T: GroundTask>(table: &Table, graph: &Graph, task: T) -> T::Output {
    match graph.cells() {
        Some(cells) if cells.frame().is_lean() => {
            simd::dispatch(OnCells { task, ground: Lean { cells, base: graph.base(), nodes: graph.linked() } })
        }
        Some(cells) => simd::dispatch(OnCells { task, ground: Linked::new(cells, graph.linked()) }),
        None => table.metric().run(OnRows { task, table, base: graph.base() }),
    }
}

struct OnCells<T, G> {
    task: T,
    ground: G,
}

impl<T: GroundTask, G: Ground> Operation for OnCells<T, G> {
    type Output = T::Output;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> T::Output {
        self.task.run(simd, self.ground)
    }
}

struct OnRows<'a, T> {
    task: T,
    table: &'a Table,
    base: &'a Layer,
}

impl<T: GroundTask> Task for OnRows<'_, T> {
    type Output = T::Output;

    #[inline(always)]
    fn run<S: Simd, M: Space>(self, simd: S, space: M) -> T::Output {
        self.task.run(simd, Rows { table: self.table, base: self.base, space })
    }
}
