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
use parking_lot::Mutex;
use std::ops::Range;

/// Rows a batch. They are compared with each other, which costs as much as a small part of a search.
const BATCH: usize = 256;
/// Rows that a task links, and lists that it prunes.
const ROWS_PER_TASK: usize = 4;
const LISTS_PER_TASK: usize = 32;
/// Lists that are written under one guard.
const LISTS_PER_GUARD: usize = 1024;

/// Links all staged rows, `from` the first that is not linked.
pub(crate) fn link(writer: &Writer<'_, State>, parameters: &HnswParameters, call: &Call<'_>) -> Result<()> {
    let (from, to) = {
        let state = writer.read();
        (state.graph.linked(), state.table.slots())
    };
    let scratches = Mutex::new(Vec::new());
    for start in (from..to).step_by(BATCH) {
        let rows = start..(start + BATCH).min(to);
        let (batch, proposals) = {
            let state = writer.read();
            let batch = Batch::new(&state.graph, rows.clone());
            let linker = Linker { table: &state.table, graph: &state.graph, parameters, batch: &batch, scratches: &scratches };
            let proposals = linker.propose(call)?;
            let lists = linker.back_links(&proposals, call)?;
            (batch.levels.clone(), Lists { own: proposals, back: lists })
        };
        apply(writer, rows, &batch, &proposals)?;
        call.progress(start + BATCH.min(to - start) - from, to - from);
    }
    Ok(())
}

/// The rows of a batch and where they will be in each layer.
struct Batch {
    rows: Range<usize>,
    /// The level of each row.
    levels: Vec<usize>,
    /// For each layer, the rows that belong to it, by their place in the batch: the i-th becomes node `first + i`.
    members: Vec<Vec<usize>>,
    /// For each layer, the number of its first new node.
    first: Vec<usize>,
}

impl Batch {
    fn new(graph: &Graph, rows: Range<usize>) -> Batch {
        let levels: Vec<usize> = rows.clone().map(|slot| graph.level_of(slot)).collect();
        let top = levels.iter().copied().max().unwrap_or(0);
        let members = (0..=top).map(|level| (0..levels.len()).filter(|&i| levels[i] >= level).collect()).collect();
        let first = (0..=top).map(|level| graph.layers().get(level).map_or(0, |layer| layer.len())).collect();
        Batch { rows, levels, members, first }
    }

    /// The slot of a new node of this layer.
    fn slot(&self, level: usize, node: u32) -> Option<usize> {
        let member = (node as usize).checked_sub(self.first[level])?;
        Some(self.rows.start + self.members[level][member])
    }
}

/// The new lists of one batch.
struct Lists {
    /// For each row, its own links on each of its layers.
    own: Vec<Vec<Vec<Candidate>>>,
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
    /// The links that each row of the batch wants, per layer.
    fn propose(&self, call: &Call<'_>) -> Result<Vec<Vec<Vec<Candidate>>>> {
        let rows = self.batch.levels.len();
        let proposals = map(call, rows.div_ceil(ROWS_PER_TASK), |task| {
            let mut scratch = self.scratches.lock().pop().unwrap_or_default();
            let members = task * ROWS_PER_TASK..((task + 1) * ROWS_PER_TASK).min(rows);
            let proposals = self.table.metric().run(Propose { linker: self, members, scratch: &mut scratch });
            self.scratches.lock().push(scratch);
            proposals
        })?;
        Ok(proposals.into_iter().flatten().collect())
    }

    /// The new lists of the nodes that are to be linked back.
    fn back_links(&self, proposals: &[Vec<Vec<Candidate>>], call: &Call<'_>) -> Result<Vec<(usize, u32, Vec<u32>)>> {
        let mut wishes = self.wishes(proposals);
        wishes.sort_unstable();
        let groups: Vec<&[Wish]> = wishes.chunk_by(|a, b| (a.level, a.target) == (b.level, b.target)).collect();
        let lists = map(call, groups.len().div_ceil(LISTS_PER_TASK), |task| {
            let groups = &groups[task * LISTS_PER_TASK..((task + 1) * LISTS_PER_TASK).min(groups.len())];
            self.table.metric().run(LinkBack { linker: self, groups, proposals })
        })?;
        Ok(lists.into_iter().flatten().collect())
    }

    fn wishes(&self, proposals: &[Vec<Vec<Candidate>>]) -> Vec<Wish> {
        let mut wishes = Vec::new();
        for (level, members) in self.batch.members.iter().enumerate() {
            for (i, &member) in members.iter().enumerate() {
                let source = (self.batch.first[level] + i) as u32;
                let links = proposals[member][level].iter();
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
        match self.batch.slot(level, node) {
            Some(slot) => slot,
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
    type Output = Vec<Vec<Vec<Candidate>>>;

    #[inline(always)]
    fn run<S: Simd, M: Space>(mut self, simd: S, space: M) -> Self::Output {
        let mut proposals = Vec::with_capacity(self.members.len());
        for member in self.members.clone() {
            let level = self.linker.batch.levels[member];
            let mut lists = vec![Vec::new(); level + 1];
            let mut starts: Vec<u32> = self.linker.graph.entry().into_iter().collect();
            let top = self.linker.graph.layers().len() - 1;
            for layer in (0..=top.max(level)).rev() {
                let wanted = layer <= level;
                if layer <= top {
                    self.search(simd, space, member, layer, &starts, wanted);
                    let nearest = self.scratch.beam.candidates().first().map(|candidate| candidate.node());
                    starts = nearest.into_iter().collect();
                } else {
                    self.scratch.beam.start(self.linker.parameters.ef_construction);
                }
                if wanted {
                    self.add_batch(simd, space, member, layer);
                    lists[layer] = self.linker.select(
                        simd,
                        space,
                        layer,
                        self.scratch.beam.candidates(),
                        self.linker.parameters.m,
                    );
                }
                if layer > 0 && layer <= top {
                    let upper = &self.linker.graph.layers()[layer];
                    starts = starts.iter().map(|&node| upper.below(node)).collect();
                }
            }
            proposals.push(lists);
        }
        proposals
    }
}

impl Propose<'_> {
    /// Leaves the nearest nodes of a layer in the beam: many of them if they are wanted, else one.
    #[inline(always)]
    fn search<S: Simd, M: Space>(
        &mut self,
        simd: S,
        space: M,
        member: usize,
        level: usize,
        starts: &[u32],
        wanted: bool,
    ) {
        let (table, layer) = (self.linker.table, &self.linker.graph.layers()[level]);
        let point = Point::of_slot(table, self.linker.batch.rows.start + member);
        self.scratch.beam.start(if wanted { self.linker.parameters.ef_construction } else { 1 });
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
                self.scratch.beam.push(Candidate::new(distance, (batch.first[level] + i) as u32));
            }
        }
    }
}

/// The task of deciding on the new lists of some nodes that are to be linked back.
struct LinkBack<'a> {
    linker: &'a Linker<'a>,
    groups: &'a [&'a [Wish]],
    proposals: &'a [Vec<Vec<Candidate>>],
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
        match (node as usize).checked_sub(self.linker.batch.first[level]) {
            Some(i) => {
                let member = self.linker.batch.members[level][i];
                self.proposals[member][level].iter().map(|link| link.node()).collect()
            }
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

/// Writes what a batch has decided on.
fn apply(writer: &Writer<'_, State>, rows: Range<usize>, levels: &[usize], lists: &Lists) -> Result<()> {
    {
        let mut state = writer.write();
        let graph = &mut state.graph;
        let mut top = if graph.entry().is_some() { graph.layers().len() - 1 } else { 0 };
        for ((slot, &level), own) in rows.zip(levels).zip(&lists.own) {
            let nodes = graph.push_node(slot as u32, level)?;
            for (layer, (&node, links)) in nodes.iter().zip(own).enumerate() {
                let links: Vec<u32> = links.iter().map(|link| link.node()).collect();
                graph.layer_mut(layer).set_links(node, &links);
            }
            if level > top || graph.entry().is_none() {
                top = level;
                graph.set_entry(nodes.last().copied().unwrap_or(NONE));
            }
        }
    }
    for lists in lists.back.chunks(LISTS_PER_GUARD) {
        let mut state = writer.write();
        for (level, node, links) in lists {
            state.graph.layer_mut(*level).set_links(*node, links);
        }
    }
    Ok(())
}
