//! Heads before queries: what a scan does with every block.
//!
//! Some blocks meet some queries at once. Of each pair come the inner products of the codes, the values that follow from them, and which rows reach the limit
//! of the query. What does not change from block to block is found before the first: of the queries in [`Wanted`], of the plane in [`Heads`].

use super::{Coding, Plane, PlaneQuery, Purpose};
use crate::kernel::{BLOCK_ROWS, Columns, SIGN_TABLES, Weights, nibble_products, row_values, sign_products};
use crate::simd::Simd;
use crate::vectors::Matrix;
use crate::vectors::aligned::Aligned;

impl PlaneQuery {
    /// What it shows to blocks, and how much of that at a time: four digits, or the tables of a line.
    fn shown(&self, purpose: Purpose) -> (&[u8], usize) {
        match purpose {
            Purpose::Certify => (bytemuck::cast_slice(&self.digits), 4),
            Purpose::Estimate => (&self.tables, SIGN_TABLES),
        }
    }
}

impl Coding {
    /// Bytes that a query shows.
    fn shown_bytes(&self) -> usize {
        match self.purpose {
            Purpose::Certify => self.width(),
            Purpose::Estimate => self.head_lines() * SIGN_TABLES,
        }
    }
}

/// What some queries show to blocks, side by side, piece after piece. It begins on a cache line: every look into a table that lies
/// across two of them takes twice as long.
pub(crate) struct Panel(Aligned<u8>);

impl Panel {
    /// What up to `lanes` queries show; lanes without a query are zero.
    pub(crate) fn new(queries: &[PlaneQuery], purpose: Purpose, lanes: usize) -> Panel {
        let (length, piece) =
            queries.first().map_or((0, 1), |query| (query.shown(purpose).0.len(), query.shown(purpose).1));
        let mut panel = Aligned::zeros(length * lanes);
        for (q, query) in queries.iter().enumerate() {
            let pieces = query.shown(purpose).0.chunks_exact(piece);
            for (to, from) in panel.chunks_exact_mut(piece * lanes).zip(pieces) {
                to[q * piece..][..piece].copy_from_slice(from);
            }
        }
        Panel(panel)
    }
}

/// What the queries of a panel ask of the rows of a block.
pub(crate) struct Wanted<'a, const Q: usize> {
    panel: &'a Panel,
    sums: [i32; Q],
    weights: [Weights; Q],
    limits: [f32; Q],
}

impl<'a, const Q: usize> Wanted<'a, Q> {
    /// What the first of these queries, one at least, ask for: rows whose value is not below the limit. What passes in lanes without a query means
    /// nothing: no number is below no limit, so something may.
    pub(crate) fn new(panel: &'a Panel, queries: &[PlaneQuery], limits: impl Iterator<Item = f32>) -> Wanted<'a, Q> {
        let weights = [queries[0].weights; Q];
        let mut wanted = Wanted { panel, sums: [0; Q], weights, limits: [f32::INFINITY; Q] };
        for (q, (query, limit)) in queries.iter().zip(limits).take(Q).enumerate() {
            (wanted.sums[q], wanted.weights[q], wanted.limits[q]) = (query.sum, query.weights, limit);
        }
        wanted
    }
}

/// What comes of a block and the queries of a panel.
#[derive(Clone, Copy)]
pub(crate) struct Met<const Q: usize> {
    /// The inner products of levels, or, for estimates, of signs.
    pub(crate) products: [[i32; BLOCK_ROWS]; Q],
    pub(crate) values: [[f32; BLOCK_ROWS]; Q],
    /// Which rows reach the limit.
    pub(crate) passing: [u32; Q],
}

/// The heads of a plane, to be met. `SIGNS`: they are those of estimates.
pub(crate) struct Heads<'a, const SIGNS: bool> {
    blocks: &'a Matrix<u8>,
    lines: usize,
    has_constant: bool,
    shown_bytes: usize,
}

impl<'a, const SIGNS: bool> Heads<'a, SIGNS> {
    pub(crate) fn new(plane: &'a Plane) -> Heads<'a, SIGNS> {
        let (coding, blocks) = (&*plane.coding, &plane.blocks);
        assert!(SIGNS == (coding.purpose == Purpose::Estimate) && blocks.width() == coding.block_bytes());
        assert!(blocks.len() == 0 || blocks.row(0).as_ptr().cast::<u32>().is_aligned());
        let (lines, has_constant, shown_bytes) = (coding.head_lines(), coding.has_constant(), coding.shown_bytes());
        Heads { blocks, lines, has_constant, shown_bytes }
    }

    /// Shows these blocks what the queries of a panel ask for.
    #[inline(always)]
    pub(crate) fn meet<S: Simd, const R: usize, const Q: usize>(
        &self,
        simd: S,
        blocks: [usize; R],
        wanted: &Wanted<'_, Q>,
    ) -> [Met<Q>; R] {
        let panel: &[u8] = &wanted.panel.0;
        assert!(panel.len() >= self.shown_bytes * Q);
        let mut heads = [std::ptr::null(); R];
        for r in 0..R {
            assert!(blocks[r] < self.blocks.len());
            // SAFETY: there is such a block.
            heads[r] = unsafe { self.blocks.address_unchecked(blocks[r]) };
        }
        // SAFETY: every block begins with `lines` lines, and of the panel there is what Q queries show to them: for each line and query SIGN_TABLES bytes, or
        // eight values.
        let products = unsafe {
            if SIGNS {
                sign_products::<S, R, Q>(simd, heads, panel.as_ptr(), self.lines)
            } else {
                nibble_products::<S, R, Q>(simd, heads, panel.as_ptr().cast(), wanted.sums, self.lines)
            }
        };
        let nothing = Met { products: [[0; BLOCK_ROWS]; Q], values: [[0.0; BLOCK_ROWS]; Q], passing: [0; Q] };
        let mut met = [nothing; R];
        for r in 0..R {
            // SAFETY: the block is borrowed, and of the width that its coding asks for.
            let columns = unsafe { self.columns(heads[r]) };
            let (values, passing) = row_values(simd, &products[r], columns, &wanted.weights, &wanted.limits);
            met[r] = Met { products: products[r], values, passing };
        }
        met
    }

    /// The numbers of the rows of a block.
    ///
    /// # Safety
    /// `block` must be the address of one, and valid for `'b`.
    #[inline(always)]
    unsafe fn columns<'b>(&self, block: *const u8) -> Columns<'b> {
        // SAFETY: blocks are whole cache lines, and the first is aligned. Behind the codes lie a scale for each row, a constant if there are any, and lengths
        // unless scale and error share a word.
        unsafe {
            let first = block.add(self.lines * 64).cast::<[u32; BLOCK_ROWS]>();
            Columns {
                scale: &*first,
                scale_with_error: SIGNS,
                constant: if self.has_constant { Some(&*first.add(1)) } else { None },
                lengths: if SIGNS { None } else { Some(&*first.add(1 + usize::from(self.has_constant))) },
            }
        }
    }
}
