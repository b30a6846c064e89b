#!/usr/bin/env python3
"""Race Nearfield against its peers over the same data. What the figures mean: benchmarks/README.md."""

from __future__ import annotations

import argparse
import importlib.metadata
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import datasets
from engines import REGISTRY, engine_class, label
from machine import command_line, describe_commit, describe_machine, measure_limits
from measure import batch_mode
from race import Contender, Race, Settings
from report import Heat, Report

Group = argparse._ArgumentGroup
Formatter = argparse.ArgumentDefaultsHelpFormatter
RECORDS = Path(__file__).parent / "record"
#: What --quick stands for: enough to see that everything runs, too little to say which engine is fast.
QUICK = {
    "rows": 4_000,
    "queries": 200,
    "rounds": 2,
    "seconds": 0.02,
    "sweep": [10, 20, 40, 80, 160],
    "factors": [1, 2, 4, 8],
    "limits": False,
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    if options.list:
        list_engines()
        return
    found = datasets.find(options.data, options.rows, options.queries)
    for dataset in found:  # what cannot be done should stop the run now, not after an hour
        dataset.metric()
        there = len(dataset.queries())
        if max(options.batches, default=1) > there:
            raise SystemExit(f"--batches: {dataset.name} has {there} queries, too few for one of that size")
    started = datetime.now(timezone.utc)
    folder = output_folder(options, started)
    settings = settings_of(options)
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
        # One thread over all rows is what the limits speak of.
        limited = options.limits and options.threads == 1 and options.filter is None
        before = measure_limits() if limited else None
        if limited and before is None:
            print("no limits of the machine: cargo, or what it should build, is not there")
        Race(dataset, contenders, settings).run()
        after = measure_limits() if before else None  # clocks move, and a limit is what could be reached
        heat = Heat(dataset, contenders, before.with_best_of(after) if before and after else None)
        report.heats.append(heat)
        print("\n".join(["", *report.section(heat)]), flush=True)
        if folder:
            report.write(folder)  # after each data set: an interrupted run keeps what it has
    if folder:
        print(f"\nwritten to {folder}")


def settings_of(options: argparse.Namespace) -> Settings:
    modes = options.mode
    if options.batches:
        modes = [mode for mode in modes if mode == "single"] + [batch_mode(size) for size in options.batches]
    return Settings(
        k=options.k,
        rounds=options.rounds,
        build_rounds=options.build_rounds,
        threads=options.threads,
        build_threads=options.build_threads,
        min_seconds=options.seconds,
        modes=tuple(modes),
        sweeps={"ef": tuple(options.sweep), "factor": tuple(options.factors)},
        filter_share=options.filter,
    )


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
        filters = "filters" if engine.filters else ""
        print(f"{name:16} {engine.kind:6} {' '.join(sorted(engine.metrics)):14} {filters:7} {version}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add = parser.add_argument
    add("--list", action="store_true", help="list the engines and leave")
    add("--engines", type=engine_names, default=list(REGISTRY), metavar="NAME,...", help="which to race")
    add(
        "--data",
        type=words,
        default=[],
        metavar="NAME,...",
        help="names under NEARFIELD_DATA, paths, or NAME=PATH",
    )
    add("--quick", action="store_true", help="a smoke run on a few thousand rows")
    add("--rows", type=int, help="take only the first rows")
    add("--queries", type=int, default=1_000, help="take only the first queries")
    add("--filter", type=share, metavar="SHARE", help="allow only this share of the rows, chosen by chance")
    add("--name", default="local", help="what the record is called, after the date")
    add("--out", metavar="DIR", help="write the record here instead")
    add_settings(parser.add_argument_group("how engines are set"))
    add_measuring(parser.add_argument_group("how they are measured"))
    options = parser.parse_args(arguments)
    if options.quick:
        parser.set_defaults(**QUICK)
        options = parser.parse_args(arguments)
    return options


def add_settings(group: Group) -> None:
    add = group.add_argument
    add("--k", type=int, default=10, help="neighbours asked for")
    add("--m", type=numbers, default=[16], metavar="M,...", help="graph degrees, each a contender of its own")
    add("--ef-construction", type=int, default=200, help="beam width of graph builds")
    add("--sweep", type=numbers, default=[], metavar="EF,...", help="beam widths, for graphs that have one")
    add("--factors", type=factors, default=[], metavar="F,...", help="rerank factors, instead of theirs")
    add("--threads", type=int, default=1, help="threads of a search")
    add("--build-threads", type=int, default=2, help="threads of a build")


def add_measuring(group: Group) -> None:
    add = group.add_argument
    add("--mode", type=mode_names, default=["single", "batch"], metavar="MODE,...", help="single, batch")
    add("--batches", type=numbers, default=[], metavar="SIZE,...", help="batch sizes, instead of all queries")
    add("--rounds", type=int, default=5, help="how often each engine is measured, in turn")
    add("--seconds", type=float, default=0.25, help="shortest measurement")
    add("--build-rounds", type=int, default=1, help="how often each engine builds, in turn")
    limits = "measure, with cargo, what one thread of the machine can do, and hold scans against it"
    add("--limits", action=argparse.BooleanOptionalAction, default=True, help=limits)


def words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def numbers(text: str) -> list[int]:
    return [int(word) for word in words(text)]


def factors(text: str) -> list[float]:
    """Whole where they can be: they stand in tables."""
    return [float(word) if "." in word else int(word) for word in words(text)]


def share(text: str) -> float:
    part = float(text)
    if not 0 < part < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a share between 0 and 1")
    return part


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
