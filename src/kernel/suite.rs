//! One suite for every kernel at every level that this machine has, against the f64 oracle and the bound that the
//! kernel's documentation gives.

use super::{
    PANEL_ROWS, canonical_dot, canonical_dot_and_square, canonical_squared_l2, dot, dot_streams, pack_queries, panel,
    reference, squared_l2,
};
use crate::simd::{Level, Operation, Simd, dispatch_at};

const UNIT: f64 = 1.0 / 16_777_216.0;

fn dims() -> impl Iterator<Item = usize> {
    (1..=130).chain([384, 768, 1029, 1536, 1537, 65_535])
}

fn gamma(n: usize) -> f64 {
    let nu = n as f64 * UNIT;
    nu / (1.0 - nu)
}

/// SplitMix64, so that every run and every machine sees the same numbers.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / 8_388_608.0 - 1.0
    }

    fn vector(&mut self, dim: usize, value: impl Fn(&mut Numbers, usize) -> f32) -> Vec<f32> {
        (0..dim).map(|i| value(self, i)).collect()
    }
}

type Case = (&'static str, fn(&mut Numbers, usize) -> f32);

/// What vectors look like: ordinary, tiny (denormal), large, of mixed magnitude, integral, constant, with one outlier.
const CASES: [Case; 7] = [
    ("ordinary", |n, _| n.unit()),
    ("denormal", |n, _| n.unit() * 1e-41),
    ("large", |n, _| n.unit() * 5e16),
    ("mixed", |n, _| n.unit() * 10f32.powi((n.bits() % 30) as i32 - 15)),
    ("bytes", |n, _| (n.bits() % 256) as f32),
    ("all 255", |_, _| 255.0),
    ("outlier", |n, i| if i == 3 { 1e8 } else { n.unit() }),
];

struct Both<'a>(&'a [f32], &'a [f32]);

impl Operation for Both<'_> {
    type Output = [f64; 6];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [f64; 6] {
        let (product, square) = canonical_dot_and_square(self.0, self.1);
        [
            f64::from(dot(simd, self.0, self.1)),
            f64::from(squared_l2(simd, self.0, self.1)),
            product,
            square,
            canonical_dot(self.0, self.1),
            canonical_squared_l2(self.0, self.1),
        ]
    }
}

fn for_every_case(mut check: impl FnMut(&str, Level, &[f32], &[f32])) {
    let mut numbers = Numbers(7);
    for dim in dims() {
        for (name, value) in CASES {
            // One value more than needed, so that the slices can start where no register is aligned.
            let a = numbers.vector(dim + 1, value);
            let b = numbers.vector(dim + 1, value);
            for level in Level::available() {
                for offset in 0..=1 {
                    let label = format!("{name}, dim {dim}, {}, offset {offset}", level.name());
                    check(&label, level, &a[offset..offset + dim], &b[offset..offset + dim]);
                }
            }
        }
    }
}

#[test]
fn fast_kernels_keep_their_error_bounds_at_every_level() {
    for_every_case(|label, level, a, b| {
        let [fast_dot, fast_l2, ..] = dispatch_at(level, Both(a, b));
        // A rounding in the denormal range is absolute: half of 2^-149 an operation.
        let floor = 2.0 * a.len() as f64 * 2f64.powi(-149);
        let bound = gamma(a.len() + 1) * reference::norm(a) * reference::norm(b) + floor;
        let error = (fast_dot - reference::dot(a, b)).abs();
        assert!(error <= bound, "dot, {label}: error {error:e} above {bound:e}");

        let exact = reference::squared_l2(a, b);
        let bound = gamma(a.len() + 3) * exact + floor;
        let error = (fast_l2 - exact).abs();
        assert!(error <= bound, "squared_l2, {label}: error {error:e} above {bound:e}");
    });
}

#[test]
fn canonical_sums_have_the_same_bits_at_every_level() {
    for_every_case(|label, level, a, b| {
        let [.., here_dot, here_l2] = dispatch_at(level, Both(a, b));
        let [.., portable_dot, portable_l2] = dispatch_at(Level::Portable, Both(a, b));
        assert_eq!(here_dot.to_bits(), portable_dot.to_bits(), "dot, {label}");
        let [_, _, product, square, ..] = dispatch_at(level, Both(a, b));
        assert_eq!(product.to_bits(), portable_dot.to_bits(), "the product beside the square, {label}");
        assert_eq!(square.to_bits(), canonical_dot(b, b).to_bits(), "the square beside the product, {label}");
        assert_eq!(here_l2.to_bits(), portable_l2.to_bits(), "squared_l2, {label}");
        let bound = 1e-12 * reference::norm(a) * reference::norm(b);
        assert!((here_dot - reference::dot(a, b)).abs() <= bound, "dot, {label}");
    });
}

#[test]
fn canonical_sums_are_the_eight_lanes_of_their_definition() {
    let mut numbers = Numbers(11);
    let (a, b) = (numbers.vector(21, |n, _| n.unit()), numbers.vector(21, |n, _| n.unit()));
    let mut lanes = [0.0f64; 8];
    for i in 0..21 {
        lanes[i % 8] += f64::from(a[i]) * f64::from(b[i]);
    }
    let [l0, l1, l2, l3, l4, l5, l6, l7] = lanes;
    let expected = ((l0 + l4) + (l2 + l6)) + ((l1 + l5) + (l3 + l7));
    assert_eq!(canonical_dot(&a, &b).to_bits(), expected.to_bits());
    let padded = |v: &[f32]| v.iter().copied().chain([0.0; 11]).collect::<Vec<f32>>();
    assert_eq!(canonical_dot(&padded(&a), &padded(&b)).to_bits(), expected.to_bits(), "padding changes nothing");
}

struct WholePanel<'a> {
    rows: &'a [Vec<f32>],
    queries: &'a [Vec<f32>],
}

impl Operation for WholePanel<'_> {
    /// The inner products, row by row.
    type Output = Vec<Vec<f32>>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Vec<Vec<f32>> {
        let (dim, lanes) = (self.rows[0].len(), 2 * S::LANES);
        let mut packed = vec![0.0; dim * lanes];
        pack_queries(self.queries.iter().map(Vec::as_slice), lanes, &mut packed);
        let rows = std::array::from_fn(|i| self.rows[i].as_ptr());
        // SAFETY: every row has `dim` values, and `packed` holds dim * 2 * LANES.
        let sums = unsafe { panel::<S, 2>(simd, rows, dim, packed.as_ptr()) };
        let mut out = Vec::new();
        for [low, high] in sums {
            let mut row = vec![0.0f32; lanes];
            // SAFETY: `row` holds two registers of LANES values.
            unsafe {
                simd.store(low, row.as_mut_ptr());
                simd.store(high, row.as_mut_ptr().add(S::LANES));
            }
            out.push(row);
        }
        out
    }
}

#[test]
fn a_panel_gives_every_inner_product_and_zero_in_empty_lanes() {
    let mut numbers = Numbers(13);
    for dim in [1, 2, 7, 16, 33, 128, 384] {
        for (name, value) in CASES {
            let rows: Vec<_> = (0..PANEL_ROWS).map(|_| numbers.vector(dim, value)).collect();
            let queries: Vec<_> = (0..11).map(|_| numbers.vector(dim, value)).collect();
            for level in Level::available() {
                let found = dispatch_at(level, WholePanel { rows: &rows, queries: &queries });
                for (row, found) in rows.iter().zip(&found) {
                    for (lane, &value) in found.iter().enumerate() {
                        let query = queries.get(lane).cloned().unwrap_or_else(|| vec![0.0; dim]);
                        let floor = 2.0 * dim as f64 * 2f64.powi(-149);
                        let bound = gamma(dim + 1) * reference::norm(row) * reference::norm(&query) + floor;
                        let error = (f64::from(value) - reference::dot(row, &query)).abs();
                        assert!(error <= bound, "{name}, dim {dim}, {}, lane {lane}", level.name());
                    }
                }
            }
        }
    }
}

struct NotBelow([f32; 16], [f32; 16]);

impl Operation for NotBelow {
    type Output = (u32, usize);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> (u32, usize) {
        // SAFETY: both arrays hold sixteen values, at least LANES.
        let mask = unsafe { simd.not_below(simd.load(self.0.as_ptr()), simd.load(self.1.as_ptr())) };
        (mask, S::LANES)
    }
}

#[test]
fn comparisons_let_nan_pass() {
    let mut numbers = Numbers(17);
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1.0];
    for _ in 0..200 {
        let mut pick = || -> [f32; 16] { std::array::from_fn(|_| special[(numbers.bits() % 6) as usize]) };
        let (a, b) = (pick(), pick());
        for level in Level::available() {
            let (mask, lanes) = dispatch_at(level, NotBelow(a, b));
            for i in 0..lanes {
                let below = matches!(a[i].partial_cmp(&b[i]), Some(std::cmp::Ordering::Less));
                assert_eq!(mask >> i & 1 == 0, below, "{} < {} at {}", a[i], b[i], level.name());
            }
        }
    }
}

struct Streams<'a> {
    query: &'a [f32],
    rows: [&'a [f32]; 4],
}

impl Operation for Streams<'_> {
    type Output = [f32; 4];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [f32; 4] {
        // SAFETY: all five are equally long, a multiple of sixteen.
        unsafe { dot_streams(simd, self.query, self.rows.map(<[f32]>::as_ptr)) }
    }
}

#[test]
fn streams_give_the_inner_product_of_each_row() {
    let mut numbers = Numbers(19);
    for dim in [16, 32, 48, 128, 384, 1040] {
        for (name, value) in CASES {
            let query = numbers.vector(dim, value);
            let rows: [Vec<f32>; 4] = std::array::from_fn(|_| numbers.vector(dim, value));
            for level in Level::available() {
                let rows_of = std::array::from_fn(|i| rows[i].as_slice());
                let found = dispatch_at(level, Streams { query: &query, rows: rows_of });
                for (row, value) in rows.iter().zip(found) {
                    let floor = 2.0 * dim as f64 * 2f64.powi(-149);
                    let bound = gamma(dim + 1) * reference::norm(row) * reference::norm(&query) + floor;
                    let error = (f64::from(value) - reference::dot(row, &query)).abs();
                    assert!(error <= bound, "{name}, dim {dim}, {}", level.name());
                }
            }
        }
    }
}
