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

use super::graph::{Graph, NONE};
use super::walk::{Candidate, Everything, Point, Scratch, Terrain};
use super::{HnswParameters, State};
use crate::error::Result;
use crate::index::table::Table;
use crate::runtime::{Call, Writer, map};
use crate::simd::Simd;
use crate::vectors::{Space, Task};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::ops::Range;

/// Rows a batch. They are compared with each other, which costs as much as a small part of a search.
const BATCH: usize = 256;
/// Rows that a task links, and lists that it prunes.
const ROWS_PER_TASK: usize = 4;
const LISTS_PER_TASK: usize = 32;
/// Lists that are written under one guard.
const LISTS_PER_GUARD: usize = 1024;

/// Links all staged rows.
pub(crate) fn link(writer: &Writer<'_, State>, parameters: &HnswParameters, call: &Call<'_>) -> Result<()> {
    let (from, to) = {
        let state = writer.read();
        (state.graph.linked(), state.table.slots())
    };
    let scratches = Mutex::new(Vec::new());
    for start in (from..to).step_by(BATCH) {
        let end = (start + BATCH).min(to);
        let plan = {
            let State { table, graph } = &*writer.read();
            let batch = Batch::new(table, graph, start..end);
            let linker = Linker { table, graph, parameters, batch: &batch, scratches: &scratches };
            let own = linker.propose(call)?;
            let back = linker.back_links(&own, call)?;
            Plan { rows: start..end, levels: batch.levels, own, back }
        };
        plan.apply(writer)?;
        call.progress(end - from, to - from);
    }
    Ok(())
}

/// The rows of a batch and where they will be in each layer.
struct Batch {
    rows: Range<usize>,
    /// For each row the earlier one of the batch that it is a copy of.
    copies: Vec<Option<usize>>,
    /// The level of each row; 0 for copies.
    levels: Vec<usize>,
    /// For each layer the rows that are linked there, by their place in the batch.
    members: Vec<Vec<usize>>,
    /// For each layer above the base the number of its first new node.
    first: Vec<usize>,
}

impl Batch {
    fn new(table: &Table, graph: &Graph, rows: Range<usize>) -> Batch {
        let copies = find_copies(table, rows.clone());
        let level = |(slot, copy): (usize, &Option<usize>)| if copy.is_some() { 0 } else { graph.level_of(slot) };
        let levels: Vec<usize> = rows.clone().zip(&copies).map(level).collect();
        let top = levels.iter().copied().max().unwrap_or(0);
        let linked = |level: usize| (0..levels.len()).filter(|&i| levels[i] >= level && copies[i].is_none()).collect();
        let members = (0..=top).map(linked).collect();
        let first = (0..=top).map(|level| graph.layers().get(level).map_or(0, |layer| layer.len())).collect();
        Batch { rows, copies, levels, members, first }
    }

    /// The node that the i-th member of a layer becomes.
    fn node(&self, level: usize, i: usize) -> u32 {
        let node = if level == 0 { self.rows.start + self.members[0][i] } else { self.first[level] + i };
        node as u32
    }

    /// The place in the batch of a node that is new in its layer.
    fn member(&self, level: usize, node: u32) -> Option<usize> {
        if level == 0 {
            return (node as usize).checked_sub(self.rows.start);
        }
        Some(self.members[level][(node as usize).checked_sub(self.first[level])?])
    }
}

/// For each row of `rows` the first one among them with the same values, if that is another.
fn find_copies(table: &Table, rows: Range<usize>) -> Vec<Option<usize>> {
    let mut seen: HashMap<&[u8], usize> = HashMap::with_capacity(rows.len());
    rows.enumerate()
        .map(|(i, slot)| {
            let first = *seen.entry(bytemuck::cast_slice(table.rows().row(slot))).or_insert(i);
            (first != i).then_some(first)
        })
        .collect()
}

/// What a row of the batch wants.
#[derive(Default)]
struct Proposal {
    /// Its links on each of its layers.
    links: Vec<Vec<Candidate>>,
    /// The node that has its values already.
    twin: Option<u32>,
}

/// What a batch has decided on.
struct Plan {
    rows: Range<usize>,
    levels: Vec<usize>,
    own: Vec<Proposal>,
    /// Layer, node, list.
    back: Vec<(usize, u32, Vec<u32>)>,
}

/// Looks, and decides; changes nothing.
struct Linker<'a> {
    table: &'a Table,
    graph: &'a Graph,
    parameters: &'a HnswParameters,
    batch: &'a Batch,
    scratches: &'a Mutex<Vec<Scratch>>,
}

impl Linker<'_> {
    /// The links that each row of the batch wants, per layer; none in the base layer for rows that share a node there.
    fn propose(&self, call: &Call<'_>) -> Result<Vec<Proposal>> {
        let rows = self.batch.levels.len();
        let proposals = map(call, rows.div_ceil(ROWS_PER_TASK), |task| {
            let mut scratch = self.scratches.lock().pop().unwrap_or_default();
            let members = task * ROWS_PER_TASK..((task + 1) * ROWS_PER_TASK).min(rows);
            let task = Propose { linker: self, members, scratch: &mut scratch };
            let proposals = self.table.metric().run(task);
            self.scratches.lock().push(scratch);
            proposals
        })?;
        Ok(self.settle(proposals.into_iter().flatten().collect()))
    }

    /// Turns links to rows that turned out to be twins to the nodes that they share.
    fn settle(&self, mut proposals: Vec<Proposal>) -> Vec<Proposal> {
        let start = self.batch.rows.start;
        for (i, copy) in self.batch.copies.iter().enumerate() {
            if let Some(first) = *copy {
                proposals[i].twin = proposals[first].twin.or(Some((start + first) as u32));
            }
        }
        let twins: Vec<Option<u32>> = proposals.iter().map(|proposal| proposal.twin).collect();
        for proposal in &mut proposals {
            let Some(links) = proposal.links.first_mut() else { continue };
            if proposal.twin.is_some() {
                links.clear();
            }
            for link in links.iter_mut() {
                let twin = (link.node() as usize).checked_sub(start).and_then(|member| twins[member]);
                *link = Candidate::new(link.distance(), twin.unwrap_or(link.node()));
            }
            links.sort_unstable();
            links.dedup();
        }
        proposals
    }

    /// The new lists of the nodes that are to be linked back.
    fn back_links(&self, proposals: &[Proposal], call: &Call<'_>) -> Result<Vec<(usize, u32, Vec<u32>)>> {
        let mut wishes = self.wishes(proposals);
        wishes.sort_unstable();
        let groups: Vec<&[Wish]> = wishes.chunk_by(|a, b| (a.level, a.target) == (b.level, b.target)).collect();
        let lists = map(call, groups.len().div_ceil(LISTS_PER_TASK), |task| {
            let groups = &groups[task * LISTS_PER_TASK..((task + 1) * LISTS_PER_TASK).min(groups.len())];
            let task = LinkBack { linker: self, groups, proposals };
            self.table.metric().run(task)
        })?;
        Ok(lists.into_iter().flatten().collect())
    }

    fn wishes(&self, proposals: &[Proposal]) -> Vec<Wish> {
        let mut wishes = Vec::new();
        for (level, members) in self.batch.members.iter().enumerate() {
            for (i, &member) in members.iter().enumerate() {
                let source = self.batch.node(level, i);
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

    /// The slot of a node, old or new.
    fn slot(&self, level: usize, node: u32) -> usize {
        match self.batch.member(level, node) {
            Some(member) => self.batch.rows.start + member,
            None if level == 0 => node as usize,
            None => self.graph.layers()[level].slot(node) as usize,
        }
    }

    fn degree(&self, level: usize) -> usize {
        if level == 0 { 2 * self.parameters.m } else { self.parameters.m }
    }

    #[inline(always)]
    fn distance<S: Simd, M: Space>(&self, simd: S, space: M, a: Point<'_>, slot: usize) -> f32 {
        let b = Point::of_slot(self.table, slot);
        space.distance(simd, a.values, a.term, b.values, b.term)
    }

    /// The nearest of `sorted` that are not nearer to one taken before than to the point itself, at most `limit`: near, and spread
    /// in all directions (arXiv 1603.09320, algorithm 4).
    #[inline(always)]
    fn select<S: Simd, M: Space>(
        &self,
        simd: S,
        space: M,
        level: usize,
        sorted: &[Candidate],
        limit: usize,
    ) -> Vec<Candidate> {
        let mut taken: Vec<Candidate> = Vec::with_capacity(limit);
        let mut slots: Vec<usize> = Vec::with_capacity(limit);
        for &candidate in sorted {
            if taken.len() == limit {
                break;
            }
            let slot = self.slot(level, candidate.node());
            let point = Point::of_slot(self.table, slot);
            let mut spread = true;
            for &other in &slots {
                if self.distance(simd, space, point, other) < candidate.distance() {
                    spread = false;
                    break;
                }
            }
            if spread {
                taken.push(candidate);
                slots.push(slot);
            }
        }
        taken
    }
}

/// `target` is wanted by `source`, which is that far away.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Wish {
    level: usize,
    target: u32,
    source: Candidate,
}

/// The task of finding neighbours for some rows of the batch.
struct Propose<'a> {
    linker: &'a Linker<'a>,
    members: Range<usize>,
    scratch: &'a mut Scratch,
}

impl Task for Propose<'_> {
    type Output = Vec<Proposal>;

    #[inline(always)]
    fn run<S: Simd, M: Space>(mut self, simd: S, space: M) -> Vec<Proposal> {
        let mut proposals = Vec::with_capacity(self.members.len());
        for member in self.members.clone() {
            if self.linker.batch.copies[member].is_some() {
                proposals.push(Proposal { links: vec![Vec::new()], twin: None });
            } else {
                proposals.push(self.one(simd, space, member));
            }
        }
        proposals
    }
}

impl Propose<'_> {
    /// What one row wants: down from the entry point, and on each of its own layers its neighbours.
    #[inline(always)]
    fn one<S: Simd, M: Space>(&mut self, simd: S, space: M, member: usize) -> Proposal {
        let Linker { graph, batch, parameters, .. } = *self.linker;
        let level = batch.levels[member];
        let top = graph.layers().len() - 1;
        let mut proposal = Proposal { links: vec![Vec::new(); level + 1], twin: None };
        let mut start = graph.entry();
        for layer in (0..=top.max(level)).rev() {
            let wanted = layer <= level;
            self.scratch.beam.start(if wanted { parameters.ef_construction } else { 1 });
            if layer <= top {
                self.search(simd, space, member, layer, start.as_slice());
                start = self.scratch.beam.candidates().first().map(|candidate| candidate.node());
            }
            if wanted {
                self.add_batch(simd, space, member, layer);
                let nearest = self.scratch.beam.candidates();
                proposal.links[layer] = self.linker.select(simd, space, layer, nearest, parameters.m);
            }
            if layer == 0 {
                proposal.twin = self.twin(simd, space, member);
            } else if layer <= top {
                start = start.map(|node| graph.layers()[layer].below(node));
            }
        }
        proposal
    }

    /// The old node in the beam that has this row's values.
    #[inline(always)]
    fn twin<S: Simd, M: Space>(&self, simd: S, space: M, member: usize) -> Option<u32> {
        let Linker { table, batch, .. } = *self.linker;
        let slot = batch.rows.start + member;
        let itself = self.linker.distance(simd, space, Point::of_slot(table, slot), slot);
        for candidate in self.scratch.beam.candidates() {
            let node = candidate.node() as usize;
            // Equal values have the very same distance; comparing that first spares reading the rows.
            if candidate.distance().to_bits() == itself.to_bits()
                && node < batch.rows.start
                && bytemuck::cast_slice::<f32, u32>(table.rows().row(node))
                    == bytemuck::cast_slice::<f32, u32>(table.rows().row(slot))
            {
                return Some(candidate.node());
            }
        }
        None
    }

    /// Leaves the nearest nodes of a layer in the beam, as many as that is wide.
    #[inline(always)]
    fn search<S: Simd, M: Space>(&mut self, simd: S, space: M, member: usize, level: usize, starts: &[u32]) {
        let (table, layer) = (self.linker.table, &self.linker.graph.layers()[level]);
        let point = Point::of_slot(table, self.linker.batch.rows.start + member);
        if level == 0 {
            let terrain = Terrain::<false> { table, layer };
            terrain.start(simd, space, point, starts, &Everything, self.scratch);
            terrain.walk(simd, space, point, &Everything, self.scratch);
        } else {
            let terrain = Terrain::<true> { table, layer };
            terrain.start(simd, space, point, starts, &Everything, self.scratch);
            terrain.walk(simd, space, point, &Everything, self.scratch);
        }
    }

    /// Adds the other rows of the batch that belong to a layer to the beam.
    #[inline(always)]
    fn add_batch<S: Simd, M: Space>(&mut self, simd: S, space: M, member: usize, level: usize) {
        let batch = self.linker.batch;
        let point = Point::of_slot(self.linker.table, batch.rows.start + member);
        for (i, &other) in batch.members[level].iter().enumerate() {
            if other != member {
                let distance = self.linker.distance(simd, space, point, batch.rows.start + other);
                self.scratch.beam.push(Candidate::new(distance, batch.node(level, i)));
            }
        }
    }
}

/// The task of deciding on the new lists of some nodes that are to be linked back.
struct LinkBack<'a> {
    linker: &'a Linker<'a>,
    groups: &'a [&'a [Wish]],
    proposals: &'a [Proposal],
}

impl Task for LinkBack<'_> {
    type Output = Vec<(usize, u32, Vec<u32>)>;

    #[inline(always)]
    fn run<S: Simd, M: Space>(self, simd: S, space: M) -> Self::Output {
        let mut lists = Vec::with_capacity(self.groups.len());
        for wishes in self.groups {
            let (level, target) = (wishes[0].level, wishes[0].target);
            let mut links = self.present(level, target);
            let present = links.len();
            for wish in *wishes {
                if !links[..present].contains(&wish.source.node()) {
                    links.push(wish.source.node());
                }
            }
            let degree = self.linker.degree(level);
            if links.len() > degree {
                links = self.prune(simd, space, level, target, &links, degree);
            }
            lists.push((level, target, links));
        }
        lists
    }
}

impl LinkBack<'_> {
    /// The links that a node has now, or, if it is new, wants.
    fn present(&self, level: usize, node: u32) -> Vec<u32> {
        match self.linker.batch.member(level, node) {
            Some(member) => self.proposals[member].links[level].iter().map(|link| link.node()).collect(),
            None => self.linker.graph.layers()[level].neighbours(node).collect(),
        }
    }

    #[inline(always)]
    fn prune<S: Simd, M: Space>(
        &self,
        simd: S,
        space: M,
        level: usize,
        node: u32,
        links: &[u32],
        degree: usize,
    ) -> Vec<u32> {
        let point = Point::of_slot(self.linker.table, self.linker.slot(level, node));
        let mut sorted = Vec::with_capacity(links.len());
        for &link in links {
            let distance = self.linker.distance(simd, space, point, self.linker.slot(level, link));
            sorted.push(Candidate::new(distance, link));
        }
        sorted.sort_unstable();
        let taken = self.linker.select(simd, space, level, &sorted, degree);
        taken.into_iter().map(Candidate::node).collect()
    }
}

impl Plan {
    /// Writes it all.
    fn apply(self, writer: &Writer<'_, State>) -> Result<()> {
        self.add_nodes(&mut writer.write().graph)?;
        for lists in self.back.chunks(LISTS_PER_GUARD) {
            let mut state = writer.write();
            for (level, node, links) in lists {
                state.graph.layer_mut(*level).set_links(*node, links);
            }
        }
        Ok(())
    }

    fn add_nodes(&self, graph: &mut Graph) -> Result<()> {
        let mut top = graph.entry().map(|_| graph.layers().len() - 1);
        for ((slot, &level), proposal) in self.rows.clone().zip(&self.levels).zip(&self.own) {
            let nodes = graph.push_node(slot as u32, level, proposal.twin)?;
            for (layer, (&node, links)) in nodes.iter().zip(&proposal.links).enumerate() {
                let links: Vec<u32> = links.iter().map(|link| link.node()).collect();
                graph.layer_mut(layer).set_links(node, &links);
            }
            if top.is_none_or(|top| level > top) {
                top = Some(level);
                graph.set_entry(nodes.last().copied().unwrap_or(NONE));
            }
        }
        Ok(())
    }
}
