"""Index 10,000 Debian packages, find a few by what they do, then measure how well and how fast.

python examples/demo.py           # the whole tour
python examples/demo.py --smoke   # the same in a few seconds, on 2,000 packages
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

import nearfield as nf
from nearfield.plot import recall_qps

HERE = Path(__file__).parent
SHOWN = ("exifprobe", "python3-astroml", "fspy", "powertop", "libplucene-perl")
T = TypeVar("T")


class Packages(NamedTuple):
    """Row i of everything belongs to package i; query i is the embedding of synopsis i."""

    names: list[str]
    synopses: list[str]
    vectors: NDArray[np.float16]
    queries: NDArray[np.float16]


def read_packages(folder: Path, rows: int) -> Packages:
    with gzip.open(folder / "packages.tsv.gz", "rt", encoding="utf-8", newline="") as lines:
        table = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))[:rows]
    return Packages(
        names=[line["package"] for line in table],
        synopses=[line["synopsis"] for line in table],
        vectors=np.load(folder / "vectors.f16.npy")[:rows],
        queries=np.load(folder / "queries.f16.npy"),
    )


def timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def show_nearest(index: nf.HnswIndex, packages: Packages) -> None:
    print("The nearest five to a one-line wish, by cosine similarity:")
    for name in SHOWN:
        row = packages.names.index(name)
        print(f"\n  “{packages.synopses[row]}”")
        ids, scores = index.search(packages.queries[row], k=5)
        for i, score in zip(ids, scores, strict=True):
            print(f"    {score:.3f}  {packages.names[i]:<24.24}  {shorten(packages.synopses[i], 64)}")


def show_speed(index: nf.HnswIndex, packages: Packages, beams: list[int], picture: Path) -> None:
    queries = packages.queries.astype(np.float32)
    truth, seconds = timed(lambda: nf.exact_neighbors(packages.vectors, queries, k=10))
    (usual,) = nf.evaluate(index, queries, truth, k=10)
    print(f"\nOf the ten packages that are truly nearest, the index finds {usual.recall:.1%}.")
    print(f"  {usual.qps_single:>9,.0f} queries/s, one at a time")
    print(f"  {usual.qps:>9,.0f} queries/s, {len(queries):,} at once on {os.cpu_count()} cores")
    print(f"  {len(queries) / seconds:>9,.0f} queries/s, comparing with every package, to know the truth")

    print("\nA wider beam (ef) finds more and takes longer:\n")
    report = nf.evaluate(index, queries, truth, k=10, ef=beams)
    print(report)
    picture.parent.mkdir(exist_ok=True)
    recall_qps(report, picture)
    print(f"\nThe same as a picture: {os.path.relpath(picture)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Index Debian packages, search them, measure it.")
    parser.add_argument("--smoke", action="store_true", help="a fifth of the packages, few measurements")
    smoke = parser.parse_args().smoke
    rows, beams = (2_000, [10, 40]) if smoke else (10_000, [10, 16, 24, 32, 48, 64, 96, 128, 192])

    packages = read_packages(HERE / "data", rows)
    index = nf.HnswIndex(dim=384, metric="cosine")
    ids, seconds = timed(lambda: index.add(packages.vectors))
    print(f"Nearfield {nf.__version__} indexed {len(ids):,} package descriptions in {seconds:.2f} s.")
    show_nearest(index, packages)
    show_speed(index, packages, beams, HERE / "out" / "recall_qps.png")


if __name__ == "__main__":
    main()
