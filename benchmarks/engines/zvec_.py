"""Zvec, by Alibaba: a database inside the process. Its HNSW, over full rows or over bytes with a second look.

Answers are documents, whose ids are text, and there is no call for many queries: that is its interface, and
what is measured. It keeps its files in a folder that the process removes when it ends.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from engines import Engine, Ids, Metric, Params, Vectors

METRICS = {"cosine": "COSINE", "dot": "IP", "l2": "L2"}
#: Rows an insertion may have.
INSERTED = 1_000


class ZvecHnsw(Engine):
    kind = "graph"
    metrics = frozenset({"cosine", "dot", "l2"})
    distribution = "zvec"
    collection: Any

    @classmethod
    def variants(cls, m: Sequence[int], ef_construction: int) -> list[Params]:
        return [
            {**graph, "dtype": dtype}
            for graph in super().variants(m, ef_construction)
            for dtype in ("f32", "i8")
        ]

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        import zvec

        with contextlib.suppress(RuntimeError):  # a process may say it once only
            zvec.init(log_level=zvec.LogLevel.ERROR, query_threads=self.threads, optimize_threads=threads)
        self.zvec = zvec
        self.folder = tempfile.TemporaryDirectory()
        self.collection = zvec.create_and_open(
            f"{self.folder.name}/rows", self._schema(base.shape[1], metric)
        )
        for start in range(0, len(base), INSERTED):
            rows = enumerate(base[start : start + INSERTED], start)
            self.collection.insert([zvec.Doc(id=str(i), vectors={"row": row}) for i, row in rows])
        self.collection.optimize(option=zvec.OptimizeOption(concurrency=threads))  # builds the graph
        self.set(64)

    def _schema(self, dim: int, metric: Metric) -> Any:
        zvec = self.zvec
        index = zvec.HnswIndexParam(
            getattr(zvec.MetricType, METRICS[metric]),
            m=self.params["m"],
            ef_construction=self.params["ef_construction"],
            quantize_type=zvec.QuantizeType.INT8 if self._coded() else zvec.QuantizeType.UNDEFINED,
            use_contiguous_memory=True,  # for speed, says its documentation
        )
        vectors = zvec.VectorSchema("row", zvec.DataType.VECTOR_FP32, dim, index_param=index)
        return zvec.CollectionSchema(name="rows", vectors=vectors)

    def _coded(self) -> bool:
        return bool(self.params["dtype"] == "i8")

    def set(self, value: float) -> None:
        # Bytes with the refiner are how its authors measure it.
        self.options = self.zvec.HnswQueryParam(ef=int(value), is_using_refiner=self._coded())

    def search_one(self, query: Vectors, k: int) -> Ids:
        asked = self.zvec.Query(field_name="row", vector=query, param=self.options)
        found = [int(row.id) for row in self.collection.query(asked, topk=k, output_fields=[])]
        return np.array(found + [-1] * (k - len(found)))  # it may find fewer

    def search_batch(self, queries: Vectors, k: int) -> Ids:
        return np.array([self.search_one(query, k) for query in queries])
