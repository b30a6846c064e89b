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
file. `open` opens a store: collections of rows under keys, with metadata, that survive whatever happens to
the process. `evaluate` says how good and how fast an index is on your own queries.
"""

from __future__ import annotations

from typing import Any

from nearfield import plot
from nearfield._core import Collection, Filter, FlatIndex, HnswIndex, Index, QuantizedIndex, Store, load

# Not in __all__: whoever imports everything keeps the open of Python.
from nearfield._core import open as open
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
from nearfield.files import AnnData, read_ann_hdf5, read_vectors
from nearfield.filters import Expr, field
from nearfield.fuse import Fused, fuse
from nearfield.hits import CollectionResult, Hit, Row
from nearfield.results import RangeResult, SearchResult
from nearfield.tune import tune

__version__: str


def __getattr__(name: str) -> Any:
    if name != "__version__":
        raise AttributeError(f"module 'nearfield' has no attribute {name!r}")
    from importlib.metadata import version  # asked for rarely, and slower to import than all the rest

    return version("nearfield")


__all__ = [
    "AnnData",
    "CapacityError",
    "Collection",
    "CollectionExistsError",
    "CollectionNotFoundError",
    "CollectionResult",
    "CorruptionError",
    "DTypeError",
    "DimensionError",
    "DuplicateKeyError",
    "Expr",
    "Filter",
    "FilterError",
    "FlatIndex",
    "FormatVersionError",
    "Fused",
    "Hit",
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
    "Row",
    "SearchResult",
    "Store",
    "__version__",
    "evaluate",
    "exact_neighbors",
    "field",
    "fuse",
    "load",
    "plot",
    "read_ann_hdf5",
    "read_vectors",
    "tune",
]
