"""turbovec: rotated rows in 2 or 4 bits a dimension, scanned by table lookups.

It has the inner product only, so it is given normalised rows for a cosine and cannot do the Euclidean
distance. Its threads are Rayon's, which the harness sets for the whole process: a build has no more of them
than a search.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engines import Engine, Ids, Mask, Metric, Params, Vectors

#: Rows of the sample it is calibrated from; its documentation says that about so many are enough.
SAMPLE = 1_024


class Turbovec(Engine):
    kind = "codes"
    metrics = frozenset({"dot"})
    distribution = "turbovec"
    filters = True
    index: Any
    rows: int
    mask: Mask | None = None

    @classmethod
    def variants(cls, m: Sequence[int], ef_construction: int) -> list[Params]:
        # Calibration is optional and said to find more, on some data less: both race.
        return [{"bits": bits, "calibrated": calibrated} for bits in (4, 2) for calibrated in (True, False)]

    @classmethod
    def bits(cls, params: Params) -> float:
        return float(params["bits"])

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        import turbovec

        self.rows = len(base)
        self.index = turbovec.TurboQuantIndex(dim=base.shape[1], bit_width=self.params["bits"])
        if self.params["calibrated"]:
            choice = np.random.default_rng(0).choice(self.rows, min(SAMPLE, self.rows), replace=False)
            self.index.calibrate(base[choice])
        self.index.add(base)
        self.index.prepare()  # otherwise the first search does it

    def filter(self, mask: Mask) -> None:
        self.mask = mask

    def search_one(self, query: Vectors, k: int) -> Ids:
        ids: Ids = self.search_batch(query[None], k)[0]
        return ids

    def search_batch(self, queries: Vectors, k: int) -> Ids:
        ids: Ids = self.index.search(queries, k, mask=self.mask)[1]
        return ids

    def bytes_per_vector(self) -> float | None:
        return len(self.index.to_bytes()) / self.rows
