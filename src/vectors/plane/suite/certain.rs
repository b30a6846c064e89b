//! The bounds of values that are certain.

use super::*;
use crate::vectors::rabitq;

/// What the denormal range can lose; limits allow for it.
const ETA: f64 = 1e-36;

fn coding(metric: Metric, mean: Vec<f32>) -> Coding {
    Coding::new(metric, Purpose::Certify, rabitq(4), mean, 0)
}

/// Queries that hurt: of every kind, equal to rows, nearly equal, zero, and as short as one that is certain can be.
fn queries_that_hurt(numbers: &mut Numbers, metric: Metric, rows: &[Vec<f32>]) -> Vec<Asked> {
    let dim = rows[0].len();
    let mut queries: Vec<Vec<f32>> = KINDS.iter().map(|(_, value)| numbers.row(dim, *value)).collect();
    queries.extend([0, 10, 20, 45, 60].map(|at| rows[at].clone()));
    queries.extend([0, 11, 61].map(|at| rows[at].iter().map(|value| -value).collect()));
    queries.push(numbers.row(dim, |n, i| if i < 2 { 1.0 - 2.0 * i as f32 } else { n.normal() }));
    let asked = queries.iter().map(|values| Asked::new(metric, values));
    // Shorter ones are answered by a scan of the rows.
    asked.filter(|asked| asked.squared_norm == 0.0 || asked.squared_norm > 1e-36).collect()
}

fn round_down(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value { near.next_down() } else { near }
}

fn check_bounds(plane: &Plane, rows: &[Vec<f32>], asked: &[Asked], what: &str) {
    let coding = plane.coding();
    let queries: Vec<PlaneQuery> = asked.iter().map(|asked| coding.query(&asked.query())).collect();
    let truth = |asked: &Asked| rows.iter().map(|row| (asked.value(coding.mean(), row), asked.score(row))).collect();
    let truth: Vec<Vec<((f64, f64), f32)>> = asked.iter().map(truth).collect();
    for_every_meeting(plane, &queries, |number, meeting| {
        let ((value, slack), score) = truth[number][meeting.slot];
        let what = || format!("{what}, {}, query {number}, row {}", meeting.level.name(), meeting.slot);
        let least = value - slack - ETA;
        let bound = meeting.bound();
        assert!(meeting.passes(round_down(least)), "{}: the sum in f32 is below {value:e}", what());
        assert!(f64::from(bound) >= least, "{}: the bound {bound:e} is below {value:e}", what());
        let limit = coding.limit(meeting.query, score);
        assert!(f64::from(limit) <= value + slack, "{}: the limit {limit:e} of {score:e} is above {value:e}", what());
        assert!(meeting.passes(limit) && bound >= limit, "{}: {bound:e} misses the limit {limit:e}", what());
        for lower in [score.next_down(), score - score.abs() * 0.1 - 1e-9, f32::NEG_INFINITY] {
            let lower_limit = coding.limit(meeting.query, lower);
            assert!(!(lower_limit > limit), "{}: the limit of {lower:e} is {lower_limit:e}, above {limit:e}", what());
        }
    });
}

#[test]
fn no_bound_is_below_the_value_of_any_row() {
    for dim in DIMS {
        let mut numbers = Numbers::new(dim as u64);
        let rows = rows_that_hurt(&mut numbers, dim);
        for metric in METRICS {
            let asked = queries_that_hurt(&mut numbers, metric, &rows);
            for (number, mean) in means(metric, &rows).into_iter().enumerate() {
                let plane = plane(coding(metric, mean), &rows);
                check_bounds(&plane, &rows, &asked, &format!("{metric:?}, dim {dim}, mean {number}"));
            }
        }
    }
}

#[test]
fn no_bound_is_below_the_value_of_the_longest_rows_that_there_are() {
    let dim = crate::MAX_DIM;
    let mut numbers = Numbers::new(3);
    let mut rows = vec![numbers.row(dim, |n, _| n.normal()), numbers.row(dim, |n, _| 1.0 + n.unit() * 1e-3)];
    rows.push(rows[0].iter().map(|value| value.next_up()).collect());
    for metric in METRICS {
        let asked = [&rows[0], &rows[1]].map(|row| Asked::new(metric, row));
        for mean in [vec![0.0; dim], rows[1].iter().map(|value| value * 0.003).collect()] {
            check_bounds(&plane(coding(metric, mean), &rows), &rows, &asked, &format!("{metric:?}, dim {dim}"));
        }
    }
}

/// What a row and a query are in the coordinates of the codes, in f64: all that a bound is made of.
struct Parts {
    /// `<q, y>`.
    value: f64,
    /// `||q||` and its inner product with the direction of c.
    norm: f64,
    along_code: f64,
    /// `s t <p, c>`, `s ||c||`, `||e||`, `||f||`.
    inner: f64,
    along: f64,
    error: f64,
    rest: f64,
}

impl Parts {
    fn of(plane: &Plane, slot: usize, row: &[f32], query: &[f32]) -> Parts {
        let coding = plane.coding();
        let (mut y, mut q) = (vec![0.0; coding.width()], vec![0.0; coding.width()]);
        coding.rotation.apply(row, &mut y);
        coding.rotation.apply(query, &mut q);
        let mut record = vec![0; coding.record_bytes()];
        plane.read_record(slot, &mut record);
        // The first four of eight dimensions in the lower halves of four bytes, the others in the upper.
        let digit = |i: usize| record[i / 8 * 4 + i % 4] >> (i % 8 / 4 * 4) & 15;
        let c: Vec<f64> = (0..coding.width()).map(|i| f64::from(coding.code.level(digit(i)))).collect();
        let [y, q] = [y, q].map(|values| values.into_iter().map(f64::from).collect::<Vec<f64>>());
        let step = q.iter().fold(0.0, |most: f64, value| most.max(value.abs())) / 127.0;
        let tp: Vec<f64> = q.iter().map(|value| (value / step).round() * step).collect();
        let s = dot(&y, &c) / dot(&c, &c);
        let e: Vec<f64> = y.iter().zip(&c).map(|(y, c)| y - s * c).collect();
        let f: Vec<f64> = q.iter().zip(&tp).map(|(q, tp)| q - tp).collect();
        Parts {
            value: dot(&q, &y),
            norm: norm(&q),
            along_code: dot(&q, &c) / norm(&c),
            inner: s * dot(&tp, &c),
            along: s * norm(&c),
            error: norm(&e),
            rest: norm(&f),
        }
    }

    /// The bound with the least that q can have along c as [`Plane::bound`] takes it, or without the allowance for f.
    fn upper(&self, allowance: f64) -> f64 {
        let low = (self.inner.abs() / self.along - allowance).max(0.0);
        let across = (self.norm.powi(2) - low.powi(2)).max(0.0).sqrt();
        self.inner + self.error * across + self.along * self.rest
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

/// A row and a query with f parallel to c, e parallel to q minus its part along c, and `<q, c> = -0.99 ||q|| ||c||`: nearly all of q lies
/// along c, and t p seems to have even more there. Coordinates in which codes are made; `width` is a multiple of 25.
fn at_its_worst(numbers: &mut Numbers, width: usize) -> (Vec<f64>, Vec<f64>) {
    let mut sign = || if numbers.bits() >> 63 == 0 { 1.0 } else { -1.0 };
    // Levels that come out again: these two, in this mixture, lie in the middle of their cells.
    let c: Vec<f64> = (0..width).map(|i| sign() * if i % 25 < 14 { 5.0 } else { 7.0 }).collect();
    let direction: Vec<f64> = c.iter().map(|level| level / norm(&c)).collect();
    let across = 0.141 / (width as f64).sqrt();
    let mut q: Vec<f64> = direction.iter().map(|c| -0.99 * c + across * sign()).collect();
    let largest = (0..width).max_by(|&a, &b| q[a].abs().total_cmp(&q[b].abs())).expect("a coordinate");
    let step = q[largest].abs() / 127.0;
    let most = direction.iter().fold(0.0, |most: f64, c| most.max(c.abs()));
    // Not quite half a step, so that rounding the rows changes no digit.
    let rest = 0.47 * step / most;
    for (i, q) in q.iter_mut().enumerate().filter(|&(i, _)| i != largest) {
        *q = (*q / step).round() * step + rest * direction[i];
    }
    let along = dot(&q, &direction);
    let apart: Vec<f64> = q.iter().zip(&direction).map(|(q, c)| q - along * c).collect();
    let length = 0.12 / norm(&apart);
    let y = direction.iter().zip(&apart).map(|(c, apart)| c + length * apart).collect();
    (y, q)
}

#[test]
fn a_query_along_the_code_with_its_error_along_the_rest_is_bounded() {
    let mut numbers = Numbers::new(5);
    for width in [200, 400, 1000, 4000] {
        let (y, q) = at_its_worst(&mut numbers, width);
        let coding_of = |metric| coding(metric, vec![0.0; width]);
        let unrotated = |values: &[f64]| {
            let mut values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            coding_of(Metric::Dot).rotation.undo(&mut values);
            values
        };
        let (row, query) = (unrotated(&y), unrotated(&q));
        for metric in METRICS {
            let plane = plane(coding_of(metric), std::slice::from_ref(&row));
            check_bounds(&plane, std::slice::from_ref(&row), &[Asked::new(metric, &query)], "at its worst");
        }
        // The test has teeth: the same bound without the allowance for f is missed by far more than roundings, and ours is tight.
        let plane = plane(coding_of(Metric::Dot), std::slice::from_ref(&row));
        let parts = Parts::of(&plane, 0, &row, &query);
        let slack = plane.coding().roundings() * parts.norm * (parts.along + parts.error) * 2.0;
        let cosine = parts.along_code / parts.norm;
        assert!((-0.992..-0.988).contains(&cosine), "width {width}: the cosine with the code is {cosine}");
        assert!(parts.upper(0.0) < parts.value - 20.0 * slack, "width {width}: the naive bound would do");
        assert!(parts.upper(parts.rest) >= parts.value - slack, "width {width}: the formula itself is wrong");
        assert!(parts.upper(parts.rest) <= parts.value + 1e-3 * parts.norm, "width {width}: it could be worse");
    }
}

#[test]
fn without_any_of_its_terms_a_bound_would_be_missed() {
    let (dim, mut numbers, mut missed) = (100, Numbers::new(9), [0; 3]);
    let rows: Vec<Vec<f32>> = (0..64).map(|_| numbers.row(dim, |n, _| n.normal())).collect();
    let plane = plane(coding(Metric::Dot, vec![0.0; dim]), &rows);
    for (slot, row) in rows.iter().enumerate() {
        let query: Vec<f32> = row.iter().map(|value| value + numbers.normal() * 0.02).collect();
        let parts = Parts::of(&plane, slot, row, &query);
        let naive = |parts: Parts| usize::from(parts.upper(parts.rest) < parts.value);
        missed[0] += naive(Parts { error: parts.error * 0.1, ..parts });
        missed[1] += naive(Parts { rest: 0.0, error: 0.0, ..parts });
        missed[2] += naive(parts);
    }
    assert!(missed[0] > 0 && missed[1] > 16 && missed[2] == 0, "{missed:?}");
}

#[test]
fn a_row_that_nothing_is_certain_of_passes_every_limit() {
    let dim = 32;
    let mut numbers = Numbers::new(13);
    let rows = [numbers.row(dim, |n, _| n.unit() * 1e18), numbers.row(dim, |n, _| n.unit() * 1e-33)];
    for metric in [Metric::Dot, Metric::L2] {
        let plane = plane(coding(metric, vec![0.0; dim]), &rows);
        let asked = [numbers.row(dim, |n, _| n.unit()), vec![0.0; dim]].map(|values| Asked::new(metric, &values));
        let queries = asked.map(|asked| plane.coding().query(&asked.query()));
        for_every_meeting(&plane, &queries, |_, meeting| {
            assert!(meeting.passes(f32::MAX) && meeting.bound() == f32::INFINITY, "{metric:?}, row {}", meeting.slot);
        });
    }
}
