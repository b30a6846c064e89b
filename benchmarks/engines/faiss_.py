"""Faiss: graphs over full rows and over bytes, lists of codes, the exact scan, and scans of codes.

Faiss has no cosine, so it is given normalised rows and the inner product. It takes its number of threads from
OpenMP, for the whole process: the build raises it and puts it back.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from engines import Engine, Ids, Knob, Mask, Metric, Params, Vectors, lists_for

#: Queries from which on BLAS is faster on one thread, measured for 128, 384 and 1,024 dimensions.
BLAS_BATCH = 4
#: Up to here the limit is one of older versions, which counted queries (20), not values.
FEWEST_VALUES = 1_000
#: Candidates that lists of codes give to be scored again, for each neighbour asked for. Measured on 384
#: dimensions: reading all lists finds 0.993 of the neighbours with 4, and 0.996 with 10, which costs a fifth
#: of the speed up to a recall of 0.95.
LIST_FACTOR = 6


def library() -> Any:
    """Faiss, untyped: its stubs do not know what its Python layer adds to the constructors."""
    return importlib.import_module("faiss")


def pq(dim: int) -> str:
    """Product quantization in the width that Faiss' authors pack for registers."""
    return f"PQ{dim // 2}x4fs"


class Faiss(Engine):
    """What all index types share; a new one says only how it is made and what its knob is."""

    metrics = frozenset({"dot", "l2"})
    distribution = "faiss-cpu"
    rows: int
    index: Any
    parameters: Any = None  # of a search: what it may answer

    @abstractmethod
    def empty_index(self, dim: int, metric: int) -> Any: ...

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        faiss = library()
        faiss.omp_set_num_threads(threads)
        self.rows = len(base)
        self.index = self.empty_index(
            base.shape[1], faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
        )
        self.index.train(base)  # nothing to do for full rows
        self.index.add(base)
        faiss.omp_set_num_threads(self.threads)

    def filter(self, mask: Mask) -> None:
        faiss = library()
        self.parameters = faiss.SearchParameters(sel=self.selector(mask))

    def selector(self, mask: Mask) -> Any:
        """The fastest that Faiss has: one bit a row."""
        faiss = library()
        return faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))

    def search_one(self, query: Vectors, k: int) -> Ids:
        ids: Ids = self.index.search(query[None], k, params=self.parameters)[1][0]
        return ids

    def search_batch(self, queries: Vectors, k: int) -> Ids:
        ids: Ids = self.index.search(queries, k, params=self.parameters)[1]
        return ids

    def bytes_per_vector(self) -> float | None:
        return float(self.index.sa_code_size())


class FaissFlat(Faiss):
    """As it comes, and tuned for few threads.

    Since 1.15 a batch goes to BLAS from 128,000 query values on, a limit found with many threads. With one
    thread BLAS wins far sooner, as its authors say in their pull request 5109; and users may set the limit.
    """

    kind = "flat"
    filters = True

    @classmethod
    def variants(cls, m: Sequence[int], ef_construction: int) -> list[Params]:
        return [{"tuned": True}, {"tuned": False}]

    def empty_index(self, dim: int, metric: int) -> Any:
        faiss = library()
        if self.params["tuned"] and faiss.cvar.distance_compute_blas_threshold > FEWEST_VALUES:
            faiss.cvar.distance_compute_blas_threshold = BLAS_BATCH * dim * self.threads
        return faiss.IndexFlat(dim, metric)


class FaissSq8(Faiss):
    """One byte a dimension, between the least and the largest value of that dimension."""

    kind = "codes"
    filters = True

    @classmethod
    def bits(cls, params: Params) -> float:
        return 8

    def empty_index(self, dim: int, metric: int) -> Any:
        faiss = library()
        return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, metric)


class FaissPqCodes(Faiss):
    """Four bits for every two dimensions, looked up in registers."""

    kind = "codes"

    @classmethod
    def bits(cls, params: Params) -> float:
        return 2

    def empty_index(self, dim: int, metric: int) -> Any:
        return library().index_factory(dim, pq(dim), metric)


class FaissRefined(Faiss):
    """A scan of packed codes whose best candidates are scored again from full rows. It takes no filter."""

    kind = "rerank"

    @abstractmethod
    def codes(self, dim: int) -> str:
        """The scan, in the language of Faiss' index factory."""

    def empty_index(self, dim: int, metric: int) -> Any:
        faiss = library()
        return faiss.index_factory(dim, f"{self.codes(dim)},RFlat", metric)

    def set(self, value: float) -> None:
        self.index.k_factor = value


class FaissPq(FaissRefined):
    """The codes of `FaissPqCodes`, and full rows besides."""

    @classmethod
    def bits(cls, params: Params) -> float:
        return 2

    def codes(self, dim: int) -> str:
        return pq(dim)


class FaissRabitq(FaissRefined):
    """One bit a dimension. Its authors leave the random rotation to the user, so both ways race."""

    @classmethod
    def variants(cls, m: Sequence[int], ef_construction: int) -> list[Params]:
        return [{"rotated": True}, {"rotated": False}]

    @classmethod
    def bits(cls, params: Params) -> float:
        return 1

    def codes(self, dim: int) -> str:
        return f"RR{dim},RaBitQfs" if self.params["rotated"] else "RaBitQfs"


class FaissHnsw(Faiss):
    kind = "graph"
    filters = True
    allowed: Any = None

    def empty_index(self, dim: int, metric: int) -> Any:
        index = self.empty_graph(dim, metric)
        index.hnsw.efConstruction = self.params["ef_construction"]
        return index

    def empty_graph(self, dim: int, metric: int) -> Any:
        return library().IndexHNSWFlat(dim, self.params["m"], metric)

    def filter(self, mask: Mask) -> None:
        self.allowed = self.selector(mask)
        self.set(self.index.hnsw.efSearch)

    def set(self, value: float) -> None:
        faiss = library()
        selected = {} if self.allowed is None else {"sel": self.allowed}
        self.parameters = faiss.SearchParametersHNSW(efSearch=int(value), **selected)

    def bytes_per_vector(self) -> float | None:
        return None  # its code size is without the links


class FaissHnswSq8(FaissHnsw):
    """The same graph over the codes of `FaissSq8`; the rows are gone after the build."""

    def empty_graph(self, dim: int, metric: int) -> Any:
        faiss = library()
        return faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, self.params["m"], metric)


class FaissIvfPq(Faiss):
    """Lists of the codes of `FaissPqCodes`, whose best candidates are scored again from full rows.

    The same with RaBitQ codes does not race: it was measured to be slower at every setting. The authors say
    to take 4 times the square root of the number of rows or more; for lone queries fewer lists are faster.
    """

    kind = "graph"

    @classmethod
    def variants(cls, m: Sequence[int], ef_construction: int) -> list[Params]:
        return [{"roots": 1}, {"roots": 4}]

    @classmethod
    def knob(cls) -> Knob:
        return "lists"

    def empty_index(self, dim: int, metric: int) -> Any:
        lists = lists_for(self.rows, self.params["roots"])
        index = library().index_factory(dim, f"IVF{lists},{pq(dim)},RFlat", metric)
        index.k_factor = LIST_FACTOR
        return index

    def set(self, value: float) -> None:
        library().extract_index_ivf(self.index.base_index).nprobe = int(value)
