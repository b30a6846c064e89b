"""Data with known answers: folders of .npy files, and HDF5 files in the format of ann-benchmarks.

A folder holds base*.npy (rows), queries*.npy and gt*.npy (row numbers of each query's nearest rows, nearest
first). The folders are looked for under the environment variable NEARFIELD_DATA.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines import Mask, Metric, Vectors

FOLDER_FILES = {"base": "base*.npy", "queries": "queries*.npy", "truth": "gt*.npy"}
HDF5_NAMES = {"base": "train", "queries": "test", "truth": "neighbors"}
HDF5_METRICS: dict[str, Metric] = {"angular": "cosine", "euclidean": "l2"}

#: Queries whose scores against all rows are held at once, in float64.
CHUNK = 32
#: More than a matrix product in float64 rounds, relative to what it gives.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Dataset:
    """Where the vectors are, and how many of them to take. Cheap to make and to send to another process."""

    path: str
    max_rows: int | None = None
    max_queries: int | None = None
    called: str | None = None  # in reports, where the path does not say it

    @property
    def name(self) -> str:
        return self.called or Path(self.path).name.removesuffix(".hdf5").removesuffix(".h5")

    def metric(self) -> Metric:
        """HDF5 says it. In a folder the type tells: integers are descriptors, floats embeddings."""
        if not Path(self.path).is_dir():
            import h5py

            with h5py.File(self.path) as file:
                distance = str(file.attrs["distance"])
            if distance not in HDF5_METRICS:
                raise SystemExit(f"{self.path}: distance {distance!r}: expected {' or '.join(HDF5_METRICS)}")
            return HDF5_METRICS[distance]
        return "l2" if np.load(_only_file(self.path, "base"), mmap_mode="r").dtype.kind in "ui" else "cosine"

    def base(self, max_rows: int | None = None) -> Vectors:
        """Rows (n, d) as float32, in memory."""
        return _read(self.path, "base", max_rows or self.max_rows).astype(np.float32, order="C")

    def queries(self) -> Vectors:
        return _read(self.path, "queries", self.max_queries).astype(np.float32, order="C")

    def truth(self, k: int, share: float | None = None) -> NDArray[np.int64]:
        """Row numbers (nq, k) of the nearest rows: stored for the whole data, computed for a part.

        With a `share`, of the nearest among the rows that `random_mask` allows.
        """
        if self.max_rows is None and share is None:
            return _read(self.path, "truth", self.max_queries)[:, :k].astype(np.int64)
        base = self.base()
        if share is None:
            return exact_neighbors(base, self.queries(), k, self.metric())
        allowed = np.flatnonzero(random_mask(len(base), share))
        if len(allowed) < k:
            raise SystemExit(f"{self.name}: a share of {share} of {len(base)} rows allows fewer than k={k}")
        return allowed[exact_neighbors(base[allowed], self.queries(), k, self.metric())]


def find(names: list[str], max_rows: int | None, max_queries: int | None) -> list[Dataset]:
    """Data sets by path, by NAME=PATH or by name under NEARFIELD_DATA; with no names, every folder there."""
    root = os.environ.get("NEARFIELD_DATA")
    if names:
        found = [_named(name, root) for name in names]
    elif root:
        folders = sorted(folder for folder in Path(root).iterdir() if any(folder.glob(FOLDER_FILES["base"])))
        found = [(None, folder) for folder in folders]
    else:
        raise SystemExit("no data: set NEARFIELD_DATA to a folder of data sets, or give --data PATH")
    for _, path in found:
        if not path.exists():
            raise SystemExit(f"no data set at {path}: give a path, or a folder's name under NEARFIELD_DATA")
    return [Dataset(str(path.resolve()), max_rows, max_queries, called) for called, path in found]


def _named(name: str, root: str | None) -> tuple[str | None, Path]:
    """What to call a data set (None: as its folder is called), and where it is."""
    if Path(name).exists():
        return None, Path(name)
    called, equals, path = name.partition("=")
    return (called, Path(path)) if equals else (None, Path(root or ".") / name)


def random_mask(rows: int, share: float) -> Mask:
    """Which rows a filter allows: about this share of them, the same ones in every process."""
    return np.random.default_rng(0).random(rows) < share


def normalized(vectors: Vectors) -> Vectors:
    """Rows at length 1, so that the inner product is the cosine. Zero rows stay zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms == 0, 1, norms), dtype=np.float32)


def exact_neighbors(base: Vectors, queries: Vectors, k: int, metric: Metric) -> NDArray[np.int64]:
    """The true answers in float64, ties to the lower row number."""
    if metric == "cosine":
        base, queries = normalized(base), normalized(queries)
    rows, sought = base.astype(np.float64), queries.astype(np.float64)
    # |b - q|^2 = |b|^2 - 2 b.q + |q|^2, where |q|^2 changes no order.
    offset = np.einsum("nd,nd->n", rows, rows) / 2 if metric == "l2" else np.zeros(len(rows))
    answers = np.empty((len(sought), k), dtype=np.int64)
    for start in range(0, len(sought), CHUNK):
        rough = offset - sought[start : start + CHUNK] @ rows.T
        for i, distances in enumerate(rough, start):
            last = np.partition(distances, k - 1)[k - 1]
            # A matrix product may round equal rows differently, so ties are settled one row at a time.
            near = np.flatnonzero(distances <= last + ROUNDING * max(1.0, abs(last)))
            settled = offset[near] - (rows[near] * sought[i]).sum(axis=1)
            answers[i] = near[np.argsort(settled, kind="stable")][:k]
    return answers


def _read(path: str, part: str, limit: int | None) -> NDArray[Any]:
    if Path(path).is_dir():
        return np.array(np.load(_only_file(path, part), mmap_mode="r")[:limit])
    import h5py

    with h5py.File(path) as file:
        return np.asarray(file[HDF5_NAMES[part]][:limit])


def _only_file(folder: str, part: str) -> Path:
    found = sorted(Path(folder).glob(FOLDER_FILES[part]))
    if len(found) != 1:
        raise SystemExit(f"{folder}: expected one file {FOLDER_FILES[part]}, found {len(found)}")
    return found[0]
