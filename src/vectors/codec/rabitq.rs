//! `rabitq1` to `rabitq8`: evenly spaced levels on a rotated row; with one bit, the signs.
//!
//! **Estimator** of `<q, y>`: `<q, c> ||y||^2 / <y, c>`, c being the vector of levels. Over the random rotation it is unbiased.
//!
//! **Error**: with high probability at most a few times `||q|| ||y|| tan(y, c) / sqrt(d)`. The tangent is 0.76 for one bit (the signs of a normal
//! vector have the cosine sqrt(2 / pi) with it), and about 0.37, 0.20, 0.11, 0.059, 0.032, 0.018, 0.0099 for two to eight. For a
//! bound that always holds, see [`plane`](crate::vectors::plane).
//!
//! **Source**: Gao and Long, RaBitQ, arXiv 2405.12497; with more bits, Gao et al., arXiv 2409.09913. There the spacing is searched for each
//! row; here it is the best one for normal coordinates (Max, Quantizing for minimum distortion, 1960, table II), which costs no
//! search and about one part in a hundred of the error.

use super::code::{Code, Grid};

/// The name and the best step, in standard deviations, for each number of bits.
const STEPS: [(&str, f32); 8] = [
    ("rabitq1", 1.5958),
    ("rabitq2", 0.9957),
    ("rabitq3", 0.5860),
    ("rabitq4", 0.3352),
    ("rabitq5", 0.1881),
    ("rabitq6", 0.1041),
    ("rabitq7", 0.0569),
    ("rabitq8", 0.0308),
];

/// The code with `bits` bits, 1 to 8.
pub(crate) fn rabitq(bits: u32) -> Code {
    let (name, step) = STEPS[bits as usize - 1];
    Code { name, bits, grid: Grid::Even(step) }
}
