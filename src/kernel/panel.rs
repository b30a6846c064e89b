//! Several rows against a panel of queries at once: the inner loop of a batch search.
//!
//! A lane is a query. The panel holds its queries transposed (value 0 of every query, value 1 of every query, ...), so
//! one load brings the same column of all of them, and one value of a row, broadcast, serves them all. Rows are read
//! as they lie; nothing is repacked. Six rows by two registers make twelve independent chains, enough to keep both
//! arithmetic units of today's cores busy and few enough for sixteen registers.

use super::Pairing;
use crate::simd::{Simd, prefetch_far};

/// How many rows a call takes.
pub(crate) const PANEL_ROWS: usize = 6;

/// The values in a line of the cache.
const LINE: usize = 16;

/// Writes `queries` (each `dim` long) into `packed` as a panel of `lanes` queries: `packed[column * lanes + query]`.
/// Lanes without a query stay zero. `packed` must hold `dim * lanes` values.
pub(crate) fn pack_queries<'q>(queries: impl Iterator<Item = &'q [f32]>, lanes: usize, packed: &mut [f32]) {
    packed.fill(0.0);
    for (lane, query) in queries.enumerate().take(lanes) {
        for (column, &value) in packed.chunks_exact_mut(lanes).zip(query) {
            column[lane] = value;
        }
    }
}

/// The sums of [`PANEL_ROWS`] rows with the `W * LANES` queries of a panel, in f32.
/// Each is one chain of `dim` additions: the error bound of [`dot`](super::dot()), or of whatever `P` makes of a pair, holds. Rows that are `coming`
/// next are asked for meanwhile, as by [`stream_sums`](super::stream_sums).
///
/// # Safety
/// Each row must be valid for reads of `dim` values, `packed` for `dim * W * LANES`.
#[inline(always)]
pub(crate) unsafe fn panel<S: Simd, P: Pairing, const W: usize>(
    simd: S,
    rows: [*const f32; PANEL_ROWS],
    dim: usize,
    packed: *const f32,
    coming: Option<[*const f32; PANEL_ROWS]>,
) -> [[S::F32; W]; PANEL_ROWS] {
    let mut sums = [[simd.zero(); W]; PANEL_ROWS];
    for column in 0..dim {
        if let Some(coming) = coming
            && column.is_multiple_of(LINE)
        {
            for row in coming {
                prefetch_far(row.wrapping_add(column));
            }
        }
        let mut queries = [simd.zero(); W];
        for (w, query) in queries.iter_mut().enumerate() {
            // SAFETY: column < dim and w < W, so the load ends within dim * W * LANES values.
            *query = unsafe { simd.load(packed.add((column * W + w) * S::LANES)) };
        }
        for (row, sums) in rows.iter().zip(&mut sums) {
            // SAFETY: column < dim, which the caller vouches for.
            let value = simd.splat(unsafe { *row.add(column) });
            for (query, sum) in queries.iter().zip(sums) {
                *sum = P::add(simd, value, *query, *sum);
            }
        }
    }
    sums
}
