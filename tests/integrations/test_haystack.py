"""Haystack: its own suites, sync and async, and what they do not ask."""

from __future__ import annotations

import haystack.testing.document_store as suite
import haystack.testing.document_store_async as async_suite
import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy
from haystack.errors import FilterError
from haystack.utils.filters import document_matches_filter

import nearfield as nf
from nearfield.integrations.haystack import NearfieldDocumentStore, NearfieldEmbeddingRetriever


class Equal:
    """The hook of the suites: documents come in the order of their ids, embeddings as float32."""

    @staticmethod
    def assert_documents_are_equal(received, expected):
        def said(documents):
            rows = sorted((one.to_dict(flatten=False) for one in documents), key=lambda row: row["id"])
            return [
                row | {"embedding": row["embedding"] and np.float32(row["embedding"]).tolist()}
                for row in rows
            ]

        assert said(received) == said(expected)

    @pytest.fixture
    def document_store(self):
        return NearfieldDocumentStore()


class TestSuite(
    Equal,
    suite.DocumentStoreBaseExtendedTests,
    suite.CountDocumentsByFilterTest,
    suite.CountUniqueMetadataByFilterTest,
    suite.GetMetadataFieldsInfoTest,
    suite.GetMetadataFieldMinMaxTest,
    suite.GetMetadataFieldUniqueValuesTest,
):
    def test_write_documents(self, document_store):  # the suite leaves this one to the store
        document = Document(content="once")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([document])


class TestAsyncSuite(
    Equal,
    async_suite.CountDocumentsAsyncTest,
    async_suite.WriteDocumentsAsyncTest,
    async_suite.DeleteDocumentsAsyncTest,
    async_suite.FilterDocumentsAsyncTest,
    async_suite.DeleteAllAsyncTest,
    async_suite.DeleteByFilterAsyncTest,
    async_suite.UpdateByFilterAsyncTest,
    async_suite.CountDocumentsByFilterAsyncTest,
    async_suite.CountUniqueMetadataByFilterAsyncTest,
    async_suite.GetMetadataFieldsInfoAsyncTest,
    async_suite.GetMetadataFieldMinMaxAsyncTest,
    async_suite.GetMetadataFieldUniqueValuesAsyncTest,
):
    async def test_write_documents_async(self, document_store):  # the suite leaves this one to the store
        document = Document(content="once")
        assert await document_store.write_documents_async([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([document])


@pytest.fixture
def documents():
    vectors = np.eye(4, 3) + 0.1
    years = [2001, 2002, None, 2004]
    made = [
        Document(id=str(n), content=f"text {n}", meta={"year": year, "n": n}, embedding=vectors[n].tolist())
        for n, year in enumerate(years)
    ]
    return [*made, Document(id="bare", content="no embedding", meta={"year": 2001})]


@pytest.fixture
def filled(documents):
    store = NearfieldDocumentStore(embedding_dim=3)
    store.write_documents(documents)
    return store


FILTERS = [
    {"field": "meta.year", "operator": ">", "value": 2001},
    {"field": "meta.year", "operator": "!=", "value": 2001},
    {"field": "meta.year", "operator": "in", "value": [2001, None]},
    {"field": "meta.year", "operator": "not in", "value": [2001, None]},
    {"field": "meta.n", "operator": "==", "value": None},
    {"field": "year", "operator": "<=", "value": 2002},
    {"field": "content", "operator": "==", "value": "text 1"},
    {"field": "id", "operator": "in", "value": ["0", "bare"]},
    {"field": "embedding", "operator": "==", "value": None},
    {"field": "meta.a.b", "operator": "==", "value": None},
    {"operator": "NOT", "conditions": [{"field": "meta.n", "operator": ">=", "value": 2}]},
    {"operator": "OR", "conditions": []},
    {"operator": "AND", "conditions": []},
    {
        "operator": "OR",
        "conditions": [
            {"field": "meta.n", "operator": "<", "value": 1},
            {"operator": "AND", "conditions": [{"field": "meta.n", "operator": ">", "value": 2}]},
        ],
    },
]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_a_filter_means_what_haystack_says(filled, documents, filters):
    expected = {one.id for one in documents if document_matches_filter(filters, one)}
    assert {one.id for one in filled.filter_documents(filters)} == expected
    assert filled.count_documents_by_filter(filters) == len(expected)


@pytest.mark.parametrize(
    "filters",
    [
        {"field": "meta.n", "operator": "~", "value": 1},
        {"operator": "XOR", "conditions": []},
        {"field": "meta..n", "operator": "==", "value": 1},
    ],
    ids=str,
)
def test_what_is_no_filter_is_refused(filled, filters):
    for call in (filled.filter_documents, filled.delete_by_filter, filled.count_documents_by_filter):
        with pytest.raises(FilterError):
            call(filters)
    with pytest.raises(FilterError):
        filled.embedding_retrieval([1.0, 0.0, 0.0], filters)


def test_retrieval_ranks_what_has_an_embedding(filled):
    found = filled.embedding_retrieval([0.0, 1.0, 0.0], top_k=10)
    assert found[0].id == "1" and "bare" not in {one.id for one in found}
    assert len(found) == 4 and all(one.embedding is None for one in found)
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)
    late = {"field": "meta.year", "operator": ">", "value": 2001}
    (best, _) = filled.embedding_retrieval([1.0, 0.0, 0.0], late, return_embedding=True)
    assert len(best.embedding) == 3


async def test_the_retriever_in_a_pipeline(filled):
    early = {"field": "meta.n", "operator": "<", "value": 2}
    retriever = NearfieldEmbeddingRetriever(filled, filters=early, top_k=3, filter_policy=FilterPolicy.MERGE)
    pipeline = Pipeline()
    pipeline.add_component("retriever", retriever)
    found = pipeline.run({"retriever": {"query_embedding": [0.0, 1.0, 0.0]}})["retriever"]["documents"]
    assert [one.id for one in found] == ["1", "0"]
    more = {"field": "meta.year", "operator": ">", "value": 2001}
    assert [one.id for one in retriever.run([0.0, 1.0, 0.0], more)["documents"]] == ["1"]
    assert len(await filled.embedding_retrieval_async([0.0, 1.0, 0.0], top_k=2)) == 2


def test_a_pipeline_is_written_down_and_read(tmp_path, documents):
    with nf.open(tmp_path / "store") as store:
        written = NearfieldDocumentStore(store, collection="texts", embedding_dim=3, metric="l2")
        written.write_documents(documents)
        said = NearfieldEmbeddingRetriever(written, top_k=2).to_dict()
    read = NearfieldEmbeddingRetriever.from_dict(said)
    assert read.to_dict()["init_parameters"]["document_store"]["init_parameters"]["metric"] == "l2"
    assert read.run(documents[2].embedding)["documents"][0].id == "2"
    read.document_store.store.close()


def test_a_blob_comes_back(filled):
    from haystack.dataclasses import ByteStream, SparseEmbedding

    sparse = SparseEmbedding(indices=[1, 5], values=[0.5, 0.25])
    document = Document(blob=ByteStream(b"\x00\xff", mime_type="image/png"), sparse_embedding=sparse)
    filled.write_documents([document], policy=DuplicatePolicy.OVERWRITE)
    same = {"field": "id", "operator": "==", "value": document.id}
    assert filled.filter_documents(same) == [document]
    assert filled.write_documents([]) == 0
