//! The direction in which rows differ most: their first principal component, by power iteration on a sample.

use crate::kernel::canonical_dot;
use crate::simd::{Operation, Simd};

/// Steps of the power iteration. A direction that is only nearly the principal one cuts nearly as well.
const STEPS: usize = 4;

/// Finds the direction in which some rows of `dim` values differ most. Leaves them centred. All zeros, if they do not differ.
///
/// Every sum has one order, so the direction is the same at every level.
pub(super) struct Principal<'a> {
    pub(super) rows: &'a mut [f32],
    pub(super) dim: usize,
}

impl Operation for Principal<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> Vec<f32> {
        let Principal { rows, dim } = self;
        centre(rows, dim);
        let mut direction = farthest(rows, dim);
        let mut heights = vec![0.0; rows.len() / dim];
        for _ in 0..STEPS {
            measure(rows, &direction, &mut heights);
            let highest = heights.iter().fold(0.0, |most: f64, height| most.max(height.abs()));
            if highest == 0.0 {
                break;
            }
            direction.fill(0.0);
            for (row, height) in rows.chunks_exact(dim).zip(&heights) {
                // Relative, so that nothing is out of range that no row is.
                add(&mut direction, (height / highest) as f32, row);
            }
            let length = canonical_dot(&direction, &direction).sqrt();
            scale(&mut direction, if length > 0.0 { 1.0 / length } else { 0.0 });
        }
        direction
    }
}

/// How far rows lie in a direction.
pub(super) struct Heights<'a> {
    pub(super) rows: &'a [f32],
    pub(super) direction: &'a [f32],
    pub(super) heights: &'a mut [f64],
}

impl Operation for Heights<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        measure(self.rows, self.direction, self.heights);
    }
}

#[inline(always)]
fn measure(rows: &[f32], direction: &[f32], heights: &mut [f64]) {
    for (row, height) in rows.chunks_exact(direction.len()).zip(heights) {
        *height = canonical_dot(row, direction);
    }
}

#[inline(always)]
fn centre(rows: &mut [f32], dim: usize) {
    let (mut mean, part) = (vec![0.0; dim], 1.0 / (rows.len() / dim).max(1) as f32);
    for row in rows.chunks_exact(dim) {
        add(&mut mean, part, row);
    }
    for row in rows.chunks_exact_mut(dim) {
        add(row, -1.0, &mean);
    }
}

/// The row that lies farthest from zero.
#[inline(always)]
fn farthest(rows: &[f32], dim: usize) -> Vec<f32> {
    let (mut found, mut most) = (vec![0.0; dim], 0.0);
    for row in rows.chunks_exact(dim) {
        let squared = canonical_dot(row, row);
        if squared > most {
            most = squared;
            found.copy_from_slice(row);
        }
    }
    found
}

#[inline(always)]
fn add(sum: &mut [f32], factor: f32, row: &[f32]) {
    for (sum, &value) in sum.iter_mut().zip(row) {
        *sum += factor * value;
    }
}

#[inline(always)]
fn scale(values: &mut [f32], factor: f64) {
    for value in values {
        *value = (f64::from(*value) * factor) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::dispatch;
    use crate::vectors::random_bits;

    fn value(i: usize) -> f32 {
        (random_bits(7, i as u64) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    #[test]
    fn rows_that_differ_most_along_a_line_give_that_line() {
        for (dim, unit) in [(1, 1.0), (3, 1.0), (40, 1e-18), (130, 1e17)] {
            let line: Vec<f32> = (0..dim).map(|i| value(i) + 0.1).collect();
            let length = canonical_dot(&line, &line).sqrt();
            let mut rows: Vec<f32> = (0..200 * dim)
                .map(|at| unit * (10.0 * value(1_000_000 + at / dim) * line[at % dim] + 0.3 * value(at) + 5.0))
                .collect();
            let direction = dispatch(Principal { rows: &mut rows, dim });
            let along = canonical_dot(&direction, &line).abs() / length;
            assert!(along > 0.99, "{dim}: {along}");
            assert!((canonical_dot(&direction, &direction) - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn rows_that_do_not_differ_or_are_not_there_give_none() {
        for rows in [vec![], vec![2.5; 64], vec![f32::MIN_POSITIVE; 64]] {
            let direction = dispatch(Principal { rows: &mut rows.clone(), dim: 4 });
            assert_eq!(direction, [0.0; 4]);
        }
    }

    #[test]
    fn the_largest_rows_have_a_direction_too() {
        let most = f32::MAX.sqrt() * 0.99;
        let mut rows: Vec<f32> = (0..256).flat_map(|i| [if i % 2 == 0 { most } else { -most }, 0.0]).collect();
        let direction = dispatch(Principal { rows: &mut rows, dim: 2 });
        assert_eq!([direction[0].abs(), direction[1]], [1.0, 0.0]);
    }
}
