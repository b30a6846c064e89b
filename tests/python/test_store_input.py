"""Bad input to the store: a typed error that says what was expected, and nothing has changed."""

from __future__ import annotations

import pickle
from datetime import date

import numpy as np
import pandas as pd
import pytest
from store_fixtures import content, file_bytes, gaussian

import nearfield as nf

NAN = float("nan")


@pytest.fixture(params=["disk", "memory"])
def store(request, tmp_path):
    with nf.open(tmp_path / "store" if request.param == "disk" else ":memory:") as store:
        docs = store.create_collection("docs", dim=2, metric="cosine")
        docs.upsert([1, "a"], gaussian(2, 2), [{"n": 1}, {"n": 2}])
        yield store


def nested(depth):
    inside = {}
    for _ in range(depth - 1):
        inside = {"in": inside}
    return inside


def endless():
    loop: list = []
    loop.append(loop)
    return {"loop": loop}


BAD_KEYS = [
    ([""], ValueError, "position 0.*empty"),
    ([b""], ValueError, "position 0.*empty"),
    (["x" * 65_537], ValueError, "65537 bytes"),
    ([2**63], ValueError, "64 bits"),
    ([-(2**63) - 1], ValueError, "64 bits"),
    (["\ud800"], ValueError, "Unicode"),
    ([1.5], nf.DTypeError, "float at position 0"),
    ([None], nf.DTypeError, "NoneType"),
    ([True], nf.DTypeError, "bool"),
    ([("a",)], nf.DTypeError, "tuple"),
    (np.array([1.5]), nf.DTypeError, "float64"),
    (np.array([True]), nf.DTypeError, "bool"),
    (np.array([[1]]), ValueError, "1-D"),
    ({"a"}, nf.DTypeError, "set"),
    ({"a": 1}, nf.DTypeError, "dict"),
    (None, nf.DTypeError, "NoneType"),
    (1.5, nf.DTypeError, "float"),
    ([], ValueError, "keys per row.*1 rows, got 0"),
    (["a", "b"], ValueError, "keys per row.*got 2"),
]


@pytest.mark.parametrize(("keys", "error", "hint"), BAD_KEYS, ids=[str(case[2]) for case in BAD_KEYS])
def test_bad_keys_are_refused(store, keys, error, hint):
    before = content(store)
    docs = store["docs"]
    for call in (docs.upsert, docs.insert):
        with pytest.raises(error, match=hint):
            call(keys, gaussian(1, 2))
    if "per row" not in hint:
        for call in (docs.delete, docs.get, lambda keys: docs.set_metadata(keys, {"a": 1})):
            if keys is not None and not ((call == docs.get and "empty" in hint) or "65537" in hint):
                with pytest.raises((error, TypeError), match=hint):
                    call(keys)
    assert content(store) == before


BAD_METADATA = [
    ([{"x": NAN}], ValueError, "position 0.*at x: .*NaN.*None"),
    ([{"x": float("inf")}], ValueError, "inf"),
    ([{"x": [1, {"y": np.float32("nan")}]}], ValueError, "x > 1 > y"),
    ([{"x": 2**64}], ValueError, "64 bits"),
    ([{"x": -(2**63) - 1}], ValueError, "64 bits"),
    ([{"x": b"bytes"}], nf.DTypeError, "at x: expected .*bytes"),
    ([{"x": {1, 2}}], nf.DTypeError, "set"),
    ([{"x": object()}], nf.DTypeError, "object"),
    ([{"x": date(2020, 1, 1)}], nf.DTypeError, "isoformat"),
    ([{"x": np.datetime64("2020-01-01")}], nf.DTypeError, "date"),
    ([{"x": 1j}], nf.DTypeError, "complex"),
    ([{"x": np.complex64(1j)}], nf.DTypeError, "complex"),
    ([{5: 1}], nf.DTypeError, "names that are str, got int"),
    ([{"x": {None: 1}}], nf.DTypeError, "at x: .*NoneType"),
    ([{"x": "\ud800"}], ValueError, "Unicode"),
    ([nested(65)], ValueError, "64 deep"),
    ([endless()], ValueError, "64 deep"),
    ([{"x": "y" * (16 << 20)}], ValueError, "16777216"),
    ([5], nf.DTypeError, "dict.*int at position 0"),
    (["text"], nf.DTypeError, "str at position 0"),
    ([[("a", 1)]], nf.DTypeError, "list at position 0"),
    ("text", nf.DTypeError, "str"),
    (5, nf.DTypeError, "int"),
    ([], ValueError, "metadata per row.*got 0"),
    ([{}, {}], ValueError, "metadata per row.*got 2"),
    ({"x": [1, 2]}, ValueError, "column 'x' has 2"),
    ({"x": "ab"}, nf.DTypeError, "column.*'x'"),
    ({"x": [NAN]}, ValueError, "at x: .*NaN"),
    (pd.DataFrame({"x": [NAN]}), ValueError, "at x: .*NaN"),
    (pd.DataFrame({"x": pd.to_datetime(["2020-01-01"])}), nf.DTypeError, "isoformat"),
]


@pytest.mark.parametrize(("metadata", "error", "hint"), BAD_METADATA, ids=[case[2] for case in BAD_METADATA])
def test_bad_metadata_are_refused_and_the_place_is_named(store, metadata, error, hint):
    before = content(store)
    docs = store["docs"]
    for call in (docs.upsert, docs.insert):
        with pytest.raises(error, match=f"(?i){hint}"):
            call(["new"], gaussian(1, 2), metadata)
    if isinstance(metadata, list) and len(metadata) == 1 and isinstance(metadata[0], dict):
        with pytest.raises(error, match=f"(?i){hint.replace('position 0', '')}"):
            docs.set_metadata(["a"], metadata[0])
    assert content(store) == before


def test_what_is_just_small_enough_is_taken(store):
    docs = store["docs"]
    docs.upsert(["x" * 65_536], gaussian(1, 2), [nested(64)])
    assert docs.get("x" * 65_536).metadata == nested(64)


BAD_VECTORS = [
    (gaussian(1, 3), nf.DimensionError, "dimension 2, got 3"),
    (gaussian(2, 2), ValueError, "2 rows, got 1"),
    (gaussian(1, 2)[None], nf.DimensionError, "3 dimensions"),
    ([[NAN, 1]], nf.NonFiniteError, "row 0, column 0"),
    ([[1, np.inf]], nf.NonFiniteError, "row 0, column 1"),
    ([[1e20, 1e20]], nf.NonFiniteError, "too large"),
    ([["a", "b"]], nf.DTypeError, "strings"),
    (None, nf.DTypeError, "NoneType"),
]


@pytest.mark.parametrize(("vectors", "error", "hint"), BAD_VECTORS, ids=[case[2] for case in BAD_VECTORS])
def test_bad_vectors_are_refused(store, vectors, error, hint):
    before = content(store)
    with pytest.raises(error, match=hint):
        store["docs"].upsert(["new"], vectors)
    assert content(store) == before
    if "rows" not in hint:
        with pytest.raises(error, match=hint):
            store["docs"].search(vectors)


def test_one_bad_row_spoils_the_batch(store):
    before = content(store)
    vectors = gaussian(1000, 2)
    vectors[999, 1] = NAN
    with pytest.raises(nf.NonFiniteError, match="row 999"):
        store["docs"].upsert(range(1000), vectors)
    with pytest.raises(ValueError, match="position 999"):
        store["docs"].upsert(range(1000), gaussian(1000, 2), [{}] * 999 + [{"x": NAN}])
    with pytest.raises(ValueError, match="position 999"):
        store["docs"].upsert([*range(999), ""], gaussian(1000, 2))
    assert content(store) == before


HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "a\\b",
    "/etc/passwd",
    "a\0b",
    "line\nbreak",
    "\x7f",
    "n" * 256,
    "\ud800",
]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_hostile_names_are_refused(store, tmp_path, name):
    with pytest.raises((ValueError, UnicodeEncodeError)):
        store.create_collection(name, dim=2)
    assert store.collections() == ["docs"]
    assert [file.name for file in tmp_path.iterdir()] in ([], ["store"])


@pytest.mark.parametrize("name", ["MANIFEST", "LOCK", "seg-1.nf", "ä ö", "a.b", "con", "😀", "n" * 255])
def test_odd_names_are_names(store, name):
    store.create_collection(name, dim=2).upsert(["a"], gaussian(1, 2))
    assert name in store.collections()
    assert store.drop_collection(name)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"dim": 0}, "between 1 and 65535"), ({"dim": 65_536}, "65536"), ({"dim": -1}, "dim"),
        ({"dim": 10**30}, "dim"), ({"metric": "euclid"}, "'cosine'"), ({"codec": "i8"}, "'f16'"),
        ({"codec": "b1"}, "b1"), ({"codec": "zip"}, "'f32'"), ({"index": "tree"}, "'flat'"),
    ],
)  # fmt: skip
def test_bad_schemas_are_refused(store, arguments, hint):
    with pytest.raises(ValueError, match=hint):
        store.create_collection(**{"name": "new", "dim": 2} | arguments)
    assert store.collections() == ["docs"]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"k": -1}, "k must be"), ({"threads": 0}, "threads"), ({"include": ["text"]}, "'metadata'"),
        ({"include": "all"}, "'metadata'"),
    ],
)  # fmt: skip
def test_bad_searches_are_refused(store, arguments, hint):
    for searched in (store["docs"], store):
        with pytest.raises(ValueError, match=hint):
            searched.search([1, 1], **arguments)


def test_bad_ways_to_open_are_refused(tmp_path):
    path = tmp_path / "store"
    for arguments, hint in (
        ({"mode": "w"}, "'rw' or 'r'"), ({"sync": "never"}, "'batch' or 'flush'"),
        ({"auto_compact": 1.5}, "auto_compact"), ({"auto_compact": NAN}, "auto_compact"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=hint):
            nf.open(path, **arguments)
    with pytest.raises(OverflowError):
        nf.open(path, max_bytes=-1)
    with pytest.raises(ValueError, match="memory"):
        nf.open(":memory:", "r")
    with pytest.raises(FileNotFoundError):
        nf.open(path, create=False)
    with pytest.raises(FileNotFoundError):
        nf.open(path, "r")
    with pytest.raises(FileNotFoundError):
        nf.open(tmp_path / "no" / "such" / "folder")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_store_is_left_alone(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("words")
    (tmp_path / "file").write_text("words")
    (tmp_path / "empty").mkdir()
    for mode in ("rw", "r"):
        with pytest.raises(OSError, match=r"not a Nearfield store.*chapter\.txt"):
            nf.open(tmp_path / "thesis", mode)
        with pytest.raises(OSError, match=r"not a directory|File exists"):
            nf.open(tmp_path / "file", mode)
    with pytest.raises(OSError, match="empty"):
        nf.open(tmp_path / "empty", create=False)
    with pytest.raises(OSError, match="empty"):
        nf.open(tmp_path / "empty", "r")
    assert file_bytes(tmp_path / "thesis") == {"chapter.txt": b"words"}
    assert file_bytes(tmp_path / "empty") == {}


def test_damage_and_other_formats_are_told_apart_and_change_nothing(tmp_path):
    path = tmp_path / "store"
    with nf.open(path) as store:
        docs = store.create_collection("docs", dim=4)
        for _ in range(3):  # until the files before the first segment are gone
            docs.upsert(range(300), gaussian(300, 4), [{"n": i} for i in range(300)])
            store.compact()
    whole = file_bytes(path)
    for pattern, change, error in (
        ("seg-*", flipped, nf.CorruptionError),
        ("MANIFEST-*", flipped, nf.CorruptionError),
        ("FORMAT", newer, nf.FormatVersionError),
        ("FORMAT", lambda data: b"", nf.CorruptionError),
    ):
        for file in path.glob(pattern):
            file.write_bytes(change(whole[file.name]))
        before = file_bytes(path)
        for mode in ("r", "rw"):
            with pytest.raises(error, match=pattern.rstrip("*")) as caught:
                nf.open(path, mode, verify=True)
            assert isinstance(caught.value, OSError)
            again = pickle.loads(pickle.dumps(caught.value))
            assert (type(again), str(again), vars(again)) == (error, str(caught.value), vars(caught.value))
        assert file_bytes(path) == before
        for file in path.glob(pattern):
            file.write_bytes(whole[file.name])
    with nf.open(path) as store:
        assert len(store["docs"]) == 300


def test_damage_is_found_where_somebody_looks_or_before_anybody_does(tmp_path):
    path = tmp_path / "store"
    with nf.open(path) as store:
        docs = store.create_collection("docs", dim=4, index="flat")
        for _ in range(3):  # until the files before the first segment are gone
            docs.upsert(range(300), gaussian(300, 4), [{"n": i, "text": "x" * 100} for i in range(300)])
            store.compact()
    whole = {file: file.read_bytes() for file in path.glob("seg-*")}
    for file, data in whole.items():
        file.write_bytes(data.replace(b'"n":7,', b'"n":8,'))
    with nf.open(path, "r") as store:
        docs = store["docs"]
        assert docs.search(gaussian(1, 4)[0], 3).keys, "keys and vectors are as they were"
        with pytest.raises(nf.CorruptionError, match="metadata") as caught:
            docs.get(7)
        assert caught.value.path == str(max(whole))
        with pytest.raises(nf.CorruptionError):
            list(docs.scan())
        assert not store.verify()["ok"]
    for mode in ("r", "rw"):
        with pytest.raises(nf.CorruptionError):
            nf.open(path, mode, verify=True)
    for file, data in whole.items():
        file.write_bytes(data)
    with nf.open(path, verify=True) as store:
        assert store["docs"].get(7).metadata["n"] == 7


def flipped(data: bytes) -> bytes:
    """The same with one bit changed in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def newer(container: bytes) -> bytes:
    """The same file, said to be of a later format: FORMAT.md has it behind the eight bytes of magic."""
    found = int.from_bytes(container[8:12], "little")
    return container[:8] + (found + 1).to_bytes(4, "little") + container[12:]


def test_a_cap_on_memory_refuses_before_it_is_passed(tmp_path):
    for path in (tmp_path / "store", ":memory:"):
        with nf.open(path, max_bytes=1 << 20) as store:
            docs = store.create_collection("docs", dim=64)
            docs.upsert(range(1000), gaussian(1000, 64))
            before = content(store)
            with pytest.raises(nf.CapacityError, match="max_bytes"):
                docs.upsert(range(1000, 9000), gaussian(8000, 64))
            with pytest.raises(MemoryError):
                docs.upsert(["long"], gaussian(1, 64), [{"x": "y" * (2 << 20)}])
            assert content(store) == before
            assert docs.search(gaussian(1, 64)[0]).counts.tolist() == [10]
