//! Where a walk through the base layer begins.
//!
//! The nearer, the fewer steps it takes. Among lists one goes down from the entry point, layer by layer, and looks whether a pivot is nearer. Cells
//! say with what a step costs how far sixteen rows are: so an [`Outlook`](crate::vectors::Outlook) shows the pivots, what walks have missed and, as long as
//! they are few, all nodes of the first layer above the base; and a walk begins at the one that seems nearest.

use super::beam::Candidate;
use super::graph::{Graph, Scene};
use super::ground::Ground;
use crate::simd::Simd;
use crate::vectors::CellQuery;

/// The node of the base layer where a walk after a point begins, which is also at hand as a query.
#[inline(always)]
pub(super) fn start<S: Simd, G: Ground>(
    simd: S,
    ground: G,
    graph: &Graph,
    (point, query): (G::Point<'_>, &CellQuery),
) -> Option<u32> {
    let Some(scene) = graph.scene() else {
        return Some(graph.pivots().nearest(simd, ground, point, descend(simd, ground, graph, point)?));
    };
    let seen = seems_nearest(simd, query, scene);
    if scene.is_whole {
        seen.into_iter().for_each(|node| ground.prefetch_step(node));
        return seen;
    }
    let distance = |node: u32| Candidate::new(ground.distance(simd, point, node as usize), node);
    let below = descend(simd, ground, graph, point)?;
    Some(seen.map_or(below, |seen| distance(seen).min(distance(below)).node()))
}

/// The nearest of all that can be seen, as far as estimates tell: that it is among the near ones is enough, and its distance is known after the first step.
#[inline(always)]
fn seems_nearest<S: Simd>(simd: S, query: &CellQuery, scene: &Scene) -> Option<u32> {
    let mut nearest = Candidate::LAST;
    query.look_out(simd, &scene.outlook, |estimate, node| {
        nearest = nearest.min(Candidate::new(estimate, node));
        nearest.distance()
    });
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
