"""A figure to draw on, and what becomes of it: what all pictures share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nearfield.optional import needed

if TYPE_CHECKING:
    from os import PathLike

    from nearfield.evaluate import Report

__all__ = ["finished", "named_reports", "new_axes"]


def new_axes(size: tuple[float, float] = (7, 4.5)) -> Any:
    """Axes on a new figure, of so many inches."""
    _, axes = needed("matplotlib.pyplot", "plot").subplots(figsize=size, layout="constrained")
    return axes


def finished(axes: Any, path: str | PathLike[str] | None) -> Any:
    """Write the figure, if there is a path, and close it; else leave it to whoever shows it."""
    if path is None:
        return axes
    try:
        axes.figure.savefig(path, dpi=150)
    finally:
        needed("matplotlib.pyplot", "plot").close(axes.figure)
    return axes


def named_reports(reports: Report | Mapping[str, Report]) -> tuple[dict[str, Report], int]:
    """Reports by name, and the one k that they have."""
    named = dict(reports) if isinstance(reports, Mapping) else {"": reports}
    depths = sorted({report.k for report in named.values()})
    if len(depths) != 1:
        raise ValueError(
            f"expected reports with one k, not {depths}" if depths else "expected at least one report to draw"
        )
    return named, depths[0]
