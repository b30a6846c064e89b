//! The nearest rows of one collection, or of several in one ranking.

use super::Store;
use super::collection::Collection;
use super::filter::Filter;
use super::key::Key;
use super::metadata::Document;
use super::retrieve::{self, Grouping, Place};
use super::rows::{Found, Rows};
use super::world::Live;
use crate::error::{Error, Result};
use crate::index::{Search, Trace};
use crate::runtime::{Call, ReadGuard};
use crate::vectors::{Metric, RowSource};
use parking_lot::Mutex;
use serde_json::Value;
use std::cmp::Ordering;
use std::sync::Arc;

/// What a search is to return.
#[derive(Clone, Copy, Debug)]
pub struct StoreSearch<'a> {
    /// How many rows for each query, at most.
    pub k: usize,
    /// Which rows may be returned; `None`: all.
    pub filter: Option<&'a Filter>,
    /// The smallest score that is wanted, inclusive.
    pub min_score: Option<f32>,
    /// Look at every row, whatever the index could do instead.
    pub exact: bool,
    /// The width of a graph's beam; `None`: the index's own.
    pub ef: Option<usize>,
    /// Instead of a width: the part of the ten nearest rows that should be found.
    pub recall: Option<f32>,
    /// Whether hits come with their metadata.
    pub metadata: bool,
    /// Whether hits come with their vectors.
    pub vectors: bool,
    /// Whether hits come with their stamps.
    pub stamps: bool,
    /// Only rows that rank behind this place.
    pub after: Option<&'a Place>,
    /// Put rows into groups: `k` is the number of groups then, and hits are the best of each, best first.
    pub group_by: Option<&'a Grouping>,
    /// How much hits should differ from each other, from 0 to 1: maximal marginal relevance, lambda being 1 less this. They come in the
    /// order in which they were chosen.
    pub diversity: Option<f32>,
    /// Where to write down how the search was answered.
    pub explain: Option<&'a Explanation>,
}

/// How a search was answered: by which searches of single collections.
#[derive(Debug, Default)]
pub struct Explanation(Mutex<Vec<Plan>>);

impl Explanation {
    /// The searches so far, in the order in which they were made.
    pub fn plans(&self) -> Vec<Plan> {
        self.0.lock().clone()
    }
}

/// One search of one collection, with all of its queries.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The collection.
    pub collection: Arc<str>,
    /// Its rows.
    pub rows: usize,
    /// Rows that the filter lets through, at least and at most, by what is known without looking at any; `None` without a filter.
    pub estimated: Option<(u64, u64)>,
    /// Rows that the filter lets through; `None` without one.
    pub matches: Option<usize>,
    /// Queries that were answered by a walk through the graph.
    pub walks: usize,
    /// Queries for which the codes of all rows that match were looked at.
    pub gathers: usize,
    /// Queries for which all rows that match were looked at.
    pub scans: usize,
}

impl StoreSearch<'_> {
    /// The `k` best rows.
    pub fn top(k: usize) -> StoreSearch<'static> {
        StoreSearch {
            k,
            filter: None,
            min_score: None,
            exact: false,
            ef: None,
            recall: None,
            metadata: false,
            vectors: false,
            stamps: false,
            after: None,
            group_by: None,
            diversity: None,
            explain: None,
        }
    }

    fn search<'a>(&self, trace: &'a Trace) -> Search<'a> {
        Search {
            min_score: self.min_score,
            exact: self.exact,
            ef: self.ef,
            recall: self.recall,
            trace: self.explain.map(|_| trace),
            ..Search::top(self.k)
        }
    }
}

/// A row that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Its key.
    pub key: Key,
    /// Higher is better.
    pub score: f32,
    /// In natural units: 1 - cosine, -dot, Euclidean, Manhattan, bits.
    pub distance: f32,
    /// The collection that it is in.
    pub collection: Arc<str>,
    /// What it says, if that was asked for.
    pub metadata: Option<Document>,
    /// Its values, if they were asked for.
    pub vector: Option<Vec<f32>>,
    /// When it was created and when it was last changed, in milliseconds since 1970, if that was asked for.
    pub stamps: Option<(i64, i64)>,
    /// What the rows of its group have in common, if they were put into groups.
    pub group: Option<Value>,
}

impl Hit {
    /// Which comes first: by score, then collection, then key.
    pub(super) fn rank(&self, other: &Hit) -> Ordering {
        let order = other.score.total_cmp(&self.score);
        order.then_with(|| self.collection.cmp(&other.collection)).then_with(|| self.key.cmp(&other.key))
    }
}

impl Collection {
    /// The best rows for each query, best first: by score, and among equal scores by key.
    pub fn search(&self, queries: &dyn RowSource, search: &StoreSearch<'_>, call: &Call<'_>) -> Result<Vec<Vec<Hit>>> {
        let live = self.live()?;
        let rows = live.rows.read();
        let find = |queries: &dyn RowSource, search: &StoreSearch<'_>| self.hits(&rows, queries, search, call);
        retrieve::answer(&find, queries, search, self.schema().metric, call)
    }

    fn hits(
        &self,
        rows: &Rows,
        queries: &dyn RowSource,
        search: &StoreSearch<'_>,
        call: &Call<'_>,
    ) -> Result<Vec<Vec<Hit>>> {
        let name = self.shared_name();
        let hit = |found: Found| {
            let wants_row = search.metadata || search.stamps;
            let row = if wants_row { Some(rows.row(found.row)?) } else { None };
            Ok(Hit {
                distance: self.schema().metric.distance(found.score),
                score: found.score,
                collection: Arc::clone(&name),
                vector: if search.vectors { Some(rows.values(&[found.row])?) } else { None },
                stamps: row.as_ref().filter(|_| search.stamps).map(|row| (row.created, row.updated)),
                metadata: row.filter(|_| search.metadata).map(|row| row.metadata),
                key: found.key,
                group: None,
            })
        };
        let trace = Trace::default();
        let found = rows.search(queries, &search.search(&trace), search.filter, call)?;
        if let Some(explanation) = search.explain {
            explanation.0.lock().push(Plan {
                collection: Arc::clone(&name),
                rows: rows.len(),
                estimated: search.filter.map(|filter| rows.estimate(filter)),
                matches: search.filter.map(|_| trace.eligible()),
                walks: trace.walks(),
                gathers: trace.gathers(),
                scans: trace.scans(),
            });
        }
        let mut hits = Vec::with_capacity(found.len());
        for found in found {
            // As long as it will be: hits are large, and moving them while a vector grows is what a search would notice.
            let mut row = Vec::with_capacity(found.len());
            for found in found {
                row.push(hit(found)?);
            }
            hits.push(row);
        }
        Ok(hits)
    }
}

impl Store {
    /// The best rows of several collections (`None`: all), in one ranking: by score, then collection, then key. Names that are unknown are
    /// passed over. All of them must have the dimension of the queries, and the same metric.
    pub fn search(
        &self,
        queries: &dyn RowSource,
        names: Option<&[&str]>,
        search: &StoreSearch<'_>,
        call: &Call<'_>,
    ) -> Result<Vec<Vec<Hit>>> {
        let world = self.inner.world()?;
        let is_wanted = |live: &&Arc<Live>| names.is_none_or(|names| names.contains(&&*live.name));
        let lives: Vec<&Arc<Live>> = world.collections.values().filter(is_wanted).collect();
        if let Some(other) = lives.iter().find(|live| live.schema.metric != lives[0].schema.metric) {
            let (a, b) = (lives[0], other);
            let metrics = (a.schema.metric.name(), b.schema.metric.name());
            let message = format!(
                "scores of different metrics cannot be ranked: collection {:?} has {:?}, {:?} has {:?}",
                a.name, metrics.0, b.name, metrics.1
            );
            return Err(Error::InvalidArgument(message));
        }
        // All guards are taken before the first search, so all of it sees one state.
        let guards: Vec<ReadGuard<'_, Rows>> = lives.iter().map(|live| live.rows.read()).collect();
        let find = |queries: &dyn RowSource, search: &StoreSearch<'_>| {
            let mut merged: Vec<Vec<Hit>> = vec![Vec::new(); queries.rows()];
            for (live, rows) in lives.iter().zip(&guards) {
                let collection = Collection::new(&self.inner, live);
                for (merged, hits) in merged.iter_mut().zip(collection.hits(rows, queries, search, call)?) {
                    merged.extend(hits);
                }
            }
            for hits in &mut merged {
                hits.sort_by(Hit::rank);
                hits.truncate(search.k);
            }
            Ok(merged)
        };
        let metric = lives.first().map_or(Metric::Cosine, |live| live.schema.metric);
        retrieve::answer(&find, queries, search, metric, call)
    }
}
