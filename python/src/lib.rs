//! The extension module `nearfield._core`: the core's indexes and its store, for Python.
//!
//! Thin on purpose. A call extracts its arguments, lets go of the interpreter, calls the core and wraps what comes back. The core
//! never waits while attached, and this crate has no unsafe code.

#![forbid(unsafe_code)]

mod arguments;
mod array;
mod call;
mod error;
mod filter;
mod index;
mod store;

use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

/// Turn scores into distances: 1 - score for "cosine", -score for the others.
///
/// Parameters
/// ----------
/// scores : ndarray of float32, shape (n,)
/// metric : {"cosine", "dot", "l2", "l1", "hamming"}
///
/// Returns
/// -------
/// ndarray of float32, shape (n,)
///     Natural units: smaller is nearer. The distance of a missing result (score -inf) is inf.
#[pyfunction]
fn distances<'py>(
    py: Python<'py>,
    scores: PyReadonlyArray1<'py, f32>,
    metric: &str,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let metric = arguments::parse_metric(metric)?;
    let distances: Vec<f32> = scores.as_array().iter().map(|&score| metric.distance(score)).collect();
    Ok(PyArray1::from_vec(py, distances))
}

/// The instruction set in use: "portable", "avx2", "avx512" or "neon".
///
/// The environment variable NEARFIELD_SIMD, read once, caps it.
#[pyfunction]
fn simd_level() -> &'static str {
    nearfield::simd_level()
}

#[pyfunction]
fn _before_fork(py: Python<'_>) {
    py.detach(nearfield::fork::prepare);
}

#[pyfunction]
fn _after_fork_in_parent() {
    nearfield::fork::finish(false);
}

#[pyfunction]
fn _after_fork_in_child() {
    nearfield::fork::finish(true);
}

/// What Python sees of the Rust core.
#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<index::Index>()?;
    module.add_class::<index::FlatIndex>()?;
    module.add_class::<index::QuantizedIndex>()?;
    module.add_class::<index::HnswIndex>()?;
    module.add_class::<filter::Filter>()?;
    module.add_class::<store::Store>()?;
    module.add_class::<store::Collection>()?;
    module.add_class::<store::Scan>()?;
    module.add_function(wrap_pyfunction!(store::open, module)?)?;
    // Not for users, so not in __all__.
    module.setattr("_decode", wrap_pyfunction!(store::_decode, module)?)?;
    module.setattr("_get_meta", wrap_pyfunction!(store::_get_meta, module)?)?;
    module.setattr("_change_meta", wrap_pyfunction!(store::_change_meta, module)?)?;
    module.add_function(wrap_pyfunction!(index::file::load, module)?)?;
    module.add_function(wrap_pyfunction!(distances, module)?)?;
    module.add_function(wrap_pyfunction!(simd_level, module)?)?;
    let os = module.py().import("os")?;
    if os.hasattr("register_at_fork")? {
        let hooks = pyo3::types::PyDict::new(module.py());
        hooks.set_item("before", wrap_pyfunction!(_before_fork, module)?)?;
        hooks.set_item("after_in_parent", wrap_pyfunction!(_after_fork_in_parent, module)?)?;
        hooks.set_item("after_in_child", wrap_pyfunction!(_after_fork_in_child, module)?)?;
        os.call_method("register_at_fork", (), Some(&hooks))?;
    }
    Ok(())
}
