"""The naive model: what an index must answer, in NumPy and a dict, too slow and too simple to be wrong.

The canonical score is reproduced bit for bit. It is accumulated in f64 over f32 inputs, in eight lanes:
lane j takes the elements j, j + 8, j + 16, ... one after another; then ((l0 + l4) + (l2 + l6)) + ((l1 + l5)
+ (l3 + l7)), rounded once to f32. Order: score descending, then id ascending. Every query gets min(k,
matching rows) hits. Rows are those that the codec keeps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from kept import keep

METRICS = ("cosine", "dot", "l2", "l1")
LANES = 8


def lanes_sum(terms: np.ndarray) -> np.ndarray:
    """Sums over the last axis in the fixed order of the canonical score."""
    *shape, d = terms.shape
    blocks = -(-d // LANES)
    padded = np.zeros((*shape, blocks * LANES))
    padded[..., :d] = terms
    # accumulate, unlike sum, adds strictly one after another.
    sums = np.add.accumulate(padded.reshape(*shape, blocks, LANES), axis=-2)
    a, b, c, d, e, f, g, h = np.moveaxis(sums[..., -1, :], -1, 0)
    return ((a + e) + (c + g)) + ((b + f) + (d + h))


def canonical_scores(query: np.ndarray, rows: np.ndarray, metric: str) -> np.ndarray:
    """The canonical score of one query to each row: f32, higher is better."""
    q = np.asarray(query, dtype=np.float32).astype(np.float64)
    x = np.asarray(rows, dtype=np.float32).astype(np.float64)
    if metric == "dot":
        return lanes_sum(q * x).astype(np.float32)
    if metric == "l2":
        return (-np.sqrt(lanes_sum((q - x) ** 2))).astype(np.float32)
    if metric == "hamming":
        return (-(q != x).sum(axis=-1)).astype(np.float32)
    if metric == "l1":
        return (-lanes_sum(np.abs(q - x))).astype(np.float32)
    if metric == "cosine":
        norms = np.sqrt(lanes_sum(q * q)) * np.sqrt(lanes_sum(x * x))
        with np.errstate(invalid="ignore", divide="ignore"):
            cosine = np.clip(lanes_sum(q * x) / norms, -1.0, 1.0)
        return np.where(norms == 0.0, 0.0, cosine).astype(np.float32)
    raise ValueError(metric)


def natural_distances(scores: np.ndarray, metric: str) -> np.ndarray:
    """Scores as distances: 1 - cosine, -dot, Euclidean, Manhattan, differing bits."""
    return np.float32(1) - scores if metric == "cosine" else -scores


@dataclass
class Answer:
    """What a 2-D search gives: shapes (nq, k), padded with -1 and -inf."""

    ids: np.ndarray
    scores: np.ndarray
    counts: np.ndarray


class Model:
    """An index that is obviously right. It takes clean input only: rows of the right dimension, legal ids."""

    def __init__(self, dim: int, metric: str, codec: str = "f32") -> None:
        self.dim = dim
        self.metric = metric
        self.codec = codec
        self.rows: dict[int, np.ndarray] = {}
        self.next_id = 0

    def copy(self) -> Model:
        twin = Model(self.dim, self.metric, self.codec)
        twin.rows = dict(self.rows)
        twin.next_id = self.next_id
        return twin

    def add(self, vectors: np.ndarray, ids: Iterable[int] | None = None) -> list[int]:
        given = (
            list(range(self.next_id, self.next_id + len(vectors))) if ids is None else [int(i) for i in ids]
        )
        assert len(given) == len(vectors) == len(set(given)) and not self.rows.keys() & set(given)
        self.upsert(given, vectors)
        return given

    def upsert(self, ids: Iterable[int], vectors: np.ndarray) -> None:
        for number, row in zip(ids, keep(self.codec, vectors), strict=True):
            self.rows[int(number)] = row
            self.next_id = max(self.next_id, int(number) + 1)

    def delete(self, ids: Iterable[int]) -> int:
        return sum(self.rows.pop(int(number), None) is not None for number in ids)

    @property
    def ids(self) -> list[int]:
        return sorted(self.rows)

    def get(self, ids: Iterable[int]) -> np.ndarray:
        rows = [self.rows[int(number)] for number in ids]
        return np.stack(rows) if rows else np.empty((0, self.dim), np.float32)

    def ranking(
        self, query: np.ndarray, allowed: Iterable[int] | None = None, min_score: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """All matching rows, best first: ids and scores."""
        ids = np.array(
            self.ids if allowed is None else sorted(self.rows.keys() & set(allowed)), dtype=np.int64
        )
        scores = canonical_scores(query, self.get(ids), self.metric)
        order = np.lexsort((ids, -scores))
        ids, scores = ids[order], scores[order]
        if min_score is None:
            return ids, scores
        good = scores >= np.float64(min_score)
        return ids[good], scores[good]

    def search(
        self,
        queries: np.ndarray,
        k: int,
        allowed: Iterable[int] | None = None,
        min_score: float | None = None,
    ) -> Answer:
        allowed = None if allowed is None else list(allowed)
        answer = Answer(
            np.full((len(queries), k), -1, np.int64),
            np.full((len(queries), k), -np.inf, np.float32),
            np.zeros(len(queries), np.int64),
        )
        for number, query in enumerate(queries):
            ids, scores = self.ranking(query, allowed, min_score)
            m = min(k, len(ids))
            answer.ids[number, :m], answer.scores[number, :m], answer.counts[number] = ids[:m], scores[:m], m
        return answer

    def range_search(
        self, queries: np.ndarray, radius: float, allowed: Iterable[int] | None = None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each query the ids and scores of all rows whose distance is at most `radius`, best first."""
        allowed = None if allowed is None else list(allowed)
        hits = []
        for query in queries:
            ids, scores = self.ranking(query, allowed)
            near = natural_distances(scores, self.metric) <= np.float64(radius)
            hits.append((ids[near], scores[near]))
        return hits
