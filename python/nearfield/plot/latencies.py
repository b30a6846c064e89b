"""How long single calls take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfield.plot.canvas import finished, named_reports, new_axes

if TYPE_CHECKING:
    from os import PathLike

    from nearfield.evaluate import Measurement, Report

__all__ = ["latency_histogram"]


def latency_histogram(
    reports: Report | Mapping[str, Report], path: str | PathLike[str] | None = None, *, bins: int = 60
) -> Any:
    """Draw how many calls with one query take how long; a line each for the median and for 99 of 100.

    Parameters
    ----------
    reports : Report, or mapping of str to Report
        What `evaluate` gave back. Every beam of every report becomes a histogram.
    path : path-like, optional
        Where to write the picture; the suffix chooses the format (.png, .svg, .pdf). The figure is then
        closed. If not given, matplotlib shows it: at once in a notebook, at `plt.show()` in a script.
    bins : int, default 60
        How many bars there are; their widths grow with the time, which is drawn in powers of ten.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, for titles and limits of one's own.

    Raises
    ------
    ImportError
        If matplotlib is not installed: `pip install nearfield[plot]`.
    ValueError
        If there is no report to draw, the reports have different k, or there are no latencies in them.
    """
    named, k = named_reports(reports)
    rows = list(_measured(named))
    if not rows:
        raise ValueError("these reports have no latencies: draw what nf.evaluate gave back")
    times = np.concatenate([np.asarray(row.latencies) for _, row in rows])
    edges = np.geomspace(max(times.min(), 1e-3) * 0.99, times.max() * 1.01, bins + 1)
    axes = new_axes()
    for number, (name, row) in enumerate(rows):
        color = f"C{number}"
        axes.hist(row.latencies, bins=edges, histtype="stepfilled", alpha=0.35, color=color, label=name)
        axes.axvline(row.p50, color=color)
        axes.axvline(row.p99, color=color, linestyle=":")
    axes.set_xscale("log")
    axes.set_xlabel(f"microseconds of one call with one query, k = {k} (line: median, dots: 99 %)")
    axes.set_ylabel("calls")
    axes.legend(loc="upper right")
    return finished(axes, path)


def _measured(named: Mapping[str, Report]) -> Iterator[tuple[str, Measurement]]:
    """Each beam with what it is called."""
    for name, report in named.items():
        for row in report.rows:
            if row.latencies is not None and len(row.latencies):
                beam = "" if row.ef is None else f"ef = {row.ef}"
                yield ", ".join(part for part in (name, beam) if part) or report.name, row
