//! Rows from the nearest of which a walk may begin, because no other way is sure to lead there.
//!
//! A walk goes from a node to nearer ones, and stays in the cluster where it begins if another lies so far behind it that no link leads there.
//! So a graph keeps a few of its nodes as *pivots*: there are no two of them nearer to each other than a certain distance, and no row came that was farther
//! than that from all of them. Whatever lies apart has one. When there are too many the distance is doubled, and those are left that are
//! as far apart as that (Charikar, Chekuri, Feder and Motwani, Incremental clustering and dynamic information retrieval, STOC 1997).
//! Among rows that are all about as far from each other, as embeddings mostly are, hardly any are left.
//!
//! Nor does a walk find a row that is nearly as far from its neighbours as from everything else: nothing tells it in which direction to go, and of the few
//! links that lead to such a row it may come past none. So rows that walks have *missed* are kept as well. Among embeddings they are about one in a thousand.

use super::beam::Candidate;
use super::graph::Graph;
use super::ground::{Ground, GroundTask, stand};
use crate::index::selection::Bits;
use crate::index::table::Table;
use crate::simd::Simd;
use crate::vectors::Metric;
use serde::{Deserialize, Serialize};

/// More pivots than this are thinned out.
const MOST: usize = 64;

/// Of more nodes that were missed than this the first are forgotten: every search looks at them.
const MOST_MISSED: usize = 256;

/// Nodes of the base layer that lie apart from each other, and others that walks have missed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pivots {
    nodes: Vec<u32>,
    /// The least distance between two of them, as the ground measures it when there are too many.
    apart: f32,
    #[serde(default)]
    missed: Vec<u32>,
}

impl Pivots {
    /// Whether nodes can lie apart: inner products are no distances, so under dot none does.
    pub(crate) fn serve(metric: Metric) -> bool {
        metric != Metric::Dot
    }

    /// These pivots, and those that new nodes of a graph make.
    pub(crate) fn grown(&self, table: &Table, graph: &Graph, nodes: &[u32]) -> Pivots {
        if !Pivots::serve(table.metric()) {
            return self.clone();
        }
        stand(table, graph, Grow { pivots: self.clone(), nodes })
    }

    /// Forgets those of these nodes.
    pub(crate) fn forget(&mut self, gone: &Bits) {
        for nodes in [&mut self.nodes, &mut self.missed] {
            nodes.retain(|&node| !gone.get(node as usize));
        }
    }

    /// Keeps nodes that walks have missed.
    pub(crate) fn remember(&mut self, missed: &[u32]) {
        for &node in missed {
            self.missed.retain(|&other| other != node);
            self.missed.push(node);
        }
        self.missed.drain(..self.missed.len().saturating_sub(MOST_MISSED));
    }

    /// The nodes that lie apart.
    pub(crate) fn nodes(&self) -> &[u32] {
        &self.nodes
    }

    /// The nodes that walks have missed.
    pub(crate) fn missed(&self) -> &[u32] {
        &self.missed
    }

    /// Whether all of them are nodes of a base layer that has so many.
    pub(crate) fn fit(&self, nodes: usize) -> bool {
        let exist = |some: &[u32]| some.iter().all(|&node| (node as usize) < nodes);
        self.nodes.len() <= MOST && self.missed.len() <= MOST_MISSED && exist(&self.nodes) && exist(&self.missed)
    }

    /// `start`, or the pivot that is nearer.
    #[inline(always)]
    pub(crate) fn nearest<S: Simd, G: Ground>(&self, simd: S, ground: G, from: G::Point<'_>, start: u32) -> u32 {
        // One pivot says that nothing lies apart.
        if self.nodes.len() < 2 {
            return start;
        }
        let distance = |node: u32| Candidate::new(ground.distance(simd, from, node as usize), node);
        let mut nearest = distance(start);
        for &node in &self.nodes {
            nearest = nearest.min(distance(node));
        }
        nearest.node()
    }

    /// Takes a node in if it lies apart from all others: `distances` are those to the pivots, and to itself.
    fn consider(&mut self, node: u32, distances: &[f32]) {
        let (others, itself) = distances.split_at(self.nodes.len());
        // What is out of range is infinitely far also from itself, and would rule out everything else.
        let is_apart = |&distance: &f32| distance.is_finite() && distance > self.apart;
        if itself.iter().all(|distance| distance.is_finite()) && others.iter().all(is_apart) {
            self.nodes.push(node);
        }
    }

    /// Doubles the distance, and leaves those that are so far from all before them, until they are few enough. `between` has for each of them
    /// the distances to all.
    fn thin(&mut self, between: &[f32]) {
        let count = self.nodes.len();
        if self.apart <= 0.0 {
            self.apart = between.iter().copied().filter(|&distance| distance > 0.0).fold(f32::INFINITY, f32::min);
        }
        let mut left: Vec<usize> = (0..count).collect();
        while left.len() > MOST {
            self.apart *= 2.0;
            let mut apart: Vec<usize> = Vec::with_capacity(left.len());
            for &node in &left {
                if apart.iter().all(|&other| between[node * count + other] > self.apart) {
                    apart.push(node);
                }
            }
            left = apart;
        }
        self.nodes = left.into_iter().map(|at| self.nodes[at]).collect();
    }
}

/// The task of looking for pivots among new nodes.
struct Grow<'a> {
    pivots: Pivots,
    nodes: &'a [u32],
}

impl GroundTask for Grow<'_> {
    type Output = Pivots;

    #[inline(always)]
    fn run<S: Simd, G: Ground>(mut self, simd: S, ground: G) -> Pivots {
        let mut distances = Vec::new();
        for &node in self.nodes {
            distances.clear();
            let others = &self.pivots.nodes;
            measure(simd, ground, node, others.iter().chain([&node]), &mut distances);
            self.pivots.consider(node, &distances);
            if self.pivots.nodes.len() > MOST {
                distances.clear();
                for &pivot in &self.pivots.nodes {
                    measure(simd, ground, pivot, self.pivots.nodes.iter(), &mut distances);
                }
                self.pivots.thin(&distances);
            }
        }
        self.pivots
    }
}

/// Appends the distances from a node to others.
#[inline(always)]
fn measure<'n, S: Simd, G: Ground>(
    simd: S,
    ground: G,
    node: u32,
    others: impl Iterator<Item = &'n u32>,
    distances: &mut Vec<f32>,
) {
    for &other in others {
        distances.push(ground.distance(simd, ground.at(node as usize), other as usize));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_were_missed_are_remembered_once_each_until_they_are_gone() {
        let mut pivots = Pivots::default();
        let first: Vec<u32> = (0..MOST_MISSED as u32).collect();
        pivots.remember(&first);
        pivots.remember(&[1000, 7]);
        assert_eq!(pivots.missed().len(), MOST_MISSED);
        assert_eq!(pivots.missed()[..2], [1, 2], "the first had to go for the one that is new");
        assert_eq!(pivots.missed()[MOST_MISSED - 2..], [1000, 7], "what is missed again counts as new");
        assert!(pivots.fit(1001) && !pivots.fit(1000), "all must be nodes");
        let mut gone = Bits::zeros(1001);
        for node in [2, 1000] {
            gone.set(node);
        }
        pivots.forget(&gone);
        assert_eq!((pivots.missed()[1], pivots.missed().last()), (3, Some(&7)));
    }
}
