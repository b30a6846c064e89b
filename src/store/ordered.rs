//! Rows in the order of what they say at a path.
//!
//! The order is made once, of keys, and read page by page: so it is that of one state, whatever is written meanwhile. First come null,
//! false and true, then numbers, then texts, then lists, then objects, and rows in which the path leads nowhere come last; what is not told
//! apart by that comes in the order of keys.

use super::collection::Collection;
use super::filter::{Filter, value};
use super::key::Key;
use super::metadata::Document;
use super::rows::Rows;
use crate::error::{Error, Result};
use crate::runtime::{Call, map};
use serde_json::Value;
use std::cmp::Ordering;

/// Which values come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The smallest.
    Ascending,
    /// The largest; rows in which the path leads nowhere come last all the same.
    Descending,
}

/// What a row says at the path, and its key.
type Said = (Option<Value>, Key);

/// Rows that a thread looks at before it takes the next ones.
const ROWS_PER_TASK: usize = 4096;

impl Collection {
    /// The keys of all rows that a filter lets through, in the order of what they say at `path` (`a.b`), from behind `after` on. Without the
    /// metadata of `after`, it must be the key of a row that is there.
    pub fn ordered(
        &self,
        filter: Option<&Filter>,
        path: &str,
        direction: Direction,
        after: Option<(&Key, Option<&Document>)>,
        call: &Call<'_>,
    ) -> Result<Vec<Key>> {
        let path = Filter::path(path)?;
        let live = self.live()?;
        let guard = live.rows.read();
        let rows: &Rows = &guard;
        let passing = match filter {
            Some(filter) => rows.passing(filter, call)?,
            None => rows.in_order(None)?.collect::<Result<_>>()?,
        };
        let pieces: Vec<_> = passing.chunks(ROWS_PER_TASK).collect();
        let found = map(call, pieces.len(), |i| -> Result<Vec<Said>> {
            let said = |number: &i64| rows.row(*number).map(|row| (Filter::value_at(&row.metadata, &path), row.key));
            pieces[i].iter().map(said).collect()
        })?;
        let mut found = found.into_iter().collect::<Result<Vec<_>>>()?.concat();
        found.sort_unstable_by(|a, b| compare(a, b, direction));
        let start = match after {
            None => 0,
            Some((key, given)) => {
                let number = || rows.find(key)?.ok_or_else(|| missing(key));
                let said = given.map_or_else(|| Ok(rows.row(number()?)?.metadata), |given| Ok(given.clone()))?;
                let place = (Filter::value_at(&said, &path), key.clone());
                found.partition_point(|row| compare(row, &place, direction).is_le())
            }
        };
        Ok(found.drain(start..).map(|(_, key)| key).collect())
    }
}

fn missing(key: &Key) -> Error {
    Error::InvalidArgument(format!(
        "after must be the key of a row that is there, or a row, to begin behind it; got {key:?}"
    ))
}

/// Which of two rows comes first.
fn compare(a: &Said, b: &Said, direction: Direction) -> Ordering {
    let by_value = match (&a.0, &b.0) {
        (Some(a), Some(b)) => {
            let order = rank(a).cmp(&rank(b)).then_with(|| value::order(a, b).unwrap_or(Ordering::Equal));
            if direction == Direction::Descending { order.reverse() } else { order }
        }
        // What leads nowhere comes last.
        (a, b) => a.is_none().cmp(&b.is_none()),
    };
    by_value.then_with(|| a.1.cmp(&b.1))
}

fn rank(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(false) => 1,
        Value::Bool(true) => 2,
        Value::Number(_) => 3,
        Value::String(_) => 4,
        Value::Array(_) => 5,
        Value::Object(_) => 6,
    }
}
