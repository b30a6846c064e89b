//! Planes against their definitions: [`certain`] holds every bound against the value that it bounds, [`estimates`] every estimate
//! against the row that its code stands for, [`records`] what is kept of a row against what becomes of it in a plane.
//!
//! Here are the rows and queries that hurt, and the few lines of f64 that a scan has to agree with.

mod certain;
mod estimates;
mod records;

use super::{Coding, Encoder, Heads, Met, Panel, Plane, PlaneQuery, Purpose, Wanted};
use crate::kernel::{BLOCK_ROWS, canonical_dot, canonical_dots_and_squares, canonical_squared_l2};
use crate::simd::{Level, Operation, Simd, dispatch_at};
use crate::vectors::Metric;
use crate::vectors::asked::Asked;
use crate::vectors::seed::random_bits;

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::L2];
const DIMS: [usize; 12] = [1, 2, 3, 7, 8, 9, 31, 33, 100, 128, 384, 1000];

/// One stream of numbers, the same everywhere.
struct Numbers {
    seed: u64,
    taken: u64,
}

impl Numbers {
    fn new(seed: u64) -> Numbers {
        Numbers { seed, taken: 0 }
    }

    fn bits(&mut self) -> u64 {
        self.taken += 1;
        random_bits(self.seed, self.taken)
    }

    /// From -1 to 1.
    fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// As good as normal: a sum of twelve.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() / 2.0
    }

    fn row(&mut self, dim: usize, value: impl Fn(&mut Numbers, usize) -> f32) -> Vec<f32> {
        (0..dim).map(|i| value(self, i)).collect()
    }
}

type Kind = (&'static str, fn(&mut Numbers, usize) -> f32);

/// Rows that hurt, all to be mixed in one plane: of lengths that have nothing in common, sparse, constant, with one value that
/// dwarfs the others, in the denormal range, with large values in two places that an inner product can cancel.
const KINDS: [Kind; 14] = [
    ("ordinary", |n, _| n.normal()),
    ("zero", |_, _| 0.0),
    ("off centre", |n, _| 100.0 + n.unit()),
    ("huge", |n, _| n.normal() * 3e16),
    ("beyond the longest", |n, _| n.unit() * 2.3e16 + 5e16),
    ("tiny", |n, _| n.normal() * 1e-18),
    ("tinier", |n, _| n.normal() * 1e-30),
    ("denormal", |n, _| n.normal() * 1e-41),
    ("sparse", |n, i| if n.bits().is_multiple_of(16) || i == 0 { n.normal() } else { 0.0 }),
    ("constant", |_, _| 0.7),
    ("an outlier", |n, i| if i == 1 { 1e8 } else { n.normal() }),
    ("whole", |n, _| (n.bits() % 5) as f32 - 2.0),
    ("cancelling", |n, i| if i < 2 { 1e9 } else { n.normal() * 1e-3 }),
    ("cancelled", |n, i| if i < 2 { 1.0 - 2.0 * i as f32 } else { n.normal() * 1e-3 }),
];

/// Rows of every kind, some rows twice, some changed by one unit in the last place of one value.
fn rows_that_hurt(numbers: &mut Numbers, dim: usize) -> Vec<Vec<f32>> {
    let mut rows: Vec<Vec<f32>> = Vec::new();
    for (_, value) in KINDS {
        let row = numbers.row(dim, value);
        let mut near = row.clone();
        let at = numbers.bits() as usize % dim;
        near[at] = near[at].next_up();
        rows.extend([row.clone(), near, row.iter().map(|value| -value).collect(), numbers.row(dim, value), row]);
    }
    rows
}

/// What rows can be centred on: nothing, the mean of all rows, of the ordinary ones, one of the rows themselves.
fn means(metric: Metric, rows: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let dim = rows[0].len();
    let mean = |some: &[&Vec<f32>]| -> Vec<f32> {
        let mut sums = vec![0.0; dim];
        for row in some {
            let factor = factor(metric, row);
            sums.iter_mut().zip(*row).for_each(|(sum, &value)| *sum += f64::from(value) * factor);
        }
        sums.into_iter().map(|sum| (sum / some.len() as f64) as f32).collect()
    };
    let kind = |at: usize| mean(&rows[5 * at..5 * at + 2].iter().collect::<Vec<_>>());
    vec![vec![0.0; dim], mean(&rows.iter().collect::<Vec<_>>()), kind(0), mean(&[&rows[10]]), kind(12)]
}

fn squared(values: &[f32]) -> f64 {
    canonical_dot(values, values)
}

/// What a row is multiplied with before it is centred.
fn factor(metric: Metric, row: &[f32]) -> f64 {
    let norm = squared(row).sqrt();
    match metric {
        Metric::Cosine if norm > 0.0 => 1.0 / norm,
        Metric::Cosine => 0.0,
        _ => 1.0,
    }
}

impl Asked {
    /// The canonical score of a row.
    fn score(&self, row: &[f32]) -> f32 {
        let query = &self.values[..row.len()];
        let score = match self.metric {
            Metric::Cosine => {
                let [(product, square)] = canonical_dots_and_squares(query, [row]);
                let length = self.squared_norm.sqrt() * square.sqrt();
                if length == 0.0 { 0.0 } else { (product / length).clamp(-1.0, 1.0) }
            }
            Metric::Dot => canonical_dot(query, row),
            _ => -canonical_squared_l2(query, [row])[0].sqrt(),
        };
        score as f32 + 0.0
    }

    /// The value of a row, as the plane's documentation defines it, and how far this sum in f64 may be off.
    fn value(&self, mean: &[f32], row: &[f32]) -> (f64, f64) {
        let factor = factor(self.metric, row);
        let (mut value, mut magnitude) = (0.0, 0.0);
        for ((&q, &x), &mean) in self.values.iter().zip(row).zip(mean) {
            let (q, mean) = (f64::from(q), f64::from(mean));
            let y = f64::from(x) * factor - mean;
            let term = if self.metric == Metric::L2 { y * (2.0 * (q - mean) - y) } else { q * y };
            value += term;
            magnitude += term.abs();
        }
        let direction = if self.metric == Metric::Cosine { 1e-15 * self.squared_norm.sqrt() } else { 0.0 };
        (value, 1e-12 * magnitude + direction)
    }
}

/// A plane with these rows.
fn plane(coding: Coding, rows: &[Vec<f32>]) -> Plane {
    let mut plane = Plane::new(coding.into());
    plane.try_reserve(rows.len()).expect("memory");
    for record in records_of(&plane, rows) {
        plane.push(&record);
    }
    plane
}

/// What a plane keeps of these rows.
fn records_of(plane: &Plane, rows: &[Vec<f32>]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(plane.coding());
    let record = |row: &Vec<f32>| {
        let mut record = vec![0; plane.coding().record_bytes()];
        encoder.encode(row, squared(row), &mut record);
        record
    };
    rows.iter().map(record).collect()
}

/// A block of a plane before some queries.
struct Products<'a> {
    plane: &'a Plane,
    queries: &'a [PlaneQuery],
    block: usize,
}

impl Operation for Products<'_> {
    /// The inner products of the heads, for each query row by row.
    type Output = Vec<[i32; BLOCK_ROWS]>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        const LANES: usize = 8;
        let mut found = Vec::new();
        for queries in self.queries.chunks(LANES) {
            let limits = [f32::NEG_INFINITY; LANES];
            let met = meet::<S, LANES>(simd, self.plane, self.block, queries, &limits);
            let alone = meet::<S, 1>(simd, self.plane, self.block, &queries[..1], &limits[..1]);
            assert_eq!(alone.products[0], met.products[0], "alone or among others");
            found.extend_from_slice(&met.products[..queries.len()]);
        }
        found
    }
}

#[inline(always)]
fn meet<S: Simd, const Q: usize>(
    simd: S,
    plane: &Plane,
    block: usize,
    queries: &[PlaneQuery],
    limits: &[f32],
) -> Met<Q> {
    let panel = Panel::new(queries, plane.coding.purpose, Q);
    let wanted = Wanted::<Q>::new(&panel, queries, limits.iter().copied());
    let [met] = match plane.coding.purpose {
        Purpose::Certify => Heads::<false>::new(plane).meet(simd, [block], &wanted),
        Purpose::Estimate => Heads::<true>::new(plane).meet(simd, [block], &wanted),
    };
    met
}

/// Whether a row of a block passes a limit, by the sum in f32.
struct Passes<'a> {
    plane: &'a Plane,
    query: &'a PlaneQuery,
    slot: usize,
    limit: f32,
}

impl Operation for Passes<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> bool {
        let (block, queries) = (self.slot / BLOCK_ROWS, std::slice::from_ref(self.query));
        let met = meet::<S, 1>(simd, self.plane, block, queries, &[self.limit]);
        met.passing[0] >> (self.slot % BLOCK_ROWS) & 1 == 1
    }
}

/// One row of a plane before one query, at one level.
struct Meeting<'a> {
    level: Level,
    plane: &'a Plane,
    query: &'a PlaneQuery,
    slot: usize,
    products: &'a [i32; BLOCK_ROWS],
}

impl Meeting<'_> {
    fn product(&self) -> i32 {
        self.products[self.slot % BLOCK_ROWS]
    }

    fn passes(&self, limit: f32) -> bool {
        let Meeting { level, plane, query, slot, .. } = *self;
        dispatch_at(level, Passes { plane, query, slot, limit })
    }

    /// The tight bound.
    fn bound(&self) -> f32 {
        self.plane.bound(self.query, self.slot, self.product())
    }
}

/// Shows `check` every row before every query at every level; the number is that of the query.
fn for_every_meeting(plane: &Plane, queries: &[PlaneQuery], mut check: impl FnMut(usize, Meeting<'_>)) {
    for level in Level::available() {
        for block in 0..plane.blocks() {
            let found = dispatch_at(level, Products { plane, queries, block });
            for (number, (products, query)) in found.iter().zip(queries).enumerate() {
                for slot in (block * BLOCK_ROWS..plane.rows()).take(BLOCK_ROWS) {
                    check(number, Meeting { level, plane, query, slot, products });
                }
            }
        }
    }
}
