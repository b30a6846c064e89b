"""Every error that Nearfield raises on purpose.

The idea: one root to catch everything, and beside it the built-in exception that a reader of the code would
expect, so `except ValueError` and `except KeyError` work without knowing Nearfield. A message says what was
expected, what was given, and what to do about it. All of them survive pickling with their attributes,
because worker processes hand them back that way.
"""

from __future__ import annotations

import os

__all__ = [
    "CapacityError",
    "CollectionExistsError",
    "CollectionNotFoundError",
    "CorruptionError",
    "DTypeError",
    "DimensionError",
    "DuplicateKeyError",
    "FilterError",
    "FormatVersionError",
    "LockedError",
    "MissingKeyError",
    "NearfieldError",
    "NoSpaceError",
    "NonFiniteError",
    "ReadOnlyError",
]


class NearfieldError(Exception):
    """The root of all errors that Nearfield raises on purpose.

    Parameters
    ----------
    message : str
        What was expected, what was given, and what to do.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message)

    def __str__(self) -> str:
        # KeyError would print its message in quotes, as if it were the missing key itself.
        return BaseException.__str__(self)


class DimensionError(NearfieldError, ValueError):
    """An array has the wrong number of axes, or rows of the wrong length."""


class NonFiniteError(NearfieldError, ValueError):
    """A vector holds NaN or infinity, or is too large for float32; the message names row and column."""


class FilterError(NearfieldError, ValueError):
    """A filter cannot be understood; the message names the path inside it."""


class DTypeError(NearfieldError, TypeError):
    """An array, ids, keys or metadata have values of a type that they cannot have."""


class DuplicateKeyError(NearfieldError, KeyError):
    """An id or key exists already, or is given twice in one call."""


class MissingKeyError(NearfieldError, KeyError):
    """An id or key that was asked for is not there; the message names the first one."""


class CollectionExistsError(NearfieldError, ValueError):
    """A collection of this name exists already, with another schema."""


class CollectionNotFoundError(NearfieldError, KeyError):
    """There is no collection of this name."""


class CapacityError(NearfieldError, MemoryError):
    """The cap `max_bytes` would be passed, or the system has no memory left; nothing was allocated."""


class ReadOnlyError(NearfieldError, OSError):
    """A mapped index, or a store opened for reading, was asked to change; `index.copy()` can be."""


class LockedError(NearfieldError, OSError):
    """Another process has the store open for writing.

    Parameters
    ----------
    message : str
        What was expected, what was given, and what to do.
    pid : int, optional
        The process that holds the lock, where it is known.
    """

    pid: int | None

    def __init__(self, message: str = "", pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class NoSpaceError(NearfieldError, OSError):
    """The disk is full; nothing was committed."""


class CorruptionError(NearfieldError, OSError):
    """A file is truncated, damaged, or was not written by Nearfield.

    Parameters
    ----------
    message : str
        What was expected, what was given, and what to do.
    path : str or path-like, optional
        The file; kept as a string.
    block : str, optional
        The part of the file that is damaged: `header`, or the name of a section.
    """

    path: str | None
    block: str | None

    def __init__(
        self, message: str = "", path: str | os.PathLike[str] | None = None, block: str | None = None
    ) -> None:
        super().__init__(message)
        self.path = None if path is None else os.fspath(path)
        self.block = block


class FormatVersionError(NearfieldError, OSError):
    """A file was written in a format that this version of Nearfield does not read."""
