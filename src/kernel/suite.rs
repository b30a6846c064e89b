//! One suite for every kernel at every level that this machine has, against the f64 oracle and the bound that the
//! kernel's documentation gives.

use super::{
    AbsoluteDifference, BIT_LANES, PANEL_ROWS, Pairing, Product, SquaredDifference, canonical_dot,
    canonical_dots_and_squares, canonical_l1, canonical_squared_l2, dot, hamming, hamming_panel, l1, pack_bits,
    pack_queries, panel, reference, squared_l2, stream_sums,
};
use crate::simd::{Counting, Level, Operation, Simd, dispatch_at};
use std::marker::PhantomData;

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

/// What is promised of the sums over one kind of pair.
trait Promise: Pairing {
    const NAME: &str;
    /// The sum by its definition.
    fn oracle(a: &[f32], b: &[f32]) -> f64;
    /// The largest error of an f32 sum.
    fn bound(a: &[f32], b: &[f32]) -> f64;
}

/// A product that falls into the denormal range loses up to half of 2^-149, whatever its size.
fn floor(n: usize) -> f64 {
    2.0 * n as f64 * 2f64.powi(-149)
}

impl Promise for Product {
    const NAME: &str = "dot";

    fn oracle(a: &[f32], b: &[f32]) -> f64 {
        reference::dot(a, b)
    }

    fn bound(a: &[f32], b: &[f32]) -> f64 {
        gamma(a.len() + 1) * reference::norm(a) * reference::norm(b) + floor(a.len())
    }
}

impl Promise for SquaredDifference {
    const NAME: &str = "squared_l2";

    fn oracle(a: &[f32], b: &[f32]) -> f64 {
        reference::squared_l2(a, b)
    }

    fn bound(a: &[f32], b: &[f32]) -> f64 {
        gamma(a.len() + 3) * reference::squared_l2(a, b) + floor(a.len())
    }
}

impl Promise for AbsoluteDifference {
    const NAME: &str = "l1";

    fn oracle(a: &[f32], b: &[f32]) -> f64 {
        reference::l1(a, b)
    }

    fn bound(a: &[f32], b: &[f32]) -> f64 {
        // One rounding to spare: the oracle rounds too.
        gamma(a.len() + 1) * reference::l1(a, b)
    }
}

fn keeps_its_promise<P: Promise>(sum: f32, a: &[f32], b: &[f32], label: &str) {
    let (error, bound) = ((f64::from(sum) - P::oracle(a, b)).abs(), P::bound(a, b));
    assert!(error <= bound, "{}, {label}: error {error:e} above {bound:e}", P::NAME);
}

struct Each<'a>(&'a [f32], &'a [f32]);

impl Operation for Each<'_> {
    /// The sums of the fast kernels, and the canonical ones.
    type Output = ([f32; 3], [f64; 5]);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let Each(a, b) = self;
        let [_, (product, square), _] = canonical_dots_and_squares(a, [a, b, a]);
        (
            [dot(simd, a, b), squared_l2(simd, a, b), l1(simd, a, b)],
            [canonical_dot(a, b), canonical_squared_l2(a, [b])[0], canonical_l1(a, [b])[0], product, square],
        )
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
        let ([dot, squared_l2, l1], _) = dispatch_at(level, Each(a, b));
        keeps_its_promise::<Product>(dot, a, b, label);
        keeps_its_promise::<SquaredDifference>(squared_l2, a, b, label);
        keeps_its_promise::<AbsoluteDifference>(l1, a, b, label);
    });
}

#[test]
fn canonical_sums_have_the_same_bits_at_every_level() {
    for_every_case(|label, level, a, b| {
        let (_, here) = dispatch_at(level, Each(a, b));
        let (_, portable) = dispatch_at(Level::Portable, Each(a, b));
        assert_eq!(here.map(f64::to_bits), portable.map(f64::to_bits), "{label}");
        let [dot, squared_l2, l1, product, square] = here;
        assert_eq!(product.to_bits(), dot.to_bits(), "the product beside the square, {label}");
        assert_eq!(square.to_bits(), canonical_dot(b, b).to_bits(), "the square beside the product, {label}");
        assert!((dot - reference::dot(a, b)).abs() <= 1e-12 * reference::norm(a) * reference::norm(b), "dot, {label}");
        for (sum, exact) in [(squared_l2, reference::squared_l2(a, b)), (l1, reference::l1(a, b))] {
            assert!((sum - exact).abs() <= 1e-11 * exact, "{label}: {sum}, not {exact}");
        }
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

struct WholePanel<'a, P> {
    rows: &'a [Vec<f32>],
    queries: &'a [Vec<f32>],
    pairing: PhantomData<P>,
}

impl<P: Pairing> Operation for WholePanel<'_, P> {
    /// The sums, row by row.
    type Output = Vec<Vec<f32>>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Vec<Vec<f32>> {
        let (dim, lanes) = (self.rows[0].len(), 2 * S::LANES);
        let mut packed = vec![0.0; dim * lanes];
        pack_queries(self.queries.iter().map(Vec::as_slice), lanes, &mut packed);
        let rows = std::array::from_fn(|i| self.rows[i].as_ptr());
        // SAFETY: every row has `dim` values, and `packed` holds dim * 2 * LANES.
        let sums = unsafe { panel::<S, P, 2>(simd, rows, dim, packed.as_ptr(), Some(rows)) };
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

fn check_panels<P: Promise>() {
    let mut numbers = Numbers(13);
    for dim in [1, 2, 7, 16, 33, 128, 384] {
        for (name, value) in CASES {
            let rows: Vec<_> = (0..PANEL_ROWS).map(|_| numbers.vector(dim, value)).collect();
            let queries: Vec<_> = (0..11).map(|_| numbers.vector(dim, value)).collect();
            for level in Level::available() {
                let panel = WholePanel { rows: &rows, queries: &queries, pairing: PhantomData::<P> };
                for (row, found) in rows.iter().zip(dispatch_at(level, panel)) {
                    for (lane, sum) in found.into_iter().enumerate() {
                        let query = queries.get(lane).cloned().unwrap_or_else(|| vec![0.0; dim]);
                        let label = format!("{name}, dim {dim}, {}, lane {lane}", level.name());
                        keeps_its_promise::<P>(sum, row, &query, &label);
                    }
                }
            }
        }
    }
}

#[test]
fn a_panel_gives_every_sum_and_that_with_zeros_in_empty_lanes() {
    check_panels::<Product>();
    check_panels::<SquaredDifference>();
    check_panels::<AbsoluteDifference>();
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

struct Streams<'a, P> {
    query: &'a [f32],
    rows: [&'a [f32]; 4],
    pairing: PhantomData<P>,
}

impl<P: Pairing> Operation for Streams<'_, P> {
    type Output = [f32; 4];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [f32; 4] {
        let rows = self.rows.map(<[f32]>::as_ptr);
        // SAFETY: all five are equally long, a multiple of sixteen.
        unsafe { stream_sums::<S, P, 4>(simd, self.query, rows, Some(rows)) }
    }
}

fn check_streams<P: Promise>() {
    let mut numbers = Numbers(19);
    for dim in [16, 32, 48, 128, 384, 1040] {
        for (name, value) in CASES {
            let query = numbers.vector(dim, value);
            let rows: [Vec<f32>; 4] = std::array::from_fn(|_| numbers.vector(dim, value));
            for level in Level::available() {
                let rows_of = std::array::from_fn(|i| rows[i].as_slice());
                let streams = Streams { query: &query, rows: rows_of, pairing: PhantomData::<P> };
                for (row, sum) in rows.iter().zip(dispatch_at(level, streams)) {
                    keeps_its_promise::<P>(sum, &query, row, &format!("{name}, dim {dim}, {}", level.name()));
                }
            }
        }
    }
}

#[test]
fn streams_give_the_sum_of_each_row() {
    check_streams::<Product>();
    check_streams::<SquaredDifference>();
    check_streams::<AbsoluteDifference>();
}

/// One row against some queries, one by one and as a panel.
struct BitsOf<'a>(&'a [u64], &'a [Vec<u64>]);

impl Operation for BitsOf<'_> {
    type Output = (Vec<u32>, [u64; BIT_LANES]);

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> Self::Output {
        let BitsOf(row, queries) = self;
        let mut panel = vec![[0; BIT_LANES]; row.len()];
        for (lane, query) in queries.iter().enumerate() {
            pack_bits(query, lane, &mut panel);
        }
        (queries.iter().map(|query| hamming(query, row)).collect(), hamming_panel(row, &panel))
    }
}

#[test]
fn differing_bits_are_counted_at_every_level_with_and_without_instructions_for_it() {
    let mut numbers = Numbers(23);
    for words in (0..40).chain([64, 1024]) {
        let row: Vec<u64> = (0..words).map(|_| numbers.bits()).collect();
        let mut queries: Vec<Vec<u64>> = (0..50).map(|_| (0..words).map(|_| numbers.bits()).collect()).collect();
        queries.extend([row.clone(), row.iter().map(|word| !word).collect(), vec![0; words], vec![u64::MAX; words]]);
        let expected: Vec<u32> = queries.iter().map(|query| reference::hamming(query, &row)).collect();
        let none = reference::hamming(&vec![0; words], &row);
        for level in Level::available() {
            let plain = dispatch_at(level, BitsOf(&row, &queries));
            let counting = dispatch_at(level, Counting(BitsOf(&row, &queries)));
            for (one_by_one, panel) in [plain, counting] {
                assert_eq!(one_by_one, expected, "{words} words, {}", level.name());
                let in_panel = |lane: usize| u64::from(*expected.get(lane).unwrap_or(&none));
                assert_eq!(panel, std::array::from_fn(in_panel), "{words} words, {}", level.name());
            }
        }
    }
}
