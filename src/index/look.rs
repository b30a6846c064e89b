//! Looking closely at rows that a sieve has set aside.
//!
//! The best come first: each may raise the limit, and the first that falls below it ends the look. What a look finds is the canonical score
//! of the row, or, of codes that estimate, the estimate from all of the code.

use super::sieve::{Aside, Sieve, Sifted};
use crate::simd::Simd;
use crate::vectors::{PlaneQuery, Purpose, Query, Space};

/// Rows are looked at in rounds, the first of so many, or k, if that is more.
const FIRST_ROUND: usize = 8;
/// Certain bounds that leave more than this many rows aside, and more than half of those that have been met, are not worth going on with. More
/// than there are in the first chunk: a limit found among a thousand rows says little of what one found among all will do.
const MOST_UNDECIDED: usize = 2560;
/// How many rows ahead a look asks the memory for.
pub(super) const LOOK_AHEAD: usize = 4;

/// A closer look at rows, compiled for one metric and one processor.
pub(super) struct Look<'a, S, M> {
    simd: S,
    space: M,
    sieve: &'a Sieve<'a>,
    /// A row decoded, if rows are not kept as f32.
    room: Vec<f32>,
    /// The planes of a code.
    planes: Vec<u8>,
}

impl<'a, S: Simd, M: Space> Look<'a, S, M> {
    pub(super) fn new(simd: S, space: M, sieve: &'a Sieve<'a>) -> Look<'a, S, M> {
        Look { simd, space, sieve, room: vec![0.0; sieve.table.width()], planes: Vec::new() }
    }

    /// Whether too few rows have been decided by their bounds.
    pub(super) fn is_hopeless(&self, result: &Sifted) -> bool {
        self.sieve.plane.coding().purpose == Purpose::Certify && result.aside.len() > MOST_UNDECIDED.max(result.met / 2)
    }

    /// Looks at all rows that are set aside, best first, as long as they reach the limit.
    #[inline(always)]
    pub(super) fn at_all(&mut self, query: &Query<'_>, coded: &PlaneQuery, result: &mut Sifted) {
        result.drop_hopeless();
        let mut round = FIRST_ROUND.max(self.sieve.k);
        while !result.aside.is_empty() {
            self.at_some(query, coded, result, round);
            round = round.saturating_mul(2);
        }
    }

    /// Looks at the best rows that are set aside, and drops those that this makes hopeless.
    #[inline(always)]
    pub(super) fn at_the_best(&mut self, query: &Query<'_>, coded: &PlaneQuery, result: &mut Sifted) {
        self.at_some(query, coded, result, FIRST_ROUND.max(self.sieve.k));
    }

    /// Looks at the `count` best rows that are set aside, as long as they reach the limit.
    #[inline(always)]
    fn at_some(&mut self, query: &Query<'_>, coded: &PlaneQuery, result: &mut Sifted, count: usize) {
        let mut aside = std::mem::take(&mut result.aside);
        let count = count.min(aside.len());
        let descending = |a: &Aside, b: &Aside| b.upper.total_cmp(&a.upper);
        if 0 < count && count < aside.len() {
            aside.select_nth_unstable_by(count, descending);
        }
        aside[..count].sort_unstable_by(descending);
        for i in 0..count {
            if let Some(next) = aside[..count].get(i + LOOK_AHEAD) {
                self.ask_for(next.slot as usize);
            }
            let row = aside[i];
            if row.upper < result.limit {
                break;
            }
            // A tighter bound takes longer; it is for rows that would have to be looked at.
            if self.sieve.plane.bound(coded, row.slot as usize, row.product) < result.limit {
                continue;
            }
            result.looked += 1;
            let score = self.score(query, coded, row);
            if result.top.push(score, self.sieve.table.id(row.slot as usize)) {
                result.raise_limit(self.sieve.plane.coding(), coded);
            }
        }
        aside.drain(..count);
        result.aside = aside;
        result.drop_hopeless();
    }

    #[inline(always)]
    fn score(&mut self, query: &Query<'_>, coded: &PlaneQuery, row: Aside) -> f32 {
        let slot = row.slot as usize;
        match self.sieve.plane.coding().purpose {
            Purpose::Certify => self.space.score(query, self.sieve.table.values(slot, &mut self.room)),
            Purpose::Estimate => self.sieve.plane.estimate(self.simd, coded, slot, row.product, &mut self.planes),
        }
    }

    #[inline(always)]
    fn ask_for(&self, slot: usize) {
        match self.sieve.plane.coding().purpose {
            Purpose::Certify => self.sieve.table.prefetch(slot),
            Purpose::Estimate => self.sieve.plane.prefetch(slot),
        }
    }
}
