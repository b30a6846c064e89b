"""How fast filtered searches are, whatever a filter lets through, beside other databases inside the process.

    python benchmarks/filters.py --data debian-minilm-384 --rounds 5

The idea: a filter that lets nearly everything through and one that lets five rows through are different
tasks, and a database has to be good at all of them. So filters of three kinds (equality, range, compound) are
chosen from the data's own metadata to match about 0.01, 0.1, 1, 10, 50 and 99 % of the rows. All databases
stay alive, each in a process of its own, and are measured in turn: filter by filter, round by round, one
query a call. Queries a second are those of the median query, which what else runs on the machine hardly
changes; a 99th percentile has all of it. A figure is the median over the rounds; the ratio is the median of
those within each round, of Nearfield to the best peer. Recall is of the exact ten nearest among the rows that
match.

Where the data has no metadata beside its vectors, they are made up (see `tags.py`), and there is a fourth
kind of filter, topic, whose rows lie together.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import multiprocessing
import shutil
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from databases import DATABASES, Filter, Schema
from datasets import Dataset, find, normalized
from engines import Vectors
from machine import describe_commit, describe_machine
from tags import Columns, chosen, columns_of, holds, rows_of

K = 10


class Case(NamedTuple):
    """A filter, and what it should find."""

    kind: str
    wanted: float
    where: Filter | None
    share: float
    truth: list[NDArray[np.int64]]


def cases(data: Dataset, columns: Columns) -> list[Case]:
    """The filters, and the nearest rows that each matches, with all that are as near as the last."""
    base, queries = data.base(), data.queries()
    if data.metric() == "cosine":
        base, queries = normalized(base), normalized(queries)
    offset = (
        np.einsum("nd,nd->n", base, base) / 2 if data.metric() == "l2" else np.zeros(len(base), np.float32)
    )
    made = []
    for kind, share, where in [("none", 1.0, None), *chosen(columns)]:
        rows = np.arange(len(base)) if where is None else np.flatnonzero(holds(where, columns))
        made.append((Case(kind, share, where, len(rows) / len(base), []), rows))
    for query in queries:
        scores = base @ query - offset
        for case, rows in made:
            among = scores[rows]
            last = np.partition(among, -K)[-K] if len(rows) > K else -np.inf
            case.truth.append(rows[among >= last])
    return [case for case, _ in made]


# ---- one database in a process of its own


def serve(pipe: Connection, name: str, folder: Path, data: Dataset, count: int) -> None:
    """Loads or opens, then measures whatever it is asked for."""
    base, queries = data.base(), data.queries()[:count]
    try:
        columns = columns_of(data)
        fields: dict[str, type] = {
            field: str if column.dtype.kind == "U" else int for field, column in columns.items()
        }
        database = DATABASES[name](folder, Schema(base.shape[1], data.metric(), fields))
        began = time.perf_counter()
        # What was interrupted while it loaded is no database.
        loaded = folder.with_name(f"{name}.loaded")
        if loaded.exists():
            database.open()
        else:
            shutil.rmtree(folder, ignore_errors=True)
            database.load(base, rows_of(columns))
            loaded.touch()
        pipe.send(time.perf_counter() - began)
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        return
    del base, columns
    while (asked := pipe.recv()) is not None:
        where, seconds = asked
        try:
            pipe.send(measured(database.searcher(where), queries, seconds))
        except Exception as error:
            pipe.send(f"{type(error).__name__}: {error}")


def measured(search: Any, queries: Vectors, seconds: float) -> tuple[list[float], list[NDArray[np.int64]]]:
    """Seconds and answers of each query, as many as can be asked in the time, three at least."""
    found = [search(queries[0], K)]  # not timed: whatever is done once for a filter
    # Nor the first look at files, for half of that time: others have had the caches since the last round.
    began = time.perf_counter()
    for query in queries[1:]:
        if time.perf_counter() - began > seconds / 2:
            break
        search(query, K)
    taken: list[float] = []
    while len(taken) < len(queries) and (len(taken) < 3 or sum(taken) < seconds):
        began = time.perf_counter()
        answer = search(queries[len(taken)], K)
        taken.append(time.perf_counter() - began)
        if len(taken) > 1:
            found.append(answer)
    return taken, found


def recall(found: list[NDArray[np.int64]], truth: list[NDArray[np.int64]]) -> float:
    shares = [len(np.intersect1d(a, b)) / max(min(K, len(b)), 1) for a, b in zip(found, truth, strict=False)]
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
                    figure |= {"qps": 1 / statistics.median(taken), "queries": len(taken)}
                    figure["p50_ms"], figure["p99_ms"] = (
                        float(np.quantile(taken, q)) * 1e3 for q in (0.5, 0.99)
                    )
                    figure["recall"] = recall(found, case.truth)
                    fewest = min(len(a) - min(K, len(b)) for a, b in zip(found, case.truth, strict=False))
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


def slowest(figures: list[dict[str, Any]], names: list[str]) -> str:
    """Of each, the 99th percentile without a filter, and that of the filter where it is largest."""
    lines = ["| p99, ms | without a filter | at the worst filter | times |", "|---|---|---|---|"]
    for name in names:
        taken: dict[tuple[str, float], list[float]] = {}
        for figure in figures:
            if figure["database"] == name and "p99_ms" in figure:
                taken.setdefault((figure["kind"], figure["wanted"]), []).append(figure["p99_ms"])
        medians = {case: statistics.median(values) for case, values in taken.items()}
        plain = medians.pop(("none", 1.0), None)
        if plain is None or not medians:
            continue
        kind, share = max(medians, key=lambda case: medians[case])
        worst = medians[kind, share]
        lines.append(f"| {name} | {plain:.3f} | {worst:.3f} ({kind}, {share:.2%}) | {worst / plain:.1f} |")
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
    parser.add_argument("--kinds", default="none,equality,range,compound,topic")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, help="take only so many")
    parser.add_argument("--queries", type=int, default=300, help="at most, a filter and round")
    parser.add_argument("--seconds", type=float, default=0.2, help="at most, a filter and round")
    parser.add_argument("--keep", type=Path, help="load into this folder, or open what is there")
    parser.add_argument("--out", type=Path, help="write record.json and summary.md into this folder")
    options = parser.parse_args()
    (data,) = find([options.data], options.rows, options.queries)
    made = [case for case in cases(data, columns_of(data)) if case.kind in options.kinds.split(",")]
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
    names = [contender.name for contender in contenders]
    table = f"{summary(figures, names)}\n\n{slowest(figures, names)}"
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
