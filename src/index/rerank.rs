//! Scoring chosen rows from the rows themselves.

use super::Search;
use super::look::LOOK_AHEAD;
use super::score::Scorer;
use super::table::Table;
use super::topk::TopK;
use crate::error::Result;
use crate::runtime::{Call, map};
use crate::simd::Simd;
use crate::vectors::{Query, Space, Task};

/// The k best of the candidates of each query by their canonical scores.
pub(crate) fn rerank(
    table: &Table,
    queries: &[Query<'_>],
    candidates: Vec<TopK>,
    search: &Search<'_>,
    call: &Call<'_>,
) -> Result<Vec<TopK>> {
    let candidates: Vec<Vec<usize>> = candidates.into_iter().map(|top| slots(table, top)).collect();
    map(call, queries.len(), |i| {
        table.metric().run(Rerank { table, query: &queries[i], slots: &candidates[i], search })
    })
}

/// Where the rows are, in the order in which they lie.
fn slots(table: &Table, top: TopK) -> Vec<usize> {
    let mut slots: Vec<usize> = top.into_sorted().iter().filter_map(|row| table.slot_of(row.id)).collect();
    slots.sort_unstable();
    slots
}

/// One query.
struct Rerank<'a> {
    table: &'a Table,
    query: &'a Query<'a>,
    slots: &'a [usize],
    search: &'a Search<'a>,
}

impl Task for Rerank<'_> {
    type Output = TopK;

    #[inline(always)]
    fn run<S: Simd, M: Space>(self, _simd: S, space: M) -> TopK {
        let mut top = TopK::new(self.search.k, self.search.floor());
        let slots = self.slots.iter().enumerate().map(|(i, &slot)| {
            if let Some(&next) = self.slots.get(i + LOOK_AHEAD) {
                self.table.prefetch(next);
            }
            slot as u32
        });
        Scorer::new(self.table, space).score_all(self.query, slots, &mut top);
        top
    }
}
