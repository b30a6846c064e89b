"""What a search gives back.

The idea: plain NumPy arrays, in the order in which the hits rank, with a thin object around them that
unpacks as `ids, scores` and turns into a table on request. A search of a small index takes some twenty
microseconds, so making a result must cost nearly nothing: distances and counts are computed when somebody
asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nearfield.display import table_html, table_text
from nearfield.frames import Frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nearfield.typing import Metric

__all__ = ["RangeResult", "SearchResult"]

_SHOWN = 10


def distances_of(scores: NDArray[np.float32], metric: Metric) -> NDArray[np.float32]:
    """What scores mean in natural units, in the same shape: lower is better, inf where there is no hit."""
    from nearfield._core import distances  # not at the top: the core imports this module

    return distances(scores.ravel(), metric).reshape(scores.shape)


class SearchResult(Frames):
    """The best rows for one query, or for each of several.

    Unpacks as `ids, scores = result`. Hits stand best first: by score, and by id among equal scores. As a
    table it has one row per hit, without the padding: `query` (from 0), `rank` (from 1), `id`, `score`,
    `distance`.

    Attributes
    ----------
    ids : ndarray of int64, shape (m,) or (nq, k)
        For a 1-D query, m <= k ids. For a 2-D one, k ids a query; where fewer rows match, the rest is -1.
    scores : ndarray of float32, same shape
        Higher is better: the cosine, the dot product, or the negative distance. The rest is -inf.
    distances : ndarray of float32, same shape
        Lower is better, in natural units: 1 - cosine, -dot product, Euclidean or Manhattan
        distance, number of differing bits. The rest is inf.
    counts : ndarray of int64, shape (1,) or (nq,)
        How many hits each query has.
    metric : str
        The metric of the index.
    """

    __slots__ = ("_distances", "ids", "metric", "scores")

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    metric: Metric
    _distances: NDArray[np.float32] | None

    def __init__(self, ids: NDArray[np.int64], scores: NDArray[np.float32], metric: Metric) -> None:
        self.ids = ids
        self.scores = scores
        self.metric = metric
        self._distances = None

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many hits each query has."""
        return np.asarray(np.count_nonzero(np.atleast_2d(self.ids) >= 0, axis=1), np.int64)

    @property
    def distances(self) -> NDArray[np.float32]:
        """Lower is better: 1 - cosine, -dot product, or the distance; inf where there is no hit."""
        if self._distances is None:
            self._distances = distances_of(self.scores, self.metric)
        return self._distances

    def __iter__(self) -> Iterator[NDArray[Any]]:
        yield self.ids
        yield self.scores

    def _columns(self, queries: int | None = None) -> dict[str, NDArray[Any]]:
        """The hits of the first `queries` queries (None: all) as columns of equal length."""
        ids, scores, distances = (np.atleast_2d(a)[:queries] for a in (self.ids, self.scores, self.distances))
        query, place = np.nonzero(np.arange(ids.shape[1]) < self.counts[:queries, None])
        hits = query, place
        return {
            "query": query.astype(np.int64),
            "rank": place.astype(np.int64) + 1,
            "id": ids[hits],
            "score": scores[hits],
            "distance": distances[hits],
        }

    def _title(self) -> str:
        queries = 1 if self.ids.ndim == 1 else self.ids.shape[0]
        hits = int(self.counts.sum())
        found = "1 hit" if hits == 1 else f"{hits:,} hits"
        asked = "1 query" if queries == 1 else f"{queries:,} queries"
        return f"SearchResult: {found} for {asked}, metric {self.metric}"

    def _shown(self) -> tuple[list[str], list[tuple[Any, ...]], int]:
        """The names of the columns, the first hits, and how many more there are."""
        # No query has more hits than k: so the first queries are enough, however many there are.
        columns = self._columns(_SHOWN)
        if self.ids.ndim == 1:
            del columns["query"]
        rows = list(zip(*(column[:_SHOWN].tolist() for column in columns.values()), strict=True))
        return list(columns), rows, int(self.counts.sum()) - len(rows)

    def __repr__(self) -> str:
        header, rows, more = self._shown()
        lines = [self._title()]
        if rows:
            lines.append(table_text(header, map(_as_text, rows)))
        if more:
            lines.append(f"... and {more:,} more")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        header, rows, more = self._shown()
        table = table_html(header, map(_as_text, rows), caption=self._title())
        return table + (f"<p>... and {more:,} more</p>" if more else "")


class _Range(NamedTuple):
    lims: NDArray[np.int64]
    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    distances: NDArray[np.float32]


class RangeResult(Frames, _Range):
    """All rows within a radius, for each query: the hits of query i are `[lims[i]:lims[i + 1]]`, best first.

    As a table it has one row per hit: `query` (from 0), `rank` (from 1), `id`, `score`, `distance`.

    Attributes
    ----------
    lims : ndarray of int64, shape (nq + 1,)
        Where the hits of each query begin; the last one is the number of hits. A 1-D query is one query.
    ids : ndarray of int64, shape (hits,)
        The rows.
    scores : ndarray of float32, shape (hits,)
        Higher is better.
    distances : ndarray of float32, shape (hits,)
        Lower is better, in the units of the radius.
    """

    __slots__ = ()

    def _columns(self) -> dict[str, NDArray[Any]]:
        counts = np.diff(self.lims)
        query = np.repeat(np.arange(len(counts)), counts)
        rank = np.arange(len(self.ids)) - self.lims[query] + 1
        return {
            "query": query,
            "rank": rank,
            "id": self.ids,
            "score": self.scores,
            "distance": self.distances,
        }

    def _repr_html_(self) -> str:
        hits, queries = len(self.ids), len(self.lims) - 1
        columns = {name: column[:_SHOWN].tolist() for name, column in self._columns().items()}
        rows = map(_as_text, zip(*columns.values(), strict=True))
        table = table_html(list(columns), rows, caption=f"RangeResult: {hits:,} hits for {queries:,} queries")
        return table + (f"<p>... and {hits - _SHOWN:,} more</p>" if hits > _SHOWN else "")


def _as_text(row: tuple[Any, ...]) -> list[str]:
    # An id is a name, not an amount: no thousands separators.
    return [f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in row]
