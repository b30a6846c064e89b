//! Scoring chosen rows from the rows themselves.

use super::Search;
use super::score::{Scorer, TOGETHER};
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
    let candidates: Vec<Vec<u32>> = candidates.into_iter().map(|top| slots(table, top)).collect();
    map(call, queries.len(), |i| {
        table.metric().run(Rerank { table, query: &queries[i], slots: &candidates[i], search })
    })
}

/// Where the rows are, the best first.
fn slots(table: &Table, top: TopK) -> Vec<u32> {
    top.into_sorted().iter().filter_map(|row| table.slot_of(row.id).map(|slot| slot as u32)).collect()
}

/// One query.
struct Rerank<'a> {
    table: &'a Table,
    query: &'a Query<'a>,
    slots: &'a [u32],
    search: &'a Search<'a>,
}

impl Task for Rerank<'_> {
    type Output = TopK;

    #[inline(always)]
    fn run<S: Simd, M: Space>(self, simd: S, space: M) -> TopK {
        let Rerank { table, query, slots, search } = self;
        let mut top = TopK::new(search.k, search.floor());
        let mut scorer = Scorer::new(table, space);
        for (i, now) in slots.chunks(TOGETHER).enumerate() {
            let coming = slots.chunks(TOGETHER).nth(i + 1).unwrap_or_default();
            let scores = scorer.scores_reaching(simd, query, now, top.limit(), coming);
            for (&slot, score) in now.iter().zip(scores) {
                top.push(score, table.id(slot as usize));
            }
        }
        top
    }
}
