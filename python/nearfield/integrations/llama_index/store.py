"""The vector store: nodes go in and come out, by id, by document, by filter and by embedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from nearfield._core import Store
from nearfield.integrations._shared import Place
from nearfield.integrations.llama_index.filters import as_where

if TYPE_CHECKING:
    from os import PathLike

    from nearfield.typing import Metric

__all__ = ["NearfieldVectorStore"]

_ID = "_node_id"  # beside the metadata, since filters do not see keys


class NearfieldVectorStore(BasePydanticVectorStore):
    """Nodes with embeddings in a collection of a Nearfield store.

    It knows the modes `DEFAULT` and `MMR`, and all operators of filters. A dot in a name leads into a
    dictionary.

    Parameters
    ----------
    store : Store or path-like, default ":memory:"
        An open store, or the path of one to be opened for writing.
    collection : str, default "llama_index"
        The name of the collection. It is made when the first node comes, which tells its dimension.
    metric : str, default "cosine"
        How a new collection compares vectors.
    **options
        More for `Store.create_collection`, such as `index="flat"`.
    """

    stores_text: bool = True
    _place: Place = PrivateAttr()

    def __init__(
        self,
        store: Store | str | PathLike[str] = ":memory:",
        *,
        collection: str = "llama_index",
        metric: Metric = "cosine",
        **options: Any,
    ) -> None:
        super().__init__(stores_text=True)
        self._place = Place(store, collection, metric, **options)

    @classmethod
    def class_name(cls) -> str:
        """What LlamaIndex calls the class."""
        return "NearfieldVectorStore"

    @property
    def client(self) -> Store:
        """The store: close it, compact it, look into it."""
        return self._place.store

    def add(self, nodes: Sequence[BaseNode], **add_kwargs: Any) -> list[str]:
        """Keep nodes with their embeddings; an id that exists already is replaced.

        Parameters
        ----------
        nodes : sequence of BaseNode
            The nodes.

        Returns
        -------
        list of str
            Their ids.
        """
        keys = [node.node_id for node in nodes]
        said = [node_to_metadata_dict(node) | {_ID: node.node_id} for node in nodes]
        self._place.upsert(keys, [node.get_embedding() for node in nodes], said)
        return keys

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete all nodes of a document."""
        if (collection := self._place.collection) is not None:
            collection.delete(where={"ref_doc_id": ref_doc_id})

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Delete nodes by id, by filter, or by both.

        Raises
        ------
        ValueError
            If there is neither; `clear` deletes all.
        """
        if node_ids is None and filters is None:
            raise ValueError("expected node_ids or filters; to delete all nodes call clear()")
        if (collection := self._place.collection) is not None:
            collection.delete(where=_where(filters, node_ids))

    def clear(self) -> None:
        """Delete all nodes."""
        self._place.clear()

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Read nodes, with their embeddings, in the order of their ids.

        Parameters
        ----------
        node_ids : list of str, optional
            Only these.
        filters : MetadataFilters, optional
            Only what they let through.

        Returns
        -------
        list of BaseNode
            What there is of them.
        """
        collection = self._place.collection
        rows = [] if collection is None else collection.scan(_where(filters, node_ids))
        return [_node(row.metadata, row.vector) for row in rows]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Find the nodes nearest to an embedding.

        Parameters
        ----------
        query : VectorStoreQuery
            The embedding, how many, and which; in mode `MMR` nodes that are also far from each other, where
            `mmr_threshold` 1 is by nearness alone.
        mmr_prefetch_k : int, optional
            Among how many of the nearest `MMR` chooses; four times as many as wanted if not given.

        Returns
        -------
        VectorStoreQueryResult
            Nodes, ids and scores: higher is better.

        Raises
        ------
        ValueError
            If there is no embedding, or the mode is another one.
        """
        if query.query_embedding is None:
            raise ValueError("expected an embedding to search for, got a query without query_embedding")
        if query.mode not in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
            raise ValueError(f"expected mode DEFAULT or MMR, got {query.mode}")
        collection = self._place.collection
        if collection is None:
            return VectorStoreQueryResult(nodes=[], similarities=[], ids=[])
        diverse, k = query.mode == VectorStoreQueryMode.MMR, query.similarity_top_k
        fetched = int(kwargs.get("mmr_prefetch_k") or 4 * k) if diverse else k
        where = _where(query.filters, query.node_ids or None, query.doc_ids or None)  # empty: any
        result = collection.search(
            query.query_embedding, fetched, where=where, include=["metadata", "vectors"]
        )
        assert result.vectors is not None and result.metadata is not None
        nodes = [_node(said, row) for said, row in zip(result.metadata, result.vectors, strict=True)]
        places, scores = list(range(len(nodes))), result.scores.tolist()
        if diverse and nodes:
            threshold = kwargs.get("mmr_threshold", query.mmr_threshold)
            rows = [node.embedding for node in nodes]
            scores, places = get_top_k_mmr_embeddings(
                query.query_embedding, rows, similarity_top_k=k, mmr_threshold=threshold
            )
        chosen = [nodes[place] for place in places]
        return VectorStoreQueryResult(
            nodes=chosen, similarities=scores, ids=[node.node_id for node in chosen]
        )


def _where(
    filters: MetadataFilters | None, node_ids: list[str] | None = None, doc_ids: list[str] | None = None
) -> dict[str, Any]:
    ids = [
        {name: {"$in": ids}} for name, ids in ((_ID, node_ids), ("ref_doc_id", doc_ids)) if ids is not None
    ]
    return {"$and": [as_where(filters), *ids]}


def _node(metadata: dict[str, Any], vector: Any) -> BaseNode:
    node: BaseNode = metadata_dict_to_node(metadata)
    node.embedding = vector.tolist()
    return node
