"""What adapters of document stores share: a collection whose dimension the first vector tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nearfield._core import Store
from nearfield._core import open as open_store
from nearfield.arrays import as_array

if TYPE_CHECKING:
    from os import PathLike

    from nearfield._core import Collection
    from nearfield.typing import Metric

__all__ = ["Place"]


class Place:
    """Where an adapter keeps its rows: a collection of a store, made when its dimension is known.

    Parameters
    ----------
    store : Store or path-like
        An open store, which other adapters may share, or the path of one to be opened.
    name : str
        The collection. If it exists already, it is used as it is.
    metric : str
        Its metric, if it has to be made.
    **options
        More for `Store.create_collection`.
    """

    def __init__(self, store: Store | str | PathLike[str], name: str, metric: Metric, **options: Any) -> None:
        self.store = store if isinstance(store, Store) else open_store(store)
        self.name = name
        self._metric: Metric = metric
        self._options = options

    @property
    def collection(self) -> Collection | None:
        """The collection, or None as long as nobody has put anything there."""
        if self.name not in self.store:
            return None
        return self.store[self.name]

    @property
    def metric(self) -> Metric:
        """How vectors are compared."""
        collection = self.collection
        return self._metric if collection is None else collection.metric

    def collection_of(self, dim: int) -> Collection:
        """The collection; made for vectors of this dimension if it does not exist."""
        if self.name in self.store:  # with whatever schema: who made it knew why
            return self.store[self.name]
        return self.store.create_collection(self.name, dim, self._metric, **self._options)

    def upsert(self, keys: Sequence[str], vectors: Any, metadata: Sequence[dict[str, Any]]) -> None:
        """Put rows there; without any, nothing happens."""
        if keys:
            rows = as_array(vectors)
            self.collection_of(rows.shape[-1]).upsert(list(keys), rows, list(metadata))

    def clear(self) -> None:
        """Remove all rows, and with them the dimension."""
        self.store.drop_collection(self.name)
