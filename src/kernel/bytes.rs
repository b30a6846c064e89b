//! The inner product of rows of bytes.
//!
//! Bytes are numbers, signed or not, on either side. Their products and sums are whole numbers: exact, and the same at every level,
//! for as many as [`MAX_DIM`](crate::MAX_DIM) bytes, of which the signed ones are not below -127. (Products are added up in 32 bits and may
//! wrap around on the way; only the sum has to fit, and the largest of unsigned bytes fits unsigned.)

use crate::simd::{Byte, Simd};

/// Bytes that are read at once.
const LINE: usize = 64;

/// `sum(a[i] * b[i])` over the shorter of the two.
#[inline(always)]
pub(crate) fn byte_dot<S: Simd, A: Byte, B: Byte>(simd: S, a: &[A], b: &[B]) -> i64 {
    let len = a.len().min(b.len());
    // SAFETY: both have so many. A lone sum is made in two chains, so that the additions overlap.
    let [product] = unsafe { products::<S, A, B, 1, 2>(simd, &a[..len], [b.as_ptr()]) };
    product
}

/// The inner products of `query` with `N` rows as long as it, side by side: what is made of the query serves them all.
///
/// # Safety
/// Each row must be valid for reads of `query.len()` bytes.
#[inline(always)]
#[cfg_attr(not(test), expect(dead_code, reason = "for graphs over rows of bytes"))]
pub(crate) unsafe fn byte_dots<S: Simd, Q: Byte, R: Byte, const N: usize>(
    simd: S,
    query: &[Q],
    rows: [*const R; N],
) -> [i64; N] {
    // SAFETY: the caller vouches for the rows.
    unsafe { products::<S, Q, R, N, 1>(simd, query, rows) }
}

/// The inner products of a query with `N` rows, each made in `C` chains.
///
/// # Safety
/// As for [`byte_dots`].
#[inline(always)]
unsafe fn products<S: Simd, Q: Byte, R: Byte, const N: usize, const C: usize>(
    simd: S,
    query: &[Q],
    rows: [*const R; N],
) -> [i64; N] {
    let mut sums: Sums<_, N, C> = Sums::new(simd);
    let zeros = simd.repeat(&[0; 16]);
    let (bytes, mut lines, mut i) = (query.as_ptr().cast::<u8>(), [zeros; N], 0);
    while i + LINE <= query.len() {
        // The chains by turns; those that are left over begin again with the first.
        for c in 0..C {
            if i + LINE <= query.len() {
                // SAFETY: 64 bytes follow, in the query and in every row.
                unsafe {
                    for n in 0..N {
                        lines[n] = simd.load_codes(rows[n].cast::<u8>().add(i));
                    }
                    sums.add::<S, Q, R>(simd, c, simd.load_codes(bytes.add(i)), lines);
                }
                i += LINE;
            }
        }
    }
    let rest = query.len() - i;
    if rest > 0 {
        // SAFETY: `rest` bytes follow, in the query and in every row.
        unsafe {
            for n in 0..N {
                lines[n] = simd.load_codes_partial(rows[n].cast::<u8>().add(i), rest);
            }
            sums.add::<S, Q, R>(simd, 0, simd.load_codes_partial(bytes.add(i), rest), lines);
        }
    }
    sums.totals::<S, Q, R>(simd)
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
        Sums { of_rows: [[simd.no_sums(); N]; C], of_zeros: [simd.no_sums(); C] }
    }

    /// Whether rows are shifted.
    #[inline(always)]
    fn shifted<S: Simd, Q: Byte, R: Byte>() -> bool {
        S::SHIFTS_ROWS && Q::SIGNED == R::SIGNED
    }

    /// Adds the products of a line of the query with one of each row to chain `c`.
    #[inline(always)]
    pub(super) fn add<S: Simd<Sums = T>, Q: Byte, R: Byte>(
        &mut self,
        simd: S,
        c: usize,
        query: S::Codes,
        rows: [S::Codes; N],
    ) {
        for (sums, row) in self.of_rows[c].iter_mut().zip(rows) {
            *sums = simd.multiply_bytes::<Q, R>(*sums, query, row);
        }
        if Self::shifted::<S, Q, R>() {
            let zeros = simd.repeat(&[0; 16]);
            self.of_zeros[c] = simd.multiply_bytes::<Q, R>(self.of_zeros[c], query, zeros);
        }
    }

    #[inline(always)]
    pub(super) fn totals<S: Simd<Sums = T>, Q: Byte, R: Byte>(self, simd: S) -> [i64; N] {
        let (mut totals, mut shift) = ([0i32; N], 0i32);
        for c in 0..C {
            for (sum, &sums) in totals.iter_mut().zip(&self.of_rows[c]) {
                *sum = sum.wrapping_add(total(simd, sums));
            }
            if Self::shifted::<S, Q, R>() {
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
