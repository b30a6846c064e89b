"""An index beside the naive model: told the same things, asked the same questions.

What an answer must be follows from what the index promises (`Candidate`). An exact index must give the
model's answer bit for bit. An approximate one must do so under `exact=True`; otherwise each answer must be
one that an honest approximation can give (real rows, allowed rows, canonical scores, total order, as many
hits as exist) and reach the recall floor that the candidate promises. Recall counts scores, not ids: among
equal scores no row is righter than another. An index that keeps nothing but codes of its rows is held to
the same, but for the scores, which are its own, and to which all its answers must agree.

Two indexes, instead of one and the model, are compared by `snapshot`, two answers by `assert_same_bits`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from kept import fit
from kinds import gaussian
from model import METRICS, Answer, Model, canonical_scores, natural_distances


@dataclass(frozen=True)
class Candidate:
    """An index to be held against the model: how it is made, its recall (None: exact), how it keeps rows.

    `code`: what `index.codec` says, where that is not how rows are kept. `estimates`: whether the index keeps
    nothing but codes, once it has any.
    """

    name: str
    make: Callable[[int, str], Any]
    recall: float | None = None
    codec: str = "f32"
    code: str | None = None
    estimates: bool = False
    metrics: tuple[str, ...] = METRICS

    def rows(self, kind: Callable[..., np.ndarray], rng: np.random.Generator, n: int, d: int) -> np.ndarray:
        """Rows of that kind, made such that the index takes them."""
        return fit(self.codec, kind(rng, n, d))


def first(answer: Answer, k: int) -> Answer:
    """The answer to the same queries with a smaller k."""
    return Answer(answer.ids[:, :k], answer.scores[:, :k], np.minimum(answer.counts, k))


def assert_shapes(result: Any, queries: int, k: int) -> None:
    assert result.ids.shape == result.scores.shape == result.distances.shape == (queries, k)
    assert result.counts.shape == (queries,)
    assert (result.ids.dtype, result.counts.dtype) == (np.int64, np.int64)
    assert (result.scores.dtype, result.distances.dtype) == (np.float32, np.float32)


def assert_exactly(result: Any, answer: Answer, metric: str) -> None:
    assert_shapes(result, *answer.ids.shape)
    np.testing.assert_array_equal(result.counts, answer.counts)
    np.testing.assert_array_equal(result.scores, answer.scores)
    np.testing.assert_array_equal(result.ids, answer.ids)
    np.testing.assert_array_equal(result.distances, natural_distances(answer.scores, metric))


def assert_honest(
    result: Any,
    answer: Answer,
    model: Model,
    queries: np.ndarray,
    allowed: set[int] | None,
    min_score: float | None,
    estimates: bool = False,
) -> float:
    """Whether an honest approximation could give this; returns its recall by score.

    `estimates`: scores are the index's own, so nobody knows better how many reach `min_score`.
    """
    assert_shapes(result, *answer.ids.shape)
    possible = set(model.ids) if allowed is None else allowed & set(model.ids)
    found = wanted = 0
    for number, query in enumerate(queries):
        m = int(result.counts[number])
        true = int(answer.counts[number])
        assert m == true if min_score is None else m <= true or estimates
        ids, scores = result.ids[number, :m], result.scores[number, :m]
        assert (result.ids[number, m:] == -1).all() and (result.scores[number, m:] == -np.inf).all()
        assert set(ids.tolist()) <= possible and len(set(ids.tolist())) == m
        true_scores = canonical_scores(query, model.get(ids), model.metric)
        if not estimates:
            np.testing.assert_array_equal(scores, true_scores)
        assert np.isfinite(scores).all()
        np.testing.assert_array_equal(result.distances[number, :m], natural_distances(scores, model.metric))
        np.testing.assert_array_equal(np.lexsort((ids, -scores)), np.arange(m))
        if min_score is not None:
            assert (scores >= min_score).all()
        if true:
            found += int((true_scores >= answer.scores[number, true - 1]).sum())
        wanted += true
    return found / wanted if wanted else 1.0


class Pair:
    """An index and the model, told the same things."""

    def __init__(self, candidate: Candidate, dim: int, metric: str) -> None:
        self.candidate = candidate
        self.index = candidate.make(dim, metric)
        self.model = Model(dim, metric, candidate.codec)

    @property
    def estimates(self) -> bool:
        """Whether the index has given its rows up for codes."""
        return self.candidate.estimates and self.index.stats()["code_bytes"] > 0

    def add(self, vectors: np.ndarray, ids: Any = None) -> np.ndarray:
        given = self.index.add(vectors, ids)
        assert given.dtype == np.int64
        assert given.tolist() == self.model.add(vectors, ids)
        return given

    def upsert(self, ids: Any, vectors: np.ndarray) -> None:
        assert self.index.upsert(ids, vectors) == len(set(np.asarray(ids).tolist()))
        self.model.upsert(ids, vectors)

    def delete(self, ids: Any) -> None:
        assert self.index.delete(ids) == self.model.delete(ids)

    def check_state(self) -> None:
        assert len(self.index) == len(self.model.rows)
        assert self.index.ids.dtype == np.int64
        assert self.index.ids.tolist() == self.model.ids
        rows = self.index.get(self.index.ids)
        assert rows.dtype == np.float32
        if self.estimates:
            assert rows.shape == (len(self.index), self.model.dim) and np.isfinite(rows).all()
        else:
            np.testing.assert_array_equal(rows, self.model.get(self.model.ids))

    def check_search(
        self,
        queries: np.ndarray,
        ks: Sequence[int] = (10,),
        *,
        filter: Any = None,
        allowed: Any = None,
        min_score: float | None = None,
        floor: bool = False,
    ) -> None:
        """Searches for each k, exactly and as the index does by itself; `floor`: holds it to its recall."""
        allowed = None if allowed is None else {int(number) for number in allowed}
        full = self.model.search(queries, max(ks), allowed, min_score)
        for k in ks:
            answer = first(full, k)
            exact = self.index.search(queries, k, filter=filter, min_score=min_score, exact=True)
            result = self.index.search(queries, k, filter=filter, min_score=min_score)
            if self.estimates and self.candidate.recall is None:
                assert_same_bits(exact, result)
            elif self.estimates:
                assert_honest(exact, answer, self.model, queries, allowed, min_score, estimates=True)
            else:
                assert_exactly(exact, answer, self.model.metric)
            if self.candidate.recall is None and not self.estimates:
                assert_exactly(result, answer, self.model.metric)
                continue
            honest = (self.model, queries, allowed, min_score, self.estimates)
            recall = assert_honest(result, answer, *honest)
            if floor and self.candidate.recall is not None:
                assert recall >= self.candidate.recall, f"recall {recall:.3f} at k = {k}"

    def check_range(
        self, queries: np.ndarray, radius: float, *, filter: Any = None, allowed: Any = None
    ) -> None:
        result = self.index.range_search(queries, radius, filter=filter)
        if self.estimates:
            self._check_range_of_estimates(result, queries, radius, filter)
            return
        hits = self.model.range_search(queries, radius, allowed)
        assert result.lims.dtype == result.ids.dtype == np.int64
        assert result.lims.tolist() == [0, *np.cumsum([len(ids) for ids, _ in hits])]
        scores = np.concatenate([s for _, s in hits])
        np.testing.assert_array_equal(result.ids, np.concatenate([i for i, _ in hits]))
        np.testing.assert_array_equal(result.scores, scores)
        np.testing.assert_array_equal(result.distances, natural_distances(scores, self.model.metric))

    def _check_range_of_estimates(self, result: Any, queries: np.ndarray, radius: float, filter: Any) -> None:
        """A range is what a search for all rows has within the radius."""
        everything = self.index.search(queries, len(self.index), filter=filter, exact=True)
        for number in range(len(queries)):
            near = everything.distances[number] <= np.float64(radius)
            hits = slice(*result.lims[number : number + 2])
            for name in ("ids", "scores", "distances"):
                expected = getattr(everything, name)[number][near]
                np.testing.assert_array_equal(getattr(result, name)[hits], expected)


def snapshot(index: Any) -> list[bytes | int]:
    """All that anyone can see of an index, the next id included."""
    rng = np.random.default_rng(99)
    queries = fit(index.codec, gaussian(rng, 5, index.dim))
    parts: list[bytes | int] = [len(index), index.ids.tobytes(), index.get(index.ids).tobytes()]
    for options in ({}, {"exact": True}):
        result = index.search(queries, 7, **options)
        parts += [result.ids.tobytes(), result.scores.tobytes(), result.counts.tobytes()]
    parts.append(int(index.copy().add(queries[:1])[0]))
    return parts


def assert_same_bits(a: Any, b: Any) -> None:
    for name in ("ids", "scores", "distances", "counts"):
        x, y = getattr(a, name), getattr(b, name)
        assert x.shape == y.shape, name
        assert x.dtype == y.dtype, name
        assert x.tobytes() == y.tobytes(), name
