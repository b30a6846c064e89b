"""What the tests of the store share: data, and a look at a store as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import nearfield as nf

Content = dict[str, tuple[dict[str, Any], list[tuple[Any, ...]]]]


def gaussian(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)


def content(store: nf.Store) -> Content:
    """All that a store holds, in a form that can be compared."""
    found = {}
    for name in store.collections():
        collection = store[name]
        rows = [
            (
                type(row.key).__name__,
                row.key,
                row.vector.tobytes(),
                row.metadata,
                row.created_at,
                row.updated_at,
            )
            for row in collection.scan()
        ]
        assert len(collection) == collection.count() == len(rows)
        found[name] = (dict(collection.meta), rows)
    return found


def file_bytes(path: Path) -> dict[str, bytes]:
    """Every file of a directory."""
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}
