//! The values as they are: four bytes each, least significant first.
//!
//! Error: none. The other codecs are held against this one; an index under it keeps its rows in
//! [`KeptRows::plain`](crate::vectors::KeptRows::plain), ready for the kernels, and never calls this.

use super::{RowCodec, Unfit};
use crate::simd::Simd;

#[derive(Clone, Copy)]
pub(crate) struct F32;

impl RowCodec for F32 {
    const NAME: &'static str = "f32";

    #[inline(always)]
    fn row_bytes(self, dim: usize) -> usize {
        4 * dim
    }

    #[inline(always)]
    fn encode(self, values: &[f32], row: &mut [u8]) -> Result<(), Unfit> {
        for (value, code) in values.iter().zip(row.as_chunks_mut().0) {
            *code = value.to_le_bytes();
        }
        Ok(())
    }

    #[inline(always)]
    fn decode<S: Simd>(self, _simd: S, row: &[u8], values: &mut [f32]) {
        for (value, code) in values.iter_mut().zip(row.as_chunks().0) {
            *value = f32::from_le_bytes(*code);
        }
    }
}
