//! The nearest rows: what the index finds, under the keys that the rows have.

use super::{Place, Rows};
use crate::error::{Error, Result};
use crate::index::{Search, Selection};
use crate::runtime::{Call, map};
use crate::store::filter::Filter;
use crate::store::key::Key;
use crate::vectors::RowSource;

/// A row that a search found.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::store) struct Found {
    pub(in crate::store) score: f32,
    pub(in crate::store) key: Key,
    pub(in crate::store) row: i64,
}

/// Places behind the last one that are looked at: each is a row more to score, and equal scores are rare there.
const MORE: usize = 1;

impl Rows {
    /// The best `k` rows for each query: by score, and among equal scores by key.
    pub(in crate::store) fn search(
        &self,
        queries: &dyn RowSource,
        search: &Search<'_>,
        filter: Option<&Filter>,
        call: &Call<'_>,
    ) -> Result<Vec<Vec<Found>>> {
        let Some(filter) = filter else { return self.search_selected(queries, search, call) };
        let mut selected = filter.selected(self.identity);
        loop {
            let selection =
                selected.take().map_or_else(|| filter.remember(self.identity, self.select(filter, call)?), Ok)?;
            match self.search_selected(queries, &Search { selection: Some(&selection), ..*search }, call) {
                // It is of another collection or another state, or the index was put in order meanwhile.
                Err(Error::StaleSelection) => call.check()?,
                found => return found,
            }
        }
    }

    fn select(&self, filter: &Filter, call: &Call<'_>) -> Result<Selection> {
        Ok(self.index().select_ids(&self.passing(filter, call)?))
    }

    fn search_selected(
        &self,
        queries: &dyn RowSource,
        search: &Search<'_>,
        call: &Call<'_>,
    ) -> Result<Vec<Vec<Found>>> {
        if search.exact {
            self.segments.values().for_each(|sealed| sealed.file.read_soon());
        }
        let k = search.k.min(self.len());
        let mut found = vec![Vec::new(); queries.rows()];
        // More than are wanted show whether equal scores go on behind the last place. If they have no end the query is asked again.
        let mut wanted = if k == 0 { 0 } else { k.saturating_add(MORE).min(self.len()) };
        let mut left: Vec<usize> = (0..queries.rows()).collect();
        loop {
            let asked = Picked { source: queries, rows: &left };
            let hits = self.index().search(&asked, &Search { k: wanted, ..*search }, call)?;
            let places = wanted.max(1);
            let answers: Vec<_> = hits.ids.chunks(places).zip(hits.scores.chunks(places)).collect();
            let named = map(call, answers.len(), |i| {
                let (ids, scores) = answers[i];
                let is_certain = wanted == self.len() || !goes_on(scores, k);
                is_certain.then(|| self.found(ids, scores, k)).transpose()
            })?;
            let mut again = Vec::new();
            for (query, named) in left.into_iter().zip(named) {
                match named? {
                    Some(named) => found[query] = named,
                    None => again.push(query),
                }
            }
            if again.is_empty() {
                return Ok(found);
            }
            (wanted, left) = (wanted.saturating_mul(2).min(self.len()), again);
        }
    }

    /// The first `k` of the answers to a query, in the order that counts.
    fn found(&self, ids: &[i64], scores: &[f32], k: usize) -> Result<Vec<Found>> {
        let last = scores.get(k.wrapping_sub(1)).copied().unwrap_or(f32::NEG_INFINITY);
        let pairs = ids.iter().zip(scores).take_while(|(row, score)| **row >= 0 && **score >= last);
        // Keys lie anywhere: they are all on their way before the first is waited for.
        let mut places: Vec<(Place<'_>, i64, f32)> = Vec::with_capacity(ids.len());
        for (&row, &score) in pairs {
            let place = self.place_of(row)?;
            place.prefetch();
            places.push((place, row, score));
        }
        let mut found = Vec::with_capacity(places.len());
        for (place, row, score) in places {
            found.push(Found { score, key: place.key()?, row });
        }
        found.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.key.cmp(&b.key)));
        found.truncate(k);
        Ok(found)
    }
}

/// Whether scores that are equal to the `k`-th go on to the end.
fn goes_on(scores: &[f32], k: usize) -> bool {
    let (last, end) = (scores.get(k.wrapping_sub(1)), scores.last());
    matches!((last, end), (Some(last), Some(end)) if *last != f32::NEG_INFINITY && last.total_cmp(end).is_eq())
}

/// Some rows of a source.
pub(in crate::store) struct Picked<'a> {
    pub(in crate::store) source: &'a dyn RowSource,
    pub(in crate::store) rows: &'a [usize],
}

impl RowSource for Picked<'_> {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn dim(&self) -> usize {
        self.source.dim()
    }

    fn read(&self, row: usize, out: &mut [f32]) {
        self.source.read(self.rows[row], out);
    }
}
