//! Encodings of rows.

mod code;
mod n8;
mod rabitq;
mod turbo;

pub(crate) use code::{Code, Fit, Grid};
pub(crate) use n8::n8;
pub(crate) use rabitq::{rabitq, whole_rabitq4};
pub(crate) use turbo::turbo;
