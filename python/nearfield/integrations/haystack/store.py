"""The document store: documents go in and come out, by id, by filter and by embedding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import repeat
from typing import TYPE_CHECKING, Any, Literal

from haystack import default_from_dict, default_to_dict
from haystack.dataclasses import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.errors import FilterError

from nearfield import errors
from nearfield._core import Store
from nearfield.integrations._shared import Place
from nearfield.integrations.haystack.aside import Aside
from nearfield.integrations.haystack.facts import Facts
from nearfield.integrations.haystack.filters import as_where

if TYPE_CHECKING:
    from os import PathLike

    from nearfield._core import Collection
    from nearfield.hits import Row
    from nearfield.typing import Metric

__all__ = ["NearfieldDocumentStore"]

_INCLUDED: dict[bool, list[Literal["metadata", "vectors"]]] = {
    True: ["metadata", "vectors"], False: ["metadata"],
}  # fmt: skip


class NearfieldDocumentStore(Facts, Aside):
    """Documents in a collection of a Nearfield store, with or without embeddings.

    Embeddings are kept as float32. Every method has a twin with `_async` behind its name that does the same
    on another thread. In filters, dates are compared as text: write them in one ISO form.

    Parameters
    ----------
    store : Store or path-like, default ":memory:"
        An open store, or the path of one to be opened for writing.
    collection : str, default "haystack"
        The name of the collection.
    embedding_dim : int, default 768
        How many values an embedding has.
    metric : str, default "cosine"
        How embeddings are compared, if the collection has to be made.
    index : {"hnsw", "flat"}, default "hnsw"
        How they are searched, if the collection has to be made.
    """

    def __init__(
        self,
        store: Store | str | PathLike[str] = ":memory:",
        *,
        collection: str = "haystack",
        embedding_dim: int = 768,
        metric: Metric = "cosine",
        index: str = "hnsw",
    ) -> None:
        self._place = Place(store, collection, metric, index=index)
        self._dim = embedding_dim
        self._index = index

    @property
    def store(self) -> Store:
        """The store: close it, compact it, look into it."""
        return self._place.store

    @property
    def _rows(self) -> Collection:
        return self._place.collection_of(self._dim)

    def to_dict(self) -> dict[str, Any]:
        """Write down how to open the same store again.

        Returns
        -------
        dict
            For pipelines; documents are not in it. A store in memory comes back empty.
        """
        said = default_to_dict(
            self,
            store=str(self.store.stats()["path"]),
            collection=self._place.name,
            embedding_dim=self._dim,
            metric=self._place.metric,
            index=self._index,
        )
        return dict(said)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> NearfieldDocumentStore:
        """Open what `to_dict` wrote down."""
        made: NearfieldDocumentStore = default_from_dict(cls, data)
        return made

    def count_documents(self) -> int:
        """Count all documents."""
        return len(self._rows)

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """Count the documents that a filter lets through."""
        with understood():
            return self._rows.count(as_where(filters))

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Read the documents that a filter lets through.

        Parameters
        ----------
        filters : dict, optional
            A filter of Haystack; all documents without one.

        Returns
        -------
        list of Document
            In the order of their ids.

        Raises
        ------
        haystack.errors.FilterError
            If the filter cannot be understood.
        """
        return [document_of(row.metadata, row.vector) for row in self._scan(filters)]

    def write_documents(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Write documents, all or none.

        Parameters
        ----------
        documents : list of Document
            The documents.
        policy : DuplicatePolicy, default NONE
            What to do with an id that exists: fail (also the meaning of NONE), skip it, or overwrite it.

        Returns
        -------
        int
            How many were written.

        Raises
        ------
        DuplicateDocumentError
            If an id exists, or is given twice, and that is not allowed; nothing was written.
        ValueError
            If it is not a list of documents.
        """
        if not isinstance(documents, list) or not all(isinstance(one, Document) for one in documents):
            raise ValueError("expected a list of Document")
        if not documents:
            return 0
        blank = [0.0] * self._dim
        keys = [one.id for one in documents]
        vectors = [blank if one.embedding is None else one.embedding for one in documents]
        said = [metadata_of(one) for one in documents]
        if policy == DuplicatePolicy.OVERWRITE:
            self._rows.upsert(keys, vectors, said)
            return len(documents)
        try:
            conflict = "skip" if policy == DuplicatePolicy.SKIP else "error"
            return self._rows.insert(keys, vectors, said, on_conflict=conflict)  # type: ignore[arg-type]
        except errors.DuplicateKeyError as error:
            raise DuplicateDocumentError(str(error)) from error

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete documents by id; what is not there is ignored."""
        self._rows.delete(document_ids)

    def delete_all_documents(self, recreate_collection: bool = False) -> None:
        """Delete all documents.

        Parameters
        ----------
        recreate_collection : bool, default False
            Whether to make the collection anew, as this store describes it; if not, it stays as it is.
        """
        if recreate_collection:
            self._place.clear()
        self._rows.delete(where={})

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Delete the documents that a filter lets through, and say how many there were."""
        with understood():
            return self._rows.delete(where=as_where(filters))

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Set metadata of the documents that a filter lets through, and say how many there were."""
        rows = list(self._scan(filters))
        patches = [{"meta": row.metadata["meta"] | meta} for row in rows]
        return self._rows.set_metadata([row.key for row in rows], patches) if rows else 0

    def embedding_retrieval(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
    ) -> list[Document]:
        """Find the documents nearest to an embedding.

        Parameters
        ----------
        query_embedding : list of float
            The embedding.
        filters : dict, optional
            Which documents may be found.
        top_k : int, default 10
            How many.
        return_embedding : bool, default False
            Whether to read their embeddings too.

        Returns
        -------
        list of Document
            Best first, with scores: higher is better. Documents without an embedding are not among them.
        """
        with understood():
            where = {"$and": [{"embedding": True}, as_where(filters)]}
            result = self._rows.search(
                query_embedding, top_k, where=where, include=_INCLUDED[return_embedding]
            )
        vectors = repeat(None, len(result)) if result.vectors is None else result.vectors
        return [
            replace(document_of(hit.metadata, vector), score=hit.score)
            for hit, vector in zip(result, vectors, strict=True)
        ]

    def _scan(self, filters: dict[str, Any] | None) -> Iterator[Row]:
        with understood():
            return self._rows.scan(as_where(filters))


@contextmanager
def understood() -> Iterator[None]:
    """What Nearfield does not understand in a filter, as Haystack says it."""
    try:
        yield
    except errors.FilterError as error:
        raise FilterError(str(error)) from error


def metadata_of(document: Document) -> dict[str, Any]:
    """A document as metadata; instead of its embedding it says whether it has one."""
    said: dict[str, Any] = document.to_dict(flatten=False)
    del said["score"]
    return said | {"embedding": None if document.embedding is None else True}


def document_of(metadata: Any, vector: Any) -> Document:
    """The document that a row is; with its embedding, if there are a vector and one that it had."""
    has = metadata["embedding"] and vector is not None
    return Document.from_dict(metadata | {"embedding": vector.tolist() if has else None})
