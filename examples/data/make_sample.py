"""Draw the sample in this folder from the full set of embedded Debian package descriptions.

    python make_sample.py SOURCE DESTINATION

SOURCE holds the full set: `base.f16.npy` (one row a package), `queries.f16.npy` (one row a synopsis),
`target.npy` (the package that each synopsis belongs to) and `docs.jsonl.gz` (one line a package). The
packages that answer a query come first, in the order of the queries, so row i of the sample belongs to
query i; the rest is spaced evenly over the full set. The same source always gives the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = 10_000
COLUMNS = ("package", "section", "synopsis")


def choose_rows(targets: NDArray[Any], available: int) -> NDArray[Any]:
    """The rows that answer a query, then evenly spaced ones among the others."""
    others = np.setdiff1d(np.arange(available), targets)
    wanted = ROWS - len(targets)
    return np.concatenate([targets, others[np.arange(wanted) * len(others) // wanted]])


def write_packages(destination: Path, packages: list[dict[str, str]]) -> None:
    """One tab-separated line a package; no time stamp and no name in the gzip header, so the bytes repeat."""
    lines = ("\t".join(package[column] for column in COLUMNS) for package in packages)
    text = "\n".join(("\t".join(COLUMNS), *lines, ""))
    destination.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def main() -> None:
    arguments = argparse.ArgumentParser(description="Draw the sample from the full set.")
    arguments.add_argument("source", type=Path, help="folder of the full set")
    arguments.add_argument("destination", type=Path, help="folder to write the sample to")
    chosen = arguments.parse_args()
    source, destination = chosen.source, chosen.destination

    vectors = np.load(source / "base.f16.npy", mmap_mode="r")
    targets = np.load(source / "target.npy")
    if len(np.unique(targets)) != len(targets):
        raise SystemExit("two queries have the same target: row i could no longer belong to query i")
    with gzip.open(source / "docs.jsonl.gz", "rt", encoding="utf-8") as lines:
        packages = [json.loads(line) for line in lines]

    rows = choose_rows(targets, len(vectors))
    destination.mkdir(parents=True, exist_ok=True)
    np.save(destination / "vectors.f16.npy", vectors[rows])
    np.save(destination / "queries.f16.npy", np.load(source / "queries.f16.npy"))
    write_packages(destination / "packages.tsv.gz", [packages[row] for row in rows])


if __name__ == "__main__":
    main()
