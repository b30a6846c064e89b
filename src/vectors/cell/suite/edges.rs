//! Rows that hurt, and bytes that nobody has written.

use super::links::{Link, estimates, link, link_all};
use super::*;
use crate::vectors::Matrix;

#[test]
fn rows_that_are_all_the_same_are_no_distance_apart() {
    for metric in METRICS {
        for first in [0.0, 1.0, 1e-30, 1e-42, 1e25] {
            let rows = vec![vec![first; 20]; 33];
            let mut cells = cells_of(frame_of(metric, &rows, 32), &rows);
            link_all(&mut cells);
            for level in Level::available() {
                let query = ready_row(cells.frame(), cells.cell(5), level);
                let near = value(query.point(), cells.cell(0));
                assert!(near == 0.0 || metric == Metric::Dot, "{metric:?}, {first:e}: {near}");
                let (below, found) = estimates(level, &query, cells.cell(0), near, f32::INFINITY);
                assert_eq!((below, found), (u32::MAX, vec![near; 32]), "{metric:?}, {first:e}");
            }
        }
    }
}

/// Rows with values of every size that an f32 has, far beyond what the frame was measured on.
fn enormous(dim: usize) -> Vec<Vec<f32>> {
    let sizes = [1e12, 1e17, 3e18, 1e19, 1e25, 1e30, 3e34, 1e36, 1e37, 3e38];
    let row =
        |(seed, size): (usize, f32)| (0..dim).map(|i| (normal(seed as u64, i) / 4.0).clamp(-1.0, 1.0) * size).collect();
    sizes.into_iter().enumerate().map(row).collect()
}

#[test]
fn enormous_rows_are_far_from_all_others_and_nothing_is_no_number() {
    for metric in METRICS {
        for dim in [1, 40, 384] {
            let (near, far) = (normal_rows(dim, 20, 2), enormous(dim));
            let rows: Vec<Vec<f32>> = near.iter().chain(&far).cloned().collect();
            let mut cells = cells_of(frame_of(metric, &normal_rows(dim, 40, 1), 32), &rows);
            link_all(&mut cells);
            for (u, asked) in rows.iter().enumerate() {
                let query = Asked::new(metric, asked).ready(cells.frame(), Level::detect());
                for v in 0..rows.len() {
                    link(cells.cell(u), cells.cell(v));
                    for point in [query.point(), cells.cell(u).point()] {
                        let found = value(point, cells.cell(v));
                        assert!(!found.is_nan(), "{metric:?}, dim {dim}: {u}, {v}");
                    }
                    let apart = value(cells.cell(u).point(), cells.cell(v));
                    let one_is_far = (u < near.len()) != (v < near.len());
                    assert!(!one_is_far || metric != Metric::L2 || apart > 1e10, "{metric:?}: {apart} from {u} to {v}");
                }
                // Only what is a number can be below a limit, so that nothing else comes into a beam.
                let (below, found) = estimates(Level::detect(), &query, cells.cell(0), 1.0, f32::INFINITY);
                let numbers = found.iter().enumerate().filter(|(_, estimate)| **estimate < f32::INFINITY);
                assert_eq!(below, numbers.fold(0, |mask, (at, _)| mask | 1 << at));
            }
        }
    }
}

#[test]
fn an_enormous_row_among_those_that_the_frame_is_measured_on_spoils_no_number() {
    for metric in METRICS {
        let mut rows = normal_rows(30, 32, 2);
        rows.extend(enormous(30).into_iter().take(1));
        rows[4] = enormous(30).remove(5);
        let mut cells = cells_of(frame_of(metric, &rows, 32), &rows);
        link_all(&mut cells);
        for u in 0..rows.len() {
            let query = Asked::new(metric, &rows[u]).ready(cells.frame(), Level::detect());
            for v in 0..rows.len() {
                assert!(value(query.point(), cells.cell(v)).is_finite(), "{metric:?}: {u}, {v}");
            }
        }
    }
}

#[test]
fn a_frame_that_says_nothing_makes_rows_that_are_infinitely_far() {
    for (unit, mean) in [(f64::INFINITY, 0.0), (f64::NAN, 0.0), (1.0, f32::NAN), (0.0, 1.0), (1e300, -1.0)] {
        for metric in METRICS {
            let parts = FrameParts { mean: vec![mean; 30], unit };
            let rows = normal_rows(30, 33, 2);
            let mut cells = cells_of(Frame::new(metric, Shape { degree: 32, lean: false }, 0, parts), &rows);
            link_all(&mut cells);
            for asked in &rows {
                let query = Asked::new(metric, asked).ready(cells.frame(), Level::detect());
                assert!(rows.iter().enumerate().all(|(v, _)| !value(query.point(), cells.cell(v)).is_nan()));
                estimates(Level::detect(), &query, cells.cell(0), 0.0, f32::INFINITY);
            }
        }
    }
}

#[test]
fn cells_of_any_bytes_make_wrong_numbers_and_no_panic() {
    let good = normal_rows(90, 40, 1);
    for metric in METRICS {
        for (seed, filler) in [(1, None), (2, Some(0xFF)), (3, Some(0x7F)), (4, Some(0x80)), (5, None)] {
            let frame = frame_of(metric, &good, 32);
            let mut forged = Matrix::new(frame.cell_bytes());
            forged.try_reserve(8).expect("memory");
            for slot in 0..8 {
                let byte = |i| filler.unwrap_or(random_bits(seed, (slot * frame.cell_bytes() + i) as u64) as u8);
                forged.push(&(0..frame.cell_bytes()).map(byte).collect::<Vec<_>>());
            }
            let cells = Cells::from_parts(frame, [forged, Matrix::new(1)]);
            for level in Level::available() {
                for (u, row) in good.iter().enumerate().take(8) {
                    let cell = cells.cell(u);
                    assert!(cell.len() <= 32 && cell.links().count() == cell.len());
                    let queries =
                        [ready_row(cells.frame(), cell, level), Asked::new(metric, row).ready(cells.frame(), level)];
                    for (v, query) in (0..8).flat_map(|v| queries.iter().map(move |query| (v, query))) {
                        dispatch_at(level, Link { from: cell, to: cells.cell(v) });
                        // Bytes of -128, which nobody writes, are not the same at every level.
                        let near = dispatch_at(level, Value(query.point(), cells.cell(v)));
                        assert!(!near.is_nan(), "what is no number counts as infinitely far");
                        estimates(level, query, cells.cell(v), near, f32::INFINITY);
                    }
                }
            }
        }
    }
}
