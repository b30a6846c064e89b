//! Rows that codes find hard, and queries for them.

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn row(&mut self, dim: usize, scale: f32) -> Vec<f32> {
        (0..dim).map(|_| self.unit() * scale).collect()
    }

    /// Between -1 and 1.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// Value `i` of row `row`, given a row of small whole numbers that all rows of a set share.
pub(crate) type Kind = (&'static str, fn(&mut Numbers, &[f32], usize, usize) -> f32);

pub(crate) const KINDS: [Kind; 13] = [
    ("ordinary", |n, _, _, _| n.unit() + n.unit() + n.unit()),
    ("whole, many of them equal", |n, _, _, _| n.below(3) as f32 - 1.0),
    ("off centre", |n, base, _, i| base[i] * 10.0 + n.unit()),
    ("nearly equal", |n, base, _, i| if n.below(64) == 0 { base[i].next_up() } else { base[i] }),
    ("in two groups around their mean", |_, base, row, i| base[i] + [0.0, 1.0, -1.0][(row + i % 2) % 3]),
    ("of all lengths", |n, _, row, _| n.unit() * [1e18, 1e-18, 1.0, 1e-30, 1e-42, 0.0, 1e9][row % 7]),
    ("sparse", |n, _, _, _| if n.below(24) == 0 { n.unit() } else { 0.0 }),
    ("constant", |_, _, row, _| (row % 97) as f32 * 0.37 - 18.0),
    ("with an outlier", |n, _, _, i| if i == 1 { 1e6 + n.unit() } else { n.unit() }),
    ("cancelling", |n, _, row, i| if i < 2 { 1e9 } else { n.unit() * [1e-7, 1e-3, 1e-8][row % 3] }),
    ("in clusters", |n, base, row, i| base[(i + row / 100) % base.len()] + n.unit() * 0.01),
    ("as long as can be", |n, base, _, _| n.unit().signum() * (1.8e19 / (base.len() as f32).sqrt())),
    ("mostly the same row", |n, base, row, i| if row.is_multiple_of(9) { n.unit() } else { base[i] }),
];

pub(crate) fn rows_of(kind: Kind, numbers: &mut Numbers, count: usize, dim: usize) -> Vec<f32> {
    let base: Vec<f32> = (0..dim).map(|_| numbers.below(7) as f32 - 3.0).collect();
    (0..count * dim).map(|at| kind.1(numbers, &base, at / dim, at % dim)).collect()
}

/// As good as nothing, but not zero. One query like this, and all that are asked with it are answered by a scan of the rows.
fn is_tiny(query: &[f32]) -> bool {
    let squared: f64 = query.iter().map(|&value| f64::from(value).powi(2)).sum();
    0.0 < squared && squared < 1e-35
}

/// Some tiny queries among others.
pub(crate) fn tiny_queries(numbers: &mut Numbers, dim: usize) -> Vec<f32> {
    [1.0, 1e-17, 1e-20, 1e-30, 1e-40, 2e-45].into_iter().flat_map(|scale| numbers.row(dim, scale)).collect()
}

/// Queries like the rows, rows themselves, their negatives, rows with a value changed by one unit in its last place, and others.
pub(crate) fn queries_for(numbers: &mut Numbers, values: &[f32], dim: usize) -> Vec<f32> {
    let mut queries = vec![0.0; dim];
    let count = values.len() / dim;
    for at in 0..12 {
        let row = numbers.below(count);
        let mut query = values[row * dim..][..dim].to_vec();
        match at % 4 {
            0 => query.iter_mut().for_each(|value| *value = -*value),
            1 => query[at % dim] = query[at % dim].next_up(),
            2 => query.iter_mut().for_each(|value| *value += numbers.unit()),
            _ => {}
        }
        queries.extend(query);
    }
    for scale in [1.0, 1e17, 1e-16] {
        queries.extend((0..dim).map(|_| numbers.unit() * scale));
    }
    // Orthogonal to what the cancelling rows have in common.
    queries.extend((0..dim).map(|i| if i < 2 { 1.0 - 2.0 * i as f32 } else { numbers.unit() }));
    queries.chunks(dim).filter(|query| !is_tiny(query)).flatten().copied().collect()
}
