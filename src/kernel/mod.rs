//! One operation a file, each written once over [`Simd`](crate::simd::Simd) and compiled for every instruction set.
//!
//! Three families live here. The *fast* kernels ([`dot`], [`squared_l2`], [`panel`]) work in f32 and decide which rows are
//! worth a closer look. Those on *codes* ([`code_products`]) work in integers, and are exact. The *canonical* ones ([`canonical`]) work in f64 with a fixed order of additions, so that
//! every processor, batch size and path returns the same bits; all scores that leave the crate come from them.

mod canonical;
mod codes;
mod dot;
mod l2;
mod panel;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod suite;

pub(crate) use canonical::{canonical_dot, canonical_dot_and_square, canonical_squared_l2};
pub(crate) use codes::{
    BLOCK_ROWS, Columns, Digit, FourBits, OneBit, TwoBits, Weights, append_digits, code_products, line_dims,
    pack_digits, rows_not_below,
};
pub(crate) use dot::{dot, dot_streams};
pub(crate) use l2::squared_l2;
pub(crate) use panel::{PANEL_ROWS, pack_queries, panel};
