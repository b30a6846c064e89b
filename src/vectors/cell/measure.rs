//! What a frame takes from some rows, and whether cells would serve them.

use super::{Cell, Frame, FrameParts};
use crate::vectors::Metric;

/// Rows whose nearest neighbours are looked for.
const SAMPLE: usize = 64;

/// Which of the nearest neighbours counts: many rows have one or two that are nearly the same, whatever else there is.
const NEIGHBOUR: usize = 4;

/// How many times as far from the mean as from that neighbour a row may be: queries and rows are kept in steps of what lies between it and the mean. In an
/// experiment with clusters of 64 dimensions a walk among cells and one among rows found as much in the same time where that was six times as
/// far; at ten times the one among rows found more, and at twenty much more.
const FARTHEST: f32 = 8.0;

/// One row in so many may be farther.
const MISFITS: usize = 16;

impl Frame {
    /// What [`new`](Frame::new) needs, taken from some rows. `read` writes the values of one of them, and returns its squared norm.
    pub(crate) fn measure(
        metric: Metric,
        dim: usize,
        rows: usize,
        read: impl Fn(usize, &mut [f32]) -> f64,
    ) -> FrameParts {
        let (mut sums, mut values, mut squares) = (vec![0.0; dim], vec![0.0; dim], 0.0);
        for row in 0..rows {
            let squared_norm = read(row, &mut values);
            let factor = metric.coding_factor(squared_norm.sqrt());
            for (sum, &value) in sums.iter_mut().zip(&values) {
                *sum += f64::from(value) * factor;
            }
            squares += squared_norm * factor * factor;
        }
        let rows = rows.max(1) as f64;
        let centre: Vec<f64> = sums.iter().map(|sum| sum / rows).collect();
        let spread = (squares / rows - centre.iter().map(|value| value * value).sum::<f64>()).sqrt();
        // Rows that are all the same, or out of range, have no spread to speak of.
        let unit = if spread.is_normal() { 1.0 / spread } else { 1.0 };
        FrameParts { mean: centre.iter().map(|value| (value * unit) as f32).collect(), unit }
    }

    /// Whether eight bits tell apart, of some rows, what lies nearest to each other: of tight clusters far from each other they see
    /// little more than which cluster a row is in. `encoded` is these rows as [`encode`](Frame::encode) made them; `same` says whether two of them have
    /// the very same values.
    pub(crate) fn resolves(&self, encoded: &[u8], same: impl Fn(usize, usize) -> bool) -> bool {
        let rows: Vec<Cell<'_>> = encoded.chunks_exact(self.row_bytes()).map(|row| self.lone(row)).collect();
        let sample = (0..rows.len()).step_by(rows.len().div_ceil(SAMPLE).max(1));
        let (mut lost, mut asked) = (0, 0);
        for row in sample {
            let others = (0..rows.len()).filter(|&other| other != row && !same(row, other));
            let mut distances: Vec<f32> = others.map(|other| squared_distance(rows[row], rows[other])).collect();
            if distances.len() < NEIGHBOUR {
                continue;
            }
            let (_, &mut nearest, _) = distances.select_nth_unstable_by(NEIGHBOUR - 1, f32::total_cmp);
            asked += 1;
            let own: f32 = rows[row].code().iter().map(|&x| (f32::from(x) * rows[row].scale()).powi(2)).sum();
            lost += usize::from(own > FARTHEST * FARTHEST * nearest);
        }
        lost * MISFITS <= asked
    }
}

/// The squared distance of two rows.
fn squared_distance(a: Cell<'_>, b: Cell<'_>) -> f32 {
    let apart = |(&x, &y): (&i8, &i8)| (f32::from(x) * a.scale() - f32::from(y) * b.scale()).powi(2);
    a.code().iter().zip(b.code()).map(apart).sum()
}
