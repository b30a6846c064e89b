"""The collection against the naive model: NumPy, a dict, and random sequences of whatever one can do."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from kept import fit, keep
from model import METRICS, canonical_scores, natural_distances

import nearfield as nf

DIM = 6


@dataclass
class Row:
    vector: np.ndarray
    metadata: dict[str, Any]


@dataclass
class Model:
    """A collection that is obviously right."""

    metric: str
    codec: str
    rows: dict[Any, Row] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    def put(self, keys: list[Any], vectors: np.ndarray, metadata: list[dict[str, Any]]) -> None:
        for key, vector, one in zip(keys, keep(self.codec, vectors), metadata, strict=True):
            self.rows[key] = Row(vector, one)

    def ordered(self) -> list[Any]:
        kinds = (int, bytes, str)
        return sorted(self.rows, key=lambda key: (kinds.index(type(key)), key))

    def matching(self, holds: Callable[[dict[str, Any]], bool]) -> list[Any]:
        return [key for key in self.ordered() if holds(self.rows[key].metadata)]

    def search(self, query: np.ndarray, k: int, keys: list[Any]) -> tuple[list[Any], np.ndarray]:
        if not keys:
            return [], np.empty(0, np.float32)
        scores = canonical_scores(query, np.stack([self.rows[key].vector for key in keys]), self.metric)
        order = np.argsort(-scores, kind="stable")[:k]
        return [keys[i] for i in order], scores[order]


def bits(values: np.ndarray) -> bytes:
    """The bits of the values; there is but one zero."""
    return (values + np.float32(0)).tobytes()


FILTERS: list[tuple[Any, Callable[[dict[str, Any]], bool]]] = [
    ({}, lambda row: True),
    ({"n": {"$lt": 3}}, lambda row: row.get("n", 9) < 3),
    (nf.field("lang") == "en", lambda row: row.get("lang") == "en"),
    ({"$not": {"lang": "en"}}, lambda row: row.get("lang") != "en"),
    (
        nf.field("n").isin([1, 4]) | nf.field("tags").contains("x"),
        lambda row: row.get("n") in (1, 4) or "x" in row.get("tags", []),
    ),
    (nf.field("deep.er").exists(), lambda row: "er" in row.get("deep", {})),
]  # fmt: skip


class Machine:
    """Does the same random things to a collection and to a model, and compares."""

    def __init__(self, seed: int, path: Any, metric: str, codec: str) -> None:
        self.dice = random.Random(seed)
        self.rng = np.random.default_rng(seed)
        self.path = path
        self.store = nf.open(path, sync="flush")
        index = "hnsw" if codec in ("f32", "f16") else "flat"
        self.docs = self.store.create_collection("docs", DIM, metric, index=index, codec=codec)
        self.model = Model(metric, codec)
        self.compiled = [(self.docs.filter(where), holds) for where, holds in FILTERS]

    def keys(self, most: int) -> list[Any]:
        kinds: list[Callable[[int], Any]] = [int, lambda i: f"k{i}", lambda i: bytes([i, 255])]
        return [self.dice.choice(kinds)(self.dice.randrange(15)) for _ in range(self.dice.randrange(1, most))]

    def vectors(self, count: int) -> np.ndarray:
        return fit(self.model.codec, self.rng.integers(-3, 4, (count, DIM)).astype(np.float32))

    def metadata(self) -> dict[str, Any]:
        every = {
            "n": self.dice.randrange(6),
            "lang": self.dice.choice(["en", "de"]),
            "tags": ["x"],
            "deep": {"er": 1},
        }
        return {name: value for name, value in every.items() if self.dice.random() < 0.6}

    def upsert(self) -> None:
        keys = self.keys(12)
        vectors, metadata = self.vectors(len(keys)), [self.metadata() for _ in keys]
        assert self.docs.upsert(keys, vectors, metadata) == len(set(map(repr, keys)))
        self.model.put(keys, vectors, metadata)

    def insert(self) -> None:
        keys, new = self.keys(5), []
        vectors, metadata = self.vectors(len(keys)), [self.metadata() for _ in keys]
        taken = {repr(key) for key in self.model.rows}
        for i, key in enumerate(keys):
            if repr(key) not in taken:
                new.append(i)
                taken.add(repr(key))
        if len(new) < len(keys):
            with pytest.raises(nf.DuplicateKeyError):
                self.docs.insert(keys, vectors, metadata)
        assert self.docs.insert(keys, vectors, metadata, on_conflict="skip") == len(new)
        self.model.put([keys[i] for i in new], vectors[new], [metadata[i] for i in new])

    def delete(self) -> None:
        keys = self.keys(6)
        there = {repr(key): key for key in keys if key in self.model.rows}
        assert self.docs.delete(keys) == len(there)
        for key in there.values():
            del self.model.rows[key]

    def delete_where(self) -> None:
        where, holds = self.dice.choice(FILTERS[1:])
        keys = self.model.matching(holds)
        if len(keys) < len(self.model.rows) // 2:
            assert self.docs.delete(where=where) == len(keys)
            for key in keys:
                del self.model.rows[key]

    def patch(self) -> None:
        keys, patch, replace = self.keys(4), self.metadata(), self.dice.random() < 0.3
        there = {repr(key): key for key in keys if key in self.model.rows}
        assert self.docs.set_metadata(keys, patch, replace=replace) == len(there)
        for key in there.values():
            row = self.model.rows[key]
            row.metadata = patch if replace else row.metadata | patch

    def change_meta(self) -> None:
        name, value = self.dice.choice("abc"), self.dice.randrange(9)
        self.docs.meta[name] = value
        self.model.meta[name] = value

    def compact(self) -> None:
        self.dice.choice([self.store.compact, self.docs.optimize, self.store.flush])()

    def reopen(self) -> None:
        if self.path != ":memory:":
            self.store.close()
            self.store = nf.open(self.path, sync="flush")
            self.docs = self.store["docs"]
            self.compiled = [(self.docs.filter(where), holds) for where, holds in FILTERS]

    def bad(self) -> None:
        keys = self.keys(4)
        with pytest.raises((ValueError, TypeError)):
            self.docs.upsert([*keys, ""], self.vectors(len(keys) + 1))
        with pytest.raises(nf.NonFiniteError):
            self.docs.upsert(keys, np.full((len(keys), DIM), np.nan))

    def compare(self) -> None:
        keys = self.model.ordered()
        rows = list(self.docs.scan(batch_size=7))
        assert [(type(row.key), row.key) for row in rows] == [(type(key), key) for key in keys]
        for row in rows:
            expected = self.model.rows[row.key]
            assert row.vector.tobytes() == expected.vector.tobytes()
            assert row.metadata == expected.metadata
        assert dict(self.docs.meta) == self.model.meta
        assert len(self.docs) == len(keys)
        number = self.dice.randrange(len(FILTERS))
        where, holds = self.dice.choice([FILTERS[number], self.compiled[number]])
        matching = self.model.matching(holds)
        assert self.docs.count(where) == len(matching)
        k = self.dice.choice([1, 5, 100])
        query = self.vectors(1)[0]
        found, scores = self.model.search(query, k, matching)
        result = self.docs.search(query, k, where=where, include=["metadata"])
        assert result.keys == found
        assert bits(result.scores) == bits(scores)
        assert bits(result.distances) == bits(natural_distances(scores, self.model.metric))
        assert result.metadata == [self.model.rows[key].metadata for key in found]


STEPS = [
    *["upsert"] * 5, "insert", "delete", "delete", "delete_where", "patch", "patch", "change_meta", "compact",
    "reopen", "bad",
]  # fmt: skip


@pytest.mark.parametrize("where", ["disk", "memory"])
@pytest.mark.parametrize(
    ("metric", "codec"),
    [*((metric, "f32") for metric in METRICS), ("l2", "f16"), ("dot", "bf16"), ("l2", "u8")],
)
def test_random_sequences_do_what_the_model_does(tmp_path, where, metric, codec):
    for seed in range(4):
        path = ":memory:" if where == "memory" else tmp_path / f"store{seed}"
        machine = Machine(seed, path, metric, codec)
        for _ in range(60):
            getattr(machine, machine.dice.choice(STEPS))()
            machine.compare()
        machine.store.close()
