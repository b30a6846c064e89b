"""From columns to rows: keys and metadata as data frames and arrays have them.

The idea: the core takes keys as a list, and metadata as a list of dicts. Whoever has columns hands them in as
they are; each brings its own way to become a list of Python objects, with None where something is missing.
No other library is imported here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np

from nearfield.errors import DTypeError

__all__ = ["as_list", "rows"]


def as_list(column: Any, what: str = "values") -> list[Any]:
    """Make a list of Python objects from a column.

    Parameters
    ----------
    column : object
        A list, an array of one dimension, a pandas or polars series, an Arrow array, any other iterable.
    what : str
        What is in it, for messages.

    Returns
    -------
    list
        With None where something is missing.

    Raises
    ------
    DTypeError
        If it is no column, or has no order.
    """
    if isinstance(column, list):
        return column
    if isinstance(column, np.ndarray):
        return _from_array(column, what)
    for method in ("to_pylist", "to_list", "tolist"):  # Arrow; polars and pandas; array.array, memoryview
        if hasattr(column, method):
            values: list[Any] = getattr(column, method)()
            return _with_none(values, column) if _is_pandas(column) else values
    ordered = isinstance(column, Iterable) and not isinstance(column, str | bytes | Mapping | set | frozenset)
    if not ordered:
        raise DTypeError(f"expected {what} in a list, an array or a column, got {_kind(column)}")
    return list(column)


def rows(metadata: Any, count: int) -> list[Any]:
    """Make a list of dicts from columns.

    Parameters
    ----------
    metadata : object
        A dict of columns, a pandas or polars data frame, an Arrow table or record batch, or any iterable of
        dicts.
    count : int
        How many rows there must be, for data without columns.

    Returns
    -------
    list of dict
        A row each.

    Raises
    ------
    DTypeError
        If it is neither columns nor dicts.
    ValueError
        If columns differ in length; names the first that does.
    """
    if _is_pandas(metadata) and hasattr(metadata, "columns"):
        return _zipped({name: metadata[name] for name in metadata.columns}, count)
    if hasattr(metadata, "to_dicts"):  # polars
        return list(metadata.to_dicts())
    if hasattr(metadata, "to_pylist"):  # Arrow
        return list(metadata.to_pylist())
    if isinstance(metadata, Mapping):
        return _zipped(metadata, count)
    return as_list(metadata, "metadata")


def _zipped(columns: Mapping[Any, Any], count: int) -> list[dict[Any, Any]]:
    names = list(columns)
    lists = [_column(name, columns[name]) for name in names]
    for name, values in zip(names, lists, strict=True):
        if len(values) != count:
            raise ValueError(
                f"expected columns with one value per row: {count} rows, "
                f"but column {name!r} has {len(values)}"
            )
    if not lists:
        return [{} for _ in range(count)]
    return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]


def _column(name: Any, column: Any) -> list[Any]:
    if isinstance(column, str | bytes | Mapping | AbstractSet):
        raise DTypeError(
            f"expected a dict of columns, but {name!r}, a column, is a {_kind(column)}; "
            "for rows pass a list with one dict each"
        )
    return as_list(column, f"the column {name!r}")


def _from_array(array: Any, what: str) -> list[Any]:
    if np.ma.isMaskedArray(array):
        return list(array.tolist())
    if array.ndim == 0:
        raise DTypeError(f"expected {what} in a 1-D array, got a single value")
    return list(array.tolist())


def _with_none(values: list[Any], column: Any) -> list[Any]:
    """The same, with None for what pandas calls missing; but among floats NaN stays what it is, a float."""
    if getattr(column.dtype, "kind", "O") == "f":
        return [None if type(value).__name__ == "NAType" else value for value in values]
    return [None if missing else value for value, missing in zip(values, column.isna().tolist(), strict=True)]


def _is_pandas(obj: Any) -> bool:
    return type(obj).__module__.partition(".")[0] == "pandas"


def _kind(obj: Any) -> str:
    """Name the type of an object as its users know it."""
    module = type(obj).__module__.partition(".")[0]
    name = type(obj).__qualname__
    return name if module == "builtins" else f"{module}.{name}"
