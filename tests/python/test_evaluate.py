"""Measuring: recall is counted right, figures fit together, and nonsense is refused before any work."""

from __future__ import annotations

import importlib
import inspect

import numpy as np
import pytest
from model import METRICS, Model

import nearfield as nf
from nearfield import plot

MODULE = importlib.import_module("nearfield.evaluate")


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch):
    """Shorter measurements: what is tested is what is done with them."""
    monkeypatch.setattr(MODULE, "_BATCH_SECONDS", 0.01)
    monkeypatch.setattr(MODULE, "_SINGLE_CALLS", 60)


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((530, 8), dtype=np.float32)


@pytest.fixture
def index(rows) -> nf.HnswIndex:
    # Cells would begin at 1,024 rows.
    index = nf.HnswIndex(8, "l2", codec="f32")
    index.add(rows[:500])
    return index


@pytest.fixture
def queries(rows) -> np.ndarray:
    return rows[500:]


class Scripted:
    """An index that gives prepared answers."""

    metric = "l2"

    def __init__(self, ids: object) -> None:
        self.ids = np.asarray(ids)

    def __len__(self) -> int:
        return 50

    def search(self, queries, k, exact=False):
        ids = self.ids if queries.ndim == 2 else self.ids[0]
        return nf.SearchResult(ids, np.zeros(ids.shape, np.float32), "l2")

    def stats(self):
        return {"rows": 50, "bytes": 6400}


# ---- ground truth


@pytest.mark.parametrize("metric", METRICS)
def test_exact_neighbors_are_those_of_the_model(rows, queries, metric):
    model = Model(8, metric)
    model.add(rows[:500])
    answer = model.search(queries, 7)
    for threads in (None, 1):
        result = nf.exact_neighbors(rows[:500], queries, 7, metric, threads=threads)
        np.testing.assert_array_equal(result.ids, answer.ids)
        np.testing.assert_array_equal(result.scores, answer.scores)


def test_exact_neighbors_take_lists_and_single_queries():
    result = nf.exact_neighbors([[1, 0], [0, 1], [1, 1]], [2, 1], k=2, metric="dot")
    assert result.ids.tolist() == [2, 0]
    assert result.scores.tolist() == [3.0, 2.0]
    with pytest.raises(nf.DimensionError, match="base"):
        nf.exact_neighbors(np.ones((1, 2, 3)), [1, 2, 3])
    with pytest.raises(nf.DimensionError):
        nf.exact_neighbors([[1, 0]], [1, 2, 3])


# ---- recall


@pytest.mark.parametrize(
    ("found", "truth", "recall"),
    [
        ([[1, 2, 3, 4]], [[1, 2, 3, 4]], 1.0),
        ([[4, 3, 2, 1]], [[1, 2, 3, 4]], 1.0),
        ([[1, 2, 8, 9]], [[1, 2, 3, 4]], 0.5),
        ([[1, 2, 3, 4], [8, 7, 6, 5]], [[1, 2, 3, 4], [1, 2, 3, 4]], 0.5),
        ([[1, 2, 3, 4]], [[1, 2, 3, 9, 4, 5]], 0.75),  # wider truth: only its first k count
        ([[1, 2, -1, -1]], [[1, 2, -1, -1]], 1.0),  # no more than two exist
        ([[1, -1, -1, -1]], [[1, 2, -1, -1]], 0.5),  # padding finds nothing
        ([[-1, -1, -1, -1]], [[-1, -1, -1, -1]], 1.0),  # there is nothing to find
    ],
)
def test_recall_is_the_share_of_true_neighbours_found(found, truth, recall):
    report = nf.evaluate(Scripted(found), np.ones((len(found), 3)), np.array(truth), k=4)
    assert report.rows[0].recall == recall
    assert report.rows[0].bytes_per_vector == 128


def test_an_exact_index_has_recall_one(rows, queries):
    index = nf.FlatIndex(8, "cosine")
    index.add(rows[:500])
    report = nf.evaluate(index, queries)
    (row,) = report.rows
    assert (row.ef, row.recall) == (None, 1.0)
    assert (report.k, report.queries, report.size) == (10, 30, 500)


def test_truth_may_be_given_made_or_a_result(index, rows, queries):
    truth = nf.exact_neighbors(rows[:500], queries, 25, "l2")
    forms = (None, truth, truth.ids, truth.ids.tolist())
    recalls = [nf.evaluate(index, queries, given).rows[0].recall for given in forms]
    assert len(set(recalls)) == 1
    assert recalls[0] > 0.9
    assert nf.evaluate(index, queries, truth, k=25).rows[0].recall > 0.9


def test_a_k_beyond_the_index_asks_for_all_there_is(rows):
    index = nf.FlatIndex(8, "l2")
    index.add(rows[:5])
    assert nf.evaluate(index, rows[500:], k=10).rows[0].recall == 1.0


# ---- figures


def test_each_beam_is_one_row(index, queries):
    before = index.ef_search
    report = nf.evaluate(index, queries, ef=[1, 16, 200])
    assert [row.ef for row in report] == [1, 16, 200]
    assert len(report) == 3
    assert report.rows[0].recall < report.rows[2].recall
    assert report.rows[2].recall >= 0.99
    assert index.ef_search == before
    assert nf.evaluate(index, queries).rows[0].ef == before


def test_figures_are_possible(index, queries):
    (row,) = nf.evaluate(index, queries).rows
    assert 0 < row.p50 <= row.p99
    assert row.qps > 0
    # The mean latency and the queries per second are two faces of one figure; the mean lies below the
    # maximum.
    assert 0 < row.qps_single < 1e6 / row.p50 * 2
    assert row.bytes_per_vector >= 8 * 4


def test_one_query_is_enough(index, queries):
    report = nf.evaluate(index, queries[0], k=3)
    assert report.queries == 1
    assert report.rows[0].recall == 1.0


def test_progress_goes_up_to_the_end(index, queries):
    seen: list[tuple[int, int]] = []
    nf.evaluate(index, queries, ef=[10, 20], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


# ---- refused


def test_nonsense_is_refused(index, queries):
    with pytest.raises(ValueError, match=r"\bk\b.*not 0"):
        nf.evaluate(index, queries, k=0)
    with pytest.raises(ValueError, match="empty index"):
        nf.evaluate(nf.FlatIndex(8), queries)
    with pytest.raises(ValueError, match="without queries"):
        nf.evaluate(index, queries[:0])
    with pytest.raises(nf.DimensionError):
        nf.evaluate(index, queries[:, :5])
    with pytest.raises(ValueError, match="no beam"):
        flat = nf.FlatIndex(8)
        flat.add(queries)
        nf.evaluate(flat, queries, ef=[10])
    for beams in ([], [0], [10, -1]):
        with pytest.raises(ValueError, match="ef"):
            nf.evaluate(index, queries, ef=beams)


def test_truth_that_does_not_fit_is_refused_before_anything_is_measured(queries):
    class Untouchable(Scripted):
        def search(self, *args, **options):
            raise AssertionError("was searched")

    index = Untouchable([[0]])
    with pytest.raises(nf.DimensionError, match=r"\b30\b.*\b29\b"):
        nf.evaluate(index, queries, np.zeros((29, 10), int))
    with pytest.raises(nf.DimensionError, match=r"5 neighbours.*k = 10"):
        nf.evaluate(index, queries, np.zeros((30, 5), int))
    with pytest.raises(nf.DTypeError, match="float64"):
        nf.evaluate(index, queries, np.zeros((30, 10)))


# ---- shown


@pytest.fixture
def report() -> nf.Report:
    rows = (
        nf.Measurement(16, 0.91234, 52_000.4, 21_000.6, 45.67, 80.1, 1700.0),
        nf.Measurement(64, 0.9876, 20_000.0, 8_000.0, 120.0, 310.5, 1700.0),
    )
    return nf.Report(rows, 10, 500, 10_000, "HnswIndex(dim=8, metric='l2')")


def test_a_report_prints_as_an_aligned_table(report):
    title, header, *lines = repr(report).splitlines()
    assert title == "HnswIndex(dim=8, metric='l2'): 10,000 rows, 500 queries, k = 10"
    names = [
        "ef",
        "recall@10",
        "QPS in a batch",
        "QPS one by one",
        "p50 (µs)",
        "p99 (µs)",
        "bytes per vector",
    ]
    assert [name for name in header.split("  ") if name] == names
    assert {len(line) for line in lines} == {len(header)}
    assert lines[0].split() == ["16", "0.9123", "52,000", "21,001", "45.7", "80.1", "1,700"]


def test_a_report_of_an_index_without_beam_has_no_column_for_it():
    rows = (nf.Measurement(None, 1.0, 10.0, 5.0, 1.0, 2.0, 3.0),)
    report = nf.Report(rows, 10, 500, 10_000, "FlatIndex(dim=8, metric='l2')")
    assert repr(report).splitlines()[1].split()[0] == "recall@10"


def test_a_report_is_a_table_in_a_notebook(report):
    html = report._repr_html_()
    assert html.count("<tr>") == 3
    for part in ("recall@10", "0.9123", "8,000", "10,000 rows"):
        assert part in html


def test_a_report_becomes_a_data_frame(report):
    pytest.importorskip("pandas")
    frame = report.to_pandas()
    assert frame.columns.tolist() == ["ef", "recall", "qps", "qps_single", "p50", "p99", "bytes_per_vector"]
    assert frame["ef"].tolist() == [16, 64]
    assert frame["p99"].tolist() == [80.1, 310.5]
    assert report.to_polars().columns == report.to_arrow().column_names == frame.columns.tolist()
    assert report.to_polars()["p99"].to_list() == [80.1, 310.5]


def test_plots_are_written(report, tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    axes = report.plot(tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    assert axes.get_xlabel() == "recall@10"
    assert [line.get_xdata().tolist() for line in axes.lines] == [[0.91234, 0.9876]] * 2
    both = plot.recall_qps({"mine": report, "theirs": report}, tmp_path / "two.svg")
    assert len(both.lines) == 4
    assert "<svg" in (tmp_path / "two.svg").read_text()
    assert not pyplot.get_fignums(), "figures that were written are closed"


def test_plots_need_reports_with_one_k(report):
    other = nf.Report(report.rows, 5, 500, 10_000, "other")
    with pytest.raises(ValueError, match="one k"):
        plot.recall_qps({"a": report, "b": other})
    with pytest.raises(ValueError, match="at least one"):
        plot.recall_qps({})


def test_the_name_of_the_module_is_that_of_the_function():
    assert inspect.isfunction(nf.evaluate)
    assert MODULE.evaluate is nf.evaluate


def test_the_exact_search_tells_how_far_it_is(rows):
    told: list[tuple[int, int]] = []
    queries = rows[:130]
    slow = nf.exact_neighbors(rows, queries, 5, progress=lambda *report: told.append(report))
    quick = nf.exact_neighbors(rows, queries, 5)
    assert np.array_equal(slow.ids, quick.ids) and np.array_equal(slow.scores, quick.scores)
    assert told[0] == (0, 130) and told[-1] == (130, 130) and len(told) > 20
    assert told == sorted(told)
    assert nf.exact_neighbors(rows, rows[0], 5, progress=print).ids.shape == (5,)
    assert nf.exact_neighbors(rows, rows[:0], 5, progress=lambda *_: None).ids.shape == (0, 5)
