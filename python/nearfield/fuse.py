"""Several rankings made one."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from nearfield.hits import CollectionResult
from nearfield.results import SearchResult


class Fused(NamedTuple):
    """A key and what all rankings together say of it: the higher, the better."""

    key: Any
    score: float


def fuse(
    rankings: Sequence[Any],
    *,
    method: Literal["rrf"] = "rrf",
    k: int = 60,
    weights: Sequence[float] | None = None,
) -> list[Fused]:
    """Fuse rankings by the places of what is in them, whatever their scores mean.

    Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): a key has the sum of
    `weight / (k + place)` over the rankings that it is in, the first place being 1.

    Parameters
    ----------
    rankings : sequence
        Each the result of a search with one query (`CollectionResult` or `SearchResult`), or keys, best
        first, as another search engine gives them. Of a key that comes twice in one the first place counts.
    method : {"rrf"}, default "rrf"
    k : int, default 60
        The larger, the less the first places are worth beside the others; at least 0.
    weights : sequence of float, optional
        How much each ranking counts, at least 0. None: all alike.

    Returns
    -------
    list of Fused
        Best first; equal scores in the order in which the keys first come up, ranking by ranking.

    Raises
    ------
    ValueError
        If the method is unknown, `k` is negative, there is not one weight for each ranking, a weight is
        negative or no number, or a result is one of several queries.
    TypeError
        If a ranking is a string, or has something in it that cannot be a key.

    Examples
    --------
    >>> import nearfield as nf
    >>> [hit.key for hit in nf.fuse([["a", "b", "c"], ["c", "a"]])]
    ['a', 'c', 'b']
    """
    if method != "rrf":
        raise ValueError(f"method must be 'rrf', not {method!r}")
    if k < 0:
        raise ValueError(f"k must be 0 or more, not {k}")
    given = [1.0] * len(rankings) if weights is None else [float(weight) for weight in weights]
    if len(given) != len(rankings):
        raise ValueError(f"expected one weight for each of {len(rankings)} rankings, got {len(given)}")
    if not all(math.isfinite(weight) and weight >= 0 for weight in given):
        raise ValueError(f"weights must be numbers of 0 or more, not {list(given)}")
    scores: dict[Hashable, float] = {}
    for ranking, weight in zip(rankings, given, strict=True):
        for place, key in enumerate(dict.fromkeys(_keys(ranking)), start=1):
            scores[key] = scores.get(key, 0.0) + weight / (k + place)
    # Sorting is stable, and a dictionary keeps the order in which its keys came.
    return [Fused(key, score) for key, score in sorted(scores.items(), key=lambda item: -item[1])]


def _keys(ranking: Any) -> Iterable[Hashable]:
    """The keys of a ranking, best first."""
    if isinstance(ranking, str | bytes):
        raise TypeError(f"a ranking is a sequence of keys, not {ranking!r}")
    if isinstance(ranking, CollectionResult | SearchResult):
        if ranking.scores.ndim != 1:
            raise ValueError("a ranking is the result of one query: fuse those of several one by one")
        return ranking.keys if isinstance(ranking, CollectionResult) else ranking.ids.tolist()
    return [key.item() if isinstance(key, np.generic) else key for key in ranking]
