//! Rows of numbers: how they come in, where they lie, and what near means.

mod aligned;
#[cfg(test)]
mod asked;
mod cell;
mod codec;
mod kept;
mod matrix;
mod metric;
mod pair;
mod plane;
mod rotation;
mod seed;
mod source;
mod space;

pub(crate) use cell::{
    Cell, CellPoint, CellQuery, Cells, Coming, EdgeCode, Frame, FrameParts, LeanPoint, Outlook, Shape,
};
pub use codec::Codec;
pub(crate) use codec::{Code, n8, rabitq, turbo, write_words};
pub(crate) use kept::{Decode, KeptRows, coded_width, kept_bytes};
pub(crate) use matrix::{LENT_ROWS, Lender, Matrix, aligned_width};
pub use metric::Metric;
pub(crate) use metric::{Query, Task};
pub(crate) use plane::{
    CENTRED_ROWS, Coding, Encoder, Estimates, Heads, Met, Panel, Plane, PlaneQuery, Purpose, Wanted,
};
pub(crate) use rotation::Rotation;
pub(crate) use seed::random_bits;
pub(crate) use source::{Piece, QueryBatch};
pub use source::{RowSource, Rows};
pub(crate) use space::{Space, gamma};
