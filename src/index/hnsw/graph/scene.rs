//! What can be seen from above the cells: pivots, rows that walks have missed, and the first layer above as long as that is small.

use super::{Graph, copied};
use crate::index::hnsw::pivots::Pivots;
use crate::index::selection::Bits;
use crate::vectors::{Cell, Cells, Outlook};

/// Looking at all of the first layer takes about as long as going down to it where an outlook has so many lines.
const MOST_LINES: usize = 640;

/// Nodes of the base layer where a walk may begin.
pub(crate) struct Scene {
    pub(crate) outlook: Outlook,
    /// Whether nothing above need be asked: it shows all that is there.
    pub(crate) is_whole: bool,
}

impl Scene {
    /// What there is to be seen in a graph; `before`, if it is still that.
    pub(super) fn of(graph: &Graph, before: Option<Scene>) -> Option<Scene> {
        let (cells, entry) = (copied(&graph.cells)?, graph.entry()?);
        let pivots = graph.pivots().nodes();
        let is_whole = cells.frame().outlook_lines(pivots.len() + graph.nodes(1).max(1)) <= MOST_LINES;
        let missed = graph.pivots().missed();
        let mut seen: Vec<(u32, Cell<'_>)> =
            pivots.iter().chain(missed).map(|&node| (node, cells.cell(node as usize))).collect();
        if is_whole {
            seen.extend(above(graph, cells, entry));
        }
        match before {
            Some(before) if before.outlook.slots().eq(seen.iter().map(|&(node, _)| node)) => {
                Some(Scene { is_whole, ..before })
            }
            _ => Some(Scene { outlook: Outlook::new(cells.frame(), &seen), is_whole }),
        }
    }
}

/// The nodes of the first layer above the base that are linked there, or, if there is none, where walks begin; each as the one below.
fn above<'a>(graph: &'a Graph, cells: &'a Cells, entry: u32) -> Vec<(u32, Cell<'a>)> {
    let Some(layer) = graph.layers().get(1) else { return vec![(entry, cells.cell(entry as usize))] };
    let is_linked = |&node: &u32| layer.neighbours(node).next().is_some() || layer.len() == 1;
    let nodes = (0..layer.len() as u32).filter(is_linked);
    nodes.map(|node| (layer.below(node), cells.frame().lone(layer.row(node)))).collect()
}

impl Graph {
    /// Where a walk may begin.
    pub(crate) fn pivots(&self) -> &Pivots {
        &self.pivots
    }

    /// Forgets those that are gone.
    pub(crate) fn forget_pivots(&mut self, gone: &Bits) {
        self.pivots.forget(gone);
        self.look_out();
    }

    /// What shows where a walk among cells may begin.
    #[inline(always)]
    pub(crate) fn scene(&self) -> Option<&Scene> {
        self.scene.as_ref()
    }

    /// Has walks begin at nodes that they have missed, where there is anything to show them.
    pub(crate) fn remember_missed(&mut self, missed: &[u32]) {
        if self.scene.is_some() {
            self.pivots.remember(missed);
            self.look_out();
        }
    }

    /// Looks out again, if there is anything else to be seen than before.
    pub(super) fn look_out(&mut self) {
        let before = self.scene.take();
        self.scene = Scene::of(self, before);
    }
}
