//! Rows that a walk no longer finds, and a way back to them.
//!
//! A row is linked where a walk for it has ended, so at first it is found. Later its neighbours drop it for others that seem to lead there; and where
//! all that leads to a small cluster is dropped like that, no list that takes part in it could tell. A search can. So whenever rows have been linked,
//! walks look for rows: after many, or once lists were repaired, for all that there are; after a few for some, and all have their turns, and for
//! those that lists have just dropped, if only few of their own links lead back to them. One that is not found is linked from the nearest node that is, which
//! becomes its anchor (see [`lists`](super::lists)), so that the link is not dropped either. And since what was missed once is easily missed again, walks
//! begin there from then on, if nothing is nearer (see [`pivots`](crate::index::hnsw::pivots)).
//!
//! Which rows are looked for depends on how many were linked, not on time or threads: the graph is still that of the sequence of calls.

use super::batch::Batch;
use super::lists::List;
use super::{Linker, Linking, write_lists};
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
const PER_ROW: usize = 4;

/// Few lead to a node if of the nodes that it links to fewer link back than one for so many places in a list.
const PLACES: usize = 3;

/// The beams of the walks after a row. Nearly all are found with the first. What the second misses is lost: half as wide as that of a search
/// that names none, so that what is found by chance only does not count.
const BEAMS: [usize; 2] = [16, DEFAULT_EF / 2];

/// Rows that are looked for under one guard, and by one task.
const ROWS: usize = 4096;
const ROWS_PER_TASK: usize = 32;

/// How many ways back are tried. The first mostly leads there.
const TRIES: usize = 4;

/// Rows that are linked, and others that are to be found as before.
pub(super) struct Rejoin<'a> {
    writer: &'a Writer<'a, State>,
    parameters: &'a HnswParameters,
    /// The slots among those linked that had other rows before.
    reused: &'a [u32],
    scratches: &'a Scratches,
    /// How many rows have their turn; all, if there is none.
    turns: Option<usize>,
    /// What lists have dropped, as far as that matters.
    dropped: Vec<u32>,
}

impl<'a> Rejoin<'a> {
    /// For so many rows that are going to be linked.
    pub(super) fn new(
        writer: &'a Writer<'a, State>,
        parameters: &'a HnswParameters,
        (count, linking): (usize, Linking<'a>),
        scratches: &'a Scratches,
    ) -> Rejoin<'a> {
        let Linking { reused, repaired, .. } = linking;
        let nodes = writer.read().graph.linked() + count - reused.len();
        let looks_for_all = repaired || count * PART >= nodes;
        let turns = (!looks_for_all).then_some(count * PER_ROW);
        Rejoin { writer, parameters, reused, scratches, turns, dropped: Vec::new() }
    }

    /// Takes notice of new lists.
    pub(super) fn note(&mut self, lists: &[List]) {
        if self.turns.is_some() {
            self.dropped.extend(lists.iter().flat_map(|list| &list.dropped));
        }
    }

    /// Looks for rows, and leads back to those that are lost.
    pub(super) fn run(mut self, call: &Call<'_>) -> Result<()> {
        self.dropped.sort_unstable();
        self.dropped.dedup();
        for nodes in self.wanted(call)?.chunks(ROWS) {
            let mut lost = nodes.to_vec();
            for beam in BEAMS {
                lost = self.only(&lost, call, |linker, node| linker.instead_of(node, beam).is_some())?;
            }
            let mut missed = Vec::with_capacity(lost.len());
            for node in lost {
                call.check()?;
                if self.lead_back(node) {
                    missed.push(node);
                }
            }
            if !missed.is_empty() {
                self.writer.write().graph.remember_missed(&missed);
            }
        }
        Ok(())
    }

    /// Does something with the graph as it is.
    fn with<R>(&self, work: impl FnOnce(&Linker<'_>) -> R) -> R {
        let state = self.writer.read();
        work(&Linker::over(&state, self.parameters, self.reused, &Batch::default(), self.scratches))
    }

    /// The nodes that are looked for: all; or those whose turn it is, and those of the dropped to which few lead.
    fn wanted(&self, call: &Call<'_>) -> Result<Vec<u32>> {
        let mut wanted: Vec<u32> = self.with(|linker| {
            let graph = linker.graph;
            graph.next_sought(self.turns.unwrap_or(graph.linked())).collect()
        });
        wanted.extend(self.only(&self.dropped, call, |linker, node| linker.few_lead_to(node))?);
        self.only(&wanted, call, |linker, node| linker.is_wanted(node))
    }

    /// Those of some nodes of which something holds.
    fn only(
        &self,
        nodes: &[u32],
        call: &Call<'_>,
        holds: impl Fn(&Linker<'_>, u32) -> bool + Sync,
    ) -> Result<Vec<u32>> {
        self.with(|linker| {
            let those = map(call, nodes.len().div_ceil(ROWS_PER_TASK), |task| {
                let nodes = &nodes[task * ROWS_PER_TASK..nodes.len().min((task + 1) * ROWS_PER_TASK)];
                nodes.iter().copied().filter(|&node| holds(linker, node)).collect::<Vec<u32>>()
            })?;
            Ok(those.into_iter().flatten().collect())
        })
    }

    /// Links a node from what a walk after it finds, until that is the node itself or none may lead there. Whether a walk has missed it.
    fn lead_back(&self, node: u32) -> bool {
        for tried in 0..TRIES {
            let found_instead = self.with(|linker| {
                let found = linker.instead_of(node, BEAMS[1])?;
                Some(found.into_iter().find(|&from| linker.may_lead_to(from, node)))
            });
            let Some(way) = found_instead else { return tried > 0 };
            let Some(from) = way else { return true };
            // The anchor first: the other list is pruned with that in mind.
            for (node, to, is_anchor) in [(node, from, true), (from, node, false)] {
                let list = self.with(|linker| stand(linker.table, linker.graph, Link { linker, node, to, is_anchor }));
                write_lists(self.writer, &[list]);
            }
        }
        true
    }
}

impl Linker<'_> {
    /// Whether anybody may ask for a row of this node. One without links hangs on another, or is alone.
    fn is_wanted(&self, node: u32) -> bool {
        self.graph.first_link(node).is_some() && self.graph.sharing(node).any(|slot| !self.is_deleted(slot))
    }

    /// Whether few of the nodes that this one links to link back. What is dropped by chance has others; who leads here without that is not known.
    fn few_lead_to(&self, node: u32) -> bool {
        let near = self.graph.neighbours(0, node);
        near.iter().for_each(|&from| self.graph.prefetch_links(from, usize::MAX));
        let enough = self.degree(0).div_ceil(PLACES);
        near.iter().filter(|&&from| self.graph.leads_to(from, node)).take(enough).count() < enough
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
