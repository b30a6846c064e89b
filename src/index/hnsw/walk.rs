//! Walking a layer: best-first search with a beam.
//!
//! The beam is one sorted list of the `ef` nearest nodes seen so far, each with a mark whether its links have been followed. The walk
//! follows the nearest unmarked one until none is left. All its memory lies in a [`Scratch`] that is used again.

use super::graph::Layer;
use super::ground::Ground;
use crate::simd::{Simd, prefetch};
use crate::vectors::CellQuery;
use parking_lot::Mutex;

/// A distance and a node in one integer that sorts by distance, then node; the lowest bit marks a node whose links have been followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(transparent)]
pub(crate) struct Candidate(u64);

impl Candidate {
    #[inline(always)]
    pub(crate) fn new(distance: f32, node: u32) -> Candidate {
        // IEEE floats sort like integers once the negative ones are turned round.
        let bits = distance.to_bits();
        let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        Candidate(u64::from(ordered) << 32 | u64::from(node) << 1)
    }

    #[inline(always)]
    pub(crate) fn node(self) -> u32 {
        (self.0 as u32) >> 1
    }

    pub(crate) fn distance(self) -> f32 {
        let ordered = (self.0 >> 32) as u32;
        f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
    }
}

/// The nearest nodes seen so far.
///
/// What is not there yet counts as infinitely far, so that the list is always full, and taking one in is the same few operations on
/// each of its lines, without a branch: `new[i] = max(old[i - 1], min(old[i], candidate))`.
#[derive(Default)]
pub(crate) struct Beam {
    /// A line of zeros (of its last the first candidate is compared with), then the candidates in whole lines.
    lines: Vec<[u64; LINE]>,
    width: usize,
    len: usize,
    /// Everything in the lines before this one has been followed.
    next: usize,
}

/// Candidates that are compared at a time.
const LINE: usize = 8;

impl Beam {
    /// Empties the beam and sets its width.
    pub(crate) fn start(&mut self, width: usize) {
        (self.width, self.len, self.next) = (width, 0, 0);
        self.lines.clear();
        self.lines.resize(1 + width.div_ceil(LINE), [u64::MAX; LINE]);
        self.lines[0] = [0; LINE];
    }

    /// Whether it has passed over nodes, or may have.
    pub(crate) fn is_full(&self) -> bool {
        self.len == self.width
    }

    /// What a candidate must be below to be taken in.
    #[inline(always)]
    pub(crate) fn limit(&self) -> Candidate {
        match self.candidates().last() {
            Some(&worst) if self.len == self.width => worst,
            _ => Candidate(u64::MAX),
        }
    }

    /// The distance below which a candidate may be taken in.
    #[inline(always)]
    pub(crate) fn reach(&self) -> f32 {
        if self.len == self.width { self.limit().distance() } else { f32::INFINITY }
    }

    /// Takes a candidate in if it is among the nearest so far.
    #[inline(always)]
    pub(crate) fn push(&mut self, candidate: Candidate) {
        if candidate >= self.limit() {
            return;
        }
        self.len = self.width.min(self.len + 1);
        let mut at = self.len.div_ceil(LINE);
        loop {
            let before = self.lines[at - 1][LINE - 1];
            self.lines[at] = shifted(self.lines[at], before, candidate.0);
            if before < candidate.0 {
                break;
            }
            at -= 1;
        }
        self.next = self.next.min(at - 1);
    }

    /// The nearest node whose links have not been followed; it is marked.
    #[inline(always)]
    pub(crate) fn follow(&mut self) -> Option<u32> {
        self.follow_before(Candidate(u64::MAX), usize::MAX)
    }

    /// The nearest node whose links have not been followed, if it is one of the first `sure` or nearer than `limit`; it is marked.
    #[inline(always)]
    pub(crate) fn follow_before(&mut self, limit: Candidate, sure: usize) -> Option<u32> {
        let lines = self.len.div_ceil(LINE);
        while self.next < lines {
            let places = (self.len - self.next * LINE).min(LINE);
            for (at, candidate) in self.lines[1 + self.next][..places].iter_mut().enumerate() {
                if *candidate & 1 == 0 {
                    if *candidate >= limit.0 && self.next * LINE + at >= sure {
                        return None;
                    }
                    *candidate |= 1;
                    return Some((*candidate as u32) >> 1);
                }
            }
            self.next += 1;
        }
        None
    }

    /// The node that will be followed next, as things stand.
    #[inline(always)]
    pub(crate) fn peek(&self) -> Option<u32> {
        let line = self.lines.get(1 + self.next)?;
        line.iter().find(|&&candidate| candidate & 1 == 0).map(|&candidate| (candidate as u32) >> 1)
    }

    /// The nearest, sorted.
    pub(crate) fn candidates(&self) -> &[Candidate] {
        if self.lines.is_empty() {
            return &[];
        }
        bytemuck::cast_slice(&self.lines.as_flattened()[LINE..LINE + self.len])
    }
}

/// A line that `candidate` has been put into, if it is less than the last; the candidate before the line is `before`.
#[inline(always)]
fn shifted(line: [u64; LINE], before: u64, candidate: u64) -> [u64; LINE] {
    let mut new = [0; LINE];
    let previous = [before, line[0], line[1], line[2], line[3], line[4], line[5], line[6]];
    for i in 0..LINE {
        new[i] = previous[i].max(line[i].min(candidate));
    }
    new
}

/// Which nodes have been seen; cleared in time proportional to what was set.
#[derive(Default)]
pub(super) struct Visited {
    words: Vec<u64>,
    touched: Vec<u32>,
}

impl Visited {
    pub(super) fn start(&mut self, nodes: usize) {
        for &word in &self.touched {
            self.words[word as usize] = 0;
        }
        self.touched.clear();
        let words = nodes.div_ceil(64);
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
    }

    /// Whether a node is marked. Nodes that do not exist are.
    #[inline(always)]
    pub(super) fn contains(&self, node: u32) -> bool {
        self.words.get(node as usize / 64).is_none_or(|word| word >> (node % 64) & 1 == 1)
    }

    /// Marks a node that is not to be visited.
    pub(super) fn hide(&mut self, node: Option<u32>) {
        if let Some(node) = node {
            self.insert(node);
        }
    }

    /// Marks a node; whether it is new. Nodes that do not exist are never new.
    #[inline(always)]
    pub(super) fn insert(&mut self, node: u32) -> bool {
        let Some(word) = self.words.get_mut(node as usize / 64) else { return false };
        let bit = 1 << (node % 64);
        if *word & bit != 0 {
            return false;
        }
        if *word == 0 {
            self.touched.push(node / 64);
        }
        *word |= bit;
        true
    }
}

/// What a walk needs besides the graph.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(super) visited: Visited,
    fresh: Vec<u32>,
    pub(crate) beam: Beam,
    /// The nearest among those that may be returned, where not all may; of a walk among cells, the nearest with distances instead of estimates.
    pub(crate) accepted: Beam,
    /// What a gather has looked at, and what of it is near.
    pub(super) gathered: Vec<Candidate>,
    pub(super) near: Vec<u32>,
    /// The query of a walk among cells.
    pub(super) query: CellQuery,
}

/// The memory of walks that are not under way: a walk takes it, or makes it, and gives it back.
#[derive(Default)]
pub(crate) struct Scratches(Mutex<Vec<Scratch>>);

impl Scratches {
    /// Lends memory to `work`. If that panics the memory is gone, not in disorder.
    pub(crate) fn lend<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> R {
        let mut scratch = self.0.lock().pop().unwrap_or_default();
        let result = work(&mut scratch);
        self.0.lock().push(scratch);
        result
    }
}

/// Which nodes may be returned.
pub(crate) trait Admission {
    /// Whether to ask at all.
    const ASKS: bool;
    /// Whether the row in this slot may be returned.
    fn admits(&self, slot: u32) -> bool;
}

/// All of them.
pub(crate) struct Everything;

impl Admission for Everything {
    const ASKS: bool = false;

    #[inline(always)]
    fn admits(&self, _slot: u32) -> bool {
        true
    }
}

/// A layer on its ground. `UPPER` says which kind of layer it is.
pub(crate) struct Terrain<'a, G, const UPPER: bool> {
    pub(crate) ground: G,
    pub(crate) layer: &'a Layer,
}

impl<G: Ground, const UPPER: bool> Terrain<'_, G, UPPER> {
    #[inline(always)]
    fn slot(&self, node: u32) -> u32 {
        if UPPER { self.layer.slot(node) } else { node }
    }

    #[inline(always)]
    fn distance<S: Simd>(&self, simd: S, from: G::Point<'_>, node: u32) -> f32 {
        if UPPER {
            self.ground.distance_above(simd, from, self.layer, node)
        } else {
            self.ground.distance(simd, from, node as usize)
        }
    }

    #[inline(always)]
    fn prefetch(&self, node: u32) {
        if UPPER { self.ground.prefetch_above(self.layer, node) } else { self.ground.prefetch(node as usize) }
    }

    /// Starts a walk at `starts`: they are in the beam, marked as seen.
    #[inline(always)]
    pub(crate) fn start<S: Simd, A: Admission>(
        &self,
        simd: S,
        from: G::Point<'_>,
        starts: &[u32],
        admission: &A,
        scratch: &mut Scratch,
    ) {
        scratch.visited.start(self.layer.len());
        for &node in starts {
            if (node as usize) < self.layer.len() && scratch.visited.insert(node) {
                let candidate = Candidate::new(self.distance(simd, from, node), node);
                scratch.beam.push(candidate);
                if A::ASKS && admission.admits(self.slot(node)) {
                    scratch.accepted.push(candidate);
                }
            }
        }
    }

    /// Follows links from what is in the beam until nothing nearer turns up.
    #[inline(always)]
    pub(crate) fn walk<S: Simd, A: Admission>(
        &self,
        simd: S,
        from: G::Point<'_>,
        admission: &A,
        scratch: &mut Scratch,
    ) {
        let Scratch { visited, fresh, beam, accepted, .. } = scratch;
        let nodes = self.layer.len() as u32;
        let ahead = self.ground.ahead();
        while let Some(node) = beam.follow() {
            fresh.clear();
            for &neighbour in self.layer.links.row(node as usize) {
                // Also the end of the list: NONE is larger than any node.
                if neighbour >= nodes {
                    break;
                }
                if visited.insert(neighbour) {
                    fresh.push(neighbour);
                }
            }
            for &neighbour in fresh.iter().take(ahead) {
                self.prefetch(neighbour);
            }
            for i in 0..fresh.len() {
                if let Some(&neighbour) = fresh.get(i + ahead) {
                    self.prefetch(neighbour);
                }
                let neighbour = fresh[i];
                let candidate = Candidate::new(self.distance(simd, from, neighbour), neighbour);
                beam.push(candidate);
                if A::ASKS && admission.admits(self.slot(neighbour)) {
                    accepted.push(candidate);
                }
            }
            if let Some(next) = beam.peek() {
                prefetch(self.layer.links.row(next as usize).as_ptr());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_sort_by_distance_then_node() {
        let distances = [f32::NEG_INFINITY, -3.0, -1e-40, 0.0, 1e-40, 0.5, 2.0, f32::INFINITY];
        let candidates: Vec<_> = distances.iter().map(|&distance| Candidate::new(distance, 7)).collect();
        assert!(candidates.is_sorted());
        assert!(Candidate::new(1.0, 3) < Candidate::new(1.0, 4));
        assert!(Candidate::new(f32::INFINITY, 3) < Candidate::new(f32::NAN, 0), "a NaN is farther than all");
        for (&distance, candidate) in distances.iter().zip(&candidates) {
            assert_eq!((candidate.distance(), candidate.node()), (distance, 7));
        }
    }

    #[test]
    fn a_beam_keeps_the_nearest_and_follows_them_in_order() {
        let mut beam = Beam::default();
        beam.start(3);
        for (distance, node) in [(5.0, 1), (2.0, 2), (9.0, 3), (3.0, 4)] {
            beam.push(Candidate::new(distance, node));
        }
        assert_eq!(beam.follow(), Some(2));
        beam.push(Candidate::new(1.0, 5));
        assert_eq!((beam.follow(), beam.follow(), beam.follow()), (Some(5), Some(4), None));
    }
}
