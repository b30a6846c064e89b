"""Kinds of indexes by their names on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any, Literal

from nearfield._core import FlatIndex, HnswIndex, Index, QuantizedIndex
from nearfield.arrays import as_array
from nearfield.cli.tables import Batch

__all__ = ["add_kind", "make_index", "new_index"]

_METRICS = ("cosine", "dot", "l2", "l1", "hamming")


def add_kind(parser: argparse.ArgumentParser) -> None:
    """Add what chooses an index."""
    parser.add_argument("--index", choices=("hnsw", "flat", "quantized"), default="hnsw", help="its kind")
    parser.add_argument("--metric", choices=_METRICS, default="cosine", help="how rows are compared")
    parser.add_argument("--bits", type=int, default=4, help="of a value in a quantized index")


def make_index(arguments: argparse.Namespace, batches: Iterable[Batch]) -> Index:
    """An index with these rows; keys that are numbers become their ids."""
    index: Index | None = None
    for batch in batches:
        rows = as_array(batch.vectors)
        if index is None:
            index = _empty(arguments, rows.shape[1])
        index.add(rows, batch.keys)
    if index is None:
        raise ValueError("there are no rows to make an index of")
    return index


def new_index(arguments: argparse.Namespace) -> Literal["hnsw", "flat"]:
    """The kind of index that a collection has."""
    if arguments.index == "quantized":
        raise ValueError(
            "collections have --index hnsw or flat; a quantized index is a file that ends in .nf"
        )
    kind: Literal["hnsw", "flat"] = arguments.index
    return kind


def _empty(arguments: argparse.Namespace, dim: int) -> Index:
    metric: Any = arguments.metric
    if arguments.index == "flat":
        return FlatIndex(dim, metric)
    if arguments.index == "quantized":
        bits: Any = arguments.bits
        return QuantizedIndex(dim, metric, bits=bits, keep="f32")
    return HnswIndex(dim, metric)
