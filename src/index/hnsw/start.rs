//! Where a walk through the base layer begins.
//!
//! The nearer, the fewer steps it takes. Among lists one goes down from the entry point, layer by layer, and looks whether a pivot is nearer. Cells
//! say with what a step costs how far sixteen rows are: so an [`Outlook`](crate::vectors::Outlook) shows the pivots and, as long as they are few,
//! all nodes of the first layer above the base, and the best of what it shows is measured.

use super::beam::Candidate;
use super::graph::{Graph, Scene};
use super::ground::Ground;
use crate::simd::Simd;
use crate::vectors::CellQuery;

/// So many of those that seem to be nearest are measured.
const MEASURED: usize = 4;

/// The node of the base layer where a walk after a point begins, which is also at hand as a query.
#[inline(always)]
pub(super) fn start<S: Simd, G: Ground>(
    simd: S,
    ground: G,
    graph: &Graph,
    (point, query): (G::Point<'_>, &CellQuery),
) -> Option<u32> {
    match graph.scene() {
        Some(scene) if scene.is_whole => nearest_seen(simd, ground, (point, query), scene, None),
        Some(scene) => nearest_seen(simd, ground, (point, query), scene, Some(descend(simd, ground, graph, point)?)),
        None => Some(graph.pivots().nearest(simd, ground, point, descend(simd, ground, graph, point)?)),
    }
}

/// The nearest of what can be seen and of another node.
#[inline(always)]
fn nearest_seen<S: Simd, G: Ground>(
    simd: S,
    ground: G,
    (point, query): (G::Point<'_>, &CellQuery),
    scene: &Scene,
    other: Option<u32>,
) -> Option<u32> {
    let mut seen = [Candidate::LAST; MEASURED];
    query.look_out(simd, &scene.outlook, |estimate, node| {
        let mut next = Candidate::new(estimate, node);
        for place in &mut seen {
            (*place, next) = ((*place).min(next), (*place).max(next));
        }
    });
    let mut nearest = Candidate::LAST;
    if seen[0] != Candidate::LAST {
        // Mostly it is the one: the walk does not wait for its first step.
        ground.prefetch_step(seen[0].node());
    }
    for node in seen.iter().filter(|&&seen| seen != Candidate::LAST).map(|seen| seen.node()).chain(other) {
        nearest = nearest.min(Candidate::new(ground.distance(simd, point, node as usize), node));
    }
    (nearest != Candidate::LAST).then(|| nearest.node())
}

/// The node of the base layer to which the layers above lead.
#[inline(always)]
fn descend<S: Simd, G: Ground>(simd: S, ground: G, graph: &Graph, point: G::Point<'_>) -> Option<u32> {
    let mut node = graph.entry()?;
    for (level, layer) in graph.layers().iter().enumerate().skip(1).rev() {
        if (node as usize) >= layer.len() {
            return None;
        }
        let mut nearest = Candidate::new(ground.distance_above(simd, point, layer, node), node);
        loop {
            let from = nearest.node();
            if level == 1 {
                // Mostly wrong, but the last time right: the walk does not wait for its first step.
                ground.prefetch_step(layer.below(from));
            }
            let links = layer.links.row(from as usize);
            // Also the end of the list: no node is as large as NONE.
            let links = links.iter().copied().take_while(|&link| (link as usize) < layer.len());
            links.clone().for_each(|link| ground.prefetch_above(layer, link));
            for link in links {
                nearest = nearest.min(Candidate::new(ground.distance_above(simd, point, layer, link), link));
            }
            if nearest.node() == from {
                break;
            }
        }
        node = layer.below(nearest.node());
    }
    Some(node)
}
