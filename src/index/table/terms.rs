//! What is kept of each row beside its values: the term of its metric, which scans read, and under cosine its squared norm.
//!
//! A canonical cosine is divided by the norm of the row. That is a sum as long as the inner product, of the same bits each time, so it is
//! kept where it was made: for rows that came in, or were read from a file. Where rows stay in a file nobody has looked at them, and
//! norms are summed when they are asked for.

use crate::error::Result;
use crate::kernel::canonical_dot;
use crate::simd::prefetch_far;
use crate::vectors::{KeptRows, Matrix, Metric};

/// The terms of rows, by slot.
pub(crate) struct Terms {
    metric: Metric,
    scan: Matrix<f32>,
    /// The squared norms, if the metric divides by them and they are known.
    squares: Option<Matrix<f64>>,
}

impl Terms {
    /// Those of rows that are to come.
    pub(super) fn new(metric: Metric) -> Terms {
        let squares = (metric == Metric::Cosine).then(|| Matrix::new(1));
        Terms { metric, scan: Matrix::new(1), squares }
    }

    /// Those of rows that lie in a file, from there.
    pub(super) fn of_file(metric: Metric, scan: Matrix<f32>) -> Terms {
        Terms { metric, scan, squares: None }
    }

    /// Those of `rows`, which have been read from a file.
    pub(super) fn of_read(metric: Metric, scan: Matrix<f32>, rows: &KeptRows) -> Result<Terms> {
        let mut squares = Terms::new(metric).squares;
        if let Some(squares) = &mut squares {
            squares.try_reserve(rows.len())?;
            let mut values = vec![0.0; rows.dim()];
            for slot in 0..rows.len() {
                rows.read(&[slot as u32], &mut values);
                squares.push(&[canonical_dot(&values, &values)]);
            }
        }
        Ok(Terms { metric, scan, squares })
    }

    /// None yet, but of the same kind: squared norms are kept where these are.
    pub(super) fn emptied(&self) -> Terms {
        let squares = self.squares.as_ref().map(|_| Matrix::new(1));
        Terms { metric: self.metric, scan: Matrix::new(1), squares }
    }

    /// What scans read.
    #[inline(always)]
    pub(crate) fn scan(&self) -> &Matrix<f32> {
        &self.scan
    }

    /// The squared norms of the rows in some slots, if scores need them and they are known.
    #[inline(always)]
    pub(crate) fn squares<const R: usize>(&self, slots: [u32; R]) -> Option<[f64; R]> {
        self.squares.as_ref().map(|squares| slots.map(|slot| squares.first(slot as usize)))
    }

    /// That of one row.
    #[inline(always)]
    pub(crate) fn square(&self, slot: usize) -> Option<f64> {
        self.squares.as_ref().map(|squares| squares.first(slot))
    }

    /// Asks the memory system for that.
    #[inline(always)]
    pub(super) fn prefetch_square(&self, slot: usize) {
        if let Some(squares) = &self.squares {
            prefetch_far(squares.row(slot).as_ptr());
        }
    }

    /// Bytes for each row.
    pub(super) fn row_bytes(&self) -> usize {
        size_of::<f32>() + self.squares.as_ref().map_or(0, |_| size_of::<f64>())
    }

    /// Bytes for all of them.
    pub(super) fn bytes(&self) -> usize {
        self.scan.len() * self.row_bytes()
    }

    pub(super) fn try_reserve(&mut self, additional: usize) -> Result<()> {
        self.scan.try_reserve(additional)?;
        self.squares.as_mut().map_or(Ok(()), |squares| squares.try_reserve(additional))
    }

    /// Appends those of a row, for which there is room.
    pub(super) fn push(&mut self, squared_norm: f64) {
        self.scan.push(&[self.metric.term(squared_norm)]);
        if let Some(squares) = &mut self.squares {
            squares.push(&[squared_norm]);
        }
    }

    /// Appends those that a row has in `others`, which are of the same kind.
    pub(super) fn push_from(&mut self, others: &Terms, slot: usize) {
        self.scan.push(others.scan.row(slot));
        if let (Some(squares), Some(others)) = (&mut self.squares, &others.squares) {
            squares.push(others.row(slot));
        }
    }

    /// Replaces those of the row in a slot.
    pub(super) fn overwrite(&mut self, slot: usize, squared_norm: f64) {
        self.scan.row_mut(slot)[0] = self.metric.term(squared_norm);
        if let Some(squares) = &mut self.squares {
            squares.row_mut(slot)[0] = squared_norm;
        }
    }

    pub(super) fn swap(&mut self, a: usize, b: usize) {
        self.scan.swap(a, b);
        if let Some(squares) = &mut self.squares {
            squares.swap(a, b);
        }
    }

    pub(super) fn truncate(&mut self, slots: usize) {
        self.scan.truncate(slots);
        if let Some(squares) = &mut self.squares {
            squares.truncate(slots);
        }
    }

    pub(super) fn try_clone(&self) -> Result<Terms> {
        let squares = self.squares.as_ref().map(Matrix::try_clone).transpose()?;
        Ok(Terms { metric: self.metric, scan: self.scan.try_clone()?, squares })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squared_norms_move_with_their_rows_where_scores_need_them() -> Result<()> {
        let mut terms = Terms::new(Metric::Cosine);
        terms.try_reserve(4)?;
        [4.0, 9.0, 16.0, 25.0].into_iter().for_each(|square| terms.push(square));
        terms.swap(0, 2);
        terms.overwrite(1, 1.0);
        terms.truncate(3);
        let mut others = terms.emptied();
        others.try_reserve(1)?;
        others.push_from(&terms, 2);
        for (terms, squares) in [(&terms.try_clone()?, &[16.0, 1.0, 4.0][..]), (&others, &[4.0])] {
            assert_eq!(terms.bytes(), squares.len() * (4 + 8));
            for (slot, &square) in squares.iter().enumerate() {
                assert_eq!(terms.square(slot), Some(square));
                assert_eq!(terms.squares([slot as u32; 2]), Some([square; 2]));
                assert_eq!(terms.scan().first(slot), Metric::Cosine.term(square));
            }
        }
        Ok(())
    }

    #[test]
    fn squared_norms_are_unknown_where_no_score_needs_them_or_rows_stay_in_a_file() -> Result<()> {
        let mut terms = Terms::new(Metric::L2);
        terms.try_reserve(1)?;
        terms.push(4.0);
        for terms in [terms.try_clone()?, Terms::of_file(Metric::Cosine, terms.scan)] {
            assert_eq!((terms.bytes(), terms.square(0), terms.squares([0])), (4, None, None));
            let mut others = terms.emptied();
            others.try_reserve(1)?;
            others.push_from(&terms, 0);
            assert_eq!(others.square(0), None);
        }
        Ok(())
    }
}
