"""What people write before they install anything: a matrix product and a partial sort. The floor."""

from __future__ import annotations

import numpy as np

from engines import Engine, Ids, Mask, Metric, Vectors

#: Queries a matrix product takes at once, so that the scores stay a few dozen megabytes.
CHUNK = 64


class NumpyFlat(Engine):
    kind = "flat"
    metrics = frozenset({"dot", "l2"})
    distribution = "numpy"
    filters = True
    allowed: Ids | None = None

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        self.rows = base.copy()  # an index keeps rows of its own; so its costs compare
        # |b - q|^2 = |b|^2 - 2 b.q + |q|^2, where |q|^2 changes no order: the nearest row is the one with the
        # largest b.q - |b|^2 / 2.
        self.offset = np.einsum("nd,nd->n", base, base) / 2 if metric == "l2" else None

    def filter(self, mask: Mask) -> None:
        self.allowed = np.flatnonzero(mask)

    def search_batch(self, queries: Vectors, k: int) -> Ids:
        chunks = [queries[start : start + CHUNK] for start in range(0, len(queries), CHUNK)]
        return np.concatenate([self._nearest(chunk, k) for chunk in chunks])

    def search_one(self, query: Vectors, k: int) -> Ids:
        ids: Ids = self._nearest(query[None], k)[0]
        return ids

    def _nearest(self, queries: Vectors, k: int) -> Ids:
        scores = queries @ self._among(self.rows).T
        if self.offset is not None:
            scores -= self._among(self.offset)
        best = np.argpartition(scores, -k, axis=1)[:, -k:]
        order: Ids = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        ids: Ids = np.take_along_axis(best, order, axis=1)
        return ids if self.allowed is None else self.allowed[ids]

    def _among(self, values: Vectors) -> Vectors:
        """Those that are allowed: gathering them is cheaper than scoring all."""
        return values if self.allowed is None else values[self.allowed]
