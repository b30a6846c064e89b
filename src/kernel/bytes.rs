//! The inner product of rows of bytes.
//!
//! Bytes are numbers, signed or not, on either side. Their products and sums are whole numbers: exact, and the same at every level,
//! for as many as [`MAX_DIM`](crate::MAX_DIM) bytes, of which the signed ones are not below -127. (Products are added up in 32 bits and may
//! wrap around on the way; only the sum has to fit, and the largest of unsigned bytes fits unsigned.)

use crate::simd::{Byte, Simd};

/// Bytes that are read at once.
const LINE: usize = 64;

/// What is added to signed bytes, or taken from others, where registers multiply only one kind with the other.
const SHIFT: i32 = 128;

/// The inner products of `query` with `N` rows as long as it, each made in `C` chains: what is made of the query serves them all, and a lone product
/// is sooner done in two chains, whose additions overlap. `sum` is that of the query, if it is known: where registers shift rows, it says how much too
/// much that makes of a product, which else is found out by the way.
///
/// # Safety
/// Each row must be valid for reads of `query.len()` bytes.
#[inline(always)]
pub(crate) unsafe fn byte_dots<S: Simd, Q: Byte, R: Byte, const N: usize, const C: usize>(
    simd: S,
    query: &[Q],
    sum: Option<i32>,
    rows: [*const R; N],
) -> [i64; N] {
    let mut sums: Sums<_, N, C> = Sums::new(simd);
    let (start, starts, finds_shift) = (query.as_ptr().cast::<u8>(), rows.map(<*const R>::cast::<u8>), sum.is_none());
    let (lines, mut line) = (query.len() / LINE, 0);
    while line + C <= lines {
        for c in 0..C {
            // SAFETY: line + c < lines.
            unsafe { sums.add_line::<S, Q, R>(simd, c, (start, starts), (line + c) * LINE, finds_shift) };
        }
        line += C;
    }
    while line < lines {
        // SAFETY: as the loop says.
        unsafe { sums.add_line::<S, Q, R>(simd, 0, (start, starts), line * LINE, finds_shift) };
        line += 1;
    }
    let (at, rest) = (lines * LINE, query.len() % LINE);
    if rest > 0 {
        let mut codes = [simd.repeat(&[0; 16]); N];
        // SAFETY: `rest` bytes follow, in the query and in every row.
        unsafe {
            for n in 0..N {
                codes[n] = simd.load_codes_partial(starts[n].add(at), rest);
            }
            sums.add::<S, Q, R>(simd, 0, simd.load_codes_partial(start.add(at), rest), codes, finds_shift);
        }
    }
    sums.totals::<S, Q, R>(simd, sum)
}

/// The sums of some rows, and, where rows are shifted, of a row of zeros.
pub(super) struct Sums<T, const N: usize, const C: usize> {
    of_rows: [[T; N]; C],
    of_zeros: [T; C],
}

impl<T: Copy, const N: usize, const C: usize> Sums<T, N, C> {
    /// Sums of nothing.
    #[inline(always)]
    pub(super) fn new<S: Simd<Sums = T>>(simd: S) -> Self {
        Sums { of_rows: [[simd.sums_of(0); N]; C], of_zeros: [simd.sums_of(0); C] }
    }

    /// Whether rows are shifted.
    #[inline(always)]
    fn shifted<S: Simd, Q: Byte, R: Byte>() -> bool {
        S::SHIFTS_ROWS && Q::SIGNED == R::SIGNED
    }

    /// Adds the products of a line of the query with one of each row to chain `c`, and, if what shifting adds is to be found, with zeros.
    #[inline(always)]
    pub(super) fn add<S: Simd<Sums = T>, Q: Byte, R: Byte>(
        &mut self,
        simd: S,
        c: usize,
        query: S::Codes,
        rows: [S::Codes; N],
        finds_shift: bool,
    ) {
        for (sums, row) in self.of_rows[c].iter_mut().zip(rows) {
            *sums = simd.multiply_bytes::<Q, R>(*sums, query, row);
        }
        if Self::shifted::<S, Q, R>() && finds_shift {
            let zeros = simd.repeat(&[0; 16]);
            self.of_zeros[c] = simd.multiply_bytes::<Q, R>(self.of_zeros[c], query, zeros);
        }
    }

    /// As [`add`](Sums::add), of the lines so many bytes behind where the query and the rows begin.
    ///
    /// # Safety
    /// A line must follow there, in all of them.
    #[inline(always)]
    unsafe fn add_line<S: Simd<Sums = T>, Q: Byte, R: Byte>(
        &mut self,
        simd: S,
        c: usize,
        (query, rows): (*const u8, [*const u8; N]),
        at: usize,
        finds_shift: bool,
    ) {
        let mut codes = [simd.repeat(&[0; 16]); N];
        // SAFETY: the caller vouches for a line.
        unsafe {
            for n in 0..N {
                codes[n] = simd.load_codes(rows[n].add(at));
            }
            self.add::<S, Q, R>(simd, c, simd.load_codes(query.add(at)), codes, finds_shift);
        }
    }

    /// The sums, without what shifting added: that was found by the way, or follows from the sum of the query.
    #[inline(always)]
    pub(super) fn totals<S: Simd<Sums = T>, Q: Byte, R: Byte>(self, simd: S, sum: Option<i32>) -> [i64; N] {
        let is_shifted = Self::shifted::<S, Q, R>();
        let known = |sum: i32| sum.wrapping_mul(if Q::SIGNED { SHIFT } else { -SHIFT });
        let (mut totals, mut shift) = ([0i32; N], sum.filter(|_| is_shifted).map_or(0, known));
        for c in 0..C {
            for (sum, &sums) in totals.iter_mut().zip(&self.of_rows[c]) {
                *sum = sum.wrapping_add(total(simd, sums));
            }
            if is_shifted && sum.is_none() {
                shift = shift.wrapping_add(total(simd, self.of_zeros[c]));
            }
        }
        let mut products = [0; N];
        for (out, sum) in products.iter_mut().zip(totals) {
            let product = sum.wrapping_sub(shift);
            *out = if Q::SIGNED || R::SIGNED { i64::from(product) } else { i64::from(product.cast_unsigned()) };
        }
        products
    }
}

#[inline(always)]
pub(super) fn total<S: Simd>(simd: S, sums: S::Sums) -> i32 {
    let mut total = 0i32;
    for sum in simd.to_rows(sums) {
        total = total.wrapping_add(sum);
    }
    total
}
