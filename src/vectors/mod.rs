//! Rows of numbers: how they come in, where they lie, and what near means.

mod matrix;
mod metric;
mod source;
mod space;

pub(crate) use matrix::{Matrix, aligned_width};
pub use metric::Metric;
pub(crate) use metric::{Query, Task};
pub(crate) use source::{QueryBatch, read_checked};
pub use source::{RowSource, Rows};
pub(crate) use space::{Space, gamma};
