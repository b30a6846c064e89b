"""Reading the recall/speed curve: what an engine does *at* a recall, which its sweep only brackets.

Two engines can be compared at equal recall only. Between two adjacent sweep values the logarithm of the speed
is taken as linear in the recall. An engine without a knob has one point instead of a curve; only another that
finds about as much compares with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from engines import RECALLS
from measure import Mode
from race import Contender, Point

#: Engines without a knob compare with those whose recall is at most this much lower.
CLOSE = 0.01


def points_of(contender: Contender, mode: Mode) -> list[Point]:
    return [point for point in contender.points if point.mode == mode and point.qps]


def qps_at(contender: Contender, mode: Mode, wanted: float) -> list[float]:
    """Queries per second at a recall, one figure a round. Empty: the sweep never gets there."""
    points = points_of(contender, mode)
    rounds = min((len(point.qps) for point in points), default=0)
    figures = []
    for turn in range(rounds):
        figure = interpolated([(point.recall[turn], point.qps[turn]) for point in points], wanted)
        if figure is not None:
            figures.append(figure)
    return figures if len(figures) == rounds else []


def interpolated(curve: Sequence[tuple[float, float]], wanted: float) -> float | None:
    """QPS at `wanted` on a curve of (recall, QPS) from fast to accurate.

    A curve that starts above it counts with its first point, which is slower than the truth: extrapolating
    would flatter.
    """
    for i, (recall, qps) in enumerate(curve):
        if recall >= wanted:
            if i == 0:
                return qps
            recall_before, qps_before = curve[i - 1]
            share = (wanted - recall_before) / (recall - recall_before)
            return math.exp(math.log(qps_before) * (1 - share) + math.log(qps) * share)
    return None


def first_reaching(contender: Contender, mode: Mode, wanted: float) -> Point | None:
    """The smallest sweep value whose (median) recall is at least `wanted`."""
    return next((point for point in points_of(contender, mode) if median(point.recall) >= wanted), None)


def recall_found(contender: Contender) -> float:
    """The recall of an engine without a knob, or the best of a sweep."""
    return max((median(point.recall) for point in contender.points if point.recall), default=0.0)


def rivals(contender: Contender, others: Sequence[Contender]) -> list[Contender]:
    """Whom a contender is compared with: its kind, and without a knob those of it that find about as much."""
    kind = contender.engine.kind
    least = 0.0 if RECALLS[kind] else recall_found(contender) - CLOSE
    return [other for other in others if other.engine.kind == kind and recall_found(other) >= least]
