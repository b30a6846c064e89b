"""Nearfield: vector search inside the process.

>>> import numpy as np, nearfield as nf
>>> index = nf.HnswIndex(dim=384, metric="cosine")
>>> ids = index.add(np.random.default_rng(0).standard_normal((1000, 384), dtype=np.float32))
>>> result = index.search(np.ones(384, dtype=np.float32), k=10)
>>> result.ids.shape, result.scores.dtype
((10,), dtype('float32'))

`FlatIndex` is exact; `HnswIndex` walks a graph, visits few rows, and finds nearly all of what the exact
search finds; `QuantizedIndex` keeps a few bits of each value, for when memory is short. All keep int64 ids,
take any array of numbers, can be changed at any time, searched from any number of threads, and saved to one
file. `evaluate` says how good and how fast an index is on your own queries.
"""

from __future__ import annotations

from importlib.metadata import version as _version

from nearfield import plot
from nearfield._core import Filter, FlatIndex, HnswIndex, Index, QuantizedIndex, load
from nearfield.errors import (
    CapacityError,
    CollectionExistsError,
    CollectionNotFoundError,
    CorruptionError,
    DimensionError,
    DTypeError,
    DuplicateKeyError,
    FilterError,
    FormatVersionError,
    LockedError,
    MissingKeyError,
    NearfieldError,
    NonFiniteError,
    NoSpaceError,
    ReadOnlyError,
)
from nearfield.evaluate import Measurement, Report, evaluate, exact_neighbors
from nearfield.results import RangeResult, SearchResult
from nearfield.tune import tune

__version__ = _version("nearfield")

__all__ = [
    "CapacityError",
    "CollectionExistsError",
    "CollectionNotFoundError",
    "CorruptionError",
    "DTypeError",
    "DimensionError",
    "DuplicateKeyError",
    "Filter",
    "FilterError",
    "FlatIndex",
    "FormatVersionError",
    "HnswIndex",
    "Index",
    "LockedError",
    "Measurement",
    "MissingKeyError",
    "NearfieldError",
    "NoSpaceError",
    "NonFiniteError",
    "QuantizedIndex",
    "RangeResult",
    "ReadOnlyError",
    "Report",
    "SearchResult",
    "__version__",
    "evaluate",
    "exact_neighbors",
    "load",
    "plot",
    "tune",
]
