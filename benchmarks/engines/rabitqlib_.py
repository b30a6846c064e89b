"""RaBitQ-Library, by the authors of RaBitQ: the graph whose links carry codes (SymphonyQG), a small HNSW, and
lists of coded rows.

It has no cosine. Normalised rows have the same order by Euclidean distance as by inner product, and with the
former SymphonyQG finds more at every beam: 0.955 of the neighbours for 0.941, with ef 48 on 384 dimensions.
The others find as much with either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from engines import Engine, Ids, Knob, Metric, Params, Vectors, lists_for

METRICS = {"dot": "ip", "l2": "l2"}
#: Codes of links are packed by 32, so a degree is a multiple of it; this is the one that its authors show.
SYMPHONY_DEGREE = 32
#: Of one byte a value and less, the most that its authors measure for HNSW.
HNSW_BITS = 7
#: Centres that rows are coded against; as many as in the authors' examples.
HNSW_CLUSTERS = 16
#: The number of bits that stands for rows kept as they are.
FULL_ROWS = 32


class Rabitqlib(Engine):
    """What all share. A lone query is a batch of one to them."""

    kind = "graph"
    metrics = frozenset({"dot", "l2"})
    cosine_as: ClassVar[Metric] = "l2"
    distribution = "rabitqlib"
    index: Any
    effort: int = 64  # an ef, or lists to read

    def set(self, value: float) -> None:
        self.effort = int(value)

    def search_one(self, query: Vectors, k: int) -> Ids:
        ids: Ids = self.index.search(query[None], k, self.effort, self.threads)[0][0]
        return ids

    def search_batch(self, queries: Vectors, k: int) -> Ids:
        ids: Ids = self.index.search(queries, k, self.effort, self.threads)[0]
        return ids


class RabitqlibSymphony(Rabitqlib):
    """Full rows, and with every link a code of the row it leads to: fast, large, and frozen after the build.

    Both ways to begin the graph race: the default, and random links, which take twice as long to improve.
    """

    @classmethod
    def variants(cls, m: Sequence[int], ef_construction: int) -> list[Params]:
        return [
            {"m": SYMPHONY_DEGREE, "ef_construction": ef_construction, "init": init}
            for init in ("pipnn", "random")
        ]

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        from rabitqlib import SymqgIndex

        self.index = SymqgIndex(base.shape[1], self.params["m"], METRICS[metric])
        self.index.build(base, self.params["ef_construction"], threads, self.params["init"])


class RabitqlibHnsw(Rabitqlib):
    """Links and codes only: the rows are gone after the build, so its recall has a ceiling."""

    @classmethod
    def variants(cls, m: Sequence[int], ef_construction: int) -> list[Params]:
        return [{**graph, "bits": HNSW_BITS} for graph in super().variants(m, ef_construction)]

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        from rabitqlib import HnswIndex, RaBitQKMeans

        rows, dim = base.shape
        clusters = RaBitQKMeans(dim, HNSW_CLUSTERS, num_threads=threads)
        clusters.train(base)
        self.index = HnswIndex(
            dim,
            rows,
            M=self.params["m"],
            ef_construction=self.params["ef_construction"],
            nbits=self.params["bits"],
            metric=METRICS[metric],
        )
        self.index.build(base, clusters.centroids, clusters.assignments, num_threads=threads)


class RabitqlibIvf(Rabitqlib):
    """Lists of rows in one bit a dimension, which rule out those whose full rows need not be scored."""

    @classmethod
    def variants(cls, m: Sequence[int], ef_construction: int) -> list[Params]:
        # 4 is as its authors have it, 4,096 lists for a million rows; with fewer the build is shorter.
        return [{"roots": 1}, {"roots": 4}]

    @classmethod
    def knob(cls) -> Knob:
        return "lists"

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        from rabitqlib import FinalAssignmentMode, IvfIndex, RaBitQKMeans

        rows, dim = base.shape
        lists = lists_for(rows, self.params["roots"])
        # The assignment that their tools use. For many lists they advise QGKMeans, which was measured to take
        # twice as long for 1,024, and to find no more.
        clusters = RaBitQKMeans(dim, lists, num_threads=threads, final_assignment=FinalAssignmentMode.Exact)
        clusters.train(base)
        self.index = IvfIndex(dim, rows, lists, FULL_ROWS, METRICS[metric])
        self.index.build(base, clusters.centroids, clusters.assignments, num_threads=threads)
