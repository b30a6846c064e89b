//! What the core found, as the classes of `nearfield.hits`.

use super::{keys, values};
use crate::error::raise;
use nearfield::{Error, Hit, Plan, Schema, StoredRow};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyType};

/// What hits come with, beside key and score.
#[derive(Clone, Copy, Default)]
pub(super) struct Parts {
    pub(super) metadata: bool,
    pub(super) vectors: bool,
    pub(super) stamps: bool,
}

/// A `nearfield.hits.Row`.
pub(super) fn row<'py>(py: Python<'py>, row: StoredRow) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.import(py, "nearfield.hits", "Row")?;
    let metadata = values::to_python(py, row.metadata.bytes())?;
    let vector = PyArray1::from_vec(py, row.vector);
    class.call1((keys::to_python(py, &row.key), vector, metadata, row.created_at, row.updated_at))
}

/// A `nearfield.hits.CollectionResult`. `name` is the collection that all hits are from, if it is but one.
pub(super) fn collection_result<'py>(
    py: Python<'py>,
    found: Vec<Vec<Hit>>,
    shape: Shape,
    schema: Schema,
    name: Option<&str>,
    parts: Parts,
    plans: Option<Vec<Plan>>,
) -> PyResult<Bound<'py, PyAny>> {
    let width = if shape.single { found.first().map_or(0, Vec::len) } else { shape.width };
    let shape = Shape { width, ..shape };
    let key = |hit: &Hit| Ok(keys::to_python(py, &hit.key));
    let text = |hit: &Hit| Ok(PyBytes::new(py, hit.metadata.as_ref().map_or(b"{}", |text| text.bytes())).into_any());
    let group = |hit: &Hit| match &hit.group {
        Some(value) => values::value_to_python(py, value),
        None => Ok(py.None().into_bound(py)),
    };
    let home = |hit: &Hit| Ok(PyString::new(py, &hit.collection).into_any());
    let all = Collected {
        keys: shape.lists(py, &found, key)?,
        scores: shape.array(py, &found, f32::NEG_INFINITY, |hit| hit.score)?,
        collections: match name {
            // Interned, since there are few of them and each is made once for every search.
            Some(name) => PyString::intern(py, name).into_any(),
            None => shape.lists(py, &found, home)?,
        },
        metadata: if parts.metadata { Some(shape.lists(py, &found, text)?) } else { None },
        vectors: if parts.vectors { Some(shape.vectors(py, &found, schema.dim)?) } else { None },
        created: if parts.stamps {
            Some(shape.array(py, &found, 0, |hit| hit.stamps.map_or(0, |s| s.0))?)
        } else {
            None
        },
        updated: if parts.stamps {
            Some(shape.array(py, &found, 0, |hit| hit.stamps.map_or(0, |s| s.1))?)
        } else {
            None
        },
    };
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.import(py, "nearfield.hits", "CollectionResult")?;
    let Collected { keys, scores, collections, metadata, vectors, created, updated } = all;
    let groups = if shape.grouped { Some(shape.lists(py, &found, group)?) } else { None };
    let plan = plans.map(|plans| plan_list(py, &plans)).transpose()?;
    let metric = PyString::intern(py, schema.metric.name());
    let has_more = metadata.is_some() || vectors.is_some() || created.is_some() || groups.is_some() || plan.is_some();
    if !has_more {
        return class.call1((keys, scores, metric, collections));
    }
    class.call1((keys, scores, metric, collections, metadata, vectors, created, updated, groups, plan))
}

/// How a search was answered: a dict for each search of a collection.
fn plan_list<'py>(py: Python<'py>, plans: &[Plan]) -> PyResult<Bound<'py, PyList>> {
    let one = |plan: &Plan| {
        let ways = [("walk", plan.walks), ("gather", plan.gathers), ("scan", plan.scans)];
        let taken: Vec<&str> = ways.iter().filter(|(_, queries)| *queries > 0).map(|(way, _)| *way).collect();
        let dict = PyDict::new(py);
        dict.set_item("collection", &*plan.collection)?;
        dict.set_item("plan", taken.join("+"))?;
        dict.set_item("rows", plan.rows)?;
        dict.set_item("matches", plan.matches)?;
        dict.set_item("estimated_matches", plan.estimated)?;
        for (way, queries) in ways {
            dict.set_item(format!("{way}_queries"), queries)?;
        }
        Ok(dict)
    };
    PyList::new(py, plans.iter().map(one).collect::<PyResult<Vec<_>>>()?)
}

/// The arguments of a `CollectionResult`.
struct Collected<'py> {
    keys: Bound<'py, PyAny>,
    scores: Bound<'py, PyAny>,
    collections: Bound<'py, PyAny>,
    metadata: Option<Bound<'py, PyAny>>,
    vectors: Option<Bound<'py, PyAny>>,
    created: Option<Bound<'py, PyAny>>,
    updated: Option<Bound<'py, PyAny>>,
}

/// One query's hits, or a row of them for each of several.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) single: bool,
    /// Places a query has in an array.
    pub(super) width: usize,
    /// Whether hits have groups.
    pub(super) grouped: bool,
}

impl Shape {
    /// A list, or a list of lists, each as long as there are hits.
    fn lists<'py>(
        &self,
        py: Python<'py>,
        found: &[Vec<Hit>],
        one: impl Fn(&Hit) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let list = |hits: &Vec<Hit>| {
            let mut objects = Vec::with_capacity(hits.len());
            for hit in hits {
                objects.push(one(hit)?);
            }
            PyList::new(py, objects)
        };
        if self.single {
            return found.first().map_or_else(|| Ok(PyList::empty(py)), list).map(Bound::into_any);
        }
        Ok(PyList::new(py, found.iter().map(list).collect::<PyResult<Vec<_>>>()?)?.into_any())
    }

    /// An array of shape (hits,) or (queries, width), filled up.
    fn array<'py, T: numpy::Element + Copy>(
        &self,
        py: Python<'py>,
        found: &[Vec<Hit>],
        filling: T,
        value: impl Fn(&Hit) -> T,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut values: Vec<T> = Vec::new();
        let cells = self.width.saturating_mul(found.len());
        values.try_reserve_exact(cells).map_err(|_| {
            let needed = cells.saturating_mul(size_of::<T>()) as u64;
            raise(py, Error::Capacity { what: "the result", needed, limit: "which the system did not give".to_owned() })
        })?;
        for (i, hits) in found.iter().enumerate() {
            values.extend(hits.iter().map(&value));
            values.resize((i + 1) * self.width, filling);
        }
        if self.single {
            return Ok(PyArray1::from_slice(py, &values).into_any());
        }
        Ok(PyArray1::from_vec(py, values).reshape([found.len(), self.width])?.into_any())
    }

    /// An array of shape (hits, dim), or a list of them.
    fn vectors<'py>(&self, py: Python<'py>, found: &[Vec<Hit>], dim: usize) -> PyResult<Bound<'py, PyAny>> {
        let array = |hits: &Vec<Hit>| {
            let values: Vec<f32> = hits.iter().flat_map(|hit| hit.vector.iter().flatten().copied()).collect();
            PyArray1::from_vec(py, values).reshape([hits.len(), dim])
        };
        if self.single {
            return array(found.first().unwrap_or(&Vec::new())).map(Bound::into_any);
        }
        Ok(PyList::new(py, found.iter().map(array).collect::<PyResult<Vec<_>>>()?)?.into_any())
    }
}
