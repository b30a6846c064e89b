"""Collections with a graph: rows are found at once, and linked in the background."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf

D, ROWS = 16, 4_000


def rows_of(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, D)).astype(np.float32)


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[nf.Store]:
    with nf.open(tmp_path / "store" if request.param == "disk" else ":memory:") as store:
        yield store


def fill(docs: nf.Collection, vectors: np.ndarray, batch: int) -> None:
    for start in range(0, len(vectors), batch):
        part = vectors[start : start + batch]
        numbers = range(start, start + len(part))
        docs.upsert(list(numbers), part, [{"even": i % 2 == 0, "tenth": i % 10} for i in numbers])


def recall(docs: nf.Collection, queries: np.ndarray, **options: object) -> float:
    found, truth = docs.search(queries, **options).keys, docs.search(queries, exact=True, **options).keys
    return float(np.mean([len(set(f) & set(t)) / len(t) for f, t in zip(found, truth, strict=True)]))


def test_every_row_is_found_from_the_moment_its_batch_returns(store):
    docs, vectors = store.create_collection("docs", D, "l2"), rows_of(ROWS, 0)
    assert docs.index == "hnsw"
    for start in range(0, ROWS, 500):
        keys = list(range(start, start + 500))
        docs.upsert(keys, vectors[keys])
        assert [hits[0] for hits in docs.search(vectors[keys], 1).keys] == keys
    store.flush(wait=True)
    assert docs.stats()["unlinked_rows"] == 0
    assert recall(docs, rows_of(100, 1)) > 0.95


def test_rows_are_linked_without_anybody_waiting(store):
    docs = store.create_collection("docs", D)
    fill(docs, rows_of(ROWS, 0), 1_000)
    deadline = time.monotonic() + 60
    while docs.stats()["unlinked_rows"] >= 32:
        assert time.monotonic() < deadline, docs.stats()
        time.sleep(0.02)


def test_the_same_rows_give_the_same_answers_whatever_the_batches_and_after_reopening(tmp_path: Path):
    vectors, queries, answers = rows_of(ROWS, 2), rows_of(200, 3), []
    for name, batch in (("a", 4_000), ("b", 333)):
        with nf.open(tmp_path / name) as store:
            fill(store.create_collection("docs", D, seed=5), vectors, batch)
            store.flush(wait=True)
            answers.append(store["docs"].search(queries, ef=12).keys)
        with nf.open(tmp_path / name) as store:
            exact = store["docs"].search(queries, exact=True)
            store.flush(wait=True)
            answers.append(store["docs"].search(queries, ef=12).keys)
            assert store["docs"].search(queries, exact=True).keys == exact.keys
    assert answers.count(answers[0]) == 4


def test_a_graph_is_taken_over_at_opening_and_goes_on_from_there(tmp_path: Path):
    vectors, queries = rows_of(ROWS + 500, 20), rows_of(100, 21)
    with nf.open(tmp_path / "store") as store:
        docs = store.create_collection("docs", D)
        fill(docs, vectors[:ROWS], 1_000)
        docs.delete(list(range(100)))
        store.flush(wait=True)
        answers = docs.search(queries, ef=20).keys
    with nf.open(tmp_path / "store", mode="r") as reader:
        stats = reader["docs"].stats()
        assert (stats["saved_rows"], stats["unlinked_rows"], stats["graph_damage"]) == (ROWS, 0, None)
        assert reader["docs"].search(queries, ef=20).keys == answers
        assert reader.verify()["ok"]
    with nf.open(tmp_path / "store") as store:
        docs = store["docs"]
        fill(docs, vectors[:50], 50)
        docs.upsert(list(range(ROWS, ROWS + 500)), vectors[ROWS:])
        store.flush(wait=True)
        assert docs.search(vectors[ROWS:], 1, ef=100).keys == [[key] for key in range(ROWS, ROWS + 500)]
        assert recall(docs, queries, ef=100) > 0.95
        store.compact()
        assert docs.stats()["saved_rows"] == len(docs) == ROWS + 450
        assert recall(docs, queries, ef=100) > 0.95


def test_a_store_without_the_file_of_its_graph_has_all_of_its_rows(tmp_path: Path):
    vectors = rows_of(ROWS, 22)
    with nf.open(tmp_path / "store") as store:
        fill(store.create_collection("docs", D), vectors, 1_000)
        store.flush(wait=True)
    for graph in (tmp_path / "store").glob("graph-*.nf"):
        graph.unlink()
    with nf.open(tmp_path / "store") as store:
        docs = store["docs"]
        assert "graph-" in docs.stats()["graph_damage"]
        assert [hits[0] for hits in docs.search(vectors, 1, exact=True).keys] == list(range(ROWS))
        store.flush(wait=True)
        assert docs.stats()["graph_damage"] is None and docs.stats()["saved_rows"] == ROWS


def test_rows_too_few_for_a_graph_are_found_without(store):
    docs, vectors = store.create_collection("docs", D, "l2"), rows_of(1_100, 12)
    for start in range(0, 1_000, 100):
        docs.upsert(list(range(start, start + 100)), vectors[start : start + 100])
    store.flush(wait=True)
    assert docs.stats()["unlinked_rows"] == 1_000
    assert [hits[0] for hits in docs.search(vectors[:1_000], 1).keys] == list(range(1_000))
    docs.upsert(list(range(1_000, 1_100)), vectors[1_000:])
    store.flush(wait=True)
    assert docs.stats()["unlinked_rows"] == 0
    assert [hits[0] for hits in docs.search(vectors, 1, ef=100).keys] == list(range(1_100))


def test_changes_and_filters_while_rows_wait_for_links(store):
    docs, vectors = store.create_collection("docs", D, "l2"), rows_of(ROWS, 4)
    fill(docs, vectors, 1_000)
    gone = list(range(0, ROWS, 5))
    assert docs.delete(gone) == len(gone)
    moved = list(range(1, ROWS, 5))
    docs.upsert(moved, vectors[moved] + 3, [{"even": False, "tenth": -1}] * len(moved))
    for linked in (False, True):
        assert [hits[0] for hits in docs.search(vectors[moved] + 3, 1).keys] == moved
        found = docs.search(vectors[:200], 5, where={"tenth": {"$in": [2, 3]}})
        assert all(key % 10 in (2, 3) for keys in found.keys for key in keys)
        assert recall(docs, rows_of(50, 5), where={"even": True}) > 0.9
        assert (docs.search(vectors[gone], 1).distances > 0).all(), "a deleted row was found"
        if not linked:
            store.flush(wait=True)


def test_searches_go_on_while_rows_come_in(store):
    docs, vectors = store.create_collection("docs", D, "l2"), rows_of(3 * ROWS, 6)
    docs.upsert(list(range(ROWS)), vectors[:ROWS])
    wrong: list[object] = []
    done = threading.Event()

    def search() -> None:
        rng = np.random.default_rng(7)
        while not done.is_set():
            keys = rng.integers(0, ROWS, 20)
            found = docs.search(vectors[keys], 1, ef=200).keys
            wrong.extend(pair for pair in zip(keys.tolist(), found, strict=True) if pair[1] != [pair[0]])

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for start in range(ROWS, 3 * ROWS, 400):
        docs.upsert(list(range(start, start + 400)), vectors[start : start + 400])
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_store_may_be_closed_while_rows_are_linked(tmp_path: Path):
    vectors = rows_of(ROWS, 8)
    for _ in range(3):
        with nf.open(tmp_path / "store") as store:
            docs = store.create_collection("docs", D, exist_ok=True)
            docs.upsert(list(range(ROWS)), vectors)
        with pytest.raises(ValueError, match="closed"):
            docs.search(vectors[0])
    with nf.open(tmp_path / "store", "r") as store:
        assert store["docs"].search(vectors[7], 1).keys == [7]


def test_a_graph_that_was_deleted_from_is_put_in_order(store):
    docs, vectors = store.create_collection("docs", D, "l2"), rows_of(ROWS, 9)
    fill(docs, vectors, 1_000)
    full = docs.stats()["memory_bytes"]
    docs.delete(list(range(ROWS // 4, ROWS)))
    store.compact()
    assert docs.stats()["memory_bytes"] < 0.5 * full
    assert [hits[0] for hits in docs.search(vectors[:200], 1).keys] == list(range(200))


def test_how_the_graph_is_built_is_part_of_the_schema(store):
    chosen = {"m": 8, "ef_construction": 60, "seed": 3}
    store.create_collection("docs", D, **chosen)
    store.create_collection("docs", D, **chosen, exist_ok=True)
    for other in ({**chosen, "m": 9}, {"index": "flat"}, {}):
        with pytest.raises(nf.CollectionExistsError, match="another schema"):
            store.create_collection("docs", D, exist_ok=True, **other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"index": "flat", "m": 8}, "hnsw"),
        ({"index": "flat", "seed": 0}, "hnsw"),
        ({"index": "tree"}, "'hnsw' or 'flat'"),
        ({"metric": "hamming"}, "hamming"),
        ({"codec": "u8"}, "f16"),
        ({"m": 1}, "m must be between"),
        ({"ef_construction": 0}, "ef_construction must be between"),
    ],
)
def test_what_a_graph_cannot_be_is_refused(store, options, message):
    with pytest.raises(ValueError, match=message):
        store.create_collection("docs", D, **options)
    assert store.collections() == []


def test_a_search_takes_a_beam_or_a_recall(store):
    docs = store.create_collection("docs", D, "l2", codec="f16")
    fill(docs, rows_of(ROWS, 10), 1_000)
    store.flush(wait=True)
    queries = rows_of(200, 11)
    assert recall(docs, queries, ef=200) > recall(docs, queries, ef=10)
    assert recall(docs, queries, recall=0.9) > 0.88
    with pytest.raises(ValueError, match="not both"):
        docs.search(queries, ef=10, recall=0.9)
    assert store.search(queries, recall=0.9).keys == docs.search(queries, recall=0.9).keys
