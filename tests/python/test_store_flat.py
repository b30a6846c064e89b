"""Flat collections: rows are read where they lie in files, and answers are always those of a `FlatIndex`."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from kept import fit, keep

import nearfield as nf

D, ROWS = 24, 6_000

KINDS = [("cosine", "f32"), ("dot", "f16"), ("l2", "i8"), ("cosine", "i8"), ("l1", "bf16"), ("l2", "u8")]


def rows_of(count: int, seed: int, codec: str) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, D)).astype(np.float32)
    return fit(codec, rows)


def fill(path: Path, metric: str, codec: str) -> np.ndarray:
    """A store of two segments, some rows deleted and some replaced; the rows that are left, by key."""
    vectors = rows_of(ROWS, 1, codec)
    with nf.open(path) as store:
        docs = store.create_collection("docs", D, metric=metric, codec=codec, index="flat")
        docs.upsert(list(range(4_000)), vectors[:4_000])
        store.compact()
        docs.upsert(list(range(4_000, ROWS)), vectors[4_000:])
        vectors[:50] = rows_of(50, 2, codec)
        docs.upsert(list(range(50)), vectors[:50])
        docs.delete(list(range(50, 90)))
    return vectors


def check(docs: nf.Collection, index: nf.FlatIndex, queries: np.ndarray) -> None:
    """Keys, scores and vectors are those of the index, bit for bit."""
    few = [*range(30), *range(4_500, 4_530)]
    assert len(docs) == len(index)
    for asked in (queries, queries[:1]):
        found, expected = docs.search(asked, k=7), index.search(asked, k=7)
        assert found.keys == expected.ids.tolist()
        assert np.array_equal(found.scores, expected.scores)
    assert np.array_equal([row.vector for row in docs.get(few)], index.get(few))


@pytest.mark.parametrize(("metric", "codec"), KINDS)
def test_answers_are_those_of_an_index_before_and_after_there_are_codes(metric, codec, tmp_path: Path):
    vectors, queries = fill(tmp_path / "store", metric, codec), rows_of(40, 3, codec)
    index = nf.FlatIndex(D, metric, codec=codec)
    index.add(vectors)
    index.delete(list(range(50, 90)))
    with nf.open(tmp_path / "store", mode="r") as reader:
        docs = reader["docs"]
        check(docs, index, queries)
        for _ in range(1_000):
            if docs.stats()["unlinked_rows"] == 0:
                break
            time.sleep(0.01)
        assert docs.stats()["unlinked_rows"] == 0
        check(docs, index, queries)
        assert reader.verify()["ok"]
    with nf.open(tmp_path / "store") as store:
        docs = store["docs"]
        more = rows_of(500, 4, codec)
        docs.upsert(list(range(ROWS, ROWS + 500)), more)
        docs.delete([ROWS, 4_100])
        index.add(more)
        index.delete([ROWS, 4_100])
        store.flush(wait=True)
        assert docs.stats()["unlinked_rows"] == 0
        check(docs, index, queries)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2", "l1"])
def test_rows_of_bytes_stay_the_same_bits_wherever_they_go(metric, tmp_path: Path):
    vectors = fill(tmp_path / "store", metric, "i8")
    vectors = keep("i8", np.delete(vectors, range(50, 90), axis=0))
    queries = rows_of(20, 5, "i8")

    def look(store: nf.Store) -> list[np.ndarray]:
        docs = store["docs"]
        found = docs.search(queries, k=9)
        assert docs.codec == "i8"
        return [np.stack([row.vector for row in docs.scan()]), np.array(found.keys), found.scores]

    def same(found: list[np.ndarray]) -> bool:
        return all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))

    with nf.open(tmp_path / "store") as store:
        expected = look(store)
        assert np.array_equal(expected[0], vectors)
        for round_ in range(3):
            store.compact()
            assert same(look(store))
            store["docs"].set_metadata(list(range(100, 200)), {"round": round_})
            assert same(look(store))
        store.backup(tmp_path / "copy")
    for path in ("store", "copy"):
        with nf.open(tmp_path / path) as store:
            assert same(look(store))
            store["docs"].optimize()
            store.compact()
            assert same(look(store))
    size = sum(file.stat().st_size for file in (tmp_path / "copy").glob("seg-*"))
    assert size < ROWS * (2 * D + 100)


def test_a_damaged_row_is_an_error_and_no_answer(tmp_path: Path):
    fill(tmp_path / "store", "cosine", "f32")
    with nf.open(tmp_path / "store", mode="r") as reader:
        docs = reader["docs"]
        asked = docs.get(3_000).vector
        expected = docs.search(asked, k=5).keys
    largest = max((tmp_path / "store").glob("seg-*"), key=lambda file: file.stat().st_size)
    whole = largest.read_bytes()
    largest.write_bytes(whole.replace(asked.tobytes(), (-asked).tobytes()))
    assert largest.read_bytes() != whole
    with nf.open(tmp_path / "store", mode="r") as reader:
        docs = reader["docs"]
        for _ in range(2):
            with pytest.raises(nf.CorruptionError, match="rows"):
                docs.search(asked, k=5)
            with pytest.raises(nf.CorruptionError, match="rows"):
                docs.get(3_000)
        assert docs.get(10) is not None
        assert not reader.verify()["ok"]
    with pytest.raises(nf.CorruptionError):
        nf.open(tmp_path / "store", mode="r", verify=True)
    largest.write_bytes(whole)
    with nf.open(tmp_path / "store", mode="r") as reader:
        assert reader["docs"].search(asked, k=5).keys == expected


def test_a_store_may_be_closed_while_codes_are_made(tmp_path: Path):
    fill(tmp_path / "store", "cosine", "f32")
    for _ in range(20):
        with nf.open(tmp_path / "store") as store:
            assert store["docs"].search(rows_of(1, 6, "f32")[0], k=1).keys
