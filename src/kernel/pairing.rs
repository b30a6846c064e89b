//! Sums over pairs: what every kernel here is, whatever it makes of a pair.
//!
//! A metric's kernel walks two vectors side by side, makes a number of each pair of values and adds these numbers up. The
//! walks are written once; what is made of a pair is a [`Pairing`], one in each of the files [`dot`](super::dot()),
//! [`squared_l2`](super::squared_l2()) and [`l1`](super::l1()). It is a type and no closure, so that all of a walk is compiled
//! for the instruction set it runs on.

use crate::simd::{Simd, prefetch_far};

/// What a pair of values adds to a sum. A pair of zeros adds zero, so that padding changes nothing.
pub(crate) trait Pairing: Copy + Send + Sync + 'static {
    /// `sum` and what each lane's pair adds to it, in f32.
    fn add<S: Simd>(simd: S, a: S::F32, b: S::F32, sum: S::F32) -> S::F32;

    /// What one pair adds, in f64.
    fn exact(a: f64, b: f64) -> f64;
}

/// The sum over the shorter of the two, in four independent chains so that the additions overlap.
#[inline(always)]
pub(crate) fn pair_sum<S: Simd, P: Pairing>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let len = a.len().min(b.len());
    let (a, b) = (a.as_ptr(), b.as_ptr());
    let mut sums = [simd.zero(); 4];
    let mut i = 0;
    // SAFETY: every load reads at i.. with i + (values read) <= len, which both slices have.
    unsafe {
        while i + 4 * S::LANES <= len {
            for (j, sum) in sums.iter_mut().enumerate() {
                let at = i + j * S::LANES;
                *sum = P::add(simd, simd.load(a.add(at)), simd.load(b.add(at)), *sum);
            }
            i += 4 * S::LANES;
        }
        while i + S::LANES <= len {
            sums[0] = P::add(simd, simd.load(a.add(i)), simd.load(b.add(i)), sums[0]);
            i += S::LANES;
        }
        if i < len {
            let rest = len - i;
            sums[1] = P::add(simd, simd.load_partial(a.add(i), rest), simd.load_partial(b.add(i), rest), sums[1]);
        }
    }
    simd.sum(simd.add(simd.add(sums[0], sums[1]), simd.add(sums[2], sums[3])))
}

/// The sums of `query` with `R` rows as long as it, side by side: with each row in a stream of its own the memory brings more
/// than one stream alone gets. What is known of the error of one sum holds for each. Rows that are `coming` next are asked for
/// meanwhile, at the pace at which these are read: who asks for all of a long row at once waits until most of it has come.
///
/// # Safety
/// Each row must be valid for reads of `query.len()` values, which must be a multiple of `LANES`.
#[inline(always)]
pub(crate) unsafe fn stream_sums<S: Simd, P: Pairing, const R: usize>(
    simd: S,
    query: &[f32],
    rows: [*const f32; R],
    coming: Option<[*const f32; R]>,
) -> [f32; R] {
    debug_assert!(query.len().is_multiple_of(S::LANES));
    let mut sums = [simd.zero(); R];
    let mut i = 0;
    while i < query.len() {
        // SAFETY: i + LANES <= len, which the query and every row have.
        let values = unsafe { simd.load(query.as_ptr().add(i)) };
        for r in 0..R {
            // SAFETY: as above.
            sums[r] = P::add(simd, values, unsafe { simd.load(rows[r].add(i)) }, sums[r]);
        }
        if let Some(coming) = coming {
            for row in coming {
                prefetch_far(row.wrapping_add(i));
            }
        }
        i += S::LANES;
    }
    let mut totals = [0.0; R];
    for r in 0..R {
        totals[r] = simd.sum(sums[r]);
    }
    totals
}

/// [`stream_sums`] of rows that are seen to be as long as the query.
#[inline(always)]
pub(crate) fn row_sums<S: Simd, P: Pairing, const R: usize>(
    simd: S,
    query: &[f32],
    rows: [&[f32]; R],
    coming: Option<[*const f32; R]>,
) -> [f32; R] {
    assert!(query.len().is_multiple_of(S::LANES) && rows.iter().all(|row| row.len() == query.len()));
    // SAFETY: that is what it takes.
    unsafe { stream_sums::<S, P, R>(simd, query, rows.map(<[f32]>::as_ptr), coming) }
}
