"""sqlite-vec: a scan behind SQL, here over a table in memory.

Some builds of Python come with an sqlite3 that loads no extensions; then the same module from the
distribution pysqlite3 (or pysqlite3-binary) takes its place.
"""

from __future__ import annotations

import importlib
import sqlite3
from typing import Any

import numpy as np

from engines import Engine, Ids, Mask, Metric, Vectors

METRICS = {"cosine": "cosine", "l2": "l2"}
NEAREST = "SELECT id FROM rows WHERE embedding MATCH ? AND k = ? {} ORDER BY distance"


class SqliteVec(Engine):
    kind = "flat"
    metrics = frozenset({"cosine", "l2"})
    distribution = "sqlite-vec"
    filters = True
    query = NEAREST.format("")

    def build(self, base: Vectors, metric: Metric, threads: int) -> None:
        import sqlite_vec

        able = hasattr(sqlite3.Connection, "enable_load_extension")
        driver: Any = sqlite3 if able else importlib.import_module("pysqlite3.dbapi2")
        self.database = driver.connect(":memory:")
        self.database.enable_load_extension(True)
        sqlite_vec.load(self.database)
        self.database.execute(
            "CREATE VIRTUAL TABLE rows USING vec0("
            f"id INTEGER PRIMARY KEY, embedding float[{base.shape[1]}] distance_metric={METRICS[metric]})"
        )
        with self.database:  # one transaction
            self.database.executemany(
                "INSERT INTO rows VALUES (?, ?)", ((i, row.data) for i, row in enumerate(base))
            )

    def filter(self, mask: Mask) -> None:
        with self.database:
            self.database.execute("CREATE TABLE allowed(id INTEGER PRIMARY KEY)")
            self.database.executemany(
                "INSERT INTO allowed VALUES (?)", ((int(i),) for i in np.flatnonzero(mask))
            )
        # What its documentation calls pre-filtering: rows that are not allowed are not scored.
        self.query = NEAREST.format("AND id IN (SELECT id FROM allowed)")

    def search_one(self, query: Vectors, k: int) -> Ids:
        return np.array([row[0] for row in self.database.execute(self.query, (query.data, k))])

    def search_batch(self, queries: Vectors, k: int) -> Ids:
        return np.array([self.search_one(query, k) for query in queries])  # it has no call for many
