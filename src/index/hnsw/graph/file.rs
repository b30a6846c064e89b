//! A graph in a file: its sections, and what is checked of them.

use super::{Graph, Layer, MAX_LEVEL, NONE, copied};
use crate::error::Result;
use crate::index::hnsw::HnswParameters;
use crate::index::hnsw::pivots::Pivots;
use crate::index::table::{Table, load_matrix};
use crate::storage::{Container, ContainerWriter};
use crate::vectors::{Cells, Frame, FrameParts, Matrix, Metric};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

/// What the graph's sections need to be understood.
#[derive(Serialize, Deserialize)]
pub(crate) struct GraphSchema {
    entry: u32,
    pivots: Pivots,
    /// Nodes of each layer, base first.
    nodes: Vec<usize>,
    /// Whether the base layer lies in cells.
    cells: bool,
    /// The node whose turn it is to be looked for.
    #[serde(default)]
    sought: u32,
}

impl GraphSchema {
    /// Whether the base layer lies in cells.
    pub(crate) fn has_cells(&self) -> bool {
        self.cells
    }

    /// Whether no walk ever reads a row: there are cells, or no nodes yet.
    pub(crate) fn walks_cells(&self) -> bool {
        self.cells || self.nodes == [0]
    }
}

impl Graph {
    pub(crate) fn schema(&self) -> GraphSchema {
        let nodes = (0..self.layers.len()).map(|level| self.nodes(level)).collect();
        let sought = self.sought.load(Ordering::Relaxed);
        GraphSchema { entry: self.entry, pivots: self.pivots.clone(), nodes, cells: self.cells.is_some(), sought }
    }

    /// Writes the sections of the graph, and the first `coded` cells: a write that was interrupted may have left those of rows that were never
    /// linked.
    pub(crate) fn save(&self, coded: usize, writer: &mut ContainerWriter<'_>) -> io::Result<()> {
        writer.section("twins", |out| self.twins.write_to(out))?;
        if let Some(cells) = &self.cells {
            let FrameParts { mean, unit } = cells.frame().parts();
            writer.section("frame", |out| {
                out.write_all(&unit.to_le_bytes())?;
                out.write_all(bytemuck::cast_slice(&mean))
            })?;
            for (name, part) in parts_of_cells(cells.frame()).iter().zip(cells.parts()) {
                writer.section(name, |out| part.write_first(coded, out))?;
            }
        } else {
            writer.section("links.0", |out| self.layers[0].links.write_to(out))?;
        }
        for (level, layer) in self.layers.iter().enumerate().skip(1) {
            writer.section(&format!("links.{level}"), |out| layer.links.write_to(out))?;
            writer.section(&format!("places.{level}"), |out| layer.places.write_to(out))?;
            if copied(&self.cells).is_some() {
                writer.section(&format!("rows.{level}"), |out| layer.rows.write_to(out))?;
            }
        }
        Ok(())
    }

    /// The graph in `container`, for a table of this shape. Links are checked where they are followed; the few nodes of the upper
    /// layers are checked here.
    pub(crate) fn load(
        container: &Container,
        schema: &GraphSchema,
        parameters: &HnswParameters,
        table: &Table,
    ) -> Result<Graph> {
        let (slots, metric, dim) = (table.slots(), table.metric(), table.dim());
        let corrupt = |what: &str| Err(container.corrupt("schema", what));
        let mut graph = Graph::new(parameters);
        // Rows may wait for links: all of them before there are cells, those of a write that was under way when the file was written.
        let linked = *schema.nodes.first().unwrap_or(&usize::MAX);
        if linked > slots || schema.nodes.len() > MAX_LEVEL + 1 || !schema.pivots.fit(linked) {
            return corrupt("its layers or its pivots do not fit its rows");
        }
        if schema.cells && !parameters.has_cells(metric) {
            return corrupt("it has cells, which do not go with its parameters");
        }
        let top = *schema.nodes.last().unwrap_or(&0);
        let entry_fits = if linked == 0 { schema.entry == NONE } else { (schema.entry as usize) < top };
        if !entry_fits {
            return corrupt("its entry point does not exist");
        }
        graph.twins = load_matrix(container, "twins", 1, linked)?;
        if schema.cells {
            // Where they are all that is kept, rows that wait for links have cells too.
            let coded = if table.has_rows() { linked } else { slots };
            let frame = load_frame(container, parameters, metric, dim)?;
            let mut parts = frame.widths().map(Matrix::new);
            for ((part, name), width) in parts.iter_mut().zip(parts_of_cells(&frame)).zip(frame.widths()) {
                *part = load_matrix(container, name, width, coded)?;
            }
            let twins = std::mem::replace(&mut graph.twins, Matrix::new(1));
            graph = Graph { twins, ..Graph::with_cells(parameters, Cells::from_parts(frame, parts)) };
        } else {
            graph.layers[0].links = load_matrix(container, "links.0", parameters.base_links(), linked)?;
        }
        for level in 1..schema.nodes.len() {
            let mut layer = load_layer(container, level, parameters.m, &schema.nodes)?;
            if let Some(cells) = copied(&graph.cells) {
                let bytes = cells.frame().row_bytes();
                layer.rows = load_matrix(container, &format!("rows.{level}"), bytes, schema.nodes[level])?;
            }
            graph.layers.push(layer);
        }
        (graph.entry, graph.sought) = (schema.entry, AtomicU32::new(schema.sought));
        graph.settle(schema.pivots.clone());
        Ok(graph)
    }
}

/// The sections of cells, one for each part of them.
fn parts_of_cells(frame: &Frame) -> &'static [&'static str] {
    if frame.is_lean() { &["heads", "rests"] } else { &["cells"] }
}

/// The frame of the cells.
fn load_frame(container: &Container, parameters: &HnswParameters, metric: Metric, dim: usize) -> Result<Frame> {
    container.verify("frame")?;
    let bytes = container.read("frame")?;
    let Some((unit, mean)) = bytes.split_first_chunk::<8>().filter(|_| bytes.len() == 8 + dim * size_of::<f32>())
    else {
        return Err(container.corrupt("frame", "it should hold a number, and one for each dimension"));
    };
    let mean = mean.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
    let parts = FrameParts { mean, unit: f64::from_le_bytes(*unit) };
    Ok(Frame::new(metric, parameters.shape(), parameters.seed, parts))
}

/// A layer above the base.
fn load_layer(container: &Container, level: usize, m: usize, nodes: &[usize]) -> Result<Layer> {
    let mut layer = Layer::new(m);
    layer.links = load_matrix(container, &format!("links.{level}"), m, nodes[level])?;
    let name = format!("places.{level}");
    layer.places = load_matrix(container, &name, 2, nodes[level])?;
    for node in 0..nodes[level] as u32 {
        if layer.slot(node) as usize >= nodes[0] || layer.below(node) as usize >= nodes[level - 1] {
            return Err(container.corrupt(&name, format!("node {node} leads nowhere")));
        }
    }
    Ok(layer)
}
