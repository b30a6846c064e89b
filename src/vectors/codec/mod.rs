//! How rows are kept.
//!
//! Under the codec f32 an index keeps rows as they were given. Every other codec keeps fewer bytes of each: it rounds the row to
//! one that has a short code. From then on *the row as kept*, decoded to f32, is the row: terms, scores and what `get` returns are
//! those of its values, so a search is exact for the rows that the index holds, bit for bit. Values that a codec would have to
//! change beyond its error bound are refused instead.
//!
//! An encoding is a [`RowCodec`], one file each; its module says what is kept, how far that may be from what was given, and whose
//! idea it is. [`Codec`] is the list of them, and [`Codec::run`] is the one place where a codec becomes its encoding, outside of
//! every loop.

mod b1;
mod bf16;
mod code;
mod f16;
mod f32;
mod i8;
mod n8;
mod rabitq;
mod row;
mod turbo;
mod u8;

pub(crate) use b1::{check_bits, write_words};
pub(crate) use code::{Code, Fit};
pub(crate) use n8::n8;
pub(crate) use rabitq::rabitq;
pub(crate) use row::{CodecTask, RowCodec, Unfit};
pub(crate) use turbo::turbo;

use crate::simd::{Portable, Simd};
use serde::{Deserialize, Serialize};

/// How rows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Codec {
    /// As given: four bytes a value.
    F32,
    /// Half precision, two bytes a value: 11 significant bits, and at most 65,504.
    F16,
    /// The upper half of an f32, two bytes a value: 8 significant bits, and any magnitude.
    Bf16,
    /// Whole numbers from 0 to 255, one byte a value, nothing lost.
    U8,
    /// Multiples of 1/127 of the row's largest value, one byte a value and four a row.
    I8,
    /// 0 and 1, one bit a value, nothing lost. For the metric hamming, which has no other.
    B1,
}

impl Codec {
    /// All of them.
    pub const ALL: &[Codec] = &[Codec::F32, Codec::F16, Codec::Bf16, Codec::U8, Codec::I8, Codec::B1];

    /// Runs `task` for the encoding of this codec.
    #[inline(always)]
    pub(crate) fn run<S: Simd, T: CodecTask>(self, simd: S, task: T) -> T::Output {
        match self {
            Codec::F32 => task.run_as(simd, f32::F32),
            Codec::F16 => task.run_as(simd, f16::F16),
            Codec::Bf16 => task.run_as(simd, bf16::Bf16),
            Codec::U8 => task.run_as(simd, u8::U8),
            Codec::I8 => task.run_as(simd, i8::I8),
            Codec::B1 => task.run_as(simd, b1::B1),
        }
    }

    /// Its name: `f32`, `f16`, `bf16`, `u8`, `i8` or `b1`.
    pub fn name(self) -> &'static str {
        self.run(Portable, Name)
    }

    /// The codec of that name.
    pub fn from_name(name: &str) -> Option<Codec> {
        Codec::ALL.iter().copied().find(|codec| codec.name() == name)
    }

    /// Bytes of the code of a row of `dim` values, without padding.
    pub(crate) fn row_bytes(self, dim: usize) -> usize {
        self.run(Portable, RowBytes(dim))
    }
}

struct Name;

impl CodecTask for Name {
    type Output = &'static str;

    #[inline(always)]
    fn run_as<S: Simd, C: RowCodec>(self, _simd: S, _codec: C) -> &'static str {
        C::NAME
    }
}

struct RowBytes(usize);

impl CodecTask for RowBytes {
    type Output = usize;

    #[inline(always)]
    fn run_as<S: Simd, C: RowCodec>(self, _simd: S, codec: C) -> usize {
        codec.row_bytes(self.0)
    }
}

#[cfg(test)]
mod suite;
