//! Walking a layer: best-first search with a beam.
//!
//! The walk follows the links of the nearest node in its [`Beam`] that has not been followed, until there is none. All its memory lies in a
//! [`Scratch`] that is used again.

pub(crate) use super::beam::{Beam, Candidate};

use super::graph::Layer;
use super::ground::Ground;
use crate::simd::{Simd, prefetch};
use crate::vectors::CellQuery;
use parking_lot::Mutex;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

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

    /// Marks all of these nodes that are below `nodes`; those of them that are new. Without a branch: which they are nobody can guess.
    #[inline(always)]
    fn insert_all(&mut self, marked: &[u32], nodes: u32, new: &mut Vec<u32>) {
        let (mut count, mut touched) = (0, self.touched.len());
        new.resize(marked.len(), 0);
        self.touched.resize(touched + marked.len(), 0);
        for &node in marked {
            let exists = node < nodes;
            let at = if exists { node / 64 } else { 0 };
            let word = &mut self.words[at as usize];
            let is_new = exists & (*word >> (node % 64) & 1 == 0);
            (new[count], self.touched[touched]) = (node, at);
            count += usize::from(is_new);
            touched += usize::from(is_new & (*word == 0));
            *word |= u64::from(is_new) << (node % 64);
        }
        new.truncate(count);
        self.touched.truncate(touched);
    }
}

/// Cells that a walk fetches at least ahead of the one that it is in. With fewer it waits for memory; with more it goes where it would not have
/// gone, had it seen what lies between.
const AHEAD: usize = 2;

/// Cells that are asked for together. Whoever asks for a cell waits until it is known which page of memory it is in, since few pages are remembered;
/// of two that is found out at a time. With more, a walk goes where it need not.
const TOGETHER: usize = 2;

/// The nodes whose cells are on their way from memory, in the order in which a walk comes to them.
#[derive(Default)]
pub(super) struct Queue {
    nodes: [u32; AHEAD + TOGETHER],
    waiting: usize,
}

impl Queue {
    /// Whether it is time to ask for more.
    #[inline(always)]
    pub(super) fn is_low(&self) -> bool {
        self.waiting <= AHEAD
    }

    /// Whether one more may be asked for.
    #[inline(always)]
    pub(super) fn has_room(&self) -> bool {
        self.waiting < self.nodes.len()
    }

    /// Appends a node; there must be room.
    #[inline(always)]
    pub(super) fn push(&mut self, node: u32) {
        self.nodes[self.waiting] = node;
        self.waiting += 1;
    }

    /// Takes the first node out; beside it is named the one that comes [`AHEAD`] behind it, or the last, which may be the same.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<(u32, u32)> {
        let last = self.waiting.checked_sub(1)?;
        let (node, later) = (self.nodes[0], self.nodes[last.min(AHEAD)]);
        self.nodes.copy_within(1.., 0);
        self.waiting = last;
        Some((node, later))
    }
}

/// What a walk could visit but has no place for in its beam, the nearest first.
pub(super) type Beyond = BinaryHeap<Reverse<Candidate>>;

/// How far a walk among cells has come.
#[derive(Default)]
pub(super) struct Gait {
    pub(super) queue: Queue,
    pub(super) steps: usize,
    /// Whether a walk after some nodes alone, which goes all the way at once, found them.
    pub(super) found: bool,
}

/// What a walk needs besides the graph.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(super) visited: Visited,
    /// What a filtered walk among cells has seen.
    pub(super) noted: Visited,
    /// For such a walk.
    pub(super) beyond: Beyond,
    /// What is to be measured, and what is on its way from memory.
    fresh: Vec<u32>,
    coming: Vec<u32>,
    pub(crate) beam: Beam,
    /// The nearest among those that may be returned, where not all may; of a walk among cells, the nearest with distances instead of estimates.
    pub(crate) accepted: Beam,
    /// What a gather has looked at, and what of it is near.
    pub(super) gathered: Vec<Candidate>,
    pub(super) near: Vec<u32>,
    /// What the walk before has left in `near`.
    pub(super) before: Vec<u32>,
    /// The query of a walk among cells, and how that goes.
    pub(super) query: CellQuery,
    pub(super) gait: Gait,
}

/// The memory of walks that are not under way: a walk takes it, or makes it, and gives it back. In boxes, so that threads that give back by turns
/// write to one line of the cache, and not to all that a [`Scratch`] is.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "only the address is to move")]
pub(crate) struct Scratches(Mutex<Vec<Box<Scratch>>>);

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
    /// Whether it is already known that it may, without much memory being read.
    fn knows(&self, slot: u32) -> bool {
        self.admits(slot)
    }
    /// Asks the memory system for what [`admits`](Admission::admits) will read.
    fn prefetch(&self, _slot: u32) {}
    /// A few of those that may be returned, from all of them.
    fn some(&self, _most: usize) -> Vec<u32> {
        Vec::new()
    }
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
            self.ground.glance(simd, from, node as usize)
        }
    }

    #[inline(always)]
    fn prefetch(&self, node: u32) {
        if UPPER { self.ground.prefetch_above(self.layer, node) } else { self.ground.prefetch_glance(node as usize) }
    }

    /// How many nodes there are.
    #[inline(always)]
    fn nodes(&self) -> usize {
        if UPPER { self.layer.len() } else { self.ground.nodes() }
    }

    /// The places for links of a node.
    #[inline(always)]
    fn list(&self, node: u32) -> &[u32] {
        if UPPER { self.layer.links.row(node as usize) } else { self.ground.list(node) }
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
        scratch.visited.start(self.nodes());
        for &node in starts {
            if (node as usize) < self.nodes() && scratch.visited.insert(node) {
                let candidate = Candidate::new(self.distance(simd, from, node), node);
                scratch.beam.push(candidate);
                if A::ASKS && admission.admits(self.slot(node)) {
                    scratch.accepted.push(candidate);
                }
            }
        }
    }

    /// Follows links from what is in the beam until nothing nearer turns up. Where the ground has steps overlap, what a node links to is measured
    /// one step later: by then it has come from memory, and the node that is followed meanwhile would mostly have been followed next anyway.
    #[inline(always)]
    pub(crate) fn walk<S: Simd, A: Admission>(
        &self,
        simd: S,
        from: G::Point<'_>,
        admission: &A,
        scratch: &mut Scratch,
    ) {
        let overlaps = !UPPER && self.ground.overlaps();
        scratch.fresh.clear();
        loop {
            let Scratch { visited, fresh, coming, beam, accepted, .. } = &mut *scratch;
            match beam.follow() {
                Some(node) => self.collect(node, visited, coming),
                None if fresh.is_empty() => break,
                None => coming.clear(),
            }
            if !overlaps {
                std::mem::swap(fresh, coming);
            }
            // What is measured one step later is asked for one by one, so that the memory has few lines to bring at a time.
            let (asked, ahead): (&[u32], usize) = if overlaps { (coming, 0) } else { (fresh, self.ground.ahead()) };
            for &neighbour in asked.iter().take(ahead) {
                self.prefetch(neighbour);
            }
            let mut front = self.prefetch_next(beam);
            for (i, &neighbour) in fresh.iter().enumerate() {
                if let Some(&later) = asked.get(i + ahead) {
                    self.prefetch(later);
                }
                let candidate = Candidate::new(self.distance(simd, from, neighbour), neighbour);
                beam.push(candidate);
                if candidate < front {
                    // It will be followed next, as things stand now.
                    front = candidate;
                    self.prefetch_links(neighbour);
                }
                if A::ASKS && admission.admits(self.slot(neighbour)) {
                    accepted.push(candidate);
                }
            }
            for &neighbour in asked.iter().skip(fresh.len() + ahead) {
                self.prefetch(neighbour);
            }
            fresh.clear();
            if overlaps {
                std::mem::swap(fresh, coming);
            }
        }
    }

    /// What a node links to that has not been seen before.
    #[inline(always)]
    fn collect(&self, node: u32, visited: &mut Visited, fresh: &mut Vec<u32>) {
        // The end of a list is no node, nor is what a write has linked that is under way.
        visited.insert_all(self.list(node), self.nodes() as u32, fresh);
    }

    /// Asks for the links of the node that will be followed next, as things stand; that node.
    #[inline(always)]
    fn prefetch_next(&self, beam: &Beam) -> Candidate {
        let Some(next) = beam.peek() else { return Candidate::LAST };
        self.prefetch_links(next.node());
        next
    }

    #[inline(always)]
    fn prefetch_links(&self, node: u32) {
        for line in self.list(node).chunks(16) {
            prefetch(line.as_ptr());
        }
    }
}
