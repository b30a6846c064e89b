//! Scoring rows canonically, a few at a time.
//!
//! A canonical score is a sum in which each addition waits for the one before it. The sums of several rows do not wait for each other, so
//! the scores of four rows take little longer than that of one.

use super::table::Table;
use super::topk::TopK;
use crate::vectors::{Query, Space};

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
    pub(super) fn scores(&mut self, query: &Query<'_>, slots: &[u32]) -> [f32; TOGETHER] {
        let Some(&first) = slots.first() else { return [0.0; TOGETHER] };
        if slots.len() == 1 {
            let [row] = self.table.values([first], &mut self.room);
            return [self.space.score(query, row); TOGETHER];
        }
        let slots = std::array::from_fn(|at| slots.get(at).copied().unwrap_or(first));
        self.space.scores(query, self.table.values(slots, &mut self.room))
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
