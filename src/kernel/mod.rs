//! One operation a file, each written once over [`Simd`](crate::simd::Simd) and compiled for every instruction set.
//!
//! Three families live here. The *fast* kernels ([`dot`], [`squared_l2`], [`l1`], [`panel`]) work in f32 and decide which rows
//! are worth a closer look. The *canonical* ones ([`canonical`]) work in f64 with a fixed order of additions, so that every processor,
//! batch size and path returns the same bits; all scores that leave the crate come from them. Both are sums over pairs, told
//! apart by a [`Pairing`]. Those on *codes* ([`nibble_products`], [`sign_products`], [`level_product`]) and on rows of
//! bytes ([`byte_dots`], [`side_dot`]) work in integers and are exact, and so is [`hamming`] on rows of bits. [`read_halves`] only converts.

mod bytes;
mod canonical;
mod columns;
mod dot;
mod halves;
mod hamming;
mod l1;
mod l2;
mod levels;
mod nested;
mod nibbles;
mod pairing;
mod panel;
#[cfg(test)]
mod reference;
mod signs;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod suite_bytes;
#[cfg(test)]
mod suite_codes;
#[cfg(test)]
mod suite_nested;

pub(crate) use bytes::byte_dots;
pub(crate) use canonical::{
    canonical_dot, canonical_dots, canonical_dots_and_squares, canonical_l1, canonical_squared_l2,
};
pub(crate) use columns::{Columns, Weights, row_values};
pub(crate) use dot::{Product, dot};
pub(crate) use halves::read_halves;
pub(crate) use hamming::{BIT_LANES, BitPanel, hamming, hamming_panel, pack_bits};
pub(crate) use l1::{AbsoluteDifference, l1};
pub(crate) use l2::{SquaredDifference, squared_l2};
pub(crate) use levels::{Levels, PLANE_LINE, level_product, order_query, pack_planes, pack_signs, unpack_planes};
pub(crate) use nested::{NESTED_LINE, Nested, Whole, high_dot, pack_nested, side_dot, unpack_nested};
pub(crate) use nibbles::{NIBBLE_LINE, nibble_products, pack_nibbles};
pub(crate) use pairing::{Pairing, pair_sum, row_sums, stream_sums};
pub(crate) use panel::{PANEL_ROWS, pack_queries, panel};
pub(crate) use signs::{SIGN_LINE, SIGN_TABLES, sign_products, sign_tables};

/// The rows of a block of codes.
pub(crate) const BLOCK_ROWS: usize = 16;
