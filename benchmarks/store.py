"""How fast the store takes rows in, finds them, and opens; beside what the disk and the bare index do.

    python benchmarks/store.py --data debian-minilm-384 --rounds 3

The idea: a durable write cannot be faster than the disk, so each figure stands beside bare writes of as many
bytes with as many syncs, measured in the same round. The data set is loaded in batches of 1,000 rows with
small metadata: synopsis-like text, a section, a number.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import nearfield as nf
from datasets import find
from engines import Vectors

BATCH = 1_000
SINGLES = 200

Figures = dict[str, list[float]]


def metadata_for(rows: int) -> list[dict[str, Any]]:
    """Metadata like those of a package: five names, some 100 bytes."""
    sections = ("libs", "misc", "net", "python", "science")
    return [
        {
            "package": f"package-{i}",
            "synopsis": f"what package number {i} is good for",
            "section": sections[i % len(sections)],
            "priority": "optional",
            "installed_size": i * 37 % 100_000,
        }
        for i in range(rows)
    ]


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def bare_writes(folder: Path, count: int, size: int, sync: bool = True) -> float:
    """Appends to one file, each durable before the next."""
    data = os.urandom(size)
    file = os.open(folder / "bare", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    try:
        began = time.perf_counter()
        for _ in range(count):
            os.write(file, data)
            if sync:
                os.fdatasync(file)
        return time.perf_counter() - began
    finally:
        os.close(file)


def load(path: Path, base: Vectors, metadata: list[dict[str, Any]], sync: Literal["batch", "flush"]) -> float:
    """Seconds for all rows, the last flush included; opening and closing are not."""
    with nf.open(path, sync=sync) as store:
        docs = store.create_collection("docs", dim=base.shape[1])
        began = time.perf_counter()
        for start in range(0, len(base), BATCH):
            part = slice(start, start + BATCH)
            docs.upsert(range(start, min(start + BATCH, len(base))), base[part], metadata[part])
        store.flush()
        return time.perf_counter() - began


def first_answer(path: Path, query: Vectors) -> float:
    """Seconds to open a store for reading and to search it once."""
    began = time.perf_counter()
    store = nf.open(path, "r")
    store["docs"].search(query)
    took = time.perf_counter() - began
    store.close()
    return took


def one_round(base: Vectors, queries: Vectors, metadata: list[dict[str, Any]], figures: Figures) -> None:
    batches = -(-len(base) // BATCH)
    size = base[:BATCH].nbytes + 150 * BATCH
    folder = Path(tempfile.mkdtemp())

    def note(name: str, value: float) -> None:
        figures.setdefault(name, []).append(value)

    try:
        note("load, each batch synced (s)", load(folder / "batch", base, metadata, "batch"))
        note("  bare writes, each synced (s)", bare_writes(folder, batches, size))
        note("load, synced at the end (s)", load(folder / "flush", base, metadata, "flush"))
        note("  bare writes, not synced (s)", bare_writes(folder, batches, size, sync=False))
        index = nf.HnswIndex(base.shape[1])
        note("  bare graph, linked (s)", seconds(lambda: index.add(base)))
        note("open without a graph (s)", first_answer(folder / "flush", queries[0]))
        with nf.open(folder / "batch") as store:
            note("linking all rows, and keeping that (s)", seconds(lambda: store.flush(wait=True)))
        note("open, with the first answer (s)", first_answer(folder / "batch", queries[0]))
        with nf.open(folder / "batch") as store:
            docs = store["docs"]
            rows = [([f"single-{i}"], base[i : i + 1], metadata[i : i + 1]) for i in range(SINGLES)]
            note(
                "one durable upsert (ms)",
                1e3 / SINGLES * seconds(lambda: [docs.upsert(*row) for row in rows]),
            )
            note("  bare write and sync (ms)", 1e3 / SINGLES * bare_writes(folder, SINGLES, 4096))
            compare_searches(docs, index, queries, note)
            note("compact (s)", seconds(store.compact))
            index.save(folder / "index.nf")
            # A file of the index has rows and graph; metadata and keys come on top of it.
            text = sum(len(json.dumps(row, separators=(",", ":"))) + 9 for row in metadata)
            bare = (folder / "index.nf").stat().st_size + text
            note("on the disk, of rows, graph and metadata", store.stats()["disk_bytes"] / bare)
    finally:
        shutil.rmtree(folder)


def compare_searches(
    docs: nf.Collection, index: nf.HnswIndex, queries: Vectors, note: Callable[[str, float], None]
) -> None:
    """One query a call, one thread: through the store and through a bare index of the same rows."""
    few = queries[:200]

    def each(search: Callable[[Vectors], object]) -> float:
        return 1e3 / len(few) * seconds(lambda: [search(query) for query in few])

    where = {"section": "net"}
    compiled = docs.filter(where)
    sizes = iter(range(len(few)))
    note("search (ms)", each(lambda query: docs.search(query, threads=1)))
    note(
        "  metadata of all hits (ms)",
        each(lambda query: docs.search(query, include=["metadata"], threads=1).metadata),
    )
    note("  a compiled filter (ms)", each(lambda query: docs.search(query, where=compiled, threads=1)))
    note("  the same dict each time (ms)", each(lambda query: docs.search(query, where=where, threads=1)))
    note(
        "  another filter each time (ms)",
        each(lambda query: docs.search(query, where={"installed_size": {"$gt": next(sizes)}}, threads=1)),
    )
    note("  bare index (ms)", each(lambda query: index.search(query, threads=1)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", nargs="*", default=[], help="folders, by path or by name under NEARFIELD_DATA"
    )
    parser.add_argument("--rows", type=int, help="take only so many")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for data in find(options.data, options.rows, 1_000):
        base, queries = data.base(), data.queries()
        metadata = metadata_for(len(base))
        figures: Figures = {}
        for _ in range(options.rounds):
            one_round(base, queries, metadata, figures)
        print(f"{data.name}: {len(base):,} rows of {base.shape[1]}; median, least, most of {options.rounds}")
        for name, values in figures.items():
            print(f"  {name:34} {statistics.median(values):8.3f} {min(values):8.3f} {max(values):8.3f}")


if __name__ == "__main__":
    main()
