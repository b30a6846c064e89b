"""How fast the store takes rows in, finds them, and opens; beside what the disk and the bare index do.

    python benchmarks/store.py --data debian-minilm-384 --rounds 3
    python benchmarks/store.py --threads 1,4,16
    python benchmarks/store.py --open 1000000

The idea: a durable write cannot be faster than the disk, so each figure stands beside bare writes of as many
bytes with as many syncs, measured in the same round. A data set is loaded in batches of 1,000 rows with
small metadata: synopsis-like text, a section, a number. `--threads` has threads make durable upserts of one
row at the same time. `--open` fills a store with so many rows of 128 dimensions, links them, and opens it:
with its files in the page cache, without them, and after a kill -9 with a long log; no data set is needed,
since opening does not depend on what rows are.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

import nearfield as nf
from datasets import find
from engines import Vectors

BATCH = 1_000
SINGLES = 200

#: Rows that a killed process leaves in the log: 84 MB of it.
LOGGED = 120_000
#: Seconds that threads write.
SPELL = 2.0

Figures = dict[str, list[float]]
Note = Callable[[str, float], None]


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


def seconds(call: Callable[..., object], *arguments: object) -> float:
    began = time.perf_counter()
    call(*arguments)
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
            compare_searches(docs, index, queries, note)
            rows = [([f"single-{i}"], base[i : i + 1], metadata[i : i + 1]) for i in range(SINGLES)]
            note(
                "one durable upsert (ms)",
                1e3 / SINGLES * seconds(lambda: [docs.upsert(*row) for row in rows]),
            )
            note("  bare write and sync (ms)", 1e3 / SINGLES * bare_writes(folder, SINGLES, 4096))
            note("compact (s)", seconds(store.compact))
            index.save(folder / "index.nf")
            # A file of the index has rows and graph; metadata and keys come on top of it.
            text = sum(len(json.dumps(row, separators=(",", ":"))) + 9 for row in metadata)
            bare = (folder / "index.nf").stat().st_size + text
            note("on the disk, of rows, graph and metadata", store.stats()["disk_bytes"] / bare)
    finally:
        shutil.rmtree(folder)


def compare_searches(docs: nf.Collection, index: nf.HnswIndex, queries: Vectors, note: Note) -> None:
    """One query a call, one thread: through the store and through a bare index of the same rows, by turns."""
    few = queries[:500]
    where = {"section": "net"}
    compiled = docs.filter(where)
    ways: dict[str, Callable[[Vectors, int], object]] = {
        "search (ms)": lambda query, i: docs.search(query, threads=1),
        "  bare index (ms)": lambda query, i: index.search(query, threads=1),
        "  metadata of all hits (ms)": lambda query, i: (
            docs.search(query, include=["metadata"], threads=1).metadata
        ),
        "  a compiled filter (ms)": lambda query, i: docs.search(query, where=compiled, threads=1),
        "  the same dict each time (ms)": lambda query, i: docs.search(query, where=where, threads=1),
        "  another filter each time (ms)": lambda query, i: docs.search(
            query, where={"installed_size": {"$gt": i}}, threads=1
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for i, query in enumerate(few):
        for name, way in ways.items():
            way(query, i)  # the first walk brings the cells into the cache, for whoever comes first
            times[name].append(1e3 * seconds(way, query, i))
    for name, taken in times.items():
        note(name, statistics.median(taken))
    note(
        "search, store / bare index",
        statistics.median(times["search (ms)"]) / statistics.median(times["  bare index (ms)"]),
    )
    batches: list[tuple[nf.Collection | nf.HnswIndex, str]] = [
        (docs, "  1,000 queries a call, all cores (ms)"),
        (index, "  the same, bare index (ms)"),
    ]
    many = np.resize(queries, (1_000, queries.shape[1]))
    for found, name in batches * 3:
        note(name, 1e3 * seconds(found.search, many, 10))


@contextmanager
def a_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def upserts_a_second(path: Path, threads: int) -> float:
    """Durable upserts of one row of 128 dimensions, by so many threads at once."""
    rows = np.random.default_rng(0).standard_normal((256, 128), dtype=np.float32)
    with nf.open(path) as store:
        docs = store.create_collection(f"docs-{threads}", dim=128)
        counts = [0] * threads
        end = time.perf_counter() + SPELL

        def write(thread: int) -> None:
            while time.perf_counter() < end:
                at = counts[thread] % len(rows)
                docs.upsert([f"{thread}-{counts[thread]}"], rows[at : at + 1], [{"n": at}])
                counts[thread] += 1

        workers = [threading.Thread(target=write, args=(thread,)) for thread in range(threads)]
        began = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(counts) / (time.perf_counter() - began)


def one_round_of_threads(threads: list[int], figures: Figures) -> None:
    with a_folder() as folder:
        for count in threads:
            rate = upserts_a_second(folder / "store", count)
            figures.setdefault(f"durable upserts a second, {count} threads", []).append(rate)
        bare = SINGLES / bare_writes(folder, SINGLES, 4096)
        figures.setdefault("  bare writes and syncs a second", []).append(bare)


def forget_files(path: Path) -> None:
    """Has the system forget what it remembers of the files."""
    for file in path.iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def fill(path: Path, rows: int) -> None:
    """A store with so many linked rows in as few files as possible."""
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((1_000, 128), dtype=np.float32)
    with nf.open(path, sync="flush") as store:
        # A graph of the usual size, built with less care: it is to be opened.
        docs = store.create_collection("docs", dim=128, expected_size=rows, ef_construction=64)
        for start in range(0, rows, 50_000):
            keys = range(start, min(start + 50_000, rows))
            base = centres[rng.integers(1_000, size=len(keys))]
            base += 0.5 * rng.standard_normal(base.shape, dtype=np.float32)
            docs.upsert(keys, base, {"n": [key % 1_000 for key in keys], "lang": ["en"] * len(keys)})
        store.flush(wait=True, progress=True)
        store.compact(progress=True)


def leave_a_log(path: Path) -> None:
    """Writes rows and dies."""
    rows = np.random.default_rng(2).standard_normal((BATCH, 128), dtype=np.float32)
    docs = nf.open(path)["docs"]
    for start in range(0, LOGGED, BATCH):
        docs.upsert([f"logged-{start + i}" for i in range(BATCH)], rows, [{"n": i} for i in range(BATCH)])
    os.kill(os.getpid(), signal.SIGKILL)


def opening(path: Path, mode: Literal["r", "rw"] = "r") -> float:
    """Milliseconds to open a store and search it once, in a process of its own."""
    code = f"""
import time, numpy as np, nearfield as nf
query = np.load({str(path.parent / "query.npy")!r})
began = time.perf_counter()
store = nf.open({str(path)!r}, {mode!r})
result = store["docs"].search(query, k=10)
print(1e3 * (time.perf_counter() - began))
exact = store["docs"].search(query, k=10, exact=True)
assert result.keys[0] == exact.keys[0] == 0, (result.keys, exact.keys)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def openings(folder: Path, rows: int, rounds: int, figures: Figures) -> None:
    path = folder / "store"
    if not path.exists():
        fill(path, rows)
    with nf.open(path, "r") as store:
        np.save(folder / "query.npy", next(store["docs"].scan()).vector)  # of key 0
    note: Note = lambda name, value: figures.setdefault(name, []).append(value)  # noqa: E731
    for _ in range(rounds):
        forget_files(path)
        note("open, files not in the page cache (ms)", opening(path))
        note("open, files in the page cache (ms)", opening(path))
        copy = folder / "killed"
        shutil.copytree(path, copy)
        code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        code += f"from pathlib import Path\nfrom store import leave_a_log\nleave_a_log(Path({str(copy)!r}))"
        killed = subprocess.run([sys.executable, "-c", code], check=False)
        assert killed.returncode == -signal.SIGKILL
        log = max(file.stat().st_size for file in copy.glob("wal-*"))
        note("after kill -9, to be read (ms)", opening(copy))
        note("after kill -9, to be written (ms)", opening(copy, "rw"))
        note("  its log (MB)", log / 1e6)
        shutil.rmtree(copy)


def show(title: str, figures: Figures, rounds: int) -> None:
    print(f"{title}; median, least, most of {rounds}")
    for name, values in figures.items():
        print(f"  {name:40} {statistics.median(values):9.3f} {min(values):9.3f} {max(values):9.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", nargs="*", default=[], help="folders, by path or by name under NEARFIELD_DATA"
    )
    parser.add_argument("--rows", type=int, help="take only so many")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", help="numbers of threads that write at once, such as 1,4,16")
    parser.add_argument(
        "--open", type=int, metavar="ROWS", help="open a store of so many rows of 128 dimensions"
    )
    parser.add_argument("--folder", type=Path, help="where that store is, or is made, and stays")
    options = parser.parse_args()
    for data in find(options.data, options.rows, 1_000) if options.data else []:
        base, queries = data.base(), data.queries()
        metadata = metadata_for(len(base))
        figures: Figures = {}
        for _ in range(options.rounds):
            one_round(base, queries, metadata, figures)
        show(f"{data.name}: {len(base):,} rows of {base.shape[1]}", figures, options.rounds)
    if options.threads:
        figures = {}
        for _ in range(options.rounds):
            one_round_of_threads([int(count) for count in options.threads.split(",")], figures)
        show("threads that write at once", figures, options.rounds)
    if options.open:
        figures = {}
        with a_folder() as temporary:
            folder = options.folder or temporary
            folder.mkdir(exist_ok=True)
            openings(folder, options.open, options.rounds, figures)
        show(f"a store of {options.open:,} rows of 128", figures, options.rounds)


if __name__ == "__main__":
    main()
