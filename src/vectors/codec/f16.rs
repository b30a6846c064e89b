//! Half precision: one sign bit, five of exponent, ten of fraction (IEEE 754-2019, binary16), rounded to nearest, ties to even.
//!
//! Error: a value x is kept as x' with |x - x'| <= max(2^-11 |x|, 2^-25). So values below 2^-14 lose precision and those up to
//! 2^-25 become zero. Values beyond 65,504, the largest of this format, are refused.
//!
//! Encoding is written in integers, and in the one float operation that shifts a fraction with its rounding right; it neither reads nor
//! makes an f32 in the denormal range, so no setting of the processor changes a bit. Decoding is an instruction where there is one
//! ([`read_halves`]).

use super::row::{RowCodec, Unfit, largest_magnitude};
use crate::kernel::read_halves;
use crate::simd::Simd;

#[derive(Clone, Copy)]
pub(crate) struct F16;

/// The largest value, 65,504, as an f32.
const LARGEST: u32 = 0x477f_e000;
/// What the exponent of an f32 is larger by than that of the same value in half precision, in place.
const REBIAS: u32 = (127 - 15) << 23;
/// 2^-14, the smallest value with all its bits, as an f32.
const SMALLEST_NORMAL: u32 = (127 - 14) << 23;
/// 0.5: its last fraction bit is 2^-24, like the last of any half below 2^-14.
const ALIGNER: u32 = 126 << 23;

impl RowCodec for F16 {
    const NAME: &'static str = "f16";

    #[inline(always)]
    fn row_bytes(self, dim: usize) -> usize {
        2 * dim
    }

    #[inline(always)]
    fn encode(self, values: &[f32], row: &mut [u8]) -> Result<(), Unfit> {
        if largest_magnitude(values) > LARGEST {
            return Err(unfit(values));
        }
        for (value, code) in values.iter().zip(row.as_chunks_mut().0) {
            *code = half(*value).to_le_bytes();
        }
        Ok(())
    }

    #[inline(always)]
    fn decode<S: Simd>(self, simd: S, row: &[u8], values: &mut [f32]) {
        read_halves(simd, row.as_chunks().0, values);
    }
}

/// The nearest half; the magnitude must be at most 65,504.
#[inline(always)]
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    // Half of the last place that stays, less one where that is even: what lies in the middle goes to the even side.
    let rounded = magnitude.wrapping_sub(REBIAS).wrapping_add(0xfff + ((magnitude >> 13) & 1)) >> 13;
    // The addition rounds as IEEE 754 says, at the place where a small half ends.
    let small = (f32::from_bits(magnitude) + f32::from_bits(ALIGNER)).to_bits().wrapping_sub(ALIGNER);
    let code = if magnitude < SMALLEST_NORMAL { small } else { rounded };
    (code | (bits >> 16 & 0x8000)) as u16
}

#[cold]
fn unfit(values: &[f32]) -> Unfit {
    let column = values.iter().position(|value| value.abs().to_bits() > LARGEST).unwrap_or(0);
    Unfit { column, rule: "it keeps values from -65504 to 65504; scale the vectors down, or use codec 'bf16' or 'f32'" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Portable;

    fn single(code: u16) -> f32 {
        let mut value = [0.0];
        F16.decode(Portable, &code.to_le_bytes(), &mut value);
        value[0]
    }

    #[test]
    fn every_half_is_its_own_nearest() {
        for code in (0..=u16::MAX).filter(|code| code & 0x7c00 != 0x7c00) {
            assert_eq!(half(single(code)), code, "{code:#06x}");
        }
    }

    #[test]
    fn the_middle_goes_to_the_even_side_and_what_is_beside_it_does_not() {
        for code in 0..0x7bff {
            let middle = (single(code) + single(code + 1)) / 2.0;
            assert_eq!(half(middle), code + (code & 1), "{code:#06x}");
            assert_eq!((half(middle.next_down()), half(middle.next_up())), (code, code + 1), "{code:#06x}");
            assert_eq!(half(-middle), half(middle) | 0x8000);
        }
    }

    #[test]
    fn known_values() {
        for (value, code) in [
            (0.0, 0),
            (-0.0, 0x8000),
            (1.0, 0x3c00),
            (-2.0, 0xc000),
            (65_504.0, 0x7bff),
            (2f32.powi(-14), 0x0400),
            (2f32.powi(-24), 1),
            (2f32.powi(-25), 0),
            (f32::MIN_POSITIVE, 0),
            (f32::from_bits(1), 0),
            (0.1, 0x2e66),
        ] {
            assert_eq!(half(value), code, "{value}");
        }
        assert_eq!(single(0x8000).to_bits(), (-0.0f32).to_bits());
        assert_eq!(single(0x2e66), 0.099_975_586);
    }
}
