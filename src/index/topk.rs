//! The k best of what has been seen, in the one order that all results have: score descending, then id ascending.

use parking_lot::Mutex;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Room that is made for the first row.
const USUAL_K: usize = 16;

/// A row and its canonical score.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scored {
    pub(crate) score: f32,
    pub(crate) id: i64,
}

impl Scored {
    /// Less means better.
    #[inline]
    fn rank(&self, other: &Scored) -> Ordering {
        other.score.total_cmp(&self.score).then(self.id.cmp(&other.id))
    }
}

impl PartialEq for Scored {
    fn eq(&self, other: &Scored) -> bool {
        self.rank(other).is_eq()
    }
}

impl Eq for Scored {}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Scored) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scored {
    fn cmp(&self, other: &Scored) -> Ordering {
        self.rank(other)
    }
}

/// The k best rows whose score is at least a floor.
#[derive(Clone, Debug)]
pub(crate) struct TopK {
    k: usize,
    floor: f32,
    /// The worst on top.
    heap: BinaryHeap<Scored>,
}

impl TopK {
    /// Nothing seen yet.
    pub(crate) fn new(k: usize, floor: f32) -> TopK {
        TopK { k, floor, heap: BinaryHeap::new() }
    }

    /// The score below which no row can enter any more.
    #[inline]
    pub(crate) fn limit(&self) -> f32 {
        match self.heap.peek() {
            Some(worst) if self.heap.len() >= self.k => worst.score,
            _ => self.floor,
        }
    }

    /// Takes a row in, if it is among the best so far. Whether it was.
    #[inline]
    pub(crate) fn push(&mut self, score: f32, id: i64) -> bool {
        let row = Scored { score, id };
        // Not `score < floor`: a NaN, which only a forged file can hold, stays out.
        if self.k == 0 || !matches!(score.partial_cmp(&self.floor), Some(Ordering::Greater | Ordering::Equal)) {
            return false;
        }
        if self.heap.len() < self.k {
            if self.heap.is_empty() {
                // One piece of memory where k is as small as it mostly is.
                self.heap.reserve_exact(self.k.min(USUAL_K));
            }
            self.heap.push(row);
            return true;
        }
        match self.heap.peek_mut() {
            Some(mut worst) if row < *worst => {
                *worst = row;
                true
            }
            _ => false,
        }
    }

    /// Takes in all that `other` holds.
    pub(crate) fn merge(&mut self, other: TopK) {
        for row in other.heap {
            self.push(row.score, row.id);
        }
    }

    /// Best first.
    pub(crate) fn into_sorted(self) -> Vec<Scored> {
        self.heap.into_sorted_vec()
    }
}

/// The best rows for each of some queries, while tasks look for them: in sets of one [`TopK`] a query. A task takes a set, or
/// makes one, and puts it back.
pub(crate) struct Sets {
    queries: usize,
    fresh: TopK,
    sets: Mutex<Vec<Vec<TopK>>>,
}

impl Sets {
    /// Nothing found yet for so many queries; each begins as `fresh`.
    pub(crate) fn new(queries: usize, fresh: TopK) -> Sets {
        Sets { queries, fresh, sets: Mutex::default() }
    }

    /// A set that nobody else has.
    pub(crate) fn take(&self) -> Vec<TopK> {
        self.sets.lock().pop().unwrap_or_else(|| vec![self.fresh.clone(); self.queries])
    }

    /// Puts a set back.
    pub(crate) fn give_back(&self, set: Vec<TopK>) {
        self.sets.lock().push(set);
    }

    /// The best of all sets, query by query.
    pub(crate) fn finish(self) -> Vec<TopK> {
        let mut results = vec![self.fresh; self.queries];
        for set in self.sets.into_inner() {
            for (result, part) in results.iter_mut().zip(set) {
                result.merge(part);
            }
        }
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_out_in_order_and_ties_go_to_the_smaller_id() {
        let rows = [(0.5, 9), (0.7, 3), (0.5, 2), (0.1, 1), (0.7, 8), (0.5, 4)];
        for k in 0..8 {
            let mut top = TopK::new(k, f32::NEG_INFINITY);
            for (score, id) in rows {
                top.push(score, id);
            }
            let ids: Vec<i64> = top.into_sorted().iter().map(|row| row.id).collect();
            assert_eq!(ids, [3, 8, 2, 4, 9, 1][..k.min(6)]);
        }
    }

    #[test]
    fn the_floor_is_inclusive_and_the_limit_follows_the_worst() {
        let mut top = TopK::new(2, 0.5);
        assert!(!top.push(0.49, 1) && !top.push(f32::NAN, 2));
        assert_eq!(top.limit(), 0.5);
        assert!(top.push(0.5, 3) && top.push(0.9, 4) && top.push(0.6, 5));
        assert_eq!(top.limit(), 0.6);
    }
}
