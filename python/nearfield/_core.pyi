# The Rust core, as Python sees it; the docstrings stand in Rust, and stubtest holds both together.
#
# Not here yet, although the contract has them: in a graph the metric hamming, and codecs beyond "auto" and
# "f32".
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, final, overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self, disjoint_base

from nearfield.hits import CollectionResult, Hit, Row
from nearfield.meta import Meta
from nearfield.results import RangeResult, SearchResult
from nearfield.typing import Codec, Key, Metric, Progress, VectorLike, Where

__all__ = [
    "Collection",
    "Filter",
    "FlatIndex",
    "HnswIndex",
    "Index",
    "QuantizedIndex",
    "Scan",
    "Store",
    "distances",
    "load",
    "open",
    "simd_level",
]

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
    recall: float | None
    def __new__(
        cls,
        dim: int,
        metric: Metric = "cosine",
        *,
        codec: Literal["auto", "f32"] = "auto",
        keep: Literal["f32", "f16"] | None = "f32",
        m: int | None = None,
        ef_construction: int | None = None,
        ef_search: int = 64,
        recall: float | None = None,
        expected_size: int | None = None,
        seed: int = 0,
        max_bytes: int | None = None,
        threads: int | None = None,
    ) -> Self: ...
    @property
    def keep(self) -> Literal["f32", "f16"] | None: ...
    @property
    def m(self) -> int: ...
    @property
    def ef_construction(self) -> int: ...
    def beam_for(self, recall: float, *, threads: int | None = None) -> int: ...
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
        recall: float | None = None,
        exact: bool = False,
        threads: int | None = None,
    ) -> SearchResult: ...

def load(path: str | PathLike[str], *, mmap: bool = False) -> FlatIndex | QuantizedIndex | HnswIndex: ...
def distances(scores: NDArray[np.float32], metric: Metric) -> NDArray[np.float32]: ...
def simd_level() -> str: ...

_Include = Iterable[Literal["metadata", "vectors", "stamps"]]
_Keys = Sequence[Key] | NDArray[Any]

@final
class Collection:
    @property
    def name(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def metric(self) -> Metric: ...
    @property
    def codec(self) -> Codec: ...
    @property
    def index(self) -> Literal["hnsw", "flat"]: ...
    @property
    def meta(self) -> Meta: ...
    @meta.setter
    def meta(self, meta: Mapping[str, Any]) -> None: ...
    def upsert(
        self,
        keys: _Keys | Key,
        vectors: VectorLike,
        metadata: Any | None = None,
        *,
        progress: Progress = False,
    ) -> int: ...
    def insert(
        self,
        keys: _Keys | Key,
        vectors: VectorLike,
        metadata: Any | None = None,
        *,
        on_conflict: Literal["error", "skip"] = "error",
    ) -> int: ...
    def set_metadata(
        self,
        keys: _Keys | Key,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        replace: bool = False,
    ) -> int: ...
    @overload
    def get(self, key: Key) -> Row | None: ...  # type: ignore[overload-overlap]
    @overload
    def get(self, key: _Keys) -> list[Row | None]: ...
    def delete(self, keys: _Keys | Key | None = None, *, where: Where | None = None) -> int: ...
    def __contains__(self, key: Key, /) -> bool: ...
    def __len__(self) -> int: ...
    def search(
        self,
        query: VectorLike,
        k: int = 10,
        *,
        where: Where | None = None,
        min_score: float | None = None,
        ef: int | None = None,
        recall: float | None = None,
        exact: bool = False,
        include: _Include = (),
        group_by: str | None = None,
        group_size: int = 1,
        diversity: float | None = None,
        after: Hit | CollectionResult | None = None,
        explain: bool = False,
        threads: int | None = None,
    ) -> CollectionResult: ...
    def scan(
        self,
        where: Where | None = None,
        *,
        order_by: str | None = None,
        after: Key | Row | None = None,
        batch_size: int = 1000,
    ) -> Iterator[Row]: ...
    def count(self, where: Where | None = None) -> int: ...
    def filter(self, where: Where) -> Filter: ...
    def optimize(self, *, progress: Progress = False) -> None: ...
    def stats(self) -> Mapping[str, Any]: ...
    def _repr_html_(self) -> str: ...

@final
class Scan:
    def __iter__(self) -> Self: ...
    def __next__(self) -> Row: ...

@final
class Store:
    def create_collection(
        self,
        name: str,
        dim: int,
        metric: Metric = "cosine",
        *,
        index: Literal["hnsw", "flat"] = "hnsw",
        codec: Codec = "auto",
        exist_ok: bool = False,
        m: int | None = None,
        ef_construction: int | None = None,
        seed: int | None = None,
        expected_size: int | None = None,
    ) -> Collection: ...
    def collection(self, name: str) -> Collection: ...
    def __getitem__(self, name: str, /) -> Collection: ...
    def __contains__(self, name: object, /) -> bool: ...
    def collections(self) -> list[str]: ...
    def drop_collection(self, name: str) -> bool: ...
    def search(
        self,
        query: VectorLike,
        k: int = 10,
        *,
        collections: Sequence[str] | None = None,
        where: Where | None = None,
        min_score: float | None = None,
        ef: int | None = None,
        recall: float | None = None,
        exact: bool = False,
        include: _Include = (),
        group_by: str | None = None,
        group_size: int = 1,
        diversity: float | None = None,
        after: Hit | CollectionResult | None = None,
        explain: bool = False,
        threads: int | None = None,
    ) -> CollectionResult: ...
    def flush(self, *, wait: bool = False, progress: Progress = False) -> None: ...
    def compact(self, *, progress: Progress = False) -> None: ...
    def verify(self) -> Mapping[str, Any]: ...
    def backup(self, path: str | PathLike[str]) -> None: ...
    def refresh(self) -> bool: ...
    def stats(self) -> Mapping[str, Any]: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...
    def _repr_html_(self) -> str: ...

def open(
    path: str | PathLike[str],
    mode: Literal["rw", "r"] = "rw",
    *,
    create: bool = True,
    sync: Literal["batch", "flush"] = "batch",
    auto_compact: float | None = 0.5,
    max_bytes: int | None = None,
    verify: bool = False,
) -> Store: ...
def _decode(text: bytes) -> dict[str, Any]: ...
def _get_meta(collection: Collection) -> dict[str, Any]: ...
def _change_meta(collection: Collection, remove: list[str] | None, dict: Mapping[str, Any]) -> None: ...
