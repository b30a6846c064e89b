#!/usr/bin/env python3
"""What more rows cost: the speed of an engine at one recall, over data sets of several sizes, in turn.

    python benchmarks/growth.py --data photos-sift-128-300k,sift-1m=/path/to/folder --sweep 32,40,48,56

run.py goes through one data set after the other, and the machine may be slower by then. Here the indexes over
all of them are built first and stay alive; each round measures every one. A ratio is the median of those
within the rounds: queries per second over a data set, of those over the first.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from statistics import median

from tabulate import tabulate

import datasets
from curve import qps_at
from measure import Mode
from race import Contender, Race, Settings, in_turn
from run import engine_names, entered, numbers, words

K = 10
MODES: tuple[Mode, ...] = ("single", "batch")
#: How graphs are built: as run.py has it unless told otherwise.
DEGREES, EF_CONSTRUCTION = [16], 200


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    found = datasets.find(options.data, None, options.queries)
    settings = Settings(
        k=K,
        rounds=options.rounds,
        build_rounds=1,
        threads=1,
        build_threads=options.build_threads,
        min_seconds=options.seconds,
        modes=MODES,
        sweeps={"ef": tuple(options.sweep)},
        filter_share=None,
    )
    races = [Race(dataset, entered(options.engines, DEGREES, EF_CONSTRUCTION), settings) for dataset in found]
    try:
        for race in races:
            race.build()
        for number in range(options.rounds):
            for race in in_turn(races, number):
                race.round(number)
    finally:
        for race in races:
            race.close()
    names = [race.dataset.name for race in races]
    headers = ["engine", "queries", *names, *(f"{name}, of {names[0]}" for name in names[1:])]
    print(f"queries a second at recall {options.recall}, median of {options.rounds} rounds (least-most)\n")
    print(tabulate(table(races, options.recall), headers, tablefmt="github", disable_numparse=True))


def table(races: Sequence[Race], recall: float) -> Iterator[list[str]]:
    """A line for each engine and way to ask."""
    for sizes in zip(*(race.contenders for race in races), strict=True):
        for mode in MODES:
            figures = [qps_at(contender, mode, recall) for contender in sizes]
            speeds = [spread(rounds, ",.0f") for rounds in figures]
            yield [sizes[0].label, mode, *speeds, *(ratio(rounds, figures[0]) for rounds in figures[1:])]
        yield from ([contender.label, f"out: {contender.failure}"] for contender in failed(sizes))


def failed(contenders: Sequence[Contender]) -> list[Contender]:
    return [contender for contender in contenders if contender.failure is not None]


def ratio(rounds: list[float], first: list[float]) -> str:
    return spread([speed / other for speed, other in zip(rounds, first, strict=False)], ".3f")


def spread(figures: list[float], form: str) -> str:
    if not figures:
        return "never"
    return f"{median(figures):{form}} ({min(figures):{form}}-{max(figures):{form}})"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=words, required=True, help="as for run.py, the smallest first")
    add("--engines", type=engine_names, default=["nearfield-hnsw", "rabitq-symphony"], help="graphs")
    add("--recall", type=float, default=0.95, help="at which speeds are compared (0.95)")
    add("--sweep", type=numbers, default=[], help="widths of the beam, around what this recall takes")
    add("--queries", type=int, default=1_000, help="take only the first queries (1,000)")
    add("--rounds", type=int, default=9, help="how often each index is measured, in turn (9)")
    add("--seconds", type=float, default=0.25, help="shortest measurement (0.25)")
    add("--build-threads", type=int, default=2, help="threads of a build (2)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
