"""Filter expressions and dictionaries: both say the same, and what says nothing is refused by name."""

from __future__ import annotations

import operator
from random import Random

import numpy as np
import pytest

import nearfield as nf
from nearfield import field

ROWS = [
    {"lang": "en", "year": 2019, "tags": ["a", "b"], "author": {"name": "Ada", "n": 1}, "score": 0.5},
    {"lang": "de", "year": 2021, "tags": [], "author": {"name": "Bob"}, "score": None},
    {"lang": "en", "year": 2022.5, "tags": "ab", "author": None},
    {"lang": "fr", "year": "2021", "*": 1},
    {},
]


@pytest.fixture(scope="module")
def docs():
    with nf.open(":memory:") as store:
        docs = store.create_collection("docs", dim=2)
        docs.upsert(range(len(ROWS)), np.ones((len(ROWS), 2)), ROWS)
        yield docs


CASES = [
    (field("lang") == "en", {"lang": {"$eq": "en"}}, [0, 2]),
    (field("lang") != "en", {"lang": {"$ne": "en"}}, [1, 3]),
    (field("year") >= 2021, {"year": {"$gte": 2021}}, [1, 2]),
    (field("year") > 2021, {"year": {"$gt": 2021}}, [2]),
    (field("year") <= 2021, {"year": {"$lte": 2021}}, [0, 1]),
    (field("year") < 2021, {"year": {"$lt": 2021}}, [0]),
    (field("year") >= 2021, {"year": {"$gte": 2021}}, [1, 2]),
    (field("lang").isin(["de", "fr"]), {"lang": {"$in": ["de", "fr"]}}, [1, 3]),
    (field("lang").glob("?[nr]"), {"lang": {"$glob": "?[nr]"}}, [0, 2, 3]),
    (field("score").exists(), {"score": {"$exists": True}}, [0, 1]),
    (field("score") == None, {"score": {"$eq": None}}, [1]),  # noqa: E711
    (field("tags").contains("b"), {"tags": {"$contains": "b"}}, [0, 2]),
    (field("author.name") == "Ada", {"author.name": {"$eq": "Ada"}}, [0]),
    (field("author.n").exists(), {"author.n": {"$exists": True}}, [0]),
    (~field("lang").exists(), {"$not": {"lang": {"$exists": True}}}, [4]),
    (
        (field("lang") == "en") & (field("year") > 2020) & ~(field("year") > 3000),
        {"$and": [{"lang": {"$eq": "en"}}, {"year": {"$gt": 2020}}, {"$not": {"year": {"$gt": 3000}}}]},
        [2],
    ),
    (
        (field("lang") == "fr") | (field("year") < 2020) | (field("year") == 2021),
        {"$or": [{"lang": {"$eq": "fr"}}, {"year": {"$lt": 2020}}, {"year": {"$eq": 2021}}]},
        [0, 1, 3],
    ),
    (
        ((field("lang") == "fr") | (field("lang") == "en")) & (field("year") < 2020),
        {"$and": [{"$or": [{"lang": {"$eq": "fr"}}, {"lang": {"$eq": "en"}}]}, {"year": {"$lt": 2020}}]},
        [0],
    ),
]


@pytest.mark.parametrize(
    ("expression", "dictionary", "expected"), CASES, ids=[repr(case[0]) for case in CASES]
)
def test_an_expression_says_what_its_dictionary_says(docs, expression, dictionary, expected):
    assert expression.to_dict() == dictionary
    for where in (expression, dictionary, docs.filter(expression)):
        assert [row.key for row in docs.scan(where)] == expected
        assert docs.count(where) == len(expected)
        assert docs.search([1, 1], where=where).keys == expected
    again = eval(repr(expression), {"field": field})
    assert again.to_dict() == dictionary


# ---- random filters, in every form


def _same(a, b):
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b and isinstance(a, str) == isinstance(b, str)


def _kind(value):
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


_ORDERS = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
_VALUES = [
    None,
    True,
    False,
    0,
    1,
    1.0,
    2.5,
    -3,
    2**63,
    2**53 + 1,
    float(2**53),
    "",
    "a",
    "ab",
    "b",
    "x" * 200,
    [],
    ["a", 1],
    [None, "b"],
]
_PATHS = ["a", "b", "c.d", "c.e", "missing", "c"]


def _random_row(random):
    row = {name: random.choice(_VALUES) for name in "ab" if random.random() < 0.8}
    if random.random() < 0.7:
        row["c"] = {name: random.choice(_VALUES) for name in "de" if random.random() < 0.7}
    return row


def _found(row, path):
    for name in path.split("."):
        if not isinstance(row, dict) or name not in row:
            return None, False
        row = row[name]
    return row, True


def _condition(random):
    """An expression, and whether it holds for a row, said in Python."""
    path, value = random.choice(_PATHS), random.choice(_VALUES)
    name = random.choice(["$eq", "$ne", *_ORDERS, "in", "exists", "contains", "glob"])
    if name in _ORDERS:
        value = random.choice([value for value in _VALUES if _kind(value) in ("number", str)])
        expression = _ORDERS[name](field(path), value)

        def holds(found):
            return _kind(found) == _kind(value) and _ORDERS[name](found, value)

    elif name == "$eq":
        expression, holds = field(path) == value, lambda found: _same(found, value)
    elif name == "$ne":
        expression = field(path) != value

        def holds(found):
            return _kind(found) == _kind(value) and not _same(found, value)

    elif name == "in":
        several = random.sample(_VALUES, random.randrange(4))
        expression, holds = field(path).isin(several), lambda found: any(_same(found, one) for one in several)
    elif name == "exists":
        expression, holds = field(path).exists(), lambda found: True
    elif name == "contains":
        expression = field(path).contains(value)

        def holds(found):
            if isinstance(found, list):
                return any(_same(item, value) for item in found)
            return isinstance(found, str) and isinstance(value, str) and value in found

    else:
        start = random.choice(["", "a", "x"])
        expression = field(path).glob(f"{start}*")

        def holds(found):
            return isinstance(found, str) and found.startswith(start)

    def of_row(row):
        found, is_there = _found(row, path)
        return is_there and holds(found)

    return expression, of_row


def _random_filter(random, depth):
    choice = random.random() if depth else 0
    if choice < 0.5:
        return _condition(random)
    expression, holds = _random_filter(random, depth - 1)
    if choice < 0.65:
        return ~expression, lambda row: not holds(row)
    other, other_holds = _random_filter(random, depth - 1)
    if choice < 0.85:
        return expression & other, lambda row: holds(row) and other_holds(row)
    return expression | other, lambda row: holds(row) or other_holds(row)


def test_10_000_random_filters_mean_the_same_in_every_form(tmp_path):
    random = Random(0)
    rows = [_random_row(random) for _ in range(30)]
    with nf.open(tmp_path / "library.nfdb") as store:
        docs = store.create_collection("docs", dim=2, index="flat")
        docs.upsert(range(20), np.ones((20, 2)), rows[:20])
        store.compact()  # into a file; the others stay in the log
        docs.upsert(range(20, 30), np.ones((10, 2)), rows[20:])
        for _ in range(10_000):
            expression, holds = _random_filter(random, 3)
            expected = [key for key, row in enumerate(rows) if holds(row)]
            assert [row.key for row in docs.scan(where=expression)] == expected, expression
            assert docs.count(expression.to_dict()) == len(expected), expression


def test_values_of_numpy_are_values(docs):
    assert docs.count(field("year") == np.int64(2019)) == 1
    assert docs.count(field("lang").isin(np.array(["en", "de"]))) == 3
    assert docs.count({"year": {"$gte": np.float32(2022.5)}}) == 1


def test_and_or_not_and_chains_are_refused_with_advice():
    a, b = field("a") > 1, field("b") > 1
    for wrong in (
        lambda: a and b,
        lambda: a or b,
        lambda: not a,
        lambda: 1 < field("a") < 5,
        lambda: bool(a),
        lambda: [row for row in [1] if a],
    ):
        with pytest.raises(TypeError, match=r"& \| ~"):
            wrong()
    with pytest.raises(TypeError, match="compare it with a value"):
        bool(field("a"))


@pytest.mark.parametrize("join", [operator.and_, operator.or_])
@pytest.mark.parametrize("other", [5, "a", None, {"a": 1}, field("a"), True])
def test_only_filters_are_joined(join, other):
    with pytest.raises(TypeError, match="filter on both sides"):
        join(field("a") == 1, other)


def test_fields_have_paths_and_are_compared_with_values():
    for wrong in (5, None, b"a", field("a")):
        with pytest.raises(TypeError, match="path"):
            field(wrong)
    with pytest.raises(nf.FilterError, match=r"\$and"):
        field("$and")
    with pytest.raises(TypeError, match="value"):
        field("a") == field("b")  # noqa: B015
    for wrong in ("text", b"bytes", {"a": 1}):
        with pytest.raises(TypeError, match="several values"):
            field("a").isin(wrong)


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ({"a": {"$near": 1}}, r"a > \$near"),
        ({"$and": [{"a": 1}, {"b": {"$gt": None}}]}, r"\$and > 1 > b > \$gt"),
        ({"$nor": []}, r"\$nor"),
        ({"a": {"$in": 5}}, r"a > \$in"),
        ({"a": {"$in": [0] * 65_537}}, "65536"),
        ({"a..b": 1}, r"a\.\.b"),
        ({"a": float("nan")}, "at a:.*NaN"),
        ({"a": {"$gt": 10**30}}, r"a > \$gt:.*64 bits"),
        ({"a": {1, 2}}, "at a:.*set"),
        ({5: 1}, "names that are str"),
        ("lang = 'en'", "dict or an expression"),
        (True, "not with"),
        (field("a"), "compare"),
        ([{"a": 1}], "list"),
        (field("a").glob("[z"), r"a > \$glob"),
    ],
)
def test_what_is_no_filter_is_refused_and_the_place_is_named(docs, where, place):
    for call in (docs.count, docs.filter, lambda where: docs.search([1, 1], where=where), docs.scan):
        with pytest.raises(nf.FilterError, match=place):
            call(where)
    with pytest.raises(nf.FilterError):
        docs.delete(where=where)
    assert len(docs) == len(ROWS)


def test_filters_are_at_most_64_deep_however_they_are_written(docs):
    deep = field("year") == 2019
    for _ in range(200):
        deep = ~deep
    with pytest.raises(nf.FilterError, match="deep"):
        docs.count(deep)
    endless: dict = {}
    endless["$not"] = endless
    with pytest.raises(nf.FilterError, match="deep"):
        docs.count(endless)
    long = field("n") == 0
    for n in range(1, 500):
        long = long | (field("n") == n)
    assert docs.count(long) == 0


def test_a_filter_of_an_index_is_none_of_a_collection(docs):
    index = nf.FlatIndex(2)
    index.add(np.ones((3, 2)))
    with pytest.raises(ValueError, match="collection"):
        docs.search([1, 1], where=index.filter([0]))
    with pytest.raises(ValueError, match="index"):
        index.search([1, 1], filter=docs.filter({}))
    assert isinstance(docs.filter({}), nf.Filter)
    assert repr(docs.filter({})) == 'Filter(collection="docs")'
