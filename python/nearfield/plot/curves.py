"""Speed over recall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nearfield.plot.canvas import finished, named_reports, new_axes

if TYPE_CHECKING:
    from os import PathLike

    from nearfield.evaluate import Report

__all__ = ["recall_qps"]


def recall_qps(reports: Report | Mapping[str, Report], path: str | PathLike[str] | None = None) -> Any:
    """Draw queries per second over recall; up and to the right is better.

    Parameters
    ----------
    reports : Report, or mapping of str to Report
        What `evaluate` gave back, best with several beams: `evaluate(index, queries, ef=[16, 32, 64,
        128])`. Of a mapping, each name becomes a pair of curves: solid for one query per call, dashed for
        all queries in one call.
    path : path-like, optional
        Where to write the picture; the suffix chooses the format (.png, .svg, .pdf). The figure is then
        closed. If not given, matplotlib shows it: at once in a notebook, at `plt.show()` in a script.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, for titles and limits of one's own.

    Raises
    ------
    ImportError
        If matplotlib is not installed: `pip install nearfield[plot]`.
    ValueError
        If there is no report to draw, or the reports have different k.
    """
    named, k = named_reports(reports)
    axes = new_axes()
    for number, (name, report) in enumerate(named.items()):
        _curves(axes, report, name, color=f"C{number}")
    axes.set_yscale("log")
    axes.set_xlabel(f"recall@{k}")
    axes.set_ylabel("queries per second")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend()
    if len(named) == 1:
        report = next(iter(named.values()))
        axes.set_title(f"{report.name}, {report.size:,} rows", fontsize=10)
    return finished(axes, path)


def _curves(axes: Any, report: Report, name: str, color: str) -> None:
    """One report as two curves; the points of the solid one say their beam."""
    rows = sorted(report.rows, key=lambda row: row.recall)
    recall = [row.recall for row in rows]
    prefix = f"{name}, " if name else ""
    axes.plot(
        recall, [row.qps_single for row in rows], "o-", color=color, label=f"{prefix}one query per call"
    )
    axes.plot(
        recall, [row.qps for row in rows], "o--", color=color, alpha=0.6, label=f"{prefix}all in one call"
    )
    for row in rows:
        if row.ef is not None:
            axes.annotate(
                str(row.ef),
                (row.recall, row.qps_single),
                textcoords="offset points",
                xytext=(0, -12),
                ha="center",
                fontsize=8,
                color=color,
            )
