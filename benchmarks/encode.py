#!/usr/bin/env python3
"""How fast Nearfield takes rows in, for every way it can keep them, and how fast it opens a mapped file.

Peers are not asked: each codec is held against the others. One thread, rows that are there as float32. What
the installed version does not have is named and passed over.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from tabulate import tabulate

from datasets import normalized
from engines import Vectors

CODECS = ("f32", "f16", "bf16", "u8", "i8", "n8", "turbo2", "turbo3", "turbo4", "rabitq1")
#: Codecs of whole numbers, and the values they hold; the others get rows of length 1.
WHOLE = {"u8": (0, 255), "i8": (-127, 127)}
BITS = range(1, 9)
#: What a version without an index, an argument or a codec answers with.
Missing = (AttributeError, TypeError, ValueError)


@dataclass(frozen=True)
class Way:
    """One way of keeping rows: a class of the package, by name, and what it is told."""

    index: str
    metric: str = "cosine"
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return " ".join([self.index, *(f"{name}={value}" for name, value in self.options.items())])

    def made(self, dim: int, threads: int | None) -> Any:
        nearfield = importlib.import_module("nearfield")
        return getattr(nearfield, self.index)(dim, self.metric, **self.options, threads=threads)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    print(f"nearfield {importlib.metadata.version('nearfield')}, median of {options.repeat} (min-max)\n")
    shape = (options.rows, options.dim)
    encoded = [encode_line(way, shape, options.repeat) for way in ways()]
    headers = [f"{shape[0]:,} x {shape[1]}, one thread", "rows/s", "bytes/vector"]
    print(told(encoded, headers))
    shape = (options.mapped_rows, options.mapped_dim)
    mapped = [Way("FlatIndex", "l2"), Way("QuantizedIndex", "l2", {"bits": 4})]
    opened = [open_line(way, shape, options.repeat, options.dir) for way in mapped]
    headers = [f"{shape[0]:,} x {shape[1]}, mapped", "file MB", "open ms", "open and first query ms"]
    print("\n" + told(opened, headers))


def ways() -> list[Way]:
    codecs = [Way("FlatIndex", "l2" if codec in WHOLE else "cosine", {"codec": codec}) for codec in CODECS]
    plain = Way("FlatIndex", options={"codec": "f32", "accelerate": False})
    return [plain, *codecs, *(Way("QuantizedIndex", options={"bits": bits}) for bits in BITS)]


def encode_line(way: Way, shape: tuple[int, int], repeat: int) -> list[str]:
    rows = values(shape, WHOLE.get(way.options.get("codec", "")))
    speeds = []
    try:
        way.made(shape[1], 1).add(rows[:1_000])  # code and pools are loaded before the clock starts
        for _ in range(repeat):
            index = way.made(shape[1], 1)
            start = time.perf_counter()
            index.add(rows)
            speeds.append(len(rows) / (time.perf_counter() - start))
    except Missing as error:
        return [str(way), f"SKIPPED: {type(error).__name__}: {error}"]
    return [str(way), spread(speeds), f"{index.stats()['bytes_per_vector']:,.1f}"]


def open_line(way: Way, shape: tuple[int, int], repeat: int, folder: str | None) -> list[str]:
    """The file has just been written and lies in the system's cache: the package is timed, not the disk."""
    rows = values(shape, WHOLE["u8"])
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = Path(scratch) / "index"
        try:
            index = way.made(shape[1], None)
            index.add(rows)
            index.save(path)
            del index
            opened, answered = [], []
            for _ in range(repeat):
                start = time.perf_counter()
                index = importlib.import_module("nearfield").load(path, mmap=True)
                opened.append((time.perf_counter() - start) * 1e3)
                index.search(rows[0], 10, threads=1)
                answered.append((time.perf_counter() - start) * 1e3)
                del index
        except Missing as error:
            return [str(way), f"SKIPPED: {type(error).__name__}: {error}"]
        return [str(way), f"{path.stat().st_size / 1e6:,.0f}", spread(opened), spread(answered)]


def values(shape: tuple[int, int], whole: tuple[int, int] | None) -> Vectors:
    generator = np.random.default_rng(0)
    if whole is None:
        return normalized(generator.standard_normal(shape, dtype=np.float32))
    return generator.integers(*whole, shape, endpoint=True, dtype=np.int16).astype(np.float32)


def spread(figures: Sequence[float]) -> str:
    low, middle, high = (
        f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"
        for figure in (min(figures), median(figures), max(figures))
    )
    return f"{middle} ({low}-{high})"


def told(lines: list[list[str]], headers: list[str]) -> str:
    text: str = tabulate(lines, headers, tablefmt="github", disable_numparse=True)
    return text


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--rows", type=int, default=100_000, help="rows to take in")
    add("--dim", type=int, default=384, help="their dimension")
    add("--mapped-rows", type=int, default=1_000_000, help="rows of the file to open")
    add("--mapped-dim", type=int, default=128, help="their dimension")
    add("--repeat", type=int, default=5, help="how often each is measured")
    add("--dir", help="where the file is written: a folder with room for it")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
