//! Looking closely at rows that a sieve has set aside.
//!
//! The best come first, some at a time: each may raise the limit, and those that fall below it are dropped. What a look finds is the canonical score
//! of the row, or, of codes that estimate, the estimate from all of the code.

use super::score::{Scorer, TOGETHER};
use super::sieve::{Aside, Sieve, Sifted};
use super::sift::Seen;
use crate::simd::Simd;
use crate::vectors::{Estimates, PlaneQuery, Purpose, Query, Space};

/// Rows are looked at in rounds, the first of so many, or of a multiple of k, if that is more.
const FIRST_ROUND: usize = 8;
/// The worst of as many rows as are wanted makes a low limit; of some more rows it is that of the best.
const ROUND_OVER_K: usize = 2;
/// Each further round is so many times as large.
const ROUND_GROWTH: usize = 4;
/// Certain bounds that leave more than this many rows aside, and more than this share of those that have been met, are not worth going on with.
/// More than there are in the first chunk: a limit found among a thousand rows says little of what one found among all will do. And nearly all of
/// them, since to look at a row costs little more than to scan it.
const MOST_UNDECIDED: usize = 2560;
const UNDECIDED_SHARE: f32 = 0.875;
/// How many rows ahead a look asks the memory for codes, and for the numbers beside them.
const LOOK_AHEAD: usize = 4;
const BOUNDS_AHEAD: usize = 12;

/// A closer look at rows, compiled for one metric and one processor.
pub(super) struct Look<'a, S, M> {
    simd: S,
    sieve: &'a Sieve<'a>,
    scorer: Scorer<'a, M>,
    /// The signs of codes.
    signs: Vec<u8>,
    /// What is looked at in a round.
    better: Vec<Aside>,
}

impl<'a, S: Simd, M: Space> Look<'a, S, M> {
    pub(super) fn new(simd: S, space: M, sieve: &'a Sieve<'a>) -> Look<'a, S, M> {
        Look { simd, sieve, scorer: Scorer::new(sieve.table, space), signs: Vec::new(), better: Vec::new() }
    }

    /// Whether too few rows have been decided by their bounds.
    pub(super) fn is_hopeless(&self, result: &Sifted) -> bool {
        let most = MOST_UNDECIDED.max((result.met as f32 * UNDECIDED_SHARE) as usize);
        self.sieve.plane.coding().purpose == Purpose::Certify && result.aside.len() > most
    }

    /// Looks at all rows that are set aside, the best first, as long as they reach the limit.
    #[inline(always)]
    pub(super) fn at_all(&mut self, query: &Query<'_>, coded: &PlaneQuery, result: &mut Sifted) {
        let mut round = self.first_round();
        while !result.aside.is_empty() {
            self.at_the_best(query, coded, result, round);
            round = round.saturating_mul(ROUND_GROWTH);
        }
    }

    /// Looks at the best rows of a sample, and sets those of the others aside that reach the limit then.
    #[inline(always)]
    pub(super) fn at_sample(
        &mut self,
        query: &Query<'_>,
        coded: &PlaneQuery,
        result: &mut Sifted,
        seen: &Seen,
        blocks: &[(u32, u32)],
    ) {
        let bar = seen.bar(self.first_round()).max(result.limit);
        result.set_seen_aside(seen, blocks, bar..=f32::INFINITY);
        self.at_all(query, coded, result);
        if bar > f32::NEG_INFINITY {
            result.set_seen_aside(seen, blocks, result.limit..=bar.next_down());
        }
    }

    /// How many rows are looked at in the first round.
    fn first_round(&self) -> usize {
        FIRST_ROUND.max(self.sieve.k.saturating_mul(ROUND_OVER_K))
    }

    /// Looks at those of the `count` best rows that are set aside that reach the limit, in any order: one that falls below it meanwhile is
    /// passed over. Drops those that this makes hopeless.
    #[inline(always)]
    pub(super) fn at_the_best(&mut self, query: &Query<'_>, coded: &PlaneQuery, result: &mut Sifted, count: usize) {
        result.drop_hopeless();
        let mut aside = std::mem::take(&mut result.aside);
        // The best go to the end, from where they are taken off.
        let others = aside.len().saturating_sub(count);
        if 0 < others && others < aside.len() {
            aside.select_nth_unstable_by(others, |a, b| a.upper.total_cmp(&b.upper));
        }
        self.at_each(query, coded, result, &aside[others..]);
        aside.truncate(others);
        result.aside = aside;
    }

    /// Looks at the better half of what is set aside, if there is a limit to tell it by.
    #[inline(always)]
    pub(super) fn at_the_better(&mut self, query: &Query<'_>, coded: &PlaneQuery, result: &mut Sifted) {
        if result.limit == f32::NEG_INFINITY {
            return self.at_the_best(query, coded, result, self.first_round());
        }
        let mut better = std::mem::take(&mut self.better);
        result.take_better_half(self.first_round().saturating_mul(ROUND_GROWTH), &mut better);
        self.at_each(query, coded, result, &better);
        self.better = better;
    }

    #[inline(always)]
    fn at_each(&mut self, query: &Query<'_>, coded: &PlaneQuery, result: &mut Sifted, best: &[Aside]) {
        match self.sieve.plane.coding().purpose {
            Purpose::Certify => self.score_each(query, coded, result, best),
            Purpose::Estimate => self.estimate_each(coded, result, best),
        }
    }

    /// Scores rows some at a time; those that come next are on their way meanwhile.
    #[inline(always)]
    fn score_each(&mut self, query: &Query<'_>, coded: &PlaneQuery, result: &mut Sifted, best: &[Aside]) {
        let plane = self.sieve.plane;
        let (mut now, mut next) = (Few::default(), Few::default());
        for (i, row) in best.iter().enumerate() {
            if let Some(later) = best.get(i + BOUNDS_AHEAD) {
                plane.prefetch_numbers(later.slot as usize);
            }
            if row.upper < result.limit {
                continue;
            }
            // A tighter bound takes longer; it is for rows that would have to be looked at.
            let upper = plane.bound(coded, row.slot as usize, row.product);
            if upper < result.limit {
                continue;
            }
            next.push(upper, row.slot);
            if next.count == TOGETHER {
                self.score_few(query, coded, result, &now, &next);
                (now, next) = (next, Few::default());
            }
        }
        for coming in [next, Few::default()] {
            self.score_few(query, coded, result, &now, &coming);
            now = coming;
        }
    }

    /// Scores those of a few rows that reach the limit now that others have been looked at, while `next` are on their way.
    #[inline(always)]
    fn score_few(&mut self, query: &Query<'_>, coded: &PlaneQuery, result: &mut Sifted, few: &Few, next: &Few) {
        let left = few.reaching(result.limit);
        let slots = left.slots();
        let scores = self.scorer.scores_reaching(self.simd, query, slots, result.top.limit(), next.slots());
        for (&slot, score) in slots.iter().zip(scores) {
            self.take(coded, result, score, slot);
        }
    }

    /// Estimates the scores of rows some at a time.
    #[inline(always)]
    fn estimate_each(&mut self, coded: &PlaneQuery, result: &mut Sifted, best: &[Aside]) {
        let mut rows = [Aside::default(); TOGETHER];
        let mut few = 0;
        for (i, row) in best.iter().enumerate() {
            if let Some(next) = best.get(i + LOOK_AHEAD) {
                self.sieve.plane.prefetch(next.slot as usize);
            }
            if row.upper < result.limit {
                continue;
            }
            rows[few] = *row;
            few += 1;
            if few == TOGETHER {
                self.estimate_few(coded, result, &rows);
                few = 0;
            }
        }
        self.estimate_few(coded, result, &rows[..few]);
    }

    #[inline(always)]
    fn estimate_few(&mut self, coded: &PlaneQuery, result: &mut Sifted, rows: &[Aside]) {
        for (row, estimate) in rows.iter().zip(self.estimates(coded, rows)) {
            self.take(coded, result, estimate, row.slot);
        }
    }

    /// Takes in what a look at a row has found.
    #[inline(always)]
    fn take(&self, coded: &PlaneQuery, result: &mut Sifted, score: f32, slot: u32) {
        result.looked += 1;
        if result.top.push(score, self.sieve.table.id(slot as usize)) {
            result.raise_limit(self.sieve.plane.coding(), coded);
        }
    }

    /// What the codes of rows say of their scores.
    #[inline(always)]
    fn estimates(&mut self, coded: &PlaneQuery, rows: &[Aside]) -> [f32; TOGETHER] {
        let mut some = [(0, 0); TOGETHER];
        for (some, row) in some.iter_mut().zip(rows) {
            *some = (row.slot as usize, row.product);
        }
        let (plane, rows) = (self.sieve.plane, &some[..rows.len()]);
        self.simd.vectorize(Estimates { plane, query: coded, rows, room: &mut self.signs })
    }
}

/// Rows that are looked at together, with bounds of their values.
#[derive(Clone, Copy, Default)]
struct Few {
    uppers: [f32; TOGETHER],
    slots: [u32; TOGETHER],
    count: usize,
}

impl Few {
    #[inline(always)]
    fn push(&mut self, upper: f32, slot: u32) {
        (self.uppers[self.count], self.slots[self.count]) = (upper, slot);
        self.count += 1;
    }

    #[inline(always)]
    fn slots(&self) -> &[u32] {
        &self.slots[..self.count]
    }

    /// Those that reach a limit.
    #[inline(always)]
    fn reaching(&self, limit: f32) -> Few {
        let mut left = Few::default();
        for i in 0..self.count {
            if self.uppers[i] >= limit {
                left.push(self.uppers[i], self.slots[i]);
            }
        }
        left
    }
}
