//! A metric, as loops need it.
//!
//! It has three faces. The *canonical score* (f64 inside, rounded once to f32; higher is better) is what callers see
//! and what decides order and ties. The *graph distance* (f32, smaller is nearer) is what walks a graph. The *scan form*
//! writes the score as `scale * k(q, x) + offset * weight`, where k is a sum over pairs: the inner product, from which all
//! metrics but one can be had, or for l1 the sum of absolute differences. So the loops that look at all rows need to know
//! nothing but the [`Pairing`]. The limit of the form lets every row pass that could still reach a given canonical score, rounding
//! errors included, so that a scan which scores the rows that pass is exact.

use super::Query;
use crate::kernel::{
    AbsoluteDifference, Pairing, Product, canonical_dots, canonical_dots_and_squares, canonical_l1,
    canonical_squared_l2, dot, l1, squared_l2,
};
use crate::simd::Simd;

/// One metric, as the loops need it.
pub(crate) trait Space: Copy + Send + Sync + 'static {
    /// What the kernel of the scan form makes of a pair of values.
    type Pairing: Pairing;

    /// What a row carries beside its values.
    fn term(squared_norm: f64) -> f32;

    /// The distance that walks graphs; smaller is nearer. Both sides bring their terms.
    fn distance<S: Simd>(self, simd: S, a: &[f32], a_term: f32, b: &[f32], b_term: f32) -> f32;

    /// The canonical scores of `R` rows, whose squared norms may be at hand. Several take hardly longer than one.
    fn scores<const R: usize>(self, query: &Query<'_>, rows: [&[f32]; R], squares: Option<[f64; R]>) -> [f32; R];

    /// The canonical score of a row.
    #[inline(always)]
    fn score(self, query: &Query<'_>, row: &[f32], square: Option<f64>) -> f32 {
        self.scores(query, [row], square.map(|square| [square]))[0]
    }

    /// `(scale, offset)` of a row: its scan value is `scale * k(q, x) + offset * weight`.
    fn scan_row(self, term: f32, gamma: f64) -> (f32, f32);

    /// `weight` of a query.
    fn scan_weight(self, query: &Query<'_>, gamma: f64) -> f32;

    /// Every row whose canonical score is `score` or better has a scan value that is not below this.
    fn scan_limit(self, query: &Query<'_>, score: f32, gamma: f64) -> f32;
}

/// `u`: half the distance from 1 to the next f32.
const UNIT: f64 = 1.0 / (1u64 << 24) as f64;

/// Far below any difference that an f32 score can show, far above what denormal arithmetic can lose.
const ETA: f64 = 1e-36;

/// The error of an inner product of `dim` values, relative to the product of the norms, with sixteen roundings to spare
/// for what surrounds it: `gamma_n = n u / (1 - n u)` (Higham, section 3.1).
pub(crate) fn gamma(dim: usize) -> f64 {
    let roundings = (dim + 16) as f64 * UNIT;
    roundings / (1.0 - roundings)
}

fn round_down(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value { near.next_down() } else { near }
}

/// Zeros are equal, so that only ids decide between them.
#[inline(always)]
fn without_sign_of_zero(score: f32) -> f32 {
    score + 0.0
}

fn round_up(value: f64) -> f32 {
    -round_down(-value)
}

#[derive(Clone, Copy)]
pub(crate) struct Cosine;

/// The largest 1/||x|| that is used: beyond it the row itself is in the denormal range.
const MAX_INVERSE_NORM: f32 = (1u128 << 100) as f32;

impl Space for Cosine {
    type Pairing = Product;

    fn term(squared_norm: f64) -> f32 {
        if squared_norm == 0.0 { 0.0 } else { ((1.0 / squared_norm.sqrt()) as f32).min(MAX_INVERSE_NORM) }
    }

    #[inline(always)]
    fn distance<S: Simd>(self, simd: S, a: &[f32], a_term: f32, b: &[f32], b_term: f32) -> f32 {
        1.0 - dot(simd, a, b) * a_term * b_term
    }

    #[inline(always)]
    fn scores<const R: usize>(self, query: &Query<'_>, rows: [&[f32]; R], squares: Option<[f64; R]>) -> [f32; R] {
        let sums = match squares {
            Some(squares) => {
                let products = canonical_dots(query.values, rows);
                std::array::from_fn(|r| (products[r], squares[r]))
            }
            None => canonical_dots_and_squares(query.values, rows),
        };
        sums.map(|(product, square)| {
            let length = query.norm() * square.sqrt();
            if length == 0.0 {
                return 0.0;
            }
            without_sign_of_zero((product / length).clamp(-1.0, 1.0) as f32)
        })
    }

    #[inline(always)]
    fn scan_row(self, term: f32, _gamma: f64) -> (f32, f32) {
        // A row in the denormal range always passes: its scan value means nothing.
        (term, if term >= MAX_INVERSE_NORM { f32::INFINITY } else { 0.0 })
    }

    fn scan_weight(self, _query: &Query<'_>, _gamma: f64) -> f32 {
        1.0
    }

    fn scan_limit(self, query: &Query<'_>, score: f32, gamma: f64) -> f32 {
        round_down(query.norm() * (f64::from(score) - 2.0 * gamma) - ETA)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Dot;

impl Space for Dot {
    type Pairing = Product;

    fn term(squared_norm: f64) -> f32 {
        round_up(squared_norm.sqrt())
    }

    #[inline(always)]
    fn distance<S: Simd>(self, simd: S, a: &[f32], _a_term: f32, b: &[f32], _b_term: f32) -> f32 {
        -dot(simd, a, b)
    }

    #[inline(always)]
    fn scores<const R: usize>(self, query: &Query<'_>, rows: [&[f32]; R], _squares: Option<[f64; R]>) -> [f32; R] {
        canonical_dots(query.values, rows).map(|product| without_sign_of_zero(product as f32))
    }

    #[inline(always)]
    fn scan_row(self, term: f32, _gamma: f64) -> (f32, f32) {
        (1.0, term)
    }

    fn scan_weight(self, query: &Query<'_>, gamma: f64) -> f32 {
        round_up(query.norm() * gamma)
    }

    fn scan_limit(self, _query: &Query<'_>, score: f32, _gamma: f64) -> f32 {
        let score = f64::from(score);
        round_down(score - score.abs() * 2.0 * UNIT - ETA)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct L2;

impl Space for L2 {
    type Pairing = Product;

    fn term(squared_norm: f64) -> f32 {
        squared_norm as f32
    }

    #[inline(always)]
    fn distance<S: Simd>(self, simd: S, a: &[f32], _a_term: f32, b: &[f32], _b_term: f32) -> f32 {
        squared_l2(simd, a, b)
    }

    #[inline(always)]
    fn scores<const R: usize>(self, query: &Query<'_>, rows: [&[f32]; R], _squares: Option<[f64; R]>) -> [f32; R] {
        canonical_squared_l2(query.values, rows).map(|square| 0.0 - square.sqrt() as f32)
    }

    #[inline(always)]
    fn scan_row(self, term: f32, gamma: f64) -> (f32, f32) {
        (2.0, term * (2.0 * gamma - 1.0) as f32)
    }

    fn scan_weight(self, _query: &Query<'_>, _gamma: f64) -> f32 {
        1.0
    }

    fn scan_limit(self, query: &Query<'_>, score: f32, gamma: f64) -> f32 {
        // ||q - x||^2 <= d^2  <=>  2 <q, x> - ||x||^2 >= ||q||^2 - d^2.
        let squared = f64::from(score).powi(2) * (1.0 + 4.0 * UNIT);
        round_down(query.squared_norm * (1.0 - 2.0 * gamma) - squared - ETA)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct L1;

impl Space for L1 {
    type Pairing = AbsoluteDifference;

    fn term(_squared_norm: f64) -> f32 {
        0.0
    }

    #[inline(always)]
    fn distance<S: Simd>(self, simd: S, a: &[f32], _a_term: f32, b: &[f32], _b_term: f32) -> f32 {
        l1(simd, a, b)
    }

    #[inline(always)]
    fn scores<const R: usize>(self, query: &Query<'_>, rows: [&[f32]; R], _squares: Option<[f64; R]>) -> [f32; R] {
        canonical_l1(query.values, rows).map(|sum| 0.0 - sum as f32)
    }

    #[inline(always)]
    fn scan_row(self, _term: f32, _gamma: f64) -> (f32, f32) {
        (-1.0, 0.0)
    }

    fn scan_weight(self, _query: &Query<'_>, _gamma: f64) -> f32 {
        0.0
    }

    fn scan_limit(self, _query: &Query<'_>, score: f32, gamma: f64) -> f32 {
        // The kernel's sum k of the true distance d is at most (1 + gamma_n) d, since no term is negative. A row that reaches the
        // score -s has d <= (1 + 2u) s: once u for rounding the score to f32, once for the roundings in f64, which are far
        // smaller. Together k <= (1 + gamma_(n + 2)) s, and n + 16 roundings are allowed for. The scan value is -k itself. In the
        // denormal range sums are exact, so no ETA is needed. A score above zero is one that no row reaches.
        round_down(f64::from(score) * (1.0 + gamma))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::canonical_dot;
    use crate::vectors::{Metric, Task};

    /// Whether the row passes at the limit of its own canonical score: every level must let it.
    struct PassesItsOwnLimit<'a>(Metric, &'a [f32], &'a [f32]);

    impl Task for PassesItsOwnLimit<'_> {
        type Output = bool;

        #[inline(always)]
        fn run<S: Simd, M: Space>(self, simd: S, space: M) -> bool {
            let PassesItsOwnLimit(metric, query, row) = self;
            let query = Query::new(metric, query, canonical_dot(query, query));
            let (norm, gamma) = (canonical_dot(row, row), gamma(row.len()));
            let (scale, offset) = space.scan_row(M::term(norm), gamma);
            let sum = crate::kernel::pair_sum::<S, M::Pairing>(simd, query.values, row);
            let value = sum * scale + offset * space.scan_weight(&query, gamma);
            let limit = space.scan_limit(&query, space.score(&query, row, None), gamma);
            !matches!(value.partial_cmp(&limit), Some(std::cmp::Ordering::Less))
        }
    }

    #[test]
    fn a_row_passes_the_limit_of_its_own_score() {
        let mut state = 5u64;
        let mut value = |magnitude: f32| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * magnitude
        };
        for dim in [1, 2, 7, 16, 100, 1024, 20_000] {
            for magnitude in [1e-44, 1e-38, 1e-20, 1e-3, 1.0, 1e9, 1e16] {
                for apart in [0.0, 1e-6, 1.0] {
                    let query: Vec<f32> = (0..dim).map(|_| value(magnitude)).collect();
                    let row: Vec<f32> = query.iter().map(|q| q + value(magnitude * apart)).collect();
                    for &metric in Metric::ALL {
                        let mut query = query.clone();
                        let norm = canonical_dot(&query, &query);
                        metric.prepare(&mut query, norm);
                        let passes = metric.run(PassesItsOwnLimit(metric, &query, &row));
                        assert!(passes, "{metric:?}, dim {dim}, {magnitude:e}, apart {apart:e}");
                    }
                }
            }
        }
    }
}
