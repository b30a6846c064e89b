//! From half precision to f32.

use crate::simd::Simd;

/// The most that a register holds.
const MOST_LANES: usize = 16;

/// Writes the values of `halves` (IEEE 754 binary16, little-endian) to `values`; as many as the shorter of the two has. Every half is the
/// same bits at every level, infinities and NaN too.
#[inline(always)]
pub(crate) fn read_halves<S: Simd>(simd: S, halves: &[[u8; 2]], values: &mut [f32]) {
    let len = halves.len().min(values.len());
    let whole = len - len % S::LANES;
    for i in (0..whole).step_by(S::LANES) {
        // SAFETY: i + LANES <= len, which both have.
        unsafe { simd.store(simd.load_half(halves.as_ptr().add(i).cast()), values.as_mut_ptr().add(i)) };
    }
    if whole < len {
        let (mut rest, mut out) = ([[0; 2]; MOST_LANES], [0.0; MOST_LANES]);
        rest[..len - whole].copy_from_slice(&halves[whole..len]);
        // SAFETY: both hold at least LANES values.
        unsafe { simd.store(simd.load_half(rest.as_ptr().cast()), out.as_mut_ptr()) };
        values[whole..len].copy_from_slice(&out[..len - whole]);
    }
}
