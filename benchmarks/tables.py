"""Tables for the terminal and for Markdown: every figure with its spread and its ratio to the best peer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from tabulate import tabulate

from curve import first_reaching, points_of, qps_at, recall_found, rivals
from engines import RECALLS
from machine import Limits
from measure import Mode, batch_size
from race import Contender

#: Latency is told at the recall people ask for most; a latency without a recall means nothing.
LATENCY_RECALL = 0.95


@dataclass(frozen=True)
class Column:
    """One figure of every contender; of each a list with one entry a round, empty where it has none."""

    title: str
    figures: dict[str, list[float]]
    higher_is_better: bool = True

    def best_peer(self, peers: Sequence[str]) -> str | None:
        known = [peer for peer in peers if self.figures[peer]]
        best = max if self.higher_is_better else min
        return best(known, key=lambda peer: median(self.figures[peer])) if known else None

    def ratio(self, label: str, rival: str) -> float:
        """How many times better than `rival`: median of the ratios within a round, so that drift cancels."""
        pairs = list(zip(self.figures[label], self.figures[rival], strict=False))
        ratios = [own / other if self.higher_is_better else other / own for own, other in pairs]
        return median(ratios)

    def cell(self, label: str, peers: Sequence[str]) -> str:
        figures = self.figures[label]
        if not figures:
            return "never" if self.higher_is_better else "-"
        text = number(median(figures))
        if len(figures) > 1:
            text += f" ({number(min(figures))}-{number(max(figures))})"
        rival = self.best_peer(peers)
        return f"{text} {self.ratio(label, rival):.2f}x" if rival else text


def number(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def speed_columns(contenders: Sequence[Contender], mode: Mode) -> list[Column]:
    """Speed at each recall of the kind, and the latency of single calls."""
    columns = [
        Column(f"QPS at {recall:.3g}", {c.label: qps_at(c, mode, recall) for c in contenders})
        for recall in RECALLS[contenders[0].engine.kind]
    ]
    if mode == "single":
        reaching = {c.label: first_reaching(c, mode, LATENCY_RECALL) for c in contenders}
        for title in ("p50_us", "p99_us"):
            figures = {label: getattr(point, title) if point else [] for label, point in reaching.items()}
            columns.append(Column(f"{title[:3]} us at {LATENCY_RECALL}", figures, higher_is_better=False))
    return columns


def scan_columns(contenders: Sequence[Contender], modes: Sequence[Mode]) -> list[Column]:
    """The same for engines without a knob: one speed for each way of asking."""
    columns = []
    for mode in modes:
        points = {c.label: next(iter(points_of(c, mode)), None) for c in contenders}
        wanted = [("qps", f"QPS {mode}", True)]
        if mode == "single":
            wanted += [("p50_us", "p50 us", False), ("p99_us", "p99 us", False)]
        for figure, title, higher_is_better in wanted:
            figures = {label: getattr(point, figure) if point else [] for label, point in points.items()}
            columns.append(Column(title, figures, higher_is_better))
    return columns


def cost_columns(contenders: Sequence[Contender]) -> list[Column]:
    grown = {c.label: _if_known(c.bytes_per_vector) for c in contenders}
    declared = {c.label: _if_known(c.declared_bytes_per_vector) for c in contenders}
    return [
        Column("build s", {c.label: c.build_seconds for c in contenders}, higher_is_better=False),
        Column("bytes/vector", grown, higher_is_better=False),
        Column("as it says", declared, higher_is_better=False),
    ]


def speed_table(contenders: Sequence[Contender], mode: Mode) -> str:
    """Speed at each recall, the sweep values it takes, and the best recall of the sweep."""
    columns = speed_columns(contenders, mode)
    values = {c.label: _values_reaching(c, mode) for c in contenders}
    best = {c.label: max((median(p.recall) for p in points_of(c, mode)), default=0.0) for c in contenders}
    headers = ["engine", *(column.title for column in columns), "set to", "best recall"]
    rows = [
        [label, *cells, values[label], f"{best[label]:.4f}"] for label, *cells in _rows(contenders, columns)
    ]
    return _table(headers, rows)


def scan_table(contenders: Sequence[Contender], modes: Sequence[Mode]) -> str:
    columns = scan_columns(contenders, modes)
    recalls = {c.label: f"{recall_found(c):.4f}" for c in contenders}
    rows = [[label, recalls[label], *cells] for label, *cells in _rows(contenders, columns)]
    return _table(["engine", "recall", *(column.title for column in columns)], rows)


def cost_table(contenders: Sequence[Contender]) -> str:
    """Costs, and how many of the bytes are pages of files: memory that the system can take back."""
    columns = cost_columns(contenders)
    mapped = {c.label: _if_known(c.mapped_bytes_per_vector) for c in contenders}
    headers = ["engine", *(column.title for column in columns), "of them mapped"]
    rows = [
        [label, *cells, *(f"{number:,.0f}" for number in mapped[label] or [0])]
        for label, *cells in _rows(contenders, columns)
    ]
    return _table(headers, rows)


def roofline_table(contenders: Sequence[Contender], limits: Limits) -> str:
    """Lone queries against what the memory gives, batches against what the arithmetic gives.

    Both are nominal: as if each query went once through all rows or codes, and made one multiply-add of each
    dimension. Whoever gets by with less, or answers from the caches, may be above the limit.
    """
    headers = ["engine", "GB/s, one query", "of memory", "GFLOP/s, batch", "of peak", "best batch"]
    rows = []
    for contender in contenders:
        dimensions = contender.rows * contender.dim
        speeds = {p.mode: median(p.qps) for p in contender.points if p.qps}
        alone = speeds.pop("single", 0.0) * dimensions * contender.engine.bits(contender.params) / 8 / 1e9
        best = max(speeds, key=speeds.__getitem__, default="-")
        together = 2 * speeds.get(best, 0.0) * dimensions / 1e9
        shares = (f"{share:.0%}" for share in (alone / limits.memory_gb_s, together / limits.gflop_s))
        rows.append([contender.label, number(alone), next(shares), number(together), next(shares), best])
    return _table(headers, rows)


def dataset_sections(
    contenders: Sequence[Contender], modes: Sequence[Mode], limits: Limits | None
) -> Iterator[tuple[str, str]]:
    """(heading, table) for one data set: rivals meet within their kind."""
    for kind, recalls in RECALLS.items():
        same = [c for c in contenders if c.engine.kind == kind and c.failure is None]
        if not same:
            continue
        if recalls:
            for mode in modes:
                yield f"{kind}, {_calls(mode)}", speed_table(same, mode)
        else:
            yield f"{kind}, speed", scan_table(same, modes)
            if limits:
                yield f"{kind}, against the machine", roofline_table(same, limits)
        yield f"{kind}, cost", cost_table(same)


def overdrawn(contenders: Sequence[Contender], threads: int) -> list[str]:
    """Contenders that used more processor time than their threads allow: their speeds do not compare."""
    return [
        f"{c.label} used {used:.1f} processors where {threads} allowed"
        for c in contenders
        if (used := max((share for point in c.points for share in point.cpus), default=0.0)) > threads * 1.15
    ]


def _rows(contenders: Sequence[Contender], columns: Sequence[Column]) -> Iterator[list[str]]:
    for contender in contenders:
        peers = [c.label for c in rivals(contender, contenders) if not c.engine.ours]
        yield [contender.label, *(column.cell(contender.label, peers) for column in columns)]


def _values_reaching(contender: Contender, mode: Mode) -> str:
    points = [first_reaching(contender, mode, recall) for recall in RECALLS[contender.engine.kind]]
    return " / ".join("-" if point is None or point.value is None else str(point.value) for point in points)


def _calls(mode: Mode) -> str:
    size = batch_size(mode)
    if size is not None:
        return f"batches of {size}"
    return "one query a call" if mode == "single" else "all queries in one call"


def _if_known(figure: float | None) -> list[float]:
    return [] if figure is None else [figure]


def _table(headers: list[str], rows: list[list[str]]) -> str:
    align = ["left", *["right"] * (len(headers) - 1)]
    text: str = tabulate(rows, headers, tablefmt="github", disable_numparse=True, colalign=align)
    return text
