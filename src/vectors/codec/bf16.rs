//! The upper half of an f32: one sign bit, eight of exponent, seven of fraction, rounded to nearest, ties to even (the format of
//! Google's TPUs; Kalamkar et al., arXiv 1905.12322).
//!
//! Error: a value x is kept as x' with |x - x'| <= max(2^-8 |x|, 2^-134). Every value that may come in has a nearest one. A row
//! whose squared norm is within f32 may be rounded to one whose is not; that is refused like any row that is too long.

use super::{RowCodec, Unfit};
use crate::simd::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Bf16;

impl RowCodec for Bf16 {
    const NAME: &'static str = "bf16";

    #[inline(always)]
    fn row_bytes(self, dim: usize) -> usize {
        2 * dim
    }

    #[inline(always)]
    fn encode(self, values: &[f32], row: &mut [u8]) -> Result<(), Unfit> {
        for (value, code) in values.iter().zip(row.as_chunks_mut().0) {
            let bits = value.to_bits();
            // Half of the last place that stays, less one where that is even: what lies in the middle goes to the even side.
            let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
            *code = (rounded as u16).to_le_bytes();
        }
        Ok(())
    }

    #[inline(always)]
    fn decode<S: Simd>(self, _simd: S, row: &[u8], values: &mut [f32]) {
        for (value, code) in values.iter_mut().zip(row.as_chunks().0) {
            *value = f32::from_bits(u32::from(u16::from_le_bytes(*code)) << 16);
        }
    }
}
