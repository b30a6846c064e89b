"""What a run leaves: a JSON record with every figure of every round, a Markdown summary, and plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from curve import first_reaching, points_of, qps_at
from datasets import Dataset
from engines import RECALLS
from machine import Limits
from race import Contender, Settings
from tables import dataset_sections, overdrawn


@dataclass(frozen=True)
class Heat:
    """What was raced over one data set, and what the machine gave at that time."""

    dataset: Dataset
    contenders: Sequence[Contender]
    limits: Limits | None


@dataclass
class Report:
    """One run of the harness over some data sets."""

    name: str
    started: str
    command: list[str]
    commit: str | None
    machine: dict[str, Any]
    settings: Settings
    heats: list[Heat] = field(default_factory=list)

    def markdown(self) -> str:
        settings, machine = self.settings, self.machine
        lines = [
            f"# {self.name}",
            "",
            f"{self.started}, commit {self.commit}; {machine['cpu']} ({machine['cores']} cores, "
            f"{' '.join(machine['flags'])}), Python {machine['python']}.",
            f"recall@{settings.k}, {settings.rounds} rounds in turn; threads: {settings.threads} to search, "
            f"{settings.build_threads} to build; load average at start: {machine['load_average_at_start']}.",
            "Figures: median over rounds (min-max), then how many times better than the best peer (1.00x).",
            "",
            f"    {' '.join(self.command)}",
        ]
        for heat in self.heats:
            lines += ["", *self.section(heat)]
        return "\n".join(lines) + "\n"

    def section(self, heat: Heat) -> list[str]:
        dataset, contenders, limits = heat.dataset, heat.contenders, heat.limits
        rows, dim = next(((c.rows, c.dim) for c in contenders if c.rows), (0, 0))
        lines = [f"## {dataset.name} ({rows:,} x {dim}, {dataset.metric()})"]
        if self.settings.filter_share is not None:
            lines += ["", f"Only a share of {self.settings.filter_share} of the rows may be answered."]
        if limits:
            lines += ["", f"One thread reads {limits.memory_gb_s} GB/s from memory and {limits.cache_gb_s}"]
            lines[-1] += f" within 8 MiB, and does {limits.gflop_s} GFLOP/s."
        for heading, table in dataset_sections(contenders, self.settings.modes, limits):
            lines += ["", f"### {heading}", "", table]
        notes = [f"SKIPPED {c.label}: {c.failure}" for c in contenders if c.failure]
        notes += [f"WARNING {text}" for text in overdrawn(contenders, self.settings.threads)]
        if notes:
            lines += ["", *(f"- {note}" for note in notes)]
        return lines

    def record(self) -> dict[str, Any]:
        return {
            "schema": 2,
            "name": self.name,
            "started": self.started,
            "command": self.command,
            "commit": self.commit,
            "machine": self.machine,
            "settings": asdict(self.settings),
            "datasets": [
                {
                    "name": heat.dataset.name,
                    "metric": heat.dataset.metric(),
                    "limits": heat.limits and asdict(heat.limits),
                    "contenders": [contender_record(c, self.settings) for c in heat.contenders],
                }
                for heat in self.heats
            ],
        }

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(without_nan(self.record()), indent=1, allow_nan=False)
        (folder / "record.json").write_text(text + "\n")
        (folder / "summary.md").write_text(self.markdown())
        try:
            from plot import draw_curves
        except ImportError as error:
            print(f"no plots: {error}; pip install matplotlib")
            return
        for heat in self.heats:
            draw_curves(heat.dataset, heat.contenders, self.settings, folder / f"{heat.dataset.name}.png")


def contender_record(contender: Contender, settings: Settings) -> dict[str, Any]:
    """Every figure of every round, and the derived ones beside them."""
    return {
        "engine": contender.name,
        "label": contender.label,
        "kind": contender.engine.kind,
        "ours": contender.engine.ours,
        "params": contender.params,
        "scanned_bits_per_dimension": contender.engine.bits(contender.params),
        "version": contender.version,
        "skipped": contender.failure,
        "rows": contender.rows,
        "dim": contender.dim,
        "build_seconds": contender.build_seconds,
        "bytes_per_vector": contender.bytes_per_vector,
        "mapped_bytes_per_vector": contender.mapped_bytes_per_vector,
        "declared_bytes_per_vector": contender.declared_bytes_per_vector,
        "points": [asdict(point) for mode in settings.modes for point in points_of(contender, mode)],
        "at_recall": [
            {
                "mode": mode,
                "recall": wanted,
                "qps": median(figures),
                "qps_min": min(figures),
                "qps_max": max(figures),
                "smallest_value": point.value if (point := first_reaching(contender, mode, wanted)) else None,
            }
            for mode in settings.modes
            for wanted in RECALLS[contender.engine.kind]
            if (figures := qps_at(contender, mode, wanted))
        ],
    }


def without_nan(value: Any) -> Any:
    """The same with null for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and value != value else value
