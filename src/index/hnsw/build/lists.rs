//! What the nodes that a batch links to make of it: their new lists.
//!
//! A list that has become too long is pruned, and each node drops what it thinks others lead to. If all think so of the same node,
//! nobody near it leads there. So the first link of each node of the base layer is to its *anchor*: the nearest that links back,
//! and that never drops it. Then whoever comes near finds it. None moves to one that hangs on
//! the node itself: both would hang on nothing else.

use super::Linker;
use super::propose::Proposal;
use crate::error::Result;
use crate::index::hnsw::graph::CellChange;
use crate::index::hnsw::ground::{Ground, GroundTask, stand};
use crate::index::hnsw::walk::Candidate;
use crate::runtime::{Call, map};
use crate::simd::Simd;
use crate::vectors::Cells;

/// Lists that a task decides on.
const LISTS_PER_TASK: usize = 32;

/// The new list of a node.
pub(super) struct List {
    pub(super) level: usize,
    pub(super) node: u32,
    pub(super) links: Vec<u32>,
    /// The base nodes to which it does not lead any more, or does not although they wished so.
    pub(super) dropped: Vec<u32>,
    /// The same as changes of a cell, where the node has one.
    pub(super) change: Option<CellChange>,
}

impl Linker<'_> {
    /// The new lists of all nodes that get one: those of the batch, and those that are linked back.
    pub(super) fn lists(&self, proposals: &[Proposal], call: &Call<'_>) -> Result<Vec<List>> {
        let mut wishes = self.wishes(proposals);
        wishes.sort_unstable();
        let groups: Vec<&[Wish]> = wishes.chunk_by(|a, b| (a.level, a.target) == (b.level, b.target)).collect();
        let lists = map(call, groups.len().div_ceil(LISTS_PER_TASK), |task| {
            let groups = &groups[task * LISTS_PER_TASK..((task + 1) * LISTS_PER_TASK).min(groups.len())];
            let task = LinkBack { linker: self, groups, proposals };
            stand(self.table, self.graph, task)
        })?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// A wish for every link to be returned, and for every new node one that it has of itself: a list.
    fn wishes(&self, proposals: &[Proposal]) -> Vec<Wish> {
        let mut wishes = Vec::new();
        for (level, members) in self.batch.members.iter().enumerate() {
            for (i, &member) in members.iter().enumerate() {
                let source = self.batch.node(level, i);
                wishes.push(Wish { level, target: source, source: Candidate::new(0.0, source) });
                let links = proposals[member].links[level].iter();
                wishes.extend(links.map(|link| Wish {
                    level,
                    target: link.node(),
                    source: Candidate::new(link.distance(), source),
                }));
            }
        }
        wishes
    }
}

/// `target` is wanted by `source`, which is that far away.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Wish {
    level: usize,
    target: u32,
    source: Candidate,
}

/// The task of deciding on the new lists of some nodes.
struct LinkBack<'a> {
    linker: &'a Linker<'a>,
    groups: &'a [&'a [Wish]],
    proposals: &'a [Proposal],
}

impl GroundTask for LinkBack<'_> {
    type Output = Vec<List>;

    #[inline(always)]
    fn run<S: Simd, G: Ground>(self, simd: S, ground: G) -> Vec<List> {
        let mut lists = Vec::with_capacity(self.groups.len());
        for (at, wishes) in self.groups.iter().enumerate() {
            if let Some(next) = self.groups.get(at + 1) {
                self.ask_for(ground, next[0].level, next[0].target);
            }
            let (level, node) = (wishes[0].level, wishes[0].target);
            let mut links = self.present(level, node);
            let present = links.len();
            if let Some(&first) = links.first() {
                ground.prefetch(self.linker.slot(level, first));
            }
            for wish in *wishes {
                let source = wish.source.node();
                if source != node && !links[..present].contains(&source) {
                    links.push(source);
                }
            }
            if level == 0 {
                self.move_anchor(simd, ground, node, wishes, &mut links);
            }
            let mut dropped = Vec::new();
            if links.len() > self.linker.degree(level) {
                let stay = self.linker.prune(simd, ground, (level, node), &links);
                dropped.extend(links.into_iter().filter(|link| level == 0 && !stay.contains(link)));
                links = stay;
            }
            lists.push(List { dropped, ..self.linker.list(simd, (level, node), links) });
        }
        lists
    }
}

impl LinkBack<'_> {
    /// Puts the nearest of those that link to a node first in its list, if it is nearer than the one before. Not one whose own anchor is the
    /// node: if two hold on to each other alone, all others may drop both.
    #[inline(always)]
    fn move_anchor<S: Simd, G: Ground>(&self, simd: S, ground: G, node: u32, wishes: &[Wish], links: &mut [u32]) {
        let leads_here = |source: &Candidate| source.node() != node && self.linker.anchor(source.node()) != Some(node);
        let Some(nearest) = wishes.iter().map(|wish| wish.source).find(leads_here) else { return };
        let Some(&anchor) = links.first() else { return };
        if nearest.distance() < ground.distance(simd, ground.at(node as usize), anchor as usize)
            && let Some(at) = links.iter().position(|&link| link == nearest.node())
        {
            links.swap(0, at);
        }
    }

    /// Asks for what a new list of a node will be made of.
    #[inline(always)]
    fn ask_for<G: Ground>(&self, ground: G, level: usize, node: u32) {
        ground.prefetch(self.linker.slot(level, node));
        if level == 0 {
            self.linker.graph.prefetch_links(node, usize::MAX);
        }
    }

    /// The links that a node has now, or, if it is new, wants.
    fn present(&self, level: usize, node: u32) -> Vec<u32> {
        match self.linker.batch.member(level, node) {
            Some(member) => self.proposals[member].links[level].iter().map(|link| link.node()).collect(),
            None => self.linker.graph.neighbours(level, node),
        }
    }
}

impl Linker<'_> {
    /// The links of a node that stay, of too many.
    #[inline(always)]
    pub(super) fn prune<S: Simd, G: Ground>(
        &self,
        simd: S,
        ground: G,
        (level, node): (usize, u32),
        links: &[u32],
    ) -> Vec<u32> {
        let point = ground.at(self.slot(level, node));
        for &link in links {
            ground.prefetch(self.slot(level, link));
            if level == 0 {
                self.graph.prefetch_links(link, 1);
            }
        }
        let mut sorted = Vec::with_capacity(links.len());
        for &link in links {
            sorted.push(Candidate::new(ground.distance(simd, point, self.slot(level, link)), link));
        }
        sorted.sort_unstable();
        let (most, least) = if level == 0 { ground.kept_links(self.parameters) } else { (self.parameters.m, 0) };
        let (mut stay, others) = match level {
            0 => self.anchored(simd, ground, (node, links[0]), sorted),
            _ => (Vec::new(), sorted),
        };
        stay.truncate(self.degree(level));
        let taken = self.select(simd, ground, level, (stay, &others), (most, least));
        taken.into_iter().map(Candidate::node).collect()
    }

    /// Divides what a base node links to: its anchor and those whose anchor it is, or, if it is new, may become, and the others.
    #[inline(always)]
    fn anchored<S: Simd, G: Ground>(
        &self,
        simd: S,
        ground: G,
        (node, anchor): (u32, u32),
        sorted: Vec<Candidate>,
    ) -> (Vec<Candidate>, Vec<Candidate>) {
        let is_new = self.batch.member(0, node).is_some();
        let (mut stay, mut others) = (Vec::new(), Vec::with_capacity(sorted.len()));
        for link in sorted {
            let its = self.anchor(link.node());
            let nearer = |its: u32| {
                is_new && link.distance() < ground.distance(simd, ground.at(link.node() as usize), its as usize)
            };
            if link.node() == anchor {
                stay.insert(0, link);
            } else if its == Some(node) || its.is_some_and(nearer) {
                stay.push(link);
            } else {
                others.push(link);
            }
        }
        (stay, others)
    }

    /// The new list of a node, as it is to be written.
    #[inline(always)]
    pub(super) fn list<S: Simd>(&self, simd: S, (level, node): (usize, u32), links: Vec<u32>) -> List {
        let change = self.cells(level).map(|cells| cell_change(simd, cells, node as usize, &links));
        List { level, node, links, change, dropped: Vec::new() }
    }
}

/// What has to be written to a cell so that it has these links, the first of them first. Others that it has already stay where they are, as
/// far as there is a place.
#[inline(always)]
fn cell_change<S: Simd>(simd: S, cells: &Cells, slot: usize, links: &[u32]) -> CellChange {
    let (cell, bytes) = (cells.cell(slot), cells.frame().sign_bytes());
    let present: Vec<u32> = cell.links().take(links.len()).collect();
    let stays = |at: usize| match present.get(at) {
        Some(link) if at == 0 || links.first() == Some(link) => at == 0 && links.first() == Some(link),
        Some(link) => links.contains(link),
        None => false,
    };
    let staying: Vec<u32> = (0..present.len()).filter(|&at| stays(at)).map(|at| present[at]).collect();
    let count = links.len() - staying.len();
    let (numbers, signs) = (Vec::with_capacity(count), Vec::with_capacity(count * bytes));
    let mut change = CellChange { len: links.len(), links: numbers, signs };
    let missing = links.iter().copied().filter(|link| !staying.contains(link));
    for (at, to) in (0..links.len()).filter(|&at| !stays(at)).zip(missing) {
        let start = change.signs.len();
        change.signs.resize(start + bytes, 0);
        let factors = cell.encode_link(simd, cells.cell(to as usize), &mut change.signs[start..]);
        change.links.push((at, to, factors));
    }
    change
}
