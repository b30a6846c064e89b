//! Rows of one width, in memory that never moves.
//!
//! Everything an index keeps per row lies in one of these: vectors, links, ids. Rows are appended to blocks of up to 64 MiB, so
//! growth copies nothing and allocates under no lock for longer than a mapping takes; the pages of a block become real
//! when they are written, as huge pages where the system has them. A small matrix starts in a small block. A matrix may
//! also *borrow* its rows from a mapped file; then it is read-only. Or it *adopts* them from a private mapping of a file, and goes on from
//! there: the first rows are pages of the file until they are written to, later ones are blocks of its own. Or several files *lend* it their
//! rows, which stay as they are, and it appends others to them.

mod lent;

pub(crate) use lent::LENT_ROWS;

use crate::error::{Error, Result};
use crate::runtime::Pages;
use crate::vectors::aligned::Line;
use bytemuck::Pod;
use memmap2::MmapMut;
use std::io::{self, Read, Write};
use std::sync::Arc;

/// The size at which small blocks end; also the size of a huge page.
const SMALL_BYTES: usize = 2 << 20;
/// The size of a large block, unless a single row needs more.
const BLOCK_BYTES: usize = 64 << 20;

/// The number of f32 that a row of `dim` values takes, so that every row starts on a cache line and no kernel has a rest.
pub(crate) fn aligned_width(dim: usize) -> usize {
    dim.next_multiple_of(16)
}

/// Whose bytes a matrix reads.
pub(crate) type Lender = Arc<dyn AsRef<[u8]> + Send + Sync>;

enum Memory {
    /// One block on the heap, growing by doubling.
    Small(Vec<Line>),
    /// Anonymous mappings, each of `block_rows` rows.
    Blocks(Vec<MmapMut>),
    /// Pages that are ours alone, and blocks for the rows behind them.
    Adopted(#[expect(dead_code, reason = "keeps the mapping alive")] Pages, Vec<MmapMut>),
    /// The rows of several lenders, in blocks of [`LENT_ROWS`]; what does not fill one is copied to a block of our own.
    Lent {
        #[expect(dead_code, reason = "keeps the mappings alive")]
        lenders: Vec<Lender>,
        is_lent: Vec<bool>,
        blocks: Vec<MmapMut>,
    },
    /// Somebody else's bytes. Kept for its lifetime only.
    Borrowed(#[expect(dead_code, reason = "keeps the mapping alive")] Lender),
}

/// `len` rows of `width` values each.
pub(crate) struct Matrix<T> {
    width: usize,
    len: usize,
    capacity: usize,
    /// log2 of the rows in a block; the row `i` is row `i & mask` of block `i >> shift`.
    shift: u32,
    mask: usize,
    bases: Vec<*mut T>,
    memory: Memory,
}

// SAFETY: the pointers in `bases` point into `memory`, which the matrix owns (or keeps alive), and are written through
// only by methods that take `&mut self`. So a matrix is as shareable as the values in it, and those are plain data.
unsafe impl<T: Pod + Send> Send for Matrix<T> {}
// SAFETY: as above.
unsafe impl<T: Pod + Sync> Sync for Matrix<T> {}

impl<T: Pod> Matrix<T> {
    /// No rows yet, of `width` values.
    pub(crate) fn new(width: usize) -> Matrix<T> {
        assert!(width > 0 && align_of::<T>() <= align_of::<Line>());
        let shift = (BLOCK_BYTES / (width * size_of::<T>())).max(1).ilog2();
        Matrix {
            width,
            len: 0,
            capacity: 0,
            shift,
            mask: (1 << shift) - 1,
            bases: Vec::new(),
            memory: Memory::Small(Vec::new()),
        }
    }

    /// The rows in `bytes`, which stay where they are. The matrix is read-only: methods that change it panic.
    pub(crate) fn borrowed(width: usize, lender: Lender) -> Matrix<T> {
        let mut matrix = Matrix::new(width);
        let bytes: &[u8] = (*lender).as_ref();
        assert!(bytes.as_ptr().cast::<T>().is_aligned());
        matrix.len = bytes.len() / matrix.row_bytes();
        matrix.shift = usize::BITS - 1;
        matrix.mask = usize::MAX >> 1;
        matrix.bases = vec![bytes.as_ptr().cast::<T>().cast_mut()];
        matrix.memory = Memory::Borrowed(lender);
        matrix
    }

    /// The rows in `pages`, which are read when they are first looked at. What is written stays here and never comes to the file.
    pub(crate) fn adopted(width: usize, pages: Pages) -> Matrix<T> {
        let mut matrix = Matrix::new(width);
        let (start, block_bytes) = (pages.as_mut_ptr(), matrix.row_bytes() << matrix.shift);
        assert!(start.cast::<T>().is_aligned());
        matrix.len = pages.len() / matrix.row_bytes();
        matrix.capacity = matrix.len;
        matrix.bases = (0..matrix.len.div_ceil(matrix.mask + 1))
            // Within the pages: each block but the last is whole.
            .map(|block| start.wrapping_add(block * block_bytes).cast::<T>())
            .collect();
        matrix.memory = Memory::Adopted(pages, Vec::new());
        matrix
    }

    /// `len` rows of zeros.
    pub(crate) fn zeros(width: usize, len: usize) -> Result<Matrix<T>> {
        let mut matrix = Matrix::new(width);
        matrix.try_reserve(len)?;
        matrix.len = len;
        Ok(matrix)
    }

    /// Replaces all rows by what `source` gives.
    pub(crate) fn fill_from(&mut self, source: &mut dyn Read) -> io::Result<()> {
        let mut row = 0;
        while row < self.len {
            let count = (self.len - row).min(self.mask + 1 - (row & self.mask));
            source.read_exact(bytemuck::cast_slice_mut(self.run_mut(row, count)))?;
            row += count;
        }
        Ok(())
    }

    /// Writes all rows, one after another.
    pub(crate) fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        self.write_first(self.len, out)
    }

    /// Writes the first `len` rows, one after another.
    pub(crate) fn write_first(&self, len: usize, out: &mut dyn Write) -> io::Result<()> {
        let mut row = 0;
        while row < len {
            let count = (len - row).min((self.mask - (row & self.mask)).saturating_add(1));
            out.write_all(bytemuck::cast_slice(self.run(row, count)))?;
            row += count;
        }
        Ok(())
    }

    /// A matrix of its own with the same rows.
    pub(crate) fn try_clone(&self) -> Result<Matrix<T>> {
        let mut copy = Matrix::new(self.width);
        copy.try_reserve(self.len)?;
        for row in 0..self.len {
            copy.push(self.row(row));
        }
        Ok(copy)
    }

    /// The number of rows.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Values a row.
    #[inline(always)]
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Bytes that the rows take.
    pub(crate) fn bytes(&self) -> usize {
        self.len * self.row_bytes()
    }

    fn row_bytes(&self) -> usize {
        self.width * size_of::<T>()
    }

    /// Makes room for `additional` rows; after this, as many pushes cannot fail.
    pub(crate) fn try_reserve(&mut self, additional: usize) -> Result<()> {
        let wanted = self.len.saturating_add(additional);
        if wanted <= self.capacity {
            return Ok(());
        }
        let needed = additional.saturating_mul(self.row_bytes());
        let failed = || Error::out_of_memory("adding rows", needed);
        if wanted.saturating_mul(self.row_bytes()) <= SMALL_BYTES.min((self.mask + 1).saturating_mul(self.row_bytes()))
            && matches!(self.memory, Memory::Small(_))
        {
            return self.grow_small(wanted).ok_or_else(failed);
        }
        self.leave_small().ok_or_else(failed)?;
        self.leave_last_page().ok_or_else(failed)?;
        while self.capacity < wanted {
            self.add_block().ok_or_else(failed)?;
        }
        Ok(())
    }

    fn grow_small(&mut self, wanted: usize) -> Option<()> {
        let row_bytes = self.row_bytes();
        let Memory::Small(lines) = &mut self.memory else { return None };
        let most = SMALL_BYTES / row_bytes;
        let rows = wanted.max(2 * self.capacity).clamp(1, most.max(wanted));
        let wanted_lines = (rows * row_bytes).div_ceil(size_of::<Line>());
        lines.try_reserve_exact(wanted_lines - lines.len()).ok()?;
        lines.resize(wanted_lines, Line::ZERO);
        self.capacity = rows.min(self.mask + 1);
        self.bases = vec![lines.as_mut_ptr().cast()];
        Some(())
    }

    /// Moves the rows from the small block, if there is one, to the first large one.
    fn leave_small(&mut self) -> Option<()> {
        if !matches!(self.memory, Memory::Small(_)) {
            return Some(());
        }
        let mut block = new_block(self.block_bytes()?)?;
        let used = self.len * self.row_bytes();
        if let Memory::Small(lines) = &self.memory {
            block[..used].copy_from_slice(&bytemuck::cast_slice::<Line, u8>(lines)[..used]);
        }
        self.bases = vec![block.as_mut_ptr().cast()];
        self.memory = Memory::Blocks(vec![block]);
        self.capacity = self.mask + 1;
        Some(())
    }

    /// Moves the last rows of adopted pages, if they end within a block, to a block of their own, so that others can follow them.
    fn leave_last_page(&mut self) -> Option<()> {
        let rest = self.capacity & self.mask;
        if rest == 0 || !matches!(self.memory, Memory::Adopted(..)) {
            return Some(());
        }
        let mut block = new_block(self.block_bytes()?)?;
        let first = self.capacity - rest;
        if self.len > first {
            let rows: &[u8] = bytemuck::cast_slice(self.run(first, self.len - first));
            block[..rows.len()].copy_from_slice(rows);
        }
        *self.bases.last_mut()? = block.as_mut_ptr().cast();
        let Memory::Adopted(_, blocks) = &mut self.memory else { return None };
        blocks.push(block);
        self.capacity = first + self.mask + 1;
        Some(())
    }

    fn add_block(&mut self) -> Option<()> {
        let bytes = self.block_bytes()?;
        // Where blocks are small, for the sake of lenders, several are made at once.
        let count = if matches!(self.memory, Memory::Lent { .. }) { (BLOCK_BYTES / bytes).max(1) } else { 1 };
        let mut block = new_block(bytes.checked_mul(count)?)?;
        let start = block.as_mut_ptr();
        match &mut self.memory {
            Memory::Blocks(blocks) | Memory::Adopted(_, blocks) => blocks.push(block),
            Memory::Lent { is_lent, blocks, .. } => {
                is_lent.resize(is_lent.len() + count, false);
                blocks.push(block);
            }
            Memory::Small(_) | Memory::Borrowed(_) => return None,
        }
        // Within the block, which has room for so many.
        self.bases.extend((0..count).map(|i| start.wrapping_add(i * bytes).cast::<T>()));
        self.capacity += count * (self.mask + 1);
        Some(())
    }

    fn block_bytes(&self) -> Option<usize> {
        self.row_bytes().checked_mul(self.mask + 1)
    }

    /// Appends a row; values beyond the end of `row` are zero.
    ///
    /// # Panics
    /// If room has not been reserved, or `row` is longer than a row.
    pub(crate) fn push(&mut self, row: &[T]) {
        assert!(self.len < self.capacity, "push without reserve");
        self.len += 1;
        let to = self.run_mut(self.len - 1, 1);
        to[..row.len()].copy_from_slice(row);
        to[row.len()..].fill(T::zeroed());
    }

    /// Forgets the rows from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Row `i`.
    #[inline]
    pub(crate) fn row(&self, i: usize) -> &[T] {
        assert!(i < self.len, "row {i} of {}", self.len);
        // SAFETY: i < len.
        unsafe { self.row_unchecked(i) }
    }

    /// Row `i`, to be written to.
    pub(crate) fn row_mut(&mut self, i: usize) -> &mut [T] {
        self.run_mut(i, 1)
    }

    /// Lets two rows change places.
    pub(crate) fn swap(&mut self, a: usize, b: usize) {
        let [a, b] = [a, b].map(|row| self.row_mut(row).as_mut_ptr());
        if a != b {
            // SAFETY: both are rows of `width` values that may be written to, and rows do not overlap.
            unsafe { std::ptr::swap_nonoverlapping(a, b, self.width) };
        }
    }

    /// The first value of row `i`.
    #[inline]
    pub(crate) fn first(&self, i: usize) -> T {
        self.row(i)[0]
    }

    /// Row `i`, unchecked.
    ///
    /// # Safety
    /// `i` must be less than [`len`](Matrix::len).
    #[inline(always)]
    pub(crate) unsafe fn row_unchecked(&self, i: usize) -> &[T] {
        // SAFETY: every row below `len` lies within the block that `bases` names for it.
        unsafe { std::slice::from_raw_parts(self.address_unchecked(i), self.width) }
    }

    /// The address of row `i`, for prefetching and for kernels.
    ///
    /// # Safety
    /// `i` must be less than [`len`](Matrix::len).
    #[inline(always)]
    pub(crate) unsafe fn address_unchecked(&self, i: usize) -> *const T {
        // SAFETY: i < len, so its block exists and has that row.
        unsafe { self.bases.get_unchecked(i >> self.shift).add((i & self.mask) * self.width).cast_const() }
    }

    /// `count` rows from `start` on; they must lie in one block.
    pub(crate) fn run(&self, start: usize, count: usize) -> &[T] {
        assert!(count > 0 && start + count <= self.len && self.same_block(start, start + count - 1));
        // SAFETY: the rows exist and follow each other in one block.
        unsafe { std::slice::from_raw_parts(self.address_unchecked(start), count * self.width) }
    }

    /// As [`run`](Matrix::run), to be written to.
    pub(crate) fn run_mut(&mut self, start: usize, count: usize) -> &mut [T] {
        assert!(count > 0 && start + count <= self.len && self.same_block(start, start + count - 1));
        assert!(!self.is_read_only(start), "borrowed rows are read-only");
        // SAFETY: the rows exist and follow each other in one block of our own, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.address_unchecked(start).cast_mut(), count * self.width) }
    }

    /// Whether the block of this row is somebody else's.
    fn is_read_only(&self, row: usize) -> bool {
        match &self.memory {
            Memory::Borrowed(_) => true,
            Memory::Lent { is_lent, .. } => is_lent[row >> self.shift],
            _ => false,
        }
    }

    fn same_block(&self, a: usize, b: usize) -> bool {
        a >> self.shift == b >> self.shift
    }

    /// Whether the rows belong to somebody else.
    #[cfg(test)]
    pub(crate) fn is_borrowed(&self) -> bool {
        matches!(self.memory, Memory::Borrowed(_))
    }
}

/// An anonymous mapping: zeros, not there until written.
fn new_block(bytes: usize) -> Option<MmapMut> {
    let block = MmapMut::map_anon(bytes).ok()?;
    #[cfg(target_os = "linux")]
    // Only advice: a system without huge pages goes on with small ones.
    let _ = block.advise(memmap2::Advice::HugePage);
    Some(block)
}

#[cfg(test)]
mod suite;
