//! A call into the core: detached from the interpreter, but never deaf to it.

use crate::error::raise;
use nearfield::{Call, Caller, Error};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::num::NonZeroUsize;
use std::sync::Mutex;

/// The Python side of a call: looks for signals, reports progress, keeps the exception that either raised.
#[derive(Default)]
struct PythonCaller {
    report: Option<Py<PyAny>>,
    raised: Mutex<Option<PyErr>>,
}

impl PythonCaller {
    fn keep(&self, error: PyErr) {
        if let Ok(mut raised) = self.raised.lock() {
            raised.get_or_insert(error);
        }
    }
}

impl Caller for PythonCaller {
    fn interrupted(&self) -> bool {
        if let Err(error) = Python::attach(|py| py.check_signals()) {
            self.keep(error);
        }
        self.raised.lock().is_ok_and(|raised| raised.is_some())
    }

    fn progress(&self, done: usize, total: usize) {
        let Some(report) = &self.report else { return };
        if let Err(error) = Python::attach(|py| report.call1(py, (done, total))) {
            self.keep(error);
        }
    }
}

/// Runs `body` detached, on `threads` threads.
pub(crate) fn run<T: Send>(
    py: Python<'_>,
    threads: Option<NonZeroUsize>,
    report: Option<Py<PyAny>>,
    body: impl FnOnce(&Call<'_>) -> Result<T, Error> + Send,
) -> PyResult<T> {
    let caller = PythonCaller { report, raised: Mutex::default() };
    let result = py.detach(|| body(&Call::new(&caller, threads)));
    let raised = caller.raised.lock().ok().and_then(|mut raised| raised.take());
    match raised {
        // Even if all was done by then: what the caller's own code raised is never swallowed.
        Some(error) => Err(error),
        None => result.map_err(|error| raise(py, error)),
    }
}

/// `threads=`: None means all cores.
pub(crate) fn threads(given: Option<i64>) -> PyResult<Option<NonZeroUsize>> {
    let Some(count) = given else { return Ok(None) };
    let count = usize::try_from(count).ok().and_then(NonZeroUsize::new);
    count
        .map(Some)
        .ok_or_else(|| PyValueError::new_err(format!("threads must be at least 1, got {}", given.unwrap_or(0))))
}

/// `progress=`: a function of rows done and rows in all, if one is wanted.
pub(crate) fn reporter(progress: Option<&Bound<'_, PyAny>>, description: &str) -> PyResult<Option<Py<PyAny>>> {
    let Some(progress) = progress else { return Ok(None) };
    let module = progress.py().import("nearfield.progress")?;
    let report = module.call_method1("reporter", (progress, description))?;
    Ok((!report.is_none()).then(|| report.unbind()))
}
