"""ScaNN, by Google: the exact scan, and asymmetric hashing with a second look at the best candidates.

No partitions: they are another kind of index. It has no cosine, so it is given normalised rows and the inner
product.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from engines import Engine, Ids, Metric, Params, Vectors

MEASURES = {"dot": "dot_product", "l2": "squared_l2"}
#: What a search asks for unless it says otherwise, as every search here does.
NEIGHBORS = 10


class Scann(Engine):
    """What both share; each says how rows are scored."""

    metrics = frozenset({"dot", "l2"})
    distribution = "scann"
    index: Any
    factor: float | None = None  # candidates scored again, for each neighbour asked for

    @abstractmethod
    def scored(self, builder: Any, metric: Metric) -> Any:
        """`builder` with the scoring configured."""

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        from scann.scann_ops.py import scann_ops_pybind

        builder = scann_ops_pybind.builder(base, NEIGHBORS, MEASURES[metric])
        self.index = self.scored(builder.set_n_training_threads(threads), metric).build()
        self.index.set_num_threads(self.threads)

    def search_one(self, query: Vectors, k: int) -> Ids:
        ids: Ids = self.index.search(query, k, self._candidates(k))[0]
        return ids

    def search_batch(self, queries: Vectors, k: int) -> Ids:
        # The parallel way has costs of its own, which one thread need not pay.
        search = self.index.search_batched if self.threads == 1 else self.index.search_batched_parallel
        ids: Ids = search(queries, k, self._candidates(k))[0]
        return ids

    def _candidates(self, k: int) -> int:
        return -1 if self.factor is None else round(self.factor * k)


class ScannFlat(Scann):
    kind = "flat"

    def scored(self, builder: Any, metric: Metric) -> Any:
        return builder.score_brute_force()


class ScannAh(Scann):
    """Four bits for every two dimensions, as its documentation advises."""

    kind = "rerank"

    @classmethod
    def bits(cls, params: Params) -> float:
        return 2

    def scored(self, builder: Any, metric: Metric) -> Any:
        # The threshold shapes the error of inner products, and 0.2 is what the documentation gives for them.
        shaped = {} if metric == "l2" else {"anisotropic_quantization_threshold": 0.2}
        return builder.score_ah(2, **shaped).reorder(NEIGHBORS)

    def set(self, value: float) -> None:
        self.factor = value
