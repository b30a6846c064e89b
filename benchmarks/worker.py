"""The process an engine lives in: reads one JSON request a line, answers with one JSON line.

Each engine gets a process of its own because libraries bring their own OpenMP, BLAS and allocators, which
disturb each other in one process, and because memory can only be told apart by process. Every engine sees the
same driver; the right answers stay with the parent, which computes the recall.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from dataclasses import asdict
from typing import Any, TextIO

import measure
from datasets import Dataset, normalized, random_mask
from engines import Engine, Metric, Params, Vectors, engine_class

#: The rehearsal before memory is weighed: enough rows for any library to go through all its code once.
REHEARSAL_ROWS = 2_000


class Session:
    """One engine and one data set, from the first request to the last."""

    def __init__(
        self,
        engine: str,
        params: Params,
        dataset: dict[str, Any],
        k: int,
        threads: int,
        build_threads: int,
        min_seconds: float,
        filter_share: float | None,
    ) -> None:
        self.type = engine_class(engine)
        self.params, self.k, self.min_seconds = params, k, min_seconds
        self.threads, self.build_threads = threads, build_threads
        self.filter_share = filter_share
        self.dataset = Dataset(**dataset)
        metric = self.dataset.metric()
        # Engines without a cosine get normalised rows and a metric of equal order; normalising is not timed.
        self.normalize = metric == "cosine" and "cosine" not in self.type.metrics
        self.metric: Metric = self.type.cosine_as if self.normalize else metric
        if self.metric not in self.type.metrics:
            raise ValueError(f"{engine} cannot do the metric {metric}")
        self.queries = self._prepared(self.dataset.queries())
        rehearsal = self._prepared(self.dataset.base(REHEARSAL_ROWS))
        self.index = self._built(rehearsal)
        self._restrict(len(rehearsal))
        self.index.search_one(self.queries[0], k)
        self.index.search_batch(self.queries[:10], k)

    def describe(self) -> dict[str, Any]:
        return {"version": self.type.version(), "dim": self.queries.shape[1], "queries": len(self.queries)}

    def build(self) -> dict[str, Any]:
        """Build anew; tell seconds, and the bytes a vector that the process has grown by."""
        del self.index
        gc.collect()
        before = measure.resident()
        base = self._prepared(self.dataset.base())
        rows, start = len(base), time.perf_counter()
        self.index = self._built(base)
        seconds = time.perf_counter() - start
        self._restrict(rows)
        del base  # what the engine does not hold itself is not its memory
        gc.collect()
        self.index.search_batch(self.queries, self.k)
        after = measure.resident()
        grown = mapped = None
        if before and after:
            grown, mapped = (after.all - before.all) / rows, (after.mapped - before.mapped) / rows
        return {
            "seconds": seconds,
            "rows": rows,
            "bytes_per_vector": grown,
            "mapped_bytes_per_vector": mapped,
            "declared_bytes_per_vector": self.index.bytes_per_vector(),
        }

    def measure(self, mode: measure.Mode, value: float | None) -> dict[str, Any]:
        if value is not None:
            self.index.set(value)
        return asdict(measure.sample(self.index, self.queries, self.k, mode, self.min_seconds))

    def _built(self, base: Vectors) -> Engine:
        engine = self.type(self.params, self.threads)
        engine.build(base, self.metric, self.build_threads)
        return engine

    def _restrict(self, rows: int) -> None:
        if self.filter_share is not None:
            self.index.filter(random_mask(rows, self.filter_share))

    def _prepared(self, vectors: Vectors) -> Vectors:
        return normalized(vectors) if self.normalize else vectors


def serve(requests: TextIO, replies: TextIO) -> None:
    """Answer until the parent closes the pipe. An error is an answer too: the parent reports it."""
    session: Session | None = None
    for line in requests:
        request = json.loads(line)
        task = request.pop("task")
        try:
            if session is None:
                session = Session(**request)
                reply = session.describe()
            else:
                reply = getattr(session, task)(**request)
        except ModuleNotFoundError as error:
            reply = {"error": f"not installed: {error}"}
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    # Libraries may print, also from C. So descriptor 1 becomes stderr, and the replies get a new one that no
    # library knows of.
    private = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, private)
