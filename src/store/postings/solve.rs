//! A filter, answered by postings.
//!
//! Each condition picks terms: those whose rows match, and those whose rows might. `$and`, `$or` and `$not` are then set algebra over two
//! sets, the rows that match and the rows that possibly do; the second is left out while it is the same. Under `$not` they change
//! places: what does not possibly match, matches.

use super::super::filter::value::{Exact, same_type};
use super::super::filter::{Filter, Glob, Node, Test};
use super::terms::{FALSE, NULL, TRUE, Terms};
use super::{MAX_TEXT, Postings};
use roaring::RoaringBitmap;
use serde_json::Value;
use std::cmp::Ordering;
use std::ops::Range;

/// What postings say about a filter: slots in two sets without a slot in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct Verdict {
    /// Rows that match.
    pub(in super::super) matches: RoaringBitmap,
    /// Rows that nobody knows about without looking at their metadata. All others do not match.
    pub(in super::super) candidates: RoaringBitmap,
}

impl Verdict {
    /// All rows that match, given who looks at the candidates.
    #[cfg(test)]
    pub(in super::super) fn resolve(self, mut look: impl FnMut(u32) -> bool) -> RoaringBitmap {
        let Verdict { mut matches, candidates } = self;
        matches |= candidates.into_iter().filter(|slot| look(*slot)).collect::<RoaringBitmap>();
        matches
    }
}

/// Some terms of a field: those whose rows match, those whose rows might.
struct Pick<'a> {
    terms: Terms<'a>,
    sure: Vec<Range<usize>>,
    unsure: Vec<Range<usize>>,
}

/// Rows that match, and those that possibly match, if these are more.
struct Rows {
    sure: RoaringBitmap,
    possible: Option<RoaringBitmap>,
}

impl Postings {
    /// Which rows a filter lets through, deleted or not.
    pub(in super::super) fn matches(&self, filter: &Filter) -> Verdict {
        let Rows { mut sure, possible } = self.rows_of(filter.root());
        sure -= &self.odd;
        let mut candidates = possible.map_or_else(RoaringBitmap::new, |possible| possible - &sure);
        candidates |= &self.odd;
        Verdict { matches: sure, candidates }
    }

    /// How many rows a filter lets through, at least and at most, from counts alone.
    pub(in super::super) fn estimate(&self, filter: &Filter) -> (u64, u64) {
        let (low, high) = self.bounds(filter.root());
        let rows = u64::from(self.rows);
        (low.saturating_sub(self.odd.len()), (high + self.odd.len()).min(rows))
    }

    fn all(&self) -> RoaringBitmap {
        let mut all = RoaringBitmap::new();
        all.insert_range(0..self.rows);
        all
    }

    fn rows_of(&self, node: &Node) -> Rows {
        match node {
            Node::All(nodes) => {
                let Some((first, others)) = nodes.split_first() else {
                    return Rows { sure: self.all(), possible: None };
                };
                others.iter().fold(self.rows_of(first), |all, node| {
                    // Nothing is in common with nothing.
                    if all.possible().is_empty() { all } else { all.and(self.rows_of(node)) }
                })
            }
            Node::Any(nodes) => nodes.iter().fold(Rows::none(), |any, node| any.or(self.rows_of(node))),
            Node::Not(node) => self.rows_of(node).not(self.all()),
            Node::Field(path, Test::Exists(false)) => self.leaf(path, &Test::Exists(true)).not(self.all()),
            Node::Field(path, test) => self.leaf(path, test),
        }
    }

    fn bounds(&self, node: &Node) -> (u64, u64) {
        let rows = u64::from(self.rows);
        let not = |(low, high): (u64, u64)| (rows - high, rows - low);
        match node {
            Node::All(nodes) => nodes.iter().map(|node| self.bounds(node)).fold((rows, rows), |a, b| {
                // What two sets have in common is at least what does not fit beside each other.
                ((a.0 + b.0).saturating_sub(rows), a.1.min(b.1))
            }),
            Node::Any(nodes) => {
                let any = nodes.iter().map(|node| self.bounds(node));
                any.fold((0, 0), |a, b| (a.0.max(b.0), (a.1 + b.1).min(rows)))
            }
            Node::Not(node) => not(self.bounds(node)),
            Node::Field(path, Test::Exists(false)) => not(self.leaf_bounds(path, &Test::Exists(true))),
            Node::Field(path, test) => self.leaf_bounds(path, test),
        }
    }

    fn leaf(&self, path: &[String], test: &Test) -> Rows {
        let Some(picks) = self.picks(path, test) else {
            return Rows { sure: RoaringBitmap::new(), possible: Some(self.all()) };
        };
        let mut rows = Rows::none();
        for pick in picks {
            let (sure, unsure) = (pick.terms.slots(&pick.sure), pick.terms.slots(&pick.unsure));
            let possible = if unsure.is_empty() { None } else { Some(&sure | unsure) };
            rows = rows.or(Rows { sure, possible });
        }
        rows
    }

    fn leaf_bounds(&self, path: &[String], test: &Test) -> (u64, u64) {
        let rows = u64::from(self.rows);
        let Some(picks) = self.picks(path, test) else { return (0, rows) };
        picks.iter().fold((0, 0), |(low, high), pick| {
            let count = |ranges: &[Range<usize>]| -> u64 { ranges.iter().map(|r| pick.terms.count(r.clone())).sum() };
            let sure = count(&pick.sure);
            ((low + sure).min(rows), (high + sure + count(&pick.unsure)).min(rows))
        })
    }

    /// The terms that a condition asks for; `None` if they are not known.
    fn picks(&self, path: &[String], test: &Test) -> Option<Vec<Pick<'_>>> {
        let Some(field) = self.fields.get(&path.join(".")) else {
            // What is not there, no row has, if all that rows have is there.
            return self.complete.then(Vec::new);
        };
        let mut values = self.values(field)?.pick(test);
        let Test::Contains(wanted) = test else { return Some(vec![values]) };
        let Some(elements) = self.elements(field) else {
            values.unsure.push(values.terms.lists());
            return Some(vec![values]);
        };
        let (sure, unsure) = elements.one_of(std::slice::from_ref(wanted));
        Some(vec![values, Pick { terms: elements, sure, unsure }])
    }
}

impl Rows {
    fn none() -> Rows {
        Rows { sure: RoaringBitmap::new(), possible: None }
    }

    fn possible(&self) -> &RoaringBitmap {
        self.possible.as_ref().unwrap_or(&self.sure)
    }

    fn and(mut self, other: Rows) -> Rows {
        self.possible = match (self.possible, other.possible) {
            (None, None) => None,
            (Some(mine), None) => Some(mine & &other.sure),
            (None, Some(others)) => Some(others & &self.sure),
            (Some(mine), Some(others)) => Some(mine & others),
        };
        self.sure &= other.sure;
        self
    }

    fn or(mut self, other: Rows) -> Rows {
        self.possible = match (self.possible, other.possible) {
            (None, None) => None,
            (Some(mine), None) => Some(mine | &other.sure),
            (None, Some(others)) => Some(others | &self.sure),
            (Some(mine), Some(others)) => Some(mine | others),
        };
        self.sure |= other.sure;
        self
    }

    fn not(self, all: RoaringBitmap) -> Rows {
        match self.possible {
            None => Rows { sure: all - self.sure, possible: None },
            Some(possible) => Rows { sure: &all - possible, possible: Some(all - self.sure) },
        }
    }
}

impl<'a> Terms<'a> {
    /// The values that meet a condition. What holds for elements of lists is somebody else's business.
    fn pick(self, test: &Test) -> Pick<'a> {
        let (sure, unsure) = match test {
            Test::Equal(wanted) => self.one_of(std::slice::from_ref(wanted)),
            Test::In(list) => self.one_of(list),
            Test::Other(wanted) => self.another_than(std::slice::from_ref(wanted)),
            Test::NotIn(list) => self.another_than(list),
            Test::Order(limit, orders) => self.ordered(limit, orders),
            Test::Exists(_) => (std::iter::once(0..self.len()).collect(), Vec::new()),
            Test::Contains(Value::String(part)) => self.matching(self.texts(), |text| text.contains(part)),
            Test::Contains(_) => (Vec::new(), Vec::new()),
            Test::Glob(glob) => self.matching(self.beginning_with(glob), |text| glob.matches(text)),
        };
        Pick { terms: self, sure, unsure }
    }

    /// Values that equal one of these.
    fn one_of(&self, list: &[Value]) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
        let found = list.iter().filter_map(|wanted| self.find(wanted));
        (ranges(found.collect()), ranges(list.iter().filter_map(|wanted| self.hidden(wanted)).collect()))
    }

    /// The term whose rows have this value among others.
    fn hidden(&self, value: &Value) -> Option<usize> {
        match value {
            Value::String(text) if text.len() > MAX_TEXT => Some(self.long().start),
            Value::Array(_) => Some(self.lists().start),
            Value::Object(_) => Some(self.objects().start),
            _ => None,
        }
    }

    /// Values that equal none of these and are of the type of one; of any type if there are none.
    fn another_than(&self, list: &[Value]) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
        let types = [
            (Value::Null, NULL..NULL + 1),
            (Value::Bool(false), FALSE..TRUE + 1),
            (Value::from(0), self.numbers()),
            (Value::from(""), self.texts().start..self.long().end),
            (Value::Array(Vec::new()), self.lists()),
            (Value::Object(serde_json::Map::new()), self.objects()),
        ];
        let is_wanted = |kind: &Value| list.is_empty() || list.iter().any(|value| same_type(kind, value));
        let wanted = types.into_iter().filter(|(kind, _)| is_wanted(kind)).map(|(_, terms)| terms);
        let (equal, unsure) = self.one_of(list);
        let cuts: Vec<Range<usize>> = equal.iter().chain(&unsure).cloned().collect();
        (wanted.flat_map(|terms| without(terms, &cuts)).collect(), unsure)
    }

    /// Numbers or texts on one side of a limit.
    fn ordered(&self, limit: &Value, orders: &[Ordering; 2]) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
        let all = match limit {
            Value::Number(_) => self.numbers(),
            Value::String(_) => self.texts(),
            _ => return (Vec::new(), Vec::new()),
        };
        // Where the terms begin that are not less, and those that are greater.
        let (not_less, greater, unsure) = match limit {
            Value::Number(number) => {
                let limit = Exact::of(number);
                (self.number_from(Ordering::is_lt, limit), self.number_from(Ordering::is_le, limit), Vec::new())
            }
            _ => {
                let limit = limit.as_str().unwrap_or_default().as_bytes();
                let (not_less, greater) = (self.text_from(|text| text < limit), self.text_from(|text| text <= limit));
                (not_less, greater, vec![self.long()])
            }
        };
        let has_equal = orders.contains(&Ordering::Equal);
        let range = if orders.contains(&Ordering::Less) {
            all.start..if has_equal { greater } else { not_less }
        } else {
            (if has_equal { not_less } else { greater })..all.end
        };
        (vec![range], unsure)
    }

    /// Texts among these that a condition holds for.
    fn matching(&self, among: Range<usize>, holds: impl Fn(&str) -> bool) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
        (ranges(among.filter(|&term| holds(self.text(term))).collect()), vec![self.long()])
    }

    /// The texts that begin as a pattern does.
    fn beginning_with(&self, glob: &Glob) -> Range<usize> {
        let prefix = glob.prefix();
        let prefix = prefix.as_bytes();
        let start = self.text_from(|text| text < prefix);
        start..self.text_from(|text| text < prefix || text.starts_with(prefix))
    }
}

/// Terms as ranges, those beside each other in one.
fn ranges(mut terms: Vec<usize>) -> Vec<Range<usize>> {
    terms.sort_unstable();
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for term in terms {
        match ranges.last_mut() {
            Some(last) if term <= last.end => last.end = last.end.max(term + 1),
            _ => ranges.push(term..term + 1),
        }
    }
    ranges
}

/// What is left of a range without these.
fn without(range: Range<usize>, cuts: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut cuts: Vec<&Range<usize>> =
        cuts.iter().filter(|cut| cut.start < range.end && range.start < cut.end).collect();
    cuts.sort_unstable_by_key(|cut| cut.start);
    let (mut left, mut start) = (Vec::new(), range.start);
    for cut in cuts {
        if start < cut.start {
            left.push(start..cut.start);
        }
        start = start.max(cut.end);
    }
    if start < range.end {
        left.push(start..range.end);
    }
    left
}
