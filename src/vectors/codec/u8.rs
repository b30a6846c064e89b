//! Whole numbers from 0 to 255, a byte each: what image descriptors and pixels are made of (SIFT: Lowe, 2004).
//!
//! Error: none. Every other value is refused. (-0 is kept as 0.)

use super::{RowCodec, Unfit};
use crate::simd::Simd;

#[derive(Clone, Copy)]
pub(crate) struct U8;

/// Whole numbers below 2^23 lie in the lowest bits of their sum with this.
const ALIGNER: f32 = (1 << 23) as f32;

impl RowCodec for U8 {
    const NAME: &'static str = "u8";

    #[inline(always)]
    fn row_bytes(self, dim: usize) -> usize {
        dim
    }

    #[inline(always)]
    fn encode(self, values: &[f32], row: &mut [u8]) -> Result<(), Unfit> {
        let mut changed = 0;
        for (value, code) in values.iter().zip(&mut *row) {
            *code = byte(*value);
            changed |= u32::from(f32::from(*code) != *value);
        }
        if changed == 0 { Ok(()) } else { Err(unfit(values)) }
    }

    #[inline(always)]
    fn decode<S: Simd>(self, _simd: S, row: &[u8], values: &mut [f32]) {
        for (value, code) in values.iter_mut().zip(row) {
            *value = f32::from(*code);
        }
    }
}

/// The byte for a value that has one; for any other value, some byte.
#[inline(always)]
fn byte(value: f32) -> u8 {
    (value + ALIGNER).to_bits() as u8
}

#[cold]
fn unfit(values: &[f32]) -> Unfit {
    let column = values.iter().position(|&value| f32::from(byte(value)) != value).unwrap_or(0);
    Unfit { column, rule: "it keeps whole numbers from 0 to 255; use codec 'i8', 'f16' or 'f32' for other vectors" }
}
