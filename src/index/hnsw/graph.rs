//! The graph: layers of nodes with a bounded number of links.
//!
//! The base layer has a node for every slot of the table, with the same number. Each layer above has a node for a random few of
//! those below, numbered in the order of their coming; a node there knows its slot and its own number one layer below, so that
//! walking down needs no lookup. Lists of links have a fixed length and end at the first [`NONE`].
//!
//! Rows with the same values, to the bit, share one node: the first of them has the links, the others hang on it in a chain of
//! *twins* and are found whenever it is. So a thousand duplicates are one step of a walk, and none of them is out of reach.

use super::HnswParameters;
use crate::error::Result;
use crate::index::table::load_matrix;
use crate::storage::{Container, ContainerWriter};
use crate::vectors::{Matrix, random_bits};
use serde::{Deserialize, Serialize};
use std::io;

/// No node; ends a list of links.
pub(crate) const NONE: u32 = u32::MAX;

/// The most layers above the base: with m = 2, a billion rows need no more.
pub(crate) const MAX_LEVEL: usize = 31;

/// One layer.
pub(crate) struct Layer {
    /// A row a node.
    pub(crate) links: Matrix<u32>,
    /// Slot, and node one layer below; empty in the base layer, where a node is its slot.
    places: Matrix<u32>,
}

impl Layer {
    fn new(degree: usize) -> Layer {
        Layer { links: Matrix::new(degree), places: Matrix::new(2) }
    }

    /// How many nodes there are.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// The most links that a node can have.
    pub(crate) fn degree(&self) -> usize {
        self.links.width()
    }

    /// The links of a node.
    pub(crate) fn neighbours(&self, node: u32) -> impl Iterator<Item = u32> {
        self.links.row(node as usize).iter().copied().take_while(|&node| node != NONE)
    }

    /// The slot of a node of an upper layer.
    #[inline(always)]
    pub(crate) fn slot(&self, node: u32) -> u32 {
        self.places.row(node as usize)[0]
    }

    /// The same node one layer below an upper layer.
    pub(crate) fn below(&self, node: u32) -> u32 {
        self.places.row(node as usize)[1]
    }

    /// Replaces the links of a node.
    pub(crate) fn set_links(&mut self, node: u32, links: &[u32]) {
        let row = self.links.row_mut(node as usize);
        row[..links.len()].copy_from_slice(links);
        row[links.len()..].fill(NONE);
    }
}

/// All layers, base first.
pub(crate) struct Graph {
    layers: Vec<Layer>,
    /// For each base node the next of its twins; behind the first one they descend.
    twins: Matrix<u32>,
    /// Where every walk begins: a node of the top layer.
    entry: u32,
    seed: u64,
    /// 1 / ln(m): the scale of the levels (Malkov and Yashunin, arXiv 1603.09320, section 4.1).
    level_scale: f64,
    m: usize,
}

/// What the graph's sections need to be understood.
#[derive(Serialize, Deserialize)]
pub(crate) struct GraphSchema {
    entry: u32,
    /// Nodes of each layer, base first.
    nodes: Vec<usize>,
}

impl Graph {
    /// No nodes.
    pub(crate) fn new(parameters: &HnswParameters) -> Graph {
        let m = parameters.m;
        Graph {
            layers: vec![Layer::new(2 * m)],
            twins: Matrix::new(1),
            entry: NONE,
            seed: parameters.seed,
            level_scale: 1.0 / (m as f64).ln(),
            m,
        }
    }

    pub(crate) fn base(&self) -> &Layer {
        &self.layers[0]
    }

    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    pub(crate) fn layer_mut(&mut self, level: usize) -> &mut Layer {
        &mut self.layers[level]
    }

    /// The entry point, if there are nodes.
    #[inline]
    pub(crate) fn entry(&self) -> Option<u32> {
        (self.entry != NONE).then_some(self.entry)
    }

    /// How many slots have been linked.
    pub(crate) fn linked(&self) -> usize {
        self.base().len()
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
        self.layers[0].links.try_reserve(rows)
    }

    /// Appends the node of `slot` to the base layer and to the layers up to its level, without links. Returns its node in each.
    /// If it is a twin of `twin`, it hangs there, and its nodes above lead down to that one.
    pub(crate) fn push_node(&mut self, slot: u32, level: usize, twin: Option<u32>) -> Result<Vec<u32>> {
        while self.layers.len() <= level {
            self.layers.push(Layer::new(self.m));
        }
        // Reserved first, all of them, so that a failure leaves every layer as it was.
        for layer in &mut self.layers[..=level] {
            layer.links.try_reserve(1)?;
            layer.places.try_reserve(1)?;
        }
        self.twins.try_reserve(1)?;
        self.twins.push(&[NONE]);
        if let Some(twin) = twin {
            self.twins.row_mut(slot as usize)[0] = self.twins.first(twin as usize);
            self.twins.row_mut(twin as usize)[0] = slot;
        }
        let mut nodes: Vec<u32> = Vec::with_capacity(level + 1);
        let mut below = NONE;
        for layer in &mut self.layers[..=level] {
            let node = layer.len() as u32;
            layer.links.push(&[]);
            layer.set_links(node, &[]);
            if !nodes.is_empty() {
                layer.places.push(&[slot, below]);
            }
            below = if nodes.is_empty() { twin.unwrap_or(node) } else { node };
            nodes.push(node);
        }
        Ok(nodes)
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

    /// Makes `node` of the top layer the entry point.
    pub(crate) fn set_entry(&mut self, node: u32) {
        self.entry = node;
    }

    /// Bytes that the links take.
    pub(crate) fn bytes(&self) -> usize {
        let layers = self.layers.iter().map(|layer| layer.links.bytes() + layer.places.bytes());
        layers.sum::<usize>() + self.twins.bytes()
    }

    /// The bytes by which the graph grows when `rows` rows are linked.
    pub(crate) fn growth(&self, rows: usize) -> usize {
        let base = rows * (self.base().degree() + 1);
        // A node of an upper layer has m links and two numbers for its place.
        let upper = (self.linked()..self.linked() + rows).map(|slot| self.level_of(slot) * (self.m + 2)).sum::<usize>();
        (base + upper) * size_of::<u32>()
    }

    /// A graph of its own with the same nodes and links.
    pub(crate) fn try_clone(&self) -> Result<Graph> {
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            layers.push(Layer { links: layer.links.try_clone()?, places: layer.places.try_clone()? });
        }
        Ok(Graph { layers, twins: self.twins.try_clone()?, ..*self })
    }

    pub(crate) fn schema(&self) -> GraphSchema {
        GraphSchema { entry: self.entry, nodes: self.layers.iter().map(Layer::len).collect() }
    }

    /// Writes the sections of the graph.
    pub(crate) fn save(&self, writer: &mut ContainerWriter<'_>) -> io::Result<()> {
        writer.section("twins", |out| self.twins.write_to(out))?;
        for (level, layer) in self.layers.iter().enumerate() {
            writer.section(&format!("links.{level}"), |out| layer.links.write_to(out))?;
            if level > 0 {
                writer.section(&format!("places.{level}"), |out| layer.places.write_to(out))?;
            }
        }
        Ok(())
    }

    /// The graph in `container`, for a table of `slots` slots. Links are checked where they are followed; the few nodes of the upper
    /// layers are checked here.
    pub(crate) fn load(
        container: &Container,
        schema: &GraphSchema,
        parameters: &HnswParameters,
        slots: usize,
    ) -> Result<Graph> {
        let corrupt = |what: &str| Err(container.corrupt("schema", what));
        let mut graph = Graph::new(parameters);
        if schema.nodes.is_empty() || schema.nodes.len() > MAX_LEVEL + 1 || schema.nodes[0] != slots {
            return corrupt("its layers do not fit its rows");
        }
        let top = *schema.nodes.last().unwrap_or(&0);
        let entry_fits = if slots == 0 { schema.entry == NONE } else { (schema.entry as usize) < top };
        if !entry_fits {
            return corrupt("its entry point does not exist");
        }
        graph.twins = load_matrix(container, "twins", 1, slots)?;
        graph.layers.clear();
        for (level, &nodes) in schema.nodes.iter().enumerate() {
            let degree = if level == 0 { 2 * parameters.m } else { parameters.m };
            let mut layer = Layer::new(degree);
            layer.links = load_matrix(container, &format!("links.{level}"), degree, nodes)?;
            if level > 0 {
                let name = format!("places.{level}");
                layer.places = load_matrix(container, &name, 2, nodes)?;
                let below = schema.nodes[level - 1];
                for node in 0..nodes as u32 {
                    if layer.slot(node) as usize >= slots || layer.below(node) as usize >= below {
                        return Err(container.corrupt(&name, format!("node {node} leads nowhere")));
                    }
                }
            }
            graph.layers.push(layer);
        }
        graph.entry = schema.entry;
        Ok(graph)
    }
}
