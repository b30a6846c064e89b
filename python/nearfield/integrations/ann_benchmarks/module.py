"""The algorithms: the graph, the codes, and the exact search.

The idea: an algorithm is an index with the numbers that are fixed when it is made (`arguments`) and the one
that is varied while it is asked (`set_query_arguments`). ann-benchmarks runs on one core and asks one query a
call, unless it is told to hand over all queries at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearfield._core import FlatIndex, HnswIndex, Index, QuantizedIndex

try:
    from ann_benchmarks.algorithms.base.module import BaseANN
except ImportError as error:
    raise ImportError(
        "this adapter runs inside of ann-benchmarks, which is no package: run it from a checkout of "
        "ann-benchmarks, with nearfield installed beside it"
    ) from error

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nearfield.typing import Metric

__all__ = ["Flat", "Hnsw", "Quantized"]

_METRICS: dict[str, Metric] = {"euclidean": "l2", "angular": "cosine", "hamming": "hamming", "ip": "dot"}


class Flat(BaseANN):
    """The exact search, and what all algorithms share.

    Parameters
    ----------
    metric : {"angular", "euclidean", "ip", "hamming"}
        As ann-benchmarks calls them.
    """

    def __init__(self, metric: str) -> None:
        if metric not in _METRICS:
            raise ValueError(f"expected one of the metrics {sorted(_METRICS)}, got {metric!r}")
        self.name = f"Nearfield{type(self).__name__}"
        self.index: Index
        self._metric: Metric = _METRICS[metric]
        self._found: NDArray[np.int64]

    def _make(self, dim: int) -> Index:
        return FlatIndex(dim, self._metric)

    def fit(self, X: NDArray[Any]) -> None:
        """Put all rows into an index; their ids are their positions."""
        self.index = self._make(X.shape[1])
        self.index.add(X)

    def query(self, q: NDArray[Any], n: int) -> NDArray[np.int64]:
        """Find the n nearest rows, the nearest first."""
        return self.index.search(q, n).ids

    def batch_query(self, X: NDArray[Any], n: int) -> None:
        """Find the n nearest rows of each query, on all cores."""
        self._found = self.index.search(X, n).ids

    def get_batch_results(self) -> NDArray[np.int64]:
        """What `batch_query` found."""
        return self._found

    def get_memory_usage(self) -> float:
        """All memory of the index, in kilobytes."""
        return float(self.index.stats()["bytes"]) / 1024 if hasattr(self, "index") else 0.0


class Hnsw(Flat):
    """The graph; what is varied is its beam.

    Parameters
    ----------
    metric : {"angular", "euclidean", "ip"}
        As ann-benchmarks calls them.
    options : dict
        Of `HnswIndex`: `m`, `ef_construction`, ...
    """

    def __init__(self, metric: str, options: dict[str, Any]) -> None:
        super().__init__(metric)
        self._options = options
        self.name = f"{self.name}({options})"

    def _make(self, dim: int) -> Index:
        return HnswIndex(dim, self._metric, **self._options)

    def set_query_arguments(self, ef: int) -> None:
        """Set the beam."""
        assert isinstance(self.index, HnswIndex)
        self.index.ef_search = ef
        self.name = f"NearfieldHnsw({self._options}, ef={ef})"


class Quantized(Flat):
    """The codes, with the rows behind them; what is varied is how many rows are looked at.

    Parameters
    ----------
    metric : {"angular", "euclidean", "ip"}
        As ann-benchmarks calls them.
    options : dict
        Of `QuantizedIndex`: `bits`, `keep`, ...
    """

    def __init__(self, metric: str, options: dict[str, Any]) -> None:
        super().__init__(metric)
        self._options = options
        self.name = f"{self.name}({options})"

    def _make(self, dim: int) -> Index:
        return QuantizedIndex(dim, self._metric, **self._options)

    def set_query_arguments(self, rerank: float) -> None:
        """Set how many times n rows are looked at."""
        assert isinstance(self.index, QuantizedIndex)
        self.index.rerank = rerank
        self.name = f"NearfieldQuantized({self._options}, rerank={rerank})"
