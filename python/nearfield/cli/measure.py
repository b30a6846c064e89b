"""`bench` and `demo`: how good and how fast, on your rows or on made-up ones."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfield._core import Index, load
from nearfield.cli import tables
from nearfield.cli.answer import Answer
from nearfield.cli.kinds import add_kind, make_index
from nearfield.evaluate import Report, evaluate, exact_neighbors
from nearfield.files import read_ann_hdf5, read_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["register"]

_HELD_OUT = 1000  # queries, where a file has none: rows that are left out of the index, a tenth at most


def register(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the commands."""
    text = "measure recall and speed: of an index, or of one made from the rows of a file"
    parser = commands.add_parser("bench", parents=[shared], help=text, description=text)
    parser.add_argument("file", type=Path, help=".nf, .npy, .fvecs, .bvecs, .hdf5, .jsonl or .parquet")
    parser.add_argument("--queries", type=Path, metavar="FILE", help="a file of vectors to ask for")
    parser.add_argument("-k", type=int, default=10, help="neighbours for each query (10)")
    parser.add_argument("--ef", metavar="LIST", help="beams of a graph, such as 16,32,64")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="where to draw the curve (.png, .svg, .pdf)"
    )
    add_kind(parser)
    parser.set_defaults(run=bench)

    text = "index made-up rows, search and measure them"
    parser = commands.add_parser("demo", parents=[shared], help=text, description=text)
    parser.add_argument("--rows", type=int, default=20_000, help="how many (20000)")
    parser.set_defaults(run=demo)


def bench(arguments: argparse.Namespace) -> Answer:
    """An index is asked as it is; of a file of rows one is made first."""
    index, queries, truth = _asked(arguments)
    beams = [int(beam) for beam in arguments.ef.split(",")] if arguments.ef else None
    report = evaluate(index, queries, truth, arguments.k, ef=beams)
    if arguments.plot is not None:
        report.plot(arguments.plot)
    return Answer(_data(report), repr(report))


def _asked(arguments: argparse.Namespace) -> tuple[Index, NDArray[Any], NDArray[Any] | None]:
    """What to ask, for what, and the true answers where they are known."""
    file: Path = arguments.file
    queries = None if arguments.queries is None else read_vectors(arguments.queries)
    if file.suffix == ".nf":
        if queries is None:
            raise ValueError("name a file of queries with --queries: the rows of an index find themselves")
        return load(file), queries, None
    if file.suffix in (".hdf5", ".h5") and queries is None:
        data = read_ann_hdf5(file)
        arguments.metric = data.metric
        return make_index(arguments, [tables.Batch(None, data.train, None)]), data.test, data.neighbors
    if queries is not None:
        return make_index(arguments, tables.read(file, 10_000)), queries, None
    rows = np.concatenate([np.asarray(batch.vectors) for batch in tables.read(file, 10_000)])
    asked = np.zeros(len(rows), dtype=bool)
    count = min(_HELD_OUT, len(rows) // 10)
    asked[np.random.default_rng(0).choice(len(rows), count, replace=False)] = True
    return make_index(arguments, [tables.Batch(None, rows[~asked], None)]), rows[asked], None


def _data(report: Report) -> dict[str, Any]:
    columns = report._columns()
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return {"name": report.name, "k": report.k, "queries": report.queries, "size": report.size, "rows": rows}


def demo(arguments: argparse.Namespace) -> Answer:
    """Clusters, as embeddings have them; nothing is read and nothing is written."""
    from nearfield import HnswIndex

    if arguments.rows < 100:
        raise ValueError(f"--rows: expected 100 or more, got {arguments.rows}")
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((200, 96), dtype=np.float32)
    noise = rng.standard_normal((arguments.rows + 200, 96), dtype=np.float32)
    rows = centres[rng.integers(0, 200, len(noise))] + 0.8 * noise
    rows, queries = rows[:-200], rows[-200:]
    index = HnswIndex(dim=96, metric="cosine")
    began = time.perf_counter()
    index.add(rows)
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    truth = exact_neighbors(rows, queries)
    exact = len(queries) / (time.perf_counter() - began)
    report = evaluate(index, queries, truth, ef=[16, 32, 64, 128])
    data = {"rows": len(rows), "build_seconds": seconds, "exact_qps": exact, "report": _data(report)}
    text = (
        f"{len(rows):,} rows of 96 values, in 200 clusters, were linked to a graph in {seconds:.2f} s.\n"
        f"A search that compares a query with every row answers {exact:,.0f} queries/s.\n"
        f"The graph, with beams (ef) of several widths:\n\n{report!r}"
    )
    return Answer(data, text)
