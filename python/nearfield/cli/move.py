"""`import` and `export`: rows from files into a store or an index, and back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from nearfield._core import Collection, Index, Store
from nearfield._core import open as open_store
from nearfield.arrays import as_array
from nearfield.cli import tables
from nearfield.cli.answer import Answer
from nearfield.cli.kinds import add_kind, make_index, new_index
from nearfield.cli.places import add_collection, collection_of, opened, where_of

__all__ = ["register"]

_ROWS = 10_000  # in a batch


def register(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the commands."""
    text = "put the rows of a file into a store, or into a new index (a path that ends in .nf)"
    parser = commands.add_parser("import", parents=[shared], help=text, description=text)
    parser.add_argument("file", type=Path, help=".jsonl, .parquet, .npy, .fvecs, .bvecs, .ivecs or .hdf5")
    parser.add_argument("path", type=Path, help="the store, made if there is none, or the index to be made")
    add_collection(parser)
    add_kind(parser)
    parser.set_defaults(run=bring_in)

    text = "write the rows of a store or an index to a file"
    parser = commands.add_parser("export", parents=[shared], help=text, description=text)
    parser.add_argument("path", type=Path, help="the store, or the index")
    parser.add_argument("file", type=Path, help=".jsonl, .parquet, or .npy (vectors alone)")
    add_collection(parser)
    parser.add_argument("--where", metavar="JSON", help="only rows that this filter lets through")
    parser.set_defaults(run=bring_out)


def bring_in(arguments: argparse.Namespace) -> Answer:
    """Batch by batch, each all or nothing."""
    path: Path = arguments.path
    batches = tables.read(arguments.file, _ROWS)
    if path.suffix == ".nf":
        if path.exists():
            raise FileExistsError(f"{path} exists already: remove it, or choose another name")
        index = make_index(arguments, _told(batches))
        index.save(path)
        rows, size = len(index), len(index)
    else:
        with open_store(path) as store:
            rows = sum(_upsert(store, arguments, batch, first) for batch, first in _numbered(_told(batches)))
            size = len(collection_of(store, arguments.collection or "rows")) if rows else 0
    data = {"rows": rows, "size": size, "path": str(path)}
    return Answer(data, f"{rows:,} rows put into {path}, which has {size:,} now")


def _upsert(store: Store, arguments: argparse.Namespace, batch: tables.Batch, first: int) -> int:
    """Rows without keys get their number in the file."""
    rows = as_array(batch.vectors)
    name = arguments.collection or "rows"
    if name not in store:
        kind = new_index(arguments)
        store.create_collection(name, rows.shape[1], arguments.metric, index=kind)
    keys = list(range(first, first + len(rows))) if batch.keys is None else batch.keys
    return store[name].upsert(keys, rows, batch.metadata)


def _numbered(batches: Iterator[tables.Batch]) -> Iterator[tuple[tables.Batch, int]]:
    first = 0
    for batch in batches:
        yield batch, first
        first += len(batch.vectors)


def _told(batches: Iterator[tables.Batch]) -> Iterator[tables.Batch]:
    """The same, with a line on a terminal that says how far it is."""
    done = 0
    for batch in batches:
        yield batch
        done += len(batch.vectors)
        if sys.stderr.isatty():
            print(f"\r{done:,} rows", end="", file=sys.stderr, flush=True)
    if done and sys.stderr.isatty():
        print(file=sys.stderr)


def bring_out(arguments: argparse.Namespace) -> Answer:
    """In the order of keys or ids."""
    with opened(arguments.path) as place:
        if isinstance(place, Store):
            batches = _of_collection(collection_of(place, arguments.collection), where_of(arguments.where))
        elif arguments.where is not None:
            raise ValueError("--where: an index has no metadata to filter by")
        else:
            batches = _of_index(place)
        rows = tables.write(arguments.file, batches)
    data = {"rows": rows, "file": str(arguments.file)}
    return Answer(data, f"{rows:,} rows written to {arguments.file}")


def _of_collection(collection: Collection, where: dict[str, Any] | None) -> Iterator[tables.Batch]:
    rows = iter(collection.scan(where))
    while chunk := list(islice(rows, _ROWS)):
        vectors = np.stack([row.vector for row in chunk])
        yield tables.Batch([row.key for row in chunk], vectors, [row.metadata for row in chunk])


def _of_index(index: Index) -> Iterator[tables.Batch]:
    ids = index.ids
    for first in range(0, len(ids), _ROWS):
        part = ids[first : first + _ROWS]
        yield tables.Batch(part.tolist(), index.get(part), None)
