//! The door through which vectors come in.
//!
//! Each value of the caller's array is read once, into memory of our own, and it is that copy which is checked and used. So
//! somebody who writes to the array meanwhile gets unspecified values, never an invalid index. Rows are put into the codec
//! of their index on the way, before anybody waits for them.

use crate::error::{Error, Result};
use crate::kernel::canonical_dot;
use crate::runtime::Call;
use crate::simd::{self, Operation, Simd};
use crate::vectors::codec::{Codec, CodecTask, RowCodec, Unfit, check_bits};
use crate::vectors::{Matrix, Metric, Query, aligned_width};

/// Rows that somebody hands in, of whatever element type and layout; read in chunks, converted to f32.
pub trait RowSource {
    /// How many rows there are.
    fn rows(&self) -> usize;
    /// Values a row.
    fn dim(&self) -> usize;
    /// Copies row `row` into `out`, which holds [`dim`](RowSource::dim) values.
    fn read(&self, row: usize, out: &mut [f32]);
}

/// Rows of f32 that lie one after another.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    values: &'a [f32],
    dim: usize,
}

impl<'a> Rows<'a> {
    /// `values` as rows of `dim`; a rest that does not fill a row is an error.
    pub fn new(values: &'a [f32], dim: usize) -> Result<Rows<'a>> {
        if dim == 0 || !values.len().is_multiple_of(dim) {
            return Err(Error::Dimension { expected: dim, given: values.len().checked_rem(dim).unwrap_or(0) });
        }
        Ok(Rows { values, dim })
    }
}

impl RowSource for Rows<'_> {
    fn rows(&self) -> usize {
        self.values.len() / self.dim
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn read(&self, row: usize, out: &mut [f32]) {
        out.copy_from_slice(&self.values[row * self.dim..][..self.dim]);
    }
}

/// Copies row `row` of `source` into the front of `out` and checks it: finite, and a squared norm within f32.
/// Returns the squared norm.
fn read_checked(source: &dyn RowSource, row: usize, out: &mut [f32]) -> Result<f64> {
    let values = &mut out[..source.dim()];
    source.read(row, values);
    checked(row, values, canonical_dot(values, values))
}

/// The squared norm of a row, if it is one that a row may have.
fn checked(row: usize, values: &[f32], squared_norm: f64) -> Result<f64> {
    if squared_norm <= f64::from(f32::MAX) { Ok(squared_norm) } else { Err(complaint(row, values, squared_norm)) }
}

/// Some rows on their way into a table: copied, checked, and in the codec of the table.
pub(crate) struct Piece {
    codec: Codec,
    dim: usize,
    /// Under f32 the rows; under any other codec the one that was read last.
    values: Vec<f32>,
    /// The rows under any other codec than f32, without padding.
    coded: Vec<u8>,
}

impl Piece {
    /// Room for `rows` rows of `dim` values.
    pub(crate) fn new(codec: Codec, dim: usize, rows: usize) -> Piece {
        let (plain, coded) = if codec == Codec::F32 { (rows, 0) } else { (1, rows) };
        let coded = vec![0; coded * codec.row_bytes(dim)];
        Piece { codec, dim, values: vec![0.0; plain * dim], coded }
    }

    /// Copies row `row` of `source` to the place `at`, and checks it. Returns the squared norm of the row as it will be kept.
    pub(crate) fn read(&mut self, at: usize, source: &dyn RowSource, row: usize) -> Result<f64> {
        if self.codec == Codec::F32 {
            return read_checked(source, row, &mut self.values[at * self.dim..]);
        }
        read_checked(source, row, &mut self.values)?;
        let bytes = self.codec.row_bytes(self.dim);
        let code = &mut self.coded[at * bytes..][..bytes];
        match simd::dispatch(Keep { codec: self.codec, values: &mut self.values, code }) {
            Ok(squared_norm) => checked(row, &self.values, squared_norm),
            Err(unfit) => Err(unfit.error(row, &self.values, self.codec)),
        }
    }

    /// Copies the values of the row at the place `at`, as it will be kept.
    pub(crate) fn values(&self, at: usize, out: &mut [f32]) {
        if self.codec == Codec::F32 {
            out.copy_from_slice(&self.values[at * self.dim..][..self.dim]);
        } else {
            simd::dispatch(Unkeep { codec: self.codec, code: self.row(at), values: out });
        }
    }

    /// The row at the place `at`, in the bytes in which it will be kept.
    pub(crate) fn row(&self, at: usize) -> &[u8] {
        if self.codec == Codec::F32 {
            return bytemuck::cast_slice(&self.values[at * self.dim..][..self.dim]);
        }
        let bytes = self.codec.row_bytes(self.dim);
        &self.coded[at * bytes..][..bytes]
    }
}

/// Decodes a row.
struct Unkeep<'a> {
    codec: Codec,
    code: &'a [u8],
    values: &'a mut [f32],
}

impl Operation for Unkeep<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.codec.run(simd, self);
    }
}

impl CodecTask for Unkeep<'_> {
    type Output = ();

    #[inline(always)]
    fn run_as<S: Simd, C: RowCodec>(self, simd: S, codec: C) {
        codec.decode(simd, self.code, self.values);
    }
}

/// Encodes a row and puts it as it is kept in its own place; gives the squared norm of that.
struct Keep<'a> {
    codec: Codec,
    values: &'a mut [f32],
    code: &'a mut [u8],
}

impl Operation for Keep<'_> {
    type Output = Result<f64, Unfit>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Result<f64, Unfit> {
        self.codec.run(simd, self)
    }
}

impl CodecTask for Keep<'_> {
    type Output = Result<f64, Unfit>;

    #[inline(always)]
    fn run_as<S: Simd, C: RowCodec>(self, simd: S, codec: C) -> Result<f64, Unfit> {
        codec.encode(self.values, self.code)?;
        codec.decode(simd, self.code, self.values);
        Ok(canonical_dot(self.values, self.values))
    }
}

/// Queries, copied, checked and padded like rows.
pub(crate) struct QueryBatch {
    metric: Metric,
    rows: Matrix<f32>,
    squared_norms: Vec<f64>,
}

impl QueryBatch {
    /// The rows of `source` as queries for `metric`.
    pub(crate) fn read(source: &dyn RowSource, metric: Metric, call: &Call<'_>) -> Result<QueryBatch> {
        let count = source.rows();
        let mut rows = Matrix::zeros(aligned_width(source.dim()), count)?;
        let mut squared_norms = Vec::with_capacity(count);
        for i in 0..count {
            if i % 1024 == 1023 {
                call.check()?;
            }
            let norm = read_checked(source, i, rows.row_mut(i))?;
            if metric == Metric::Hamming
                && let Some(unfit) = check_bits(rows.row(i))
            {
                return Err(unfit.error(i, rows.row(i), Codec::B1));
            }
            squared_norms.push(metric.prepare(rows.row_mut(i), norm));
        }
        Ok(QueryBatch { metric, rows, squared_norms })
    }

    /// All of them, ready to be compared.
    pub(crate) fn queries(&self) -> Vec<Query<'_>> {
        let query = |i| Query::new(self.metric, self.rows.row(i), self.squared_norms[i]);
        (0..self.rows.len()).map(query).collect()
    }
}

impl Unfit {
    /// The error for row `row` of a source, which has these values.
    fn error(self, row: usize, values: &[f32], codec: Codec) -> Error {
        let Unfit { column, rule } = self;
        Error::Unfit { row, column, value: values[column], codec: codec.name(), rule }
    }
}

#[cold]
fn complaint(row: usize, values: &[f32], norm: f64) -> Error {
    if let Some(column) = values.iter().position(|value| !value.is_finite()) {
        return Error::NonFinite { row, column, value: values[column] };
    }
    let mut sum = 0.0;
    let passes = values.iter().position(|&value| {
        sum += f64::from(value).powi(2);
        sum > f64::from(f32::MAX)
    });
    Error::NormOverflow { row, column: passes.unwrap_or(values.len() - 1), norm }
}
