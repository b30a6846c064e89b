"""Nearfield as a vector store of LangChain.

The idea: the metadata of a document are those of its row, so filters mean the same on both sides; its text
lies beside them, under a name of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from nearfield.integrations._shared import Place
from nearfield.optional import missing

try:
    from langchain_core.documents import Document
    from langchain_core.vectorstores import VectorStore
    from langchain_core.vectorstores.utils import maximal_marginal_relevance
except ImportError as error:
    raise missing("LangChain", "langchain") from error

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    import numpy as np
    from langchain_core.embeddings import Embeddings
    from numpy.typing import NDArray

    from nearfield._core import Store
    from nearfield.typing import Metric, Where

__all__ = ["NearfieldVectorStore"]


class NearfieldVectorStore(VectorStore):
    """Documents with embeddings in a collection of a Nearfield store.

    Every search takes `filter=`, a filter as for `Collection.search(where=...)`: `{"lang": "en"}` or
    `nf.field("year") >= 2020`; and whatever else that method takes, such as `min_score`, `recall` or `exact`.

    Parameters
    ----------
    embedding : Embeddings
        The model that turns texts into vectors.
    store : Store or path-like, default ":memory:"
        An open store, or the path of one to be opened for writing.
    collection : str, default "langchain"
        The name of the collection. It is made when the first document comes, which tells its dimension.
    metric : str, default "cosine"
        How a new collection compares vectors.
    text_key : str, default "text"
        The name under which the text lies beside the metadata; documents must not use it themselves.
    **options
        More for `Store.create_collection`, such as `index="flat"`.
    """

    def __init__(
        self,
        embedding: Embeddings,
        store: Store | str | PathLike[str] = ":memory:",
        *,
        collection: str = "langchain",
        metric: Metric = "cosine",
        text_key: str = "text",
        **options: Any,
    ) -> None:
        self._embedding = embedding
        self._place = Place(store, collection, metric, **options)
        self._text_key = text_key

    @property
    def embeddings(self) -> Embeddings:
        """The model that turns texts into vectors."""
        return self._embedding

    @property
    def store(self) -> Store:
        """The store: close it, compact it, look into it."""
        return self._place.store

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Embed texts and keep them; an id that exists already is replaced.

        Parameters
        ----------
        texts : iterable of str
            The texts.
        metadatas : sequence of mappings, optional
            What to say about each: JSON values.
        ids : sequence of str or None, optional
            Their ids; None gets one.

        Returns
        -------
        list of str
            The ids.

        Raises
        ------
        ValueError
            If there is not one id, and one mapping, for each text, or a mapping uses the name of the text.
        """
        documents = list(texts)
        said = [{} for _ in documents] if metadatas is None else [dict(one) for one in metadatas]
        keys = [None] * len(documents) if ids is None else list(ids)
        for what, given in (("ids", keys), ("metadatas", said)):
            if len(given) != len(documents):
                raise ValueError(
                    f"expected one of {what} for each of {len(documents)} texts, got {len(given)}"
                )
        if any(self._text_key in one for one in said):
            raise ValueError(
                f"metadata use the name {self._text_key!r}, under which the text is kept; "
                "choose another one for it with text_key="
            )
        named = [key or str(uuid4()) for key in keys]
        rows = [one | {self._text_key: text} for one, text in zip(said, documents, strict=True)]
        if documents:
            self._place.upsert(named, self._embedding.embed_documents(documents), rows)
        return named

    def delete(self, ids: Sequence[str] | None = None, *, filter: Where | None = None, **kwargs: Any) -> bool:
        """Delete documents by id, or by a filter; what is not there is ignored.

        Parameters
        ----------
        ids : sequence of str, optional
            Their ids.
        filter : filter, optional
            Which ones, if there are no ids.

        Returns
        -------
        bool
            True.
        """
        collection = self._place.collection
        if collection is not None and (ids is not None or filter is not None):
            collection.delete(None if ids is None else list(ids), where=filter)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Read documents by id.

        Parameters
        ----------
        ids : sequence of str
            Their ids.

        Returns
        -------
        list of Document
            In this order; what is not there is left out.
        """
        collection = self._place.collection
        rows = [] if collection is None else collection.get(list(ids))
        return [self._document(row.key, row.metadata) for row in rows if row is not None]

    def similarity_search_with_score_by_vector(
        self, embedding: Sequence[float], k: int = 4, *, filter: Where | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Find the documents nearest to a vector.

        Parameters
        ----------
        embedding : sequence of float
            The vector.
        k : int, default 4
            How many.
        filter : filter, optional
            Which documents may be found.
        **kwargs
            More for `Collection.search`.

        Returns
        -------
        list of (Document, float)
            Best first; a higher score is better.
        """
        collection = self._place.collection
        if collection is None:
            return []
        hits = collection.search(embedding, k, where=filter, include=["metadata"], **kwargs)
        return [(self._document(hit.key, hit.metadata), hit.score) for hit in hits]

    def similarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Find the documents nearest to a text: see `similarity_search_with_score_by_vector`."""
        return self.similarity_search_with_score_by_vector(self._embedding.embed_query(query), k, **kwargs)

    def similarity_search_by_vector(
        self, embedding: Sequence[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """Find the documents nearest to a vector: see `similarity_search_with_score_by_vector`."""
        found = self.similarity_search_with_score_by_vector(embedding, k, **kwargs)
        return [document for document, _ in found]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Find the documents nearest to a text: see `similarity_search_with_score_by_vector`."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Where | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Find documents that are near to a vector, and not to each other.

        Parameters
        ----------
        embedding : sequence of float
            The vector.
        k : int, default 4
            How many.
        fetch_k : int, default 20
            Among how many of the nearest they are chosen.
        lambda_mult : float, default 0.5
            1: by nearness alone, 0: by difference alone.
        filter : filter, optional
            Which documents may be found.
        **kwargs
            More for `Collection.search`.

        Returns
        -------
        list of Document
            In the order in which they were chosen.
        """
        import numpy as np

        collection = self._place.collection
        if collection is None:
            return []
        hits = collection.search(embedding, fetch_k, where=filter, include=["metadata", "vectors"], **kwargs)
        assert hits.vectors is not None
        query: NDArray[np.float32] = np.asarray(embedding, dtype=np.float32)
        chosen = maximal_marginal_relevance(query, list(hits.vectors), lambda_mult, k)
        documents = [self._document(hit.key, hit.metadata) for hit in hits]
        return [documents[place] for place in chosen]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Find documents that are near to a text: see `max_marginal_relevance_search_by_vector`."""
        vector = self._embedding.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, **kwargs)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> NearfieldVectorStore:
        """Make a vector store with these texts in it: see the class, and `add_texts`."""
        made = cls(embedding, **kwargs)
        made.add_texts(texts, metadatas, ids=ids)
        return made

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """From a score to a number between 0 and 1, as far as the metric has bounds."""
        if self._place.metric in ("cosine", "dot"):
            return lambda score: score
        return lambda score: 1 / (1 - score)  # a score is a negative distance

    def _document(self, key: Any, metadata: dict[str, Any] | None) -> Document:
        said = dict(metadata or {})
        text = said.pop(self._text_key, "")
        return Document(page_content=text, metadata=said, id=str(key))
