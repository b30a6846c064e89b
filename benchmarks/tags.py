"""What rows say beside their vectors, and filters that match about as many of them as they should.

A folder of data with `docs.jsonl.gz` says it itself: a line a row, with section, priority and installed_size.
Other data get tags that are made up, the same ones in every process: sections by chance, sizes evenly spread,
a priority that nearly all rows share, and topics that go with the vectors: a topic is the rows nearest to one
of them. To most queries such rows are far away, which is harder than any choice by chance.
"""

from __future__ import annotations

import gzip
import json
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from databases import Filter
from datasets import Dataset

#: What of the rows filters should match.
SHARES = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.99)

Columns = dict[str, NDArray[Any]]


def columns_of(data: Dataset) -> Columns:
    """What the rows say, by field."""
    file = Path(data.path) / "docs.jsonl.gz"
    if not file.exists():
        return made_up(data)
    with gzip.open(file, "rt") as lines:
        rows = [json.loads(line) for line in lines][: data.max_rows]
    return {
        field: np.array([row[field] for row in rows]) for field in ("section", "priority", "installed_size")
    }


def made_up(data: Dataset) -> Columns:
    base, dice = data.base(), np.random.default_rng(0)
    count, some = len(base), [share for share in SHARES if share <= 0.5]
    rare = (1 - sum(some)) / 100
    names = [f"section-{i}" for i in range(len(some) + 100)]
    topics = np.full(count, "none", dtype="U8")
    # The largest comes last, so that it takes nothing from the others.
    for i, share in reversed(list(enumerate(sorted(some, reverse=True)))):
        distances = np.linalg.norm(base - base[dice.integers(count)], axis=1)
        distances[topics != "none"] = np.inf
        wanted = max(int(share * count), 1)
        topics[np.argpartition(distances, wanted - 1)[:wanted]] = f"topic-{i}"
    return {
        "section": dice.choice(names, count, p=[*some, *[rare] * 100]),
        "priority": np.where(dice.random(count) < 0.995, "optional", "standard"),
        "installed_size": dice.integers(1_000_000, size=count),
        "topic": topics,
    }


def rows_of(columns: Columns) -> list[dict[str, Any]]:
    values = [column.tolist() for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]


def holds(where: Filter, columns: Columns) -> NDArray[np.bool_]:
    """Which rows match."""
    mask = np.ones(len(columns["section"]), bool)
    tests: dict[str, Callable[[Any, Any], Any]] = {
        "eq": operator.eq, "in": np.isin, "lt": operator.lt, "ge": operator.ge,
    }  # fmt: skip
    for field, name, value in where:
        mask &= tests[name](columns[field], value)
    return mask


def chosen(columns: Columns) -> list[tuple[str, float, Filter]]:
    """Filters that match about as many rows as they should."""
    sizes = np.sort(columns["installed_size"])
    names, counts = np.unique(columns["section"], return_counts=True)
    by_count = np.argsort(-counts, kind="stable")
    filters: list[tuple[str, float, Filter]] = []
    for share in SHARES:
        filters.append(("equality", share, equality(columns, names, counts, by_count, share)))
        # One more than a size that there is: so something matches, and all rows of that size do.
        limit = int(sizes[min(int(share * len(sizes)), len(sizes) - 1)]) + 1
        filters.append(("range", share, [("installed_size", "lt", limit)]))
        filters.append(("compound", share, compound(columns, names[by_count], share)))
        if "topic" in columns and share <= 0.5:
            topics, often = np.unique(columns["topic"], return_counts=True)
            far_off = np.abs(np.log(often / (share * len(sizes))))
            nearest = np.argmin(np.where(topics == "none", np.inf, far_off))
            filters.append(("topic", share, [("topic", "eq", str(topics[nearest]))]))
    return filters


def equality(
    columns: Columns,
    names: NDArray[Any],
    counts: NDArray[np.int64],
    by_count: NDArray[np.int64],
    share: float,
) -> Filter:
    """One value where one matches about so many rows, several where none does."""
    rows = len(columns["section"])
    values = [("section", str(name), count) for name, count in zip(names, counts, strict=True)]
    for field in ("priority", "installed_size"):
        more, often = np.unique(columns[field], return_counts=True)
        values += [(field, name.item(), count) for name, count in zip(more, often, strict=True)]
    field, value, count = min(values, key=lambda one: abs(np.log(one[2] / (share * rows))))
    if 0.7 < count / (share * rows) < 1.4:
        return [(field, "eq", value)]
    fit = int(np.searchsorted(np.cumsum(counts[by_count]), share * rows)) + 1
    return [("section", "in", [str(name) for name in names[by_count[:fit]]])]


def compound(columns: Columns, sections: NDArray[Any], share: float) -> Filter:
    """A priority, several sections and a range of sizes."""
    common = str(max(np.unique(columns["priority"]), key=lambda name: (columns["priority"] == name).sum()))
    few = [str(name) for name in sections[: 4 if share <= 0.1 else max(4, int(len(sections) * 0.9))]]
    where: Filter = [("priority", "eq", common), ("section", "in", few)]
    mask = holds(where, columns)
    inside = np.sort(columns["installed_size"][mask])
    wanted = int(share * len(mask))
    if wanted >= len(inside):
        return [("priority", "eq", common), ("installed_size", "ge", int(inside[0]))]
    return [*where, ("installed_size", "lt", int(inside[wanted]) + 1)]
