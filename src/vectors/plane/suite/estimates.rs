//! Values that are estimates: what they are estimates of, and that signs never rule out what belongs into an answer.

use super::records::codes;
use super::*;
use crate::vectors::plane::{Estimates, Purpose};
use crate::vectors::{Code, n8, rabitq, turbo};

fn coding(metric: Metric, code: Code, mean: Vec<f32>) -> Coding {
    Coding::new(metric, Purpose::Estimate, code, mean, 11)
}

fn estimated() -> impl Iterator<Item = (Metric, Code)> {
    let codes = codes().into_iter().filter(|(purpose, _)| *purpose == Purpose::Estimate);
    codes.flat_map(|(_, code)| METRICS.map(|metric| (metric, code)))
}

/// Rows as a quantized index is for, and others; zero is among them.
fn mixed_rows(numbers: &mut Numbers, dim: usize) -> Vec<Vec<f32>> {
    let mut rows = rows_that_hurt(numbers, dim);
    rows.extend((0..20).map(|_| numbers.row(dim, |n, _| n.normal())));
    rows.extend((0..20).map(|_| numbers.row(dim, |n, i| n.normal() + if i % 2 == 0 { 2.0 } else { -1.0 })));
    rows.extend(rows[75..85].to_vec());
    // As long as can be, so that an estimate may be beyond all numbers.
    rows.extend((0..8).map(|_| numbers.row(dim, |n, _| (1.8e19 / (dim as f32).sqrt()).copysign(n.unit()))));
    rows
}

/// The estimate of a row, at one level.
struct Estimate<'a> {
    plane: &'a Plane,
    query: &'a PlaneQuery,
    slot: usize,
    product: i32,
}

impl Operation for Estimate<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        // Beside another row, whose signs must not get in the way.
        let rows = [(0, 7), (self.slot, self.product)];
        let [_, score, nothing] =
            Estimates { plane: self.plane, query: self.query, rows: &rows, room: &mut vec![0xa5; 11] }.run(simd);
        assert_eq!(nothing, 0.0);
        score
    }
}

impl Meeting<'_> {
    fn estimate_with(&self, product: i32) -> f32 {
        dispatch_at(self.level, Estimate { plane: self.plane, query: self.query, slot: self.slot, product })
    }

    fn estimate(&self) -> f32 {
        self.estimate_with(self.product())
    }

    /// The estimate if the signs could be anything.
    fn uncapped(&self) -> f32 {
        self.estimate_with(i32::MAX)
    }
}

/// The score of the row that a code stands for, as an estimate has it, and how far the steps of the query may put it off. Under
/// cosine and l2 the length is that of the row, not that of its code.
fn score_as_kept(asked: &Asked, plane: &Plane, slot: usize, row: &[f32]) -> (f64, f64) {
    let coding = plane.coding();
    let mean = coding.mean();
    let mut kept = vec![0.0; mean.len()];
    plane.decode(slot, &mut kept);
    let length = plane.length(slot).map_or(1.0, f64::from);
    let query = |i: usize| f64::from(asked.values[i]);
    let y = |i: usize| f64::from(kept[i]) / length - f64::from(mean[i]);
    let norm = |value: &dyn Fn(usize) -> f64| (0..mean.len()).map(|i| value(i).powi(2)).sum::<f64>().sqrt();
    let centred = |i: usize| query(i) - if asked.metric == Metric::L2 { f64::from(mean[i]) } else { 0.0 };
    // Half a step in every coordinate, the largest being 127 steps long; and what rounding does to rotated rows.
    let steps = norm(&centred) * (coding.width() as f64).sqrt() / 254.0;
    let whole = norm(&|i| f64::from(kept[i]) / length);
    let off = steps * norm(&y) + 4.0 * coding.roundings() * norm(&query) * whole;
    let inner = |query: &dyn Fn(usize) -> f64| (0..mean.len()).map(|i| query(i) * y(i)).sum::<f64>();
    let offset = (0..mean.len()).map(|i| query(i) * f64::from(mean[i])).sum::<f64>();
    match asked.metric {
        Metric::Cosine => ((inner(&query) + offset) / norm(&query), off / norm(&query)),
        Metric::Dot => (inner(&query) + offset, off),
        _ => {
            let own = (0..mean.len()).map(|i| (f64::from(row[i]) - f64::from(mean[i])).powi(2)).sum::<f64>();
            (norm(&centred).powi(2) - 2.0 * inner(&centred) + own, 2.0 * off + coding.roundings() * own)
        }
    }
}

#[test]
fn an_estimate_is_the_score_of_the_row_that_its_code_stands_for() {
    for dim in [1, 7, 33, 128, 384] {
        let mut numbers = Numbers::new(dim as u64 + 20);
        let rows: Vec<_> = (0..40).map(|_| numbers.row(dim, |n, i| n.normal() + (i % 3) as f32)).collect();
        for (metric, code) in estimated() {
            let mean: Vec<f32> = (0..dim).map(|i| (i % 3) as f32 * 0.1).collect();
            let plane = plane(coding(metric, code, mean), &rows);
            let asked: Vec<Asked> = (0..9).map(|_| Asked::new(metric, &numbers.row(dim, |n, _| n.normal()))).collect();
            let queries: Vec<PlaneQuery> = asked.iter().map(|asked| plane.coding().query(&asked.query())).collect();
            for_every_meeting(&plane, &queries, |number, meeting| {
                let (expected, off) = score_as_kept(&asked[number], &plane, meeting.slot, &rows[meeting.slot]);
                let found = f64::from(meeting.uncapped());
                let (expected, found) = match metric {
                    Metric::Cosine => (expected.clamp(-1.0, 1.0), found),
                    Metric::Dot => (expected, found),
                    _ => (expected.max(0.0), found.powi(2)),
                };
                let off = off + 1e-6 * expected.abs();
                let what = format!("{}, {metric:?}, dim {dim}, row {}", code.name, meeting.slot);
                assert!((found - expected).abs() <= off, "{what}: {found} is not {expected} +- {off}");
                assert!(meeting.estimate() <= meeting.uncapped(), "{what}: the cap raises");
            });
        }
    }
}

#[test]
fn a_cap_binds_for_rows_far_from_their_signs_and_for_nearly_no_others() {
    let (dim, mut numbers) = (128, Numbers::new(31));
    let rows: Vec<_> = (0..4000).map(|_| numbers.row(dim, |n, _| n.normal())).collect();
    for (metric, code) in estimated() {
        let plane = plane(coding(metric, code, vec![0.0; dim]), &rows);
        let query = Asked::new(metric, &numbers.row(dim, |n, _| n.normal()));
        let queries = [plane.coding().query(&query.query())];
        let (mut bound, mut met) = (0, 0);
        for_every_meeting(&plane, &queries, |_, meeting| {
            (bound, met) = (bound + usize::from(meeting.estimate() < meeting.uncapped()), met + 1);
            let low = meeting.estimate_with(-20_000 * dim as i32);
            assert!(low < meeting.estimate(), "{}, {metric:?}: signs so low say nothing", code.name);
        });
        assert!(bound * 50 < met, "{}, {metric:?}: {bound} of {met}", code.name);
    }
}

/// If this holds, the order in which rows are seen and limits rise changes no answer.
#[test]
fn every_row_reaches_the_limit_of_its_own_estimate() {
    for dim in [1, 2, 9, 33, 100] {
        let mut numbers = Numbers::new(dim as u64 + 40);
        let rows = mixed_rows(&mut numbers, dim);
        for (metric, code) in estimated() {
            let mut queries: Vec<Vec<f32>> = rows.iter().step_by(4).cloned().collect();
            queries.extend(
                rows.iter().skip(20).step_by(9).chain(rows.last()).map(|row| row.iter().map(|value| -value).collect()),
            );
            let asked: Vec<Asked> = queries.iter().map(|values| Asked::new(metric, values)).collect();
            for mean in means(metric, &rows_that_hurt(&mut numbers, dim)).into_iter().take(3) {
                let plane = plane(coding(metric, code, mean), &rows);
                let queries: Vec<PlaneQuery> = asked.iter().map(|asked| plane.coding().query(&asked.query())).collect();
                for_every_meeting(&plane, &queries, |number, meeting| {
                    let score = meeting.estimate();
                    let limit = plane.coding().limit(meeting.query, score);
                    let bound = meeting.bound();
                    let what = format!("{}, {metric:?}, dim {dim}, query {number}, row {}", code.name, meeting.slot);
                    assert!(!score.is_nan(), "{what}");
                    assert!(meeting.passes(limit), "{what}: the signs are below {limit:e}, the limit of {score:e}");
                    assert!(bound >= limit, "{what}: {bound:e} is below {limit:e}, the limit of {score:e}");
                });
            }
        }
    }
}

/// The length of what a code is beside the row, relative to the row, over many rows.
fn tangent(code: Code) -> f64 {
    let (dim, mut numbers) = (768, Numbers::new(50));
    let rows: Vec<_> = (0..200).map(|_| numbers.row(dim, |n, _| n.normal())).collect();
    let plane = plane(coding(Metric::Dot, code, vec![0.0; dim]), &rows);
    let (mut kept, mut total) = (vec![0.0; dim], 0.0);
    for (slot, row) in rows.iter().enumerate() {
        plane.decode(slot, &mut kept);
        let apart: f64 = kept.iter().zip(row).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
        total += apart / squared(row);
    }
    (total / rows.len() as f64).sqrt()
}

#[test]
fn codes_are_as_good_as_they_say() {
    let documented = [0.76, 0.37, 0.20, 0.11, 0.059, 0.032, 0.018, 0.0099];
    let documented = documented.iter().zip(1..).map(|(&tangent, bits)| (rabitq(bits), tangent));
    let documented = documented.chain([(turbo(2), 0.37), (turbo(3), 0.19), (turbo(4), 0.098), (n8(), 0.007)]);
    // The upper half of n8 alone.
    let half = Code { bits: 4, ..n8() };
    for (code, expected) in documented.chain([(half, 16.0 * 0.007)]) {
        let found = tangent(code);
        assert!((found / expected - 1.0).abs() < 0.1, "{} with {} bits: {found}", code.name, code.bits);
    }
}

#[test]
fn estimates_have_no_bias() {
    let (dim, mut numbers) = (64, Numbers::new(60));
    let row = numbers.row(dim, |n, _| n.normal());
    let query: Vec<f32> = row.iter().map(|value| value + numbers.normal()).collect();
    let asked = Asked::new(Metric::Dot, &query);
    let truth = f64::from(asked.score(&row));
    for code in (1..=8).map(rabitq).chain((2..=4).map(turbo)).chain([n8()]) {
        // Another rotation each time.
        let (mut sum, mut squares) = (0.0, 0.0);
        for seed in 0..400 {
            let coding = Coding::new(Metric::Dot, Purpose::Estimate, code, vec![0.0; dim], seed);
            let plane = plane(coding, std::slice::from_ref(&row));
            let queries = [plane.coding().query(&asked.query())];
            let mut found = 0.0;
            for_every_meeting(&plane, &queries, |_, meeting| found = f64::from(meeting.estimate()) - truth);
            sum += found;
            squares += found * found;
        }
        let (mean, deviation) = (sum / 400.0, (squares / 400.0).sqrt() / 20.0);
        assert!(mean.abs() < 4.0 * deviation + 1e-3 * truth, "{}: {mean} beside {deviation}", code.name);
    }
}

#[test]
fn the_score_of_a_zero_row_or_a_zero_query_is_zero_under_cosine() {
    let dim = 40;
    let mut numbers = Numbers::new(70);
    let rows = [vec![0.0; dim], numbers.row(dim, |n, _| n.normal() + 1.0)];
    for code in codes().into_iter().filter(|(purpose, _)| *purpose == Purpose::Estimate).map(|(_, code)| code) {
        let plane = plane(coding(Metric::Cosine, code, rows[1].iter().map(|value| value * 0.1).collect()), &rows);
        let asked = [vec![0.0; dim], numbers.row(dim, |n, _| n.normal())].map(|q| Asked::new(Metric::Cosine, &q));
        let queries = asked.map(|asked| plane.coding().query(&asked.query()));
        for_every_meeting(&plane, &queries, |query, meeting| {
            let zero = query == 0 || meeting.slot == 0;
            assert_eq!(meeting.estimate().to_bits() == 0, zero, "{}, row {}", code.name, meeting.slot);
        });
        let mut kept = vec![f32::NAN; dim];
        plane.decode(0, &mut kept);
        assert!(kept.iter().all(|&value| value == 0.0), "{}: {kept:?}", code.name);
    }
}
