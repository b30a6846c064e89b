//! Taking deleted rows out of the graph, so that their slots can be used again.
//!
//! A deleted row stays where it was, as a step between others. That costs time and, in the end, memory; but links to it cannot just be
//! dropped: they may be the only way to what lies behind. So every node that links to deleted ones is linked to what these link to
//! instead, as far as that is near and spread (the consolidation of FreshDiskANN, Singh et al., arXiv 2105.09613, algorithm 4). It takes one pass over
//! all links, and is worth it once there is enough to be taken out.

use super::batch::Batch;
use super::lists::List;
use super::{Linker, write_lists};
use crate::error::Result;
use crate::index::hnsw::graph::Graph;
use crate::index::hnsw::ground::{Ground, GroundTask, stand};
use crate::index::hnsw::walk::Scratches;
use crate::index::hnsw::{HnswParameters, State};
use crate::index::selection::Bits;
use crate::index::table::Table;
use crate::runtime::{Call, Writer, map};
use crate::simd::Simd;
use std::ops::Range;

/// Nodes that are looked at before the new lists of any of them are written.
const NODES: usize = 1 << 14;

/// Nodes that a task looks at.
const NODES_PER_TASK: usize = 256;

/// Takes what nobody can find any more out of the graph. Its slots are free then.
pub(crate) fn repair(writer: &Writer<'_, State>, parameters: &HnswParameters, call: &Call<'_>) -> Result<()> {
    let gone = Gone::find(&writer.read());
    if let Some(entry) = gone.entry {
        writer.write().graph.set_entry(entry);
    }
    // A statement of its own: the guard must be gone before anything is written.
    let layers = writer.read().graph.layers().len();
    for level in 0..layers {
        let nodes = writer.read().graph.nodes(level);
        for start in (0..nodes).step_by(NODES) {
            let lists = around(&writer.read(), parameters, &gone, (level, start..nodes.min(start + NODES)), call)?;
            write_lists(writer, &lists);
        }
    }
    let mut state = writer.write();
    state.graph.forget_pivots(&gone.nodes);
    for &(node, ref stays) in &gone.thinned {
        state.graph.unhang(node, |slot| stays.contains(&slot));
    }
    state.free = gone.slots;
    state.kept_dead = state.table.slots() - state.table.live() - state.free.len();
    Ok(())
}

/// What nobody can find any more.
struct Gone {
    /// The nodes of the base layer of which every slot is gone.
    nodes: Bits,
    /// Nodes of which some slots are, with the slots that stay.
    thinned: Vec<(u32, Vec<u32>)>,
    /// All slots that are gone, ascending.
    slots: Vec<u32>,
    /// Where walks are to begin instead, if not where they do.
    entry: Option<u32>,
}

impl Gone {
    fn find(State { table, graph, .. }: &State) -> Gone {
        let (entry, kept) = entry_of(table, graph);
        let hanging = graph.hanging();
        let (mut nodes, mut thinned, mut slots) = (Bits::zeros(graph.linked()), Vec::new(), Vec::new());
        for node in (0..graph.linked() as u32).filter(|&node| !hanging.get(node as usize)) {
            let (mut live, dead): (Vec<u32>, Vec<u32>) =
                graph.sharing(node).partition(|&slot| table.is_live(slot as usize));
            if dead.is_empty() {
                continue;
            }
            if live.is_empty() && Some(node) != kept {
                nodes.set(node as usize);
                slots.extend(dead);
            } else {
                // The node itself has the links of the others, and a slot with nodes above may be linked to there.
                let (freed, stay): (Vec<u32>, Vec<u32>) =
                    dead.into_iter().partition(|&slot| slot != node && graph.nodes_of(slot).len() == 1);
                live.extend(stay);
                slots.extend(freed);
            }
            thinned.push((node, live));
        }
        slots.sort_unstable();
        Gone { nodes, thinned, slots, entry }
    }
}

/// Another place for walks to begin, if all that is found at the present one is gone; or, if there is none, the base node that must stay for it.
fn entry_of(table: &Table, graph: &Graph) -> (Option<u32>, Option<u32>) {
    let top = graph.layers().len() - 1;
    let has_live = |&node: &u32| {
        let base = graph.base_of(top, node);
        graph.sharing(base).any(|slot| table.is_live(slot as usize))
    };
    let Some(entry) = graph.entry().filter(|entry| !has_live(entry)) else { return (None, None) };
    match (0..graph.nodes(top) as u32).find(has_live) {
        Some(node) => (Some(node), None),
        None => (None, Some(graph.base_of(top, entry))),
    }
}

/// The new lists of some nodes of a layer: those that link to what is gone.
fn around(
    state: &State,
    parameters: &HnswParameters,
    gone: &Gone,
    (level, nodes): (usize, Range<usize>),
    call: &Call<'_>,
) -> Result<Vec<List>> {
    let (batch, scratches) = (Batch::default(), Scratches::default());
    let linker = Linker::over(state, parameters, &[], &batch, &scratches);
    let lists = map(call, nodes.len().div_ceil(NODES_PER_TASK), |task| {
        let start = nodes.start + task * NODES_PER_TASK;
        let nodes = start..nodes.end.min(start + NODES_PER_TASK);
        stand(&state.table, &state.graph, LinkAround { linker: &linker, gone: &gone.nodes, level, nodes })
    })?;
    Ok(lists.into_iter().flatten().collect())
}

/// The task of linking some nodes around what is gone.
struct LinkAround<'a> {
    linker: &'a Linker<'a>,
    gone: &'a Bits,
    level: usize,
    nodes: Range<usize>,
}

impl GroundTask for LinkAround<'_> {
    type Output = Vec<List>;

    #[inline(always)]
    fn run<S: Simd, G: Ground>(self, simd: S, ground: G) -> Vec<List> {
        let mut lists = Vec::new();
        for node in self.nodes.clone() {
            let place = (self.level, node as u32);
            let Some(mut links) = self.links(node as u32) else { continue };
            if links.len() > self.linker.degree(self.level) {
                links = self.linker.prune(simd, ground, place, &links);
            }
            lists.push(self.linker.list(simd, place, links));
        }
        lists
    }
}

impl LinkAround<'_> {
    /// What a node that stays, and links to what is gone, may link to instead: what it links to besides, and what lies behind.
    fn links(&self, node: u32) -> Option<Vec<u32>> {
        let graph = self.linker.graph;
        let is_gone = |&node: &u32| self.gone.get(graph.base_of(self.level, node) as usize);
        if is_gone(&node) {
            // Above, a list says whether a walk may begin there.
            return (self.level > 0).then(Vec::new);
        }
        let (gone, mut links): (Vec<u32>, Vec<u32>) = graph.neighbours(self.level, node).into_iter().partition(is_gone);
        if gone.is_empty() {
            return None;
        }
        if self.level == 0 && gone.iter().any(|&gone| self.linker.anchor(node) == Some(gone)) {
            // The nearest of those that link here, as far as the order of the list tells.
            let links_here = |&link: &u32| graph.neighbours(0, link).contains(&node);
            let anchor = links.iter().position(links_here).unwrap_or(0);
            if !links.is_empty() {
                links.swap(0, anchor);
            }
        }
        for behind in gone.into_iter().flat_map(|gone| graph.neighbours(self.level, gone)) {
            if behind != node && !is_gone(&behind) && !links.contains(&behind) {
                links.push(behind);
            }
        }
        Some(links)
    }
}
