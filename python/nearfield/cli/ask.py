"""`search`: the rows nearest to a vector, or to a row."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from nearfield._core import Collection, Index, Store
from nearfield.cli.answer import Answer, as_json
from nearfield.cli.places import add_collection, collection_of, key_of, opened, where_of
from nearfield.display import table_text

__all__ = ["register"]


def register(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command."""
    text = "find the rows nearest to a vector, or to a row"
    parser = commands.add_parser("search", parents=[shared], help=text, description=text)
    parser.add_argument("path", type=Path, help="the store, or the index")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--vector", metavar="JSON", help="a list of numbers")
    what.add_argument("--like", metavar="KEY", help="the key, or the id, of a row")
    add_collection(parser)
    parser.add_argument("-k", type=int, default=10, help="how many rows (10)")
    parser.add_argument("--where", metavar="JSON", help="only rows that this filter lets through")
    parser.add_argument("--min-score", type=float, metavar="SCORE", help="only rows with this score or more")
    parser.add_argument("--exact", action="store_true", help="compare with every row")
    parser.set_defaults(run=search)


def search(arguments: argparse.Namespace) -> Answer:
    """One query, its hits as a list."""
    with opened(arguments.path) as place:
        hits = _in_store(place, arguments) if isinstance(place, Store) else _in_index(place, arguments)
    header = list(dict.fromkeys(name for hit in hits for name in hit))
    cells = [[_cell(hit.get(name)) for name in header] for hit in hits]
    return Answer(hits, table_text(header, cells) if hits else "nothing found")


def _in_store(store: Store, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    collection = collection_of(store, arguments.collection)
    result = collection.search(
        _query(collection, arguments),
        arguments.k,
        where=where_of(arguments.where),
        min_score=arguments.min_score,
        exact=arguments.exact,
        include=["metadata"],
    )
    return [
        {"key": hit.key, "score": hit.score, "distance": hit.distance, "metadata": hit.metadata}
        for hit in result
    ]


def _in_index(index: Index, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    if arguments.where is not None:
        raise ValueError("--where: an index has no metadata to filter by")
    result = index.search(
        _query(index, arguments), arguments.k, min_score=arguments.min_score, exact=arguments.exact
    )
    columns = (result.ids.tolist(), result.scores.tolist(), result.distances.tolist())
    return [{"id": i, "score": s, "distance": d} for i, s, d in zip(*columns, strict=True)]


def _query(rows: Collection | Index, arguments: argparse.Namespace) -> Any:
    if arguments.like is not None:
        key = key_of(rows, arguments.like)
        row: Any = rows.get(key)
        return row.vector if isinstance(rows, Collection) else row
    try:
        return json.loads(arguments.vector)
    except ValueError as error:
        raise ValueError(f"--vector: expected JSON such as '[0.1, 0.2]': {error}") from error


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}"
    return as_json(value) if isinstance(value, dict) else str(value)
