//! A walk among cells after the few nodes that may be returned.
//!
//! Where all may be, a walk brings home the nodes that it visits. But a cell says of everything that it links to how far that about is, so a walk
//! *sees* many times as many nodes as it visits; and what is seen near the query is nearly always what lies there. So whatever is seen and may be
//! returned is looked at at once, in its own eight bits, and the walk ends when what it is after is nearer than all that it could visit next. If one
//! node in ten may be returned, the ten nearest are among the hundred nearest of all, and these are seen from a few more places than without a filter.
//!
//! That holds where such nodes lie about everywhere. If the first steps see far fewer than there should be, they lie *elsewhere*: then the walk goes
//! on inside, from one to another, as if there were no others. It begins at the nearest of what it has, and of a few taken from all of them.
//! Nodes that lie in one region are linked well enough for that.

use super::{Ground, Reach};
use super::linked::{AHEAD, FIRST_LINES, Linked, beam_of_estimates, mask_of};
use crate::index::hnsw::walk::{Admission, Beam, Candidate, Scratch};
use crate::kernel::BLOCK_ROWS;
use crate::simd::Simd;
use crate::vectors::Cell;

/// How many times as many nodes as are kept must be nearer than all that a walk could visit next. What is seen has estimates only, so some
/// of those that are nearest are seen late.
const MORE: f32 = 1.5;

/// A walk has failed if it has visited so many times as many nodes as it should have.
const PATIENCE: usize = 3;

/// If there are so many times fewer about than there should be, they lie elsewhere.
const RARE: usize = 6;

/// Nodes taken from all that may be returned, where a walk inside begins.
const SAMPLES: usize = 32;

pub(in crate::index::hnsw) fn tune(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// How far a walk goes.
#[derive(Clone, Copy)]
pub(in crate::index::hnsw) struct Stretch {
    /// How many that may be returned must be nearer than what could be visited next.
    pub(in crate::index::hnsw) wanted: usize,
    /// Nodes that are visited in any case.
    pub(in crate::index::hnsw) sure: usize,
    /// Nodes that will have been visited then, if those that may be returned lie everywhere.
    pub(in crate::index::hnsw) steps: usize,
}

impl Stretch {
    /// For the `kept` nearest, with a beam of `width` among all nodes, `widened` being as many times wider as there are fewer that may be returned.
    pub(in crate::index::hnsw) fn new(kept: usize, width: usize, widened: usize) -> Stretch {
        let (width, sure) = (width.max(1), beam_of_estimates(width));
        let rarer = widened.max(width) as f32 / width as f32;
        let wanted = ((kept as f32 * tune("NF_MORE", MORE as f64) as f32) as usize).max((sure as f32 / rarer) as usize).max(1);
        Stretch { wanted, sure, steps: sure.max((wanted as f32 * rarer) as usize) }
    }
}

/// A walk under way.
struct Course<'a, 'g, A> {
    ground: Linked<'g>,
    admission: &'a A,
    /// Nodes that are visited in any case.
    sure: usize,
    steps: usize,
    /// How many nodes were seen, and how many of these may be returned.
    seen: usize,
    admitted: usize,
    /// Whether only nodes that may be returned are visited.
    inside: bool,
    /// What has been seen and is still to be looked at.
    coming: Vec<u32>,
}

impl Linked<'_> {
    /// The nearest nodes that may be returned; `None` if they have not been found this way.
    #[inline(always)]
    pub(super) fn search_filtered<'s, S: Simd, A: Admission>(
        self,
        simd: S,
        starts: &[u32],
        reach: &Reach<'_, A>,
        scratch: &'s mut Scratch,
    ) -> Option<&'s Beam> {
        let stretch = Stretch::new(reach.kept, reach.width, reach.beam);
        let Stretch { wanted, sure, steps } = stretch;
        scratch.beam.start((steps * tune("NF_PAT", PATIENCE as f64) as usize).min(self.nodes.max(1)));
        scratch.accepted.start(wanted.max(reach.kept));
        scratch.noted.start(self.nodes);
        scratch.noted.hide(reach.hidden);
        self.start(simd, starts, reach.hidden, scratch);
        let coming = std::mem::take(&mut scratch.fresh);
        let mut course = Course {
            ground: self,
            admission: reach.admission,
            sure,
            steps: 0,
            seen: 0,
            admitted: 0,
            inside: false,
            coming,
        };
        let rarer = reach.beam.div_ceil(reach.width.max(1));
        let is_elsewhere = |course: &Course<'_, '_, A>| {
            course.steps >= sure && course.seen > 4 * rarer * RARE && course.admitted * rarer * RARE < course.seen
        };
        course.run(simd, scratch, is_elsewhere);
        let everywhere = scratch.accepted.is_full() || !scratch.beam.is_full();
        let mut found = everywhere && !is_elsewhere(&course);
        if !found && reach.budget > 2 * sure {
            found = course.go_inside(simd, sure.min(self.nodes), scratch);
        }
        scratch.fresh = course.coming;
        found.then_some(&scratch.accepted)
    }
}

impl<A: Admission> Course<'_, '_, A> {
    /// Visits the nearest nodes until there is nothing to be gained, or `has_failed`.
    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S, scratch: &mut Scratch, has_failed: impl Fn(&Self) -> bool) {
        let Linked { cells, nodes } = self.ground;
        let (lines, mut queue, mut waiting) = (cells.lines(), [0u32; AHEAD + 1], 0);
        let third = (lines.saturating_sub(FIRST_LINES)).div_ceil(3);
        loop {
            while waiting <= AHEAD {
                let Some(node) = scratch.beam.follow_before(scratch.accepted.limit(), self.sure) else { break };
                if (node as usize) < nodes && scratch.visited.insert(node) {
                    cells.prefetch(node as usize, 0..FIRST_LINES.min(lines));
                    queue[waiting] = node;
                    waiting += 1;
                }
            }
            if waiting == 0 {
                self.look(simd, scratch);
                return;
            }
            if has_failed(self) {
                self.coming.clear();
                return;
            }
            self.steps += 1;
            let (node, newest) = (queue[0], queue[waiting - 1] as usize);
            queue.copy_within(1.., 0);
            waiting -= 1;
            let fetch = |part: usize| {
                let from = (FIRST_LINES + part * third).min(lines);
                cells.prefetch(newest, from..(from + third).min(lines));
            };
            fetch(0);
            let cell = cells.cell(node as usize);
            let value = scratch.query.point().value(simd, cell);
            if scratch.noted.insert(node) && self.admission.admits(node) {
                scratch.accepted.push(Candidate::new(value, node));
            }
            fetch(1);
            self.look(simd, scratch);
            self.take_in(simd, (cell, value), scratch);
            fetch(2);
        }
    }

    /// Takes into the beam what a cell links to, as far as it is near enough, and notes what is to be looked at.
    #[inline(always)]
    fn take_in<S: Simd>(&mut self, simd: S, (cell, value): (Cell<'_>, f32), scratch: &mut Scratch) {
        let Scratch { visited, noted, beam, accepted, query, .. } = scratch;
        // What is beyond it will not be visited.
        let edge = beam.place(self.sure).max(accepted.limit());
        for fan in (0..cell.len().div_ceil(BLOCK_ROWS)).step_by(2) {
            let (from, mut estimates) = ((value, edge.distance()), [[0.0; BLOCK_ROWS]; 2]);
            let below = if (fan + 1) * BLOCK_ROWS < cell.len() {
                query.estimate::<S, 2>(simd, cell, fan, from, &mut estimates)
            } else {
                let [first, _] = &mut estimates;
                query.estimate::<S, 1>(simd, cell, fan, from, std::array::from_mut(first))
            };
            let mut below = below & mask_of(cell.len() - fan * BLOCK_ROWS);
            while below != 0 {
                let at = below.trailing_zeros() as usize;
                below &= below - 1;
                let neighbour = cell.link(fan * BLOCK_ROWS + at);
                let candidate = Candidate::new(estimates[at / BLOCK_ROWS][at % BLOCK_ROWS], neighbour);
                let is_sure = self.admission.knows(neighbour);
                if candidate < accepted.limit() && noted.insert(neighbour) {
                    self.seen += 1;
                    self.coming.push(neighbour);
                    if is_sure { self.ground.prefetch(neighbour as usize) } else { self.admission.prefetch(neighbour) }
                }
                if (is_sure || !self.inside) && candidate < edge && !visited.contains(neighbour) {
                    beam.push(candidate);
                }
            }
        }
    }

    /// Looks at what was seen a step ago.
    #[inline(always)]
    fn look<S: Simd>(&mut self, simd: S, scratch: &mut Scratch) {
        for &node in &self.coming {
            if self.admission.admits(node) {
                self.admitted += 1;
                let value = scratch.query.point().value(simd, self.ground.cells.cell(node as usize));
                scratch.accepted.push(Candidate::new(value, node));
            }
        }
        self.coming.clear();
    }

    /// Goes on among the nodes that may be returned, as if there were no others, with a beam of this width. Whether that led to as many.
    #[inline(always)]
    fn go_inside<S: Simd>(&mut self, simd: S, width: usize, scratch: &mut Scratch) -> bool {
        let Linked { cells, nodes } = self.ground;
        (self.inside, self.sure) = (true, width);
        scratch.beam.start(width);
        for &candidate in scratch.accepted.candidates() {
            scratch.beam.push(candidate);
        }
        let samples = self.admission.some(SAMPLES);
        let samples = samples.iter().filter(|&&node| (node as usize) < nodes);
        samples.clone().for_each(|&node| self.ground.prefetch(node as usize));
        for &node in samples.filter(|&&node| scratch.noted.insert(node)) {
            let value = scratch.query.point().value(simd, cells.cell(node as usize));
            scratch.accepted.push(Candidate::new(value, node));
            scratch.beam.push(Candidate::new(value, node));
        }
        self.run(simd, scratch, |_| false);
        scratch.beam.is_full()
    }
}
