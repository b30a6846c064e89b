# The Rust core, as Python sees it; the docstrings stand in Rust, and stubtest holds both together.
#
# Not here yet, although the contract has them: the store and its filter language,
# `HnswIndex(keep=None, recall=...)` and `search(..., recall=...)`, and in a graph the metric hamming and
# codecs beyond "auto" and "f32". They come with their own issues.
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Literal, final, overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self, disjoint_base

from nearfield.results import RangeResult, SearchResult
from nearfield.typing import Codec, Metric, Progress, VectorLike

__all__ = ["Filter", "FlatIndex", "HnswIndex", "Index", "QuantizedIndex", "distances", "load", "simd_level"]

_Ids = Sequence[int] | NDArray[Any]

@final
class Filter:
    def __len__(self) -> int: ...

@disjoint_base
class Index:
    @property
    def dim(self) -> int: ...
    @property
    def metric(self) -> Metric: ...
    @property
    def codec(self) -> Codec: ...
    @property
    def ids(self) -> NDArray[np.int64]: ...
    def add(
        self, vectors: VectorLike, ids: _Ids | None = None, *, progress: Progress = False
    ) -> NDArray[np.int64]: ...
    def upsert(self, ids: _Ids, vectors: VectorLike, *, progress: Progress = False) -> int: ...
    def delete(self, ids: _Ids | int) -> int: ...
    def get(self, ids: _Ids | int) -> NDArray[np.float32]: ...
    def __contains__(self, id: int, /) -> bool: ...
    def __len__(self) -> int: ...
    def search(
        self,
        queries: VectorLike,
        k: int = 10,
        *,
        filter: NDArray[Any] | Sequence[int] | Filter | None = None,
        min_score: float | None = None,
        exact: bool = False,
        threads: int | None = None,
    ) -> SearchResult: ...
    def range_search(
        self, queries: VectorLike, radius: float, *, filter: Any = None, threads: int | None = None
    ) -> RangeResult: ...
    @overload
    def kneighbors(
        self, X: VectorLike, n_neighbors: int = 10, return_distance: Literal[True] = True
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]: ...
    @overload
    def kneighbors(
        self, X: VectorLike, n_neighbors: int = 10, *, return_distance: Literal[False]
    ) -> NDArray[np.int64]: ...
    @overload
    def kneighbors(
        self, X: VectorLike, n_neighbors: int, return_distance: Literal[False]
    ) -> NDArray[np.int64]: ...
    @overload
    def kneighbors(self, X: VectorLike, n_neighbors: int = 10, return_distance: bool = True) -> Any: ...
    def filter(self, ids_or_mask: Any) -> Filter: ...
    def optimize(self, *, progress: Progress = False) -> None: ...
    def stats(self) -> Mapping[str, Any]: ...
    def save(self, path: str | PathLike[str]) -> None: ...
    @classmethod
    def load(cls, path: str | PathLike[str], *, mmap: bool = False) -> Self: ...
    def copy(self) -> Self: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    def _repr_html_(self) -> str: ...

@final
class FlatIndex(Index):
    def __new__(
        cls,
        dim: int,
        metric: Metric = "cosine",
        *,
        codec: Codec = "f32",
        accelerate: bool = True,
        max_bytes: int | None = None,
        threads: int | None = None,
    ) -> Self: ...
    @property
    def accelerate(self) -> bool: ...

@final
class QuantizedIndex(Index):
    rerank: float
    def __new__(
        cls,
        dim: int,
        metric: Metric = "cosine",
        *,
        bits: Literal[1, 2, 3, 4, 5, 6, 7, 8] = 4,
        keep: Literal["f32", "f16"] | None = None,
        rerank: float = 4.0,
        seed: int = 0,
        max_bytes: int | None = None,
        threads: int | None = None,
    ) -> Self: ...
    @property
    def bits(self) -> int: ...
    @property
    def keep(self) -> Literal["f32", "f16"] | None: ...
    @property
    def seed(self) -> int: ...

@final
class HnswIndex(Index):
    ef_search: int
    def __new__(
        cls,
        dim: int,
        metric: Metric = "cosine",
        *,
        codec: Literal["auto", "f32"] = "auto",
        keep: Literal["f32", "f16"] = "f32",
        m: int | None = None,
        ef_construction: int | None = None,
        ef_search: int = 64,
        expected_size: int | None = None,
        seed: int = 0,
        max_bytes: int | None = None,
        threads: int | None = None,
    ) -> Self: ...
    @property
    def m(self) -> int: ...
    @property
    def ef_construction(self) -> int: ...
    @property
    def seed(self) -> int: ...
    def search(
        self,
        queries: VectorLike,
        k: int = 10,
        *,
        filter: NDArray[Any] | Sequence[int] | Filter | None = None,
        min_score: float | None = None,
        ef: int | None = None,
        exact: bool = False,
        threads: int | None = None,
    ) -> SearchResult: ...

def load(path: str | PathLike[str], *, mmap: bool = False) -> FlatIndex | QuantizedIndex | HnswIndex: ...
def distances(scores: NDArray[np.float32], metric: Metric) -> NDArray[np.float32]: ...
def simd_level() -> str: ...
