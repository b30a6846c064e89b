"""`info`, `verify`, `compact`: what is there, whether it is sound, and without what is deleted."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from nearfield._core import Store, load
from nearfield.cli.answer import Answer, lines_of
from nearfield.cli.places import opened
from nearfield.display import bytes_text
from nearfield.errors import CorruptionError

__all__ = ["register"]


def register(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the commands."""
    for name, run, text in (
        ("info", info, "say what is in a store or an index"),
        ("verify", verify, "compare every checksum"),
        ("compact", compact, "give back the room of deleted rows, and link every row"),
    ):
        parser = commands.add_parser(name, parents=[shared], help=text, description=text)
        parser.add_argument("path", type=Path, help="the directory of a store, or the file of an index")
        parser.set_defaults(run=run)


def info(arguments: argparse.Namespace) -> Answer:
    """What `stats()` says."""
    with opened(arguments.path) as place:
        data = dict(place.stats())
        if not isinstance(place, Store):
            data = {"class": type(place).__name__} | data | {"file_bytes": arguments.path.stat().st_size}
    return Answer(data, lines_of(data))


def verify(arguments: argparse.Namespace) -> Answer:
    """Reading all of it compares every checksum; a store says which files are damaged."""
    try:
        with opened(arguments.path) as place:
            if isinstance(place, Store):
                data = dict(place.verify())
            else:
                load(arguments.path)
                data = {"ok": True, "files": 1, "damaged": []}
    except CorruptionError as error:
        data = {"ok": False, "damaged": [{"path": error.path, "block": error.block, "message": str(error)}]}
    if data["ok"]:
        return Answer(data, f"{arguments.path}: sound")
    return Answer(data, "\n".join(f"damaged: {one}" for one in data["damaged"]), status=1)


def compact(arguments: argparse.Namespace) -> Answer:
    """A store gives room back; an index is built anew and saved in its place."""
    before = _size(arguments.path)
    with opened(arguments.path, "rw") as place:
        if isinstance(place, Store):
            place.compact(progress=sys.stderr.isatty())
        else:
            place.optimize(progress=sys.stderr.isatty())
            place.save(arguments.path)
    after = _size(arguments.path)
    text = f"{arguments.path}: {bytes_text(after)}, was {bytes_text(before)}"
    return Answer({"bytes_before": before, "bytes_after": after}, text)


def _size(path: Path) -> int:
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files) if path.exists() else 0
