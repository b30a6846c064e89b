//! Rows of numbers: how they come in, where they lie, and what near means.

mod codec;
mod matrix;
mod metric;
mod plane;
mod rotation;
mod seed;
mod source;

pub(crate) use matrix::{Matrix, aligned_width};
pub use metric::Metric;
pub(crate) use rotation::Rotation;
pub(crate) use metric::{Query, Space, Task, gamma};
pub(crate) use source::{QueryBatch, read_checked};
pub use source::{RowSource, Rows};
