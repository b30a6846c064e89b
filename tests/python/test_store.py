"""The store as its users see it: rows, searches, scans, collections, on disk and in memory."""

from __future__ import annotations

import pickle
import time

import numpy as np
import pytest
from model import canonical_scores, natural_distances
from store_fixtures import content, gaussian

import nearfield as nf


@pytest.fixture(params=["disk", "memory"])
def path(request, tmp_path):
    return tmp_path / "library.nfdb" if request.param == "disk" else ":memory:"


@pytest.fixture
def store(path):
    with nf.open(path) as store:
        yield store


@pytest.fixture
def docs(store):
    docs = store.create_collection("docs", dim=8, metric="cosine")
    docs.upsert(
        [f"k{i:02}" for i in range(20)],
        gaussian(20, 8),
        metadata=[{"lang": "de" if i % 3 else "en", "year": 2000 + i} for i in range(20)],
    )
    return docs


def test_the_first_lines_everybody_writes(path):
    with nf.open(path) as store:
        docs = store.create_collection("docs", dim=3, metric="cosine")
        vectors = np.eye(3, dtype=np.float32)
        metadata = [{"lang": "en", "year": 2019}, {"lang": "en", "year": 2021}, {"lang": "de", "year": 2022}]
        assert docs.upsert(["a", "b", "c"], vectors, metadata=metadata) == 3
        hits = docs.search([1, 1, 1], k=10, where={"lang": "en", "year": {"$gte": 2020}}, min_score=0.4)
        assert hits.keys == ["b"]
        assert hits.scores.dtype == np.float32
        assert [hit.key for hit in docs.search([1, 1, 1], k=2)] == ["a", "b"]
    with pytest.raises(ValueError, match="closed"):
        store.collections()
    with pytest.raises(ValueError, match="closed"):
        len(docs)
    store.close()


def test_rows_come_back_as_they_were_put(docs):
    row = docs.get("k03")
    assert isinstance(row, nf.Row)
    assert row.key == "k03"
    assert row.metadata == {"lang": "en", "year": 2003}
    assert row.vector.dtype == np.float32
    assert row.vector.tobytes() == gaussian(20, 8)[3].tobytes()
    assert row.created_at == row.updated_at > 1_600_000_000_000
    assert docs.get("nowhere") is None
    found = docs.get(["k05", "nowhere", "k01"])
    assert [row and row.key for row in found] == ["k05", None, "k01"]
    assert docs.get([]) == []
    assert "k03" in docs
    assert "nowhere" not in docs
    assert 3.5 not in docs
    assert len(docs) == 20


def test_an_upsert_replaces_keeps_created_at_and_the_last_duplicate_wins(docs):
    before = docs.get("k03")
    assert docs.upsert(["k03", "new", "k03"], gaussian(3, 8, 1)) == 2
    after = docs.get("k03")
    assert after.vector.tobytes() == gaussian(3, 8, 1)[2].tobytes()
    assert (after.metadata, after.created_at) == ({}, before.created_at)
    assert after.updated_at >= before.updated_at
    assert len(docs) == 21


def test_a_single_row_may_stand_by_itself(docs):
    assert docs.upsert("one", gaussian(1, 8)[0], {"n": 1}) == 1
    assert docs.get("one").metadata == {"n": 1}
    assert docs.delete("one") == 1


def test_an_insert_takes_new_keys_only_or_skips_the_others(docs):
    before = content_of(docs)
    with pytest.raises(nf.DuplicateKeyError, match="k03"):
        docs.insert(["new", "k03"], gaussian(2, 8))
    with pytest.raises(nf.DuplicateKeyError, match="new"):
        docs.insert(["new", "new"], gaussian(2, 8))
    assert content_of(docs) == before
    assert docs.insert(["new", "k03", "new"], gaussian(3, 8, 5), on_conflict="skip") == 1
    assert docs.get("new").vector.tobytes() == gaussian(3, 8, 5)[0].tobytes()
    assert docs.get("k03").metadata["year"] == 2003


def content_of(docs):
    return [(row.key, row.vector.tobytes(), row.metadata) for row in docs.scan()]


def test_a_patch_changes_what_rows_say_and_nothing_else(docs):
    before = docs.get("k03")
    assert docs.set_metadata(["k03", "nowhere", "k04"], {"lang": None, "new": [1]}) == 2
    after = docs.get("k03")
    assert after.metadata == {"lang": None, "year": 2003, "new": [1]}
    assert after.vector.tobytes() == before.vector.tobytes()
    assert after.created_at == before.created_at
    assert docs.set_metadata(["k03", "k04"], [{"n": 1}, {"n": 2}]) == 2
    assert [docs.get(key).metadata["n"] for key in ("k03", "k04")] == [1, 2]
    assert docs.set_metadata("k03", {"only": 1}, replace=True) == 1
    assert docs.get("k03").metadata == {"only": 1}
    assert docs.set_metadata([], {"a": 1}) == 0
    assert docs.count({"only": 1}) == 1


def test_what_a_collection_says_about_itself_is_a_durable_mapping(path):
    with nf.open(path) as store:
        docs = store.create_collection("docs", dim=2)
        assert dict(docs.meta) == {}
        docs.meta["model"] = "e5"
        docs.meta.update(dims=[2, 3], source={"url": None})
        assert docs.meta["model"] == "e5"
        assert docs.meta.pop("source") == {"url": None}
        assert dict(docs.meta) == {"dims": [2, 3], "model": "e5"}
        assert len(docs.meta) == 2
        assert docs.meta.get("nothing") is None
        with pytest.raises(KeyError):
            del docs.meta["nothing"]
        with pytest.raises(ValueError, match="NaN"):
            docs.meta["x"] = float("nan")
        before = dict(docs.meta)
    if path != ":memory:":
        with nf.open(path) as store:
            docs = store["docs"]
            assert dict(docs.meta) == before
            docs.meta = {"other": 1}
            assert dict(docs.meta) == {"other": 1}
            docs.meta.clear()
            assert dict(docs.meta) == {}


def test_a_search_is_that_of_numpy(docs):
    query = gaussian(1, 8, 9)[0]
    scores = canonical_scores(query, gaussian(20, 8), "cosine")
    order = np.argsort(-scores, kind="stable")
    result = docs.search(query, k=5)
    assert result.keys == [f"k{i:02}" for i in order[:5]]
    assert result.scores.tobytes() == scores[order[:5]].tobytes()
    assert result.distances.tobytes() == natural_distances(scores[order[:5]], "cosine").tobytes()
    assert result.counts.tolist() == [5]
    assert result.metadata is None
    assert result.vectors is None
    assert result.collections == ["docs"] * 5


def test_results_have_the_shapes_that_were_promised(docs):
    queries = gaussian(3, 8, 9)
    result = docs.search(queries, k=30, where={"lang": "en"}, include=["metadata", "vectors", "stamps"])
    assert result.scores.shape == result.distances.shape == result.created_at.shape == (3, 30)
    assert [len(keys) for keys in result.keys] == result.counts.tolist() == [7, 7, 7]
    assert (result.scores[:, 7:] == -np.inf).all()
    assert (result.distances[:, 7:] == np.inf).all()
    assert [vectors.shape for vectors in result.vectors] == [(7, 8)] * 3
    assert (result.updated_at[:, :7] > 0).all()
    assert all(one["lang"] == "en" for each in result.metadata for one in each)
    lists = list(result)
    assert [len(hits) for hits in lists] == [7, 7, 7]
    hit = lists[1][0]
    assert hit == nf.Hit(
        result.keys[1][0],
        float(result.scores[1, 0]),
        float(result.distances[1, 0]),
        "docs",
        result.metadata[1][0],
    )
    single = docs.search(queries[0], k=2, include="vectors")
    assert single.vectors.shape == (2, 8)
    assert single.vectors[0].tobytes() == docs.get(single.keys[0]).vector.tobytes()
    for nothing in (docs.search(queries[0], k=0), docs.search(queries[0], where={"lang": "fr"})):
        assert (nothing.keys, nothing.scores.shape, list(nothing)) == ([], (0,), [])
    assert docs.search(queries, k=0).scores.shape == (3, 0)
    assert docs.search(np.empty((0, 8), np.float32)).keys == []
    assert docs.search(queries[0], k=10**6).counts.tolist() == [20]


def test_results_become_tables_and_survive_pickling(docs):
    result = docs.search(gaussian(2, 8, 9), k=3, include=["metadata"])
    for table in (result.to_pandas(), result.to_polars(), result.to_arrow().to_pandas()):
        assert list(table.columns) == ["query", "rank", "key", "score", "distance", "collection", "metadata"]
        assert table["key"].to_list() == [key for keys in result.keys for key in keys]
        assert table["rank"].to_list() == [1, 2, 3, 1, 2, 3]
    assert result.to_pandas()["metadata"].to_list()[0] == result.metadata[0][0]
    docs.upsert([7, b"x"], gaussian(2, 8, 9))
    mixed = docs.search(gaussian(2, 8, 9)[0], k=2)
    assert mixed.to_polars()["key"].to_list()[0] == "7"
    assert mixed.to_pandas()["key"].to_list()[0] == 7
    assert "CollectionResult: 6 hits for 2 queries" in repr(result)
    many = docs.search(gaussian(40, 8), k=20, include=["metadata"])
    assert "and 790 more" in repr(many)
    assert many._metadata is None, "only what is shown is read"
    assert "<table>" in result._repr_html_()
    copy = pickle.loads(pickle.dumps(list(result)))
    assert copy == list(result)
    row = pickle.loads(pickle.dumps(docs.get("k01")))
    assert row.metadata == docs.get("k01").metadata


def test_scores_below_the_least_that_is_wanted_stay_out(docs):
    query = gaussian(1, 8, 9)[0]
    scores = docs.search(query, k=20).scores
    assert docs.search(query, k=20, min_score=float(scores[4])).scores.tobytes() == scores[:5].tobytes()
    assert docs.search(query, k=20, min_score=float(scores[4]), exact=True).counts.tolist() == [5]


def test_rows_are_scanned_counted_and_deleted_by_what_they_say(docs):
    english = {"lang": "en"}
    assert [row.key for row in docs.scan(english, batch_size=2)] == [f"k{i:02}" for i in range(0, 20, 3)]
    assert [row.key for row in docs.scan(after="k17")] == ["k18", "k19"]
    assert [row.key for row in docs.scan(english, after="k14x", batch_size=1)] == ["k15", "k18"]
    assert next(docs.scan()).metadata == {"lang": "en", "year": 2000}
    assert (docs.count(), docs.count(english)) == (20, 7)
    compiled = docs.filter(english)
    assert len(compiled) == 7
    query = gaussian(1, 8, 9)[0]
    first = docs.search(query, where=compiled)
    assert first.keys == docs.search(query, where=english).keys
    assert docs.delete(where=compiled) == 7
    assert (len(compiled), len(docs)) == (0, 13)
    assert docs.search(query, where=compiled).keys == []
    docs.upsert(["late"], gaussian(1, 8), [{"lang": "en"}])
    assert docs.search(query, where=compiled).keys == ["late"]
    docs.set_metadata("late", {"lang": "de"})
    assert docs.search(query, where=compiled).keys == []
    assert docs.delete(["k01", "k01", "nowhere"]) == 1
    for wrong in ({}, {"keys": ["a"], "where": {}}):
        with pytest.raises(TypeError, match="keys or where"):
            docs.delete(**wrong)
    assert docs.delete(where={}) == 13


def test_several_collections_give_one_ranking(store):
    vectors = gaussian(30, 4)
    for i, name in enumerate(["zebra", "apple", "middle"]):
        store.create_collection(name, dim=4, metric="l2").upsert(range(10), vectors[i * 10 :][:10])
    query = vectors[5]
    result = store.search(query, k=30)
    scores = canonical_scores(query, vectors, "l2")
    names = ["zebra"] * 10 + ["apple"] * 10 + ["middle"] * 10
    expected = sorted((-float(scores[i]), names[i], i % 10) for i in range(30))
    assert [(-hit.score, hit.collection, hit.key) for hit in result] == expected
    some = store.search(query, k=5, collections=["apple", "nowhere"])
    assert set(some.collections) == {"apple"}
    assert store.search(query, collections=[]).keys == []
    assert store.search(vectors[:2], collections=["nowhere"]).scores.shape == (2, 10)
    store.create_collection("wide", dim=5, metric="l2")
    with pytest.raises(nf.DimensionError, match="5"):
        store.search(query)
    store.create_collection("angle", dim=4)
    with pytest.raises(ValueError, match="cosine"):
        store.search(query, collections=["apple", "angle"])


def test_collections_are_created_listed_and_dropped(store):
    docs = store.create_collection("docs", 3, "l2")
    assert (docs.name, docs.dim, docs.metric, docs.codec, docs.index) == ("docs", 3, "l2", "f32", "hnsw")
    assert store.create_collection("docs", 3, "l2", exist_ok=True).name == "docs"
    with pytest.raises(nf.CollectionExistsError, match="exist_ok"):
        store.create_collection("docs", 3, "l2")
    with pytest.raises(nf.CollectionExistsError, match="another schema"):
        store.create_collection("docs", 4, "l2", exist_ok=True)
    store.create_collection("arts", 70, "hamming", index="flat")
    assert store.collections() == ["arts", "docs"]
    assert "docs" in store
    assert 5 not in store
    assert store["arts"].codec == "b1"
    with pytest.raises(nf.CollectionNotFoundError, match="nowhere"):
        store["nowhere"]
    with pytest.raises(KeyError):
        store.collection("nowhere")
    docs.upsert(["a"], [[1, 2, 3]])
    assert store.drop_collection("docs")
    assert not store.drop_collection("docs")
    with pytest.raises(nf.CollectionNotFoundError):
        len(docs)
    assert repr(docs) == "Collection('docs', dropped)".replace("'", '"')
    assert len(store.create_collection("docs", 3)) == 0


def test_bits_are_searched_by_how_many_differ(store):
    docs = store.create_collection("docs", dim=16, metric="hamming", index="flat")
    bits = np.random.default_rng(0).integers(0, 2, (9, 16), dtype=np.uint8)
    docs.upsert(range(9), np.packbits(bits, axis=1))
    result = docs.search(np.packbits(bits[4]), k=9)
    assert result.distances.tolist() == sorted((bits != bits[4]).sum(axis=1).tolist())
    assert docs.get(4).vector.tolist() == bits[4].tolist()


def test_progress_is_reported_to_the_end(store):
    docs = store.create_collection("docs", dim=2)
    seen = []
    docs.upsert(range(1000), gaussian(1000, 2), progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 1000)
    assert seen[-1] == (1000, 1000)
    with pytest.raises(ZeroDivisionError):
        docs.upsert(
            range(1000), gaussian(1000, 2, 1), progress=lambda done, total: time.sleep(0.05) or 1 // 0
        )


def test_everything_shows_itself_in_a_notebook(store, docs):
    docs.upsert(["<script>"], gaussian(1, 8), [{"<b>": "<i>"}])
    for shown in (store._repr_html_(), docs._repr_html_(), docs.search(gaussian(1, 8)[0])._repr_html_()):
        assert "<table>" in shown
        assert "<script>" not in shown
    assert "docs" in repr(docs)
    assert "collections=1" in repr(store)
    store.close()
    assert "closed" in repr(store)
    assert "closed" in repr(docs)


def test_numbers_tell_what_is_there(store, docs):
    stats = store.stats()
    assert stats["rows"] == stats["collections"]["docs"]["rows"] == 20
    assert stats["memory_bytes"] > 20 * 8 * 4
    docs.delete(["k01"])
    store.compact()
    assert store.stats()["dead_rows"] == 0
    assert store.verify()["ok"]
    docs.optimize()


def test_what_was_written_is_there_after_reopening_compacting_and_copying(tmp_path):
    path, copy = tmp_path / "library.nfdb", tmp_path / "copy.nfdb"
    with nf.open(path) as store:
        docs = store.create_collection("docs", dim=8)
        docs.upsert(range(500), gaussian(500, 8), [{"n": i} for i in range(500)])
        docs.delete(range(100))
        before = content(store)
        store.compact()
        assert content(store) == before
        store.backup(copy)
    for other in (path, copy):
        for mode in ("rw", "r"):
            with nf.open(other, mode) as store:
                assert content(store) == before
                assert store.verify()["ok"]
    with pytest.raises(ValueError, match="empty"), nf.open(path) as store:
        store.backup(copy)
