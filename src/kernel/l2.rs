//! The squared Euclidean distance in f32.

use crate::simd::Simd;

/// `sum((a[i] - b[i])^2)` over the shorter of the two. The relative error is at most `gamma_(n + 2)`: differences are
/// taken before they are squared, so nothing cancels.
#[inline(always)]
pub(crate) fn squared_l2<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let len = a.len().min(b.len());
    let (a, b) = (a.as_ptr(), b.as_ptr());
    let mut sums = [simd.zero(); 4];
    let mut i = 0;
    // SAFETY: every load reads at i.. with i + (values read) <= len, which both slices have.
    unsafe {
        while i + 4 * S::LANES <= len {
            for (j, sum) in sums.iter_mut().enumerate() {
                let at = i + j * S::LANES;
                let difference = simd.sub(simd.load(a.add(at)), simd.load(b.add(at)));
                *sum = simd.mul_add(difference, difference, *sum);
            }
            i += 4 * S::LANES;
        }
        while i + S::LANES <= len {
            let difference = simd.sub(simd.load(a.add(i)), simd.load(b.add(i)));
            sums[0] = simd.mul_add(difference, difference, sums[0]);
            i += S::LANES;
        }
        if i < len {
            let rest = len - i;
            let difference = simd.sub(simd.load_partial(a.add(i), rest), simd.load_partial(b.add(i), rest));
            sums[1] = simd.mul_add(difference, difference, sums[1]);
        }
    }
    simd.sum(simd.add(simd.add(sums[0], sums[1]), simd.add(sums[2], sums[3])))
}
