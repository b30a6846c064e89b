//! What the nodes that a batch links to make of it: their new lists.

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
        for wishes in self.groups {
            let (level, node) = (wishes[0].level, wishes[0].target);
            let mut links = self.present(level, node);
            let present = links.len();
            for wish in *wishes {
                let source = wish.source.node();
                if source != node && !links[..present].contains(&source) {
                    links.push(source);
                }
            }
            if links.len() > self.linker.degree(level) {
                links = self.linker.prune(simd, ground, (level, node), &links);
            }
            lists.push(self.linker.list(simd, (level, node), links));
        }
        lists
    }
}

impl LinkBack<'_> {
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
        }
        let mut sorted = Vec::with_capacity(links.len());
        for &link in links {
            sorted.push(Candidate::new(ground.distance(simd, point, self.slot(level, link)), link));
        }
        sorted.sort_unstable();
        let limits = if level == 0 { ground.kept_links(self.parameters) } else { (self.parameters.m, 0) };
        let taken = self.select(simd, ground, level, &sorted, limits);
        taken.into_iter().map(Candidate::node).collect()
    }

    /// The new list of a node, as it is to be written.
    #[inline(always)]
    pub(super) fn list<S: Simd>(&self, simd: S, (level, node): (usize, u32), links: Vec<u32>) -> List {
        let change = self.cells(level).map(|cells| cell_change(simd, cells, node as usize, &links));
        List { level, node, links, change }
    }
}

/// What has to be written to a cell so that it has these links. Those that it has already stay where they are, as far as there is a place.
#[inline(always)]
fn cell_change<S: Simd>(simd: S, cells: &Cells, slot: usize, links: &[u32]) -> CellChange {
    let (cell, bytes) = (cells.cell(slot), cells.frame().sign_bytes());
    let present: Vec<u32> = cell.links().take(links.len()).collect();
    let stays = |at: usize| present.get(at).is_some_and(|link| links.contains(link));
    let mut change = CellChange { len: links.len(), ..CellChange::default() };
    let places = (0..links.len()).filter(|&at| !stays(at));
    let missing = links.iter().copied().filter(|link| !present.contains(link));
    for (at, to) in places.zip(missing) {
        let start = change.signs.len();
        change.signs.resize(start + bytes, 0);
        let factors = cell.encode_link(simd, cells.cell(to as usize), &mut change.signs[start..]);
        change.links.push((at, to, factors));
    }
    change
}
