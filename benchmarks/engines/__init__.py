"""The engines that race, and the interface they share.

An engine is one way of answering "which k rows are nearest?": a library together with the index type that is
used. To add one, write a subclass of `Engine` in a file of its own here and name it in `REGISTRY`.

Adapters import their library inside methods, never at the top: so this package can be listed and type-checked
on a machine that has none of them, and no library is ever loaded into the process of another.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

Metric = Literal["cosine", "dot", "l2"]
Params = dict[str, Any]
Vectors = NDArray[np.float32]
Ids = NDArray[Any]

#: Beam widths for graphs: dense where recall climbs steeply, because figures are interpolated between
#: neighbours.
EF_VALUES = (10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 200, 256, 320, 400, 512, 640, 800)

#: Name on the command line -> where the class is. Strings, so that an adapter is imported only when it is
#: wanted.
REGISTRY = {
    "nearfield-hnsw": "engines.ours:NearfieldHnsw",
    "nearfield-flat": "engines.ours:NearfieldFlat",
    "hnswlib": "engines.hnswlib_:Hnswlib",
    "faiss-hnsw": "engines.faiss_:FaissHnsw",
    "faiss-flat": "engines.faiss_:FaissFlat",
    "usearch": "engines.usearch_:Usearch",
    "numpy-flat": "engines.numpy_:NumpyFlat",
}


class Engine(ABC):
    """One index over one data set, built once and searched many times."""

    kind: ClassVar[Literal["graph", "flat"]]  # rivals are compared within a kind only
    metrics: ClassVar[frozenset[Metric]]  # without "cosine": gets normalised vectors, and "dot"
    distribution: ClassVar[str]  # what pip calls it
    ours: ClassVar[bool] = False  # everything else is a peer, and ratios are against the best peer

    def __init__(self, params: Params, threads: int) -> None:
        """`params` is one of `variants()`; `threads` is how many a search may use."""
        self.params = params
        self.threads = threads

    @classmethod
    def variants(cls, m: Sequence[int], ef_construction: int) -> list[Params]:
        """The build parameters to race, each as a contender of its own. Graphs: one for each degree `m`."""
        if cls.kind == "graph":
            return [{"m": degree, "ef_construction": ef_construction} for degree in m]
        return [{}]

    @classmethod
    def sweep(cls, k: int) -> list[int]:
        """The values `set` is called with, from fast to accurate. Empty: there is nothing to set."""
        return [ef for ef in EF_VALUES if ef >= k] if cls.kind == "graph" else []

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version(cls.distribution)

    @abstractmethod
    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        """Index `base` (n, d), whose row numbers are the ids. On return, searches use `self.threads`."""

    @abstractmethod
    def search_one(self, query: Vectors, k: int) -> Ids:
        """Ids (<= k,) of the rows nearest to `query` (d,), nearest first."""

    @abstractmethod
    def search_batch(self, queries: Vectors, k: int) -> Ids:
        """Ids (nq, k) for `queries` (nq, d), in one call of the library."""

    def set(self, value: int) -> None:
        """Set the search-time knob (ef, probes, rerank factor) to one value of the sweep."""
        raise NotImplementedError(f"{type(self).__name__} declares a sweep but no way to set it")

    def bytes_per_vector(self) -> float | None:
        """What the library itself says it holds. None: it does not say. The harness measures besides."""
        return None


def engine_class(name: str) -> type[Engine]:
    """The class behind a name of the registry."""
    module, _, attribute = REGISTRY[name].partition(":")
    found: type[Engine] = getattr(importlib.import_module(module), attribute)
    return found


def label(name: str, params: Params) -> str:
    """What a contender is called in tables: the engine and what tells its variant apart."""
    told = {key: value for key, value in params.items() if key != "ef_construction"}  # the same for all
    return " ".join([name, *(f"M{value}" if key == "m" else str(value) for key, value in told.items())])
