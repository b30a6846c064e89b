"""The component of a pipeline that searches."""

from __future__ import annotations

from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.types import FilterPolicy
from haystack.document_stores.types.filter_policy import apply_filter_policy

from nearfield.integrations.haystack.store import NearfieldDocumentStore

__all__ = ["NearfieldEmbeddingRetriever"]


@component
class NearfieldEmbeddingRetriever:
    """Finds the documents of a `NearfieldDocumentStore` that are nearest to an embedding.

    Parameters
    ----------
    document_store : NearfieldDocumentStore
        Where the documents are.
    filters : dict, optional
        Which documents may be found.
    top_k : int, default 10
        How many.
    return_embedding : bool, default False
        Whether to read their embeddings too.
    filter_policy : FilterPolicy, default REPLACE
        Whether filters given to `run` replace those given here, or are joined to them.
    """

    def __init__(
        self,
        document_store: NearfieldDocumentStore,
        *,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
        filter_policy: FilterPolicy = FilterPolicy.REPLACE,
    ) -> None:
        self.document_store = document_store
        self.filters = filters
        self.top_k = top_k
        self.return_embedding = return_embedding
        self.filter_policy = FilterPolicy.from_str(str(filter_policy))

    def to_dict(self) -> dict[str, Any]:
        """Write the component down, with how to open its store again."""
        said = default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            return_embedding=self.return_embedding,
            filter_policy=str(self.filter_policy),
        )
        return dict(said)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> NearfieldEmbeddingRetriever:
        """Make what `to_dict` wrote down."""
        given = data["init_parameters"]
        given["document_store"] = NearfieldDocumentStore.from_dict(given["document_store"])
        made: NearfieldEmbeddingRetriever = default_from_dict(cls, data)
        return made

    @component.output_types(documents=list[Document])
    def run(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        return_embedding: bool | None = None,
    ) -> dict[str, list[Document]]:
        """Search.

        Parameters
        ----------
        query_embedding : list of float
            What to be near to.
        filters, top_k, return_embedding : optional
            For this search, instead of what the component was made with.

        Returns
        -------
        dict
            `documents`: best first, with scores.
        """
        found = self.document_store.embedding_retrieval(
            query_embedding,
            apply_filter_policy(self.filter_policy, self.filters, filters),
            self.top_k if top_k is None else top_k,
            self.return_embedding if return_embedding is None else return_embedding,
        )
        return {"documents": found}
