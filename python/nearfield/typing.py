"""The names of types that appear in Nearfield's signatures, for annotating code that calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union

if TYPE_CHECKING:
    from nearfield._core import Filter
    from nearfield.filters import Expr

__all__ = ["Codec", "Key", "Metric", "Progress", "VectorLike", "Where"]

Metric: TypeAlias = Literal["cosine", "dot", "l2", "l1", "hamming"]
"""How two vectors are compared."""

Codec: TypeAlias = Literal[
    "auto", "f32", "f16", "bf16", "u8", "i8", "b1",
    "rabitq1", "turbo2", "turbo3", "turbo4", "rabitq5", "rabitq6", "rabitq7", "n8",
]  # fmt: skip
"""How rows are kept; "auto" leaves it to the index. From "rabitq1" on: the codes of a `QuantizedIndex`."""

VectorLike: TypeAlias = Any
"""Anything NumPy can show as a 1-D or 2-D array of numbers: see `nearfield.arrays.as_array`."""

Progress: TypeAlias = bool | Callable[[int, int], None]
"""False: silent. True: a bar. A function: called with (rows done, rows in all)."""

Key: TypeAlias = str | bytes | int
"""What a row of a collection is called. Typed: 1, "1" and b"1" are three; in order int < bytes < str."""

Where: TypeAlias = Union[Mapping[str, Any], "Expr", "Filter"]
"""Which rows of a collection: `{"year": {"$gte": 2020}}`, `field("year") >= 2020`, or a compiled filter."""
