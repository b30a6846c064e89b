//! How a graph is built and searched, and which choices do not go together.

use crate::error::{Error, Result};
use crate::vectors::{Codec, Frame, Metric, Shape};
use serde::{Deserialize, Serialize};

/// How a graph is built and searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HnswParameters {
    /// Links that a new row makes on each layer; a node of the base layer has at most twice as many.
    pub m: usize,
    /// The width of the beam that looks for the neighbours of a new row.
    pub ef_construction: usize,
    /// Decides the layers of each row, and the rotation of what is coded.
    pub seed: u64,
    /// What walks read.
    pub codec: GraphCodec,
}

/// What a walk reads of the nodes that it comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GraphCodec {
    /// Cells under cosine, dot and l2, unless eight bits a value do not tell rows apart; else rows.
    #[default]
    Auto,
    /// Rows as they are kept, as f32.
    F32,
    /// Codes of eight bits a value, in two halves. They are all that is kept of a row, once there are enough rows to centre codes on; scores are
    /// estimates from then on.
    Lean,
}

impl HnswParameters {
    /// The parameters for this many rows under this metric: m 16, or, among rows alone, 32 above 50,000 rows; ef_construction 200.
    pub fn for_size(rows: usize, metric: Metric, codec: GraphCodec) -> HnswParameters {
        let rows_alone =
            HnswParameters { m: if rows > 50_000 { 32 } else { 16 }, ef_construction: 200, seed: 0, codec };
        let cells = HnswParameters { m: 16, ..rows_alone };
        if cells.has_cells(metric) { cells } else { rows_alone }
    }

    /// Bytes that a row of `dim` values takes in the graph once it is linked, about.
    pub(crate) fn linked_bytes(&self, metric: Metric, dim: usize) -> usize {
        if self.has_cells(metric) { self.shape().cell_bytes(dim) } else { self.base_links() * size_of::<u32>() }
    }

    /// The most links of a node of the base layer: twice m, and two fewer where the numbers of its row lie beside them.
    pub(crate) fn base_links(&self) -> usize {
        if self.keeps_rows() { 2 * self.m } else { 2 * self.m - 2 }
    }

    /// The shape of cells.
    pub(crate) fn shape(&self) -> Shape {
        Shape { degree: self.base_links(), lean: !self.keeps_rows() }
    }

    /// Whether rows are kept, once there are codes.
    pub(crate) fn keeps_rows(&self) -> bool {
        self.codec != GraphCodec::Lean
    }

    /// Whether the base layer is made of cells under this metric.
    pub(crate) fn has_cells(&self, metric: Metric) -> bool {
        self.codec != GraphCodec::F32 && Frame::serves(metric)
    }

    pub(super) fn check(&self) -> Result<()> {
        let range = |name: &str, value: usize, low: usize, high: usize| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Error::InvalidArgument(format!("{name} must be between {low} and {high}, got {value}")))
        };
        range("m", self.m, 2, 256)?;
        range("ef_construction", self.ef_construction, 1, 1 << 16)
    }
}

/// Refuses the metric whose rows a walk cannot read.
pub(super) fn check_metric(metric: Metric) -> Result<()> {
    if metric != Metric::Hamming {
        return Ok(());
    }
    let message = "HnswIndex does not have metric 'hamming' yet; FlatIndex has it";
    Err(Error::InvalidArgument(message.to_owned()))
}

/// Refuses to keep rows in a codec that a walk, or the ranking of what it found, cannot read.
pub(super) fn check_codec(codec: Codec, metric: Metric, parameters: &HnswParameters) -> Result<()> {
    if !parameters.keeps_rows() {
        return check_lean(codec, metric);
    }
    if codec == Codec::F32 || codec == Codec::F16 && parameters.has_cells(metric) {
        return Ok(());
    }
    let name = codec.name();
    let message = format!(
        "HnswIndex keeps rows as 'f32', or under cosine, dot and l2 with codec 'auto' as 'f16', got '{name}' under '{}'; FlatIndex takes any codec",
        metric.name()
    );
    Err(Error::InvalidArgument(message))
}

/// Refuses to keep nothing but codes where distances do not follow from them; until there are any, rows are kept as given.
fn check_lean(codec: Codec, metric: Metric) -> Result<()> {
    if codec == Codec::F32 && Frame::serves(metric) {
        return Ok(());
    }
    let message = format!(
        "HnswIndex keeps no rows under cosine, dot and l2 alone, and none in another codec, got '{}' under '{}'",
        codec.name(),
        metric.name()
    );
    Err(Error::InvalidArgument(message))
}

pub(super) fn check_ef(name: &str, ef: usize) -> Result<()> {
    if ef == 0 {
        return Err(Error::InvalidArgument(format!("{name} must be at least 1, got 0")));
    }
    Ok(())
}
