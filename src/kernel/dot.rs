//! The inner product in f32.

use crate::simd::Simd;

/// `sum(a[i] * b[i])` over the shorter of the two, in four independent chains so that the multiply-adds overlap.
///
/// With n values the error is at most `gamma_n * ||a|| * ||b||`, `gamma_n = n u / (1 - n u)`, `u = 2^-24`
/// (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
#[inline(always)]
pub(crate) fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let len = a.len().min(b.len());
    let (a, b) = (a.as_ptr(), b.as_ptr());
    let mut sums = [simd.zero(); 4];
    let mut i = 0;
    // SAFETY: every load reads at i.. with i + (values read) <= len, which both slices have.
    unsafe {
        while i + 4 * S::LANES <= len {
            for (j, sum) in sums.iter_mut().enumerate() {
                let at = i + j * S::LANES;
                *sum = simd.mul_add(simd.load(a.add(at)), simd.load(b.add(at)), *sum);
            }
            i += 4 * S::LANES;
        }
        while i + S::LANES <= len {
            sums[0] = simd.mul_add(simd.load(a.add(i)), simd.load(b.add(i)), sums[0]);
            i += S::LANES;
        }
        if i < len {
            let rest = len - i;
            sums[1] = simd.mul_add(simd.load_partial(a.add(i), rest), simd.load_partial(b.add(i), rest), sums[1]);
        }
    }
    simd.sum(simd.add(simd.add(sums[0], sums[1]), simd.add(sums[2], sums[3])))
}

/// The inner products of `query` with `R` rows as long as it, side by side: with each row in a stream of its own the memory
/// brings more than one stream alone gets. The error bound of [`dot`] holds.
///
/// # Safety
/// Each row must be valid for reads of `query.len()` values, which must be a multiple of `LANES`.
#[inline(always)]
pub(crate) unsafe fn dot_streams<S: Simd, const R: usize>(simd: S, query: &[f32], rows: [*const f32; R]) -> [f32; R] {
    debug_assert!(query.len().is_multiple_of(S::LANES));
    let mut sums = [simd.zero(); R];
    let mut i = 0;
    while i < query.len() {
        // SAFETY: i + LANES <= len, which the query and every row have.
        let values = unsafe { simd.load(query.as_ptr().add(i)) };
        for r in 0..R {
            // SAFETY: as above.
            sums[r] = simd.mul_add(values, unsafe { simd.load(rows[r].add(i)) }, sums[r]);
        }
        i += S::LANES;
    }
    let mut products = [0.0; R];
    for r in 0..R {
        products[r] = simd.sum(sums[r]);
    }
    products
}
