"""Nearfield: the graph index, the exact index, and the quantized index with and without its full rows.

The file is not called nearfield.py because engines are looked up by file, and a reader should never wonder
which `nearfield` an import means.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from engines import Engine, Ids, Mask, Metric, Params, Vectors


class Nearfield(Engine):
    """What all its indexes share; each says how it is made and what its knob is."""

    metrics = frozenset({"cosine", "dot", "l2"})
    distribution = "nearfield"
    ours = True
    filters = True
    index: Any
    allowed: Any = None

    def filter(self, mask: Mask) -> None:
        self.allowed = self.index.filter(mask)

    def search_one(self, query: Vectors, k: int) -> Ids:
        ids: Ids = self.index.search(query, k, filter=self.allowed, threads=self.threads).ids
        return ids

    def search_batch(self, queries: Vectors, k: int) -> Ids:
        return self.search_one(queries, k)  # one method takes both shapes

    def bytes_per_vector(self) -> float | None:
        told: float = self.index.stats()["bytes_per_vector"]
        return told


class NearfieldHnsw(Nearfield):
    kind = "graph"
    #: What is not as the index has it by itself.
    options: ClassVar[dict[str, Any]] = {}

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        # By name, because a version without these options should be skipped here, and type-checked as well.
        nf: Any = importlib.import_module("nearfield")
        built = {name: self.params[name] for name in ("m", "ef_construction")}
        self.index = nf.HnswIndex(base.shape[1], metric, **built, **self.options, threads=threads)
        self.add(base)
        self.ef = 64

    def add(self, base: Vectors) -> None:
        self.index.add(base)

    def set(self, value: float) -> None:
        self.ef = int(value)

    def search_one(self, query: Vectors, k: int) -> Ids:
        found = self.index.search(query, k, ef=self.ef, filter=self.allowed, threads=self.threads)
        ids: Ids = found.ids
        return ids


class NearfieldHalf(NearfieldHnsw):
    """The graph beside rows of sixteen bits a value."""

    options: ClassVar[dict[str, Any]] = {"keep": "f16"}


class NearfieldLean(NearfieldHnsw):
    """The graph without rows: codes of eight bits a value, and links."""

    options: ClassVar[dict[str, Any]] = {"keep": None}

    def add(self, base: Vectors) -> None:
        # What the call that brings the codes holds as rows is little then.
        self.index.add(base[:2048])
        self.index.add(base[2048:])


class NearfieldMapped(NearfieldHnsw):
    """The graph in a file that is mapped: what searches look at is read, and can be taken back."""

    def add(self, base: Vectors) -> None:
        self.index.add(base)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "graph.nf"
            self.index.save(path)
            # What is mapped stays when the name is gone.
            self.index = type(self.index).load(path, mmap=True)


class NearfieldFlat(Nearfield):
    kind = "flat"

    @classmethod
    def variants(cls, m: Sequence[int], ef_construction: int) -> list[Params]:
        return [{"accelerate": True}, {"accelerate": False}]

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        import nearfield as nf

        # Said only where it is not the default: so a version that has no such choice races as it is.
        options: dict[str, Any] = {} if self.params["accelerate"] else {"accelerate": False}
        self.index = nf.FlatIndex(base.shape[1], metric, threads=threads, **options)
        self.index.add(base)


class NearfieldQuantized(Nearfield):
    """What the codes alone and the codes with full rows share: `params` are arguments of the index."""

    @classmethod
    def bits(cls, params: Params) -> float:
        return float(params["bits"])

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        # By name, because a version without this index should be skipped here, and type-checked as well.
        nf: Any = importlib.import_module("nearfield")
        self.index = nf.QuantizedIndex(base.shape[1], metric, **self.params, threads=threads)
        self.index.add(base)


class NearfieldCodes(NearfieldQuantized):
    kind = "codes"

    @classmethod
    def variants(cls, m: Sequence[int], ef_construction: int) -> list[Params]:
        return [{"bits": bits} for bits in (8, 4, 2)]  # keep=None is the default


class NearfieldRerank(NearfieldQuantized):
    kind = "rerank"

    @classmethod
    def variants(cls, m: Sequence[int], ef_construction: int) -> list[Params]:
        return [{"bits": bits, "keep": "f32"} for bits in (4, 2, 1)]

    def set(self, value: float) -> None:
        self.index.rerank = value
