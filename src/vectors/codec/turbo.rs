//! `turbo2`, `turbo3`, `turbo4`: on a rotated row, the levels with the least squared error for normal coordinates.
//!
//! **Estimator** of `<q, y>`: `<q, c> ||y||^2 / <y, c>`, c being the vector of levels: the length is restored, so that it is unbiased.
//!
//! **Error**: as for [`rabitq`](super::rabitq), the tangents being about 0.37, 0.19 and 0.098. Levels are whole numbers up to 127 instead of
//! real ones (with two bits 3 and 10): that changes the tangents by less than one part in a hundred.
//!
//! **Source**: Zandieh et al., TurboQuant, arXiv 2504.19874; the thresholds and levels are Lloyd's and Max's (Max, Quantizing for
//! minimum distortion, 1960, table I).

use super::code::{Code, Grid};

/// The code with two, three or four bits.
pub(crate) fn turbo(bits: u32) -> Code {
    let (name, thresholds, levels): (_, &[f32], &[i8]) = match bits {
        2 => ("turbo2", &[0.9816], &[3, 10]),
        3 => ("turbo3", &[0.5006, 1.050, 1.748], &[14, 45, 79, 127]),
        _ => ("turbo4", &[0.2582, 0.5224, 0.7996, 1.099, 1.437, 1.844, 2.401], &[6, 18, 31, 44, 58, 75, 96, 127]),
    };
    Code { name, bits: bits.clamp(2, 4), grid: Grid::Uneven(thresholds, levels) }
}
