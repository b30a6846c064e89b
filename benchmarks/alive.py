#!/usr/bin/env python3
"""How an HNSW index fares while it changes: what it finds, how long searches take, how fast rows come in.

    python benchmarks/alive.py --data debian-minilm-384

Peers are not asked: an index is held against itself, as it was before. Three tables a data set. The first
follows two indexes, of rows that came at once and 500 at a time, through deleting and adding again half of
the rows in five rounds, and through replacing all of them; for each state it gives the recall at several
beams, and how many rows are missed by a search for themselves. The second has the latency of single
searches, alone and while another thread upserts single rows without pause. The third has single rows a
second, on one thread.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

import nearfield as nf
from datasets import Dataset, exact_neighbors, find
from engines import Vectors

K = 10
BEAMS = (32, 64, 128)
#: The beam with which rows look for themselves.
WIDE = 200
#: Rows an addition has, where rows do not come at once.
FEW = 500
ROUNDS = 5
SEARCHES = 5_000


def main() -> None:
    options = parse()
    print(f"nearfield {nf.__version__}, ef_construction {options.ef_construction}")
    for data in find(options.data, options.rows, None):
        base = data.base()
        print(f"\n## {data.name} ({len(base):,} x {base.shape[1]}, {data.metric()})")
        headers = ["state", *(f"recall@{K} at ef {ef}" for ef in BEAMS), f"missed by themselves at ef {WIDE}"]
        show(changes(data, options.ef_construction), headers)
        index = made(data, base, options.ef_construction)
        show(latencies(index, base, data.queries()), ["searches", "p50 us", "p99 us", "p99, times the quiet"])
        show(
            [[f"{insertions(data, base, options.ef_construction, options.single):,.0f}"]],
            ["single rows a second, one thread"],
        )


def changes(data: Dataset, ef_construction: int) -> Iterator[list[str]]:
    """A line for each state of two indexes."""
    base, queries = data.base(), data.queries()
    truth = exact_neighbors(base, queries, K, data.metric())
    ids, shuffled = np.arange(len(base)), np.random.default_rng(0).permutation(len(base))
    for few in (False, True):
        index = made(data, base, ef_construction, FEW if few else len(base))
        way = f"{FEW} at a time" if few else "at once"
        yield [f"added {way}", *told(index, base, queries, truth)]
        for some in np.array_split(shuffled[: len(base) // 2], ROUNDS):
            index.delete(some)
            add(index, base, some, FEW if few else len(some))
        yield [f"half of them deleted and added again {way}", *told(index, base, queries, truth)]
        add(index, base, ids, FEW if few else len(base) // 10)
        yield [f"all replaced {way if few else 'in ten parts'}", *told(index, base, queries, truth)]


def made(
    data: Dataset, base: Vectors, ef_construction: int, step: int | None = None, threads: int | None = None
) -> nf.HnswIndex:
    index = nf.HnswIndex(base.shape[1], data.metric(), ef_construction=ef_construction, threads=threads)
    add(index, base, np.arange(len(base)), step or len(base))
    return index


def add(index: nf.HnswIndex, base: Vectors, ids: NDArray[np.int64], step: int) -> None:
    for start in range(0, len(ids), step):
        some = ids[start : start + step]
        index.upsert(some, base[some])


def told(index: nf.HnswIndex, base: Vectors, queries: Vectors, truth: NDArray[np.int64]) -> list[str]:
    recalls = []
    for ef in BEAMS:
        found = index.search(queries, K, ef=ef).ids
        recalls.append((found[:, :, None] == truth[:, None, :]).sum() / truth.size)
    return [*(f"{recall:.4f}" for recall in recalls), str(missed(index, base))]


def missed(index: nf.HnswIndex, base: Vectors) -> int:
    """Rows for which a search for their own vector gives neither themselves nor any that is as near."""
    found = index.search(base, K, ef=WIDE)
    others = np.flatnonzero(~(found.ids == np.arange(len(base))[:, None]).any(axis=1))
    if len(others) == 0:
        return 0
    nearest = index.search(base[others], 1, exact=True).scores[:, 0]
    return int((found.scores[others, 0] < nearest).sum())


def latencies(index: nf.HnswIndex, base: Vectors, queries: Vectors) -> Iterator[list[str]]:
    """Medians over the rounds, of which each has a quiet part and a busy one."""
    rounds = []
    for _ in range(ROUNDS):
        quiet = percentiles(index, queries)
        with upserting(index, base):
            rounds.append((quiet, percentiles(index, queries)))
    for name, part in (("alone", 0), ("beside upserts", 1)):
        p50, p99 = (median(figures[part][at] for figures in rounds) for at in range(2))
        times = median(figures[part][1] / figures[0][1] for figures in rounds)
        yield [name, f"{p50:.1f}", f"{p99:.1f}", f"{times:.2f}"]


def percentiles(index: nf.HnswIndex, queries: Vectors) -> tuple[float, float]:
    taken = []
    for i in range(SEARCHES):
        start = time.perf_counter()
        index.search(queries[i % len(queries)], K, ef=40, threads=1)
        taken.append(time.perf_counter() - start)
    p50, p99 = np.percentile(taken, [50, 99]) * 1e6
    return float(p50), float(p99)


@contextmanager
def upserting(index: nf.HnswIndex, base: Vectors) -> Iterator[None]:
    """Another thread replaces one row after another, until the block ends."""
    over = threading.Event()

    def work() -> None:
        i = 0
        while not over.is_set():
            index.upsert([i], base[i : i + 1])
            i = (i + 1) % len(base)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def insertions(data: Dataset, base: Vectors, ef_construction: int, single: int) -> float:
    """The last rows, one by one, into an index of the others."""
    index = made(data, base[:-single], ef_construction, threads=1)
    start = time.perf_counter()
    for i in range(len(base) - single, len(base)):
        index.add(base[i : i + 1])
    return single / (time.perf_counter() - start)


def show(lines: Any, headers: list[str]) -> None:
    print("\n" + tabulate(list(lines), headers, tablefmt="github", disable_numparse=True), flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data", type=lambda text: text.split(","), default=[], help="as for run.py")
    parser.add_argument("--rows", type=int, help="rows to take, if not all")
    parser.add_argument("--single", type=int, default=3_000, help="rows that are added one by one")
    parser.add_argument("--ef-construction", type=int, default=200, help="the beam of insertions")
    return parser.parse_args()


if __name__ == "__main__":
    main()
