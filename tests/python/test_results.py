"""Results: arrays first, tables on request."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest

import nearfield as nf
from nearfield import _core


def many(metric: str = "cosine") -> nf.SearchResult:
    """Two queries with k = 3, the second with one hit."""
    ids = np.array([[7, 2, 9], [5, -1, -1]])
    scores = np.array([[0.75, 0.5, -0.25], [0.125, -np.inf, -np.inf]], np.float32)
    return nf.SearchResult(ids, scores, metric)


def one() -> nf.SearchResult:
    """A 1-D query with two hits."""
    return nf.SearchResult(np.array([7, 2]), np.array([0.75, 0.5], np.float32), "cosine")


def test_a_result_unpacks_as_ids_and_scores():
    result = many()
    ids, scores = result
    assert ids is result.ids
    assert scores is result.scores


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("cosine", [[0.25, 0.5, 1.25], [0.875, np.inf, np.inf]]),
        ("dot", [[-0.75, -0.5, 0.25], [-0.125, np.inf, np.inf]]),
        ("l2", [[-0.75, -0.5, 0.25], [-0.125, np.inf, np.inf]]),
        ("hamming", [[-0.75, -0.5, 0.25], [-0.125, np.inf, np.inf]]),
        ("l1", [[-0.75, -0.5, 0.25], [-0.125, np.inf, np.inf]]),
    ],
)
def test_distances_are_in_natural_units_and_computed_once(metric, expected):
    result = many(metric)
    assert result.distances.tolist() == expected
    assert result.distances.dtype == np.float32
    assert result.distances is result.distances
    assert _core.distances(result.scores[0], metric).tolist() == expected[0]


def test_the_distance_of_a_row_to_itself_is_plain_zero():
    index = nf.FlatIndex(2, "l2")
    index.add([[1.0, 2.0]])
    result = index.search([1.0, 2.0], 1)
    assert str(result.distances[0]) == "0.0"
    assert str(result.scores[0]) in ("0.0", "-0.0")


def test_a_result_holds_nothing_else():
    with pytest.raises(AttributeError):
        many().other = 1


def test_a_result_survives_pickling():
    result = many()
    again = pickle.loads(pickle.dumps(result))
    assert again.ids.tolist() == result.ids.tolist()
    assert again.counts.tolist() == [3, 1]
    assert again.distances.tolist() == result.distances.tolist()
    assert pickle.loads(pickle.dumps(again)).metric == "cosine"


COLUMNS = {
    "query": [0, 0, 0, 1],
    "rank": [1, 2, 3, 1],
    "id": [7, 2, 9, 5],
    "score": [0.75, 0.5, -0.25, 0.125],
    "distance": [0.25, 0.5, 1.25, 0.875],
}
TYPES = ["int64", "int64", "int64", "float32", "float32"]


def test_tables_leave_the_padding_out():
    pytest.importorskip("pandas"), pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    frame = many().to_pandas()
    assert frame.to_dict("list") == COLUMNS
    assert [str(dtype) for dtype in frame.dtypes] == TYPES
    assert many().to_polars().to_dict(as_series=False) == COLUMNS
    assert [str(dtype).lower() for dtype in many().to_polars().dtypes] == TYPES
    assert many().to_arrow().to_pydict() == COLUMNS
    assert [str(dtype) for dtype in many().to_arrow().schema.types] == ["int64"] * 3 + ["float"] * 2


def test_the_table_of_one_query_has_the_same_columns():
    pytest.importorskip("pandas")
    assert one().to_pandas().to_dict("list") == {
        "query": [0, 0],
        "rank": [1, 2],
        "id": [7, 2],
        "score": [0.75, 0.5],
        "distance": [0.25, 0.5],
    }


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3)])
def test_the_table_of_no_hits_is_empty(shape):
    pytest.importorskip("pandas")
    result = nf.SearchResult(np.empty(shape, np.int64), np.empty(shape, np.float32), "l2")
    frame = result.to_pandas()
    assert frame.shape == (0, 5)
    assert frame.columns.tolist() == list(COLUMNS)
    assert "0 hits" in repr(result)
    assert "0 hits" in result._repr_html_()


def test_a_result_prints_its_first_hits():
    title, header, *lines = repr(many()).splitlines()
    assert title == "SearchResult: 4 hits for 2 queries, metric cosine"
    assert header.split() == list(COLUMNS)
    assert [line.split() for line in lines][3] == ["1", "1", "5", "0.125", "0.875"]
    title, header, *lines = repr(one()).splitlines()
    assert title == "SearchResult: 2 hits for 1 query, metric cosine"
    assert header.split() == ["rank", "id", "score", "distance"]
    assert len(lines) == 2


def test_a_long_result_prints_briefly():
    ids = np.arange(200_000).reshape(2000, 100)
    result = nf.SearchResult(ids, np.zeros(ids.shape, np.float32), "dot")
    assert len(repr(result).splitlines()) == 13
    assert repr(result).endswith("... and 199,990 more")
    assert result._repr_html_().count("<tr>") == 11
    assert "199,990 more" in result._repr_html_()


def test_a_real_result_turns_into_a_table():
    pytest.importorskip("pandas")
    index = nf.FlatIndex(2, "l2")
    index.add([[0.0, 0.0], [3.0, 4.0]], [10, 20])
    frame = index.search([[0.0, 0.0], [3.0, 4.0]], 5).to_pandas()
    assert frame["id"].tolist() == [10, 20, 20, 10]
    assert frame["distance"].tolist() == [0.0, 5.0, 0.0, 5.0]


def test_a_range_result_is_a_named_tuple():
    index = nf.FlatIndex(2, "l2")
    index.add([[0.0, 0.0], [3.0, 4.0]], [10, 20])
    lims, ids, scores, distances = result = index.range_search([[0.0, 0.0], [3.0, 4.0]], 5.0)
    assert isinstance(result, nf.RangeResult)
    assert lims.tolist() == [0, 2, 4]
    assert ids.tolist() == [10, 20, 20, 10]
    assert scores.tolist() == [0.0, -5.0, 0.0, -5.0]
    assert distances.tolist() == [0.0, 5.0, 0.0, 5.0]


def test_what_lies_within_a_radius_becomes_a_table():
    index = nf.FlatIndex(2, "l2")
    index.add([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    result = index.range_search([[0.0, 0.0], [9.0, 9.0], [3.0, 4.0]], 2.0)
    expected = {
        "query": [0, 0, 2],
        "rank": [1, 2, 1],
        "id": [0, 2, 1],
        "score": [0.0, -1.0, 0.0],
        "distance": [0.0, 1.0, 0.0],
    }
    assert result.to_pandas().to_dict("list") == expected
    assert result.to_polars().to_dict(as_series=False) == expected
    assert result.to_arrow().to_pydict() == expected
    lims, ids, _, _ = result
    assert ids[lims[2] : lims[3]].tolist() == [1]
    assert repr(pickle.loads(pickle.dumps(result))) == repr(result)
    assert "3 hits for 3 queries" in result._repr_html_()
    assert "... and 2 more" in index.range_search(np.zeros((4, 2)), 9.0)._repr_html_()


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_missing_library_is_named_with_its_extra(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    result = many()
    make = {"pandas": result.to_pandas, "polars": result.to_polars, "pyarrow": result.to_arrow}[library]
    with pytest.raises(ImportError, match=rf"{library}.*pip install 'nearfield\[frames\]'"):
        make()
