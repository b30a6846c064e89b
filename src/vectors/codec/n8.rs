//! `n8`: eight bits in two nested halves, evenly spaced up to the row's largest coordinate.
//!
//! The upper four bits of each digit are a code by themselves, and so are the signs: whoever chooses rows by them reads the lower bits
//! of a few only, and has an answer as good as eight bits.
//!
//! **Estimator** of `<q, y>`: `<q, c> ||y||^2 / <y, c>`, c being the vector of levels.
//!
//! **Error**: no coordinate is off by more than 1/256 of the largest, so `||y - s c|| <= sqrt(d) max|y| / 256`; with a rotation in front,
//! about 0.0075 ||y||. The upper half alone: sixteen times that.
//!
//! **Source**: the uniform scalar quantizer, over a random rotation.

use super::code::{Code, Grid};

/// The code.
pub(crate) fn n8() -> Code {
    Code { name: "n8", bits: 8, grid: Grid::Spanning }
}
