"""How fast filtered searches are, whatever a filter lets through, beside other databases inside the process.

    python benchmarks/filters.py --data debian-minilm-384 --rounds 5

The idea: a filter that lets nearly everything through and one that lets five rows through are different
tasks, and a database has to be good at all of them. So filters of three kinds (equality, range, compound) are
chosen from the data's own metadata to match about 0.01, 0.1, 1, 10, 50 and 99 % of the rows. All databases
stay alive, each in a process of its own, and are measured in turn: filter by filter, round by round, one
query a call. A figure is the median over the rounds; the ratio is the median of those within each round, of
Nearfield to the best peer. Recall is of the exact ten nearest among the rows that match.

The data needs `docs.jsonl.gz` beside its vectors: a line a row, with section, priority and installed_size.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.metadata
import json
import multiprocessing
import operator
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from databases import DATABASES, FIELDS, Filter
from datasets import Dataset, find
from engines import Vectors
from machine import describe_commit, describe_machine

K = 10
SHARES = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.99)


class Case(NamedTuple):
    """A filter, and what it should find."""

    kind: str
    wanted: float
    where: Filter | None
    share: float
    truth: list[NDArray[np.int64]]


def metadata(data: Dataset) -> list[dict[str, Any]]:
    with gzip.open(Path(data.path) / "docs.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    return [{field: row[field] for field in FIELDS} for row in rows[: data.max_rows]]


# ---- filters


def holds(where: Filter, columns: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Which rows match."""
    mask = np.ones(len(columns["section"]), bool)
    tests: dict[str, Callable[[Any, Any], Any]] = {
        "eq": operator.eq, "in": np.isin, "lt": operator.lt, "ge": operator.ge,
    }  # fmt: skip
    for field, name, value in where:
        mask &= tests[name](columns[field], value)
    return mask


def chosen(columns: dict[str, NDArray[Any]]) -> list[tuple[str, float, Filter]]:
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
    return filters


def equality(
    columns: dict[str, NDArray[Any]],
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


def compound(columns: dict[str, NDArray[Any]], sections: NDArray[Any], share: float) -> Filter:
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


def cases(base: Vectors, queries: Vectors, columns: dict[str, NDArray[Any]]) -> list[Case]:
    unit = base / np.linalg.norm(base, axis=1, keepdims=True)
    asked = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    made = []
    for kind, share, where in [("none", 1.0, None), *chosen(columns)]:
        rows = np.arange(len(base)) if where is None else np.flatnonzero(holds(where, columns))
        scores = asked @ unit[rows].T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        made.append(Case(kind, share, where, len(rows) / len(base), list(rows[best])))
    return made


# ---- one database in a process of its own


def serve(pipe: Connection, name: str, folder: Path, data: Dataset, count: int) -> None:
    """Loads or opens, then measures whatever it is asked for."""
    base, queries = data.base(), data.queries()[:count]
    try:
        database = DATABASES[name](folder, base.shape[1])
        began = time.perf_counter()
        if folder.exists():
            database.open()
        else:
            database.load(base, metadata(data))
        pipe.send(time.perf_counter() - began)
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        return
    del base
    while (asked := pipe.recv()) is not None:
        where, seconds = asked
        try:
            pipe.send(measured(database.searcher(where), queries, seconds))
        except Exception as error:
            pipe.send(f"{type(error).__name__}: {error}")


def measured(search: Any, queries: Vectors, seconds: float) -> tuple[list[float], list[NDArray[np.int64]]]:
    """Seconds and answers of each query, as many as can be asked in the time, three at least."""
    found = [search(queries[0], K)]  # not timed: whatever is done once for a filter
    taken: list[float] = []
    while len(taken) < len(queries) and (len(taken) < 3 or sum(taken) < seconds):
        began = time.perf_counter()
        answer = search(queries[len(taken)], K)
        taken.append(time.perf_counter() - began)
        if len(taken) > 1:
            found.append(answer)
    return taken, found


def recall(found: list[NDArray[np.int64]], truth: list[NDArray[np.int64]]) -> float:
    shares = [len(np.intersect1d(a, b)) / max(len(b), 1) for a, b in zip(found, truth, strict=False)]
    return float(np.mean(shares))


# ---- the race


class Contender:
    def __init__(self, name: str, folder: Path, data: Dataset, count: int) -> None:
        self.name = name
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(theirs, name, folder, data, count), daemon=True)
        self.process.start()
        self.ready = self.pipe.recv()

    def ask(self, where: Filter | None, seconds: float) -> Any:
        self.pipe.send((where, seconds))
        return self.pipe.recv()


def race(contenders: list[Contender], made: list[Case], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """What each did at each filter, in each round."""
    figures = []
    for number in range(rounds):
        for case in made:
            for contender in contenders:
                told = contender.ask(case.where, seconds)
                figure: dict[str, Any] = {"round": number, "kind": case.kind, "wanted": case.wanted}
                figure |= {"share": case.share, "where": case.where, "database": contender.name}
                if isinstance(told, str):
                    figure["error"] = told
                else:
                    taken, found = told
                    figure |= {"qps": len(taken) / sum(taken), "queries": len(taken)}
                    figure["p50_ms"], figure["p99_ms"] = (
                        float(np.quantile(taken, q)) * 1e3 for q in (0.5, 0.99)
                    )
                    figure["recall"] = recall(found, case.truth)
                    fewest = min(len(a) - len(b) for a, b in zip(found, case.truth, strict=False))
                    figure["missing"] = -min(fewest, 0)
                figures.append(figure)
    return figures


def summary(figures: list[dict[str, Any]], names: list[str]) -> str:
    """A table: queries a second (recall), and the ratio of the first to the best of its peers."""
    ours = [name for name in names if name.startswith("nearfield")]
    lines = [
        "| filter | matches | " + " | ".join(names) + " | ratio |",
        "|" + "---|" * (len(names) + 3),
    ]
    for kind, wanted in dict.fromkeys((figure["kind"], figure["wanted"]) for figure in figures):
        mine = [figure for figure in figures if (figure["kind"], figure["wanted"]) == (kind, wanted)]
        cells = [kind, f"{mine[0]['share']:.3%}"]
        for name in names:
            own = [figure for figure in mine if figure["database"] == name and "qps" in figure]
            if not own:
                cells.append("failed")
                continue
            qps, found = (statistics.median(figure[what] for figure in own) for what in ("qps", "recall"))
            short = f", {max(f['missing'] for f in own)} short" if any(f["missing"] for f in own) else ""
            cells.append(f"{qps:,.0f} ({found:.3f}{short})")
        ratios = []
        for number in {figure["round"] for figure in mine}:
            now = {f["database"]: f["qps"] for f in mine if f["round"] == number and "qps" in f}
            peers = [qps for name, qps in now.items() if name not in ours]
            if peers and names[0] in now:
                ratios.append(now[names[0]] / max(peers))
        cells.append(f"{statistics.median(ratios):.2f}x" if ratios else "-")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def installed(names: list[str]) -> dict[str, str]:
    found = {}
    for name in names:
        if name not in DATABASES:
            raise SystemExit(f"{name} is unknown; there are {', '.join(DATABASES)}")
        try:
            found[name] = importlib.metadata.version(DATABASES[name].distribution)
        except importlib.metadata.PackageNotFoundError:
            print(f"SKIPPED: {name} is not installed")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", default="debian-minilm-384", help="a folder, or a name under NEARFIELD_DATA"
    )
    parser.add_argument("--databases", default=",".join(DATABASES), help="the one that counts first")
    parser.add_argument("--kinds", default="none,equality,range,compound")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, help="take only so many")
    parser.add_argument("--queries", type=int, default=300, help="at most, a filter and round")
    parser.add_argument("--seconds", type=float, default=0.2, help="at most, a filter and round")
    parser.add_argument("--keep", type=Path, help="load into this folder, or open what is there")
    parser.add_argument("--out", type=Path, help="write record.json and summary.md into this folder")
    options = parser.parse_args()
    (data,) = find([options.data], options.rows, options.queries)
    base, queries, rows = data.base(), data.queries()[: options.queries], metadata(data)
    columns = {field: np.array([row[field] for row in rows]) for field in FIELDS}
    made = [case for case in cases(base, queries, columns) if case.kind in options.kinds.split(",")]
    versions = installed(options.databases.split(","))
    with tempfile.TemporaryDirectory() as folder:
        keep = options.keep or Path(folder)
        keep.mkdir(exist_ok=True)
        contenders = []
        for name in versions:
            contender = Contender(name, keep / name, data, options.queries)
            print(f"{name} {versions[name]}: ready, {contender.ready}")
            contenders += [contender] if isinstance(contender.ready, float) else []
        figures = race(contenders, made, options.rounds, options.seconds)
        for contender in contenders:
            contender.pipe.send(None)
            contender.process.join()
    table = summary(figures, [contender.name for contender in contenders])
    print(table)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        about: dict[str, Any] = {
            "versions": versions,
            "machine": describe_machine(),
            "commit": describe_commit(),
            "data": data.name,
        }
        (options.out / "record.json").write_text(json.dumps({**about, "figures": figures}, indent=1) + "\n")
        (options.out / "summary.md").write_text(f"# Filtered searches on {data.name}\n\n{table}\n")


if __name__ == "__main__":
    main()
