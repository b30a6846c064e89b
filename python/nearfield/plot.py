"""Pictures of what was measured.

The idea: one line of code from a report to a curve that can be put beside somebody else's. matplotlib is
imported when a picture is drawn, not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nearfield.evaluate import Report
from nearfield.optional import needed

if TYPE_CHECKING:
    from os import PathLike

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
    named = {"": reports} if isinstance(reports, Report) else dict(reports)
    depths = sorted({report.k for report in named.values()})
    if len(depths) != 1:
        raise ValueError(
            f"expected reports with one k, not {depths}" if depths else "expected at least one report to draw"
        )
    pyplot = needed("matplotlib.pyplot", "plot")
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for number, (name, report) in enumerate(named.items()):
        _curves(axes, report, name, color=f"C{number}")
    axes.set_yscale("log")
    axes.set_xlabel(f"recall@{depths[0]}")
    axes.set_ylabel("queries per second")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend()
    if len(named) == 1:
        report = next(iter(named.values()))
        axes.set_title(f"{report.name}, {report.size:,} rows", fontsize=10)
    if path is not None:
        figure.savefig(path, dpi=150)
        pyplot.close(figure)
    return axes


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
