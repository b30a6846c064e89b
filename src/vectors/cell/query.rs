//! A query among cells: what it says of the row of a cell, and of all that the cell links to.

use super::encode::in_whole_numbers;
use super::lean::{Known, LeanCell};
use super::{Cell, Frame};
use crate::kernel::{BLOCK_ROWS, SIGN_LINE, SIGN_TABLES, byte_dots, sign_products, sign_tables};
use crate::simd::Simd;
use crate::vectors::aligned::Aligned;
use crate::vectors::{Metric, Query};

/// One side of a distance: a query, or a row.
#[derive(Clone, Copy)]
pub(crate) struct CellPoint<'a> {
    code: &'a [i8],
    /// The sum of the code.
    sum: i32,
    scale: f32,
    /// What all of its values begin with.
    own: f32,
}

impl CellPoint<'_> {
    /// The value of a row: the smaller, the nearer.
    #[inline(always)]
    pub(crate) fn value<S: Simd>(self, simd: S, row: Cell<'_>) -> f32 {
        // A lone product is made in two chains, so that the additions overlap.
        let [value] = self.values_in::<S, 1, 2>(simd, [row]);
        value
    }

    /// The values of some rows.
    #[inline(always)]
    pub(crate) fn values<S: Simd, const N: usize>(self, simd: S, rows: [Cell<'_>; N]) -> [f32; N] {
        self.values_in::<S, N, 1>(simd, rows)
    }

    #[inline(always)]
    fn values_in<S: Simd, const N: usize, const C: usize>(self, simd: S, rows: [Cell<'_>; N]) -> [f32; N] {
        let mut codes = [std::ptr::null(); N];
        for (code, row) in codes.iter_mut().zip(rows) {
            assert_eq!(row.code().len(), self.code.len());
            *code = row.code().as_ptr();
        }
        // SAFETY: all codes are as long as this one.
        let products = unsafe { byte_dots::<S, i8, i8, N, C>(simd, self.code, Some(self.sum), codes) };
        let mut values = [0.0; N];
        for ((value, row), product) in values.iter_mut().zip(rows).zip(products) {
            let exact = self.own + row.part() - 2.0 * self.scale * row.scale() * product as f32;
            // What is no number, since a row is out of all proportion, is infinitely far: it must not sort before the others.
            *value = exact.min(f32::INFINITY);
        }
        values
    }

    /// Three standard deviations of what roundings make of the value of a row, both sides being rounded to multiples of their scales: each
    /// rounding is evenly spread over a step, and the length of what it is multiplied with follows from the scale, the largest of so many
    /// normal coordinates being about 3.3 times as long as they commonly are.
    pub(crate) fn blur(self, row: Cell<'_>) -> f32 {
        /// A common coordinate, in scales.
        const COMMON: f32 = super::encode::MOST / 3.3;
        let dims = self.code.len() as f32;
        3.0 * 2.0 * (2.0 * dims / 12.0).sqrt() * COMMON * self.scale * row.scale()
    }
}

impl<'a> Cell<'a> {
    /// The row of this cell as one side of a distance.
    #[inline(always)]
    pub(crate) fn point(self) -> CellPoint<'a> {
        CellPoint { code: self.code(), sum: sum_of(self.code()), scale: self.scale(), own: self.part() }
    }
}

impl Frame {
    /// What the values of a query are multiplied with. Under dot only its direction matters, and estimates are best if it is as long as
    /// rows commonly are.
    pub(super) fn query_factor(&self, query: &Query<'_>) -> f64 {
        if self.metric != Metric::Dot {
            return self.metric.coding_factor(query.norm());
        }
        let length = (1.0 + self.mean.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>()).sqrt();
        if query.squared_norm > 0.0 { length / (self.unit * query.norm()) } else { 0.0 }
    }
}

/// A query, ready to meet cells. Its memory is used again.
#[derive(Default)]
pub(crate) struct CellQuery {
    room: Vec<f32>,
    pub(super) y: Vec<f32>,
    pub(super) code: Aligned<i8>,
    pub(super) scale: f32,
    pub(super) own: f32,
    /// The sum of the code.
    pub(super) sum: i32,
    /// Among lean cells: what makes scores of sums.
    pub(super) known: Known,
    /// What every choice of four signs makes of four of the coordinates that links have signs of, in multiples of `step`.
    tables: Aligned<u8>,
    step: f32,
}

impl CellQuery {
    /// Takes a query.
    #[inline(always)]
    pub(crate) fn set(&mut self, frame: &Frame, query: &Query<'_>) {
        self.resize(frame);
        self.known = if frame.is_lean() { frame.known(query) } else { Known::default() };
        let values = &query.values[..frame.mean.len()];
        frame.centred(values, frame.query_factor(query), &mut self.room);
        frame.rotate(&self.room, &mut self.y);
        (self.scale, _) = in_whole_numbers(&self.y, &mut self.code);
        self.own = if frame.metric == Metric::Dot { 0.0 } else { square(&self.y) };
        self.show(frame);
    }

    /// Takes the row of a cell.
    #[inline(always)]
    pub(crate) fn set_row(&mut self, frame: &Frame, row: Cell<'_>) {
        self.resize(frame);
        self.code.copy_from_slice(row.code());
        self.set_code(frame, row.scale(), row.part());
    }

    /// Takes the row of a lean cell.
    #[inline(always)]
    pub(crate) fn set_lean_row(&mut self, frame: &Frame, row: LeanCell<'_>) {
        self.resize(frame);
        row.unpack(&mut self.code);
        self.set_code(frame, row.scale(), row.part());
    }

    /// Takes the row that is this multiple of its code, which has been set, and has this part.
    #[inline(always)]
    fn set_code(&mut self, frame: &Frame, scale: f32, part: f32) {
        for (y, &whole) in self.y.iter_mut().zip(&*self.code) {
            *y = f32::from(whole) * scale;
        }
        (self.scale, self.own) = (scale, part);
        self.show(frame);
    }

    /// Makes of the whole numbers what links are estimated with, or what the high halves of rows are.
    #[inline(always)]
    fn show(&mut self, frame: &Frame) {
        self.sum = sum_of(&self.code);
        if !frame.is_lean() {
            self.step = sign_tables(&self.y[..frame.signs], &mut self.tables);
        }
    }

    fn resize(&mut self, frame: &Frame) {
        self.room.resize(frame.mean.len(), 0.0);
        self.y.resize(frame.width(), 0.0);
        self.code.resize(frame.width());
        self.tables.resize(frame.signs / SIGN_LINE * SIGN_TABLES);
    }

    /// The query as one side of a distance.
    #[inline(always)]
    pub(crate) fn point(&self) -> CellPoint<'_> {
        CellPoint { code: &self.code, sum: self.sum, scale: self.scale, own: self.own }
    }

    /// Estimates the values of what links `16 * fan` and, in `F` fans, those after it lead to, `value` being that of the cell itself. Returns a
    /// bit for each that is below `limit`.
    #[inline(always)]
    pub(crate) fn estimate<S: Simd, const F: usize>(
        &self,
        simd: S,
        cell: Cell<'_>,
        fan: usize,
        (value, limit): (f32, f32),
        estimates: &mut [[f32; BLOCK_ROWS]; F],
    ) -> u32 {
        let lines = self.tables.len() / SIGN_TABLES;
        let mut fans = [&[][..]; F];
        for (f, bytes) in fans.iter_mut().enumerate() {
            *bytes = cell.fan(fan + f);
            assert_eq!(bytes.len(), (lines + 2) * 64);
        }
        let starts = fans.map(<[u8]>::as_ptr);
        // SAFETY: each fan has so many lines of signs, and the tables as many.
        let products = unsafe { sign_products::<S, F, 1>(simd, starts, self.tables.as_ptr(), lines) };
        let mut below = 0;
        for f in 0..F {
            // SAFETY: behind the signs lie sixteen factors.
            let factors = unsafe { starts[f].add(lines * 64).cast::<u32>() };
            for first in (0..BLOCK_ROWS).step_by(S::LANES) {
                // SAFETY: lanes divide sixteen; loads and stores take any alignment.
                let mask = unsafe {
                    let sums = simd.load_i32(products[f][0].as_ptr().add(first));
                    let (added, times) = (simd.load_upper(factors.add(first)), simd.load_lower(factors.add(first)));
                    let base = simd.add(added, simd.splat(value));
                    let estimate = simd.mul_add(simd.mul_add(times, simd.splat(self.step), simd.zero()), sums, base);
                    simd.store(estimate, estimates[f].as_mut_ptr().add(first));
                    !simd.not_below(estimate, simd.splat(limit)) & ((1 << S::LANES) - 1)
                };
                below |= mask << (f * BLOCK_ROWS + first);
            }
        }
        below
    }
}

/// The sum of a code.
#[inline(always)]
fn sum_of(code: &[i8]) -> i32 {
    let mut sum = 0;
    for &whole in code {
        sum += i32::from(whole);
    }
    sum
}

/// The squared length, in sixteen lanes.
#[inline(always)]
fn square(y: &[f32]) -> f32 {
    let mut lanes = [0f32; 16];
    for values in y.as_chunks::<16>().0 {
        for i in 0..16 {
            lanes[i] += values[i] * values[i];
        }
    }
    lanes.into_iter().sum()
}
