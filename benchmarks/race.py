"""The race: every contender in a process of its own, measured in turn, round by round.

Machines drift (clocks, neighbours, heat) by more than engines differ. So no engine is measured to the end
before the next begins: all stay alive with their index built, one runs while the others sleep, and figures
are compared within a round.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from datasets import Dataset
from engines import RECALLS, Engine, Knob, Params
from measure import Mode

Entered = TypeVar("Entered")

#: A sweep ends with the first value that is this far past the highest recall asked for. The slow values
#: beyond it would take most of the time.
RECALL_BEYOND = 0.001
#: How long a process may take to end, before it is ended.
CLOSING_SECONDS = 10
#: Every library that has a pool of its own reads one of these as it loads.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


class WorkerFailed(Exception):
    """The engine's process reported an error, or died."""


@dataclass(frozen=True)
class Settings:
    """What is the same for all contenders."""

    k: int
    rounds: int
    build_rounds: int
    threads: int
    build_threads: int
    min_seconds: float
    modes: tuple[Mode, ...]
    sweeps: dict[Knob, tuple[float, ...]]  # override what engines with a knob declare; empty: they do not
    filter_share: float | None  # of the rows that a filter allows; None: no filter


@dataclass
class Point:
    """One sweep value in one mode; each list has one figure a round."""

    mode: Mode
    value: float | None
    recall: list[float] = field(default_factory=list)
    qps: list[float] = field(default_factory=list)
    p50_us: list[float] = field(default_factory=list)
    p99_us: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)


@dataclass
class Contender:
    """One engine with one set of build parameters, and everything measured of it."""

    name: str
    label: str
    engine: type[Engine]
    params: Params
    version: str = ""
    rows: int = 0
    dim: int = 0
    build_seconds: list[float] = field(default_factory=list)
    bytes_per_vector: float | None = None
    mapped_bytes_per_vector: float | None = None
    declared_bytes_per_vector: float | None = None
    points: list[Point] = field(default_factory=list)
    failure: str | None = None  # why it is out of the race


class Worker:
    """The parent's end of the pipe to an engine's process."""

    def __init__(self, threads: int) -> None:
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
        script = str(Path(__file__).with_name("worker.py"))
        self.process = subprocess.Popen(
            [sys.executable, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, task: str, **request: Any) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        try:
            print(json.dumps({"task": task, **request}), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerFailed(f"the process died (exit status {self.process.wait()})")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerFailed(reply["error"])
        return reply

    def close(self) -> None:
        """Let it end by itself, for some engines have files to remove."""
        try:
            self.process.communicate(timeout=CLOSING_SECONDS)  # closes the pipe, which ends its loop
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


class Race:
    """All contenders over one data set."""

    def __init__(self, dataset: Dataset, contenders: Sequence[Contender], settings: Settings) -> None:
        self.dataset, self.contenders, self.settings = dataset, contenders, settings
        self.truth = dataset.truth(settings.k, settings.filter_share)
        self.workers: dict[str, Worker] = {}

    def run(self) -> None:
        try:
            self.build()
            for number in range(self.settings.rounds):
                self.round(number)
        finally:
            self.close()

    def build(self) -> None:
        """Start everybody's process, and have them build as often as they are to."""
        for contender in self.contenders:
            self._attempt(contender, self._start)
        for _ in range(self.settings.build_rounds):
            for contender in self._racing():
                self._attempt(contender, self._build)

    def round(self, number: int) -> None:
        """Measure everybody once."""
        for contender in in_turn(self._racing(), number):
            self._progress(f"round {number + 1}/{self.settings.rounds}: {contender.label}")
            self._attempt(contender, self._measure)

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()

    def _racing(self) -> list[Contender]:
        return [contender for contender in self.contenders if contender.failure is None]

    def _attempt(self, contender: Contender, step: Callable[[Contender], None]) -> None:
        """One failing engine must not end the race of the others; the report names it."""
        try:
            step(contender)
        except WorkerFailed as failure:
            contender.failure = str(failure)
            self._progress(f"{contender.label} is out: {failure}")

    def _start(self, contender: Contender) -> None:
        settings = self.settings
        if settings.filter_share is not None and not contender.engine.filters:
            raise WorkerFailed("takes no filter")
        worker = self.workers[contender.label] = Worker(settings.threads)
        facts = worker.ask(
            "start",
            engine=contender.name,
            params=contender.params,
            dataset=asdict(self.dataset),
            k=settings.k,
            threads=settings.threads,
            build_threads=settings.build_threads,
            min_seconds=settings.min_seconds,
            filter_share=settings.filter_share,
        )
        contender.version, contender.dim = facts["version"], facts["dim"]
        knob = contender.engine.knob()
        wanted = settings.sweeps.get(knob) if knob else None
        values: Sequence[float | None] = wanted or contender.engine.sweep(settings.k) or [None]
        contender.points = [Point(mode, value) for mode in settings.modes for value in values]

    def _build(self, contender: Contender) -> None:
        built = self.workers[contender.label].ask("build")
        contender.rows = built["rows"]
        contender.build_seconds.append(built["seconds"])
        if contender.bytes_per_vector is None:  # later builds find memory that the allocator kept
            contender.bytes_per_vector = built["bytes_per_vector"]
            contender.mapped_bytes_per_vector = built["mapped_bytes_per_vector"]
            contender.declared_bytes_per_vector = built["declared_bytes_per_vector"]
        self._progress(f"built {contender.label} in {built['seconds']:.1f} s")

    def _measure(self, contender: Contender) -> None:
        enough: set[Mode] = set()
        wanted = max(RECALLS[contender.engine.kind], default=1.0)
        for point in list(contender.points):
            if point.mode in enough:
                contender.points.remove(point)
                continue
            sample = self.workers[contender.label].ask("measure", mode=point.mode, value=point.value)
            point.recall.append(recall(sample["ids"], self.truth))
            for figure in ("qps", "p50_us", "p99_us", "cpus"):
                getattr(point, figure).append(sample[figure])
            if len(point.qps) == 1 and point.recall[0] > wanted + RECALL_BEYOND:
                enough.add(point.mode)

    def _progress(self, text: str) -> None:
        print(f"{self.dataset.name}: {text}", file=sys.stderr, flush=True)


def in_turn(entered: list[Entered], number: int) -> list[Entered]:
    """The order of a round: each begins with the next, so that nobody always follows the same neighbour."""
    first = number % max(len(entered), 1)
    return entered[first:] + entered[:first]


def recall(answers: list[list[int]], truth: NDArray[np.int64]) -> float:
    """recall@k: the share of the true k nearest that were found. An id answered twice counts once."""
    ids = np.asarray(answers)
    found = (truth[: len(ids), :, None] == ids[:, None, :]).any(axis=2)
    return float(found.mean())
