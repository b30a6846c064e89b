//! A walk among cells after the nodes that may be returned, where not all may.
//!
//! Where all may be, a walk brings home the nodes that it visits. But a cell says of everything that it links to how far that about is, so a walk
//! *sees* many times as many nodes as it visits; and what is seen near the query is nearly all that lies there. So where few may be
//! returned, whatever is seen and may be is looked at, in its own eight bits. If one node in ten may be returned, the ten nearest are among the hundred
//! nearest of all, which need not all be visited: the walk ends when enough of those that may be returned are nearer than all that it could visit next,
//! or when it has visited a beam more than should lie nearer than these.
//!
//! That holds where such nodes lie about everywhere. If the first steps come to far fewer than there should be, they lie *elsewhere*: then the walk
//! goes on inside, from one to another, as if there were no others. It begins at the nearest of what it has, and of some taken from all of
//! them. Nodes that lie in one region are linked well enough for that; where they are not, the walk comes to an end too early, which shows.

use super::linked::{FIRST_LINES, Linked, beam_of_estimates, estimate_two};
use super::{Ground, Reach};
use crate::index::hnsw::walk::{Admission, Beam, Beyond, Candidate, Queue, Scratch};
use crate::kernel::BLOCK_ROWS;
use crate::simd::Simd;
use crate::vectors::{Cell, Coming};
use std::cmp::Reverse;

/// Besides the nodes that are kept, one for so many places of the beam must be nearer than all that a walk could visit next: some of the nearest
/// are seen late.
const PLACES_PER_SPARE: usize = 12;

/// Nodes that are visited in any case, for each place of the beam. Fewer than without a filter, since what is seen is looked at as well.
const VISITS: f32 = 1.4;

/// If there are so many times fewer about than there should be, they lie elsewhere, even if the walk has found enough; and if it has visited
/// all that it may, what it has found is all only if there are no more than so many times fewer.
const RARE: f32 = 6.0;
const RARER: f32 = 1.4;

/// Nodes taken from all that may be returned, where a walk inside begins.
const SAMPLES: usize = 128;

/// How many times as wide a beam is inside, times the cube root of how rare what may be returned is: the query is far from all that lies there, so more
/// of that is about as near, and the farther the rarer it is.
const WIDER_INSIDE: f32 = 2.7;

/// Steps inside that take as long as one outside: most of what they see is not looked at.
const INSIDE_PER_STEP: usize = 2;

/// How far a walk goes.
#[derive(Clone, Copy)]
pub(in crate::index::hnsw) struct Stretch {
    /// How many nodes that may be returned must be nearer than what could be visited next.
    wanted: usize,
    /// Nodes that are visited in any case.
    sure: usize,
    /// Nodes that will have been visited then, if those that may be returned lie everywhere.
    pub(in crate::index::hnsw) steps: usize,
    /// For how many nodes there is one that may be returned.
    rarer: f32,
}

impl Stretch {
    /// For the `kept` nearest, with a beam of `width` among all nodes, of which one in `rarer` may be returned.
    pub(in crate::index::hnsw) fn new(kept: usize, width: usize, rarer: f32) -> Stretch {
        let (wanted, sure) = (kept + width / PLACES_PER_SPARE + 1, (width as f32 * VISITS) as usize);
        Stretch { wanted, sure, steps: sure.max((wanted as f32 * rarer) as usize), rarer }
    }
}

/// A walk under way.
struct Course<'a, 'g, A> {
    ground: Linked<'g>,
    admission: &'a A,
    stretch: Stretch,
    steps: usize,
    /// How many nodes it came to, or saw, and how many of these may be returned.
    met: usize,
    admitted: usize,
    /// Whether only nodes that may be returned are visited.
    inside: bool,
}

impl Linked<'_> {
    /// Leaves the nearest nodes that may be returned in `accepted`; whether they are found this way.
    #[inline(always)]
    pub(super) fn search_filtered<S: Simd, A: Admission>(
        self,
        simd: S,
        starts: &[u32],
        reach: &Reach<'_, A>,
        scratch: &mut Scratch,
    ) -> bool {
        let stretch = Stretch::new(reach.kept, reach.width, reach.beam as f32 / reach.width.max(1) as f32);
        scratch.beam.start(stretch.sure.min(self.nodes.max(1)));
        scratch.beyond.clear();
        scratch.accepted.start(stretch.wanted.max(reach.kept));
        scratch.noted.start(self.nodes);
        scratch.noted.hide(reach.hidden);
        scratch.near.clear();
        scratch.visited.start(self.nodes);
        scratch.visited.hide(reach.hidden);
        self.enter(simd, starts, scratch);
        let admission = reach.admission;
        let mut course = Course { ground: self, admission, stretch, steps: 0, met: 0, admitted: 0, inside: false };
        // A loop, so that the walk is compiled once: outside first, and inside if that did not find what it should.
        loop {
            course.run(simd, scratch);
            if course.inside {
                return scratch.beam.is_full();
            }
            let found =
                !course.is_spent() && !course.is_rarer(RARE) || scratch.accepted.is_full() && !course.is_rarer(RARER);
            let wider = (beam_of_estimates(reach.width) as f32 * WIDER_INSIDE * course.stretch.rarer.cbrt()) as usize;
            if found || reach.budget <= wider / INSIDE_PER_STEP {
                return found;
            }
            course.go_inside(simd, wider.min(self.nodes), scratch);
        }
    }
}

impl<A: Admission> Course<'_, '_, A> {
    /// Whether there are so many times fewer nodes that may be returned here than everywhere, as far as can be told.
    #[inline(always)]
    fn is_rarer(&self, times: f32) -> bool {
        let scarcely = self.stretch.rarer * times;
        let is_told = self.met as f32 > 4.0 * scarcely && self.steps >= self.stretch.sure / 3;
        is_told && (self.admitted as f32) * scarcely < self.met as f32
    }

    /// Whether it has visited all that it may: a beam more than should lie nearer than what it is after. It could go on, since of what is farther some
    /// has an estimate that is nearer; but that brings home ever less.
    #[inline(always)]
    fn is_spent(&self) -> bool {
        !self.inside && self.steps >= self.stretch.steps + self.stretch.sure
    }

    /// The nearest node that has not been visited, if something may be gained there: all that the beam has room for, then what is nearer than
    /// what will be returned.
    #[inline(always)]
    fn next(&self, beam: &mut Beam, beyond: &mut Beyond, accepted: &Beam) -> Option<u32> {
        if self.is_spent() {
            return None;
        }
        beam.follow().or_else(|| {
            let Reverse(candidate) = beyond.pop()?;
            (candidate < accepted.limit()).then(|| candidate.node())
        })
    }

    /// Visits the nearest nodes until nothing is to be gained from that.
    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S, scratch: &mut Scratch) {
        let (cells, mut queue) = (self.ground.cells, Queue::default());
        loop {
            let Scratch { visited, beam, beyond, accepted, .. } = &mut *scratch;
            self.ground.fill(&mut queue, visited, || self.next(beam, beyond, accepted));
            let next = if !self.inside && self.is_rarer(RARE) { None } else { queue.pop() };
            let Some((node, later)) = next else { return self.look(simd, scratch) };
            self.steps += 1;
            let mut coming = cells.coming(later as usize, FIRST_LINES);
            coming.ask();
            let cell = cells.cell(node as usize);
            let value = scratch.query.point().value(simd, cell);
            if scratch.noted.insert(node) && self.meets(node) {
                scratch.accepted.push(Candidate::new(value, node));
            }
            coming.ask();
            self.look(simd, scratch);
            coming.ask();
            self.take_in(simd, (cell, value), scratch, &mut coming);
            coming.ask_rest();
        }
    }

    /// Takes what a cell links to into the beam, or into what lies beyond it, as far as it is near enough, and remembers what has been seen.
    #[inline(always)]
    fn take_in<S: Simd>(
        &mut self,
        simd: S,
        (cell, value): (Cell<'_>, f32),
        scratch: &mut Scratch,
        coming: &mut Coming,
    ) {
        let Scratch { visited, noted, beam, beyond, accepted, query, near, .. } = scratch;
        // What is beyond the one is not visited, what is beyond the other is none of the nearest.
        let limit = accepted.limit();
        let edge = beam.limit().max(limit);
        for fan in (0..cell.len().div_ceil(BLOCK_ROWS)).step_by(2) {
            let (from, mut estimates) = ((value, edge.distance().min(f32::INFINITY)), [[0.0; BLOCK_ROWS]; 2]);
            let mut below = estimate_two(simd, query, (cell, fan), from, &mut estimates);
            coming.ask();
            while below != 0 {
                let at = below.trailing_zeros() as usize;
                below &= below - 1;
                let neighbour = cell.link(fan * BLOCK_ROWS + at);
                let candidate = Candidate::new(estimates[at / BLOCK_ROWS][at % BLOCK_ROWS], neighbour);
                if candidate < limit && noted.insert(neighbour) {
                    near.push(neighbour);
                    let is_sure = self.admission.knows(neighbour);
                    if is_sure { self.ground.prefetch(neighbour as usize) } else { self.admission.prefetch(neighbour) }
                }
                let leads_on = candidate < edge && !visited.contains(neighbour);
                if leads_on && (!self.inside || self.admission.knows(neighbour)) {
                    let displaced = beam.displace(candidate);
                    beyond.extend(displaced.filter(|&out| !self.inside && out < limit).map(Reverse));
                }
            }
        }
    }

    /// Looks at what was seen a step ago.
    #[inline(always)]
    fn look<S: Simd>(&mut self, simd: S, scratch: &mut Scratch) {
        let Scratch { near, accepted, query, .. } = scratch;
        near.retain(|&node| self.meets(node));
        let (fours, rest) = near.as_chunks::<4>();
        for &nodes in fours {
            for (value, node) in self.ground.distances(simd, query.point(), nodes).into_iter().zip(nodes) {
                accepted.push(Candidate::new(value, node));
            }
        }
        for &node in rest {
            accepted.push(Candidate::new(self.ground.distance(simd, query.point(), node as usize), node));
        }
        near.clear();
    }

    /// Counts a node; whether it may be returned.
    #[inline(always)]
    fn meets(&mut self, node: u32) -> bool {
        let is_admitted = self.admission.admits(node);
        self.met += 1;
        self.admitted += usize::from(is_admitted);
        is_admitted
    }

    /// Makes ready to go on among the nodes that may be returned, as if there were no others, with a beam of this width.
    #[inline(always)]
    fn go_inside<S: Simd>(&mut self, simd: S, width: usize, scratch: &mut Scratch) {
        let Linked { cells, nodes } = self.ground;
        (self.inside, self.stretch.sure) = (true, width);
        scratch.beam.start(width);
        scratch.beyond.clear();
        for &candidate in scratch.accepted.candidates() {
            scratch.beam.push(candidate);
        }
        let samples = self.admission.some(SAMPLES);
        let samples = samples.iter().filter(|&&node| (node as usize) < nodes);
        samples.clone().for_each(|&node| self.ground.prefetch(node as usize));
        // A row that hangs on the node of its twin has no links, and is no node.
        for &node in samples.filter(|&&node| cells.cell(node as usize).len() > 0) {
            let value = scratch.query.point().value(simd, cells.cell(node as usize));
            scratch.beam.push(Candidate::new(value, node));
        }
    }
}
