"""USearch: the graph, with full rows and with half-precision rows, which are lighter and often faster, and
the exact search.

Neither takes a filter from Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engines import Engine, Ids, Metric, Params, Vectors

METRICS = {"cosine": "cos", "dot": "ip", "l2": "l2sq"}


class Usearch(Engine):
    kind = "graph"
    metrics = frozenset({"cosine", "dot", "l2"})
    distribution = "usearch"
    index: Any

    @classmethod
    def variants(cls, m: Sequence[int], ef_construction: int) -> list[Params]:
        return [
            {**graph, "dtype": dtype}
            for graph in super().variants(m, ef_construction)
            for dtype in ("f32", "f16")
        ]

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        from usearch.index import Index

        self.index = Index(
            ndim=base.shape[1],
            metric=METRICS[metric],
            dtype=self.params["dtype"],
            connectivity=self.params["m"],
            expansion_add=self.params["ef_construction"],
        )
        self.index.add(np.arange(len(base)), base, threads=threads)

    def set(self, value: float) -> None:
        self.index.expansion_search = int(value)

    def search_one(self, query: Vectors, k: int) -> Ids:
        ids: Ids = self.index.search(query, k, threads=self.threads).keys
        return ids

    def search_batch(self, queries: Vectors, k: int) -> Ids:
        # One method takes both shapes, but a batch of one is answered like a lone query.
        return np.atleast_2d(self.search_one(queries, k))


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
