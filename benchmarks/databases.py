"""Databases inside the process, behind one interface: rows with metadata go in, filtered searches come out.

Each is set as its documentation says for speed: scalar fields are indexed where it has indexes for them, what
it builds for searching is built before the clock starts, and searches use its defaults. A filter is a list of
conditions that all must hold, each a field, an operator ("eq", "in", "lt", "ge") and a value.
"""

from __future__ import annotations

import importlib
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from engines import Ids, Metric, Vectors

#: Field, operator, value.
Condition = tuple[str, str, Any]
Filter = list[Condition]
Search = Callable[[Vectors, int], Ids]

BATCH = 1_000


class Schema(NamedTuple):
    """What the rows are."""

    dim: int
    metric: Metric
    fields: dict[str, type]


class Database:
    """One library, with its rows in a folder of its own."""

    name: str
    distribution: str

    def __init__(self, folder: Path, schema: Schema) -> None:
        self.folder = folder
        self.dim, self.metric, self.fields = schema

    def load(self, base: Vectors, rows: list[dict[str, Any]]) -> None:
        """Takes all rows in, row number i under i, and gets ready to search."""
        raise NotImplementedError

    def open(self) -> None:
        """Opens what an earlier process loaded."""
        raise NotImplementedError

    def searcher(self, where: Filter | None) -> Search:
        """A search with this filter."""
        raise NotImplementedError


class Nearfield(Database):
    """The same dictionary in every call: the store remembers what the last few let through."""

    name = "nearfield"
    distribution = "nearfield"

    def load(self, base: Vectors, rows: list[dict[str, Any]]) -> None:
        import nearfield as nf

        with nf.open(self.folder) as store:
            docs = store.create_collection("docs", dim=self.dim, metric=self.metric)
            for start in range(0, len(base), BATCH):
                end = min(start + BATCH, len(base))
                docs.upsert(range(start, end), base[start:end], rows[start:end])
        self.open()

    def open(self) -> None:
        import nearfield as nf

        self.store = nf.open(self.folder)
        self.store.flush(wait=True)
        self.docs = self.store["docs"]

    def searcher(self, where: Filter | None) -> Search:
        said = _dictionary(where)
        return lambda query, k: np.array(self.docs.search(query, k, where=said, threads=1).keys)


class NearfieldAnew(Nearfield):
    """A filter that no call has seen before: nothing can be remembered."""

    name = "nearfield-anew"
    calls = 0

    def searcher(self, where: Filter | None) -> Search:
        said = _dictionary(where) or {}

        def search(query: Vectors, k: int) -> Ids:
            NearfieldAnew.calls += 1
            both = {"$and": [said, {"installed_size": {"$ne": -NearfieldAnew.calls}}]}
            return np.array(self.docs.search(query, k, where=both, threads=1).keys)

        return search


def _dictionary(where: Filter | None) -> dict[str, Any] | None:
    if where is None:
        return None
    names = {"eq": "$eq", "in": "$in", "lt": "$lt", "ge": "$gte"}
    return {"$and": [{field: {names[operator]: value}} for field, operator, value in where]}


def _lancedb() -> Any:
    """It looks for a library called `datasets`, and must not take our file of that name for it."""
    here, ours, path = str(Path(__file__).parent), sys.modules.pop("datasets", None), sys.path
    sys.path = [folder for folder in path if folder != here]
    try:
        return importlib.import_module("lancedb")
    finally:
        sys.path = path
        if ours:
            sys.modules["datasets"] = ours


class Lance(Database):
    name = distribution = "lancedb"

    def load(self, base: Vectors, rows: list[dict[str, Any]]) -> None:
        import pyarrow as pa

        vectors = pa.FixedSizeListArray.from_arrays(pa.array(base.ravel()), self.dim)
        columns = {field: pa.array([row[field] for row in rows]) for field in self.fields}
        table = pa.table({"id": pa.array(range(len(base))), "vector": vectors, **columns})
        docs = _lancedb().connect(str(self.folder)).create_table("docs", table)
        docs.create_index(metric=self.metric, index_type="IVF_HNSW_SQ", num_partitions=1)
        for field, kind in self.fields.items():
            docs.create_scalar_index(field, index_type="BITMAP" if kind is str else "BTREE")
        self.open()

    def open(self) -> None:
        self.docs = _lancedb().connect(str(self.folder)).open_table("docs")

    def searcher(self, where: Filter | None) -> Search:
        said = _sql(where)

        def search(query: Vectors, k: int) -> Ids:
            asked = self.docs.search(query).distance_type(self.metric).limit(k).select(["id", "_distance"])
            if said:
                asked = asked.where(said, prefilter=True)
            return np.array(asked.to_arrow()["id"])

        return search


class Chroma(Database):
    name = distribution = "chromadb"

    def load(self, base: Vectors, rows: list[dict[str, Any]]) -> None:
        import chromadb

        client = chromadb.PersistentClient(str(self.folder))
        docs = client.create_collection("docs", configuration={"hnsw": {"space": self.metric}})
        for start in range(0, len(base), BATCH):
            part = slice(start, start + BATCH)
            ids = [str(i) for i in range(start, min(start + BATCH, len(base)))]
            docs.add(ids, embeddings=base[part], metadatas=rows[part])
        self.docs = docs

    def open(self) -> None:
        import chromadb

        self.docs = chromadb.PersistentClient(str(self.folder)).get_collection("docs")

    def searcher(self, where: Filter | None) -> Search:
        names = {"eq": "$eq", "in": "$in", "lt": "$lt", "ge": "$gte"}
        said: Any = [{field: {names[operator]: value}} for field, operator, value in where or ()]
        said = {"$and": said} if len(said) > 1 else said[0] if said else None

        def search(query: Vectors, k: int) -> Ids:
            found = self.docs.query(query_embeddings=[query], n_results=k, where=said, include=[])
            return np.array([int(key) for key in found["ids"][0]])

        return search


class QdrantEdge(Database):
    name = "qdrant-edge"
    distribution = "qdrant-edge-py"

    def load(self, base: Vectors, rows: list[dict[str, Any]]) -> None:
        import qdrant_edge as edge

        self.folder.mkdir()
        distance = edge.Distance.Cosine if self.metric == "cosine" else edge.Distance.Euclid
        vectors = edge.EdgeVectorParams(size=self.dim, distance=distance)
        shard = edge.EdgeShard.create(str(self.folder), edge.EdgeConfig(vectors=vectors))
        for field, kind in self.fields.items():
            schema = edge.PayloadSchemaType.Keyword if kind is str else edge.PayloadSchemaType.Integer
            shard.update(edge.UpdateOperation.create_field_index(field, schema))
        for start in range(0, len(base), BATCH):
            part = enumerate(
                zip(base[start : start + BATCH], rows[start : start + BATCH], strict=True), start
            )
            points = [edge.Point(i, vector.tolist(), row) for i, (vector, row) in part]
            shard.update(edge.UpdateOperation.upsert_points(points))
        shard.optimize()
        self.shard = shard

    def open(self) -> None:
        import qdrant_edge as edge

        self.shard = edge.EdgeShard.load(str(self.folder))

    def searcher(self, where: Filter | None) -> Search:
        import qdrant_edge as edge

        ranges = {"lt": "lt", "ge": "gte"}

        def condition(field: str, operator: str, value: Any) -> Any:
            if operator in ranges:
                return edge.FieldCondition(field, range=edge.RangeFloat(**{ranges[operator]: value}))
            match: Any = edge.MatchValue(value) if operator == "eq" else edge.MatchAny(value)
            return edge.FieldCondition(field, match=match)

        said = edge.Filter(must=[condition(*one) for one in where]) if where else None

        def search(query: Vectors, k: int) -> Ids:
            asked = edge.SearchRequest(edge.Query.Nearest(query.tolist()), k, filter=said, with_payload=False)
            return np.array([point.id for point in self.shard.search(asked)])

        return search


class Zvec(Database):
    name = distribution = "zvec"

    def load(self, base: Vectors, rows: list[dict[str, Any]]) -> None:
        import zvec

        hnsw = zvec.HnswIndexParam(getattr(zvec.MetricType, self.metric.upper()))
        fields = [
            zvec.FieldSchema(
                field,
                zvec.DataType.STRING if kind is str else zvec.DataType.INT64,
                index_param=zvec.InvertIndexParam(enable_range_optimization=kind is int),
            )
            for field, kind in self.fields.items()
        ]
        vectors = zvec.VectorSchema("row", zvec.DataType.VECTOR_FP32, self.dim, index_param=hnsw)
        schema = zvec.CollectionSchema(name="docs", fields=fields, vectors=vectors)
        self.docs = zvec.create_and_open(str(self.folder), schema)
        for start in range(0, len(base), BATCH):
            part = enumerate(
                zip(base[start : start + BATCH], rows[start : start + BATCH], strict=True), start
            )
            docs = [
                zvec.Doc(id=str(i), vectors={"row": vector}, fields={name: row[name] for name in self.fields})
                for i, (vector, row) in part
            ]
            self.docs.insert(docs)
        self.docs.optimize()

    def open(self) -> None:
        import zvec

        self.docs = zvec.open(str(self.folder))

    def searcher(self, where: Filter | None) -> Search:
        import zvec

        said = _sql(where) or None

        def search(query: Vectors, k: int) -> Ids:
            asked = zvec.Query(field_name="row", vector=query)
            found = self.docs.query(asked, topk=k, filter=said, output_fields=[])
            return np.array([int(row.id) for row in found])

        return search


class SqliteVec(Database):
    """A scan; conditions on its metadata columns are looked at inside of it."""

    name = distribution = "sqlite-vec"

    def load(self, base: Vectors, rows: list[dict[str, Any]]) -> None:
        self.folder.mkdir()
        self.open()
        columns = ", ".join(
            f"{field} {'text' if kind is str else 'integer'}" for field, kind in self.fields.items()
        )
        self.database.execute(
            "CREATE VIRTUAL TABLE rows USING vec0("
            f"id INTEGER PRIMARY KEY, embedding float[{self.dim}] distance_metric={self.metric}, {columns})"
        )
        with self.database:
            self.database.executemany(
                f"INSERT INTO rows VALUES (?, ?{', ?' * len(self.fields)})",
                ((i, base[i].data, *(row[field] for field in self.fields)) for i, row in enumerate(rows)),
            )

    def open(self) -> None:
        import sqlite_vec

        able = hasattr(sqlite3.Connection, "enable_load_extension")
        driver: Any = sqlite3 if able else importlib.import_module("pysqlite3.dbapi2")
        self.database = driver.connect(str(self.folder / "rows.db"))
        self.database.enable_load_extension(True)
        sqlite_vec.load(self.database)

    def searcher(self, where: Filter | None) -> Search:
        said = _sql(where)
        text = f"SELECT id FROM rows WHERE embedding MATCH ? AND k = ? {'AND ' + said if said else ''}"
        return lambda query, k: np.array([row[0] for row in self.database.execute(text, (query.data, k))])


def _sql(where: Filter | None) -> str:
    """The conditions in SQL, as far as these libraries agree on it."""
    symbols = {"eq": "=", "lt": "<", "ge": ">="}

    def quoted(value: Any) -> str:
        return str(value) if not isinstance(value, str) else "'" + value.replace("'", "''") + "'"

    def one(field: str, operator: str, value: Any) -> str:
        if operator == "in":
            return f"{field} IN ({', '.join(map(quoted, value))})"
        return f"{field} {symbols[operator]} {quoted(value)}"

    return " AND ".join(one(*condition) for condition in where or ())


DATABASES: dict[str, type[Database]] = {
    database.name: database
    for database in (Nearfield, NearfieldAnew, Lance, Chroma, QdrantEdge, Zvec, SqliteVec)
}
