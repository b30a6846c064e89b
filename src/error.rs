//! The one error that crosses the edge of the crate. Each message says what was expected and what was given.

use std::path::PathBuf;

/// Everything that can go wrong in a call. A call that returns one has changed nothing that anyone can see.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Rows or queries have another dimension than the index.
    #[error("expected vectors of dimension {expected}, got {given}")]
    Dimension {
        /// The dimension of the index.
        expected: usize,
        /// What was handed in.
        given: usize,
    },
    /// A dimension that no index can have.
    #[error("dim must be between 1 and {max}, got {given}", max = crate::MAX_DIM)]
    DimensionRange {
        /// What was asked for.
        given: usize,
    },
    /// A value that is NaN or infinite.
    #[error("row {row}, column {column} is {value}; every value must be a finite float32")]
    NonFinite {
        /// Row in the caller's array.
        row: usize,
        /// Column in that row.
        column: usize,
        /// The value, after conversion to f32.
        value: f32,
    },
    /// A row that is too long for f32 arithmetic.
    #[error(
        "row {row} is too large: its squared norm {norm:e} passes float32 at column {column}; scale the vectors down"
    )]
    NormOverflow {
        /// Row in the caller's array.
        row: usize,
        /// The column at which the running sum passes f32.
        column: usize,
        /// The squared norm.
        norm: f64,
    },
    /// A value that the codec of the index cannot keep.
    #[error("row {row}, column {column} is {value}, which codec '{codec}' cannot keep: {rule}")]
    Unfit {
        /// Row in the caller's array.
        row: usize,
        /// Column in that row.
        column: usize,
        /// The value, after conversion to f32.
        value: f32,
        /// The name of the codec.
        codec: &'static str,
        /// What it can keep, and what to do.
        rule: &'static str,
    },
    /// An id that is there already, or twice in one call.
    #[error("id {0} is already in the index or given twice; use upsert to replace rows")]
    DuplicateId(i64),
    /// An id that is not there.
    #[error("id {0} is not in the index")]
    MissingId(i64),
    /// A negative id.
    #[error("ids must be between 0 and 2**63 - 1, got {id} at position {position}")]
    IdRange {
        /// The id.
        id: i64,
        /// Its place in the caller's array.
        position: usize,
    },
    /// As many ids as rows are needed.
    #[error("expected one id per row: {rows} rows, got {ids} ids")]
    IdCount {
        /// Rows handed in.
        rows: usize,
        /// Ids handed in.
        ids: usize,
    },
    /// A boolean mask of the wrong length.
    #[error("expected a mask with one entry per row of the index ({rows}), got {given}")]
    MaskLength {
        /// Rows in the index.
        rows: usize,
        /// Entries in the mask.
        given: usize,
    },
    /// A selection that was compiled for another index or another state of this one.
    #[error("this selection was compiled for another state of the index; compile it again")]
    StaleSelection,
    /// An argument outside its range.
    #[error("{0}")]
    InvalidArgument(String),
    /// No memory, or more than `max_bytes` allows.
    #[error("{what} needs {needed} bytes, {limit}")]
    Capacity {
        /// What was to be done.
        what: &'static str,
        /// Bytes that it would take.
        needed: u64,
        /// What stands against it.
        limit: String,
    },
    /// A write to an index that is mapped from a file.
    #[error("this index is mapped from a file and read-only; use copy() for one that can change")]
    ReadOnly,
    /// The caller asked the call to stop.
    #[error("interrupted")]
    Interrupted,
    /// A file whose bytes are not what was written.
    #[error("{path}: {what} (in {block})", path = path.display())]
    Corruption {
        /// The file.
        path: PathBuf,
        /// The part of it: `header`, or the name of a section.
        block: String,
        /// What is wrong.
        what: String,
    },
    /// A file of another format version.
    #[error(
        "{path}: file format {found}, this version reads format {supported}; {advice}",
        path = path.display()
    )]
    FormatVersion {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The version that can be read.
        supported: u32,
        /// What to do.
        advice: &'static str,
    },
    /// Somebody else has the right to write.
    #[error("{path}: another writer has this store open ({holder}); close it there, or open it with mode \"r\"",
        path = path.display(), holder = shown_pid(*pid))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that has it, if that could be read.
        pid: Option<u32>,
    },
    /// A sync has failed, or a batch is in the log and could not be applied: nobody knows what is on the disk.
    #[error("{path}: an earlier write failed half-way; reads go on, for writes open the store again", path = path.display())]
    Poisoned {
        /// The file that was being written.
        path: PathBuf,
    },
    /// A write to a store that was opened for reading, or to one that a forked child has from its parent.
    #[error("this store is read-only: {0}")]
    ReadOnlyStore(&'static str),
    /// A store that has been closed.
    #[error("this store is closed")]
    Closed,
    /// A collection that is there already, with another schema or at all.
    #[error("collection {name:?} exists already{what}")]
    CollectionExists {
        /// Its name.
        name: String,
        /// How it differs from what was asked for.
        what: String,
    },
    /// A collection that is not there.
    #[error("there is no collection {0:?}")]
    CollectionNotFound(String),
    /// A key that no row can have.
    #[error("the key at position {position} cannot be one: {what}")]
    InvalidKey {
        /// Its place in the caller's sequence.
        position: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A key that is there already.
    #[error("key {0} is already in the collection or given twice; use upsert to replace rows")]
    DuplicateKey(String),
    /// As many keys, and as many metadata, as rows are needed.
    #[error("expected one of the {what} per row: {rows} rows, got {given}")]
    CountMismatch {
        /// `keys` or `metadata`.
        what: &'static str,
        /// Rows handed in.
        rows: usize,
        /// What came with them.
        given: usize,
    },
    /// Metadata that cannot be kept.
    #[error("the metadata at position {position} cannot be kept: {what}")]
    InvalidMetadata {
        /// Its place in the caller's sequence.
        position: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A filter that says nothing, or too much.
    #[error("filter, at {path}: {what}")]
    Filter {
        /// Where in the filter.
        path: String,
        /// What was expected and what is there.
        what: String,
    },
    /// A directory, or something else, that is not a store.
    #[error("{path}: not a Nearfield store: {what}", path = path.display())]
    NotAStore {
        /// What was to be opened.
        path: PathBuf,
        /// Why it is none.
        what: String,
    },
    /// The disk is full.
    #[error("{path}: no space left on the device", path = path.display())]
    NoSpace {
        /// The file being written.
        path: PathBuf,
    },
    /// Any other answer of the operating system.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

fn shown_pid(pid: Option<u32>) -> String {
    pid.map_or("its process is not known".to_owned(), |pid| format!("process {pid}"))
}

/// A result with the crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Wraps an error of the operating system with the file that it concerns.
    pub(crate) fn io(path: &std::path::Path, source: std::io::Error) -> Error {
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Error::NoSpace { path: path.to_owned() }
            }
            _ => Error::Io { path: path.to_owned(), source },
        }
    }

    /// A failed allocation.
    pub(crate) fn out_of_memory(what: &'static str, needed: usize) -> Error {
        Error::Capacity { what, needed: needed as u64, limit: "which the system did not give".to_owned() }
    }

    /// What was refused to several callers at once, said to one more of them.
    pub(crate) fn for_another(&self) -> Error {
        match self {
            Error::Io { path, source } => {
                let kind = || std::io::Error::new(source.kind(), source.to_string());
                let source = source.raw_os_error().map_or_else(kind, std::io::Error::from_raw_os_error);
                Error::Io { path: path.clone(), source }
            }
            Error::NoSpace { path } => Error::NoSpace { path: path.clone() },
            Error::Poisoned { path } => Error::Poisoned { path: path.clone() },
            Error::Capacity { what, needed, limit } => Error::Capacity { what, needed: *needed, limit: limit.clone() },
            Error::ReadOnlyStore(why) => Error::ReadOnlyStore(why),
            Error::Closed => Error::Closed,
            other => Error::InvalidArgument(other.to_string()),
        }
    }
}
