"""Nearfield: the graph index and the exact index.

The file is not called nearfield.py because engines are looked up by file, and a reader should never wonder
which `nearfield` an import means.
"""

from __future__ import annotations

from typing import Any

from engines import Engine, Ids, Metric, Vectors


class NearfieldHnsw(Engine):
    kind = "graph"
    metrics = frozenset({"cosine", "dot", "l2"})
    distribution = "nearfield"
    ours = True
    index: Any

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        import nearfield as nf

        self.index = nf.HnswIndex(
            base.shape[1],
            metric,
            m=self.params["m"],
            ef_construction=self.params["ef_construction"],
            threads=threads,
        )
        self.index.add(base)
        self.ef = 64

    def set(self, value: int) -> None:
        self.ef = value

    def search_one(self, query: Vectors, k: int) -> Ids:
        ids: Ids = self.index.search(query, k, ef=self.ef, threads=self.threads).ids
        return ids

    def search_batch(self, queries: Vectors, k: int) -> Ids:
        return self.search_one(queries, k)  # one method takes both shapes


class NearfieldFlat(Engine):
    kind = "flat"
    metrics = frozenset({"cosine", "dot", "l2"})
    distribution = "nearfield"
    ours = True
    index: Any

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        import nearfield as nf

        self.index = nf.FlatIndex(base.shape[1], metric, threads=threads)
        self.index.add(base)

    def search_one(self, query: Vectors, k: int) -> Ids:
        ids: Ids = self.index.search(query, k, threads=self.threads).ids
        return ids

    def search_batch(self, queries: Vectors, k: int) -> Ids:
        return self.search_one(queries, k)  # one method takes both shapes
