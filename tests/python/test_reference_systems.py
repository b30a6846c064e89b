"""What other stores do, one test for each behaviour that people rely on.

Four systems stand behind these: a key-value store with vector tables (`tables`), a directory of collections
(`directory`), a thread-safe record store (`records`) and an engine behind string ids (`engine`).
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from store_fixtures import content, gaussian

import nearfield as nf


@pytest.fixture
def path(tmp_path):
    return tmp_path / "library.nfdb"


@pytest.fixture
def store(path):
    with nf.open(path) as store:
        yield store


# ---- tables


@pytest.mark.parametrize(
    ("index", "codec"),
    [*(("flat", codec) for codec in ("f32", "f16", "bf16", "u8")), ("hnsw", "f32"), ("hnsw", "f16")],
)
def test_tables_have_a_frozen_schema_that_every_codec_honours(path, index, codec):
    vectors = np.random.default_rng(0).integers(0, 9, (50, 12)).astype(np.float32)
    with nf.open(path) as store:
        table = store.create_collection("table", dim=12, metric="l2", index=index, codec=codec)
        table.upsert(range(50), vectors)
        found = table.search(vectors[:5], k=3)
    with nf.open(path) as store:
        table = store["table"]
        assert (table.dim, table.metric, table.index, table.codec) == (12, "l2", index, codec)
        again = table.search(vectors[:5], k=3)
        assert (again.keys, again.scores.tobytes()) == (found.keys, found.scores.tobytes())
        assert [keys[0] for keys in found.keys] == [0, 1, 2, 3, 4]
        for other in ({"dim": 13}, {"metric": "dot"}, {"codec": "f32" if codec != "f32" else "f16"}):
            schema = {"dim": 12, "metric": "l2", "index": index, "codec": codec} | other
            with pytest.raises(nf.CollectionExistsError, match="another schema"):
                store.create_collection("table", **schema, exist_ok=True)


def test_tables_take_opaque_bytes_as_keys(store):
    table = store.create_collection("table", dim=2)
    keys = [b"\x00", b"\x00\x00", b"\xff\xfe", b"\n"]
    table.upsert(keys, gaussian(4, 2))
    assert [row.key for row in table.scan()] == sorted(keys)
    assert table.get(b"\x00\x00").vector.tobytes() == gaussian(4, 2)[1].tobytes()


def test_tables_keep_json_metadata_and_stamps(store):
    table = store.create_collection("table", dim=2)
    table.upsert(["a"], gaussian(1, 2), [{"deep": {"er": [1, None]}}])
    first = table.get("a")
    assert first.metadata == {"deep": {"er": [1, None]}}
    assert first.created_at == first.updated_at
    table.upsert(["a"], gaussian(1, 2))
    second = table.get("a")
    assert second.created_at == first.created_at <= second.updated_at


def test_tables_have_the_same_interface_in_memory(path):
    kept = []
    for where in (path, ":memory:"):
        with nf.open(where) as store:
            table = store.create_collection("table", dim=4)
            table.upsert(["a", "b", "c"], gaussian(3, 4), [{"n": 1}, {"n": 2}, {"n": 3}])
            table.delete("b")
            result = table.search(gaussian(1, 4)[0], k=5, include=["metadata"])
            kept.append((result.keys, result.scores.tobytes(), result.metadata, table.count()))
    assert kept[0] == kept[1]


def test_tables_upsert_get_delete_and_search_by_score(store):
    table = store.create_collection("table", dim=4, metric="dot")
    assert table.upsert(["a", "b"], [[1, 0, 0, 0], [2, 0, 0, 0]]) == 2
    assert table.delete("a") == 1
    assert table.delete("a") == 0
    assert table.get("a") is None
    (hit,) = table.search([1, 0, 0, 0], k=5)
    assert (hit.key, hit.score, hit.distance) == ("b", 2.0, -2.0)


def test_tables_count_live_and_tracked_rows(store):
    table = store.create_collection("table", dim=4)
    table.upsert(range(100), gaussian(100, 4))
    store.compact()
    table.delete(range(30))
    stats = table.stats()
    assert (stats["rows"], stats["dead_rows"], stats["dim"]) == (70, 30, 4)


def test_tables_come_back_whole_after_reopening(path):
    with nf.open(path) as store:
        for name in ("a", "b"):
            store.create_collection(name, dim=4).upsert(
                range(200), gaussian(200, 4), [{"n": n} for n in range(200)]
            )
        store["a"].delete(range(50))
        before = content(store)
    with nf.open(path) as store:
        assert content(store) == before
        assert store["a"].search(gaussian(200, 4)[60], k=1).keys == [60]


def test_tables_with_a_graph_come_back_without_building_it_again(path):
    vectors = gaussian(2_500, 8)
    with nf.open(path) as store:
        store.create_collection("table", dim=8).upsert(range(2_500), vectors)
        store.flush(wait=True)
    with nf.open(path, "r") as store:
        stats = store["table"].stats()
        assert (stats["saved_rows"], stats["unlinked_rows"]) == (2_500, 0)
        assert store["table"].search(vectors[3], k=1).keys == [3]


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_tables_of_rotated_codes_are_searched_and_saved(tmp_path, bits):
    vectors = gaussian(2_000, 16)
    table = nf.QuantizedIndex(16, bits=bits, keep="f32")
    table.add(vectors)
    found = table.search(vectors[:20], k=3)
    assert (found.ids[:, 0] == np.arange(20)).all()
    table.save(tmp_path / "table.nf")
    assert (nf.load(tmp_path / "table.nf").search(vectors[:20], k=3).ids == found.ids).all()


@pytest.mark.parametrize("codec", ["i8", "f16"])
def test_tables_of_small_rows_are_searched_and_saved(tmp_path, codec):
    vectors = gaussian(500, 16)
    table = nf.FlatIndex(16, codec=codec)
    table.add(vectors)
    found = table.search(vectors[:20], k=3)
    assert (found.ids[:, 0] == np.arange(20)).all()
    table.save(tmp_path / "table.nf")
    assert (nf.load(tmp_path / "table.nf").search(vectors[:20], k=3).ids == found.ids).all()


# ---- directory


def test_directory_collections_say_something_about_themselves(path):
    with nf.open(path) as store:
        for name in ("b", "a"):
            store.create_collection(name, dim=2).meta.update(model="e5", name=name)
    with nf.open(path) as store:
        assert {name: dict(store[name].meta) for name in store.collections()} == {
            "a": {"model": "e5", "name": "a"}, "b": {"model": "e5", "name": "b"},
        }  # fmt: skip


def test_directory_creating_and_dropping_is_idempotent_and_the_list_is_sorted(store):
    for name in ("zebra", "apple", "Ärger", "apple"):
        store.create_collection(name, dim=2, exist_ok=True)
    assert store.collections() == ["apple", "zebra", "Ärger"]
    assert [store.drop_collection("apple"), store.drop_collection("apple")] == [True, False]
    assert store.collections() == ["zebra", "Ärger"]


def test_directory_a_collection_is_created_where_it_is_first_written(store):
    for batch in range(3):
        store.create_collection("docs", dim=2, exist_ok=True).upsert([batch], gaussian(1, 2))
    assert len(store["docs"]) == 3


def test_directory_a_batch_is_all_or_nothing_in_memory_and_in_files(path):
    with nf.open(path) as store:
        docs = store.create_collection("docs", dim=2)
        docs.upsert(["a"], gaussian(1, 2))
        before, files = content(store), {file.name: file.stat().st_size for file in path.iterdir()}
        bad = gaussian(1000, 2)
        bad[-1] = np.inf
        with pytest.raises(nf.NonFiniteError):
            docs.upsert(range(1000), bad)
        assert content(store) == before
        assert {file.name: file.stat().st_size for file in path.iterdir()} == files
    with nf.open(path) as store:
        assert content(store) == before


@pytest.mark.parametrize("sync", ["batch", "flush"])
def test_directory_syncs_each_batch_or_on_flush(path, sync):
    with nf.open(path, sync=sync) as store:
        docs = store.create_collection("docs", dim=2)
        for batch in range(20):
            docs.upsert([batch], gaussian(1, 2))
        store.flush()
        with nf.open(path, "r") as reader:
            assert len(reader["docs"]) == 20


def test_directory_one_writes_many_read_and_readers_change_nothing(store, path):
    store.create_collection("docs", dim=2).upsert(["a"], gaussian(1, 2))
    with pytest.raises(nf.LockedError):
        nf.open(path)
    with nf.open(path, "r") as one, nf.open(path, "r") as two:
        assert content(one) == content(two) == content(store)
        with pytest.raises(nf.ReadOnlyError):
            one["docs"].delete("a")


def test_directory_rows_are_deleted_by_key_and_by_filter_and_listed(store):
    docs = store.create_collection("docs", dim=2)
    docs.upsert(range(10), gaussian(10, 2), {"path": [f"src/{i % 3}.py" for i in range(10)]})
    assert docs.delete([1, 2, 77]) == 2
    assert docs.delete(where={"path": "src/0.py"}) == 4
    assert [row.key for row in docs.scan()] == [4, 5, 7, 8]


def test_directory_filters_by_equality_glob_and_list(store):
    docs = store.create_collection("docs", dim=2)
    docs.upsert(range(4), gaussian(4, 2), {"path": ["src/a.py", "src/b.rs", "docs/a.md", "a.py"]})
    assert [row.key for row in docs.scan({"path": "a.py"})] == [3]
    assert [row.key for row in docs.scan({"path": {"$glob": "src/*"}})] == [0, 1]
    assert [row.key for row in docs.scan({"path": {"$in": ["a.py", "docs/a.md"]}})] == [2, 3]


def test_directory_searches_have_a_least_score(store):
    docs = store.create_collection("docs", dim=2)
    docs.upsert(["same", "other", "opposite"], [[1, 0], [0, 1], [-1, 0]])
    assert docs.search([1, 0], min_score=0.5).keys == ["same"]
    assert docs.search([1, 0], min_score=0.0).keys == ["same", "other"]


def test_directory_one_ranking_over_several_collections_passes_over_unknown_ones(store):
    for name, angle in (("a", 0.1), ("b", 0.0), ("c", 0.2)):
        store.create_collection(name, dim=2).upsert([name], [[np.cos(angle), np.sin(angle)]])
    hits = store.search([1, 0], collections=["c", "a", "missing"])
    assert [(hit.collection, hit.key) for hit in hits] == [("a", "a"), ("c", "c")]
    assert store.search([1, 0]).keys == ["b", "a", "c"]


def test_directory_the_footprint_counts_rows_dead_rows_and_bytes(store, path):
    docs = store.create_collection("docs", dim=16)
    docs.upsert(range(1000), gaussian(1000, 16), [{"text": "x" * 100}] * 1000)
    store.compact()
    full = store.stats()
    docs.delete(range(900))
    dead = store.stats()
    store.compact()
    small = store.stats()
    assert (dead["rows"], dead["dead_rows"]) == (100, 900)
    assert (small["rows"], small["dead_rows"]) == (100, 0)
    assert small["disk_bytes"] < full["disk_bytes"] / 3  # pages are filled up
    assert small["memory_bytes"] < full["memory_bytes"] / 4
    on_disk = sum(file.stat().st_size for file in path.iterdir())
    assert abs(on_disk - small["disk_bytes"]) < 16_384


def test_directory_what_is_mostly_deleted_is_compacted_at_open(path):
    with nf.open(path, auto_compact=None) as store:
        docs = store.create_collection("docs", dim=2)
        docs.upsert(range(1000), gaussian(1000, 2))
        store.compact()
        docs.delete(range(600))
    for ratio, dead in ((None, 600), (0.7, 600), (0.5, 0)):
        with nf.open(path, auto_compact=ratio) as store:
            assert store.stats()["dead_rows"] == dead
            assert len(store["docs"]) == 400


def test_directory_a_cap_on_bytes_refuses_before_anything_is_allocated(path):
    with nf.open(path, max_bytes=1 << 20) as store:
        docs = store.create_collection("docs", dim=100)
        with pytest.raises(nf.CapacityError, match="max_bytes"):
            docs.upsert(range(100_000), np.broadcast_to(np.float32(1), (100_000, 100)))
        assert len(docs) == 0


def test_directory_memory_that_cannot_be_had_is_an_error_not_the_end(store):
    docs = store.create_collection("docs", dim=2)
    docs.upsert(range(10), gaussian(10, 2))
    with pytest.raises(MemoryError):
        docs.search(gaussian(3, 2), k=2**58)
    assert docs.search(gaussian(1, 2)[0], k=2**58).counts.tolist() == [10]


# ---- records


def test_records_are_safe_to_share_between_threads(store):
    docs = store.create_collection("docs", dim=2)

    def work(number: int) -> int:
        for i in range(10):
            docs.upsert([f"{number}-{i}"], gaussian(1, 2))
            docs.search([1, 1], k=3)
        return docs.delete([f"{number}-{i}" for i in range(5)])

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(work, range(6))) == 30
    assert len(docs) == 30


def test_records_go_on_after_a_writer_that_failed(store):
    docs = store.create_collection("docs", dim=2)

    def fail(done: int, total: int) -> None:
        time.sleep(0.05)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        docs.upsert(range(1000), gaussian(1000, 2), progress=fail)
    assert len(docs) == 0
    assert docs.upsert(["a"], gaussian(1, 2)) == 1


def test_records_have_validated_vectors(store):
    docs = store.create_collection("docs", dim=2)
    for bad, error in (
        ([[1, 2, 3]], nf.DimensionError),
        ([[np.nan, 1]], nf.NonFiniteError),
        ([["a", "b"]], nf.DTypeError),
    ):
        with pytest.raises(error):
            docs.upsert(["a"], bad)
    assert len(docs) == 0
    assert not docs.count()


def test_records_are_searched_exactly_or_by_graph_behind_one_interface(store):
    vectors, found = gaussian(1_500, 8), {}
    for index in ("flat", "hnsw"):
        records = store.create_collection(index, dim=8, index=index)
        records.upsert(range(1_500), vectors)
        store.flush(wait=True)
        found[index] = records.search(vectors[:10], k=5, exact=True)
        assert records.search(vectors[0], k=5, ef=400).keys == found[index].keys[0]
    assert found["flat"].keys == found["hnsw"].keys
    assert found["flat"].scores.tobytes() == found["hnsw"].scores.tobytes()
    # That a warm search allocates nothing for its walk is shown in tests/allocations.rs.


# ---- engine


def test_engine_parameters_grow_with_the_expected_size():
    # Among rows alone, as under l1: codes beside the links make up for fewer of them.
    assert [nf.HnswIndex(8, "l1", expected_size=size).m for size in (1_000, 60_000)] == [16, 32]
    assert nf.HnswIndex(8, expected_size=60_000).m == 16


def test_engine_a_batch_is_seen_as_a_whole(store):
    docs, sizes, batches = store.create_collection("docs", dim=4), set(), 20

    def look():
        while len(docs) < 50 * batches:
            sizes.add(len(docs))

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        for batch in range(batches):
            docs.upsert([f"{batch}-{i}" for i in range(50)], gaussian(50, 4))
        looking.result(60)
    assert all(size % 50 == 0 for size in sizes)


def test_engine_a_reload_keeps_ids_and_their_counter(tmp_path):
    index = nf.HnswIndex(4)
    assert index.add(gaussian(5, 4)).tolist() == [0, 1, 2, 3, 4]
    index.delete([3, 4])
    index.save(tmp_path / "index.nf")
    again = nf.load(tmp_path / "index.nf")
    assert again.ids.tolist() == [0, 1, 2]
    assert again.add(gaussian(1, 4)).tolist() == [5]


def test_engine_string_ids_keep_their_rows_through_deletes_and_compaction(path):
    vectors = gaussian(300, 8)
    with nf.open(path) as store:
        docs = store.create_collection("docs", dim=8)
        docs.upsert([f"doc-{i}" for i in range(300)], vectors)
        docs.delete([f"doc-{i}" for i in range(0, 300, 2)])
        store.compact()
        docs.upsert(["late"], vectors[:1])
        for i in range(1, 300, 2):
            assert docs.get(f"doc-{i}").vector.tobytes() == vectors[i].tobytes()
    with nf.open(path) as store:
        assert store["docs"].search(vectors[7], k=1).keys == ["doc-7"]
        assert store["docs"].search(vectors[0], k=1).keys == ["late"]


def test_engine_a_copy_is_written_whole_with_keys_and_vectors(store, tmp_path):
    docs = store.create_collection("docs", dim=4)
    docs.upsert(["a", "b"], gaussian(2, 4), [{"n": 1}, {"n": 2}])
    store.backup(tmp_path / "copy")
    with nf.open(tmp_path / "copy") as copy:
        assert content(copy) == content(store)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2", "l1"])
def test_engine_a_higher_score_is_better_whatever_the_metric(store, metric):
    docs = store.create_collection("docs", dim=4, metric=metric)
    docs.upsert(range(50), gaussian(50, 4))
    result = docs.search(gaussian(1, 4)[0], k=50)
    assert (np.diff(result.scores) <= 0).all()
    assert (np.diff(result.distances) >= 0).all()
