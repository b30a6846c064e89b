//! Rows far apart from each other, from the nearest of which a walk may begin.
//!
//! A walk goes from a node to nearer ones, and stays in the cluster where it begins if another lies so far behind it that no link leads there.
//! So a graph keeps a few of its nodes as *pivots*: there are no two of them nearer to each other than a certain distance, and no row came that was farther
//! than that from all of them. Whatever lies apart has one. When there are too many the distance is doubled, and those are left that are
//! as far apart as that (Charikar, Chekuri, Feder and Motwani, Incremental clustering and dynamic information retrieval, STOC 1997).
//! Among rows that are all about as far from each other, as embeddings mostly are, hardly any are left.

use super::graph::Graph;
use super::ground::{Ground, GroundTask, stand};
use crate::index::selection::Bits;
use crate::index::table::Table;
use crate::simd::Simd;
use crate::vectors::Metric;
use serde::{Deserialize, Serialize};

/// More pivots than this are thinned out.
const MOST: usize = 64;

/// Nodes of the base layer that lie apart from each other.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pivots {
    nodes: Vec<u32>,
    /// The least distance between two of them, as the ground measures it when there are too many.
    apart: f32,
}

impl Pivots {
    /// These pivots, and those that new nodes of a graph make. Inner products are no distances: under dot there are none.
    pub(crate) fn grown(&self, table: &Table, graph: &Graph, nodes: &[u32]) -> Pivots {
        if table.metric() == Metric::Dot {
            return Pivots::default();
        }
        stand(table, graph, Grow { pivots: self.clone(), nodes })
    }

    /// Forgets those of these nodes.
    pub(crate) fn forget(&mut self, gone: &Bits) {
        self.nodes.retain(|&node| !gone.get(node as usize));
    }

    /// Whether all of them are nodes of a base layer that has so many.
    pub(crate) fn fit(&self, nodes: usize) -> bool {
        self.nodes.len() <= MOST && self.nodes.iter().all(|&node| (node as usize) < nodes)
    }

    /// `start`, or the pivot that is nearer.
    #[inline(always)]
    pub(crate) fn nearest<S: Simd, G: Ground>(&self, simd: S, ground: G, from: G::Point<'_>, start: u32) -> u32 {
        // One pivot says that nothing lies apart.
        if self.nodes.len() < 2 {
            return start;
        }
        let (mut nearest, mut distance) = (start, ground.distance(simd, from, start as usize));
        for &node in &self.nodes {
            let other = ground.distance(simd, from, node as usize);
            if other < distance {
                (nearest, distance) = (node, other);
            }
        }
        nearest
    }

    /// Takes a node in if it lies apart from all others.
    #[inline(always)]
    fn consider<S: Simd, G: Ground>(&mut self, simd: S, ground: G, node: u32) {
        let point = ground.at(node as usize);
        let mut distance = f32::INFINITY;
        for &other in &self.nodes {
            distance = distance.min(ground.distance(simd, point, other as usize));
        }
        // What is out of range is infinitely far also from itself, and would rule out everything else.
        let is_apart = if self.nodes.is_empty() { true } else { distance.is_finite() && distance > self.apart };
        if is_apart && ground.distance(simd, point, node as usize).is_finite() {
            self.nodes.push(node);
        }
        while self.nodes.len() > MOST {
            self.thin(simd, ground);
        }
    }

    /// Doubles the distance, and leaves those that are so far from those before them.
    #[inline(always)]
    fn thin<S: Simd, G: Ground>(&mut self, simd: S, ground: G) {
        let nodes = std::mem::take(&mut self.nodes);
        let distance = |a: u32, b: u32| ground.distance(simd, ground.at(a as usize), b as usize);
        if self.apart <= 0.0 {
            self.apart = f32::INFINITY;
            for (i, &node) in nodes.iter().enumerate() {
                for &other in &nodes[..i] {
                    let between = distance(node, other);
                    self.apart = if between > 0.0 { self.apart.min(between) } else { self.apart };
                }
            }
        }
        self.apart *= 2.0;
        for node in nodes {
            let mut is_apart = true;
            for &other in &self.nodes {
                is_apart &= distance(node, other) > self.apart;
            }
            if is_apart {
                self.nodes.push(node);
            }
        }
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
        for &node in self.nodes {
            self.pivots.consider(simd, ground, node);
        }
        self.pivots
    }
}
