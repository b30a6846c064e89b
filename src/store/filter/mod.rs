//! Filters: which rows a search may return, said in JSON.
//!
//! `{"lang": "en", "year": {"$gte": 2020}}` reads: both hold. A name is a path (`a.b` looks into objects); what stands beside it is a
//! value to be equal to, or operators, all of which must hold. `$and`, `$or` and `$not` combine whole filters.
//!
//! The world is closed: a condition on a path that leads nowhere is false, and so is a comparison of values of different types; `null` is
//! a value, not an absence. `$not` turns true into false and false into true, whatever the reason. So a filter has one meaning, and
//! `$ne` differs from `$not` with `$eq`: the first wants a value of that type that is another one, the second wants anything else.
//!
//! [`parse`] reads the language, [`excerpt`] what a filter needs of a row; [`value`] says when values are equal and how they are ordered,
//! [`glob`] matches patterns.

mod excerpt;
mod glob;
mod parse;
pub(super) mod value;

use super::metadata::{Document, Metadata};
use crate::error::Result;
use crate::index::Selection;
use crate::runtime::{Call, Shared};
pub(super) use glob::Glob;
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A filter, parsed and checked. It remembers which rows of a few collections it let through, so it is worth keeping: until a
/// collection changes, further searches there have nothing to compare.
pub struct Filter {
    root: Node,
    /// The fields that it looks at, the first parts of all paths.
    names: BTreeSet<String>,
    /// By [`Rows::identity`](super::rows::Rows), the last one last.
    selected: Shared<Vec<(u64, Arc<Selection>)>>,
}

/// Collections of which a filter remembers rows.
const REMEMBERED: usize = 16;

/// What holds of a row, or does not.
#[derive(Clone, Debug)]
pub(super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    /// A condition on what a path leads to.
    Field(Vec<String>, Test),
}

/// A condition on a value.
#[derive(Clone, Debug)]
pub(super) enum Test {
    Equal(Value),
    Other(Value),
    /// One of these orders, compared with the value.
    Order(Value, [Ordering; 2]),
    In(Vec<Value>),
    NotIn(Vec<Value>),
    Exists(bool),
    Contains(Value),
    Glob(Glob),
}

impl Filter {
    /// The filter that `json` says.
    pub fn parse(json: &Value) -> Result<Filter> {
        parse::parse(json).map(Filter::of)
    }

    /// The filter with these conditions.
    fn of(root: Node) -> Filter {
        let mut names = BTreeSet::new();
        root.names(&mut names);
        Filter { root, names, selected: Shared::new(Vec::new()) }
    }

    /// Rows that a filter lets through, if there is one, and for which a condition holds.
    pub(super) fn both(filter: Option<&Filter>, node: Node) -> Filter {
        Filter::of(Node::All(filter.map(|filter| filter.root.clone()).into_iter().chain([node]).collect()))
    }

    /// The parts of a path, `a.b`.
    pub(super) fn path(text: &str) -> Result<Vec<String>> {
        parse::path(text)
    }

    /// What a path leads to in a row.
    pub(super) fn value_at(document: &Document, path: &[String]) -> Option<Value> {
        let names = path.first().cloned().into_iter().collect();
        follow(path, &excerpt::excerpt(document.bytes(), &names)?).cloned()
    }

    /// The rows of a collection that it let through when it was last asked, in whatever state that was.
    pub(super) fn selected(&self, rows: u64) -> Option<Arc<Selection>> {
        self.selected.read().iter().find(|(known, _)| *known == rows).map(|(_, selection)| Arc::clone(selection))
    }

    /// Remembers which rows of a collection it lets through.
    pub(super) fn remember(&self, rows: u64, selection: Selection) -> Result<Arc<Selection>> {
        let selection = Arc::new(selection);
        let turn = self.selected.writer(&Call::uninterrupted())?;
        let mut selected = turn.write();
        selected.retain(|(known, _)| *known != rows);
        selected.push((rows, Arc::clone(&selection)));
        if selected.len() > REMEMBERED {
            selected.remove(0);
        }
        Ok(selection)
    }

    /// Whether it lets a row with these metadata through.
    pub fn matches(&self, document: &Document) -> bool {
        self.matches_text(document.bytes())
    }

    /// The same for the text of the metadata.
    pub(super) fn matches_text(&self, text: &[u8]) -> bool {
        excerpt::excerpt(text, &self.names).is_some_and(|metadata| self.root.matches(&metadata))
    }

    /// The conditions.
    pub(super) fn root(&self) -> &Node {
        &self.root
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(out)
    }
}

impl Node {
    fn names(&self, out: &mut BTreeSet<String>) {
        match self {
            Node::All(nodes) | Node::Any(nodes) => nodes.iter().for_each(|node| node.names(out)),
            Node::Not(node) => node.names(out),
            Node::Field(path, _) => out.extend(path.first().cloned()),
        }
    }

    fn matches(&self, metadata: &Metadata) -> bool {
        match self {
            Node::All(nodes) => nodes.iter().all(|node| node.matches(metadata)),
            Node::Any(nodes) => nodes.iter().any(|node| node.matches(metadata)),
            Node::Not(node) => !node.matches(metadata),
            Node::Field(path, test) => test.holds(follow(path, metadata)),
        }
    }
}

/// What a path leads to. Only objects have something inside that has a name.
fn follow<'a>(path: &[String], metadata: &'a Metadata) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(metadata.get(first)?, |value, name| value.as_object()?.get(name))
}

impl Test {
    fn holds(&self, found: Option<&Value>) -> bool {
        let Some(found) = found else { return matches!(self, Test::Exists(false)) };
        match self {
            Test::Equal(wanted) => value::equal(found, wanted),
            Test::Other(wanted) => is_another(found, wanted),
            Test::Order(limit, orders) => value::order(found, limit).is_some_and(|order| orders.contains(&order)),
            Test::In(list) => list.iter().any(|wanted| value::equal(found, wanted)),
            Test::NotIn(list) => {
                let same_type = list.iter().any(|wanted| value::same_type(found, wanted));
                (same_type || list.is_empty()) && !list.iter().any(|wanted| value::equal(found, wanted))
            }
            Test::Exists(wanted) => *wanted,
            Test::Contains(wanted) => match (found, wanted) {
                (Value::Array(items), _) => items.iter().any(|item| value::equal(item, wanted)),
                (Value::String(text), Value::String(part)) => text.contains(part),
                _ => false,
            },
            Test::Glob(glob) => found.as_str().is_some_and(|text| glob.matches(text)),
        }
    }
}

/// Whether it is another value of the same type.
fn is_another(found: &Value, wanted: &Value) -> bool {
    value::same_type(found, wanted) && !value::equal(found, wanted)
}

#[cfg(test)]
mod suite;
