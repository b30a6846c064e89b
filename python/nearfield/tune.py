"""The narrowest beam that finds enough."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield._core import HnswIndex
from nearfield.arrays import as_array
from nearfield.evaluate import recall_of
from nearfield.typing import VectorLike


def tune(
    index: HnswIndex, queries: VectorLike | None = None, recall: float = 0.95, k: int = 10
) -> Mapping[str, Any]:
    """Set `ef_search` of an index to the narrowest beam with a wanted recall.

    Parameters
    ----------
    index : HnswIndex
        Its `ef_search` is set; nothing else changes.
    queries : array-like, shape (nq, d), optional
        Queries like those to come; some hundred at least. Measure the recall that you report on others. If
        not given, a sample of the rows is asked for, each without itself: see `HnswIndex.beam_for`.
    recall : float, default 0.95
        The part of the k nearest rows to be found, between 0 and 1.
    k : int, default 10
        Neighbours per query; 10 if there are no `queries`.

    Returns
    -------
    mapping
        `ef`: the beam; `recall`: what it found of the k nearest rows of the queries, None without queries;
        `qps`: queries per second of one call with all of them, None without queries.

    Raises
    ------
    ValueError
        If recall is not between 0 and 1, k is less than 1 or, without queries, not 10, there are no queries,
        the index is empty, or no beam finds as much.

    Examples
    --------
    >>> import numpy as np, nearfield as nf
    >>> rows = np.random.default_rng(0).standard_normal((3000, 16), dtype=np.float32)
    >>> index = nf.HnswIndex(16)
    >>> _ = index.add(rows[:2900])
    >>> nf.tune(index, rows[2900:], recall=0.9)["recall"] >= 0.9
    True
    """
    if not 0 < recall < 1:
        raise ValueError(f"recall must be between 0 and 1, not {recall}; for all neighbours search exactly")
    if len(index) == 0:
        raise ValueError("cannot tune an empty index: add vectors first")
    if queries is None:
        if k != 10:
            raise ValueError(f"without queries recall is that of the 10 nearest rows, not of {k}")
        index.ef_search = min(index.beam_for(recall), len(index))
        return {"ef": index.ef_search, "recall": None, "qps": None}
    if k < 1:
        raise ValueError(f"k must be 1 or more to measure recall@k, not {k}")
    batch = np.atleast_2d(as_array(queries))
    if len(batch) == 0:
        raise ValueError("cannot tune without queries: expected an array of shape (nq, d) with nq >= 1")
    truth = index.search(batch, k, exact=True).ids
    measured = _narrowest(index, batch, truth, recall)
    index.ef_search = measured["ef"]
    return measured


def _narrowest(
    index: HnswIndex, queries: NDArray[Any], truth: NDArray[np.int64], recall: float
) -> dict[str, Any]:
    """Twice as wide until it is enough, then halves of what lies between."""
    k = truth.shape[1]
    low, measured = k - 1, _measure(index, queries, truth, k)
    while measured["recall"] < recall:
        low = measured["ef"]
        if low >= len(index):
            raise ValueError(
                f"no beam finds {recall} of the {k} nearest rows; {low} finds {measured['recall']}"
            )
        measured = _measure(index, queries, truth, min(2 * low, len(index)))
    while measured["ef"] - low > 1:
        middle = _measure(index, queries, truth, (low + measured["ef"]) // 2)
        if middle["recall"] >= recall:
            measured = middle
        else:
            low = middle["ef"]
    return measured


def _measure(index: HnswIndex, queries: NDArray[Any], truth: NDArray[np.int64], ef: int) -> dict[str, Any]:
    began = time.perf_counter()
    found = index.search(queries, truth.shape[1], ef=ef).ids
    seconds = time.perf_counter() - began
    return {"ef": ef, "recall": recall_of(found, truth), "qps": len(queries) / seconds}
