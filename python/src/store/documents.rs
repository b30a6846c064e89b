//! Metadata from Python: a dict is written as JSON text as it lies, without anything in between.

use crate::error::{dtype_error, raise};
use nearfield::Document;
use numpy::PyUntypedArray;
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use std::cell::RefCell;

/// The documents in `metadata=`, one for each of `rows` rows; `None` if there are none. A single row may have its dict by itself.
pub(super) fn documents(
    metadata: Option<&Bound<'_, PyAny>>,
    rows: usize,
    single: bool,
) -> PyResult<Option<Vec<Document>>> {
    let Some(metadata) = metadata else { return Ok(None) };
    if single && metadata.is_instance_of::<PyDict>() {
        return Ok(Some(vec![document(metadata, 0)?]));
    }
    let list = rows_of(metadata, rows)?;
    list.iter().enumerate().map(|(i, object)| document(&object, i)).collect::<PyResult<_>>().map(Some)
}

/// The rows of a list, or of columns.
pub(super) fn rows_of<'py>(metadata: &Bound<'py, PyAny>, rows: usize) -> PyResult<Bound<'py, PyList>> {
    if let Ok(list) = metadata.cast::<PyList>() {
        return Ok(list.clone());
    }
    let py = metadata.py();
    let rows = py.import(intern!(py, "nearfield.columns"))?.call_method1(intern!(py, "rows"), (metadata, rows))?;
    Ok(rows.cast_into::<PyList>()?)
}

/// One dict as a document; None has no names in it.
fn document(object: &Bound<'_, PyAny>, position: usize) -> PyResult<Document> {
    if object.is_none() {
        return Ok(Document::empty());
    }
    if !object.is_instance_of::<PyDict>() {
        let message =
            format!("expected a dict as metadata of each row, got {} at position {position}", type_name(object));
        return Err(dtype_error(object.py(), message));
    }
    let walk =
        Walk { what: format!("the metadata at position {position} cannot be kept"), ..Walk::new(Document::MAX_DEPTH) };
    let made = Document::new(&Node { object, walk: &walk, depth: 0 }, position);
    made.map_err(|error| walk.error(object.py()).unwrap_or_else(|| raise(object.py(), error)))
}

/// A value that is none of the core's business yet: a filter, a patch.
pub(super) fn json(object: &Bound<'_, PyAny>, what: &str, depth: usize) -> PyResult<serde_json::Value> {
    let walk = Walk { what: what.to_owned(), ..Walk::new(depth) };
    serde_json::to_value(Node { object, walk: &walk, depth: 0 })
        .map_err(|error| walk.error(object.py()).unwrap_or_else(|| PyValueError::new_err(format!("{what}: {error}"))))
}

fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().fully_qualified_name().map_or("something else".to_owned(), |name| name.to_string())
}

/// One way through an object, and what was wrong on it.
struct Walk {
    /// What the messages begin with.
    what: String,
    max_depth: usize,
    /// The names that lead to the fault, the last one first.
    path: RefCell<Vec<String>>,
    fault: RefCell<Option<Fault>>,
}

enum Fault {
    Type(String),
    Value(String),
}

impl Walk {
    fn new(max_depth: usize) -> Walk {
        Walk { what: String::new(), max_depth, path: RefCell::default(), fault: RefCell::default() }
    }

    fn fail<E: serde::ser::Error>(&self, fault: Fault) -> E {
        *self.fault.borrow_mut() = Some(fault);
        E::custom("it is no JSON")
    }

    /// The exception for what was wrong.
    fn error(&self, py: Python<'_>) -> Option<PyErr> {
        let fault = self.fault.borrow_mut().take()?;
        let path: Vec<String> = self.path.borrow().iter().rev().take(10).cloned().collect();
        let place = if path.is_empty() { String::new() } else { format!(" at {}:", path.join(" > ")) };
        let say = |what| format!("{}:{place} {what}", self.what);
        Some(match fault {
            Fault::Type(what) => dtype_error(py, say(what)),
            Fault::Value(what) => PyValueError::new_err(say(what)),
        })
    }
}

/// A Python object, on its way to JSON.
struct Node<'a, 'py> {
    object: &'a Bound<'py, PyAny>,
    walk: &'a Walk,
    depth: usize,
}

impl<'a, 'py> Node<'a, 'py> {
    fn inside<'b>(&self, object: &'b Bound<'py, PyAny>) -> Node<'b, 'py>
    where
        'a: 'b,
    {
        Node { object, walk: self.walk, depth: self.depth + 1 }
    }

    fn descend<E: serde::ser::Error>(&self) -> Result<(), E> {
        if self.depth < self.walk.max_depth {
            return Ok(());
        }
        let what = format!("lists and dicts are more than {} deep", self.walk.max_depth);
        Err(self.walk.fail(Fault::Value(what)))
    }

    fn text<E: serde::ser::Error>(&self, text: &'a Bound<'py, PyString>) -> Result<&'a str, E> {
        text.to_str().map_err(|_| self.walk.fail(Fault::Value("a string is no valid Unicode".to_owned())))
    }

    fn dict<S: Serializer>(&self, dict: &Bound<'py, PyDict>, serializer: S) -> Result<S::Ok, S::Error> {
        self.descend()?;
        let mut names = Vec::with_capacity(dict.len());
        let items: Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)> = dict.iter().collect();
        for (name, value) in &items {
            let Ok(name) = name.cast::<PyString>() else {
                let what = format!("expected names that are str, got {}", type_name(name));
                return Err(self.walk.fail(Fault::Type(what)));
            };
            let text =
                name.to_str().map_err(|_| self.walk.fail(Fault::Value("a name is no valid Unicode".to_owned())))?;
            names.push((text, value));
        }
        names.sort_unstable_by_key(|(name, _)| *name);
        let mut map = serializer.serialize_map(Some(names.len()))?;
        for (name, value) in names {
            let entry = map.serialize_entry(name, &self.inside(value));
            entry.inspect_err(|_| self.walk.path.borrow_mut().push(name.chars().take(100).collect()))?;
        }
        map.end()
    }

    fn list<S: Serializer>(
        &self,
        items: impl ExactSizeIterator<Item = Bound<'py, PyAny>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        self.descend()?;
        let mut list = serializer.serialize_seq(Some(items.len()))?;
        for (i, item) in items.enumerate() {
            let element = list.serialize_element(&self.inside(&item));
            element.inspect_err(|_| self.walk.path.borrow_mut().push(i.to_string()))?;
        }
        list.end()
    }

    fn whole<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Ok(number) = self.object.extract::<i64>() {
            return serializer.serialize_i64(number);
        }
        match self.object.extract::<u64>() {
            Ok(number) => serializer.serialize_u64(number),
            Err(_) => Err(self.walk.fail(Fault::Value(
                "a whole number has more than 64 bits; write it as a string or a float".to_owned(),
            ))),
        }
    }

    fn float<S: Serializer>(&self, number: f64, serializer: S) -> Result<S::Ok, S::Error> {
        if number.is_finite() {
            return serializer.serialize_f64(number);
        }
        let what = format!("{number} is no JSON value; use None for what is missing, or leave the name out");
        Err(self.walk.fail(Fault::Value(what)))
    }

    /// Numbers and arrays of NumPy; of anything else, what it is.
    fn foreign<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let py = self.object.py();
        let is_array = self.object.cast::<PyUntypedArray>().is_ok();
        let method = if is_array { intern!(py, "tolist") } else { intern!(py, "item") };
        let is_numpy = || self.object.get_type().module().is_ok_and(|module| module == "numpy");
        if (is_array || is_numpy())
            && let Ok(value) = self.object.call_method0(method)
            && !value.get_type().is(self.object.get_type())
        {
            // As deep as it was: a scalar takes the place of a scalar.
            self.descend()?;
            return Node { object: &value, walk: self.walk, depth: self.depth + usize::from(!is_array) }
                .serialize(serializer);
        }
        let what = format!(
            "expected None, bool, int, float, str, a list or a dict, got {}{}",
            type_name(self.object),
            if self.object.hasattr(intern!(py, "isoformat")).unwrap_or(false) {
                "; .isoformat() makes a str of it"
            } else {
                ""
            }
        );
        Err(self.walk.fail(Fault::Type(what)))
    }
}

impl Serialize for Node<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let object = self.object;
        if let Ok(text) = object.cast::<PyString>() {
            return serializer.serialize_str(self.text(text)?);
        }
        if object.is_none() {
            return serializer.serialize_unit();
        }
        if let Ok(value) = object.cast::<PyBool>() {
            return serializer.serialize_bool(value.is_true());
        }
        if object.is_instance_of::<PyInt>() {
            return self.whole(serializer);
        }
        if let Ok(number) = object.cast::<PyFloat>() {
            return self.float(number.value(), serializer);
        }
        if let Ok(dict) = object.cast::<PyDict>() {
            return self.dict(dict, serializer);
        }
        if let Ok(list) = object.cast::<PyList>() {
            return self.list(list.iter(), serializer);
        }
        if let Ok(tuple) = object.cast::<PyTuple>() {
            return self.list(tuple.iter(), serializer);
        }
        self.foreign(serializer)
    }
}
