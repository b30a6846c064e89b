//! One operation a file, each written once over [`Simd`](crate::simd::Simd) and compiled for every instruction set.
//!
//! Two families live here. The *fast* kernels ([`dot`], [`squared_l2`], [`l1`], [`panel`]) work in f32 and decide which rows are
//! worth a closer look. The *canonical* ones ([`canonical`]) work in f64 with a fixed order of additions, so that
//! every processor, batch size and path returns the same bits; all scores that leave the crate come from them. Both are
//! sums over pairs, told apart by a [`Pairing`]. Rows of bits have a kernel that is both, [`hamming`].

mod canonical;
mod dot;
mod hamming;
mod l1;
mod l2;
mod pairing;
mod panel;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod suite;

pub(crate) use canonical::{canonical_dot, canonical_l1, canonical_squared_l2};
pub(crate) use dot::{Product, dot};
pub(crate) use hamming::{BIT_LANES, BitPanel, hamming, hamming_panel, pack_bits};
pub(crate) use l1::{AbsoluteDifference, l1};
pub(crate) use l2::{SquaredDifference, squared_l2};
pub(crate) use pairing::{Pairing, pair_sum, stream_sums};
pub(crate) use panel::{PANEL_ROWS, pack_queries, panel};
