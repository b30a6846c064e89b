//! Walking a layer: best-first search with a beam.
//!
//! The beam is one sorted list of the `ef` nearest nodes seen so far, each with a mark whether its links have been followed. The walk
//! follows the nearest unmarked one until none is left. All its memory lies in a [`Scratch`] that is used again.

use super::graph::Layer;
use crate::index::table::Table;
use crate::simd::{Simd, prefetch};
use crate::vectors::Space;

/// A distance and a node in one integer that sorts by distance, then node; the lowest bit marks a node whose links have been followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

    #[inline(always)]
    fn is_followed(self) -> bool {
        self.0 & 1 == 1
    }
}

/// The nearest nodes seen so far.
#[derive(Default)]
pub(crate) struct Beam {
    sorted: Vec<Candidate>,
    width: usize,
    /// Everything before this has been followed.
    next: usize,
}

impl Beam {
    /// Empties the beam and sets its width.
    pub(crate) fn start(&mut self, width: usize) {
        self.sorted.clear();
        self.sorted.reserve(width + 1);
        self.width = width;
        self.next = 0;
    }

    /// Takes a candidate in if it is among the nearest so far.
    #[inline(always)]
    pub(crate) fn push(&mut self, candidate: Candidate) {
        let full = self.sorted.len() == self.width;
        if full && self.sorted.last().is_none_or(|&worst| candidate >= worst) {
            return;
        }
        let at = self.sorted.partition_point(|&other| other < candidate);
        if full {
            self.sorted.pop();
        }
        self.sorted.insert(at, candidate);
        self.next = self.next.min(at);
    }

    /// The nearest node whose links have not been followed; it is marked.
    #[inline(always)]
    fn follow(&mut self) -> Option<u32> {
        while let Some(candidate) = self.sorted.get_mut(self.next) {
            self.next += 1;
            if !candidate.is_followed() {
                candidate.0 |= 1;
                return Some(candidate.node());
            }
        }
        None
    }

    /// The node that will be followed next, as things stand.
    #[inline(always)]
    fn peek(&self) -> Option<u32> {
        self.sorted.get(self.next).map(|candidate| candidate.node())
    }

    /// The nearest, sorted.
    pub(crate) fn candidates(&self) -> &[Candidate] {
        &self.sorted
    }
}

/// Which nodes have been seen; cleared in time proportional to what was set.
#[derive(Default)]
struct Visited {
    words: Vec<u64>,
    touched: Vec<u32>,
}

impl Visited {
    fn start(&mut self, nodes: usize) {
        for &word in &self.touched {
            self.words[word as usize] = 0;
        }
        self.touched.clear();
        let words = nodes.div_ceil(64);
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
    }

    /// Marks a node; whether it is new. Nodes that do not exist are never new.
    #[inline(always)]
    fn insert(&mut self, node: u32) -> bool {
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
    visited: Visited,
    fresh: Vec<u32>,
    pub(crate) beam: Beam,
    /// The nearest among those that may be returned, where not all may.
    pub(crate) accepted: Beam,
}

/// One side of a distance: values and term.
#[derive(Clone, Copy)]
pub(crate) struct Point<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) term: f32,
}

impl<'a> Point<'a> {
    /// The row in a slot.
    #[inline(always)]
    pub(crate) fn of_slot(table: &'a Table, slot: usize) -> Point<'a> {
        Point { values: table.rows().row(slot), term: table.terms().first(slot) }
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

/// A layer, and the rows that its nodes stand for. `UPPER` says which kind of layer it is.
pub(crate) struct Terrain<'a, const UPPER: bool> {
    pub(crate) table: &'a Table,
    pub(crate) layer: &'a Layer,
}

/// Bytes of rows that are asked for ahead of their use: about as many lines as a core can wait for at a time. On rows of 512 bytes
/// three times as much cost 5 to 10 %; on longer rows it makes no difference.
const PREFETCH_BYTES: usize = 2 << 10;

impl<const UPPER: bool> Terrain<'_, UPPER> {
    #[inline(always)]
    pub(crate) fn slot(&self, node: u32) -> u32 {
        if UPPER { self.layer.slot(node) } else { node }
    }

    #[inline(always)]
    pub(crate) fn distance<S: Simd, M: Space>(&self, simd: S, space: M, point: Point<'_>, node: u32) -> f32 {
        let slot = self.slot(node) as usize;
        debug_assert!(slot < self.table.slots());
        // SAFETY: nodes that come here are nodes of the layer (`Visited` lets no others through), and the slots of a layer are slots
        // of its table: the base layer has as many nodes as the table has linked slots, upper layers are checked when loaded. The
        // rows are f32: the index takes no other codec.
        let (row, term) =
            unsafe { (self.table.rows().row_unchecked(slot), *self.table.terms().address_unchecked(slot)) };
        space.distance(simd, point.values, point.term, row, term)
    }

    #[inline(always)]
    fn prefetch_row(&self, node: u32) {
        let slot = self.slot(node) as usize;
        // SAFETY: as in `distance`.
        let (row, term) =
            unsafe { (self.table.rows().address_unchecked(slot), self.table.terms().address_unchecked(slot)) };
        prefetch(term);
        let lines = self.table.width() / 16;
        for line in 0..lines.min(PREFETCH_BYTES / 64) {
            prefetch(row.wrapping_add(line * 16));
        }
    }

    /// Starts a walk at `starts`: they are in the beam, marked as seen.
    #[inline(always)]
    pub(crate) fn start<S: Simd, M: Space, A: Admission>(
        &self,
        simd: S,
        space: M,
        point: Point<'_>,
        starts: &[u32],
        admission: &A,
        scratch: &mut Scratch,
    ) {
        scratch.visited.start(self.layer.len());
        for &node in starts {
            if (node as usize) < self.layer.len() && scratch.visited.insert(node) {
                let candidate = Candidate::new(self.distance(simd, space, point, node), node);
                scratch.beam.push(candidate);
                if A::ASKS && admission.admits(self.slot(node)) {
                    scratch.accepted.push(candidate);
                }
            }
        }
    }

    /// Follows links from what is in the beam until nothing nearer turns up.
    #[inline(always)]
    pub(crate) fn walk<S: Simd, M: Space, A: Admission>(
        &self,
        simd: S,
        space: M,
        point: Point<'_>,
        admission: &A,
        scratch: &mut Scratch,
    ) {
        let Scratch { visited, fresh, beam, accepted } = scratch;
        let nodes = self.layer.len() as u32;
        let ahead = (PREFETCH_BYTES / (self.table.width() * size_of::<f32>())).clamp(1, 8);
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
                self.prefetch_row(neighbour);
            }
            for i in 0..fresh.len() {
                if let Some(&neighbour) = fresh.get(i + ahead) {
                    self.prefetch_row(neighbour);
                }
                let neighbour = fresh[i];
                let candidate = Candidate::new(self.distance(simd, space, point, neighbour), neighbour);
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
