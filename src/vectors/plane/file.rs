//! A plane in a file: what describes it, and its sections.

use serde::{Deserialize, Serialize};

/// What the sections of a plane need to be understood.
#[derive(Serialize, Deserialize)]
pub(crate) struct PlaneSchema {
    code: String,
    seed: u64,
}
