"""Nearfield as a database of VectorDBBench.

The idea: VectorDBBench loads, optimizes and searches in processes of their own. So what one leaves behind is
the file of an index: the process that loads writes it, the one that optimizes writes it again, and those that
search map it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfield._core import HnswIndex
from nearfield.optional import missing

try:
    from pydantic import BaseModel
    from vectordb_bench.backend.clients.api import DBCaseConfig, DBConfig, MetricType, VectorDB
    from vectordb_bench.backend.filter import Filter as CaseFilter
    from vectordb_bench.backend.filter import FilterOp
except ImportError as error:
    raise missing("VectorDBBench", "vectordbbench") from error

if TYPE_CHECKING:
    from nearfield.typing import Metric

__all__ = ["NearfieldCaseConfig", "NearfieldClient", "NearfieldConfig"]

_METRICS: dict[str, Metric] = {"COSINE": "cosine", "IP": "dot", "DP": "dot", "L2": "l2"}


class NearfieldConfig(DBConfig):
    """Where the index is.

    Attributes
    ----------
    path : str
        A file; the name of the case is put behind its own.
    """

    path: str = "vectordbbench.nf"

    def to_dict(self) -> dict[str, Any]:
        """The same, for the client."""
        return {"path": self.path}


class NearfieldCaseConfig(BaseModel, DBCaseConfig):
    """How the index is made and searched: see `HnswIndex`.

    Attributes
    ----------
    metric_type : MetricType, optional
        Set by the case; cosine if it is not.
    m, ef_construction : int, optional
        The graph.
    ef_search : int
        The beam, unless there is a `recall`.
    recall : float, optional
        Choose the beam for this recall@10.
    """

    metric_type: MetricType | None = None
    m: int | None = None
    ef_construction: int | None = None
    ef_search: int = 64
    recall: float | None = None

    def index_param(self) -> dict[str, Any]:
        """What the index is made with."""
        metric = _METRICS[str(self.metric_type or "COSINE")]
        return {"metric": metric, "m": self.m, "ef_construction": self.ef_construction}

    def search_param(self) -> dict[str, Any]:
        """What it is searched with."""
        return {"ef": self.ef_search} if self.recall is None else {"recall": self.recall}


class NearfieldClient(VectorDB):
    """One index in one file: written by the process that loads, mapped by those that search.

    Parameters
    ----------
    dim : int
        How many values a row has.
    db_config : dict
        `path`: see `NearfieldConfig`.
    db_case_config : NearfieldCaseConfig or None
        How the index is made and searched.
    collection_name : str
        The name of the case.
    drop_old : bool, default False
        Whether to remove the file first.
    """

    name = "Nearfield"
    thread_safe = True
    supported_filter_types = [FilterOp.NonFilter, FilterOp.NumGE]  # noqa: RUF012

    def __init__(
        self,
        dim: int,
        db_config: dict[str, Any],
        db_case_config: NearfieldCaseConfig | None,
        collection_name: str = "vectors",
        drop_old: bool = False,
        **kwargs: Any,
    ) -> None:
        path = Path(db_config["path"])
        self.path = path.with_name(f"{path.stem}-{collection_name}{path.suffix}")
        self.case = db_case_config or NearfieldCaseConfig()
        self.dim = dim
        self.index: HnswIndex | None = None
        self._changed = False
        self._least: int | None = None
        self._filter: Any = None
        if drop_old:
            self.path.unlink(missing_ok=True)

    @contextmanager
    def init(self) -> Iterator[None]:
        """Map the index, or begin a new one; what was changed is saved in the end."""
        if self.path.exists():
            self.index = HnswIndex.load(self.path, mmap=True)
        else:
            self.index = HnswIndex(self.dim, **self.case.index_param())
        self._prepare()
        try:
            yield
            if self._changed:
                self.index.save(self.path)
        finally:
            self.index, self._filter, self._changed = None, None, False

    def insert_embeddings(
        self,
        embeddings: list[list[float]],
        metadata: list[int],
        labels_data: list[str] | None = None,
        tenant_labels_data: list[str] | None = None,
        **kwargs: Any,
    ) -> tuple[int, Exception | None]:
        """Add rows.

        Returns
        -------
        int, Exception or None
            How many were added, and why not, if they were not.
        """
        try:
            return self._own().upsert(metadata, embeddings), None
        except (ValueError, OSError, MemoryError) as error:
            return 0, error

    def optimize(self, data_size: int | None = None) -> None:
        """Link every row, and close the gaps."""
        self._own().optimize()

    def prepare_filter(self, filters: CaseFilter) -> None:
        """Compile the filter of a case: rows whose number is large enough."""
        self._least = filters.int_value if filters.type == FilterOp.NumGE else None
        self._prepare()

    def search_embedding(self, query: list[float], k: int = 100, *args: Any, **kwargs: Any) -> list[int]:
        """Find the k nearest rows.

        Returns
        -------
        list of int
            Their numbers, the nearest first.
        """
        assert self.index is not None, "call init() first"
        found = self.index.search(query, k, filter=self._filter, **self.case.search_param())
        return list(found.ids.tolist())

    def _own(self) -> HnswIndex:
        """The index as one that can change."""
        assert self.index is not None, "call init() first"
        if not self._changed:
            self.index = self.index.copy()
            self._changed = True
        return self.index

    def _prepare(self) -> None:
        if self.index is not None:
            large = None if self._least is None else self.index.ids >= self._least
            self._filter = None if large is None else self.index.filter(large)
