"""hnswlib, by the authors of HNSW: the graph and the exact scan. Angles use its own `cosine` space, as its
README advises.

It has a filter, but one that calls into Python for every row: nobody would race with it, so none is declared.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engines import Engine, Ids, Metric, Vectors

SPACES = {"cosine": "cosine", "dot": "ip", "l2": "l2"}


class Hnswlib(Engine):
    """What the graph and the exact scan share."""

    metrics = frozenset({"cosine", "dot", "l2"})
    distribution = "hnswlib"
    index: Any

    def search_one(self, query: Vectors, k: int) -> Ids:
        ids: Ids = self.index.knn_query(query, k)[0][0]
        return ids

    def search_batch(self, queries: Vectors, k: int) -> Ids:
        ids: Ids = self.index.knn_query(queries, k)[0]
        return ids


class HnswlibGraph(Hnswlib):
    kind = "graph"

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        import hnswlib

        rows, dim = base.shape
        self.index = hnswlib.Index(SPACES[metric], dim)
        self.index.init_index(rows, M=self.params["m"], ef_construction=self.params["ef_construction"])
        self.index.add_items(base, np.arange(rows), num_threads=threads)
        self.index.set_num_threads(self.threads)

    def set(self, value: float) -> None:
        self.index.set_ef(int(value))


class HnswlibFlat(Hnswlib):
    kind = "flat"

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        import hnswlib

        rows, dim = base.shape
        self.index = hnswlib.BFIndex(SPACES[metric], dim)
        self.index.init_index(rows)
        self.index.add_items(base, np.arange(rows))
        self.index.set_num_threads(self.threads)
