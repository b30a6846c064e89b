//! The rows of an index, in whatever codec they are kept.
//!
//! Under f32 they are a plain matrix, padded to whole cache lines, which kernels read where it lies. Under any other codec they are
//! bytes, and whoever needs values has them decoded, many rows at a time where it can. Outside, a row as kept is its bytes: that is
//! the form in which rows come in and move from one table to another.

use super::codec::{Codec, CodecTask, RowCodec};
use super::matrix::{Lender, Matrix, aligned_width};
use crate::error::Result;
use crate::simd::{self, Operation, Simd};
use std::io::{self, Write};

/// Coded rows of up to this many bytes start at a multiple of their size, so that none of them lies in two cache lines.
const LINE_BYTES: usize = 64;
/// What longer ones start at a multiple of: one more cache line at most is touched, and i8 does not pay a line for its scale.
const ROW_ALIGNMENT: usize = 16;

/// Rows in one codec.
pub(crate) struct KeptRows {
    codec: Codec,
    dim: usize,
    /// The rows under f32; none under any other codec.
    plain: Matrix<f32>,
    /// The rows under any other codec; none under f32.
    coded: Matrix<u8>,
}

impl KeptRows {
    /// No rows yet, of `dim` values.
    pub(crate) fn new(dim: usize, codec: Codec) -> KeptRows {
        let (plain, coded) = (Matrix::new(aligned_width(dim)), Matrix::new(coded_width(codec, dim)));
        KeptRows { codec, dim, plain, coded }
    }

    /// The rows in `plain`, which is as wide as f32 rows of `dim` values are.
    pub(crate) fn from_plain(dim: usize, plain: Matrix<f32>) -> KeptRows {
        assert_eq!(plain.width(), aligned_width(dim));
        KeptRows { plain, ..KeptRows::new(dim, Codec::F32) }
    }

    /// The rows in `coded`, which is as wide as rows of `dim` values are under `codec`, another than f32.
    pub(crate) fn from_coded(dim: usize, codec: Codec, coded: Matrix<u8>) -> KeptRows {
        assert!(codec != Codec::F32 && coded.width() == coded_width(codec, dim));
        KeptRows { coded, ..KeptRows::new(dim, codec) }
    }

    /// The rows in somebody's bytes, where they lie.
    pub(crate) fn borrowed(dim: usize, codec: Codec, lender: Lender) -> KeptRows {
        match codec {
            Codec::F32 => KeptRows::from_plain(dim, Matrix::borrowed(aligned_width(dim), lender)),
            _ => KeptRows::from_coded(dim, codec, Matrix::borrowed(coded_width(codec, dim), lender)),
        }
    }

    /// The rows of several lenders; see [`Matrix::lent`].
    pub(crate) fn lent(dim: usize, codec: Codec, lenders: Vec<Lender>) -> Result<KeptRows> {
        Ok(match codec {
            Codec::F32 => KeptRows::from_plain(dim, Matrix::lent(aligned_width(dim), lenders)?),
            _ => KeptRows::from_coded(dim, codec, Matrix::lent(coded_width(codec, dim), lenders)?),
        })
    }

    pub(crate) fn codec(&self) -> Codec {
        self.codec
    }

    /// Values a row.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// The rows under f32, padded with zeros. Under any other codec there are none in here.
    #[inline(always)]
    pub(crate) fn plain(&self) -> &Matrix<f32> {
        &self.plain
    }

    fn is_plain(&self) -> bool {
        self.codec == Codec::F32
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        // One of them is empty.
        self.plain.len() + self.coded.len()
    }

    /// Bytes a row, with its padding.
    pub(crate) fn row_bytes(&self) -> usize {
        kept_bytes(self.codec, self.dim)
    }

    /// Bytes that the rows take.
    pub(crate) fn bytes(&self) -> usize {
        self.len() * self.row_bytes()
    }

    /// Makes room for `additional` rows; after this, as many pushes cannot fail.
    pub(crate) fn try_reserve(&mut self, additional: usize) -> Result<()> {
        if self.is_plain() { self.plain.try_reserve(additional) } else { self.coded.try_reserve(additional) }
    }

    /// The bytes of row `i` as it is kept, with its padding.
    pub(crate) fn row(&self, i: usize) -> &[u8] {
        if self.is_plain() { bytemuck::cast_slice(self.plain.row(i)) } else { self.coded.row(i) }
    }

    /// The words of a row under b1, with the padding.
    pub(crate) fn words(&self) -> usize {
        self.coded.width() / size_of::<u64>()
    }

    /// The words of `count` rows from row `start` on, under b1. They must lie in one block, as 64 from a multiple of 64 on do.
    #[inline]
    pub(crate) fn row_words(&self, start: usize, count: usize) -> &[u64] {
        bytemuck::cast_slice(self.coded.run(start, count))
    }

    /// Appends a row that is kept as these bytes, with or without padding. Room must have been reserved.
    pub(crate) fn push(&mut self, row: &[u8]) {
        if self.is_plain() { self.plain.push(bytemuck::cast_slice(row)) } else { self.coded.push(row) }
    }

    /// Writes a row that is kept as these bytes over row `i`.
    pub(crate) fn overwrite(&mut self, i: usize, row: &[u8]) {
        let to = if self.is_plain() { bytemuck::cast_slice_mut(self.plain.row_mut(i)) } else { self.coded.row_mut(i) };
        to[..row.len()].copy_from_slice(row);
    }

    /// Lets two rows change places.
    pub(crate) fn swap(&mut self, a: usize, b: usize) {
        if self.is_plain() { self.plain.swap(a, b) } else { self.coded.swap(a, b) }
    }

    /// Forgets the rows from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.plain.truncate(len);
        self.coded.truncate(len);
    }

    /// The same rows in memory of their own.
    pub(crate) fn try_clone(&self) -> Result<KeptRows> {
        let (plain, coded) = (self.plain.try_clone()?, self.coded.try_clone()?);
        Ok(KeptRows { codec: self.codec, dim: self.dim, plain, coded })
    }

    /// Writes the bytes of all rows, one after another.
    pub(crate) fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.is_plain() { self.plain.write_to(out) } else { self.coded.write_to(out) }
    }

    /// The values of the rows in `slots`, one after another: row after row into `out`, which holds as many times
    /// [`dim`](KeptRows::dim).
    pub(crate) fn read(&self, slots: &[u32], out: &mut [f32]) {
        simd::dispatch(Decode { rows: self, slots, width: self.dim, out });
    }
}

/// Bytes of a row under any codec, with the padding.
pub(crate) fn kept_bytes(codec: Codec, dim: usize) -> usize {
    if codec == Codec::F32 { aligned_width(dim) * size_of::<f32>() } else { coded_width(codec, dim) }
}

/// Bytes of a row under `codec`, another than f32, with the padding.
pub(crate) fn coded_width(codec: Codec, dim: usize) -> usize {
    let bytes = codec.row_bytes(dim);
    if bytes > LINE_BYTES { bytes.next_multiple_of(ROW_ALIGNMENT) } else { bytes.next_power_of_two() }
}

/// Decodes the rows in the first of `slots` to `out`: each to the first values of the next `width`, as long as there are any. What
/// is beyond the values of a row stays as it is. As many slots more are prefetched, one for each row, so that they are in the
/// cache when it is their turn: on rows that are not, that takes a quarter to a half off the time of a lone query.
pub(crate) struct Decode<'a> {
    pub(crate) rows: &'a KeptRows,
    pub(crate) slots: &'a [u32],
    pub(crate) width: usize,
    pub(crate) out: &'a mut [f32],
}

impl Operation for Decode<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.rows.codec.run(simd, self);
    }
}

impl CodecTask for Decode<'_> {
    type Output = ();

    #[inline(always)]
    fn run_as<S: Simd, C: RowCodec>(self, simd: S, codec: C) {
        let ahead = self.out.len() / self.width;
        for (i, (&slot, values)) in self.slots.iter().zip(self.out.chunks_exact_mut(self.width)).enumerate() {
            if let Some(&next) = self.slots.get(i + ahead) {
                for line in self.rows.row(next as usize).chunks(LINE_BYTES) {
                    simd::prefetch(line.as_ptr());
                }
            }
            codec.decode(simd, self.rows.row(slot as usize), &mut values[..self.rows.dim]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_rows_lie_in_one_cache_line_and_long_ones_waste_little() {
        for &codec in Codec::ALL {
            for dim in (1..=130).chain([384, 768, 65_535]) {
                let (bytes, width) = (codec.row_bytes(dim), coded_width(codec, dim));
                assert!(width >= bytes, "{} {dim}", codec.name());
                if bytes <= LINE_BYTES {
                    assert!(LINE_BYTES.is_multiple_of(width) && width < 2 * bytes, "{} {dim}", codec.name());
                } else {
                    assert!(width.is_multiple_of(ROW_ALIGNMENT) && width < bytes + ROW_ALIGNMENT);
                }
            }
        }
        assert_eq!([Codec::F16, Codec::U8, Codec::I8].map(|codec| coded_width(codec, 768)), [1536, 768, 784]);
    }

    #[test]
    fn rows_are_pushed_overwritten_cloned_and_read_in_every_codec() {
        for &codec in Codec::ALL {
            let dim = 37;
            let mut rows = KeptRows::new(dim, codec);
            rows.try_reserve(3).expect("memory");
            // Under every codec the code of values that are not zero.
            let code = |value: u8| vec![value | if codec == Codec::B1 { 0xff } else { 0 }; codec.row_bytes(dim)];
            for value in [1, 2, 3] {
                rows.push(&code(value));
            }
            rows.overwrite(1, &vec![0; codec.row_bytes(dim)]);
            let copy = rows.try_clone().expect("memory");
            rows.truncate(1);
            assert_eq!((rows.len(), copy.len(), copy.bytes()), (1, 3, 3 * rows.row_bytes()));
            assert_eq!(copy.row(2)[..codec.row_bytes(dim)], code(3)[..]);
            let mut values = vec![f32::NAN; 2 * dim];
            copy.read(&[1, 2], &mut values);
            assert!(values[..dim].iter().all(|&value| value == 0.0), "{}", codec.name());
            assert!(values[dim..].iter().all(|&value| value > 0.0), "{}", codec.name());
            let mut written = Vec::new();
            copy.write_to(&mut written).expect("writing to memory");
            assert_eq!(written.len(), copy.bytes());
        }
    }
}
