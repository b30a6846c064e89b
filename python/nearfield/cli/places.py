"""Stores and indexes by their path: a directory is a store, a file an index."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from nearfield._core import Collection, Index, Store, load
from nearfield._core import open as open_store

__all__ = ["add_collection", "collection_of", "key_of", "opened", "where_of"]


@contextmanager
def opened(path: Path, mode: Literal["r", "rw"] = "r") -> Iterator[Store | Index]:
    """Open a store, which is closed in the end, or map an index."""
    if not path.exists():
        raise FileNotFoundError(f"there is no store and no index at {path}")
    if path.is_dir():
        with open_store(path, mode, create=False) as store:
            yield store
    else:
        yield load(path, mmap=mode == "r")


def add_collection(parser: argparse.ArgumentParser) -> None:
    """Add what names a collection."""
    parser.add_argument(
        "-c", "--collection", metavar="NAME", help="the collection; not needed if there is one"
    )


def collection_of(store: Store, name: str | None) -> Collection:
    """The collection of this name, or the only one."""
    names = store.collections()
    if name is None and len(names) != 1:
        raise ValueError(f"name a collection with --collection: there are {', '.join(names) or 'none'}")
    return store[names[0] if name is None else name]


def where_of(text: str | None) -> dict[str, Any] | None:
    """A filter from its JSON."""
    if text is None:
        return None
    try:
        where: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise ValueError(
            f'--where: expected JSON such as \'{{"year": {{"$gte": 2020}}}}\': {error}'
        ) from error
    return where


def key_of(rows: Collection | Index, text: str) -> Any:
    """A key as it was typed in a shell: text, or else a number."""
    if isinstance(rows, Collection) and text in rows:
        return text
    if text.lstrip("-").isdigit() and int(text) in rows:
        return int(text)
    raise KeyError(f"there is no row {text!r}")
