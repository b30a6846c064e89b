"""LlamaIndex: it has no suite, so every operator is held against its own store."""

from __future__ import annotations

import numpy as np
import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.simple import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

import nearfield as nf
from nearfield.integrations.llama_index import NearfieldVectorStore

SAID = [
    {"n": 1, "name": "Alpha", "tags": ["a", "b"], "x": 1.5},
    {"n": 2, "name": "beta [x]", "tags": ["b"], "empty": ""},
    {"n": 3, "name": "ALPHABET", "tags": [], "empty": None},
    {"n": -4, "name": "gamma*", "tags": ["c", "a"], "empty": []},
    {"name": "delta", "empty": "full"},
]


def node(number, metadata, vector):
    parent = RelatedNodeInfo(node_id=f"doc-{number % 2}")
    return TextNode(
        id_=f"node-{number}",
        text=f"text {number}",
        metadata=metadata,
        embedding=vector,
        relationships={NodeRelationship.SOURCE: parent},
    )


@pytest.fixture
def nodes():
    vectors = np.random.default_rng(0).standard_normal((len(SAID), 4)).astype(np.float32)
    return [node(n, said, vectors[n].tolist()) for n, said in enumerate(SAID)]


@pytest.fixture
def filled(nodes):
    store = NearfieldVectorStore()
    assert store.add(nodes) == [one.node_id for one in nodes]
    return store


@pytest.fixture
def simple(nodes):
    store = SimpleVectorStore()
    store.add(nodes)
    return store


def condition(key, operator, value):
    return MetadataFilter(key=key, operator=FilterOperator(operator), value=value)


CONDITIONS = [
    condition("n", "==", 2),
    condition("n", "==", None),
    condition("name", "==", "delta"),
    condition("n", ">", 1),
    condition("n", "<", 2),
    condition("n", "!=", 2),
    condition("n", ">=", 2),
    condition("n", "<=", 2),
    condition("x", ">", 1),
    condition("n", "in", [1, 3, 9]),
    condition("n", "in", []),
    condition("n", "nin", [1, 3]),
    condition("name", "nin", ["delta"]),
    condition("tags", "any", ["a", "c"]),
    condition("tags", "any", []),
    condition("tags", "all", ["a", "b"]),
    condition("tags", "all", []),
    condition("tags", "contains", "b"),
    condition("name", "contains", "eta"),
    condition("name", "text_match", "ALPHA"),
    condition("name", "text_match", "[x"),
    condition("name", "text_match", "*"),
    condition("name", "text_match", ""),
    condition("name", "text_match_insensitive", "alpha"),
    condition("name", "text_match_insensitive", "A [X]"),
    condition("empty", "is_empty", None),
    condition("n", "is_empty", None),
]


def asked(filters, **more):
    return VectorStoreQuery(
        query_embedding=[1.0, 0.5, 0.0, -1.0], similarity_top_k=9, filters=filters, **more
    )


def test_all_operators_are_tested():
    assert {one.operator for one in CONDITIONS} == set(FilterOperator) and len(FilterOperator) == 14


@pytest.mark.parametrize("one", CONDITIONS, ids=lambda one: f"{one.key} {one.operator.value} {one.value}")
def test_an_operator_means_what_llama_index_says(filled, simple, one):
    filters = MetadataFilters(filters=[one])
    mine, theirs = filled.query(asked(filters)), simple.query(asked(filters))
    assert mine.ids == list(theirs.ids)
    assert mine.similarities == pytest.approx(theirs.similarities)
    assert sorted(n.node_id for n in filled.get_nodes(filters=filters)) == sorted(mine.ids)


@pytest.mark.parametrize("joined", list(FilterCondition))
def test_a_condition_means_what_llama_index_says(filled, simple, joined):
    filters = MetadataFilters(filters=[CONDITIONS[3], CONDITIONS[17]], condition=joined)
    assert filled.query(asked(filters)).ids == list(simple.query(asked(filters)).ids)


def test_conditions_in_conditions(filled):
    inner = MetadataFilters(filters=[condition("n", "<", 0), condition("n", ">", 2)], condition="or")
    filters = MetadataFilters(filters=[inner, condition("tags", "contains", "a")])
    assert filled.query(asked(filters)).ids == ["node-3"]
    assert len(filled.query(asked(MetadataFilters(filters=[]))).ids) == 5


@pytest.mark.parametrize(
    "one",
    [condition("n", "in", 3), condition("name", "text_match", 3), condition("tags", "any", "a")],
    ids=str,
)
def test_a_value_must_fit_its_operator(filled, one):
    with pytest.raises(ValueError, match=one.key):
        filled.query(asked(MetadataFilters(filters=[one])))


def test_a_node_comes_back_as_it_went_in(filled, nodes):
    assert isinstance(filled, BasePydanticVectorStore) and filled.class_name() == "NearfieldVectorStore"
    assert filled.get_nodes(["node-1", "node-9"]) == [nodes[1]]
    (found,) = filled.query(VectorStoreQuery(query_embedding=nodes[2].embedding, similarity_top_k=1)).nodes
    assert found == nodes[2]


def test_nodes_of_a_document(filled):
    assert sorted(filled.query(asked(None, doc_ids=["doc-1"])).ids) == ["node-1", "node-3"]
    assert sorted(filled.query(asked(None, node_ids=["node-0", "node-3"])).ids) == ["node-0", "node-3"]
    filled.delete("doc-0")
    assert [one.node_id for one in filled.get_nodes()] == ["node-1", "node-3"]


def test_nodes_are_deleted(filled):
    filled.delete_nodes(["node-0", "node-1"], MetadataFilters(filters=[condition("n", ">", 1)]))
    filled.delete_nodes(filters=MetadataFilters(filters=[condition("n", "<", 0)]))
    assert [one.node_id for one in filled.get_nodes()] == ["node-0", "node-2", "node-4"]
    with pytest.raises(ValueError, match="clear"):
        filled.delete_nodes()
    filled.clear()
    assert filled.get_nodes() == [] and filled.query(asked(None)).ids == []
    filled.delete("doc-0")
    filled.delete_nodes(["node-0"])


def test_marginal_relevance_prefers_what_differs():
    store = NearfieldVectorStore()
    vectors = [[1.0, 0.0], [1.0, 0.01], [0.6, 0.8]]
    store.add([node(n, {}, vector) for n, vector in enumerate(vectors)])
    query = VectorStoreQuery(
        query_embedding=[1.0, 0.0], similarity_top_k=2, mode=VectorStoreQueryMode.MMR, mmr_threshold=0.1
    )
    assert store.query(query).ids == ["node-0", "node-2"]
    assert store.query(query, mmr_prefetch_k=2, mmr_threshold=0.9).ids == ["node-0", "node-1"]


def test_what_cannot_be_asked(filled):
    with pytest.raises(ValueError, match="query_embedding"):
        filled.query(VectorStoreQuery())
    with pytest.raises(ValueError, match="DEFAULT or MMR"):
        filled.query(asked(None, mode=VectorStoreQueryMode.SPARSE))


async def test_an_index_over_a_directory(tmp_path):
    embedding = MockEmbedding(embed_dim=8)
    with nf.open(tmp_path / "store") as store:
        context = StorageContext.from_defaults(vector_store=NearfieldVectorStore(store))
        documents = [Document(text=f"page {n}", metadata={"n": n}, id_=f"page-{n}") for n in range(5)]
        index = VectorStoreIndex.from_documents(documents, context, embed_model=embedding)
        index.delete_ref_doc("page-3", delete_from_docstore=True)
    with nf.open(tmp_path / "store") as store:
        index = VectorStoreIndex.from_vector_store(NearfieldVectorStore(store), embed_model=embedding)
        filters = MetadataFilters(filters=[condition("n", ">=", 2)])
        found = await index.as_retriever(similarity_top_k=9, filters=filters).aretrieve("page")
        assert {one.text for one in found} == {"page 2", "page 4"}
