"""NGT, by Yahoo! JAPAN: ONNG, a graph of near neighbours whose degrees are adjusted both ways.

Its quantized graph (QG) does not race: to build one takes the command `qbg`, which its wheel does not have.
Its authors say besides that the wheel is slower than what one compiles for one's own machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from engines import Engine, Ids, Knob, Metric, Params, Vectors

#: What its authors enter at ann-benchmarks: links of a row in the first graph, and those out of and into a
#: row in the second.
CREATED, OUTGOING, INCOMING = 100, 10, 120
#: As many links are followed as the epsilon of the search asks for.
DYNAMIC = -2


class NgtOnng(Engine):
    kind = "graph"
    metrics = frozenset({"l2"})
    cosine_as: ClassVar[Metric] = "l2"
    distribution = "ngt"
    index: Any

    @classmethod
    def variants(cls, m: Sequence[int], ef_construction: int) -> list[Params]:
        return [{}]  # neither its degrees nor its effort are those of an HNSW

    @classmethod
    def knob(cls) -> Knob:
        return "epsilon"

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        import ngtpy

        self.folder = tempfile.TemporaryDirectory()  # it builds on files, and searches in memory
        first, second = f"{self.folder.name}/anng", f"{self.folder.name}/onng"
        ngtpy.create(
            first,
            base.shape[1],
            edge_size_for_creation=CREATED,
            edge_size_for_search=DYNAMIC,
            distance_type="L2",
        )
        graph = ngtpy.Index(first, log_disabled=True)
        graph.batch_insert(base, num_threads=threads)
        graph.save()
        graph.close()
        self._adjusted(ngtpy, first, second)
        self.index = ngtpy.Index(second, read_only=True, log_disabled=True)

    def _adjusted(self, ngtpy: Any, first: str, second: str) -> None:
        optimizer = ngtpy.Optimizer(num_of_outgoings=OUTGOING, num_of_incomings=INCOMING, log_disabled=True)
        # It would also measure searches to tune itself, for minutes, and with whatever else the machine does.
        optimizer.set_processing_modes(
            shortcut_reduction=True,
            search_parameter_optimization=False,
            prefetch_parameter_optimization=False,
            accuracy_table_generation=False,
        )
        optimizer.execute(first, second)

    def set(self, value: float) -> None:
        self.index.set(epsilon=value)

    def search_one(self, query: Vectors, k: int) -> Ids:
        return np.asarray(self.index.search(query, k, with_distance=False))

    def search_batch(self, queries: Vectors, k: int) -> Ids:
        import ngtpy

        results = ngtpy.BatchResults()
        self.index.batch_search(queries, results, k, with_distance=False)
        return np.asarray(results.get_ids())
