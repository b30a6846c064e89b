"""`progress=`: silence, a bar, or the caller's own function."""

from __future__ import annotations

import builtins
import sys

import numpy as np
import pytest

import nearfield as nf
from nearfield.progress import reporter


@pytest.fixture
def no_tqdm(monkeypatch):
    """As if tqdm were not installed."""
    real = builtins.__import__

    def refuse(name, *args, **options):
        if name.partition(".")[0] == "tqdm":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_false_is_silence():
    assert reporter(False, "Adding") is None


def test_a_function_is_called_as_it_is():
    def show(done: int, total: int) -> None:
        raise AssertionError

    assert reporter(show, "Adding") is show


@pytest.mark.parametrize("bad", [1, "yes", [], 0])
def test_anything_else_is_a_type_error(bad):
    with pytest.raises(TypeError, match="progress must be"):
        reporter(bad, "Adding")
    with pytest.raises(TypeError, match="progress must be"):
        nf.FlatIndex(2).add(np.ones((1, 2), np.float32), progress=bad)


def test_without_tqdm_a_line_is_written(no_tqdm, capsys):
    report = reporter(True, "Adding")
    for done in range(0, 1001, 10):
        report(done, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Adding: 0 of 1,000 (0 %)"
    assert lines[-1] == "Adding: 1,000 of 1,000 (100 %)"
    assert len(lines) < 10, "not a line for every report"
    report(0, 0)
    assert capsys.readouterr().err == "Adding: 0 of 0 (100 %)\n"


def test_with_tqdm_a_bar_is_drawn(monkeypatch, capsys):
    pytest.importorskip("tqdm")
    report = reporter(True, "Adding")
    for done in (0, 400, 1000):
        report(done, 1000)
    assert "Adding: 100%" in capsys.readouterr().err


def test_a_real_call_shows_its_progress(no_tqdm, capsys):
    index = nf.HnswIndex(4, "l2")
    index.add(np.random.default_rng(0).standard_normal((2000, 4)), progress=True)
    assert "2,000 of 2,000" in capsys.readouterr().err


def test_an_exception_in_the_callers_function_arrives(monkeypatch):
    def stop(done: int, total: int) -> None:
        raise ZeroDivisionError("enough")

    monkeypatch.setattr(sys, "unraisablehook", lambda what: pytest.fail(f"swallowed: {what}"))
    index = nf.HnswIndex(4, "l2")
    with pytest.raises(ZeroDivisionError, match="enough"):
        index.add(np.random.default_rng(0).standard_normal((2000, 4)), progress=stop)
    assert len(index.add(np.ones((1, 4)))) == 1


def test_an_exception_at_the_last_report_arrives_though_all_is_done():
    def stop(done: int, total: int) -> None:
        if done == total:
            raise ZeroDivisionError("too late")

    index = nf.HnswIndex(4, "l2")
    with pytest.raises(ZeroDivisionError, match="too late"):
        index.add(np.random.default_rng(0).standard_normal((2000, 4)), progress=stop)
    assert len(index) == 2000


def test_a_store_tells_how_far_linking_and_compaction_are(tmp_path, no_tqdm, capsys):
    rows = np.random.default_rng(0).standard_normal((3000, 4))
    with nf.open(tmp_path / "store") as store:
        docs = store.create_collection("docs", 4, "l2")
        docs.upsert(range(3000), rows)
        seen: list[tuple[int, int]] = []
        store.flush(wait=True, progress=lambda done, total: seen.append((done, total)))
        assert seen == sorted(seen)
        assert seen[-1][0] == seen[-1][1] <= 3000
        docs.delete(range(1000))
        seen.clear()
        store.compact(progress=lambda done, total: seen.append((done, total)))
        assert seen == sorted(seen)
        assert {total for _, total in seen} == {4000}, "each row is put in order, and written"
        assert seen[-1] == (4000, 4000)
        assert len({done for done, _ in seen}) > 3
        store.compact(progress=True)
        assert "4,000 of 4,000" in capsys.readouterr().err
        with pytest.raises(TypeError, match="progress"):
            store.compact(progress="yes")


@pytest.mark.parametrize("path", [":memory:", "store"])
def test_a_compaction_that_is_stopped_has_changed_nothing(path, tmp_path):
    class Enough(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Enough

    rows = np.random.default_rng(0).standard_normal((2000, 4))
    with nf.open(path if path == ":memory:" else tmp_path / path) as store:
        docs = store.create_collection("docs", 4, "l2")
        docs.upsert(range(2000), rows)
        docs.delete(range(500))
        before = docs.search(rows[600], k=20, exact=True).keys
        with pytest.raises(Enough):
            store.compact(progress=stop)
        assert docs.search(rows[600], k=20, exact=True).keys == before
        store.compact()
        assert len(docs) == 1500
        assert store.verify()["ok"]
