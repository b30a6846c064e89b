//! Rows that several lend.
//!
//! Each lender's rows begin at a multiple of [`LENT_ROWS`], so that blocks of as many can be its memory. What does not fill one is copied:
//! behind it may be anything, or no memory at all.

use super::{Lender, Matrix, Memory, new_block};
use crate::error::{Error, Result};
use bytemuck::Pod;

/// The rows of each lender begin at a multiple of so many.
pub(crate) const LENT_ROWS: usize = 1024;

impl<T: Pod> Matrix<T> {
    /// The rows of each lender, which are read-only; between the last of one and the first of the next are rows of zeros.
    pub(crate) fn lent(width: usize, lenders: Vec<Lender>) -> Result<Matrix<T>> {
        let mut matrix = Matrix::new(width);
        (matrix.shift, matrix.mask) = (LENT_ROWS.ilog2(), LENT_ROWS - 1);
        let (mut is_lent, mut blocks) = (Vec::new(), Vec::new());
        let block_bytes = matrix.row_bytes() * LENT_ROWS;
        for lender in &lenders {
            let bytes: &[u8] = (**lender).as_ref();
            assert!(bytes.as_ptr().cast::<T>().is_aligned());
            matrix.len = matrix.bases.len() * LENT_ROWS + bytes.len() / matrix.row_bytes();
            for part in bytes.chunks(block_bytes) {
                is_lent.push(part.len() == block_bytes);
                if part.len() == block_bytes {
                    matrix.bases.push(part.as_ptr().cast::<T>().cast_mut());
                    continue;
                }
                let failed = || Error::out_of_memory("the last rows of a file", block_bytes);
                let mut block = new_block(block_bytes).ok_or_else(failed)?;
                block[..part.len()].copy_from_slice(part);
                matrix.bases.push(block.as_mut_ptr().cast());
                blocks.push(block);
            }
        }
        matrix.capacity = matrix.bases.len() * LENT_ROWS;
        matrix.memory = Memory::Lent { lenders, is_lent, blocks };
        Ok(matrix)
    }
}
