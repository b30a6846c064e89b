"""What rows of the store can be called and can say: keys and metadata, from wherever they come."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from store_fixtures import gaussian

import nearfield as nf


@pytest.fixture(params=["disk", "memory"])
def path(request, tmp_path):
    return tmp_path / "library.nfdb" if request.param == "disk" else ":memory:"


@pytest.fixture
def store(path):
    with nf.open(path) as store:
        yield store


def test_keys_are_typed_and_ordered_int_bytes_str(store):
    docs = store.create_collection("docs", dim=2, metric="dot")
    keys = ["1", b"1", 1, -5, b"\xff\x00", "ä", 2**63 - 1, -(2**63), np.int32(7), np.str_("s")]
    docs.upsert(keys, np.ones((len(keys), 2)))
    found = [row.key for row in docs.scan()]
    assert found == [-(2**63), -5, 1, 7, 2**63 - 1, b"1", b"\xff\x00", "1", "s", "ä"]
    assert [type(key) for key in found] == [int] * 5 + [bytes] * 2 + [str] * 3
    assert docs.search([1, 0], k=3).keys == [-(2**63), -5, 1], "equal scores are ordered by key"
    assert docs.delete([1, b"1"]) == 2
    assert "1" in docs
    assert 1 not in docs


@pytest.mark.parametrize(
    "keys",
    [
        np.arange(4),
        np.arange(4, dtype=np.uint8),
        np.array(["a", "bb", "c", "d"]),
        np.array([b"a", b"bb", b"c", b"d"]),
        np.array(["a", 1, b"c", "d"], dtype=object),
        pd.Series(["a", "b", "c", "d"]),
        pd.Index([4, 5, 6, 7]),
        pl.Series(["a", "b", "c", "d"]),
        pa.array([1, 2, 3, 4]),
        pa.chunked_array([["a", "b"], ["c", "d"]]),
        ("a", "b", "c", "d"),
        {"a": 1, "b": 2, "c": 3, "d": 4}.keys(),
        range(4),
    ],
    ids=lambda keys: f"{type(keys).__module__}.{type(keys).__name__}",
)
def test_keys_come_from_lists_arrays_and_columns(store, keys):
    docs = store.create_collection("docs", dim=2)
    vectors = gaussian(4, 2)
    assert docs.upsert(keys, vectors) == 4
    for i, key in enumerate(list(keys)):
        plain = key.as_py() if hasattr(key, "as_py") else key
        assert docs.get(plain).vector.tobytes() == vectors[i].tobytes()
    assert [row.key for row in docs.get(keys)] == [row.key for row in docs.get(list(docs_keys(keys)))]


def docs_keys(keys):
    return [key.as_py() if hasattr(key, "as_py") else key for key in keys]


EVERYTHING = {
    "nothing": None, "yes": True, "no": False, "n": 3, "big": 2**64 - 1, "least": -(2**63), "x": 0.1,
    "whole": 2.0, "tiny": 5e-324, "text": "Größe \x00 \" \\ \U0001f600", "": "empty name",
    "list": [1, [2.5, None], {"a": []}], "deep": {"er": {"est": {}}}, "a.b": "a dot",
}  # fmt: skip


def test_metadata_come_back_with_their_types(path):
    with nf.open(path) as store:
        docs = store.create_collection("docs", dim=2)
        docs.upsert(["a"], gaussian(1, 2), [EVERYTHING])
        found = docs.get("a").metadata
        assert found == EVERYTHING
        assert {name: type(value) for name, value in found.items()} == {
            name: type(value) for name, value in EVERYTHING.items()
        }
        (hit,) = docs.search(gaussian(1, 2)[0], k=1, include=["metadata"])
        assert hit.metadata == EVERYTHING


def test_numpy_values_and_tuples_become_plain_ones(store):
    docs = store.create_collection("docs", dim=2)
    metadata = {
        "i": np.int16(5), "f": np.float32(0.5), "d": np.float64(0.1), "b": np.bool_(True), "s": np.str_("s"),
        "t": (1, 2), "a": np.arange(3), "m": np.ones((1, 2)),
    }  # fmt: skip
    docs.upsert(["a"], gaussian(1, 2), [metadata])
    plain = {"i": 5, "f": 0.5, "d": 0.1, "b": True, "s": "s", "t": [1, 2], "a": [0, 1, 2], "m": [[1.0, 1.0]]}
    assert docs.get("a").metadata == plain


COLUMNS = {
    "lang": ["en", None, "de"],
    "year": [2020, 2021, 2022],
    "score": [0.5, 1.5, 2.5],
    "ok": [True, False, True],
}


@pytest.mark.parametrize(
    "metadata",
    [
        COLUMNS,
        {
            name: np.array(column, dtype=None if name != "lang" else object)
            for name, column in COLUMNS.items()
        },
        pd.DataFrame(COLUMNS),
        pd.DataFrame(COLUMNS).convert_dtypes(),
        pl.DataFrame(COLUMNS),
        pa.table(COLUMNS),
        {name: pa.array(column) for name, column in COLUMNS.items()},
        (dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)),
    ],
    ids=["lists", "arrays", "pandas", "pandas with NA", "polars", "arrow", "arrow arrays", "generator"],
)
def test_metadata_come_from_columns(metadata):
    with nf.open(":memory:") as store:
        docs = store.create_collection("docs", dim=2)
        docs.upsert([0, 1, 2], gaussian(3, 2), metadata)
        found = [row.metadata for row in docs.get([0, 1, 2])]
        assert found == [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]
        assert type(found[0]["year"]) is int
        assert type(found[0]["ok"]) is bool
