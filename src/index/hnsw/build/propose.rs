//! What the rows of a batch want: the nearest nodes, spread in all directions.

use super::Linker;
use crate::error::Result;
use crate::index::hnsw::ground::{Ground, GroundTask, stand};
use crate::index::hnsw::start::start;
use crate::index::hnsw::walk::{Beam, Candidate, Everything, Scratch, Terrain};
use crate::runtime::{Call, map};
use crate::simd::Simd;
use std::ops::Range;

/// Rows that a task finds neighbours for.
const ROWS_PER_TASK: usize = 4;

/// What a row of the batch wants.
#[derive(Default)]
pub(super) struct Proposal {
    /// Its links on each of its layers.
    pub(super) links: Vec<Vec<Candidate>>,
    /// The node that has its values already.
    pub(super) twin: Option<u32>,
}

impl Proposal {
    /// The nearest node that the row links to in the base layer.
    pub(super) fn anchor(&self) -> Option<u32> {
        Some(self.links.first()?.first()?.node())
    }
}

impl Linker<'_> {
    /// The links that each row of the batch wants, per layer; none in the base layer for rows that share a node there.
    pub(super) fn propose(&self, call: &Call<'_>) -> Result<Vec<Proposal>> {
        let rows = self.batch.levels.len();
        let proposals = map(call, rows.div_ceil(ROWS_PER_TASK), |task| {
            let members = task * ROWS_PER_TASK..((task + 1) * ROWS_PER_TASK).min(rows);
            self.scratches.lend(|scratch| stand(self.table, self.graph, Propose { linker: self, members, scratch }))
        })?;
        Ok(self.settle(proposals.into_iter().flatten().collect()))
    }

    /// Turns links to rows that turned out to be twins to the nodes that they share.
    fn settle(&self, mut proposals: Vec<Proposal>) -> Vec<Proposal> {
        for (i, copy) in self.batch.copies.iter().enumerate() {
            if let Some(first) = *copy {
                proposals[i].twin = proposals[first].twin.or(Some(self.batch.slots[first]));
            }
        }
        let twins: Vec<Option<u32>> = proposals.iter().map(|proposal| proposal.twin).collect();
        for proposal in &mut proposals {
            let Some(links) = proposal.links.first_mut() else { continue };
            if proposal.twin.is_some() {
                links.clear();
            }
            for link in links.iter_mut() {
                let twin = self.batch.member(0, link.node()).and_then(|member| twins[member]);
                *link = Candidate::new(link.distance(), twin.unwrap_or(link.node()));
            }
            links.sort_unstable();
            links.dedup();
        }
        proposals
    }
}

/// The task of finding neighbours for some rows of the batch.
struct Propose<'a> {
    linker: &'a Linker<'a>,
    members: Range<usize>,
    scratch: &'a mut Scratch,
}

impl GroundTask for Propose<'_> {
    type Output = Vec<Proposal>;

    #[inline(always)]
    fn run<S: Simd, G: Ground>(mut self, simd: S, ground: G) -> Vec<Proposal> {
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
}

impl Propose<'_> {
    /// What one row wants: its neighbours in each of its layers.
    #[inline(always)]
    fn one<S: Simd, G: Ground>(&mut self, simd: S, ground: G, member: usize) -> Proposal {
        let Linker { graph, batch, parameters, .. } = *self.linker;
        let mut links = self.above(simd, ground, member);
        let (slot, width) = (batch.slot(member), parameters.ef_construction);
        ground.prepare_row(slot, &mut self.scratch.query);
        let start = start(simd, ground, graph, (ground.at(slot), &self.scratch.query));
        let beam = ground.search_base(simd, slot, start.as_slice(), width, self.scratch);
        self.linker.add_batch(simd, ground, member, 0, beam);
        let nearest = beam.candidates();
        links[0] = self.linker.select(simd, ground, 0, (Vec::new(), nearest), ground.own_links(parameters));
        let twin = self.linker.twin(simd, ground, member, nearest);
        Proposal { links, twin }
    }

    /// What it wants in the layers above the base, down from the entry point.
    #[inline(always)]
    fn above<S: Simd, G: Ground>(&mut self, simd: S, ground: G, member: usize) -> Vec<Vec<Candidate>> {
        let Linker { graph, batch, parameters, .. } = *self.linker;
        let level = batch.levels[member];
        let mut links = vec![Vec::new(); level + 1];
        if level == 0 {
            return links;
        }
        let top = graph.layers().len() - 1;
        let mut from = graph.entry();
        for layer in (1..=top.max(level)).rev() {
            let wanted = layer <= level;
            self.scratch.beam.start(if wanted { parameters.ef_construction } else { 1 });
            if layer <= top {
                self.search(simd, ground, member, layer, from.as_slice());
                let nearest = self.scratch.beam.candidates().first();
                from = nearest.map(|candidate| graph.layers()[layer].below(candidate.node()));
            }
            if wanted {
                self.linker.add_batch(simd, ground, member, layer, &mut self.scratch.beam);
                let nearest = self.scratch.beam.candidates();
                links[layer] = self.linker.select(simd, ground, layer, (Vec::new(), nearest), (parameters.m, 0));
            }
        }
        links
    }

    /// Leaves the nearest nodes of an upper layer in the beam, as many as that is wide.
    #[inline(always)]
    fn search<S: Simd, G: Ground>(&mut self, simd: S, ground: G, member: usize, level: usize, starts: &[u32]) {
        let point = ground.at(self.linker.batch.slot(member));
        let terrain = Terrain::<_, true> { ground, layer: &self.linker.graph.layers()[level] };
        terrain.start(simd, point, starts, &Everything, self.scratch);
        terrain.walk(simd, point, &Everything, self.scratch);
    }
}

impl Linker<'_> {
    /// The old node among `candidates` that has this row's values, unless all that share it are deleted: it is to go.
    #[inline(always)]
    fn twin<S: Simd, G: Ground>(&self, simd: S, ground: G, member: usize, candidates: &[Candidate]) -> Option<u32> {
        let slot = self.batch.slot(member);
        let itself = ground.distance(simd, ground.at(slot), slot);
        for candidate in candidates {
            let node = candidate.node() as usize;
            // Equal values have the very same distance; comparing that first spares reading the rows.
            if candidate.distance().to_bits() == itself.to_bits()
                && self.batch.member(0, candidate.node()).is_none()
                && self.row(node) == self.row(slot)
                && self.graph.sharing(candidate.node()).any(|slot| !self.is_deleted(slot))
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
        let point = ground.at(batch.slot(member));
        for (i, &other) in batch.members[level].iter().enumerate() {
            if other != member {
                let distance = ground.distance(simd, point, batch.slot(other));
                beam.push(Candidate::new(distance, batch.node(level, i)));
            }
        }
    }
}
