//! Rows and links as cells have them.

use super::{Cell, Frame};
use crate::simd::{Level, Operation, Simd, dispatch_at};
use crate::vectors::Metric;
use crate::vectors::pair::nearest_bf16;

/// The largest whole number of a row.
pub(super) const MOST: f32 = 127.0;

/// Where a link leads, as the cell that it starts from sees it.
#[derive(Clone, Copy)]
pub(crate) struct EdgeCode<'a> {
    /// One bit a coordinate.
    pub(crate) signs: &'a [u8],
    /// Two bf16: what is added, and what the sum of signs is multiplied with.
    pub(crate) factors: u32,
}

impl Frame {
    /// Bytes of a row, as [`encode`](Frame::encode) makes it.
    pub(crate) fn row_bytes(&self) -> usize {
        self.shape.row_bytes(self.mean.len())
    }

    /// Bytes of the signs of a link.
    pub(crate) fn sign_bytes(&self) -> usize {
        if self.is_lean() { 0 } else { self.signs / 8 }
    }

    /// The row with these values as its cell begins with it: whole numbers, scale, part.
    pub(crate) fn encode(&self, values: &[f32], squared_norm: f64, row: &mut [u8]) {
        self.encode_at(Level::detect(), values, squared_norm, row);
    }

    pub(super) fn encode_at(&self, level: Level, values: &[f32], squared_norm: f64, row: &mut [u8]) {
        let (mut room, mut y) = (vec![0.0; self.mean.len()], vec![0.0; self.width()]);
        dispatch_at(level, Encode { frame: self, values, squared_norm, room: &mut room, y: &mut y, row });
    }

    /// What is rotated of a row (or of a query), multiplied with `factor`: in units, without the mean.
    #[inline(always)]
    pub(super) fn centred(&self, values: &[f32], factor: f64, out: &mut [f32]) {
        let factor = factor * self.unit;
        for ((out, &value), &mean) in out.iter_mut().zip(values).zip(&self.mean) {
            *out = (f64::from(value) * factor - f64::from(mean)) as f32;
        }
    }

    /// What a row adds to its value for every query: a row that was y, and is the multiple `scale` of its code, whose squares add up to `squares`.
    #[inline(always)]
    pub(super) fn part(&self, y: &[f32], scale: f32, squares: i64, code: &[i8]) -> f32 {
        if !y.iter().all(|value| value.is_finite()) {
            // What is out of range is infinitely far from everything.
            return f32::INFINITY;
        }
        match self.metric {
            Metric::Dot => -2.0 * scale * along(&self.centre, code),
            _ => scale * scale * squares as f32,
        }
    }

    #[inline(always)]
    pub(super) fn rotate(&self, values: &[f32], out: &mut [f32]) {
        self.rotation.rotate(values, out);
    }
}

/// Rounds to multiples of a scale, which is returned, and with it the sum of the squares of these multiples. Zeros, and what is out of range,
/// become zeros.
#[inline(always)]
pub(super) fn in_whole_numbers(y: &[f32], code: &mut [i8]) -> (f32, i64) {
    let mut largest = [0f32; 16];
    for values in y.as_chunks::<16>().0 {
        for i in 0..16 {
            largest[i] = largest[i].max(values[i].abs());
        }
    }
    let largest = largest.into_iter().fold(0f32, f32::max);
    let scale = largest / MOST;
    if !scale.is_normal() {
        code.fill(0);
        return (0.0, 0);
    }
    (scale, in_steps(y, MOST / largest, code))
}

/// The nearest whole number that is not beyond [`MOST`], of two the even one. What is no number becomes one.
#[inline(always)]
#[expect(clippy::manual_clamp, reason = "what is no number would stay so")]
fn nearest_whole(value: f32) -> i32 {
    // In this range, floats are whole numbers, and follow each other like integers: an addition rounds. Casts would look for what no value here is.
    const WHOLE: f32 = (3 << 22) as f32;
    (value.max(-MOST).min(MOST) + WHOLE).to_bits().wrapping_sub(WHOLE.to_bits()) as i32
}

/// Rounds to steps, none of which may be more than 127; the sum of their squares.
#[inline(always)]
pub(super) fn in_steps(y: &[f32], per_step: f32, code: &mut [i8]) -> i64 {
    // The squares of as many values as a row can have fit.
    let mut squares = 0i32;
    // Value by value: of a loop over sixteens the compiler makes gathers, and writes byte by byte.
    for (&value, code) in y.iter().zip(code) {
        let whole = nearest_whole(value * per_step);
        squares += whole * whole;
        *code = whole as i8;
    }
    i64::from(squares)
}

/// The inner product with whole numbers, in sixteen lanes.
#[inline(always)]
fn along(centre: &[f32], code: &[i8]) -> f32 {
    let mut lanes = [0f32; 16];
    for (values, code) in centre.as_chunks::<16>().0.iter().zip(code.as_chunks::<16>().0) {
        for i in 0..16 {
            lanes[i] += values[i] * f32::from(code[i]);
        }
    }
    lanes.into_iter().sum()
}

/// A row to be encoded, compiled for the processor.
struct Encode<'a> {
    frame: &'a Frame,
    values: &'a [f32],
    squared_norm: f64,
    room: &'a mut [f32],
    y: &'a mut [f32],
    row: &'a mut [u8],
}

impl Operation for Encode<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let frame = self.frame;
        frame.centred(self.values, frame.metric.coding_factor(self.squared_norm.sqrt()), self.room);
        frame.rotate(self.room, self.y);
        if frame.is_lean() {
            return frame.write_lean(self.y, self.squared_norm, self.row);
        }
        let (code, numbers) = self.row.split_at_mut(frame.width());
        let code: &mut [i8] = bytemuck::cast_slice_mut(code);
        let (scale, squares) = in_whole_numbers(self.y, code);
        let part = frame.part(self.y, scale, squares, code);
        numbers[..4].copy_from_slice(&scale.to_le_bytes());
        numbers[4..8].copy_from_slice(&part.to_le_bytes());
    }
}

impl Cell<'_> {
    /// The code of a link from here to `to`: writes the signs, returns the factors.
    #[inline(always)]
    pub(crate) fn encode_link<S: Simd>(self, simd: S, to: Cell<'_>, signs: &mut [u8]) -> u32 {
        let (own_scale, scale) = (self.scale(), to.scale());
        // Sixteen lanes whatever the processor has, so that the sums are the same everywhere.
        let (mut squares, mut sizes, mut along, mut inner) = ([0f32; 16], [0f32; 16], [0f32; 16], [0f32; 16]);
        let mut pairs = self.code().as_chunks::<16>().0.iter().zip(to.code().as_chunks::<16>().0);
        for (signs, (own, other)) in signs.as_chunks_mut::<2>().0.iter_mut().zip(&mut pairs) {
            let mut apart = [0f32; 16];
            for i in 0..16 {
                let here = f32::from(own[i]) * own_scale;
                let o = f32::from(other[i]) * scale - here;
                apart[i] = o;
                squares[i] += o * o;
                sizes[i] += o.abs();
                along[i] += if o < 0.0 { -here } else { here };
                inner[i] += here * o;
            }
            *signs = signs_of(simd, &apart).to_le_bytes();
        }
        // Coordinates without signs.
        for (own, other) in pairs {
            for i in 0..16 {
                let here = f32::from(own[i]) * own_scale;
                let o = f32::from(other[i]) * scale - here;
                squares[i] += o * o;
                inner[i] += here * o;
            }
        }
        let sum = |lanes: [f32; 16]| lanes.into_iter().sum::<f32>();
        let (square, size, along, inner) = (sum(squares), sum(sizes), sum(along), sum(inner));
        // Two rows with the same code: whatever is said of the one goes for the other.
        let factor = if size > 0.0 { square / size } else { 0.0 };
        // From the sums alone where that is the same, since the parts of two near rows nearly cancel.
        let apart = if self.frame.metric == Metric::Dot { to.part() - self.part() - 2.0 * inner } else { square };
        u32::from(nearest_bf16(apart + 2.0 * factor * along)) << 16 | u32::from(nearest_bf16(-2.0 * factor))
    }
}

/// A bit for each value that is not negative.
#[inline(always)]
fn signs_of<S: Simd>(simd: S, values: &[f32; 16]) -> u16 {
    let mut bits = 0;
    for first in (0..16).step_by(S::LANES) {
        // SAFETY: lanes divide sixteen.
        let lanes = unsafe { simd.load(values.as_ptr().add(first)) };
        bits |= simd.not_below(lanes, simd.zero()) << first;
    }
    bits as u16
}
