"""USearch: the graph, with full rows, and with rows of two bytes or one a value, which are lighter and often
faster; and the exact search.

Neither takes a filter from Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines import Engine, Ids, Metric, Params, Vectors

METRICS = {"cosine": "cos", "dot": "ip", "l2": "l2sq"}


class Usearch(Engine):
    kind = "graph"
    metrics = frozenset({"cosine", "dot", "l2"})
    distribution = "usearch"
    index: Any
    shifted: bool

    @classmethod
    def variants(cls, m: Sequence[int], ef_construction: int) -> list[Params]:
        return [
            {**graph, "dtype": dtype}
            for graph in super().variants(m, ef_construction)
            for dtype in ("f32", "f16", "i8")
        ]

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        from usearch.index import Index

        self.shifted = metric == "l2" and self.params["dtype"] == "i8"
        self.index = Index(
            ndim=base.shape[1],
            metric=METRICS[metric],
            dtype=self.params["dtype"],
            connectivity=self.params["m"],
            expansion_add=self.params["ef_construction"],
        )
        self.index.add(np.arange(len(base)), self._as_kept(base), threads=threads)

    def set(self, value: float) -> None:
        self.index.expansion_search = int(value)

    def search_one(self, query: Vectors, k: int) -> Ids:
        ids: Ids = self.index.search(self._as_kept(query), k, threads=self.threads).keys
        return ids

    def search_batch(self, queries: Vectors, k: int) -> Ids:
        # One method takes both shapes, but a batch of one is answered like a lone query.
        return np.atleast_2d(self.search_one(queries, k))

    def _as_kept(self, vectors: Vectors) -> Vectors | NDArray[np.int8]:
        """Of floats, it scales every vector by itself, which only angles survive. So bytes, whose distances
        a common shift does not change, are shifted here.
        """
        if not self.shifted:
            return vectors
        kept = (vectors - 128).astype(np.int8)
        if not np.array_equal(kept, vectors - 128):
            raise ValueError("i8 and l2: expected whole numbers from 0 to 255")
        return kept


class UsearchFlat(Engine):
    """`search(..., exact=True)` over an array. No cosine: inner products of normalised rows are faster."""

    kind = "flat"
    metrics = frozenset({"dot", "l2"})
    distribution = "usearch"

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        from usearch.index import MetricKind

        self.rows = base.copy()  # an index keeps rows of its own; so its costs compare
        self.metric = {"dot": MetricKind.IP, "l2": MetricKind.L2sq}[metric]

    def search_one(self, query: Vectors, k: int) -> Ids:
        from usearch.index import search

        ids: Ids = search(self.rows, query, k, self.metric, exact=True, threads=self.threads).keys
        return ids

    def search_batch(self, queries: Vectors, k: int) -> Ids:
        return np.atleast_2d(self.search_one(queries, k))  # as above
