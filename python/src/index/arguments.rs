//! The arguments of constructors and calls, checked before the core sees them.

use crate::call;
use nearfield::{Codec, IndexOptions, Metric};
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use std::num::NonZeroUsize;

/// The metric of this name.
pub(crate) fn parse_metric(name: &str) -> PyResult<Metric> {
    Metric::from_name(name).ok_or_else(|| {
        PyValueError::new_err(format!("metric must be 'cosine', 'dot', 'l2', 'l1' or 'hamming', got {name:?}"))
    })
}

/// The codec of this name, one of those that an index takes; "auto" is f32.
pub(super) fn parse_codec(name: &str, known: &[&str]) -> PyResult<Codec> {
    Ok(Codec::from_name(parse_name("codec", name, known)?).unwrap_or(Codec::F32))
}

/// The name, if it is one of those that the parameter takes.
pub(super) fn parse_name<'a>(parameter: &str, name: &'a str, known: &[&str]) -> PyResult<&'a str> {
    if known.contains(&name) {
        return Ok(name);
    }
    let known: Vec<String> = known.iter().map(|name| format!("'{name}'")).collect();
    let (last, others) = known.split_last().expect("a parameter takes some name");
    Err(PyValueError::new_err(format!("{parameter} must be {} or {last}, got {name:?}", others.join(", "))))
}

pub(super) fn threads_of(given: Option<Integer>) -> PyResult<Option<NonZeroUsize>> {
    call::threads(given.map(|Integer(count)| count))
}

/// Without a codec the one that goes with the metric.
pub(super) fn options(
    Integer(dim): Integer,
    metric: &str,
    codec: Option<Codec>,
    max_bytes: Option<u64>,
) -> PyResult<IndexOptions> {
    let metric = parse_metric(metric)?;
    // What does not fit is out of range: the core says so.
    let dim = usize::try_from(dim).unwrap_or(0);
    Ok(IndexOptions { dim, metric, codec: codec.unwrap_or(metric.codec()), max_bytes })
}

/// A Python integer; one beyond 64 bits becomes the nearest that fits, which is out of every range.
#[derive(Clone, Copy)]
pub(super) struct Integer(pub(super) i64);

impl<'py> FromPyObject<'_, 'py> for Integer {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Integer> {
        match object.extract::<i64>() {
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
                Ok(Integer(if object.lt(0)? { i64::MIN } else { i64::MAX }))
            }
            value => value.map(Integer),
        }
    }
}

pub(super) fn count(name: &str, Integer(value): Integer) -> PyResult<usize> {
    usize::try_from(value).map_err(|_| PyValueError::new_err(format!("{name} must be at least 0, got {value}")))
}
