"""The reference has a place for everything public, and everything public says what it is."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

import nearfield as nf
import nearfield.plot

DOCS = Path(__file__).parents[2] / "docs"
NAMED = {
    name
    for page in (DOCS / "reference").glob("*.md")
    for name in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
}


def test_everything_public_is_in_the_reference():
    public = {f"nearfield.{name}" for name in nf.__all__} - {"nearfield.__version__", "nearfield.plot"}
    errors = {f"nearfield.{name}" for name in nearfield.errors.__all__}
    plots = {f"nearfield.plot.{name}" for name in nearfield.plot.__all__}
    assert "nearfield.errors" in NAMED
    assert (public - errors) | plots <= NAMED


@pytest.mark.parametrize("name", sorted(name for name in NAMED if ".integrations." not in name))
def test_what_the_reference_names_is_there(name):
    module, _, attribute = name.rpartition(".")
    found = importlib.import_module(name) if name == "nearfield.errors" else None
    assert found or inspect.getdoc(getattr(importlib.import_module(module), attribute))


def members(cls):
    return [
        f"{cls.__name__}.{name}"
        for name, member in vars(cls).items()
        if not name.startswith("_") and (callable(member) or isinstance(member, property))
    ]


@pytest.mark.parametrize(
    "cls",
    [thing for name in nf.__all__ if inspect.isclass(thing := getattr(nf, name))],
    ids=lambda cls: cls.__name__,
)
def test_every_method_says_what_it_does(cls):
    undocumented = [name for name in members(cls) if not inspect.getdoc(getattr(cls, name.partition(".")[2]))]
    assert not undocumented
    assert inspect.getdoc(cls)


def test_every_page_is_in_the_navigation():
    listed = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [str(page.relative_to(DOCS).as_posix()) for page in DOCS.rglob("*.md")]
    assert [page for page in pages if f": {page}" not in listed] == []


def functions():
    """Everything public that can be called and says with what."""
    for name in nf.__all__:
        thing = getattr(nf, name)
        named = [(name, thing)] if inspect.isroutine(thing) else []
        if inspect.isclass(thing):
            named = [(f"{name}.{m}", getattr(thing, m)) for m in vars(thing) if not m.startswith("_")]
        yield from ((label, one) for label, one in named if inspect.isroutine(one))
    yield from ((f"plot.{name}", getattr(nearfield.plot, name)) for name in nearfield.plot.__all__)


@pytest.mark.parametrize(
    ("name", "function"), list(functions()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_parameter_is_documented(name, function):
    doc = inspect.getdoc(function) or ""
    given = [one for one in inspect.signature(function).parameters if one not in ("self", "cls")]
    listed = {
        name.strip()
        for line in re.findall(r"^([\w, ]+?)(?: :.*)?$", doc, re.MULTILINE)
        for name in line.split(",")
    }
    refers = re.search(r"\b([Aa]s|see) `", doc)
    assert refers or set(given) <= listed, set(given) - listed
