"""Files of rows: keys, vectors and metadata, batch by batch.

The idea: whatever a file is, it becomes batches of three columns, and whatever a file is to be, it is made of
such batches; so importing and exporting know one thing each. JSON lines and Parquet carry everything, files
of vectors only these.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nearfield.files import read_ann_hdf5, read_vectors
from nearfield.optional import needed

__all__ = ["Batch", "read", "write"]


class Batch(NamedTuple):
    """Some rows: keys and metadata are None where the file has none."""

    keys: list[Any] | None
    vectors: Any
    metadata: list[dict[str, Any]] | None


def read(path: Path, size: int) -> Iterator[Batch]:
    """Read rows, so many at a time."""
    reader = _READERS.get(path.suffix.lower(), _read_arrays)
    return reader(path, size)


def write(path: Path, batches: Iterable[Batch]) -> int:
    """Write rows, and say how many there were."""
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ValueError(f"expected a file with suffix {', '.join(_WRITERS)}, got {path.name!r}")
    return writer(path, batches)


def _read_arrays(path: Path, size: int) -> Iterator[Batch]:
    hdf5 = path.suffix.lower() in (".hdf5", ".h5")
    rows = read_ann_hdf5(path).train if hdf5 else read_vectors(path)
    for first in range(0, len(rows), size):
        yield Batch(None, rows[first : first + size], None)


def _read_lines(path: Path, size: int) -> Iterator[Batch]:
    with path.open(encoding="utf-8") as lines:
        numbered = ((n, line) for n, line in enumerate(lines, 1) if line.strip())
        while chunk := list(islice(numbered, size)):
            rows = [_row(path, number, line) for number, line in chunk]
            keyed = all("key" in row for row in rows)
            keys = [row["key"] for row in rows] if keyed else None
            yield Batch(keys, [row["vector"] for row in rows], [row.get("metadata") or {} for row in rows])


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: no JSON: {error}") from error
    if not isinstance(row, dict) or "vector" not in row:
        raise ValueError(f'{path}, line {number}: expected an object with a "vector", got {line[:60]!r}')
    return row


def _read_parquet(path: Path, size: int) -> Iterator[Batch]:
    file = needed("pyarrow.parquet", "frames").ParquetFile(path)
    names = file.schema_arrow.names
    if "vector" not in names:
        raise ValueError(f"{path}: expected a column 'vector', got {names}")
    for part in file.iter_batches(batch_size=size):
        keys = part.column("key").to_pylist() if "key" in names else None
        others = [name for name in names if name not in ("key", "vector", "metadata", *_STAMPS)]
        said = part.select(others).to_pylist() if others else [{} for _ in range(len(part))]
        if "metadata" in names:
            texts = part.column("metadata").to_pylist()
            said = [json.loads(text or "{}") | row for text, row in zip(texts, said, strict=True)]
        yield Batch(keys, part.column("vector"), said)


_STAMPS = ("created_at", "updated_at")


def _write_lines(path: Path, batches: Iterable[Batch]) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for batch in batches:
            for place, vector in enumerate(np.asarray(batch.vectors).tolist()):
                row = {"vector": vector}
                if batch.keys is not None:
                    row["key"] = _text(batch.keys[place])
                if batch.metadata is not None:
                    row["metadata"] = batch.metadata[place]
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
    return count


def _write_parquet(path: Path, batches: Iterable[Batch]) -> int:
    arrow, parquet = needed("pyarrow", "frames"), needed("pyarrow.parquet", "frames")
    count, writer = 0, None
    try:
        for batch in batches:
            rows = np.asarray(batch.vectors, dtype=np.float32)
            values = arrow.array(np.ascontiguousarray(rows).ravel())
            columns = {"vector": arrow.FixedSizeListArray.from_arrays(values, rows.shape[1])}
            if batch.keys is not None:
                whole = all(isinstance(key, int) for key in batch.keys)
                columns["key"] = arrow.array(batch.keys if whole else [str(_text(key)) for key in batch.keys])
            if batch.metadata is not None:
                columns["metadata"] = arrow.array([json.dumps(said) for said in batch.metadata])
            table = arrow.table(columns)
            writer = writer or parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
            count += len(rows)
    finally:
        if writer is not None:
            writer.close()
    return count


def _write_array(path: Path, batches: Iterable[Batch]) -> int:
    parts = [np.asarray(batch.vectors, dtype=np.float32) for batch in batches]
    np.save(path, np.concatenate(parts) if parts else np.empty((0, 0), np.float32))
    return sum(map(len, parts))


def _text(key: Any) -> Any:
    return key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else key


_READERS: dict[str, Callable[[Path, int], Iterator[Batch]]] = {
    ".jsonl": _read_lines, ".ndjson": _read_lines, ".parquet": _read_parquet,
}  # fmt: skip
_WRITERS: dict[str, Callable[[Path, Iterable[Batch]], int]] = {
    ".jsonl": _write_lines, ".ndjson": _write_lines, ".parquet": _write_parquet, ".npy": _write_array,
}  # fmt: skip
