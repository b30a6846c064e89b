//! Lean cells: that looks and glances say what rows are, in whichever way they are asked, and scores what the rows were.

use super::*;
use crate::vectors::Matrix;
use crate::vectors::cell::{LeanPoint, lean::LeanCell};

const SHAPE: Shape = Shape { degree: 14, lean: true };

fn lean_cells(metric: Metric, dim: usize, rows: &[Vec<f32>]) -> Cells {
    cells_of(frame_in(metric, &normal_rows(dim, 40, 1), SHAPE), rows)
}

/// What a point says of a row: at a look, and at a glance.
struct Sight<'a>(LeanPoint<'a>, LeanCell<'a>);

impl Operation for Sight<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [f32; 2] {
        [self.0.value(simd, self.1), self.0.glance(simd, self.1)]
    }
}

/// The same at every level.
fn sight(point: LeanPoint<'_>, row: LeanCell<'_>) -> [f32; 2] {
    let expected = dispatch_at(Level::Portable, Sight(point, row));
    for level in Level::available() {
        let found = dispatch_at(level, Sight(point, row));
        assert_eq!(found.map(f32::to_bits), expected.map(f32::to_bits), "{}", level.name());
    }
    expected
}

struct TakeRow<'a>(&'a mut CellQuery, &'a Frame, LeanCell<'a>);

impl Operation for TakeRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        self.0.set_lean_row(self.1, self.2);
    }
}

struct Score<'a>(&'a CellQuery, LeanCell<'a>);

impl Operation for Score<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> f32 {
        self.0.score(self.1)
    }
}

#[test]
fn a_lean_row_is_encoded_to_the_same_bits_at_every_level_and_decoded_to_about_itself() {
    for metric in METRICS {
        for dim in DIMS {
            let rows = rows_to_meet(dim);
            let cells = lean_cells(metric, dim, &rows);
            let frame = cells.frame();
            for (slot, row) in rows.iter().enumerate() {
                for level in Level::available() {
                    let mut code = vec![1; frame.row_bytes()];
                    frame.encode_at(level, row, squared(row), &mut code);
                    assert_eq!(code, cells.lean_cell(slot).row().concat(), "{metric:?}, dim {dim}, {}", level.name());
                }
                let mut decoded = vec![1.0; dim];
                frame.decode(cells.lean_cell(slot), &mut decoded);
                let length = squared(row).sqrt();
                let scale = if metric == Metric::Cosine { length } else { 1.0 };
                let lost = 2.0 * lost(frame, &definition(frame, row)) * scale / frame.parts().unit;
                let apart: Vec<f32> = row.iter().zip(&decoded).map(|(a, b)| a - b).collect();
                // Under cosine the length is rounded to eight bits besides.
                let bound = lost + length / 200.0 + 1e-4;
                assert!(squared(&apart).sqrt() <= bound, "{metric:?}, dim {dim}, row {slot}");
            }
        }
    }
}

#[test]
fn looks_are_the_same_from_both_sides_and_glances_are_near_them() {
    for metric in METRICS {
        for dim in DIMS {
            let rows = rows_to_meet(dim);
            let cells = lean_cells(metric, dim, &rows);
            let mut query = CellQuery::default();
            for u in 0..rows.len() {
                let from = cells.lean_cell(u);
                dispatch_at(Level::detect(), TakeRow(&mut query, cells.frame(), from));
                for v in 0..rows.len() {
                    let to = cells.lean_cell(v);
                    let [look, glance] = sight(query.lean_point(cells.frame()), to);
                    let of_row = sight(from.point(), to);
                    assert_eq!(of_row.map(f32::to_bits), [look.to_bits(); 2], "a row has no use for glances");
                    assert_eq!(look.to_bits(), sight(to.point(), from)[0].to_bits(), "{metric:?}, dim {dim}");
                    assert!(u != v || metric == Metric::Dot || look.abs() < 1e-30, "{look} from itself");
                    // The lower half of a byte is off by 7.5 steps at most.
                    let steps = |cell: LeanCell<'_>| {
                        let mut code = vec![0; cells.frame().width()];
                        cell.unpack(&mut code);
                        code.iter().map(|&step| f64::from(step).abs()).sum::<f64>() * f64::from(cell.scale())
                    };
                    let bound =
                        2.0 * 7.5 * steps(from) * f64::from(to.scale()) * 1.001 + 1e-5 * f64::from(look.abs()) + 1e-5;
                    assert!(f64::from(glance - look).abs() <= bound, "{metric:?}, dim {dim}: {glance} for {look}");
                }
            }
        }
    }
}

#[test]
fn scores_are_those_of_the_rows_up_to_what_rounding_takes() {
    for metric in METRICS {
        for dim in DIMS {
            let rows = rows_to_meet(dim);
            let cells = lean_cells(metric, dim, &rows);
            let (frame, unit) = (cells.frame(), cells.frame().parts().unit);
            for asked in &rows {
                let query = Asked::new(metric, asked);
                let ready = query.ready(frame, Level::detect());
                let q: Vec<f64> = query.values[..dim].iter().map(|&value| f64::from(value)).collect();
                for (slot, row) in rows.iter().enumerate() {
                    let x: Vec<f64> = row.iter().map(|&value| f64::from(value)).collect();
                    let lengths = norm(&q) * norm(&x);
                    let lost = lost(frame, &definition(frame, row)) / unit;
                    let (exact, bound) = match metric {
                        Metric::Dot => (dot(&q, &x), norm(&q) * lost + 1e-4 * lengths),
                        Metric::Cosine if lengths == 0.0 => (0.0, 0.0),
                        Metric::Cosine => (dot(&q, &x) / lengths, 2.0 * lost + lost * lost + 1e-4),
                        _ => (-norm(&minus(&q, &x)), lost + 2e-3 * (norm(&q) + norm(&x) + 1.0)),
                    };
                    let found = dispatch_at(Level::Portable, Score(&ready, cells.lean_cell(slot)));
                    for level in Level::available() {
                        let again = dispatch_at(level, Score(&ready, cells.lean_cell(slot)));
                        assert_eq!(again.to_bits(), found.to_bits(), "{}", level.name());
                    }
                    let apart = (f64::from(found) - exact).abs();
                    assert!(apart <= bound + 1e-6, "{metric:?}, dim {dim}, row {slot}: {found}, not {exact}, {bound}");
                }
            }
        }
    }
}

#[test]
fn a_list_holds_what_is_put_there_and_nothing_else_changes() {
    let rows = normal_rows(40, 3, 1);
    let mut cells = lean_cells(Metric::L2, 40, &rows);
    let before = cells.lean_cell(1).row().concat();
    for count in [14, 3, 0, 9] {
        let links: Vec<u32> = (0..count).map(|i| i * 7).collect();
        cells.set_list(1, &links);
        assert_eq!((cells.links(1), cells.first_link(1)), (links.clone(), links.first().copied()));
        assert_eq!(cells.lean_cell(1).row().concat(), before);
        assert!(cells.links(0).is_empty() && cells.links(2).is_empty());
    }
    let gathered = cells.gathered(&[2, 1]).expect("memory");
    assert_eq!(gathered.lean_cell(1).row().concat(), before);
    assert!(gathered.links(1).is_empty());
}

#[test]
fn lean_cells_of_any_bytes_make_wrong_numbers_and_no_panic() {
    let good = normal_rows(90, 40, 1);
    for metric in METRICS {
        for (seed, filler) in [(1, None), (2, Some(0xFF)), (3, Some(0x7F)), (4, Some(0x80)), (5, Some(0))] {
            let frame = frame_in(metric, &good, SHAPE);
            let parts = frame.widths().map(|width| {
                let mut forged = Matrix::new(width);
                forged.try_reserve(8).expect("memory");
                for slot in 0..8 {
                    let byte = |i| filler.unwrap_or(random_bits(seed, (slot * width + i) as u64) as u8);
                    forged.push(&(0..width).map(byte).collect::<Vec<_>>());
                }
                forged
            });
            let cells = Cells::from_parts(frame, parts);
            for level in Level::available() {
                let mut query = Asked::new(metric, &good[0]).ready(cells.frame(), level);
                for slot in 0..8 {
                    let cell = cells.lean_cell(slot);
                    assert!(cells.links(slot).len() <= 14);
                    for point in [query.lean_point(cells.frame()), cell.point()] {
                        assert!(!dispatch_at(level, Sight(point, cell))[0].is_nan());
                    }
                    dispatch_at(level, Score(&query, cell));
                    dispatch_at(level, TakeRow(&mut query, cells.frame(), cell));
                    cells.frame().decode(cell, &mut [0.0; 90]);
                }
            }
        }
    }
}
