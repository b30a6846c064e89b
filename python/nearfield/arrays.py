"""From whatever holds numbers to a NumPy array.

The idea: embeddings arrive as NumPy arrays, lists, tensors, Arrow columns and data frames, and each has one
cheap way to become an array without a copy where that is possible. This module knows these ways and nothing
about vectors: dimensions and values are checked by the core, which also reads any strides and converts
between numeric types. No other library is imported here: an object that comes from one brings its own
methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfield.errors import DimensionError, DTypeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["as_array"]

_EXPECTED = (
    "expected numbers: a NumPy array, a list, a DLPack tensor, an Arrow fixed-size list or a data frame"
)


def as_array(obj: Any) -> NDArray[Any]:
    """Show an object as a NumPy array of numbers.

    Parameters
    ----------
    obj : object
        A NumPy array of any strides (handed back as it is), a list or tuple of numbers or of rows, an
        object with `__dlpack__` (a tensor of PyTorch, JAX, CuPy ... in main memory), an Arrow array of
        fixed-size lists (whole, sliced or chunked), a pandas or polars data frame of numbers, or a column
        whose elements are vectors.

    Returns
    -------
    ndarray
        Of a floating, integer or boolean type in the machine's byte order, any shape; a view where possible.

    Raises
    ------
    DTypeError
        If there are no numbers in it: strings, objects, complex numbers, dates, missing rows, masked values.
    DimensionError
        If the rows of a list have different lengths; the message names the first that differs.
    """
    if isinstance(obj, np.ndarray):
        return _numeric(obj)
    if isinstance(obj, list | tuple):
        return _from_rows(obj)
    if type(obj).__module__.partition(".")[0] == "pyarrow":
        return _numeric(_from_arrow(obj))
    if hasattr(obj, "to_numpy"):
        return _from_column(obj)
    if hasattr(obj, "__dlpack__") or hasattr(obj, "__array__"):
        return _numeric(_from_tensor(obj))
    if isinstance(obj, int | float | np.number):
        return np.asarray(obj)
    if isinstance(obj, Sequence) and not isinstance(obj, str | bytes):
        return _from_rows(obj)
    raise DTypeError(f"{_EXPECTED}, not {_kind(obj)}")


def _kind(obj: Any) -> str:
    """Name the type of an object as its users know it: `pandas.DataFrame`, `dict`."""
    module = type(obj).__module__.partition(".")[0]
    name = type(obj).__qualname__
    return name if module == "builtins" else f"{module}.{name}"


def _numeric(array: NDArray[Any]) -> NDArray[Any]:
    """Hand numbers through, in a type that the core reads; of anything else, say what it is."""
    if np.ma.isMaskedArray(array) and np.ma.getmaskarray(array).any():
        raise DTypeError(
            "expected a number in every place, not masked values; fill them, or leave their rows out"
        )
    dtype = array.dtype
    if dtype.kind in "fiub":
        if dtype.itemsize > 8:  # long double: the core reads up to float64, and refuses what becomes infinite
            with np.errstate(over="ignore"):
                return array.astype(np.float64)
        return array if dtype.isnative else array.astype(dtype.newbyteorder("="))
    if dtype.name == "bfloat16":  # of the package ml_dtypes, which NumPy shows as raw bytes
        return array.astype(np.float32)
    raise DTypeError(f"{_EXPECTED}, not an array of {_elements(array)}")


def _elements(array: NDArray[Any]) -> str:
    """Say what a non-numeric array holds, and what to do about it."""
    kind = array.dtype.kind
    if kind == "O":
        odd = next(
            (x for x in array.flat if not isinstance(x, int | float | np.number)), next(array.flat, None)
        )
        held = _kind(odd)
        advice = "stack rows of one length with np.stack, or convert with .astype(np.float32)"
        return f"Python objects (such as {held}); {advice}"
    if kind in "US":
        return "strings; embed texts with a model, or convert digits with .astype(np.float32)"
    if kind == "c":
        return "complex numbers; store the real and the imaginary parts as one longer real vector"
    if kind in "mM":
        return f"dates or durations ({array.dtype}); turn them into numbers first"
    return f"type {array.dtype}; convert it with .astype(np.float32)"


def _from_rows(rows: Sequence[Any]) -> NDArray[Any]:
    try:
        array = np.asarray(rows)
    except (ValueError, TypeError) as error:
        raise _ragged(rows) or DTypeError(f"{_EXPECTED}; NumPy cannot read this list: {error}") from error
    if array.dtype.kind == "O":
        raise _ragged(rows) or DTypeError(f"{_EXPECTED}, not a list of {_elements(array)}")
    return _numeric(array)


def _ragged(rows: Sequence[Any]) -> DimensionError | None:
    """The first row whose length differs from that of row 0, as an error."""
    lengths = [
        len(row) if hasattr(row, "__len__") and not isinstance(row, str | bytes) else None for row in rows
    ]
    for number, length in enumerate(lengths):
        if length != lengths[0]:
            here, first = ("no list" if n is None else f"{n} values" for n in (length, lengths[0]))
            return DimensionError(f"expected rows of one length: row {number} has {here}, row 0 has {first}")
    return None


def _from_column(column: Any) -> NDArray[Any]:
    """pandas, polars, xarray ...: a frame of numbers, or a column whose elements are vectors."""
    array: NDArray[Any] = np.asarray(column.to_numpy())
    if array.dtype.kind == "O" and array.ndim == 1 and array.size:
        return _from_rows(array.tolist())
    return _numeric(array)


def _from_tensor(tensor: Any) -> NDArray[Any]:
    reason: Exception | None = None
    if hasattr(tensor, "__dlpack__"):
        try:
            return np.from_dlpack(tensor)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            reason = error
    if hasattr(tensor, "__array__"):
        try:
            return np.asarray(tensor)
        except (RuntimeError, TypeError, ValueError) as error:
            reason = reason or error
    raise DTypeError(
        f"expected a tensor of numbers in main memory, but NumPy cannot read this {_kind(tensor)}: {reason}; "
        "for PyTorch pass x.detach().float().cpu().numpy(), for CuPy x.get()"
    ) from reason


def _from_arrow(column: Any) -> NDArray[Any]:
    if hasattr(column, "chunks") and hasattr(column, "chunk"):  # ChunkedArray
        chunks = [_from_arrow(chunk) for chunk in column.chunks if len(chunk)]
        if not chunks:
            return np.empty((0, max(_list_size(column), 0)), dtype=np.float32)
        if any(chunk.shape[1:] != chunks[0].shape[1:] for chunk in chunks):
            sizes = sorted({chunk.shape[-1] for chunk in chunks})
            raise DimensionError(f"expected rows of one length, not chunks with rows of {sizes} values")
        return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
    if not hasattr(column, "type"):
        raise DTypeError(f"{_EXPECTED}, not {_kind(column)}; pass one column of it: table['embedding']")
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise DTypeError(
            f"expected a vector in every row, but row {row} of the Arrow column is null; leave such rows out"
        )
    if hasattr(column, "to_numpy_ndarray"):  # FixedShapeTensorArray
        return np.asarray(column.to_numpy_ndarray())
    if not hasattr(column, "flatten") or not hasattr(column.type, "value_type"):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    width = _list_size(column)
    if width < 0:  # lists of any length: all must have the same
        widths = np.diff(np.asarray(column.offsets))
        width = int(widths[0]) if len(widths) else 0
        odd = np.flatnonzero(widths != width)
        if odd.size:
            here = f"row {odd[0]} has {widths[odd[0]]} values"
            raise DimensionError(f"expected rows of one length: {here}, row 0 has {width} values")
    values = np.asarray(column.flatten().to_numpy(zero_copy_only=False))
    return values.reshape(len(column), width)


def _list_size(column: Any) -> int:
    """The number of values in each row of an Arrow column of lists, -1 where the type does not fix it."""
    return int(getattr(column.type, "list_size", -1))
