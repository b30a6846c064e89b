//! What can be seen from above the cells: pivots, and the first layer above them as long as that is small.

use super::{Graph, copied};
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
        let mut seen: Vec<(u32, Cell<'_>)> = pivots.iter().map(|&node| (node, cells.cell(node as usize))).collect();
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
