//! Sums in f64 whose every bit is fixed: eight lanes (lane j takes the elements j, j + 8, j + 16, ...), added up in one tree.
//!
//! Plain Rust on purpose. The language never fuses or reorders floating-point operations, so the bits are the same at
//! every level; the eight independent lanes let the compiler use whatever registers the level has. (The product of two
//! f32 is exact in f64, so for the inner product even a fused multiply-add would give the same bits.)

use super::pairing::Pairing;
use super::{AbsoluteDifference, Product, SquaredDifference};

/// The number of lanes; part of the definition of a score.
const LANES: usize = 8;

#[inline(always)]
fn tree(lanes: [f64; LANES]) -> f64 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// The sum of what the pairs of values add, in f64, for each of `R` pairs of slices. All must have the same length. In a sum each addition
/// waits for the one before it; several sums do not wait for each other.
#[inline(always)]
fn canonical_sums<P: Pairing, const R: usize>(sides: [(&[f32], &[f32]); R]) -> [f64; R] {
    let (len, mut lanes) = (sides[0].0.len(), [[0.0; LANES]; R]);
    let sides = sides.map(|(a, b)| (a[..len].as_chunks::<LANES>(), b[..len].as_chunks::<LANES>()));
    for at in 0..len / LANES {
        for r in 0..R {
            let (x, y) = (sides[r].0.0[at], sides[r].1.0[at]);
            for j in 0..LANES {
                lanes[r][j] += P::exact(f64::from(x[j]), f64::from(y[j]));
            }
        }
    }
    for r in 0..R {
        let (x, y) = (sides[r].0.1, sides[r].1.1);
        for (lane, (&x, &y)) in lanes[r].iter_mut().zip(x.iter().zip(y)) {
            *lane += P::exact(f64::from(x), f64::from(y));
        }
    }
    lanes.map(tree)
}

/// `sum(a[i] * b[i])` in f64. Both slices must have the same length.
#[inline(always)]
pub(crate) fn canonical_dot(a: &[f32], b: &[f32]) -> f64 {
    canonical_dots(a, [b])[0]
}

/// [`canonical_dot`] with each of `rows`.
#[inline(always)]
pub(crate) fn canonical_dots<const R: usize>(a: &[f32], rows: [&[f32]; R]) -> [f64; R] {
    canonical_sums::<Product, R>(rows.map(|row| (a, row)))
}

/// `sum(a[i] * b[i])` and `sum(b[i]^2)` for each b of `rows`, with the bits that [`canonical_dot`] gives them.
#[inline(always)]
pub(crate) fn canonical_dots_and_squares<const R: usize>(a: &[f32], rows: [&[f32]; R]) -> [(f64, f64); R] {
    // One after the other: in one loop, the compiler pairs the two sums of a lane instead of the lanes of a sum.
    let (dots, squares) = (canonical_dots(a, rows), canonical_sums::<Product, R>(rows.map(|row| (row, row))));
    std::array::from_fn(|r| (dots[r], squares[r]))
}

/// `sum((a[i] - b[i])^2)` in f64, subtracted in f64 too, for each b of `rows`. All must have the same length.
#[inline(always)]
pub(crate) fn canonical_squared_l2<const R: usize>(a: &[f32], rows: [&[f32]; R]) -> [f64; R] {
    canonical_sums::<SquaredDifference, R>(rows.map(|row| (a, row)))
}

/// `sum(|a[i] - b[i]|)` in f64, subtracted in f64 too, for each b of `rows`. All must have the same length.
#[inline(always)]
pub(crate) fn canonical_l1<const R: usize>(a: &[f32], rows: [&[f32]; R]) -> [f64; R] {
    canonical_sums::<AbsoluteDifference, R>(rows.map(|row| (a, row)))
}
