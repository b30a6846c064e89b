//! A query as an index prepares it, for the tests of what meets queries.

use super::{Metric, Query};
use crate::kernel::canonical_dot;

/// A query that has been prepared, padded like a row.
pub(super) struct Asked {
    pub(super) metric: Metric,
    pub(super) values: Vec<f32>,
    pub(super) squared_norm: f64,
}

impl Asked {
    pub(super) fn new(metric: Metric, values: &[f32]) -> Asked {
        let mut values = values.to_vec();
        values.resize(values.len().next_multiple_of(16), 0.0);
        let given = canonical_dot(&values, &values);
        let squared_norm = metric.prepare(&mut values, given);
        Asked { metric, values, squared_norm }
    }

    pub(super) fn query(&self) -> Query<'_> {
        Query::new(self.metric, &self.values, self.squared_norm)
    }
}
