//! Outlooks: what a query sees of some rows without reading their cells.

use super::*;
use crate::vectors::Outlook;

/// A look at an outlook: at all of its rows, or, narrowing, at those alone that are nearer than all before.
struct LookOut<'a> {
    query: &'a CellQuery,
    outlook: &'a Outlook,
    narrowing: bool,
}

impl Operation for LookOut<'_> {
    /// Of each row its slot and its estimate.
    type Output = Vec<(u32, f32)>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let mut seen = Vec::new();
        let mut nearest = f32::INFINITY;
        self.query.look_out(simd, self.outlook, |estimate, slot| {
            seen.push((slot, estimate));
            nearest = nearest.min(estimate);
            if self.narrowing { nearest } else { f32::INFINITY }
        });
        seen
    }
}

#[test]
fn an_outlook_shows_all_of_its_rows_about_where_they_are() {
    let rows = normal_rows(384, 90, 3);
    let asked = normal_rows(384, 20, 4);
    for metric in METRICS {
        let cells = cells_of(frame_of(metric, &rows, 32), &rows);
        for count in [0, 1, 16, 17, 32, 33, 90] {
            // Slots in an order of their own, and other numbers than the rows have here.
            let shown: Vec<(u32, Cell<'_>)> =
                (0..count).rev().map(|slot| (1000 + slot as u32, cells.cell(slot))).collect();
            let outlook = Outlook::new(cells.frame(), &shown);
            assert!(outlook.slots().eq(shown.iter().map(|&(slot, _)| slot)));
            let (mut off, mut spread) = (0.0, 0.0);
            for asked in &asked {
                let query = Asked::new(metric, asked).ready(cells.frame(), Level::detect());
                let seen = dispatch_at(Level::detect(), LookOut { query: &query, outlook: &outlook, narrowing: false });
                assert!(seen.iter().map(|&(slot, _)| slot).eq(outlook.slots()));
                let nearer =
                    dispatch_at(Level::detect(), LookOut { query: &query, outlook: &outlook, narrowing: true });
                let nearest = |seen: &[(u32, f32)]| seen.iter().map(|&(_, estimate)| estimate).reduce(f32::min);
                assert!(nearest(&nearer) == nearest(&seen) && (count <= 33 || nearer.len() < count));
                let values: Vec<f32> = shown.iter().map(|&(_, row)| value(query.point(), row)).collect();
                let mean = values.iter().sum::<f32>() / values.len().max(1) as f32;
                for (&(_, estimate), value) in seen.iter().zip(&values) {
                    off += f64::from(estimate - value).powi(2);
                    spread += f64::from(value - mean).powi(2);
                }
                for level in Level::available() {
                    let query = Asked::new(metric, asked).ready(cells.frame(), level);
                    let again = dispatch_at(level, LookOut { query: &query, outlook: &outlook, narrowing: false });
                    let near = |(a, b): (&(u32, f32), &(u32, f32))| (a.1 - b.1).abs() <= 1e-3 * a.1.abs().max(1.0);
                    assert!(seen.iter().zip(&again).all(near), "{metric:?}, {count}, {}", level.name());
                }
            }
            // Signs leave 0.57 of the variance that rows have among each other, see `shape`; rounding the query adds a little.
            assert!(count < 16 || off < 0.8 * spread, "{metric:?}, {count}: off by {off}, of {spread}");
        }
    }
}
