//! Eight bits a value, relative to the largest of its row: codes from -127 to 127, then one f32, the scale, by which each is
//! multiplied. (Symmetric uniform quantisation; Jacob et al., arXiv 1712.05877, section 2.1, with the zero point at 0.)
//!
//! The scale is max|x| / 127. Error: a value x is kept as x' with |x - x'| <= scale / 2 * (1 + 2^-15); the second factor is what
//! the roundings of the scale's division, of x / scale and of code * scale add. So a row with one value far above the
//! others keeps little of the others. A row whose scale would lie in the denormal range, where this does not hold, is refused,
//! unless it is zero.
//!
//! What was decoded is encoded to the same code again, so a row may be moved from file to file. The largest code is +-127, and its value comes
//! to the same scale: max|x| / 127, multiplied with 127 and divided by it, each time rounded, is what it was. (The suite tries every fraction.)

use super::row::{RowCodec, Unfit, largest_magnitude};
use crate::simd::Simd;

#[derive(Clone, Copy)]
pub(crate) struct I8;

const LARGEST_CODE: f32 = 127.0;
/// Added to a value, rounds it to a whole number (ties to even) and puts that, in two's complement, into the lowest bits.
const ALIGNER: f32 = (3 << 22) as f32;

impl RowCodec for I8 {
    const NAME: &'static str = "i8";

    #[inline(always)]
    fn row_bytes(self, dim: usize) -> usize {
        dim + size_of::<f32>()
    }

    #[inline(always)]
    fn encode(self, values: &[f32], row: &mut [u8]) -> Result<(), Unfit> {
        let largest = f32::from_bits(largest_magnitude(values));
        let scale = largest / LARGEST_CODE;
        if scale < f32::MIN_POSITIVE && largest > 0.0 {
            return Err(unfit(values, largest));
        }
        let divisor = if largest == 0.0 { 1.0 } else { scale };
        let (codes, rest) = row.split_at_mut(values.len());
        for (value, code) in values.iter().zip(codes) {
            *code = (value / divisor + ALIGNER).to_bits() as u8;
        }
        rest[..size_of::<f32>()].copy_from_slice(&scale.to_le_bytes());
        Ok(())
    }

    #[inline(always)]
    fn decode<S: Simd>(self, _simd: S, row: &[u8], values: &mut [f32]) {
        let (codes, rest) = row.split_at(values.len());
        let scale = rest.first_chunk().map_or(0.0, |bytes| f32::from_le_bytes(*bytes));
        for (value, code) in values.iter_mut().zip(codes) {
            *value = f32::from(code.cast_signed()) * scale;
        }
    }
}

#[cold]
fn unfit(values: &[f32], largest: f32) -> Unfit {
    let column = values.iter().position(|value| value.abs() == largest).unwrap_or(0);
    let rule = "the largest value of a row must be 0 or at least 1.5e-36; scale the vectors up, or use codec 'f32'";
    Unfit { column, rule }
}
