"""The engines that race, and the interface they share.

An engine is one way of answering "which k rows are nearest?": a library together with the index type that is
used. To add one, write a subclass of `Engine` in a file of its own here and name it in `REGISTRY`.

Adapters import their library inside methods, never at the top: so this package can be listed and type-checked
on a machine that has none of them, and no library is ever loaded into the process of another.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

Metric = Literal["cosine", "dot", "l2"]
Kind = Literal["flat", "codes", "rerank", "graph"]
Knob = Literal["ef", "factor", "lists", "epsilon"]
Params = dict[str, Any]
Vectors = NDArray[np.float32]
Ids = NDArray[Any]
Mask = NDArray[np.bool_]

#: The kinds, and the recalls at which rivals of a kind are compared. An exact scan (flat) and a scan of codes
#: alone (codes) have no knob, so there are none: their recall and their speed are told as they are. A scan of
#: codes whose best candidates are scored again from full rows (rerank) is bought for its recall.
RECALLS: dict[Kind, tuple[float, ...]] = {
    "flat": (),
    "codes": (),
    "rerank": (0.95, 0.99, 0.995),
    "graph": (0.90, 0.95, 0.99),
}

#: What is turned to buy recall, unless an engine says otherwise.
KNOBS: dict[Kind, Knob] = {"rerank": "factor", "graph": "ef"}

#: The values of a knob, from fast to accurate: dense where recall climbs steeply, because figures are
#: interpolated between neighbours.
SWEEPS: dict[Knob, tuple[float, ...]] = {
    # The beam width of a graph.
    "ef": (10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 200, 256, 320, 400, 512, 640, 800),
    # Candidates scored again for each neighbour asked for.
    "factor": (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128),
    # How many lists of rows are read.
    "lists": (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768),
    # How much farther than the worst neighbour found so far a graph is still followed.
    "epsilon": (-0.05, -0.02, 0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1, 0.12, 0.15),
}

#: Parameters that tell no variants apart.
SAME_FOR_ALL = ("ef_construction",)

#: Name on the command line -> where the class is. Strings, so that an adapter is imported only when it is
#: wanted.
REGISTRY = {
    "nearfield-hnsw": "engines.ours:NearfieldHnsw",
    "nearfield-half": "engines.ours:NearfieldHalf",
    "nearfield-mapped": "engines.ours:NearfieldMapped",
    "nearfield-lean": "engines.ours:NearfieldLean",
    "nearfield-flat": "engines.ours:NearfieldFlat",
    "nearfield-codes": "engines.ours:NearfieldCodes",
    "nearfield-rerank": "engines.ours:NearfieldRerank",
    "hnswlib": "engines.hnswlib_:HnswlibGraph",
    "hnswlib-flat": "engines.hnswlib_:HnswlibFlat",
    "voyager": "engines.voyager_:Voyager",
    "svs-vamana": "engines.svs_:SvsVamana",
    "vsag-hgraph": "engines.vsag_:VsagHgraph",
    "ngt-onng": "engines.ngt_:NgtOnng",
    "zvec-hnsw": "engines.zvec_:ZvecHnsw",
    "faiss-hnsw": "engines.faiss_:FaissHnsw",
    "faiss-hnsw-sq8": "engines.faiss_:FaissHnswSq8",
    "faiss-ivf-pq": "engines.faiss_:FaissIvfPq",
    "faiss-flat": "engines.faiss_:FaissFlat",
    "faiss-sq8": "engines.faiss_:FaissSq8",
    "faiss-pq-codes": "engines.faiss_:FaissPqCodes",
    "faiss-pq": "engines.faiss_:FaissPq",
    "faiss-rabitq": "engines.faiss_:FaissRabitq",
    "rabitq-symphony": "engines.rabitqlib_:RabitqlibSymphony",
    "rabitq-hnsw": "engines.rabitqlib_:RabitqlibHnsw",
    "rabitq-ivf": "engines.rabitqlib_:RabitqlibIvf",
    "usearch": "engines.usearch_:Usearch",
    "usearch-flat": "engines.usearch_:UsearchFlat",
    "scann-flat": "engines.scann_:ScannFlat",
    "scann-ah": "engines.scann_:ScannAh",
    "turbovec": "engines.turbovec_:Turbovec",
    "sqlite-vec": "engines.sqlite_vec_:SqliteVec",
    "numpy-flat": "engines.numpy_:NumpyFlat",
}


class Engine(ABC):
    """One index over one data set, built once and searched many times."""

    kind: ClassVar[Kind]  # rivals are compared within a kind only
    metrics: ClassVar[frozenset[Metric]]  # without "cosine": gets normalised vectors, and `cosine_as`
    cosine_as: ClassVar[Metric] = "dot"  # on normalised vectors "l2" gives the same order
    distribution: ClassVar[str]  # what pip calls it
    ours: ClassVar[bool] = False  # everything else is a peer, and ratios are against the best peer
    filters: ClassVar[bool] = False  # whether `filter` is there

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
    def knob(cls) -> Knob | None:
        """What `set` sets. None: there is nothing to set."""
        return KNOBS.get(cls.kind)

    @classmethod
    def sweep(cls, k: int) -> list[float]:
        """The values `set` is called with. No beam is narrower than the neighbours asked for."""
        knob = cls.knob()
        return [value for value in SWEEPS[knob] if knob != "ef" or value >= k] if knob else []

    @classmethod
    def bits(cls, params: Params) -> float:
        """Bits a dimension that a scan goes through, without what a row has once (a norm, a factor)."""
        return 32

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

    def filter(self, mask: Mask) -> None:
        """From now on, answer only rows where `mask` (n,) is true. Compiled once, for many searches."""
        raise NotImplementedError(f"{type(self).__name__} has no filter")

    def set(self, value: float) -> None:
        """Set the search-time knob to one value of the sweep. An ef and a number of lists are whole."""
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
    return " ".join([name, *(_told(key, value) for key, value in params.items() if key not in SAME_FOR_ALL)])


def _told(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return key if value else f"not-{key}"
    return {"m": f"M{value}", "bits": f"{value}bit", "roots": f"{'' if value == 1 else value}sqrt(n)"}.get(
        key, str(value)
    )


def lists_for(rows: int, roots: int) -> int:
    """Lists to divide rows into: about `roots` times the square root of their number, a power of two."""
    return int(2 ** round(math.log2(roots * math.sqrt(rows))))
