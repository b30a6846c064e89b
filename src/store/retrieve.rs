//! What goes beyond the best k rows: the page behind a hit, the best of each group, rows that differ from each other.
//!
//! All three are made of plain searches, asked for more rows or with a narrower filter until the answer is certain; each of these is
//! answered as any other. So they hold for every index, with filters, and for several collections in one ranking.

use super::filter::{Filter, Node, Test, value};
use super::key::Key;
use super::rows::Picked;
use super::search::{Hit, StoreSearch};
use crate::error::{Error, Result};
use crate::index::{FlatIndex, Index, IndexOptions, Search};
use crate::runtime::Call;
use crate::vectors::{Metric, RowSource, Rows};
use serde_json::Value;
use std::cmp::Ordering;

/// A place in a ranking: that of a hit.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The score of the hit.
    pub score: f32,
    /// Its collection.
    pub collection: String,
    /// Its key.
    pub key: Key,
}

/// How hits are put into groups.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouping {
    /// The path to what rows of a group have in common, as in a filter: `a.b`.
    pub path: String,
    /// Rows of each group, at most.
    pub size: usize,
}

/// Candidates for each hit that is wanted, if hits are to differ from each other; and the fewest.
const CANDIDATES: usize = 5;
const FEWEST_CANDIDATES: usize = 50;

/// Rows that a search for groups begins with, for each row that is wanted.
const SPARE: usize = 4;

/// A plain search: the best rows for each query.
pub(super) type Find<'a> = dyn Fn(&dyn RowSource, &StoreSearch<'_>) -> Result<Vec<Vec<Hit>>> + 'a;

/// Answers a search by plain ones. `metric` is that of the collections.
pub(super) fn answer(
    find: &Find<'_>,
    queries: &dyn RowSource,
    search: &StoreSearch<'_>,
    metric: Metric,
    call: &Call<'_>,
) -> Result<Vec<Vec<Hit>>> {
    check(search)?;
    let plain = StoreSearch { after: None, group_by: None, diversity: None, ..*search };
    let each = |answer: &dyn Fn(&dyn RowSource) -> Result<Vec<Hit>>| -> Result<Vec<Vec<Hit>>> {
        (0..queries.rows()).map(|row| answer(&Picked { source: queries, rows: &[row] })).collect()
    };
    match (search.after, search.group_by, search.diversity) {
        (Some(place), ..) => each(&|query| behind(find, query, &plain, place)),
        (_, Some(grouping), _) => each(&|query| Groups::new(find, query, &plain, grouping)?.run()),
        (.., Some(diversity)) => each(&|query| diverse(find, query, &plain, diversity, metric, call)),
        _ => find(queries, &plain),
    }
}

fn check(search: &StoreSearch<'_>) -> Result<()> {
    let asked = [search.after.is_some(), search.group_by.is_some(), search.diversity.is_some()];
    let refuse = |what: &str| Err(Error::InvalidArgument(what.to_owned()));
    if asked.into_iter().filter(|asked| *asked).count() > 1 {
        return refuse("a search takes one of after, group_by and diversity");
    }
    if search.diversity.is_some_and(|diversity| !(0.0..=1.0).contains(&diversity)) {
        return refuse("diversity must be between 0 (none) and 1 (nothing else)");
    }
    if search.group_by.is_some_and(|grouping| grouping.size == 0) {
        return refuse("group_size must be at least 1");
    }
    Ok(())
}

/// The answer to one query.
fn find_one(find: &Find<'_>, query: &dyn RowSource, search: &StoreSearch<'_>) -> Result<Vec<Hit>> {
    Ok(find(query, search)?.pop().unwrap_or_default())
}

impl Place {
    /// Whether a hit ranks behind it: by score, then collection, then key.
    fn is_before(&self, hit: &Hit) -> bool {
        let order = self.score.total_cmp(&hit.score).reverse();
        let order =
            order.then_with(|| self.collection.as_str().cmp(&hit.collection)).then_with(|| self.key.cmp(&hit.key));
        order == Ordering::Less
    }
}

/// The best rows behind a place. Nobody knows how many rank before it: so more are asked for, twice as many each time.
fn behind(find: &Find<'_>, query: &dyn RowSource, search: &StoreSearch<'_>, place: &Place) -> Result<Vec<Hit>> {
    let mut wanted = search.k.saturating_mul(2);
    loop {
        let mut hits = find_one(find, query, &StoreSearch { k: wanted, ..*search })?;
        let is_all = hits.len() < wanted;
        hits.retain(|hit| place.is_before(hit));
        if is_all || hits.len() >= search.k {
            hits.truncate(search.k);
            return Ok(hits);
        }
        wanted = wanted.saturating_mul(2);
    }
}

/// The best rows of the best groups, for one query.
///
/// A first search finds most groups; whoever is missing is looked for among rows of other groups, or of groups that are not full. So a
/// group that nearly all rows belong to costs one more search, and not a ranking of all rows.
struct Groups<'a> {
    find: &'a Find<'a>,
    query: &'a dyn RowSource,
    search: &'a StoreSearch<'a>,
    path: Vec<String>,
    size: usize,
    /// What the rows of each have in common, and the best of them.
    found: Vec<(Value, Vec<Hit>)>,
}

impl<'a> Groups<'a> {
    fn new(
        find: &'a Find<'a>,
        query: &'a dyn RowSource,
        search: &'a StoreSearch<'a>,
        grouping: &Grouping,
    ) -> Result<Groups<'a>> {
        let path = Filter::path(&grouping.path)?;
        Ok(Groups { find, query, search, path, size: grouping.size, found: Vec::new() })
    }

    fn run(mut self) -> Result<Vec<Hit>> {
        if self.search.k == 0 {
            return Ok(Vec::new());
        }
        let wanted = self.search.k.saturating_mul(self.size).saturating_mul(SPARE);
        let is_everything = self.take(wanted, self.search.filter)?;
        let mut is_all = is_everything;
        while !is_all && self.found.len() < self.search.k {
            let known = self.found.iter().map(|(value, _)| value.clone()).collect();
            let others = Node::All(vec![
                Node::Field(self.path.clone(), Test::Exists(true)),
                Node::Not(Box::new(Node::Field(self.path.clone(), Test::In(known)))),
            ]);
            let before = self.found.len();
            is_all = self.take(wanted, Some(&Filter::both(self.search.filter, others)))? || self.found.len() == before;
        }
        if !is_everything {
            self.fill()?;
        }
        let mut hits: Vec<Hit> = self.found.into_iter().flat_map(|(_, hits)| hits).collect();
        hits.sort_by(Hit::rank);
        Ok(hits)
    }

    /// Searches for more rows of groups that are not full, until they are or have no more.
    fn fill(&mut self) -> Result<()> {
        loop {
            let open = self.found.iter().filter(|(_, hits)| hits.len() < self.size);
            let values: Vec<Value> = open.map(|(value, _)| value.clone()).collect();
            // So many rows fill one group at least, if there are as many.
            let wanted = values.len().saturating_mul(self.size);
            if values.is_empty() || self.size == 1 {
                return Ok(());
            }
            let mine = Filter::both(self.search.filter, Node::Field(self.path.clone(), Test::In(values)));
            if self.take(wanted, Some(&mine))? {
                return Ok(());
            }
        }
    }

    /// Puts the best `wanted` rows into their groups, new ones among them while there is room; whether there are no others.
    fn take(&mut self, wanted: usize, filter: Option<&Filter>) -> Result<bool> {
        let search = StoreSearch { k: wanted, filter, metadata: true, ..*self.search };
        let hits = find_one(self.find, self.query, &search)?;
        let is_all = hits.len() < wanted;
        for mut hit in hits {
            let Some(said) = hit.metadata.as_ref().and_then(|document| Filter::value_at(document, &self.path)) else {
                continue;
            };
            let place = self.found.iter().position(|(known, _)| value::equal(known, &said));
            let place = match place {
                Some(place) => place,
                None if self.found.len() == self.search.k => continue,
                None => {
                    self.found.push((said.clone(), Vec::new()));
                    self.found.len() - 1
                }
            };
            let group = &mut self.found[place].1;
            if group.len() < self.size
                && !group.iter().any(|known| known.key == hit.key && known.collection == hit.collection)
            {
                hit.group = Some(said);
                if !self.search.metadata {
                    hit.metadata = None;
                }
                group.push(hit);
            }
        }
        Ok(is_all)
    }
}

/// Maximal marginal relevance (Carbonell and Goldstein, The use of MMR, diversity-based reranking for reordering documents and producing
/// summaries, SIGIR 1998): one after another that candidate is taken whose score, less its likeness to what has been taken, is highest.
/// `diversity` is their 1 - lambda; the likeness of two rows is the score that one has for the other.
fn diverse(
    find: &Find<'_>,
    query: &dyn RowSource,
    search: &StoreSearch<'_>,
    diversity: f32,
    metric: Metric,
    call: &Call<'_>,
) -> Result<Vec<Hit>> {
    let candidates = search.k.saturating_mul(CANDIDATES).max(FEWEST_CANDIDATES);
    let mut hits = find_one(find, query, &StoreSearch { k: candidates, vectors: true, ..*search })?;
    let likeness = Likeness::new(&hits, query.dim(), metric, call)?;
    let mut likest = vec![f32::NEG_INFINITY; hits.len()];
    let mut left: Vec<usize> = (0..hits.len()).collect();
    let mut order = Vec::with_capacity(search.k.min(hits.len()));
    while order.len() < search.k && !left.is_empty() {
        let worth = |&i: &usize| {
            let likest = if order.is_empty() { 0.0 } else { likest[i] };
            f64::from(1.0 - diversity) * f64::from(hits[i].score) - f64::from(diversity) * f64::from(likest)
        };
        // Of equals the first, which ranks before the others.
        let best = left.iter().map(worth).enumerate().reduce(|a, b| if b.1 > a.1 { b } else { a });
        let taken = left.remove(best.map_or(0, |(place, _)| place));
        order.push(taken);
        for (i, score) in likeness.to(&hits[taken], call)? {
            likest[i] = likest[i].max(score);
        }
    }
    if !search.vectors {
        hits.iter_mut().for_each(|hit| hit.vector = None);
    }
    let mut hits: Vec<Option<Hit>> = hits.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|i| hits[i].take()).collect())
}

/// How like rows are to each other: an index of the few that were found.
struct Likeness {
    index: FlatIndex,
    rows: usize,
}

impl Likeness {
    fn new(hits: &[Hit], dim: usize, metric: Metric, call: &Call<'_>) -> Result<Likeness> {
        let index = FlatIndex::new(IndexOptions::new(dim, metric))?;
        let values: Vec<f32> = hits.iter().flat_map(|hit| hit.vector.iter().flatten().copied()).collect();
        index.add(&Rows::new(&values, dim)?, None, call)?;
        Ok(Likeness { index, rows: hits.len() })
    }

    /// The scores of all rows for this one.
    fn to(&self, hit: &Hit, call: &Call<'_>) -> Result<impl Iterator<Item = (usize, f32)> + use<>> {
        let values = hit.vector.as_deref().unwrap_or_default();
        let hits = self.index.search(&Rows::new(values, self.index.dim())?, &Search::top(self.rows), call)?;
        Ok(hits.ids.into_iter().zip(hits.scores).filter_map(|(id, score)| Some((usize::try_from(id).ok()?, score))))
    }
}
