//! Vector search inside the process.
//!
//! [`FlatIndex`] answers exactly, [`HnswIndex`] through a graph; both keep rows under int64 ids, may change while they
//! are searched, and are saved to one checksummed file that can be mapped. The same calls in the same order give the same
//! answers, whatever the number of threads. ARCHITECTURE.md tells how the parts fit together.

#[cfg(target_endian = "big")]
compile_error!("Nearfield's files are little-endian and are used in place");

mod error;
mod index;
mod kernel;
mod runtime;
mod simd;
mod storage;
mod store;
mod vectors;

pub use error::{Error, Result};
pub use index::{
    FlatIndex, GraphCodec, Hits, HnswIndex, HnswParameters, Index, IndexFile, IndexOptions, QuantizedIndex,
    QuantizedParameters, RangeHits, Search, Selection, Stats, Trace,
};
pub use runtime::{Call, Caller};
pub use store::{
    Collection, CollectionStats, Direction, Document, Explanation, Filter, Grouping, Hit, IndexKind, Key, Metadata,
    Mode, OnConflict, Place, Plan, Schema, Store, StoreOptions, StoreSearch, StoreStats, StoredRow, SyncMode, Verified,
};
pub use vectors::{Codec, Metric, RowSource, Rows};

/// The largest dimension that an index can have.
pub const MAX_DIM: usize = 65_535;

/// What an embedding program that forks must call: [`prepare`](fork::prepare) before, [`finish`](fork::finish) after.
pub mod fork {
    pub use crate::runtime::fork::{finish, prepare};
}

/// The name of the instruction set in use: `portable`, `avx2`, `avx512` or `neon`.
pub fn simd_level() -> &'static str {
    simd::Level::detect().name()
}
