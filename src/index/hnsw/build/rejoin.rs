//! Rows that a walk no longer finds, and a way back to them.
//!
//! A row is linked where a walk for it has ended, so at first it is found. Later its neighbours drop it for others that seem to lead there; and where
//! all that leads to a small cluster is dropped like that, no list that takes part in it could tell. A search can. So whenever rows have been linked,
//! walks look for rows: after many, or once lists were repaired, for all that there are, after a few for some, and all have their turns. One that
//! is not found is linked from the nearest node that is, which becomes its anchor (see [`lists`](super::lists)), so that the link is not dropped either.
//!
//! Which rows are looked for depends on how many were linked, not on time or threads: the graph is still that of the sequence of calls.

use super::batch::Batch;
use super::lists::List;
use super::{Linker, write_lists};
use crate::error::Result;
use crate::index::hnsw::graph::Graph;
use crate::index::hnsw::ground::{Ground, GroundTask, stand};
use crate::index::hnsw::start::start;
use crate::index::hnsw::walk::{Scratch, Scratches};
use crate::index::hnsw::{DEFAULT_EF, HnswParameters, State};
use crate::runtime::{Call, Writer, map};
use crate::simd::Simd;

/// All rows are looked for if one in so many was linked, else so many for each.
const PART: usize = 12;
const PER_ROW: usize = 8;

/// The beams of the walks after a row. Nearly all are found with the first. What the second misses is lost: half as wide as that of a search
/// that names none, so that what is found by chance only does not count.
const BEAMS: [usize; 2] = [16, DEFAULT_EF / 2];

/// Rows that are looked for under one guard, and by one task.
const ROWS: usize = 4096;
const ROWS_PER_TASK: usize = 32;

/// How many ways back are tried. The first mostly leads there.
const TRIES: usize = 4;

/// Rows that were linked, and others that are to be found as before.
pub(super) struct Rejoin<'a> {
    pub(super) writer: &'a Writer<'a, State>,
    pub(super) parameters: &'a HnswParameters,
    /// The slots that were linked, and those among them that had other rows before.
    pub(super) linked: &'a [u32],
    pub(super) reused: &'a [u32],
    /// Whether any may have been lost, not only through what was linked.
    pub(super) repaired: bool,
    pub(super) scratches: &'a Scratches,
}

impl Rejoin<'_> {
    /// Looks for rows, and leads back to those that are lost.
    pub(super) fn run(&self, call: &Call<'_>) -> Result<()> {
        for nodes in self.wanted().chunks(ROWS) {
            let mut lost = nodes.to_vec();
            for beam in BEAMS {
                lost = self.missed(&lost, beam, call)?;
            }
            for node in lost {
                call.check()?;
                self.lead_back(node);
            }
        }
        Ok(())
    }

    /// Does something with the graph as it is.
    fn with<R>(&self, work: impl FnOnce(&Linker<'_>) -> R) -> R {
        let state = self.writer.read();
        work(&Linker::over(&state, self.parameters, self.reused, &Batch::default(), self.scratches))
    }

    /// The nodes that are looked for: all, or those whose turn it is.
    fn wanted(&self) -> Vec<u32> {
        self.with(|linker| {
            let (nodes, linked) = (linker.graph.linked(), self.linked.len());
            let looks_for_all = self.repaired || linked * PART >= nodes;
            let wanted = linker.graph.next_sought(if looks_for_all { nodes } else { linked * PER_ROW });
            wanted.filter(|&node| linker.is_wanted(node)).collect()
        })
    }

    /// Those of some nodes that walks with a beam of this width miss.
    fn missed(&self, nodes: &[u32], beam: usize, call: &Call<'_>) -> Result<Vec<u32>> {
        self.with(|linker| {
            let missed = map(call, nodes.len().div_ceil(ROWS_PER_TASK), |task| {
                let nodes = &nodes[task * ROWS_PER_TASK..nodes.len().min((task + 1) * ROWS_PER_TASK)];
                nodes.iter().copied().filter(|&node| linker.instead_of(node, beam).is_some()).collect::<Vec<u32>>()
            })?;
            Ok(missed.into_iter().flatten().collect())
        })
    }

    /// Links a node from what a walk after it finds, until that is the node itself.
    fn lead_back(&self, node: u32) {
        for _ in 0..TRIES {
            let way = self.with(|linker| {
                let found = linker.instead_of(node, BEAMS[1])?;
                found.into_iter().find(|&from| linker.may_lead_to(from, node))
            });
            let Some(from) = way else { return };
            // The anchor first: the other list is pruned with that in mind.
            for (node, to, is_anchor) in [(node, from, true), (from, node, false)] {
                let list = self.with(|linker| stand(linker.table, linker.graph, Link { linker, node, to, is_anchor }));
                write_lists(self.writer, &[list]);
            }
        }
    }
}

impl Linker<'_> {
    /// Whether anybody may ask for a row of this node. One without links hangs on another, or is alone.
    fn is_wanted(&self, node: u32) -> bool {
        self.graph.first_link(node).is_some() && self.graph.sharing(node).any(|slot| !self.is_deleted(slot))
    }

    /// The nodes that a walk after another finds, the nearest first, if it misses that one.
    fn instead_of(&self, node: u32, beam: usize) -> Option<Vec<u32>> {
        self.scratches.lend(|scratch| stand(self.table, self.graph, LookFor { graph: self.graph, node, beam, scratch }))
    }

    /// Whether a node may lead to another that is lost: it does not yet, and there is room in its list, of which half may depend on it.
    fn may_lead_to(&self, from: u32, node: u32) -> bool {
        let links = self.graph.neighbours(0, from);
        let depending = links.iter().filter(|&&link| self.graph.first_link(link) == Some(from)).count();
        from != node && !links.contains(&node) && depending < self.degree(0) / 2
    }
}

/// The task of looking for a node; what is found instead, if that is missed.
struct LookFor<'a> {
    graph: &'a Graph,
    node: u32,
    beam: usize,
    scratch: &'a mut Scratch,
}

impl GroundTask for LookFor<'_> {
    type Output = Option<Vec<u32>>;

    #[inline(always)]
    fn run<S: Simd, G: Ground>(self, simd: S, ground: G) -> Option<Vec<u32>> {
        let LookFor { graph, node, beam, scratch } = self;
        let (slot, point) = (node as usize, ground.at(node as usize));
        ground.prepare_row(slot, &mut scratch.query);
        let start = start(simd, ground, graph, (point, &scratch.query));
        let found = ground.search_base(simd, slot, start.as_slice(), beam, scratch).candidates();
        // Among enough others that are as near it need not be.
        let itself = ground.distance(simd, point, slot);
        let is_missed = found.last().is_some_and(|last| itself < last.distance());
        (is_missed && found.iter().all(|near| near.node() != node))
            .then(|| found.iter().map(|near| near.node()).collect())
    }
}

/// The task of adding a link to the list of a node, first or last.
struct Link<'a> {
    linker: &'a Linker<'a>,
    node: u32,
    to: u32,
    is_anchor: bool,
}

impl GroundTask for Link<'_> {
    type Output = List;

    #[inline(always)]
    fn run<S: Simd, G: Ground>(self, simd: S, ground: G) -> List {
        let Link { linker, node, to, is_anchor } = self;
        let mut links = linker.graph.neighbours(0, node);
        links.retain(|&link| link != to);
        links.insert(if is_anchor { 0 } else { links.len() }, to);
        if links.len() > linker.degree(0) {
            links = linker.prune(simd, ground, (0, node), &links);
        }
        linker.list(simd, (0, node), links)
    }
}
