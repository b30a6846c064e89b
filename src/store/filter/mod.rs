//! Filters: which rows a search may return, said in JSON.
//!
//! `{"lang": "en", "year": {"$gte": 2020}}` reads: both hold. A name is a path (`a.b` looks into objects); what stands beside it is a
//! value to be equal to, or operators, all of which must hold. `$and`, `$or` and `$not` combine whole filters.
//!
//! The world is closed: a condition on a path that leads nowhere is false, and so is a comparison of values of different types; `null` is
//! a value, not an absence. `$not` turns true into false and false into true, whatever the reason. So a filter has one meaning, and
//! `$ne` differs from `$not` with `$eq`: the first wants a value of that type that is another one, the second wants anything else.
//!
//! [`parse`] reads the language, [`value`] says when values are equal and how they are ordered, [`glob`] matches patterns.

mod glob;
mod parse;
mod value;

use super::metadata::Metadata;
use crate::error::Result;
use glob::Glob;
use serde_json::Value;
use std::cmp::Ordering;

/// A filter, parsed and checked.
#[derive(Clone, Debug)]
pub struct Filter {
    root: Node,
}

#[derive(Clone, Debug)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    /// A condition on what a path leads to.
    Field(Vec<String>, Test),
}

#[derive(Clone, Debug)]
enum Test {
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
        Ok(Filter { root: parse::parse(json)? })
    }

    /// Whether it lets a row with this metadata through.
    pub fn matches(&self, metadata: &Metadata) -> bool {
        self.root.matches(metadata)
    }
}

impl Node {
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
