"""What is shown: readable numbers, aligned columns, and no markup from outside."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

import nearfield as nf
from nearfield.display import bytes_text, index_html, number_text, table_html, table_text


def cells(html: str) -> list[str]:
    """The texts of a table; fails on tags that are not closed in order."""
    texts: list[str] = []
    open_tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

        def handle_data(self, data):
            texts.append(data)

    reader = Reader()
    reader.feed(html)
    reader.close()
    assert not open_tags
    return texts


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "True"),
        (1234567, "1,234,567"),
        (np.int64(1234), "1,234"),
        (0.123456, "0.1235"),
        (np.float32(0.5), "0.5"),
        (12345.678, "12,346"),
        (1e30, "1e+30"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ("l2", "l2"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_numbers_are_written_for_people(value, text):
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (3 << 19, "1.50 MiB"),
        (5 << 30, "5.00 GiB"),
        (2 << 40, "2.00 TiB"),
    ],
)
def test_sizes_are_written_for_people(size, text):
    assert bytes_text(size) == text


def test_a_table_holds_its_cells():
    assert cells(table_html(["a", "b"], [(1, "x"), (2000, None)], caption="c")) == [
        "c", "a", "b", "1", "x", "2,000", "-",
    ]  # fmt: skip
    assert cells(table_html((), [("only", 1)])) == ["only", "1"]


def test_what_comes_from_outside_is_no_markup():
    evil = "<script>alert('x')</script>&\""
    for html in (
        table_html([evil], [(evil,)], caption=evil),
        index_html({"class": evil, evil: evil, "n": {evil: evil}}),
    ):
        assert "<script" not in html
        assert evil in cells(html)


def test_text_columns_are_aligned():
    lines = table_text(["name", "n"], [("a", 1), ("long name", 1000)]).splitlines()
    assert lines == ["     name      n", "        a      1", "long name  1,000"]


def test_an_index_is_shown_by_its_stats():
    html = index_html(
        {"class": "FlatIndex", "rows": 12345, "bytes": 1 << 20, "graph": {"layers": 3, "bytes_links": 2048}}
    )
    shown = "FlatIndex|rows|12,345|bytes|1.00 MiB|graph layers|3|graph bytes links|2.00 KiB"
    assert cells(html) == shown.split("|")


@pytest.mark.parametrize("make", [nf.FlatIndex, nf.QuantizedIndex, nf.HnswIndex])
def test_a_real_index_is_shown_in_a_notebook(make):
    index = make(3, "l2")
    index.add(np.ones((1234, 3), np.float32))
    shown = cells(index._repr_html_())
    assert shown[0] == make.__name__
    assert "1,234" in shown
    assert "l2" in shown


def test_metadata_have_columns_in_a_notebook():
    with nf.open(":memory:") as store:
        docs = store.create_collection("docs", 2)
        docs.upsert(["x", "y"], np.eye(2), [{"year": 2001, "<b>": "z" * 99}, {"other": [1]}])
        shown = cells(docs.search(np.eye(2), 2, include=["metadata"])._repr_html_())
        assert shown[1:10] == [
            "query", "rank", "key", "score", "distance", "collection", "<b>", "year", "other"
        ]  # fmt: skip
        assert shown[10:19] == ["0", "1", "'x'", "1", "0", "docs", "z" * 57 + "...", "2001", "-"]
        assert shown.count("[1]") == 2
        nothing = docs.search([1.0, 0.0], 2, min_score=2, include=["metadata"])._repr_html_()
        assert cells(nothing)[1:] == ["rank", "key", "score", "distance", "collection", "metadata"]
