"""Stopwatch and scales: how fast an engine answers, what memory it holds. Runs in the engine's process."""

from __future__ import annotations

import contextlib
import ctypes
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from engines import Engine, Vectors

#: How queries are handed over: "single" is one a call, "batch" all in one call, "batch 32" is 32 a call.
Mode = str

#: A slow exact scan stops here: it answers fewer of the queries, rather than taking minutes.
MAX_SECONDS = 4.0
#: An idle engine has lost the caches to whoever ran before it; this much is searched before the clock starts.
WARM_UP_SECONDS = 0.05


@dataclass(frozen=True)
class Sample:
    """What one turn of one engine, at one sweep value, showed."""

    ids: list[list[int]]  # answers of the first `len(ids)` queries, padded with -1
    qps: float
    p50_us: float  # latency of a call; NaN for batches
    p99_us: float
    cpus: float  # processor seconds per second: above `threads`, an engine took more than it was allowed


def sample(engine: Engine, queries: Vectors, k: int, mode: Mode, min_seconds: float) -> Sample:
    """Time one engine as it is now set, over whole passes through the queries and at least `min_seconds`."""
    if mode == "single":
        return _sample_single(engine, queries, k, min_seconds)
    size = batch_size(mode) or len(queries)
    starts = range(0, len(queries) - size + 1, size)  # whole batches only
    return _sample_batches(engine, [queries[start : start + size] for start in starts], k, min_seconds)


def batch_mode(size: int) -> Mode:
    return f"batch {size}"


def batch_size(mode: Mode) -> int | None:
    """Queries a call; None for all that there are."""
    size = mode.partition(" ")[2]
    return int(size) if size else None


def _sample_single(engine: Engine, queries: Vectors, k: int, min_seconds: float) -> Sample:
    rows = list(queries)  # views made beforehand: slicing is not part of a search
    search, clock = engine.search_one, time.perf_counter_ns
    _warm_up(lambda: search(rows[0], k))
    ids: list[list[int]] = []
    latencies: list[int] = []
    busy, start = time.process_time_ns(), clock()
    while not latencies or clock() - start < min_seconds * 1e9:
        answers = []
        for row in rows:
            before = clock()
            answers.append(search(row, k))
            latencies.append(clock() - before)
            if before - start > MAX_SECONDS * 1e9:
                break
        ids = ids or [_padded(answer, k) for answer in answers]
    elapsed = clock() - start
    cpus = (time.process_time_ns() - busy) / elapsed
    p50, p99 = np.percentile(latencies, [50, 99]) / 1e3
    return Sample(ids, len(latencies) / sum(latencies) * 1e9, float(p50), float(p99), cpus)


def _sample_batches(engine: Engine, batches: list[Vectors], k: int, min_seconds: float) -> Sample:
    search, clock = engine.search_batch, time.perf_counter_ns
    _warm_up(lambda: search(batches[0][:32], k))
    found, answered = [], 0
    busy, start = time.process_time_ns(), clock()
    while not answered or clock() - start < min_seconds * 1e9:
        first = not answered
        for batch in batches:
            ids = search(batch, k)
            answered += len(batch)
            if first:
                found.append(ids)
            if clock() - start > MAX_SECONDS * 1e9:
                break
    elapsed = clock() - start
    cpus = (time.process_time_ns() - busy) / elapsed
    answers = [_padded(answer, k) for ids in found for answer in np.asarray(ids)]
    return Sample(answers, answered / elapsed * 1e9, float("nan"), float("nan"), cpus)


def _warm_up(search: Callable[[], object]) -> None:
    start = time.perf_counter()
    while time.perf_counter() - start < WARM_UP_SECONDS:
        search()


def _padded(answer: object, k: int) -> list[int]:
    found = [int(identifier) for identifier in np.asarray(answer)[:k]]
    return found + [-1] * (k - len(found))


class Resident(NamedTuple):
    """Bytes of memory that a process holds, and how many of them are pages of files, first to go."""

    all: int
    mapped: int


def resident() -> Resident | None:
    """Memory this process holds, shared pages in proportion (Pss). None where the system does not tell.

    What was freed is first given back to the system: how much of it an allocator keeps is chance, and in a
    build mostly left over from loading the data.
    """
    with contextlib.suppress(AttributeError, TypeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    try:
        text = Path("/proc/self/smaps_rollup").read_text()
    except OSError:
        return None
    kilobytes = dict(re.findall(r"^(Pss|Pss_File):\s+(\d+) kB", text, re.MULTILINE))
    if len(kilobytes) < 2:
        return None
    return Resident(int(kilobytes["Pss"]) * 1024, int(kilobytes["Pss_File"]) * 1024)
