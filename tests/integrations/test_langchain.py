"""LangChain: its own suite, sync and async, and what that suite does not ask."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_tests.integration_tests import VectorStoreIntegrationTests

import nearfield as nf
from nearfield.integrations.langchain import NearfieldVectorStore

TEXTS = ["apple", "pear", "plum", "cherry", "quince"]
SAID = [{"n": n, "even": n % 2 == 0} for n in range(5)]


class TestMemory(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self):
        return NearfieldVectorStore(self.get_embeddings())


class TestDirectory(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path):
        made = NearfieldVectorStore(self.get_embeddings(), tmp_path / "store")
        yield made
        made.store.close()


@pytest.fixture
def embedding():
    return DeterministicFakeEmbedding(size=8)


@pytest.fixture
def fruits(embedding):
    return NearfieldVectorStore.from_texts(TEXTS, embedding, SAID, ids=TEXTS)


def test_a_filter_is_one_of_nearfield(fruits):
    found = fruits.similarity_search("plum", k=5, filter={"even": True})
    assert {document.id for document in found} == {"apple", "plum", "quince"}
    assert found[0] == Document(id="plum", page_content="plum", metadata=SAID[2])
    assert [one.id for one in fruits.similarity_search("x", k=9, filter=nf.field("n") > 3)] == ["quince"]


def test_a_higher_score_is_better(fruits):
    scores = [score for _, score in fruits.similarity_search_with_score("plum", k=5)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(1)
    found = fruits.similarity_search_with_score("plum", k=5, min_score=scores[2])
    assert [score for _, score in found] == scores[:3]


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_relevance_of_the_same_text_is_one(embedding, metric):
    made = NearfieldVectorStore.from_texts(TEXTS, embedding, metric=metric)
    ((document, relevance),) = made.similarity_search_with_relevance_scores("pear", k=1, score_threshold=0.5)
    assert (document.page_content, relevance) == ("pear", pytest.approx(1))


def test_marginal_relevance_prefers_what_differs(embedding):
    made = NearfieldVectorStore.from_texts(["plum", "plum", "cherry"], embedding, ids=["a", "b", "c"])
    by_nearness = made.similarity_search("plum", k=2)
    both = made.max_marginal_relevance_search("plum", k=2, fetch_k=3, lambda_mult=0.1)
    assert [one.id for one in by_nearness] == ["a", "b"]
    assert {one.page_content for one in both} == {"plum", "cherry"}


async def test_marginal_relevance_without_documents(embedding):
    empty = NearfieldVectorStore(embedding)
    assert empty.max_marginal_relevance_search("plum") == []
    assert await empty.amax_marginal_relevance_search("plum") == []
    assert empty.get_by_ids(["a"]) == []
    assert empty.delete(["a"]) and empty.add_texts([]) == []


def test_documents_survive(embedding, tmp_path):
    with nf.open(tmp_path / "store") as store:
        NearfieldVectorStore(embedding, store, collection="fruits").add_texts(TEXTS, SAID, ids=TEXTS)
    with nf.open(tmp_path / "store") as store:
        again = NearfieldVectorStore(embedding, store, collection="fruits")
        assert again.similarity_search("pear", k=1)[0].metadata == SAID[1]
        assert again.delete(filter={"even": True})
        assert len(store["fruits"]) == 2


def test_a_text_needs_a_name_of_its_own(embedding):
    made = NearfieldVectorStore(embedding)
    with pytest.raises(ValueError, match="text_key="):
        made.add_texts(["apple"], [{"text": "taken"}])
    other = NearfieldVectorStore(embedding, text_key="page")
    other.add_texts(["apple"], [{"text": "mine"}])
    assert other.similarity_search("apple", k=1)[0].metadata == {"text": "mine"}


def test_lengths_must_agree(embedding):
    with pytest.raises(ValueError, match="one of ids for each of 2 texts, got 1"):
        NearfieldVectorStore(embedding).add_texts(["a", "b"], ids=["1"])


def test_a_retriever_finds_as_the_store_does(fruits):
    retriever = fruits.as_retriever(search_kwargs={"k": 2, "filter": {"even": False}})
    assert [one.id for one in retriever.invoke("pear")] == ["pear", "cherry"]
