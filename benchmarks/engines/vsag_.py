"""VSAG, by Ant Group: HGraph over bytes, whose best candidates are scored again from full rows.

All bytes share one scale (`sq8_uniform`), which makes them fast, and the second look makes up for that. Its
automatic tuning of searches does not race: it was measured to make builds nine times as long, and searches no
faster. It has no call for many queries.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from engines import Engine, Ids, Metric, Params, Vectors

METRICS = {"dot": "ip", "l2": "l2"}


class VsagHgraph(Engine):
    kind = "graph"
    metrics = frozenset({"dot", "l2"})
    distribution = "pyvsag"
    index: Any
    options = "{}"

    @classmethod
    def variants(cls, m: Sequence[int], ef_construction: int) -> list[Params]:
        # Its degree is that of the lowest layer, which has twice the links that HNSW counts.
        return [
            {"m": 2 * degree, "ef_construction": ef_construction, "codes": codes}
            for degree in m
            for codes in ("sq8_uniform", "fp32")
        ]

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        import pyvsag

        rows, dim = base.shape
        coded = self.params["codes"] != "fp32"
        graph = {
            "base_quantization_type": self.params["codes"],
            "max_degree": self.params["m"],
            "ef_construction": self.params["ef_construction"],
            "build_thread_count": threads,
            **({"use_reorder": True, "precise_quantization_type": "fp32"} if coded else {}),
        }
        settings = {"dtype": "float32", "metric_type": METRICS[metric], "dim": dim, "index_param": graph}
        pyvsag.set_logger_off()
        self.index = pyvsag.Index("hgraph", json.dumps(settings))
        self.index.build(base.ravel(), np.arange(rows), rows, dim)
        self.set(64)

    def set(self, value: float) -> None:
        self.options = json.dumps({"hgraph": {"ef_search": int(value)}})

    def search_one(self, query: Vectors, k: int) -> Ids:
        ids: Ids = self.index.knn_search(query, k, self.options)[0]
        return ids

    def search_batch(self, queries: Vectors, k: int) -> Ids:
        return np.array([self.search_one(query, k) for query in queries])
