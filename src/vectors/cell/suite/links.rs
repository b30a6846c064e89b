//! What is coded of links, and what is estimated from it.

use super::*;
use crate::vectors::cell::shape::signs;

/// Codes a link from one cell to another.
pub(super) struct Link<'a> {
    pub(super) from: Cell<'a>,
    pub(super) to: Cell<'a>,
}

impl Operation for Link<'_> {
    /// Signs and factors.
    type Output = (Vec<u8>, u32);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let mut signs = vec![0; self.from.frame.sign_bytes()];
        let factors = self.from.encode_link(simd, self.to, &mut signs);
        (signs, factors)
    }
}

/// The code of a link, which is the same at every level.
pub(super) fn link(from: Cell<'_>, to: Cell<'_>) -> (Vec<u8>, u32) {
    let expected = dispatch_at(Level::Portable, Link { from, to });
    for level in Level::available() {
        assert_eq!(dispatch_at(level, Link { from, to }), expected, "{}", level.name());
    }
    expected
}

/// Estimates from one fan, or from two.
struct Estimate<'a> {
    query: &'a CellQuery,
    cell: Cell<'a>,
    fan: usize,
    value: f32,
    limit: f32,
    two: bool,
}

impl Operation for Estimate<'_> {
    /// Which are below the limit, and all of them.
    type Output = (u32, Vec<f32>);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let (query, from) = (self.query, (self.value, self.limit));
        if self.two {
            let mut estimates = [[0.0; BLOCK_ROWS]; 2];
            let below = query.estimate::<S, 2>(simd, self.cell, self.fan, from, &mut estimates);
            return (below, estimates.as_flattened().to_vec());
        }
        let mut estimates = [[0.0; BLOCK_ROWS]; 1];
        let below = query.estimate::<S, 1>(simd, self.cell, self.fan, from, &mut estimates);
        (below, estimates.as_flattened().to_vec())
    }
}

/// All estimates of a cell with up to 32 links, by fans or both at once.
pub(super) fn estimates(level: Level, query: &CellQuery, cell: Cell<'_>, value: f32, limit: f32) -> (u32, Vec<f32>) {
    let both = dispatch_at(level, Estimate { query, cell, fan: 0, value, limit, two: true });
    let (mut below, mut found) = (0, Vec::new());
    for fan in 0..2 {
        let (mask, some) = dispatch_at(level, Estimate { query, cell, fan, value, limit, two: false });
        assert!(mask < 1 << BLOCK_ROWS);
        below |= mask << (fan * BLOCK_ROWS);
        found.extend(some);
    }
    // What is no number may be any of those.
    let bits = |values: &[f32]| {
        values.iter().map(|value| if value.is_nan() { f32::NAN } else { *value }.to_bits()).collect::<Vec<_>>()
    };
    assert_eq!((both.0, bits(&both.1)), (below, bits(&found)), "one fan after the other, or both at once");
    both
}

/// Links slot 0 to all others, in order.
pub(super) fn link_all(cells: &mut Cells) {
    for to in 1..cells.len() {
        let (signs, factors) = link(cells.cell(0), cells.cell(to));
        cells.set_link(0, to - 1, to as u32, EdgeCode { signs: &signs, factors });
    }
    cells.set_len(0, cells.len() - 1);
}

/// The row of a cell, in f64.
fn decoded(cell: Cell<'_>) -> Vec<f64> {
    cell.code().iter().map(|&whole| f64::from(whole) * f64::from(cell.scale())).collect()
}

/// The two factors: what is added, and what the sum of signs is multiplied with.
fn unpacked(factors: u32) -> (f64, f64) {
    (f64::from(f32::from_bits(factors & 0xFFFF_0000)), f64::from(f32::from_bits(factors << 16)))
}

#[test]
fn a_link_has_the_signs_and_factors_of_its_definition_at_every_level() {
    for metric in METRICS {
        for dim in DIMS {
            let cells = cells_of(frame_of(metric, &normal_rows(dim, 40, 1), 32), &rows_to_meet(dim));
            for (u, v) in (0..cells.len()).flat_map(|u| (0..cells.len()).map(move |v| (u, v))) {
                let (signs, factors) = link(cells.cell(u), cells.cell(v));
                let (from, o) = (decoded(cells.cell(u)), minus(&decoded(cells.cell(v)), &decoded(cells.cell(u))));
                let signs = signs_of(&signs, o.len());
                let largest = o.iter().chain(&from).fold(0.0, |most: f64, value| most.max(value.abs()));
                let wrong = o.iter().zip(&signs).filter(|(o, sign)| *o * *sign < -1e-6 * largest);
                assert_eq!(wrong.count(), 0, "{metric:?}, dim {dim}, {u} to {v}");
                let (square, size) = (dot(&o, &o), dot(&o, &signs));
                let factor = if size > 0.0 { square / size } else { 0.0 };
                let (added, times) = unpacked(factors);
                let parts = f64::from(cells.cell(v).part()) - f64::from(cells.cell(u).part());
                let along = 2.0 * factor * dot(&from, &signs);
                let expected = parts - 2.0 * dot(&from, &o) + along;
                // Half a step of bf16, and what the sums in f32 lose.
                let sizes =
                    square + dot(&from, &from) + parts.abs() + 2.0 * factor * norm(&from) * (o.len() as f64).sqrt();
                let slack = 1e-4 * sizes + 1e-30;
                assert!(
                    (added - expected).abs() <= expected.abs() / 250.0 + slack,
                    "dim {dim}: {added}, not {expected}"
                );
                assert!((times + 2.0 * factor).abs() <= factor / 120.0 + slack, "dim {dim}: {times}");
                assert!(u != v || factors & 0x7FFF_7FFF == 0, "a link from a row to itself says nothing");
            }
        }
    }
}

/// 1 or -1 for each coordinate that has a sign, 0 for the others.
fn signs_of(bits: &[u8], width: usize) -> Vec<f64> {
    let sign = |i: usize| if bits[i / 8] >> (i % 8) & 1 == 1 { 1.0 } else { -1.0 };
    (0..width).map(|i| if i < bits.len() * 8 { sign(i) } else { 0.0 }).collect()
}

/// How far an estimate is off, in units of what the random rotation and the rounding of the query and of the factors make likely.
fn deviation(query: &[f64], from: Cell<'_>, to: Cell<'_>, estimate: f32) -> f64 {
    let signed = from.frame.signs;
    let (from, to) = (decoded(from), decoded(to));
    let (o, offset, apart) = (minus(&to, &from), minus(query, &from), minus(query, &to));
    let width = o.len() as f64;
    let size: f64 = o[..signed].iter().map(|value| value.abs()).sum();
    let factor = dot(&o, &o) / size;
    // f sign(o) is o and something at right angles to it, which meets only what of the query is at right angles to o.
    let beside = (factor * factor * signed as f64 - dot(&o, &o)).max(0.0).sqrt();
    let across = (dot(&offset, &offset) - dot(&offset, &o).powi(2) / dot(&o, &o)).max(0.0).sqrt();
    let of_signs = 2.0 * across * beside / (width - 1.0).sqrt();
    // Each sum of four is rounded to a step.
    let step =
        query[..signed].chunks(4).map(|four| four.iter().map(|value| value.abs()).sum()).fold(0.0, f64::max) / 31.0;
    let of_query = 2.0 * factor * step * (signed as f64 / 4.0 / 12.0).sqrt();
    let signs: Vec<f64> = o[..signed].iter().map(|value| value.signum()).collect();
    let of_factors = (dot(&o, &o) + 2.0 * factor * (dot(&from, &signs).abs() + dot(query, &signs).abs())) / 512.0;
    let error = f64::from(estimate) - dot(&apart, &apart);
    error / (of_signs * of_signs + of_query * of_query + of_factors * of_factors).sqrt()
}

#[test]
fn estimates_are_off_by_what_the_rotation_makes_likely_and_by_no_more() {
    for dim in DIMS {
        let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
        for round in 0..12 {
            let rows = normal_rows(dim, 34, 100 + round);
            let mut cells = cells_of(frame_of(Metric::L2, &normal_rows(dim, 400, 1), 33), &rows);
            link_all(&mut cells);
            for level in Level::available() {
                let query = ready_row(cells.frame(), cells.cell(33), level);
                let near = value(query.point(), cells.cell(0));
                let (_, found) = estimates(level, &query, cells.cell(0), near, f32::INFINITY);
                for to in 1..33 {
                    let off = deviation(&decoded(cells.cell(33)), cells.cell(0), cells.cell(to), found[to - 1]);
                    assert!(off.abs() < 6.0, "dim {dim}, {}: {off} deviations", level.name());
                    (sum, squares, count) = (sum + off, squares + off * off, count + 1.0);
                }
            }
        }
        let (mean, square): (f64, f64) = (sum / count, squares / count);
        assert!(mean.abs() < 0.5, "dim {dim}: off by {mean} deviations on the average");
        // In few dimensions rows are no more random than their one rotation.
        assert!(square < if dim < 63 { 4.0 } else { 1.6 }, "dim {dim}: {square}");
        assert!(dim < 63 || square > 0.3, "dim {dim}: {square}, so the bound says nothing");
    }
}

#[test]
fn under_dot_estimates_are_of_inner_products() {
    let dim = 200;
    let rows = normal_rows(dim, 33, 3);
    let mut cells = cells_of(frame_of(Metric::Dot, &normal_rows(dim, 400, 1), 32), &rows);
    link_all(&mut cells);
    let asked = normal_rows(dim, 1, 8).remove(0);
    for level in Level::available() {
        let query = Asked::new(Metric::Dot, &asked).ready(cells.frame(), level);
        let near = value(query.point(), cells.cell(0));
        let (_, found) = estimates(level, &query, cells.cell(0), near, f32::INFINITY);
        for to in 1..33 {
            let (from, there) = (decoded(cells.cell(0)), decoded(cells.cell(to)));
            let o = minus(&there, &from);
            let (q, y) = (definition_of_query(cells.frame(), &asked), definition(cells.frame(), &rows[to]));
            let likely = 2.0 * 0.76 * norm(&o) * norm(&q) / (dim as f64).sqrt();
            let off = f64::from(found[to - 1]) - exact(cells.frame(), &q, &y);
            assert!(off.abs() < 6.0 * likely, "{}: {off}, when {likely} is likely", level.name());
        }
    }
}

#[test]
fn the_mask_has_what_is_below_the_limit_and_nothing_else() {
    for dim in [8, 65, 384] {
        let mut cells = cells_of(frame_of(Metric::L2, &normal_rows(dim, 40, 1), 32), &normal_rows(dim, 33, 2));
        link_all(&mut cells);
        for level in Level::available() {
            let query = ready_row(cells.frame(), cells.cell(7), level);
            let near = value(query.point(), cells.cell(0));
            let (_, found) = estimates(level, &query, cells.cell(0), near, f32::INFINITY);
            let others = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0, near];
            for limit in found.iter().copied().chain(others) {
                let (below, again) = estimates(level, &query, cells.cell(0), near, limit);
                assert_eq!(again, found);
                for (at, estimate) in found.iter().enumerate() {
                    assert_eq!(below >> at & 1 == 1, *estimate < limit, "{}: {estimate}, {limit}", level.name());
                }
            }
        }
    }
}

#[test]
fn wide_rows_have_as_many_signs_as_make_estimates_as_good_as_of_640_coordinates() {
    let variance = |width: usize, signs: usize| std::f64::consts::FRAC_PI_2 / signs as f64 - 1.0 / width as f64;
    let most = variance(640, 640);
    for width in (64..70_000).step_by(64) {
        let signs = signs(width);
        assert!(signs.is_multiple_of(64) && (width > 640 || signs == width), "{signs} of {width}");
        assert!(width <= 640 || variance(width, signs) <= most * 1.001, "{signs} of {width} are too few");
        assert!(
            signs == width || variance(width, signs - 64) > most * 0.997,
            "{signs} of {width} are more than it takes"
        );
    }
}

#[test]
fn links_come_back_as_they_were_set_and_lie_where_they_should() {
    for (degree, dim) in [(4, 100), (16, 100), (32, 1100), (40, 100), (64, 100)] {
        let rows = normal_rows(dim, 3, 4);
        let mut cells = cells_of(frame_of(Metric::Dot, &rows, degree), &rows);
        let (width, bytes) = (cells.frame().width(), cells.frame().sign_bytes());
        let fan_bytes = 16 * bytes + 128;
        assert_eq!(cells.frame().cell_bytes(), width + 64 + degree.div_ceil(16) * fan_bytes);
        let signs = |at: usize| (0..bytes).map(|i| random_bits(at as u64, i as u64) as u8).collect::<Vec<_>>();
        let others = [0, 2].map(|slot| cells.parts()[0].row(slot).to_vec());
        let row = cells.cell(1).row().to_vec();
        for at in (0..degree).rev() {
            let factors = random_bits(1, at as u64) as u32;
            cells.set_link(1, at, 1000 + at as u32, EdgeCode { signs: &signs(at), factors });
        }
        assert_eq!(cells.cell(1).len(), 0, "links count once that is said");
        cells.set_len(1, degree);
        let cell = cells.cell(1);
        assert_eq!(cell.links().collect::<Vec<_>>(), (1000..1000 + degree as u32).collect::<Vec<_>>());
        for at in 0..degree {
            assert_eq!(cell.link(at), 1000 + at as u32);
            let fan = &cells.parts()[0].row(1)[width + 64 + at / 16 * fan_bytes..];
            let found: Vec<u8> = (0..bytes).map(|byte| fan[byte / 4 * 64 + byte % 4 * 16 + at % 16]).collect();
            assert_eq!(found, signs(at), "signs of link {at}");
            assert_eq!(fan[16 * bytes + at % 16 * 4..][..4], (random_bits(1, at as u64) as u32).to_le_bytes());
        }
        assert_eq!(cell.row(), row, "links leave the row alone");
        cells.set_len(1, degree - 1);
        assert_eq!(cells.cell(1).links().last(), Some(1000 + degree as u32 - 2));
        assert_eq!([0, 2].map(|slot| cells.parts()[0].row(slot).to_vec()), others, "and the other cells");
    }
}
