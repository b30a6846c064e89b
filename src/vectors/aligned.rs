//! Values that begin on a cache line.
//!
//! A vector of the widest instruction set is as long as a cache line, and one that lies across two of them is read twice. Rows lie on lines
//! (see [`Matrix`](super::Matrix)); this is for what is compared with every row: where it lies askew, walks take a tenth more time.

use bytemuck::Pod;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A cache line: what rows are aligned to, if their width is a multiple of it.
#[derive(Clone, Copy, bytemuck::Zeroable, Pod)]
#[repr(C, align(64))]
pub(crate) struct Line([u8; 64]);

impl Line {
    pub(crate) const ZERO: Line = Line([0; 64]);
}

/// A slice whose memory begins on a cache line, and is used again when its length changes.
pub(crate) struct Aligned<T> {
    lines: Vec<Line>,
    len: usize,
    values: PhantomData<T>,
}

impl<T> Default for Aligned<T> {
    fn default() -> Aligned<T> {
        Aligned { lines: Vec::new(), len: 0, values: PhantomData }
    }
}

impl<T: Pod> Aligned<T> {
    /// So many zeros.
    pub(crate) fn zeros(len: usize) -> Aligned<T> {
        let mut zeros = Aligned::default();
        zeros.resize(len);
        zeros
    }

    /// Sets the length. What values there were stay, new ones are zero, or what was there before the slice was made shorter.
    pub(crate) fn resize(&mut self, len: usize) {
        self.lines.resize((len * size_of::<T>()).div_ceil(size_of::<Line>()), Line::ZERO);
        self.len = len;
    }
}

impl<T: Pod> Deref for Aligned<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl<T: Pod> DerefMut for Aligned<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_begin_on_a_line_and_stay() {
        let mut values: Aligned<u32> = Aligned::zeros(5);
        values.copy_from_slice(&[1, 2, 3, 4, 5]);
        for len in [5, 16, 17, 1000] {
            values.resize(len);
            assert!(values.as_ptr().addr().is_multiple_of(64));
            assert_eq!((values.len(), &values[..5]), (len, &[1, 2, 3, 4, 5][..]));
            assert!(values[5..].iter().all(|&value| value == 0));
        }
        values.resize(0);
        assert!(values.is_empty() && Aligned::<u8>::default().is_empty());
    }
}
