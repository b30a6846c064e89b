//! From JSON to conditions. Whatever is not understood is an error that says where it stands.

use super::glob::Glob;
use super::{Node, Test};
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::cmp::Ordering;

/// Filters within each other, at most; also lists and objects in a value.
const MAX_DEPTH: usize = 64;
/// Values in a list, at most.
const MAX_LIST: usize = 65_536;
/// Conditions in a filter, at most.
const MAX_CONDITIONS: usize = 65_536;
/// Bytes of a path or a pattern, at most.
const MAX_TEXT: usize = 64 << 10;

const OPERATORS: &str = "$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $contains, $glob and $not";

pub(super) fn parse(json: &Value) -> Result<Node> {
    Parser { path: Vec::new(), conditions: 0 }.filter(json)
}

/// The parts of a path that stands by itself.
pub(super) fn path(text: &str) -> Result<Vec<String>> {
    Parser { path: vec![text.chars().take(100).collect()], conditions: 0 }.field(text)
}

struct Parser {
    /// Where we are, for messages.
    path: Vec<String>,
    conditions: usize,
}

impl Parser {
    fn error<T>(&self, what: impl Into<String>) -> Result<T> {
        let path = if self.path.is_empty() { "the top".to_owned() } else { self.path.join(" > ") };
        Err(Error::Filter { path, what: what.into() })
    }

    /// Does `parse` one level deeper, under `name`.
    fn inside<T>(&mut self, name: &str, parse: impl FnOnce(&mut Parser) -> Result<T>) -> Result<T> {
        if self.path.len() >= MAX_DEPTH {
            return self.error(format!("it goes on more than {MAX_DEPTH} deep"));
        }
        self.path.push(name.chars().take(100).collect());
        let result = parse(self);
        self.path.pop();
        result
    }

    fn filter(&mut self, json: &Value) -> Result<Node> {
        let Value::Object(map) = json else { return self.error(format!("expected an object, got {}", shown(json))) };
        let mut nodes = Vec::with_capacity(map.len());
        for (name, json) in map {
            nodes.push(self.inside(name, |parser| parser.entry(name, json))?);
        }
        Ok(Node::All(nodes))
    }

    fn entry(&mut self, name: &str, json: &Value) -> Result<Node> {
        match name {
            "$and" => Ok(Node::All(self.filters(json)?)),
            "$or" => Ok(Node::Any(self.filters(json)?)),
            "$not" => Ok(Node::Not(Box::new(self.filter(json)?))),
            _ if name.starts_with('$') => {
                self.error("it is no operator; here $and, $or, $not and names of fields can stand")
            }
            _ => {
                let field = self.field(name)?;
                self.conditions(&field, json)
            }
        }
    }

    fn filters(&mut self, json: &Value) -> Result<Vec<Node>> {
        match json {
            Value::Array(list) if !list.is_empty() => {
                let parse = |(i, json): (usize, &Value)| self.inside(&i.to_string(), |parser| parser.filter(json));
                list.iter().enumerate().map(parse).collect()
            }
            _ => self.error(format!("expected a list of at least one filter, got {}", shown(json))),
        }
    }

    fn field(&self, name: &str) -> Result<Vec<String>> {
        let parts: Vec<String> = name.split('.').map(str::to_owned).collect();
        if name.len() > MAX_TEXT || parts.len() > MAX_DEPTH {
            return self.error(format!("the path is too long: {} bytes, {} parts", name.len(), parts.len()));
        }
        if parts.iter().any(String::is_empty) {
            return self.error("a part of the path is empty");
        }
        Ok(parts)
    }

    /// What stands beside a field: operators, or a value to be equal to.
    fn conditions(&mut self, field: &[String], json: &Value) -> Result<Node> {
        match json {
            Value::Object(map) if map.keys().any(|name| name.starts_with('$')) => self.operators(field, map),
            _ => {
                let value = self.value(json)?;
                self.condition(field, Test::Equal(value))
            }
        }
    }

    fn operators(&mut self, field: &[String], map: &Map<String, Value>) -> Result<Node> {
        let mut nodes = Vec::with_capacity(map.len());
        for (name, json) in map {
            nodes.push(self.inside(name, |parser| parser.operator(field, name, json))?);
        }
        Ok(Node::All(nodes))
    }

    fn operator(&mut self, field: &[String], name: &str, json: &Value) -> Result<Node> {
        let test = match name {
            "$not" => {
                let Value::Object(map) = json else {
                    return self.error(format!("expected an object with operators, got {}", shown(json)));
                };
                return Ok(Node::Not(Box::new(self.operators(field, map)?)));
            }
            "$eq" => Test::Equal(self.value(json)?),
            "$ne" => Test::Other(self.value(json)?),
            "$gt" => Test::Order(self.limit(json)?, [Ordering::Greater; 2]),
            "$gte" => Test::Order(self.limit(json)?, [Ordering::Greater, Ordering::Equal]),
            "$lt" => Test::Order(self.limit(json)?, [Ordering::Less; 2]),
            "$lte" => Test::Order(self.limit(json)?, [Ordering::Less, Ordering::Equal]),
            "$in" => Test::In(self.list(json)?),
            "$nin" => Test::NotIn(self.list(json)?),
            "$exists" => match json {
                Value::Bool(wanted) => Test::Exists(*wanted),
                _ => return self.error(format!("expected true or false, got {}", shown(json))),
            },
            "$contains" => Test::Contains(self.value(json)?),
            "$glob" => Test::Glob(self.glob(json)?),
            _ => return self.error(format!("it is no operator; here {OPERATORS} can stand")),
        };
        self.condition(field, test)
    }

    fn condition(&mut self, field: &[String], test: Test) -> Result<Node> {
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return self.error(format!("a filter has at most {MAX_CONDITIONS} conditions"));
        }
        Ok(Node::Field(field.to_vec(), test))
    }

    /// A value to compare with, which may not be endlessly deep.
    fn value(&self, json: &Value) -> Result<Value> {
        fn is_deeper(value: &Value, depth: usize) -> bool {
            match value {
                Value::Array(items) => depth == 0 || items.iter().any(|item| is_deeper(item, depth - 1)),
                Value::Object(map) => depth == 0 || map.values().any(|item| is_deeper(item, depth - 1)),
                _ => false,
            }
        }
        if is_deeper(json, MAX_DEPTH) {
            self.error(format!("the value is more than {MAX_DEPTH} deep"))
        } else {
            Ok(json.clone())
        }
    }

    fn limit(&self, json: &Value) -> Result<Value> {
        match json {
            Value::Number(_) | Value::String(_) => Ok(json.clone()),
            _ => self.error(format!("only numbers and text are ordered, got {}", shown(json))),
        }
    }

    fn list(&self, json: &Value) -> Result<Vec<Value>> {
        match json {
            Value::Array(list) if list.len() <= MAX_LIST => list.iter().map(|json| self.value(json)).collect(),
            Value::Array(list) => {
                self.error(format!("a list has at most {MAX_LIST} values, this one has {}", list.len()))
            }
            _ => self.error(format!("expected a list of values, got {}", shown(json))),
        }
    }

    fn glob(&self, json: &Value) -> Result<Glob> {
        match json {
            Value::String(text) if text.len() <= MAX_TEXT => Glob::parse(text).or_else(|what| self.error(what)),
            Value::String(text) => {
                self.error(format!("a pattern has at most {MAX_TEXT} bytes, this one has {}", text.len()))
            }
            _ => self.error(format!("expected a pattern, got {}", shown(json))),
        }
    }
}

/// The beginning of a value.
fn shown(json: &Value) -> String {
    let kind = match json {
        Value::Null => return "null".to_owned(),
        Value::Bool(value) => return value.to_string(),
        Value::Number(number) => return number.to_string(),
        Value::String(text) => return format!("{:?}", text.chars().take(40).collect::<String>()),
        Value::Array(list) => ("list", list.len()),
        Value::Object(map) => ("object", map.len()),
    };
    format!("{} {} of {}", if kind.0 == "list" { "a" } else { "an" }, kind.0, kind.1)
}
