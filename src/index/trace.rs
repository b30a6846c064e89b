//! Which way a search went, noted down for whoever asks.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What searches did. Each query is counted once, however many threads it was looked at by.
#[derive(Debug, Default)]
pub struct Trace {
    walks: AtomicUsize,
    gathers: AtomicUsize,
    scans: AtomicUsize,
    eligible: AtomicUsize,
}

impl Trace {
    /// Queries that were answered by a walk through a graph.
    pub fn walks(&self) -> usize {
        self.walks.load(Relaxed)
    }

    /// Queries for which the codes of all rows that may be returned were looked at.
    pub fn gathers(&self) -> usize {
        self.gathers.load(Relaxed)
    }

    /// Queries for which all rows that may be returned were looked at.
    pub fn scans(&self) -> usize {
        self.scans.load(Relaxed)
    }

    /// How many rows might be returned, by the last search.
    pub fn eligible(&self) -> usize {
        self.eligible.load(Relaxed)
    }

    pub(super) fn walked(&self, queries: usize) {
        self.walks.fetch_add(queries, Relaxed);
    }

    pub(super) fn gathered(&self, queries: usize) {
        self.gathers.fetch_add(queries, Relaxed);
    }

    pub(super) fn scanned(&self, queries: usize) {
        self.scans.fetch_add(queries, Relaxed);
    }

    pub(super) fn had(&self, eligible: usize) {
        self.eligible.store(eligible, Relaxed);
    }
}
