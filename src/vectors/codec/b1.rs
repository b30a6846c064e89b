//! Bits: 0 and 1, 64 to a little-endian u64 word, the first in its lowest bit.
//!
//! Error: none. Every other value is refused. (-0 is kept as 0.) For the metric hamming, which counts in such words.

use super::row::{RowCodec, Unfit};
use crate::simd::Simd;

#[derive(Clone, Copy)]
pub(crate) struct B1;

/// The bits of a word.
const WORD: usize = u64::BITS as usize;

impl RowCodec for B1 {
    const NAME: &'static str = "b1";

    #[inline(always)]
    fn row_bytes(self, dim: usize) -> usize {
        dim.div_ceil(WORD) * size_of::<u64>()
    }

    #[inline(always)]
    fn encode(self, values: &[f32], row: &mut [u8]) -> Result<(), Unfit> {
        for (values, word) in values.chunks(WORD).zip(row.as_chunks_mut().0) {
            *word = word_of(values).to_le_bytes();
        }
        match check_bits(values) {
            None => Ok(()),
            Some(unfit) => Err(unfit),
        }
    }

    #[inline(always)]
    fn decode<S: Simd>(self, _simd: S, row: &[u8], values: &mut [f32]) {
        const ONE: u32 = 1f32.to_bits();
        for (values, word) in values.chunks_mut(WORD).zip(row.as_chunks().0) {
            let word = u64::from_le_bytes(*word);
            for (i, value) in values.iter_mut().enumerate() {
                *value = f32::from_bits((word >> i & 1) as u32 * ONE);
            }
        }
    }
}

/// Up to 64 values as bits; what is not zero is 1.
#[inline(always)]
fn word_of(values: &[f32]) -> u64 {
    values.iter().enumerate().fold(0, |word, (i, &value)| word | u64::from(value != 0.0) << i)
}

/// The first value that is no bit, if there is one.
#[inline(always)]
pub(crate) fn check_bits(values: &[f32]) -> Option<Unfit> {
    let wrong = values.iter().fold(false, |wrong, &value| wrong | ((value != 0.0) & (value != 1.0)));
    if wrong { Some(unfit(values)) } else { None }
}

#[cold]
fn unfit(values: &[f32]) -> Unfit {
    let column = values.iter().position(|&value| value != 0.0 && value != 1.0).unwrap_or(0);
    Unfit { column, rule: "it keeps bits, 0 and 1" }
}

/// The words of a row of bits; zeros beyond its end.
pub(crate) fn write_words(values: &[f32], words: &mut [u64]) {
    words.fill(0);
    for (values, word) in values.chunks(WORD).zip(words) {
        *word = word_of(values);
    }
}
