//! Rows of numbers: how they come in, where they lie, and what near means.

mod codec;
mod kept;
mod matrix;
mod metric;
mod source;
mod space;

pub use codec::Codec;
pub(crate) use codec::write_words;
pub(crate) use kept::{Decode, KeptRows, coded_width};
pub(crate) use matrix::{Matrix, aligned_width};
pub use metric::Metric;
pub(crate) use metric::{Query, Task};
pub(crate) use source::{Piece, QueryBatch};
pub use source::{RowSource, Rows};
pub(crate) use space::{Space, gamma};
