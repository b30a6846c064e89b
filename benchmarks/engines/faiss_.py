"""Faiss: the graph over full rows (HNSWFlat) and the exact scan (Flat).

Faiss has no cosine, so it is given normalised rows and the inner product. It takes its number of threads from
OpenMP, for the whole process: the build raises it and puts it back.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from engines import Engine, Ids, Metric, Vectors


class Faiss(Engine):
    """What all index types share; a new one says only how it is made and what its knob is."""

    metrics = frozenset({"dot", "l2"})
    distribution = "faiss-cpu"
    index: Any

    @abstractmethod
    def empty_index(self, dim: int, metric: int) -> Any: ...

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        import faiss

        faiss.omp_set_num_threads(threads)
        self.index = self.empty_index(
            base.shape[1], faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
        )
        self.index.add(base)
        faiss.omp_set_num_threads(self.threads)

    def search_one(self, query: Vectors, k: int) -> Ids:
        ids: Ids = self.index.search(query[None], k)[1][0]
        return ids

    def search_batch(self, queries: Vectors, k: int) -> Ids:
        ids: Ids = self.index.search(queries, k)[1]
        return ids


class FaissFlat(Faiss):
    kind = "flat"

    def empty_index(self, dim: int, metric: int) -> Any:
        import faiss

        return faiss.IndexFlat(dim, metric)


class FaissHnsw(Faiss):
    kind = "graph"

    def empty_index(self, dim: int, metric: int) -> Any:
        import faiss

        index = faiss.IndexHNSWFlat(dim, self.params["m"], metric)
        index.hnsw.efConstruction = self.params["ef_construction"]
        return index

    def set(self, value: int) -> None:
        self.index.hnsw.efSearch = value
