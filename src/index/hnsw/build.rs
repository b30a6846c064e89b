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

use super::graph::{CellChange, Graph, NONE};
use super::ground::{Ground, Standing, ground_of};
use super::walk::{Beam, Candidate, Everything, Scratch, Terrain};
use super::{HnswParameters, State};
use crate::error::Result;
use crate::index::table::Table;
use crate::runtime::{Call, Writer, map};
use crate::simd::Simd;
use crate::vectors::{Cells, Space, Task};
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
        let waits = parameters.has_cells(state.table.metric()) && state.graph.cells().is_none();
        (state.graph.linked(), if waits { 0 } else { state.table.slots() })
    };
    let scratches = Mutex::new(Vec::new());
    for start in (from..to).step_by(BATCH) {
        let end = (start + BATCH).min(to);
        add_cells(writer, start..end, call)?;
        let plan = {
            let State { table, graph } = &*writer.read();
            let batch = Batch::new(table, graph, start..end);
            let linker = Linker { table, graph, parameters, batch: &batch, scratches: &scratches };
            let own = linker.propose(call)?;
            let lists = linker.lists(&own, call)?;
            let twins = own.into_iter().map(|proposal| proposal.twin).collect();
            Plan { rows: start..end, levels: batch.levels, twins, lists }
        };
        plan.apply(writer)?;
        call.progress(end - from, to - from);
    }
    Ok(())
}

/// Appends the cells of some rows, without links, where there are cells: nobody leads there yet.
fn add_cells(writer: &Writer<'_, State>, rows: Range<usize>, call: &Call<'_>) -> Result<()> {
    let (codes, bytes) = {
        let State { table, graph } = &*writer.read();
        let Some(cells) = graph.cells() else { return Ok(()) };
        let (frame, bytes) = (cells.frame(), cells.frame().row_bytes());
        let codes = map(call, rows.len().div_ceil(ROWS_PER_TASK), |task| {
            let first = rows.start + task * ROWS_PER_TASK;
            let slots = first..rows.end.min(first + ROWS_PER_TASK);
            let (mut codes, mut values) = (vec![0; slots.len() * bytes], vec![0.0; table.dim()]);
            for (slot, code) in slots.zip(codes.chunks_exact_mut(bytes)) {
                let squared_norm = table.read(slot, &mut values);
                frame.encode(&values, squared_norm, code);
            }
            codes
        })?;
        (codes, bytes)
    };
    let mut state = writer.write();
    let Some(cells) = state.graph.cells_mut() else { return Ok(()) };
    // Rows that an earlier call did not come to link have left theirs.
    cells.truncate(rows.start);
    cells.try_reserve(rows.len())?;
    for code in codes.iter().flat_map(|codes| codes.chunks_exact(bytes)) {
        cells.push(code);
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
        let first = (0..=top).map(|level| graph.nodes(level)).collect();
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
            let first = *seen.entry(table.kept().row(slot)).or_insert(i);
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

/// The new list of a node.
struct List {
    level: usize,
    node: u32,
    links: Vec<u32>,
    /// The same as changes of a cell, where the node has one.
    change: Option<CellChange>,
}

/// What a batch has decided on.
struct Plan {
    rows: Range<usize>,
    levels: Vec<usize>,
    twins: Vec<Option<u32>>,
    lists: Vec<List>,
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

    /// The new lists of all nodes that get one: those of the batch, and those that are linked back.
    fn lists(&self, proposals: &[Proposal], call: &Call<'_>) -> Result<Vec<List>> {
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

    /// The slot of a node, old or new.
    fn slot(&self, level: usize, node: u32) -> usize {
        match self.batch.member(level, node) {
            Some(member) => self.batch.rows.start + member,
            None if level == 0 => node as usize,
            None => self.graph.layers()[level].slot(node) as usize,
        }
    }

    /// The cells, if the nodes of a layer have any.
    fn cells(&self, level: usize) -> Option<&Cells> {
        self.graph.cells().filter(|_| level == 0)
    }

    fn degree(&self, level: usize) -> usize {
        if level == 0 { 2 * self.parameters.m } else { self.parameters.m }
    }

    /// The nearest of `sorted` that no nearer one spares, at most `most`: near, and spread in all directions (arXiv 1603.09320, algorithm 4).
    /// If that leaves fewer than `least`, the nearest of the others too.
    #[inline(always)]
    fn select<S: Simd, G: Ground>(
        &self,
        simd: S,
        ground: G,
        level: usize,
        sorted: &[Candidate],
        (most, least): (usize, usize),
    ) -> Vec<Candidate> {
        let mut taken: Vec<Candidate> = Vec::with_capacity(most);
        let mut slots: Vec<usize> = Vec::with_capacity(most);
        let mut spared = Vec::new();
        for &candidate in sorted {
            if taken.len() == most {
                break;
            }
            let slot = self.slot(level, candidate.node());
            let point = ground.at(slot);
            let mut spread = true;
            for &other in &slots {
                if ground.spares(ground.distance(simd, point, other), candidate.distance()) {
                    spread = false;
                    break;
                }
            }
            if spread {
                taken.push(candidate);
                slots.push(slot);
            } else if spared.len() < least {
                spared.push(candidate);
            }
        }
        let room = least.saturating_sub(taken.len());
        taken.extend(spared.into_iter().take(room));
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
    fn run<S: Simd, M: Space>(self, simd: S, space: M) -> Vec<Proposal> {
        match ground_of(self.linker.table, self.linker.graph, space) {
            Standing::Rows(ground) => self.all(simd, ground),
            Standing::Linked(ground) => self.all(simd, ground),
        }
    }
}

impl Propose<'_> {
    #[inline(always)]
    fn all<S: Simd, G: Ground>(mut self, simd: S, ground: G) -> Vec<Proposal> {
        let mut proposals = Vec::with_capacity(self.members.len());
        for member in self.members.clone() {
            if self.linker.batch.copies[member].is_some() {
                proposals.push(Proposal { links: vec![Vec::new()], twin: None });
            } else {
                proposals.push(self.one(simd, ground, member));
            }
        }
        proposals
    }

    /// What one row wants: down from the entry point, and on each of its own layers its neighbours.
    #[inline(always)]
    fn one<S: Simd, G: Ground>(&mut self, simd: S, ground: G, member: usize) -> Proposal {
        let Linker { graph, batch, parameters, .. } = *self.linker;
        let level = batch.levels[member];
        let top = graph.layers().len() - 1;
        let mut proposal = Proposal { links: vec![Vec::new(); level + 1], twin: None };
        let mut start = graph.entry();
        for layer in (1..=top.max(level)).rev() {
            let wanted = layer <= level;
            self.scratch.beam.start(if wanted { parameters.ef_construction } else { 1 });
            if layer <= top {
                self.search(simd, ground, member, layer, start.as_slice());
                start = self.scratch.beam.candidates().first().map(|candidate| candidate.node());
            }
            if wanted {
                self.linker.add_batch(simd, ground, member, layer, &mut self.scratch.beam);
                let nearest = self.scratch.beam.candidates();
                proposal.links[layer] = self.linker.select(simd, ground, layer, nearest, (parameters.m, 0));
            }
            if layer <= top {
                start = start.map(|node| graph.layers()[layer].below(node));
            }
        }
        let (slot, width) = (batch.rows.start + member, parameters.ef_construction);
        let beam = ground.search_base(simd, slot, start.as_slice(), width, self.scratch);
        self.linker.add_batch(simd, ground, member, 0, beam);
        let nearest = beam.candidates();
        proposal.links[0] = self.linker.select(simd, ground, 0, nearest, ground.own_links(parameters));
        proposal.twin = self.linker.twin(simd, ground, member, nearest);
        proposal
    }

    /// Leaves the nearest nodes of an upper layer in the beam, as many as that is wide.
    #[inline(always)]
    fn search<S: Simd, G: Ground>(&mut self, simd: S, ground: G, member: usize, level: usize, starts: &[u32]) {
        let point = ground.at(self.linker.batch.rows.start + member);
        let terrain = Terrain::<_, true> { ground, layer: &self.linker.graph.layers()[level] };
        terrain.start(simd, point, starts, &Everything, self.scratch);
        terrain.walk(simd, point, &Everything, self.scratch);
    }
}

impl Linker<'_> {
    /// The old node among `candidates` that has this row's values.
    #[inline(always)]
    fn twin<S: Simd, G: Ground>(&self, simd: S, ground: G, member: usize, candidates: &[Candidate]) -> Option<u32> {
        let slot = self.batch.rows.start + member;
        let itself = ground.distance(simd, ground.at(slot), slot);
        for candidate in candidates {
            let node = candidate.node() as usize;
            // Equal values have the very same distance; comparing that first spares reading the rows.
            if candidate.distance().to_bits() == itself.to_bits()
                && node < self.batch.rows.start
                && self.table.kept().row(node) == self.table.kept().row(slot)
            {
                return Some(candidate.node());
            }
        }
        None
    }

    /// Adds the other rows of the batch that belong to a layer to the beam.
    #[inline(always)]
    fn add_batch<S: Simd, G: Ground>(&self, simd: S, ground: G, member: usize, level: usize, beam: &mut Beam) {
        let batch = self.batch;
        let point = ground.at(batch.rows.start + member);
        for (i, &other) in batch.members[level].iter().enumerate() {
            if other != member {
                let distance = ground.distance(simd, point, batch.rows.start + other);
                beam.push(Candidate::new(distance, batch.node(level, i)));
            }
        }
    }
}

/// The task of deciding on the new lists of some nodes.
struct LinkBack<'a> {
    linker: &'a Linker<'a>,
    groups: &'a [&'a [Wish]],
    proposals: &'a [Proposal],
}

impl Task for LinkBack<'_> {
    type Output = Vec<List>;

    #[inline(always)]
    fn run<S: Simd, M: Space>(self, simd: S, space: M) -> Vec<List> {
        match ground_of(self.linker.table, self.linker.graph, space) {
            Standing::Rows(ground) => self.all(simd, ground),
            Standing::Linked(ground) => self.all(simd, ground),
        }
    }
}

impl LinkBack<'_> {
    #[inline(always)]
    fn all<S: Simd, G: Ground>(&self, simd: S, ground: G) -> Vec<List> {
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
                links = self.prune(simd, ground, level, node, &links);
            }
            let change = self.linker.cells(level).map(|cells| cell_change(simd, cells, node as usize, &links));
            lists.push(List { level, node, links, change });
        }
        lists
    }

    /// The links that a node has now, or, if it is new, wants.
    fn present(&self, level: usize, node: u32) -> Vec<u32> {
        match self.linker.batch.member(level, node) {
            Some(member) => self.proposals[member].links[level].iter().map(|link| link.node()).collect(),
            None => self.linker.graph.neighbours(level, node),
        }
    }

    #[inline(always)]
    fn prune<S: Simd, G: Ground>(&self, simd: S, ground: G, level: usize, node: u32, links: &[u32]) -> Vec<u32> {
        let point = ground.at(self.linker.slot(level, node));
        for &link in links {
            ground.prefetch(self.linker.slot(level, link));
        }
        let mut sorted = Vec::with_capacity(links.len());
        for &link in links {
            let distance = ground.distance(simd, point, self.linker.slot(level, link));
            sorted.push(Candidate::new(distance, link));
        }
        sorted.sort_unstable();
        let parameters = self.linker.parameters;
        let limits = if level == 0 { ground.kept_links(parameters) } else { (parameters.m, 0) };
        let taken = self.linker.select(simd, ground, level, &sorted, limits);
        taken.into_iter().map(Candidate::node).collect()
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

impl Plan {
    /// Writes it all.
    fn apply(self, writer: &Writer<'_, State>) -> Result<()> {
        self.add_nodes(&mut writer.write().graph)?;
        for lists in self.lists.chunks(LISTS_PER_GUARD) {
            let mut state = writer.write();
            for List { level, node, links, change } in lists {
                match change {
                    Some(change) => state.graph.change_cell(*node, change),
                    None => state.graph.layer_mut(*level).set_links(*node, links),
                }
            }
        }
        Ok(())
    }

    fn add_nodes(&self, graph: &mut Graph) -> Result<()> {
        let mut top = graph.entry().map(|_| graph.layers().len() - 1);
        for ((slot, &level), &twin) in self.rows.clone().zip(&self.levels).zip(&self.twins) {
            let nodes = graph.push_node(slot as u32, level, twin)?;
            if top.is_none_or(|top| level > top) {
                top = Some(level);
                graph.set_entry(nodes.last().copied().unwrap_or(NONE));
            }
        }
        Ok(())
    }
}
