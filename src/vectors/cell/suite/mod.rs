//! Cells against their definitions: what a cell says of a row, in f64; that links say what the module's documentation has them say; and that
//! it is the same at every level. [`links`] has what is coded of links, [`edges`] the rows that hurt and what a forged file can bring.

mod edges;
mod links;

use super::{Cell, CellPoint, CellQuery, Cells, EdgeCode, Frame, FrameParts};
use crate::kernel::{BLOCK_ROWS, canonical_dot};
use crate::simd::{Level, Operation, Simd, dispatch_at};
use crate::vectors::seed::random_bits;
use crate::vectors::{Metric, Query};
use std::sync::Arc;

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::L2];
/// Around the steps of the width, and what leaves a rest in the rotation.
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
    let dim = rows[0].len();
    let parts = Frame::measure(metric, dim, rows.len(), |row, values| {
        values.copy_from_slice(&rows[row]);
        squared(values)
    });
    Frame::new(metric, dim, degree, 9, parts)
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

/// A query as an index prepares it.
struct Asked {
    metric: Metric,
    values: Vec<f32>,
    squared_norm: f64,
}

impl Asked {
    fn new(metric: Metric, values: &[f32]) -> Asked {
        let mut values = values.to_vec();
        let given = squared(&values);
        let squared_norm = metric.prepare(&mut values, given);
        Asked { metric, values, squared_norm }
    }

    fn ready(&self, frame: &Frame, level: Level) -> CellQuery {
        let mut query = CellQuery::default();
        let asked = Query::new(self.metric, &self.values, self.squared_norm);
        dispatch_at(level, Take { query: &mut query, frame, asked: Side::Query(asked) });
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
    let FrameParts { mean, unit, reach } = frame.parts();
    let factor = frame.metric.coding_factor(squared(row).sqrt()) * unit;
    let mut y: Vec<f64> = row.iter().map(|&value| f64::from(value) * factor).collect();
    if frame.metric == Metric::Dot {
        y.push((reach - squared(row)).max(0.0).sqrt() * unit);
    }
    y.iter().zip(mean).map(|(value, mean)| value - f64::from(mean)).collect()
}

/// What a query says of a row, in f64: the squared distance; under dot -2 times the inner product with the query's direction.
fn exact(frame: &Frame, query: &[f32], row: &[f32]) -> f64 {
    let y = definition(frame, row);
    if frame.metric == Metric::Dot {
        return -2.0 * dot(&direction(query), &y);
    }
    let apart = minus(&definition(frame, query), &y);
    dot(&apart, &apart)
}

/// The direction of a query under dot.
fn direction(query: &[f32]) -> Vec<f64> {
    let length = squared(query).sqrt();
    let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
    query.iter().map(|&value| f64::from(value) * factor).collect()
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
                let q = if metric == Metric::Dot { direction(asked) } else { definition(frame, asked) };
                for (slot, row) in rows.iter().enumerate() {
                    let (y, exact) = (definition(frame, row), exact(frame, asked, row));
                    let (of_query, of_row) = (lost(frame, &q), lost(frame, &y));
                    // Of the query only the inner product is rounded, of the row everything.
                    let from = if metric == Metric::Dot { norm(&q) } else { exact.sqrt() };
                    let rounding = 2.0 * of_query * (norm(&y) + of_row) + 2.0 * from * of_row + of_row * of_row;
                    let bound = rounding + 3e-5 * (dot(&q, &q) + dot(&y, &y)) + 1e-6;
                    let found = f64::from(value(query.point(), cells.cell(slot)));
                    let what = format!("{metric:?}, dim {dim}, row {slot}");
                    assert!((found - exact).abs() <= bound, "{what}: {found} is not {exact} within {bound}");
                    assert!(
                        dim == 1 || bound <= 0.2 * (dot(&q, &q) + dot(&y, &y)) + 1e-5,
                        "{what}: {bound} says nothing"
                    );
                }
            }
        }
    }
}

#[test]
fn rows_are_as_far_from_each_other_in_both_directions_and_not_from_themselves() {
    for metric in METRICS {
        for dim in DIMS {
            let rows = rows_to_meet(dim);
            let cells = cells_of(frame_of(metric, &normal_rows(dim, 40, 1), 32), &rows);
            let frame = cells.frame();
            for (u, row) in rows.iter().enumerate() {
                for (v, other) in rows.iter().enumerate() {
                    let (from, to) = (cells.cell(u), cells.cell(v));
                    let found = value(from.point(), to);
                    assert_eq!(found.to_bits(), value(to.point(), from).to_bits(), "{metric:?}, dim {dim}");
                    assert!(u != v || found == 0.0, "{metric:?}, dim {dim}: {found} from itself");
                    let (y, z) = (definition(frame, row), definition(frame, other));
                    let (apart, rounding) = (norm(&minus(&y, &z)), lost(frame, &y) + lost(frame, &z));
                    let bound = (2.0 * apart + rounding) * rounding + 3e-5 * (dot(&y, &y) + dot(&z, &z)) + 1e-6;
                    assert!((f64::from(found) - apart * apart).abs() <= bound, "{metric:?}, dim {dim}: {found}");
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
                        let lone = cells.lone(cells.cell(v).row());
                        assert_eq!(found.to_bits(), value(query.point(), lone).to_bits(), "a row that lies elsewhere");
                    }
                }
            }
        }
    }
}
