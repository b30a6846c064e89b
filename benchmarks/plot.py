"""The picture of a race: recall against speed, up and to the right is better."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("Agg")  # benchmarks run where there is no screen

from matplotlib import pyplot

from curve import points_of
from datasets import Dataset
from engines import RECALLS
from race import Contender, Settings

#: Colours until they begin again, and the styles that tell lines of one colour apart.
COLOURS, STYLES = 10, ("-", "--", ":", "-.")


def draw_curves(dataset: Dataset, contenders: Sequence[Contender], settings: Settings, path: Path) -> None:
    """One panel a mode; ours in thick lines; bars from the slowest to the fastest round."""
    columns = min(len(settings.modes), 3)
    lines = -(-len(settings.modes) // columns)
    figure, panels = pyplot.subplots(
        lines, columns, figsize=(7 * columns, 5.5 * lines), sharey=True, squeeze=False
    )
    for panel in panels.ravel()[len(settings.modes) :]:
        panel.set_axis_off()
    for mode, panel in zip(settings.modes, panels.ravel(), strict=False):
        for number, contender in enumerate(contenders):
            points = points_of(contender, mode)
            if not points:
                continue
            recall = [median(point.recall) for point in points]
            speed = [median(point.qps) for point in points]
            below = [middle - min(point.qps) for middle, point in zip(speed, points, strict=True)]
            above = [max(point.qps) - middle for middle, point in zip(speed, points, strict=True)]
            panel.errorbar(
                recall,
                speed,
                yerr=[below, above],
                label=contender.label,
                marker="o" if RECALLS[contender.engine.kind] else "*",
                markersize=4 if RECALLS[contender.engine.kind] else 12,
                linewidth=2.5 if contender.engine.ours else 1,
                color=f"C{number % COLOURS}",
                linestyle=STYLES[number // COLOURS % len(STYLES)],
                capsize=2,
            )
        panel.set(title=f"{dataset.name}: {mode}", xlabel=f"recall@{settings.k}", yscale="log")
        panel.grid(True, which="both", alpha=0.3)
        panel.legend(fontsize="small")
    for first in panels[:, 0]:
        first.set_ylabel(f"queries per second, {settings.threads} thread(s)")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
