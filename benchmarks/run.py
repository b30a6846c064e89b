#!/usr/bin/env python3
"""Race Nearfield against its peers over the same data. What the figures mean: benchmarks/README.md."""

from __future__ import annotations

import argparse
import importlib.metadata
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import cast

import datasets
from engines import REGISTRY, engine_class, label
from machine import command_line, describe_commit, describe_machine
from measure import Mode
from race import Contender, Race, Settings
from report import Report

Formatter = argparse.ArgumentDefaultsHelpFormatter
RECORDS = Path(__file__).parent / "record"
#: What --quick stands for: enough to see that everything runs, too little to say which engine is fast.
QUICK = {"rows": 4_000, "queries": 200, "rounds": 2, "seconds": 0.02, "sweep": [10, 20, 40, 80, 160]}


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    if options.list:
        list_engines()
        return
    found = datasets.find(options.data, options.rows, options.queries)
    for dataset in found:
        dataset.metric()  # data that cannot be read should stop the run now, not after an hour
    started = datetime.now(timezone.utc)
    folder = output_folder(options, started)
    settings = Settings(
        k=options.k,
        rounds=options.rounds,
        build_rounds=options.build_rounds,
        threads=options.threads,
        build_threads=options.build_threads,
        min_seconds=options.seconds,
        modes=tuple(cast(list[Mode], options.mode)),
        sweep=tuple(options.sweep),
    )
    report = Report(
        name=options.name,
        started=started.isoformat(timespec="seconds"),
        command=command_line(),
        commit=describe_commit(),
        machine=describe_machine(),
        settings=settings,
    )
    for dataset in found:
        contenders = entered(options.engines, options.m, options.ef_construction)
        Race(dataset, contenders, settings).run()
        report.heats.append((dataset, contenders))
        print("\n".join(["", *report.section(dataset, contenders)]), flush=True)
        if folder:
            report.write(folder)  # after each data set: an interrupted run keeps what it has
    if folder:
        print(f"\nwritten to {folder}")


def entered(engines: Sequence[str], m: Sequence[int], ef_construction: int) -> list[Contender]:
    """Every variant of every wanted engine, as a contender of its own."""
    return [
        Contender(name, label(name, params), engine_class(name), params)
        for name in engines
        for params in engine_class(name).variants(m, ef_construction)
    ]


def output_folder(options: argparse.Namespace, started: datetime) -> Path | None:
    """Where the record goes. A quick run is no measurement, so it leaves none unless told where."""
    if options.out:
        return Path(options.out)
    if options.quick:
        return None
    folder = RECORDS / f"{started:%Y-%m-%d}-{options.name}"
    if folder.exists():
        raise SystemExit(f"{folder} exists, and records are not overwritten: give --name or --out")
    return folder


def list_engines() -> None:
    for name in REGISTRY:
        engine = engine_class(name)
        try:
            version = engine.version()
        except importlib.metadata.PackageNotFoundError:
            version = f"not installed: pip install {engine.distribution}"
        print(f"{name:16} {engine.kind:6} {' '.join(sorted(engine.metrics)):14} {version}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add = parser.add_argument
    add("--list", action="store_true", help="list the engines and leave")
    add("--engines", type=engine_names, default=list(REGISTRY), metavar="NAME,...", help="which to race")
    add("--data", type=words, default=[], metavar="NAME,...", help="names under NEARFIELD_DATA, or paths")
    add("--quick", action="store_true", help="a smoke run on a few thousand rows")
    add("--rows", type=int, help="take only the first rows")
    add("--queries", type=int, default=1_000, help="take only the first queries")
    add("--k", type=int, default=10, help="neighbours asked for")
    add("--m", type=numbers, default=[16], metavar="M,...", help="graph degrees, each a contender of its own")
    add("--ef-construction", type=int, default=200, help="beam width of graph builds")
    add(
        "--sweep",
        type=numbers,
        default=[],
        metavar="EF,...",
        help="search values instead of the engines' own",
    )
    add("--mode", type=mode_names, default=["single", "batch"], metavar="MODE,...", help="single, batch")
    add("--rounds", type=int, default=5, help="how often each engine is measured, in turn")
    add("--seconds", type=float, default=0.25, help="shortest measurement")
    add("--build-rounds", type=int, default=1, help="how often each engine builds, in turn")
    add("--threads", type=int, default=1, help="threads of a search")
    add("--build-threads", type=int, default=2, help="threads of a build")
    add("--name", default="local", help="what the record is called, after the date")
    add("--out", metavar="DIR", help="write the record here instead")
    options = parser.parse_args(arguments)
    if options.quick:
        parser.set_defaults(**QUICK)
        options = parser.parse_args(arguments)
    return options


def words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def numbers(text: str) -> list[int]:
    return [int(word) for word in words(text)]


def engine_names(text: str) -> list[str]:
    return _known(words(text), tuple(REGISTRY))


def mode_names(text: str) -> list[str]:
    return _known(words(text), ("single", "batch"))


def _known(names: list[str], allowed: tuple[str, ...]) -> list[str]:
    for name in names:
        if name not in allowed:
            raise argparse.ArgumentTypeError(f"{name!r}: expected some of {', '.join(allowed)}")
    return names


if __name__ == "__main__":
    main()
