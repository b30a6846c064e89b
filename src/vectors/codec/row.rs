//! What an encoding of rows is. In a module of its own because the encodings are named like the primitive types, which their
//! modules hide where they are declared.

use crate::simd::Simd;

/// One way to keep a row in bytes. All methods are compiled into loops for an instruction set, so they must be
/// `#[inline(always)]`, and written so that the compiler finds the registers: no branch in a loop, no call.
pub(crate) trait RowCodec: Copy {
    /// What callers call it.
    const NAME: &'static str;

    /// Bytes that a row of `dim` values takes.
    fn row_bytes(self, dim: usize) -> usize;

    /// Writes the code of `values`, which are finite, to the front of `row`; or names a value that cannot be kept, and leaves
    /// anything there.
    fn encode(self, values: &[f32], row: &mut [u8]) -> Result<(), Unfit>;

    /// The values whose code is at the front of `row`; as many as `values` holds. Any bytes are a code of something.
    fn decode<S: Simd>(self, simd: S, row: &[u8], values: &mut [f32]);
}

/// A value that a codec cannot keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfit {
    /// Where in the row.
    pub(crate) column: usize,
    /// What the codec can keep, and what to do.
    pub(crate) rule: &'static str,
}

/// Something to be compiled for every codec; see [`Task`](crate::vectors::Task) for how.
pub(crate) trait CodecTask {
    /// What it computes.
    type Output;
    /// The work, with the token of the instruction set and the encoding in hand.
    fn run_as<S: Simd, C: RowCodec>(self, simd: S, codec: C) -> Self::Output;
}

/// The bits of the largest magnitude in `values`; for finite values their order is that of the magnitudes, and the compiler
/// finds the maximum of integers in registers, that of floats it does not.
#[inline(always)]
pub(crate) fn largest_magnitude(values: &[f32]) -> u32 {
    values.iter().fold(0, |largest, value| largest.max(value.to_bits() & 0x7fff_ffff))
}
