//! Scoring rows canonically, a few at a time.
//!
//! A canonical score is a sum in which each addition waits for the one before it. The sums of several rows do not wait for each other, so
//! the scores of four rows take little longer than that of one.
//!
//! Where most rows are not good enough, their scan values, sums in f32 whose error is known, rule that out in a fraction of the time.

use super::table::Table;
use super::topk::TopK;
use crate::kernel::row_sums;
use crate::simd::Simd;
use crate::vectors::{Codec, Query, Space, gamma};

/// Rows that are scored together.
pub(super) const TOGETHER: usize = 4;

/// Scores rows of a table under its metric.
pub(super) struct Scorer<'a, M> {
    table: &'a Table,
    space: M,
    /// Rows decoded, if they are not kept as f32.
    room: Vec<f32>,
}

impl<'a, M: Space> Scorer<'a, M> {
    pub(super) fn new(table: &'a Table, space: M) -> Scorer<'a, M> {
        Scorer { table, space, room: Vec::new() }
    }

    /// The scores of the rows in these slots, no more than are scored together; behind them anything.
    #[inline(always)]
    fn scores(&mut self, query: &Query<'_>, slots: &[u32]) -> [f32; TOGETHER] {
        let Some(four) = padded(slots) else { return [0.0; TOGETHER] };
        if slots.len() == 1 {
            let [row] = self.table.values([four[0]], &mut self.room);
            return [self.space.score(query, row, self.table.terms().square(four[0] as usize)); TOGETHER];
        }
        self.space.scores(query, self.table.values(four, &mut self.room), self.table.terms().squares(four))
    }

    /// The same, of rows of which few may reach the score `least`: minus infinity for each that does not, as its scan value tells. Asks for the rows
    /// that are `coming` next.
    #[inline(always)]
    pub(super) fn scores_reaching<S: Simd>(
        &mut self,
        simd: S,
        query: &Query<'_>,
        slots: &[u32],
        least: f32,
        coming: &[u32],
    ) -> [f32; TOGETHER] {
        let mut scores = [f32::NEG_INFINITY; TOGETHER];
        let Some(four) = padded(slots) else { return scores };
        let (space, gamma) = (self.space, gamma(self.table.dim()));
        let (weight, limit) = (space.scan_weight(query, gamma), space.scan_limit(query, least, gamma));
        let coming = self.ask_for(coming);
        let rows = self.table.values(four, &mut self.room);
        let sums = row_sums::<S, M::Pairing, TOGETHER>(simd, query.values, rows, coming);
        for (at, &slot) in slots.iter().enumerate() {
            let (scale, offset) = space.scan_row(self.table.terms().scan().first(slot as usize), gamma);
            // A NaN is not below.
            let is_below = sums[at] * scale + offset * weight < limit;
            if !is_below {
                scores[at] = space.score(query, rows[at], self.table.terms().square(slot as usize));
            }
        }
        scores
    }

    /// Asks for rows; or says where they are, if they are kept as f32 and so long that they are better asked for bit by bit.
    #[inline(always)]
    fn ask_for(&self, slots: &[u32]) -> Option<[*const f32; TOGETHER]> {
        if self.table.codec() == Codec::F32 {
            return padded(slots).map(|four| self.table.plain(four).map(<[f32]>::as_ptr));
        }
        slots.iter().for_each(|&slot| self.table.prefetch(slot as usize));
        None
    }

    /// Scores all rows in these slots into `top`; how many they are.
    #[inline(always)]
    pub(super) fn score_all(&mut self, query: &Query<'_>, slots: impl Iterator<Item = u32>, top: &mut TopK) -> usize {
        let (mut few, mut count, mut scored) = ([0; TOGETHER], 0, 0);
        for slot in slots {
            few[count] = slot;
            count += 1;
            if count == TOGETHER {
                self.score_few(query, &few, top);
                (count, scored) = (0, scored + TOGETHER);
            }
        }
        self.score_few(query, &few[..count], top);
        scored + count
    }

    #[inline(always)]
    fn score_few(&mut self, query: &Query<'_>, slots: &[u32], top: &mut TopK) {
        let scores = self.scores(query, slots);
        for (&slot, score) in slots.iter().zip(scores) {
            top.push(score, self.table.id(slot as usize));
        }
    }
}

/// So few slots, the first of them also in the places that are left; nothing if there is none.
#[inline(always)]
fn padded(slots: &[u32]) -> Option<[u32; TOGETHER]> {
    let &first = slots.first()?;
    Some(std::array::from_fn(|at| slots.get(at).copied().unwrap_or(first)))
}
