"""Scalable Vector Search, by Intel: the Vamana graph, over full rows, half-precision rows, and LVQ codes.

LVQ is what its authors advise, but it runs on Intel's processors only: on others the library ends the
process, which the race reports. Its cosine is not used: with normalised rows and the inner product it finds
as much, and was measured to be no slower.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engines import Engine, Ids, Metric, Params, Vectors

METRICS = {"dot": "MIP", "l2": "L2"}


class SvsVamana(Engine):
    kind = "graph"
    metrics = frozenset({"dot", "l2"})
    distribution = "scalable-vs"
    index: Any

    @classmethod
    def variants(cls, m: Sequence[int], ef_construction: int) -> list[Params]:
        # One layer, with as many links as the lowest of an HNSW has: twice its degree. 32 is their default.
        return [
            {"m": 2 * degree, "ef_construction": ef_construction, "dtype": dtype}
            for degree in m
            for dtype in ("f32", "f16", "lvq4x8")
        ]

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        import svs

        # The rest are its defaults, which depend on the metric (alpha) and the degree (pool and pruning).
        parameters = svs.VamanaBuildParameters(
            graph_max_degree=self.params["m"], window_size=self.params["ef_construction"]
        )
        with tempfile.TemporaryDirectory() as folder:
            rows = self._rows(svs, base, Path(folder))
            self.index = svs.Vamana.build(
                parameters, rows, getattr(svs, METRICS[metric]), num_threads=threads
            )
        self.index.num_threads = self.threads

    def _rows(self, svs: Any, base: Vectors, folder: Path) -> Any:
        """Rows as `build` takes them: arrays, or for LVQ a file to be coded."""
        if self.params["dtype"] != "lvq4x8":
            return base.astype(np.float16) if self.params["dtype"] == "f16" else base
        file = str(folder / "rows.fvecs")
        svs.write_vecs(base, file)
        loader = svs.VectorDataLoader(file, svs.float32, dims=base.shape[1])
        # Four bits to walk the graph and eight more to rank again, which is what they advise to begin with.
        return svs.LVQLoader(loader, primary=4, residual=8)

    def set(self, value: float) -> None:
        self.index.search_window_size = int(value)

    def search_one(self, query: Vectors, k: int) -> Ids:
        ids: Ids = self.index.search(query, k)[0][0]
        return ids

    def search_batch(self, queries: Vectors, k: int) -> Ids:
        ids: Ids = self.index.search(queries, k)[0]
        return ids
