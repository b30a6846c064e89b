"""Pictures: each is written, shows what it was given, and is refused where there is nothing to show."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import nearfield as nf
from nearfield import plot

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")


@pytest.fixture(autouse=True)
def closed():
    from matplotlib import pyplot

    yield
    pyplot.close("all")


@pytest.fixture
def rows():
    """Three groups along one direction, in eight dimensions."""
    rng = np.random.default_rng(0)
    centres = np.arange(3)[:, None] * np.ones(8) * 10
    return (np.repeat(centres, 20, axis=0) + rng.standard_normal((60, 8))).astype(np.float32)


def measurement(beam, times):
    return nf.Measurement(
        beam, 0.9, 1.0, 1.0, *np.percentile(times, (50, 99)), 8.0, latencies=np.array(times, dtype=float)
    )


def test_latencies_become_histograms(tmp_path):
    report = nf.Report((measurement(16, [10, 20, 30]), measurement(64, [50, 60, 700])), 10, 3, 100, "graph")
    axes = report.plot_latencies(tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    assert axes.get_legend_handles_labels()[1] == ["ef = 16", "ef = 64"]
    assert len(axes.lines) == 4 and axes.lines[0].get_xdata()[0] == 20
    assert sum(patch.get_path().vertices[:, 1].max() for patch in axes.patches) >= 2
    both = plot.latency_histogram({"mine": report, "theirs": report}, tmp_path / "two.svg", bins=5)
    assert both.get_legend_handles_labels()[1][-1] == "theirs, ef = 64"


def test_a_report_has_the_latencies_that_it_was_made_of(rows):
    index = nf.FlatIndex(8)
    index.add(rows)
    report = nf.evaluate(index, rows[:5])
    (row,) = report.rows
    assert row.p50 == np.percentile(row.latencies, 50)
    assert "latencies" not in repr(row) and "latencies" not in report.to_pandas()
    assert plot.latency_histogram(report).get_legend_handles_labels()[1] == [report.name]


def test_a_report_without_latencies_cannot_be_drawn():
    bare = nf.Report((nf.Measurement(None, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),), 10, 3, 100, "x")
    with pytest.raises(ValueError, match="no latencies"):
        plot.latency_histogram(bare)


def points(axes):
    return np.concatenate([part.get_offsets() for part in axes.collections])


def test_groups_lie_apart_and_have_names(rows, tmp_path):
    labels = np.repeat(["low", "middle", "high"], 20)
    axes = plot.embedding_map(rows, labels, tmp_path / "map.png", names=["first", *[None] * 59])
    assert (tmp_path / "map.png").exists()
    assert set(axes.get_legend_handles_labels()[1]) == {"low", "middle", "high"}
    assert [text.get_text() for text in axes.texts] == ["first"]
    spans = sorted(
        (part.get_offsets()[:, 0].min(), part.get_offsets()[:, 0].max()) for part in axes.collections
    )
    assert all(before[1] < after[0] for before, after in itertools.pairwise(spans))


def test_an_index_and_a_collection_are_drawn(rows):
    index = nf.FlatIndex(8)
    index.add(rows)
    assert np.allclose(points(plot.embedding_map(index)), points(plot.embedding_map(rows)))
    with nf.open(":memory:") as store:
        docs = store.create_collection("docs", 8)
        with pytest.raises(ValueError, match="at least one vector"):
            plot.embedding_map(docs)
        docs.upsert(np.arange(60), rows, [{"a": {"b": "even" if n % 2 else None}} for n in range(60)])
        axes = plot.embedding_map(docs, "a.b")
        assert set(axes.get_legend_handles_labels()[1]) == {"even", "None"}


def test_numbers_are_shades_and_many_groups_are_others(rows):
    axes = plot.embedding_map(rows, np.arange(60.0))
    assert len(axes.figure.axes) == 2, "a scale of the shades"
    axes = plot.embedding_map(rows, [f"group {min(n, 12)}" for n in range(60)])
    assert len(axes.collections) == 10 and "others" in axes.get_legend_handles_labels()[1]


def test_of_many_vectors_a_sample_is_drawn(rows):
    assert len(points(plot.embedding_map(rows, limit=25))) == 25
    same = [points(plot.embedding_map(rows, limit=25, seed=3)) for _ in range(2)]
    assert np.array_equal(*same)


def test_places_come_from_elsewhere(rows):
    assert np.array_equal(points(plot.embedding_map(rows, method=lambda rows: rows[:, :2])), rows[:, :2])
    with pytest.raises(nf.DimensionError, match=r"\(60, 2\)"):
        plot.embedding_map(rows, method=lambda rows: rows)
    with pytest.raises(ValueError, match="'umap'"):
        plot.embedding_map(rows, method="umap")


def test_one_dimension_is_a_line():
    places = points(plot.embedding_map([[1.0], [2.0], [4.0]]))
    assert (places[:, 1] == 0).all() and np.ptp(places[:, 0]) == pytest.approx(3)


def test_neighbours_stay_together(rows):
    pytest.importorskip("sklearn")
    # Its threads wait for each other by spinning, which takes a minute where others work beside them.
    with pytest.importorskip("threadpoolctl").threadpool_limits(1):
        places = points(plot.embedding_map(rows, method="tsne"))
    nearest = nf.exact_neighbors(places, places, 2, "l2").ids[:, 1]
    assert np.mean(nearest // 20 == np.arange(60) // 20) > 0.95


def test_what_cannot_be_drawn_is_refused(rows):
    with pytest.raises(ValueError, match="labels for 60 vectors, got 2"):
        plot.embedding_map(rows, ["a", "b"])
    with pytest.raises(ValueError, match="only collections have fields"):
        plot.embedding_map(rows, "lang")
    with pytest.raises(nf.DimensionError):
        plot.embedding_map(rows[0])
