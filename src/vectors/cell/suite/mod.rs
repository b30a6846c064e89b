//! Cells against their definitions: what a cell says of a row, in f64; that links say what the module's documentation has them say; and that
//! it is the same at every level. [`links`] has what is coded of links, [`edges`] the rows that hurt and what a forged file can bring,
//! [`lean`] the cells that are all that is kept, [`outlooks`] what is seen of rows without their cells.

mod edges;
mod lean;
mod links;
mod outlooks;

use super::{Cell, CellPoint, CellQuery, Cells, EdgeCode, Frame, FrameParts, Shape};
use crate::kernel::{BLOCK_ROWS, canonical_dot};
use crate::simd::{Level, Operation, Simd, dispatch_at};
use crate::vectors::asked::Asked;
use crate::vectors::seed::random_bits;
use crate::vectors::{Metric, Query};
use std::sync::Arc;

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::L2];
/// Around the steps of the width, and what leaves a rest in the rotation; of 1,029 not all have signs.
const DIMS: [usize; 7] = [1, 8, 63, 64, 65, 384, 1029];

/// As good as normal: a sum of twelve.
fn normal(seed: u64, i: usize) -> f32 {
    let unit = |part: u64| (random_bits(seed, 12 * i as u64 + part) >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
    (0..12).map(unit).sum::<f32>() / 2.0
}

/// Normal rows, off the centre.
fn normal_rows(dim: usize, rows: usize, seed: u64) -> Vec<Vec<f32>> {
    (0..rows).map(|row| (0..dim).map(|i| 0.4 + normal(seed, row * dim + i)).collect()).collect()
}

fn squared(values: &[f32]) -> f64 {
    canonical_dot(values, values)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

/// A frame that was measured on these rows.
fn frame_of(metric: Metric, rows: &[Vec<f32>], degree: usize) -> Frame {
    frame_in(metric, rows, Shape { degree, lean: false })
}

fn frame_in(metric: Metric, rows: &[Vec<f32>], shape: Shape) -> Frame {
    let dim = rows[0].len();
    let parts = Frame::measure(metric, dim, rows.len(), |row, values| {
        values.copy_from_slice(&rows[row]);
        squared(values)
    });
    Frame::new(metric, shape, 9, parts)
}

/// The cells of these rows, without links.
fn cells_of(frame: Frame, rows: &[Vec<f32>]) -> Cells {
    let mut cells = Cells::new(Arc::new(frame));
    cells.try_reserve(rows.len()).expect("memory");
    for row in rows {
        let mut code = vec![0; cells.frame().row_bytes()];
        cells.frame().encode(row, squared(row), &mut code);
        cells.push(&code);
    }
    cells
}

impl Asked {
    fn ready(&self, frame: &Frame, level: Level) -> CellQuery {
        let mut query = CellQuery::default();
        dispatch_at(level, Take { query: &mut query, frame, asked: Side::Query(self.query()) });
        query
    }
}

/// The query that the row of a cell is.
fn ready_row(frame: &Frame, row: Cell<'_>, level: Level) -> CellQuery {
    let mut query = CellQuery::default();
    dispatch_at(level, Take { query: &mut query, frame, asked: Side::Row(row) });
    query
}

enum Side<'a> {
    Query(Query<'a>),
    Row(Cell<'a>),
}

struct Take<'a> {
    query: &'a mut CellQuery,
    frame: &'a Frame,
    asked: Side<'a>,
}

impl Operation for Take<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        match self.asked {
            Side::Query(asked) => self.query.set(self.frame, &asked),
            Side::Row(row) => self.query.set_row(self.frame, row),
        }
    }
}

struct Value<'a>(CellPoint<'a>, Cell<'a>);

impl Operation for Value<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        self.0.value(simd, self.1)
    }
}

/// The value of a row, which is the same at every level.
fn value(point: CellPoint<'_>, row: Cell<'_>) -> f32 {
    let expected = dispatch_at(Level::Portable, Value(point, row));
    for level in Level::available() {
        let found = dispatch_at(level, Value(point, row));
        assert_eq!(found.to_bits(), expected.to_bits(), "{}: {found:e}, not {expected:e}", level.name());
    }
    expected
}

/// What is rotated of a row, in f64.
fn definition(frame: &Frame, row: &[f32]) -> Vec<f64> {
    let FrameParts { mean, unit } = frame.parts();
    let factor = frame.metric.coding_factor(squared(row).sqrt()) * unit;
    row.iter().zip(mean).map(|(&value, mean)| f64::from(value) * factor - f64::from(mean)).collect()
}

fn mean_of(frame: &Frame) -> Vec<f64> {
    frame.parts().mean.into_iter().map(f64::from).collect()
}

/// What is rotated of a query, in f64: under dot all are as long as rows commonly are, before they are centred.
fn definition_of_query(frame: &Frame, query: &[f32]) -> Vec<f64> {
    if frame.metric != Metric::Dot {
        return definition(frame, query);
    }
    let (mean, length) = (mean_of(frame), squared(query).sqrt());
    let factor = if length > 0.0 { (1.0 + dot(&mean, &mean)).sqrt() / length } else { 0.0 };
    query.iter().zip(mean).map(|(&value, mean)| f64::from(value) * factor - mean).collect()
}

/// The value of a row for what is rotated of a query, or of another row, in f64: the squared distance; under dot -2 times the inner product with
/// the uncentred row, up to what is the same for all.
fn exact(frame: &Frame, q: &[f64], y: &[f64]) -> f64 {
    let (mean, apart) = (mean_of(frame), minus(q, y));
    if frame.metric == Metric::Dot { -2.0 * dot(q, y) - 2.0 * dot(&mean, y) } else { dot(&apart, &apart) }
}

/// The largest length that rounding to multiples of a scale takes off `y`, or adds.
fn lost(frame: &Frame, y: &[f64]) -> f64 {
    // No rotated coordinate is larger than all of them together; the code says what the largest is.
    let mut out = vec![0.0; frame.width()];
    let values: Vec<f32> = y.iter().map(|&value| value as f32).collect();
    frame.rotate(&values, &mut out);
    let largest = out.iter().fold(0f32, |most, value| most.max(value.abs()));
    f64::from(largest) / 254.0 * (frame.width() as f64).sqrt()
}

/// Rows of a frame that are ordinary, zero, longer than all that it was measured on, and off in one dimension.
fn rows_to_meet(dim: usize) -> Vec<Vec<f32>> {
    let mut rows = normal_rows(dim, 12, 5);
    rows.push(vec![0.0; dim]);
    rows.push(rows[0].iter().map(|value| value * 3.0).collect());
    rows.push(rows[1].iter().map(|value| value * -40.0).collect());
    rows.push((0..dim).map(|i| if i == 0 { 30.0 } else { 0.1 }).collect());
    rows
}

#[test]
fn a_row_is_encoded_to_the_same_bits_at_every_level() {
    for metric in METRICS {
        for dim in DIMS {
            let frame = frame_of(metric, &normal_rows(dim, 40, 1), 32);
            for row in rows_to_meet(dim) {
                let encoded = |level| {
                    let mut code = vec![1; frame.row_bytes()];
                    frame.encode_at(level, &row, squared(&row), &mut code);
                    code
                };
                let expected = encoded(Level::Portable);
                for level in Level::available() {
                    assert_eq!(encoded(level), expected, "{metric:?}, dim {dim}, {}", level.name());
                }
            }
        }
    }
}

#[test]
fn the_value_of_a_row_is_its_squared_distance_up_to_what_rounding_takes() {
    for metric in METRICS {
        for dim in DIMS {
            let rows = rows_to_meet(dim);
            let cells = cells_of(frame_of(metric, &normal_rows(dim, 40, 1), 32), &rows);
            let frame = cells.frame();
            for asked in &rows {
                let query = Asked::new(metric, asked).ready(frame, Level::detect());
                let q = definition_of_query(frame, asked);
                for (slot, row) in rows.iter().enumerate() {
                    let y = definition(frame, row);
                    let exact = exact(frame, &q, &y);
                    let (of_query, of_row) = (lost(frame, &q), lost(frame, &y));
                    // Of the query only the inner product is rounded, of the row everything.
                    let (from, square) = match metric {
                        Metric::Dot => (norm(&q) + norm(&mean_of(frame)), 0.0),
                        _ => (exact.sqrt(), of_row * of_row),
                    };
                    let rounding = 2.0 * of_query * (norm(&y) + of_row) + 2.0 * from * of_row + square;
                    let sizes = dot(&q, &q) + dot(&y, &y) + norm(&mean_of(frame)) * norm(&y);
                    let bound = rounding + 3e-5 * sizes + 1e-6;
                    let found = f64::from(value(query.point(), cells.cell(slot)));
                    let what = format!("{metric:?}, dim {dim}, row {slot}");
                    assert!((found - exact).abs() <= bound, "{what}: {found} is not {exact} within {bound}");
                    assert!(bound <= 0.3 * sizes + 1e-5, "{what}: {bound} says nothing");
                }
            }
        }
    }
}

#[test]
fn rows_are_as_far_from_each_other_in_both_directions() {
    for metric in METRICS {
        for dim in DIMS {
            let rows = rows_to_meet(dim);
            let cells = cells_of(frame_of(metric, &normal_rows(dim, 40, 1), 32), &rows);
            let frame = cells.frame();
            let mean = if metric == Metric::Dot { mean_of(frame) } else { vec![0.0; dim] };
            for (u, row) in rows.iter().enumerate() {
                for (v, other) in rows.iter().enumerate() {
                    let (from, to) = (cells.cell(u), cells.cell(v));
                    let found = value(from.point(), to);
                    assert_eq!(found.to_bits(), value(to.point(), from).to_bits(), "{metric:?}, dim {dim}");
                    assert!(
                        u != v || metric == Metric::Dot || found.abs() < 1e-30,
                        "{metric:?}, dim {dim}: {found} from itself"
                    );
                    let (y, z) = (definition(frame, row), definition(frame, other));
                    let exact = exact(frame, &y, &z) - 2.0 * dot(&mean, &y);
                    let rounding = lost(frame, &y) + lost(frame, &z);
                    let lengths = match metric {
                        Metric::Dot => norm(&y) + norm(&z) + norm(&mean),
                        _ => norm(&minus(&y, &z)),
                    };
                    let sizes = dot(&y, &y) + dot(&z, &z) + norm(&mean) * (norm(&y) + norm(&z));
                    let bound = (2.0 * lengths + rounding) * rounding + 3e-5 * sizes + 1e-6;
                    assert!((f64::from(found) - exact).abs() <= bound, "{metric:?}, dim {dim}: {found}, not {exact}");
                }
            }
        }
    }
}

#[test]
fn the_row_of_a_cell_as_a_query_is_that_cell() {
    for metric in METRICS {
        for dim in DIMS {
            let rows = rows_to_meet(dim);
            let cells = cells_of(frame_of(metric, &normal_rows(dim, 40, 1), 32), &rows);
            for level in Level::available() {
                for u in 0..rows.len() {
                    let query = ready_row(cells.frame(), cells.cell(u), level);
                    for v in 0..rows.len() {
                        let found = value(query.point(), cells.cell(v));
                        assert_eq!(found.to_bits(), value(cells.cell(u).point(), cells.cell(v)).to_bits());
                        let lone = cells.frame().lone(cells.cell(v).row());
                        assert_eq!(found.to_bits(), value(query.point(), lone).to_bits(), "a row that lies elsewhere");
                    }
                }
            }
        }
    }
}
