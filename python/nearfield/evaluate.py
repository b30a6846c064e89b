"""How good, and how fast: recall against the exact answer, queries per second, latencies, and memory.

The idea: speed means nothing without recall, and recall nothing without the exact answer, so one call
measures them together on the caller's own queries and machine. `exact_neighbors` gives the ground truth;
`evaluate` measures any object with the interface of an index, once for each beam (`ef`) that is asked for.

What is measured:

- recall@k: of the true k nearest neighbours of all queries, the share that was found. Where fewer than k
  exist, as many as exist.
- queries per second of a batch (all queries in one call), the median of several calls, and of one query per
  call.
- p50 and p99: the latency of one call with one query, in microseconds, that half and 99 % of the calls do not
  pass.
- bytes per vector: all memory of the index over its rows, as `index.stats()` says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfield._core import FlatIndex, QuantizedIndex
from nearfield.arrays import as_array
from nearfield.display import table_html, table_text
from nearfield.errors import DimensionError, DTypeError
from nearfield.frames import Frames
from nearfield.progress import reporter
from nearfield.results import SearchResult

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

    from nearfield.typing import Metric, Progress, VectorLike

__all__ = ["Measurement", "Report", "evaluate", "exact_neighbors"]

_BATCH_SECONDS = 0.3  # a batch is repeated for this long, and three times unless that takes ten times longer
_SINGLE_SECONDS = 2.0  # one query per call: for this long at most, and at most _SINGLE_CALLS calls
_SINGLE_CALLS = 2000
_REPORTS = 50  # how often progress is told, at most


def exact_neighbors(
    base: VectorLike,
    queries: VectorLike,
    k: int = 10,
    metric: Metric = "cosine",
    *,
    threads: int | None = None,
    progress: Progress = False,
) -> SearchResult:
    """Find the true nearest neighbours: every query is compared with every row.

    Parameters
    ----------
    base : array-like, shape (n, d)
        The rows; the ids of the result are their positions.
    queries : array-like, shape (nq, d) or (d,)
        The queries.
    k : int, default 10
        How many neighbours for each query.
    metric : {"cosine", "dot", "l2", "l1", "hamming"}, default "cosine"
        How vectors are compared. Under "hamming" uint8 arrays hold packed bits, eight a byte, as
        numpy.packbits writes them.
    threads : int, optional
        How many threads to use; all cores if not given.
    progress : bool or callable, default False
        True shows a bar; a callable is called with (queries done, queries in all).

    Returns
    -------
    SearchResult
        ids and scores of shape (nq, k), or (m,) for a 1-D query; ties are ordered by position.

    Raises
    ------
    DimensionError
        If `base` is not 2-D (or 1-D: one row), or the queries have another dimension.
    NonFiniteError
        If there is NaN or infinity in `base` or `queries`.
    DTypeError
        If there are no numbers in `base` or `queries`.
    """
    rows = as_array(base)
    if rows.ndim not in (1, 2):
        raise DimensionError(f"expected base as an array of shape (n, d), not {rows.shape}")
    packed = metric == "hamming" and rows.dtype == np.uint8
    index = FlatIndex(rows.shape[-1] * (8 if packed else 1), metric, threads=threads)
    index.add(rows)
    report = reporter(progress, "Searching")
    batch = as_array(queries)
    if report is None or batch.ndim != 2:
        return index.search(batch, k, threads=threads)
    return _in_parts(lambda part: index.search(part, k, threads=threads), batch, report)


def _in_parts(
    search: Callable[[NDArray[Any]], SearchResult], queries: NDArray[Any], report: Callable[[int, int], None]
) -> SearchResult:
    """One search in parts, with reports between them; no answer depends on the other queries."""
    total = len(queries)
    step = max(total // _REPORTS, 1)
    parts = []
    report(0, total)
    for first in range(0, max(total, 1), step):
        parts.append(search(queries[first : first + step]))
        report(min(first + step, total), total)
    ids, scores = (np.concatenate([getattr(part, name) for part in parts]) for name in ("ids", "scores"))
    return SearchResult(ids, scores, parts[0].metric)


@dataclass(frozen=True)
class Measurement:
    """One row of a report: what an index does at one beam.

    Attributes
    ----------
    ef : int or None
        The beam; None for an index that has none.
    recall : float
        recall@k, from 0 to 1.
    qps : float
        Queries per second, all queries in one call.
    qps_single : float
        Queries per second, one query per call.
    p50, p99 : float
        Microseconds of one call with one query: the median, and what 99 % do not pass.
    bytes_per_vector : float
        Bytes of memory for each row of the index.
    latencies : ndarray of float64, shape (calls,), or None
        Microseconds of each call with one query, in the order in which they were made; not in tables.
    """

    ef: int | None
    recall: float
    qps: float
    qps_single: float
    p50: float
    p99: float
    bytes_per_vector: float
    latencies: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Report(Frames):
    """What `evaluate` measured; prints as a table, in a terminal and in a notebook.

    As a table of another library it has a row per beam, and the columns of `Measurement`.

    Attributes
    ----------
    rows : tuple of Measurement
        One for each beam, in the order in which they were asked for.
    k : int
        Neighbours per query.
    queries : int
        How many queries were asked.
    size : int
        How many rows the index holds.
    name : str
        The class of the index, its dimension and its metric.
    """

    rows: tuple[Measurement, ...]
    k: int
    queries: int
    size: int
    name: str

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def _columns(self) -> dict[str, list[Any]]:
        names = [f.name for f in fields(Measurement) if f.name != "latencies"]
        return {name: [getattr(row, name) for row in self.rows] for name in names}

    def plot(self, path: str | PathLike[str] | None = None) -> Any:
        """Draw queries per second over recall: see `nearfield.plot.recall_qps`.

        Parameters
        ----------
        path : path-like, optional
            Where to write the picture; it is shown by matplotlib otherwise.

        Returns
        -------
        matplotlib.axes.Axes
            The axes.
        """
        from nearfield.plot import recall_qps

        return recall_qps(self, path)

    def plot_latencies(self, path: str | PathLike[str] | None = None) -> Any:
        """Draw how long calls with one query take: see `nearfield.plot.latency_histogram`.

        Parameters
        ----------
        path : path-like, optional
            Where to write the picture; it is shown by matplotlib otherwise.

        Returns
        -------
        matplotlib.axes.Axes
            The axes.
        """
        from nearfield.plot import latency_histogram

        return latency_histogram(self, path)

    def _title(self) -> str:
        return f"{self.name}: {self.size:,} rows, {self.queries:,} queries, k = {self.k}"

    def _table(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        header = [
            f"recall@{self.k}",
            "QPS in a batch",
            "QPS one by one",
            "p50 (µs)",
            "p99 (µs)",
            "bytes per vector",
        ]
        rows = [
            (f"{r.recall:.4f}", r.qps, r.qps_single, f"{r.p50:,.1f}", f"{r.p99:,.1f}", r.bytes_per_vector)
            for r in self.rows
        ]
        if any(r.ef is not None for r in self.rows):
            return ["ef", *header], [(r.ef, *cells) for r, cells in zip(self.rows, rows, strict=True)]
        return header, rows

    def __repr__(self) -> str:
        return f"{self._title()}\n{table_text(*self._table())}"

    def _repr_html_(self) -> str:
        return table_html(*self._table(), caption=self._title())


def evaluate(
    index: Any,
    queries: VectorLike,
    truth: NDArray[Any] | SearchResult | None = None,
    k: int = 10,
    *,
    ef: Sequence[int] | None = None,
    progress: Progress = False,
) -> Report:
    """Measure recall, speed and memory of an index.

    Parameters
    ----------
    index : Index
        What to measure; it is searched, never changed. Any object with `search`, `stats` and `__len__`.
    queries : array-like, shape (nq, d) or (d,)
        The queries; a few hundred at least for a recall that can be trusted, and a thousand for a p99.
    truth : array of int, shape (nq, >= k), or SearchResult, optional
        The ids of the true neighbours, best first, padded with -1; columns beyond k are not used. If not
        given, the index is asked for the exact answer: `index.search(queries, k, exact=True)`. A
        `QuantizedIndex` that keeps no rows cannot give it.
    k : int, default 10
        Neighbours per query.
    ef : sequence of int, optional
        The beams to measure, one row of the report for each. If not given: the default of the index.
    progress : bool or callable, default False
        True shows a bar; a function is called with (steps done, steps in all).

    Returns
    -------
    Report
        One `Measurement` for each beam.

    Raises
    ------
    ValueError
        If k is less than 1, a beam is less than 1, there are no queries, or the index is empty; or if it
        keeps nothing but codes, and there is no `truth`.
    DimensionError
        If `truth` has not one row for each query, or fewer than k columns.
    DTypeError
        If `truth` does not hold integers.
    """
    if k < 1:
        raise ValueError(f"k must be 1 or more to measure recall@k, not {k}")
    if len(index) == 0:
        raise ValueError("cannot evaluate an empty index: add vectors first")
    batch = np.atleast_2d(as_array(queries))
    if len(batch) == 0:
        raise ValueError("cannot evaluate without queries: expected an array of shape (nq, d) with nq >= 1")
    beams = _beams(index, ef)
    if truth is None and isinstance(index, QuantizedIndex) and index.keep is None:
        raise ValueError(
            "recall needs the exact answer, and this QuantizedIndex keeps no rows to give it; "
            "pass truth=nf.exact_neighbors(vectors, queries, k, metric)"
        )
    # Truth that does not fit must be told before minutes of measuring, not after.
    known = None if truth is None else _check_truth(getattr(truth, "ids", truth), len(batch), k)
    report = reporter(progress, "Evaluating") or (lambda done, total: None)
    total = 1 + len(beams)
    report(0, total)
    nearest = index.search(batch, k, exact=True).ids if known is None else known
    report(1, total)
    size = len(index)
    rows = []
    for done, (beam, options) in enumerate(beams, start=2):
        rows.append(_measure(index, batch, nearest, k, beam, options))
        report(done, total)
    name = f"{type(index).__name__}(dim={batch.shape[1]}, metric={getattr(index, 'metric', 'unknown')!r})"
    return Report(tuple(rows), k, len(batch), size, name)


def _beams(index: Any, ef: Sequence[int] | None) -> list[tuple[int | None, dict[str, int]]]:
    """Each beam as it is reported, with the options that set it."""
    own: int | None = getattr(index, "ef_search", None)
    if ef is None:
        return [(own, {})]
    if own is None:
        raise ValueError(f"{type(index).__name__} has no beam: leave out ef=")
    beams = [int(beam) for beam in np.atleast_1d(np.asarray(ef))]
    if not beams or min(beams) < 1:
        raise ValueError(f"ef must be one or more beams of at least 1, not {ef!r}")
    return [(beam, {"ef": beam}) for beam in beams]


def _check_truth(truth: Any, queries: int, k: int) -> NDArray[np.int64]:
    """The first k columns of the ground truth, once it fits the queries."""
    ids = np.atleast_2d(as_array(truth))
    if ids.dtype.kind not in "iu":
        raise DTypeError(f"expected truth as integer ids, not {ids.dtype}; pass ids, not distances")
    if ids.ndim != 2 or len(ids) != queries:
        raise DimensionError(
            f"expected truth of shape ({queries}, {k}) or wider, one row per query, not {ids.shape}"
        )
    if ids.shape[1] < k:
        raise DimensionError(
            f"truth knows {ids.shape[1]} neighbours per query, but k = {k}; pass a smaller k"
        )
    return ids[:, :k].astype(np.int64)


def _measure(
    index: Any,
    queries: NDArray[Any],
    truth: NDArray[np.int64],
    k: int,
    beam: int | None,
    options: dict[str, int],
) -> Measurement:
    found = index.search(queries, k, **options).ids  # also warms the caches
    latencies = _single_latencies(index, queries, k, options)
    p50, p99 = (float(p) for p in np.percentile(latencies, (50, 99)))
    return Measurement(
        ef=beam,
        recall=recall_of(found, truth),
        qps=len(queries) / _batch_seconds(index, queries, k, options),
        qps_single=1e6 / float(latencies.mean()),
        p50=p50,
        p99=p99,
        bytes_per_vector=float(index.stats()["bytes"]) / len(index),
        latencies=latencies,
    )


def recall_of(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """Of all true neighbours, the share that was found; -1 is padding."""
    hits = wanted = 0
    for mine, true in zip(found.tolist(), truth.tolist(), strict=True):
        right = {row for row in true if row >= 0}
        hits += len(right.intersection(mine))
        wanted += len(right)
    return hits / wanted if wanted else 1.0


def _batch_seconds(index: Any, queries: NDArray[Any], k: int, options: dict[str, int]) -> float:
    """The median time of one call with all queries."""
    times: list[float] = []
    spent = 0.0
    while spent < _BATCH_SECONDS or (len(times) < 3 and spent < 10 * _BATCH_SECONDS):
        began = time.perf_counter()
        index.search(queries, k, **options)
        times.append(time.perf_counter() - began)
        spent += times[-1]
    return float(np.median(times))


def _single_latencies(
    index: Any, queries: NDArray[Any], k: int, options: dict[str, int]
) -> NDArray[np.float64]:
    """Microseconds of calls with one query each, in turn, until there are enough or the time is over."""
    times: list[int] = []
    deadline = time.perf_counter() + _SINGLE_SECONDS
    for number in range(_SINGLE_CALLS):
        query = queries[number % len(queries)]
        began = time.perf_counter_ns()
        index.search(query, k, **options)
        times.append(time.perf_counter_ns() - began)
        if time.perf_counter() > deadline:
            break
    return np.asarray(times, dtype=np.float64) / 1e3
