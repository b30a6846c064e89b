"""What a collection gives back: rows, and what a search found.

The idea: keys and scores are there at once, metadata stay the text that they are kept as until somebody asks
for them. So a search that includes them costs little more than one that does not, and who looks at three
hits of a thousand pays for three.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nearfield.display import metadata_cells, table_html, table_text
from nearfield.frames import Frames
from nearfield.results import distances_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nearfield.typing import Key, Metric

__all__ = ["CollectionResult", "Hit", "Row"]

_SHOWN = 10


class Row(NamedTuple):
    """A row of a collection.

    Attributes
    ----------
    key : str, bytes or int
        What it is called.
    vector : ndarray of float32, shape (d,)
        Its values, at the precision that is kept.
    metadata : dict
        What it says.
    created_at : int
        When it was first put there, in milliseconds since 1970.
    updated_at : int
        When it was last put there or changed.
    """

    key: Key
    vector: NDArray[np.float32]
    metadata: dict[str, Any]
    created_at: int
    updated_at: int


class Hit(NamedTuple):
    """A row that a search found.

    Attributes
    ----------
    key : str, bytes or int
        What it is called.
    score : float
        Higher is better.
    distance : float
        Lower is better, in natural units.
    collection : str
        Where it is.
    metadata : dict or None
        What it says, if that was included.
    """

    key: Key
    score: float
    distance: float
    collection: str
    metadata: dict[str, Any] | None = None


class CollectionResult(Frames):
    """The best rows of one collection or several, for one query or for each of several.

    Iterates as hits: `for hit in result` for a 1-D query, lists of them for a 2-D one. Best first: by score,
    then by collection, then by key. As a table it has one row per hit: `query` (from 0), `rank` (from 1),
    `key`, `score`, `distance`, `collection`, and `metadata`, `created_at`, `updated_at` if included; in
    polars and Arrow metadata are JSON text, and keys of several types text.

    Attributes
    ----------
    keys : list
        For a 1-D query the keys of its m <= k hits; for a 2-D one a list of such lists.
    scores : ndarray of float32, shape (m,) or (nq, k)
        Higher is better. Where there are fewer than k hits, the rest is -inf.
    distances : ndarray of float32, same shape
        Lower is better: 1 - cosine, -dot, or the distance. The rest is inf.
    counts : ndarray of int64, shape (1,) or (nq,)
        How many hits each query has.
    metadata : list of dict, list of lists, or None
        As `keys`; None unless included. Read when first asked for.
    vectors : ndarray of float32, shape (m, d), a list of such arrays, or None
        None unless included.
    created_at, updated_at : ndarray of int64, shape (m,) or (nq, k), or None
        In milliseconds since 1970; the rest is 0. None unless stamps are included.
    collections : list
        As `keys`: the name of the collection of each hit.
    metric : str
        The metric of the collections.
    groups : list or None
        As `keys`: what the rows of each hit's group have in common, if `group_by` was given.
    plan : list of dict or None
        How the search was answered, if that was to be explained: a dict for each search of a collection.
        `plan`: "walk" (through the graph), "gather" (of the codes of what matches), "scan" (of all that
        matches), or several of these. `rows`, and how many of them match: `matches`, and what was known
        before as `estimated_matches`, the fewest and the most. How many queries went each way.
    """

    __slots__ = (
        "_collections", "_distances", "_metadata", "_texts", "created_at", "groups", "keys", "metric", "plan",
        "scores", "updated_at", "vectors",
    )  # fmt: skip

    keys: list[Any]
    scores: NDArray[np.float32]
    metric: Metric
    vectors: Any | None
    created_at: NDArray[np.int64] | None
    updated_at: NDArray[np.int64] | None
    groups: list[Any] | None
    plan: list[dict[str, Any]] | None
    _collections: str | list[Any]
    _texts: list[Any] | None
    _metadata: list[Any] | None
    _distances: NDArray[np.float32] | None

    def __init__(
        self,
        keys: list[Any],
        scores: NDArray[np.float32],
        metric: Metric,
        collections: str | list[Any],
        texts: list[Any] | None = None,
        vectors: Any | None = None,
        created_at: NDArray[np.int64] | None = None,
        updated_at: NDArray[np.int64] | None = None,
        groups: list[Any] | None = None,
        plan: list[dict[str, Any]] | None = None,
    ) -> None:
        self.keys = keys
        self.scores = scores
        self.metric = metric
        self.vectors = vectors
        self.created_at = created_at
        self.updated_at = updated_at
        self.groups = groups
        self.plan = plan
        self._collections = collections
        self._texts = texts
        self._metadata = None
        self._distances = None

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many hits each query has."""
        lists = [self.keys] if self.scores.ndim == 1 else self.keys
        return np.array([len(keys) for keys in lists], np.int64)

    @property
    def distances(self) -> NDArray[np.float32]:
        """Lower is better: 1 - cosine, -dot product, or the distance; inf where there is no hit."""
        if self._distances is None:
            self._distances = distances_of(self.scores, self.metric)
        return self._distances

    @property
    def metadata(self) -> list[Any] | None:
        """What the rows say: a dict for each hit, in lists as `keys`; None unless included."""
        if self._metadata is None and self._texts is not None:
            from nearfield._core import _decode

            texts = self._texts
            self._metadata = (
                [_decode(text) for text in texts]
                if self._is_single
                else [[_decode(text) for text in each] for each in texts]
            )
        return self._metadata

    @property
    def collections(self) -> list[Any]:
        """The name of the collection of each hit, in lists as `keys`."""
        name = self._collections
        if isinstance(name, list):
            return name
        return [name] * len(self.keys) if self._is_single else [[name] * len(keys) for keys in self.keys]

    @property
    def _is_single(self) -> bool:
        return self.scores.ndim == 1

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Any]:
        for query in range(1 if self._is_single else len(self.keys)):
            hits = self._hits(query)
            if self._is_single:
                yield from hits
            else:
                yield list(hits)

    def _hits(self, query: int) -> Iterator[Hit]:
        """The hits of one query, made one after another: who stops early does not pay for the rest."""
        if self._is_single:
            keys, scores, distances, collections = self.keys, self.scores, self.distances, self.collections
        else:
            keys, scores, distances, collections = (
                part[query] for part in (self.keys, self.scores, self.distances, self.collections)
            )
        # The arrays may be longer: what lies behind the hits is filling.
        numbers = zip(scores[: len(keys)].tolist(), distances[: len(keys)].tolist(), strict=True)
        said = self._said(query, len(keys))
        for key, (score, distance), collection, metadata in zip(
            keys, numbers, collections, said, strict=True
        ):
            yield Hit(key, score, distance, collection, metadata)

    def _said(self, query: int, count: int) -> Iterator[Any]:
        """What the hits of one query say, each read when it is its turn."""
        if self._texts is None:
            return repeat(None, count)
        if self._metadata is not None:
            return iter(self._metadata if self._is_single else self._metadata[query])
        from nearfield._core import _decode

        return map(_decode, self._texts if self._is_single else self._texts[query])

    def _columns(self) -> dict[str, Any]:
        """The hits as columns of equal length."""
        scores = np.atleast_2d(self.scores)
        query, place = np.nonzero(np.arange(scores.shape[1]) < self.counts[:, None])
        hits = query, place
        columns: dict[str, Any] = {
            "query": query.astype(np.int64),
            "rank": place.astype(np.int64) + 1,
            "key": self._flat(self.keys),
            "score": scores[hits],
            "distance": np.atleast_2d(self.distances)[hits],
            "collection": self._flat(self.collections),
        }
        if self.metadata is not None:
            columns["metadata"] = self._flat(self.metadata)
        if self.groups is not None:
            columns["group"] = self._flat(self.groups)
        if self.created_at is not None and self.updated_at is not None:
            columns["created_at"] = np.atleast_2d(self.created_at)[hits]
            columns["updated_at"] = np.atleast_2d(self.updated_at)[hits]
        return columns

    def _plain_columns(self) -> dict[str, Any]:
        """The same for tables whose columns have one type each."""
        columns = self._columns()
        if len({type(key) for key in columns["key"]}) > 1:
            columns["key"] = [key if isinstance(key, str) else repr(key) for key in columns["key"]]
        if self._texts is not None:
            columns["metadata"] = [text.decode() for text in self._flat(self._texts)]
        return columns

    def _flat(self, lists: list[Any]) -> list[Any]:
        return list(lists) if self._is_single else list(chain.from_iterable(lists))

    def _title(self) -> str:
        queries = 1 if self._is_single else len(self.keys)
        hits = int(self.counts.sum())
        found = "1 hit" if hits == 1 else f"{hits:,} hits"
        asked = "1 query" if queries == 1 else f"{queries:,} queries"
        return f"CollectionResult: {found} for {asked}, metric {self.metric}"

    def _shown(self) -> tuple[list[str], list[list[str]], int]:
        """The names of the columns, the first hits, and how many more there are."""
        rows: list[list[str]] = []
        for query in range(1 if self._is_single else len(self.keys)):
            if len(rows) == _SHOWN:
                break
            for rank, hit in enumerate(islice(self._hits(query), _SHOWN - len(rows)), 1):
                cells = [str(rank), repr(hit.key), f"{hit.score:.6g}", f"{hit.distance:.6g}", hit.collection]
                if hit.metadata is not None:
                    cells.append(_short(str(hit.metadata)))
                rows.append(cells if self._is_single else [str(query), *cells])
        header = ["rank", "key", "score", "distance", "collection"]
        if self._texts is not None:
            header.append("metadata")
        if not self._is_single:
            header.insert(0, "query")
        return header, rows, int(self.counts.sum()) - len(rows)

    def __repr__(self) -> str:
        header, rows, more = self._shown()
        lines = [self._title()]
        if rows:
            lines.append(table_text(header, rows))
        if more:
            lines.append(f"... and {more:,} more")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        header, rows, more = self._shown()
        if self._texts is not None and rows:  # a column for each name, as the collection shows its rows
            hits = islice(chain.from_iterable(map(self._hits, range(len(self.counts)))), len(rows))
            said = [hit.metadata or {} for hit in hits]
            names, cells = metadata_cells(said)
            header = [*header[:-1], *names]
            rows = [[*row[:-1], *more_cells] for row, more_cells in zip(rows, cells, strict=True)]
        table = table_html(header, rows, caption=self._title())
        return table + (f"<p>... and {more:,} more</p>" if more else "")


def place_of(after: Any) -> tuple[float, str, Key]:
    """The place in a ranking that `after=` names: score, collection and key of a hit.

    Parameters
    ----------
    after : Hit or CollectionResult
        Of a result, the last hit counts; it must be that of one query.

    Returns
    -------
    tuple
    """
    if isinstance(after, CollectionResult):
        if after.scores.ndim != 1:
            raise ValueError("after must be a result of one query, or a Hit, to go on behind it")
        hits = list(after)
        if not hits:
            raise ValueError("after is a result without hits: there is no page behind it")
        after = hits[-1]
    if not isinstance(after, Hit):
        raise TypeError(f"expected a Hit or a CollectionResult as after, got {type(after).__name__}")
    return after.score, after.collection, after.key


def _short(text: str, length: int = 80) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
