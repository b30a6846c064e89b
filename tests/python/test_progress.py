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
