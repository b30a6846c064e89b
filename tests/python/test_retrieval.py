"""What goes beyond the best k rows: pages, groups, diversity, order, and how a search was answered."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from store_fixtures import gaussian

import nearfield as nf

ROWS = 600
DIM = 8


def said(i: int) -> dict:
    """Numbers written in two ways, text, lists, a path into an object, and rows that say nothing."""
    if i % 10 == 0:
        return {}
    kind = [1, 1.0, "1", True, None, [1], {"a": 1}, 2.5, "two"][i % 9]
    return {"doc": {"id": i % 37}, "kind": kind, "year": 2000 + i * 7 % 25, "lang": "en" if i % 3 else "de"}


@pytest.fixture(scope="module", params=["flat", "hnsw"])
def docs(request):
    with nf.open(":memory:") as store:
        docs = store.create_collection("docs", dim=DIM, index=request.param)
        vectors = gaussian(ROWS, DIM)
        vectors[100:140] = vectors[100]  # equal scores, whose order is that of keys
        docs.upsert(range(ROWS), vectors, [said(i) for i in range(ROWS)])
        store.flush(wait=True)
        yield docs


QUERIES = gaussian(5, DIM, seed=1)


def hits_of(result):
    return [(hit.key, hit.score) for hit in result]


# ---- pages


@pytest.mark.parametrize("where", [None, {"lang": "de"}, {"year": {"$lt": 0}}])
@pytest.mark.parametrize("k", [7, 50])
def test_pages_are_one_ranking_cut_into_pieces(docs, where, k):
    for query in [*QUERIES, docs.get(120).vector]:
        whole = hits_of(docs.search(query, k=ROWS, where=where, exact=True))
        page = docs.search(query, k=k, where=where, exact=True)
        paged = hits_of(page)
        while len(page):
            page = docs.search(query, k=k, where=where, exact=True, after=page)
            paged += hits_of(page)
        assert paged == whole


def test_a_page_begins_behind_a_hit_which_need_not_be_there(docs):
    ranking = list(docs.search(QUERIES[0], k=20))
    assert docs.search(QUERIES[0], k=5, after=ranking[4]).keys == [hit.key for hit in ranking[5:10]]
    gone = nf.Hit("gone", ranking[4].score, 0.0, "docs")
    assert docs.search(QUERIES[0], k=5, after=gone).keys == [hit.key for hit in ranking[5:10]]
    assert docs.search(QUERIES[:2], k=5, after=ranking[4]).keys[0] == [hit.key for hit in ranking[5:10]]
    assert len(docs.search(QUERIES[0], k=0, after=ranking[4])) == 0


def test_a_place_that_is_none_is_refused(docs):
    with pytest.raises(TypeError, match="Hit or a CollectionResult"):
        docs.search(QUERIES[0], after="key")
    with pytest.raises(ValueError, match="one query"):
        docs.search(QUERIES[0], after=docs.search(QUERIES))
    with pytest.raises(ValueError, match="no page behind"):
        docs.search(QUERIES[0], after=docs.search(QUERIES[0], k=0))
    for two in ({"group_by": "year"}, {"diversity": 0.5}):
        with pytest.raises(ValueError, match="one of after, group_by and diversity"):
            docs.search(QUERIES[0], after=next(iter(docs.search(QUERIES[0]))), **two)


# ---- groups


def value_at(row: dict, path: str):
    for name in path.split("."):
        if not isinstance(row, dict) or name not in row:
            return None, False
        row = row[name]
    return row, True


def same(a, b) -> bool:
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return a == b and isinstance(a, str) == isinstance(b, str)


def grouped(ranking, path: str, k: int, size: int):
    """The best rows of the best groups, from a ranking of all rows."""
    groups: list[tuple] = []
    for hit in ranking:
        value, is_there = value_at(said(hit.key), path)
        if not is_there:
            continue
        group = next((hits for known, hits in groups if same(known, value)), None)
        if group is None:
            group = []
            groups.append((value, group))
        group.append(hit)
    best = [hit for _, hits in groups[:k] for hit in hits[:size]]
    return sorted((-hit.score, hit.key) for hit in best)


@pytest.mark.parametrize("path", ["doc.id", "kind", "lang", "year", "nowhere"])
@pytest.mark.parametrize(("k", "size"), [(1, 1), (3, 2), (10, 1), (10, 4), (100, 3)])
def test_groups_are_those_of_a_ranking_of_all_rows(docs, path, k, size):
    for where in (None, {"year": {"$gte": 2010}}):
        for query in QUERIES[:2]:
            ranking = list(docs.search(query, k=ROWS, exact=True, where=where))
            found = docs.search(query, k=k, exact=True, where=where, group_by=path, group_size=size)
            assert [(-hit.score, hit.key) for hit in found] == grouped(ranking, path, k, size)
            assert all(
                same(group, value_at(said(key), path)[0])
                for group, key in zip(found.groups, found.keys, strict=True)
            )
            assert found.metadata is None


def test_groups_of_several_queries_fill_arrays(docs):
    found = docs.search(QUERIES, k=3, group_by="lang", group_size=4, exact=True, include=["metadata"])
    assert found.scores.shape == (5, 12)
    assert found.counts.tolist() == [8] * 5
    assert all(sorted(groups) == ["de"] * 4 + ["en"] * 4 for groups in found.groups)
    assert [row["lang"] for row in found.metadata[0]] == found.groups[0]
    assert list(found.to_pandas()["group"][:8]) == found.groups[0]
    single = docs.search(QUERIES[0], k=3, group_by="lang", group_size=4, exact=True)
    assert single.keys == found.keys[0]
    assert docs.search(QUERIES[0], k=3).groups is None


def test_what_is_no_path_or_size_is_refused(docs):
    with pytest.raises(nf.FilterError, match="path"):
        docs.search(QUERIES[0], group_by="a..b")
    for size in (0, -1):
        with pytest.raises(ValueError, match="group_size"):
            docs.search(QUERIES[0], group_by="a", group_size=size)


# ---- diversity


def mmr(query, hits, vectors, k: int, diversity: float, metric: str):
    """Maximal marginal relevance as it is defined, over these candidates."""

    def likeness(a, b):
        a, b = np.float64(a), np.float64(b)
        if metric == "cosine":
            return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        return float(a @ b) if metric == "dot" else -float(np.linalg.norm(a - b))

    left, chosen = list(range(len(hits))), []
    while left and len(chosen) < k:
        worth = [
            (1 - diversity) * hits[i].score
            - diversity * max((likeness(vectors[i], vectors[j]) for j in chosen), default=0.0)
            for i in left
        ]
        chosen.append(left.pop(int(np.argmax(worth))))
    return [hits[i].key for i in chosen]


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_diverse_hits_are_those_of_maximal_marginal_relevance(metric):
    with nf.open(":memory:") as store:
        docs = store.create_collection("docs", dim=DIM, metric=metric, index="flat")
        vectors = gaussian(400, DIM, seed=3)
        docs.upsert(range(400), vectors)
        for query, k, diversity in itertools.product(QUERIES[:3], (1, 5, 20), (0.0, 0.3, 0.7, 1.0)):
            found = docs.search(query, k=k, diversity=diversity)
            candidates = list(docs.search(query, k=max(50, 5 * k)))
            expected = mmr(query, candidates, [vectors[hit.key] for hit in candidates], k, diversity, metric)
            assert found.keys == expected
            scores = {hit.key: hit.score for hit in candidates}
            assert [hit.score for hit in found] == [scores[key] for key in found.keys]
            if diversity == 0:
                assert found.keys == docs.search(query, k=k).keys
        assert docs.search(QUERIES[:2], k=4, diversity=0.5, include=["vectors"]).vectors[1].shape == (4, DIM)
        assert docs.search(QUERIES[0], k=4, diversity=0.5).vectors is None
        for wrong in (-0.1, 1.1, float("nan")):
            with pytest.raises(ValueError, match="diversity must be between"):
                docs.search(QUERIES[0], diversity=wrong)


def test_a_copy_of_a_hit_comes_late_where_hits_should_differ(docs):
    query = docs.get(100).vector
    assert docs.search(query, k=5).keys == [100, 101, 102, 103, 104]
    found = docs.search(query, k=5, diversity=0.7).keys
    assert found[0] == 100
    assert not set(found[1:]) & set(range(101, 140))


# ---- several collections


def test_groups_diversity_and_pages_span_collections():
    with nf.open(":memory:") as store:
        vectors = gaussian(300, DIM, seed=5)
        for name, part in (("a", slice(0, 150)), ("b", slice(150, 300))):
            collection = store.create_collection(name, dim=DIM, index="flat")
            rows = range(part.start, part.stop)
            collection.upsert(
                range(150), vectors[part], [{"group": i % 11, "even": i % 2 == 0} for i in rows]
            )
        where = {"even": True}
        whole = [(hit.collection, hit.key) for hit in store.search(QUERIES[0], k=300, where=where)]
        assert len(whole) == 150
        page = store.search(QUERIES[0], k=40, where=where)
        paged = [(hit.collection, hit.key) for hit in page]
        while len(page):
            page = store.search(QUERIES[0], k=40, where=where, after=page)
            paged += [(hit.collection, hit.key) for hit in page]
        assert paged == whole
        best = store.search(QUERIES[0], k=20, group_by="group", include=["metadata"])
        assert sorted(best.groups) == list(range(11))
        every = store.search(QUERIES[0], k=300, include=["metadata"])
        first: dict = {}
        for hit in every:
            first.setdefault(hit.metadata["group"], (hit.collection, hit.key))
        assert [(hit.collection, hit.key) for hit in best] == list(first.values())
        assert len(store.search(QUERIES[0], k=5, diversity=0.9)) == 5
        plans = store.search(QUERIES[0], where=where, explain=True).plan
        assert [(plan["collection"], plan["matches"]) for plan in plans] == [("a", 75), ("b", 75)]


# ---- explanations


def test_matches_are_estimated_from_postings_where_rows_are_in_a_file(tmp_path):
    with nf.open(tmp_path / "library.nfdb") as store:
        docs = store.create_collection("docs", dim=8)
        docs.upsert(range(100), gaussian(100, 8), [{"n": i} for i in range(100)])
        store.compact()
        docs.upsert(range(100, 110), gaussian(10, 8), [{"n": i} for i in range(100, 110)])
        (plan,) = docs.search(gaussian(1, 8)[0], where={"n": {"$gte": 90}}, explain=True).plan
        # Ten rows of the file match for certain, and each of the ten in the log may.
        assert (plan["estimated_matches"], plan["matches"]) == ((10, 20), 20)
        docs.delete([95, 96])
        (plan,) = docs.search(gaussian(1, 8)[0], where={"n": {"$gte": 90}}, explain=True).plan
        assert (plan["estimated_matches"], plan["matches"]) == ((8, 20), 18)
        assert docs.count({"n": {"$gte": 90}}) == 18


def test_a_search_explains_itself():
    with nf.open(":memory:") as store:
        docs = store.create_collection("docs", dim=32)
        docs.upsert(range(9000), gaussian(9000, 32), [{"n": i} for i in range(9000)])
        store.flush(wait=True)
        queries = gaussian(3, 32, seed=2)
        assert docs.search(queries[0]).plan is None
        (plan,) = docs.search(queries, explain=True).plan
        assert (plan["plan"], plan["walk_queries"], plan["rows"]) == ("walk", 3, 9000)
        assert plan["matches"] is None
        assert plan["estimated_matches"] is None
        (plan,) = docs.search(queries, where={"n": {"$lt": 20}}, explain=True).plan
        assert (plan["plan"], plan["gather_queries"], plan["matches"]) == ("gather", 3, 20)
        (plan,) = docs.search(queries, where={"n": {"$lt": 8900}}, explain=True).plan
        assert (plan["plan"], plan["matches"]) == ("walk", 8900)
        (plan,) = docs.search(queries[0], exact=True, explain=True).plan
        assert (plan["plan"], plan["scan_queries"]) == ("scan", 1)
        flat = store.create_collection("flat", dim=32, index="flat")
        flat.upsert(range(10), gaussian(10, 32))
        (plan,) = flat.search(queries[0], explain=True).plan
        assert (plan["collection"], plan["plan"], plan["rows"]) == ("flat", "scan", 10)
        assert len(docs.search(queries[0], group_by="n", explain=True).plan) == 1


# ---- order


def place(row: dict, path: str):
    """Where a value stands among others."""
    value, is_there = value_at(row, path)
    if not is_there:
        return None
    if value is None:
        return (0, 0)
    if isinstance(value, bool):
        return (1 + value, 0)
    if isinstance(value, int | float):
        return (3, value)
    return (4, value) if isinstance(value, str) else (5 if isinstance(value, list) else 6, 0)


def in_order(keys, path: str, descending: bool = False):
    there = [key for key in keys if place(said(key), path) is not None]
    there.sort(key=lambda key: place(said(key), path), reverse=descending)
    return there + [key for key in keys if place(said(key), path) is None]


@pytest.mark.parametrize("path", ["year", "kind", "doc.id", "lang", "doc", "nowhere"])
@pytest.mark.parametrize("where", [None, {"lang": "de"}])
@pytest.mark.parametrize("batch_size", [1, 64, 1000])
def test_rows_come_in_the_order_of_what_they_say(docs, path, where, batch_size):
    keys = [row.key for row in docs.scan(where)]
    found = [row.key for row in docs.scan(where, order_by=path, batch_size=batch_size)]
    assert found == in_order(keys, path)
    # Sorting backwards keeps equal keys in their order, as Python's reverse=True does.
    descending = [row.key for row in docs.scan(where, order_by=f"-{path}", batch_size=batch_size)]
    assert descending == in_order(keys, path, descending=True)


@pytest.mark.parametrize("path", ["year", "-kind", "nowhere"])
def test_pages_in_order_begin_behind_a_key_or_a_row(docs, path):
    whole = list(docs.scan(order_by=path))
    assert len(whole) == ROWS
    for place in (0, 17, 300, ROWS - 2, ROWS - 1):
        rest = [row.key for row in whole[place + 1 :]]
        assert [row.key for row in docs.scan(order_by=path, after=whole[place].key)] == rest
        assert [row.key for row in docs.scan(order_by=path, after=whole[place])] == rest
        assert [row.key for row in docs.scan(after=whole[place])] == list(range(whole[place].key + 1, ROWS))
    with pytest.raises(ValueError, match="after must be the key of a row"):
        next(docs.scan(order_by=path, after="nobody"))
    with pytest.raises(nf.FilterError):
        next(docs.scan(order_by=""))


def test_an_order_is_that_of_one_moment():
    with nf.open(":memory:") as store:
        docs = store.create_collection("docs", dim=2, index="flat")
        docs.upsert(range(50), np.ones((50, 2)), [{"n": -i} for i in range(50)])
        rows = docs.scan(order_by="n", batch_size=10)
        assert next(rows).key == 49
        docs.set_metadata([45, 30], {"n": 1000})
        docs.upsert(["new"], np.ones((1, 2)), [{"n": -20.5}])
        docs.delete([20, 21])
        seen = [row.key for row in rows]
        assert seen == [key for key in range(48, -1, -1) if key not in (20, 21)]
        behind = docs.get(10)
        docs.delete([10])
        assert [row.key for row in docs.scan(order_by="n", after=behind)][:2] == [9, 8]
