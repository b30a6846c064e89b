//! From the core's errors to the exceptions of `nearfield.errors`.

use nearfield::Error;
use pyo3::call::PyCallArgs;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

/// An exception of `nearfield.errors`.
pub(crate) fn exception<'py>(py: Python<'py>, class: &str, args: impl PyCallArgs<'py>) -> PyErr {
    let class = py.import("nearfield.errors").and_then(|module| module.getattr(class));
    let made = class.and_then(|class| class.call1(args));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// A `DTypeError`.
pub(crate) fn dtype_error(py: Python<'_>, message: String) -> PyErr {
    exception(py, "DTypeError", (message,))
}

/// The exception for an error of the core.
pub(crate) fn raise(py: Python<'_>, error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::Dimension { .. } | Error::DimensionRange { .. } => exception(py, "DimensionError", (message,)),
        Error::NonFinite { .. } | Error::NormOverflow { .. } => exception(py, "NonFiniteError", (message,)),
        Error::DuplicateId(_) | Error::DuplicateKey(_) => exception(py, "DuplicateKeyError", (message,)),
        Error::MissingId(_) => exception(py, "MissingKeyError", (message,)),
        Error::Capacity { .. } => exception(py, "CapacityError", (message,)),
        Error::ReadOnly | Error::ReadOnlyStore(_) => exception(py, "ReadOnlyError", (message,)),
        Error::CollectionExists { .. } => exception(py, "CollectionExistsError", (message,)),
        Error::CollectionNotFound(_) => exception(py, "CollectionNotFoundError", (message,)),
        Error::Filter { .. } => exception(py, "FilterError", (message,)),
        Error::Locked { pid, .. } => exception(py, "LockedError", (message, pid)),
        Error::Poisoned { .. } | Error::NotAStore { .. } => PyOSError::new_err(message),
        Error::Corruption { path, block, .. } => {
            exception(py, "CorruptionError", (message, path.to_string_lossy(), block))
        }
        Error::FormatVersion { .. } => exception(py, "FormatVersionError", (message,)),
        Error::NoSpace { .. } => exception(py, "NoSpaceError", (message,)),
        Error::Io { path, source } => match source.raw_os_error() {
            Some(code) => PyOSError::new_err((code, source.to_string(), path)),
            None => PyOSError::new_err(message),
        },
        Error::Unfit { .. }
        | Error::IdRange { .. }
        | Error::IdCount { .. }
        | Error::MaskLength { .. }
        | Error::StaleSelection
        | Error::InvalidKey { .. }
        | Error::CountMismatch { .. }
        | Error::InvalidMetadata { .. }
        | Error::Closed
        | Error::InvalidArgument(_) => PyValueError::new_err(message),
        // Interrupted without an exception of its own, and what later versions of the core may add.
        _ => PyRuntimeError::new_err(message),
    }
}
