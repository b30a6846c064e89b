//! How much a checkpoint does: which segments it writes again, and when a graph.

use crate::store::graph::GROWN;
use crate::store::rows::{Rows, Sealed};
use std::collections::BTreeSet;

/// How much a checkpoint does beside writing what is in a log only.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Effort {
    /// Write a segment again of which more than this part is deleted.
    dead: Option<f64>,
    /// Write a graph that has grown by this part since it was last written.
    pub(super) grown: f64,
    /// Leave as few files as possible, and nothing deleted in them.
    all: bool,
}

impl Effort {
    /// What is done when the log has become long.
    pub(in crate::store) fn usual(dead: Option<f64>) -> Effort {
        Effort { dead, grown: 1.0, all: false }
    }

    /// What is done when somebody may be about to leave.
    pub(in crate::store) fn thorough(dead: Option<f64>) -> Effort {
        Effort { grown: GROWN, ..Effort::usual(dead) }
    }

    /// Whatever can be done.
    pub(in crate::store) fn all() -> Effort {
        Effort { dead: None, grown: 0.0, all: true }
    }
}

/// Whether a segment has more deleted rows than is worth keeping.
pub(in crate::store) fn is_mostly_deleted(rows: &Rows, threshold: Option<f64>) -> bool {
    let passes =
        |sealed: &Sealed| threshold.is_some_and(|part| sealed.gone_count as f64 > part * sealed.name.rows as f64);
    rows.segments.values().any(|sealed| sealed.listed && passes(sealed))
}

/// The segments that are to be written again. Only those that a manifest lists: what only logs refer to waits for its turn.
pub(super) fn retired(rows: &Rows, effort: Effort) -> BTreeSet<u64> {
    let listed = || rows.segments.iter().filter(|(_, sealed)| sealed.listed);
    let fresh = rows.fresh_count() as u64;
    if effort.all {
        let several = listed().count() + usize::from(fresh > 0) > 1;
        return listed().filter(|(_, sealed)| several || sealed.gone_count > 0).map(|(file, _)| *file).collect();
    }
    let threshold = effort.dead.unwrap_or(f64::INFINITY);
    let is_poor =
        |sealed: &Sealed| sealed.there() == 0 || sealed.gone_count as f64 > threshold * sealed.name.rows as f64;
    let mut retired: BTreeSet<u64> = listed().filter(|(_, sealed)| is_poor(sealed)).map(|(file, _)| *file).collect();
    let mut total: u64 =
        fresh + listed().filter(|(file, _)| retired.contains(file)).map(|(_, sealed)| sealed.there()).sum::<u64>();
    let mut others: Vec<(u64, u64)> =
        listed().filter(|(file, _)| !retired.contains(file)).map(|(file, sealed)| (sealed.there(), *file)).collect();
    others.sort_unstable();
    for (count, file) in others {
        // So sizes at least double, and a row is written again only once for each doubling.
        if count > 2 * total {
            break;
        }
        total += count;
        retired.insert(file);
    }
    retired
}
