//! The graph: layers of nodes with a bounded number of links.
//!
//! The base layer has a node for every slot of the table, with the same number; its links lie in a list, or in a cell with codes of where they
//! lead. Each layer above has a node for a random few of those below, numbered in the order of their coming; a node there knows its
//! slot and its own number one layer below, so that walking down needs no lookup. Lists of links have a fixed length and
//! end at the first [`NONE`].
//!
//! Rows with the same values, to the bit, share one node: the first of them has the links, the others hang on it in a chain of
//! *twins* and are found whenever it is. So a thousand duplicates are one step of a walk, and none of them is out of reach.

mod file;
mod layer;
mod scene;

pub(crate) use file::GraphSchema;
pub(crate) use layer::Layer;
pub(crate) use scene::Scene;

use super::HnswParameters;
use super::pivots::Pivots;
use crate::error::Result;
use crate::index::selection::Bits;
use crate::simd;
use crate::vectors::{Cells, EdgeCode, Matrix, random_bits};
use std::sync::atomic::{AtomicU32, Ordering};

/// No node; ends a list of links.
pub(crate) const NONE: u32 = u32::MAX;

/// The most layers above the base: with m = 2, a billion rows need no more.
pub(crate) const MAX_LEVEL: usize = 31;

/// How many times fewer nodes there are above cells than above lists: a step among cells sees all that a node links to at once, so it may
/// begin farther off, and gets near sooner than steps in a layer between would. What lies so far apart that no step leads there has pivots; under
/// dot there are none, and more must come down from above.
const SPARSER: usize = 64;
const SPARSER_WITHOUT_PIVOTS: usize = 4;

/// The cells, if nodes of the layers above have copies of their beginnings: lean ones are read where they lie.
fn copied(cells: &Option<Cells>) -> Option<&Cells> {
    cells.as_ref().filter(|cells| !cells.frame().is_lean())
}

/// All layers.
pub(crate) struct Graph {
    /// Base first. Where there are cells, the base has no lists.
    layers: Vec<Layer>,
    cells: Option<Cells>,
    /// For each base node the next of its twins; behind the first one they descend.
    twins: Matrix<u32>,
    /// Where every walk begins: a node of the top layer.
    entry: u32,
    /// Where it may begin instead.
    pivots: Pivots,
    /// What shows where to begin, above cells.
    scene: Option<Scene>,
    /// How many slots have all of their links.
    settled: usize,
    /// The node whose turn it is to be looked for; those who write change it, one after another.
    sought: AtomicU32,
    seed: u64,
    /// The scale of the levels: 1 / ln(m) (Malkov and Yashunin, arXiv 1603.09320, section 4.1), above cells that of fewer nodes: see [`SPARSER`].
    level_scale: f64,
    m: usize,
}

/// The new list of a node of the base layer, as changes of its cell.
#[derive(Default)]
pub(crate) struct CellChange {
    /// How many links there are then.
    pub(crate) len: usize,
    /// Place, where it leads, factors.
    pub(crate) links: Vec<(usize, u32, u32)>,
    /// The signs of these links, one after another.
    pub(crate) signs: Vec<u8>,
}

impl Graph {
    /// No nodes.
    pub(crate) fn new(parameters: &HnswParameters) -> Graph {
        let m = parameters.m;
        Graph {
            layers: vec![Layer::new(parameters.base_links())],
            cells: None,
            twins: Matrix::new(1),
            entry: NONE,
            pivots: Pivots::default(),
            scene: None,
            settled: 0,
            sought: AtomicU32::new(0),
            seed: parameters.seed,
            level_scale: 1.0 / (m as f64).ln(),
            m,
        }
    }

    /// A graph without nodes above or links, whose base layer is made of these cells.
    pub(crate) fn with_cells(parameters: &HnswParameters, cells: Cells) -> Graph {
        let sparser = if Pivots::serve(cells.frame().metric()) { SPARSER } else { SPARSER_WITHOUT_PIVOTS };
        let level_scale = 1.0 / ((sparser * parameters.m) as f64).ln();
        Graph { cells: Some(cells), level_scale, ..Graph::new(parameters) }
    }

    /// The base layer; without lists, if it is made of cells.
    pub(crate) fn base(&self) -> &Layer {
        &self.layers[0]
    }

    /// The cells of the base layer, if it is made of them.
    pub(crate) fn cells(&self) -> Option<&Cells> {
        self.cells.as_ref()
    }

    pub(crate) fn cells_mut(&mut self) -> Option<&mut Cells> {
        self.cells.as_mut()
    }

    /// How many nodes a layer has.
    pub(crate) fn nodes(&self, level: usize) -> usize {
        if level == 0 { self.linked() } else { self.layers.get(level).map_or(0, Layer::len) }
    }

    /// The links of a node, without those that a forged file has to nodes that do not exist.
    pub(crate) fn neighbours(&self, level: usize, node: u32) -> Vec<u32> {
        let nodes = self.nodes(level);
        let exists = |link: &u32| (*link as usize) < nodes;
        let mut found = match &self.cells {
            Some(cells) if level == 0 => cells.links(node as usize),
            _ => self.layers[level].neighbours(node).collect(),
        };
        found.retain(exists);
        found
    }

    /// The first of the links of a base node.
    pub(crate) fn first_link(&self, node: u32) -> Option<u32> {
        match &self.cells {
            Some(cells) => cells.first_link(node as usize),
            None => self.layers[0].neighbours(node).next(),
        }
    }

    /// Whether a base node leads to another.
    #[inline(always)]
    pub(crate) fn leads_to(&self, from: u32, node: u32) -> bool {
        match &self.cells {
            Some(cells) => cells.leads_to(from as usize, node),
            None => self.layers[0].neighbours(from).any(|link| link == node),
        }
    }

    /// Asks the memory system for where a base node leads, if it has a cell: for how many links it has, and those in its first so many fans.
    #[inline(always)]
    pub(crate) fn prefetch_links(&self, node: u32, fans: usize) {
        if let Some(cells) = &self.cells
            && (node as usize) < cells.len()
        {
            cells.prefetch_links(node as usize, fans);
        }
    }

    /// Changes the links of a base node that has a cell.
    pub(crate) fn change_cell(&mut self, node: u32, change: &CellChange) {
        let Some(cells) = &mut self.cells else { return };
        let bytes = cells.frame().sign_bytes();
        for (&(at, to, factors), signs) in change.links.iter().zip(change.signs.chunks_exact(bytes)) {
            cells.set_link(node as usize, at, to, EdgeCode { signs, factors });
        }
        cells.set_len(node as usize, change.len);
    }

    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Replaces the links of a node that has them in a list.
    pub(crate) fn set_links(&mut self, level: usize, node: u32, links: &[u32]) {
        match &mut self.cells {
            Some(cells) if level == 0 => cells.set_list(node as usize, links),
            _ => self.layers[level].set_links(node, links),
        }
    }

    /// The entry point, if there are nodes.
    #[inline]
    pub(crate) fn entry(&self) -> Option<u32> {
        (self.entry != NONE).then_some(self.entry)
    }

    /// How many slots have been linked.
    pub(crate) fn linked(&self) -> usize {
        self.twins.len()
    }

    /// How many slots have been linked by writes that are done. What lies behind has nodes, but not all of the links that lead to them.
    pub(crate) fn settled(&self) -> usize {
        self.settled
    }

    /// The next so many nodes of the base layer whose turn it is to be looked for: all come by turns. Whoever asks must have the turn to write.
    pub(crate) fn next_sought(&self, count: usize) -> impl Iterator<Item = u32> {
        let nodes = self.linked().max(1);
        let first = self.sought.load(Ordering::Relaxed) as usize % nodes;
        self.sought.store(((first + count) % nodes) as u32, Ordering::Relaxed);
        (first..first + count).map(move |at| (at % nodes) as u32)
    }

    /// Says that a write is done: all that are linked have their links, and these are the pivots.
    pub(crate) fn settle(&mut self, pivots: Pivots) {
        (self.settled, self.pivots) = (self.linked(), pivots);
        self.look_out();
    }

    /// The topmost layer that the row in `slot` belongs to: geometric, drawn from the seed and the slot alone.
    pub(crate) fn level_of(&self, slot: usize) -> usize {
        // In (0, 1]: the logarithm is finite.
        let uniform = ((random_bits(self.seed, slot as u64) >> 11) + 1) as f64 / (1u64 << 53) as f64;
        ((-uniform.ln() * self.level_scale) as usize).min(MAX_LEVEL)
    }

    /// Makes room for `rows` more base nodes.
    pub(crate) fn try_reserve(&mut self, rows: usize) -> Result<()> {
        self.twins.try_reserve(rows)?;
        match &mut self.cells {
            Some(cells) => cells.try_reserve((self.twins.len() + rows).saturating_sub(cells.len())),
            None => self.layers[0].links.try_reserve(rows),
        }
    }

    /// The node of the base layer under a node. Slots that share a node there may each have nodes of their own above it.
    pub(crate) fn base_of(&self, level: usize, node: u32) -> u32 {
        self.layers[1..=level].iter().rev().fold(node, |node, layer| layer.below(node))
    }

    /// The node of `slot` in each layer that it belongs to, base first, if it has been linked before.
    pub(crate) fn nodes_of(&self, slot: u32) -> Vec<u32> {
        let above = self.layers[1..].iter().map_while(|layer| layer.node_of(slot));
        std::iter::once(slot).chain(above).collect()
    }

    /// Appends the node of `slot` to the base layer and to the layers up to its level, without links. Returns its node in each.
    /// If it is a twin of `twin`, it hangs there, and its nodes above lead down to that one. Where there are cells, it has one already.
    pub(crate) fn push_node(&mut self, slot: u32, level: usize, twin: Option<u32>) -> Result<Vec<u32>> {
        while self.layers.len() <= level {
            self.layers.push(Layer::above(self.m, copied(&self.cells)));
        }
        // Reserved first, all of them, so that a failure leaves every layer as it was.
        let lists = usize::from(self.cells.is_some());
        for layer in &mut self.layers[lists.min(level + 1)..=level] {
            layer.links.try_reserve(1)?;
            layer.places.try_reserve(1)?;
            layer.rows.try_reserve(1)?;
        }
        self.twins.try_reserve(1)?;
        self.twins.push(&[NONE]);
        if self.cells.is_none() {
            self.layers[0].push(&[]);
        }
        let mut nodes = vec![slot];
        let mut below = self.hang(slot, twin);
        for layer in &mut self.layers[1..=level] {
            below = layer.push(&[slot, below]);
            if let Some(cells) = copied(&self.cells) {
                layer.rows.push(cells.cell(slot as usize).row());
            }
            nodes.push(below);
        }
        Ok(nodes)
    }

    /// As [`push_node`](Graph::push_node), for a slot that has been linked before, with another row, and to which nothing leads.
    pub(crate) fn reuse_node(&mut self, slot: u32, twin: Option<u32>) {
        let nodes = self.nodes_of(slot);
        let below = self.hang(slot, twin);
        if let Some(&first) = nodes.get(1) {
            self.layers[1].places.row_mut(first as usize)[1] = below;
        }
        for (layer, &node) in self.layers.iter_mut().zip(&nodes).skip(1) {
            layer.set_links(node, &[]);
            if let Some(cells) = copied(&self.cells) {
                layer.rows.row_mut(node as usize).copy_from_slice(cells.cell(slot as usize).row());
            }
        }
    }

    /// Hangs `slot` on the node of its twin, if it has one; returns the node that has the links.
    fn hang(&mut self, slot: u32, twin: Option<u32>) -> u32 {
        let Some(twin) = twin else { return slot };
        // Behind the first, they descend.
        let before = self.sharing(twin).skip(1).take_while(|&other| other > slot).last().unwrap_or(twin);
        self.twins.row_mut(slot as usize)[0] = self.twins.first(before as usize);
        self.twins.row_mut(before as usize)[0] = slot;
        twin
    }

    /// Leaves of the slots that share `node` those for which `stays` holds, and `node` itself.
    pub(crate) fn unhang(&mut self, node: u32, stays: impl Fn(u32) -> bool) {
        let slots: Vec<u32> = self.sharing(node).skip(1).collect();
        let mut before = node;
        for slot in slots {
            self.twins.row_mut(slot as usize)[0] = NONE;
            if stays(slot) {
                self.twins.row_mut(before as usize)[0] = slot;
                before = slot;
            }
        }
        self.twins.row_mut(before as usize)[0] = NONE;
    }

    /// Which slots hang on the node of another.
    pub(crate) fn hanging(&self) -> Bits {
        let mut hanging = Bits::zeros(self.linked());
        for slot in 0..self.linked() {
            let next = self.twins.first(slot);
            if (next as usize) < self.linked() {
                hanging.set(next as usize);
            }
        }
        hanging
    }

    /// The slots of all rows that share a base node. A forged chain ends early; it cannot lead out of the graph or in a circle.
    #[inline]
    pub(crate) fn sharing(&self, node: u32) -> impl Iterator<Item = u32> {
        let next = |of: u32| self.twins.row(of as usize)[0];
        let slots = self.twins.len() as u32;
        let first = Some(next(node)).filter(|&twin| twin < slots);
        let twins = std::iter::successors(first, move |&twin| Some(next(twin)).filter(|&after| after < twin));
        std::iter::once(node).chain(twins)
    }

    /// Asks the memory system for what [`sharing`](Graph::sharing) reads first.
    #[inline(always)]
    pub(crate) fn prefetch_twins(&self, node: u32) {
        simd::prefetch(self.twins.row(node as usize).as_ptr());
    }

    /// Makes `node` of the top layer the entry point.
    pub(crate) fn set_entry(&mut self, node: u32) {
        self.entry = node;
    }

    /// Bytes that the links take.
    pub(crate) fn bytes(&self) -> usize {
        let layers = self.layers.iter().map(|layer| layer.links.bytes() + layer.places.bytes() + layer.rows.bytes());
        layers.sum::<usize>() + self.twins.bytes() + self.cells.as_ref().map_or(0, Cells::bytes)
    }

    /// The most bytes by which the graph grows when `rows` rows are linked; `coming` are the bytes of a cell and of the row in it, if there are
    /// none yet and there will be.
    pub(crate) fn growth(&self, rows: usize, coming: Option<(usize, usize)>) -> usize {
        let links = self.base().degree() * size_of::<u32>();
        let (base, row) = coming.unwrap_or_else(|| {
            let base = self.cells.as_ref().map_or(links, |cells| cells.frame().cell_bytes());
            (base, copied(&self.cells).map_or(0, |cells| cells.frame().row_bytes()))
        });
        // A node of an upper layer has m links and two numbers for its place.
        let upper: usize = (self.linked()..self.linked() + rows).map(|slot| self.level_of(slot)).sum();
        rows * (base + size_of::<u32>()) + upper * ((self.m + 2) * size_of::<u32>() + row)
    }

    /// A graph of its own with the same nodes and links.
    pub(crate) fn try_clone(&self) -> Result<Graph> {
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let (links, places) = (layer.links.try_clone()?, layer.places.try_clone()?);
            layers.push(Layer { links, places, rows: layer.rows.try_clone()? });
        }
        let cells = self.cells.as_ref().map(Cells::try_clone).transpose()?;
        let Graph { entry, settled, seed, level_scale, m, .. } = *self;
        let (twins, pivots) = (self.twins.try_clone()?, self.pivots.clone());
        let sought = AtomicU32::new(self.sought.load(Ordering::Relaxed));
        let mut graph =
            Graph { layers, cells, twins, entry, pivots, scene: None, settled, sought, seed, level_scale, m };
        graph.look_out();
        Ok(graph)
    }
}
