"""The row that brings the codes: on both sides of it, and while it comes, an index must behave as the model.

An index makes codes of its rows once it has 1,024 of them. What the suite says of small indexes must then
hold of large ones, and of those in between, however the rows come: one by one, in batches, or in a call that
fails.
"""

from __future__ import annotations

import copy
import pickle
import time
from functools import partial
from typing import Any

import numpy as np
import pytest
from conformance import quantized
from kinds import ADVERSARIAL, all_zeros, asked, clustered, duplicates, gaussian, half_zeros, integers
from model import natural_distances
from pair import Candidate, Pair, assert_same_bits, snapshot

import nearfield as nf

BORDER = 1024  # FORMAT.md: codes are centred on so many rows

CODED = [
    Candidate("flat", nf.FlatIndex),
    Candidate("flat u8", partial(nf.FlatIndex, codec="u8"), codec="u8"),
    Candidate("flat i8", partial(nf.FlatIndex, codec="i8"), codec="i8"),
    *(quantized(bits) for bits in (1, 2, 4, 7, 8)),
    quantized(1, "f32"),
    quantized(4, "f16"),
    quantized(6, "f32"),
]


@pytest.fixture(params=CODED, ids=lambda candidate: candidate.name)
def candidate(request: pytest.FixtureRequest) -> Candidate:
    return request.param


@pytest.fixture(params=["cosine", "dot", "l2"])
def metric(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4321)


def has_codes(index: Any) -> bool:
    return bool(index.stats()["code_bytes"])


def check_everything(pair: Pair, rng: np.random.Generator) -> None:
    """State, searches with and without filters, ranges: as the model has them."""
    pair.check_state()
    queries = np.concatenate([gaussian(rng, 3, pair.model.dim), np.zeros((1, pair.model.dim), np.float32)])
    pair.check_search(queries, (1, 10, 300, 5000))
    allowed = rng.choice(pair.model.ids, 40, replace=False)
    pair.check_search(queries, (7, 50), filter=allowed, allowed=allowed)
    score = float(pair.model.ranking(queries[0])[1][20])
    pair.check_search(queries, (10,), min_score=score)
    pair.check_range(queries, float(natural_distances(np.float32(score), pair.model.metric)))


# ---- across the border


def test_rows_come_one_by_one_across_the_border(candidate, metric, rng):
    pair = Pair(candidate, 6, metric)
    rows = candidate.rows(gaussian, rng, BORDER + 12, 6)
    pair.add(rows[: BORDER - 3])
    for row in range(BORDER - 3, BORDER + 12):
        assert has_codes(pair.index) == (row >= BORDER)
        pair.add(rows[row : row + 1])
        pair.check_search(rows[[row, 0]], (3,))
    check_everything(pair, rng)


@pytest.mark.parametrize("batches", [(BORDER,), (1100,), (BORDER - 1, 2), (500, 524, 500), (3, 2500)])
def test_rows_come_in_batches_across_the_border(candidate, metric, batches, rng):
    pair = Pair(candidate, 7, metric)
    for size in batches:
        pair.add(candidate.rows(gaussian, rng, size, 7))
    assert has_codes(pair.index)
    check_everything(pair, rng)


def test_codes_do_not_depend_on_how_rows_are_split_into_calls(candidate, metric, rng):
    rows = candidate.rows(clustered, rng, 1300, 33)
    queries = gaussian(rng, 20, 33)
    answers = []
    for batches in ([1300], [100] * 13, [1023, 1, 276], [1024, 276], [1] * 30 + [1270]):
        index = candidate.make(33, metric)
        for part in np.split(rows, np.cumsum(batches)[:-1]):
            index.add(part)
        answers.append((snapshot(index), index.search(queries, 12)))
    for state, result in answers[1:]:
        assert state == answers[0][0]
        assert_same_bits(result, answers[0][1])


def test_answers_with_codes_are_the_same_bits_for_any_threads_and_batches(candidate, metric, rng):
    index = candidate.make(20, metric)
    index.add(candidate.rows(gaussian, rng, 2000, 20))
    index.add(candidate.rows(half_zeros, rng, 700, 20))
    queries = np.concatenate([gaussian(rng, 60, 20), integers(rng, 30, 20)])
    for options in ({}, {"filter": np.arange(0, 2700, 7)}, {"min_score": 0.1}):
        whole = index.search(queries, 12, **options)
        for threads in (1, 2, 5):
            assert_same_bits(index.search(queries, 12, threads=threads, **options), whole)
        for number, query in enumerate(queries):
            one = index.search(query, 12, **options)
            assert one.ids.tobytes() == whole.ids[number, : len(one.ids)].tobytes()
            assert one.scores.tobytes() == whole.scores[number, : len(one.ids)].tobytes()


def test_the_border_is_crossed_by_upserts_with_deletes_in_between(candidate, metric, rng):
    pair = Pair(candidate, 5, metric)
    pair.add(candidate.rows(gaussian, rng, 1000, 5), rng.permutation(5000)[:1000])
    pair.delete(pair.model.ids[::10])
    pair.upsert(pair.model.ids[:100], candidate.rows(gaussian, rng, 100, 5))  # into the free slots
    pair.upsert(np.arange(6000, 6300), candidate.rows(gaussian, rng, 300, 5))
    assert has_codes(pair.index)
    check_everything(pair, rng)
    pair.upsert(rng.integers(0, 7000, size=400), candidate.rows(gaussian, rng, 400, 5))
    pair.delete(rng.choice(pair.model.ids, 500, replace=False))
    pair.add(candidate.rows(gaussian, rng, 50, 5))
    check_everything(pair, rng)


@pytest.mark.parametrize("start", [0, 700, BORDER - 1, BORDER, 1200])
def test_a_call_that_fails_at_the_border_changes_nothing(candidate, metric, start, rng):
    index = candidate.make(4, metric)
    if start:
        index.add(candidate.rows(gaussian, rng, start, 4))
        index.delete(range(0, start, 9))
    many = candidate.rows(gaussian, rng, 12_000, 4)
    late_nan = many.copy()
    late_nan[-1, -1] = np.nan  # in the second piece: the first has made the codes
    early_nan = late_nan[-900:]
    ids = np.arange(20_000, 32_000)
    twice = ids.copy()
    twice[-1] = twice[0]
    before = snapshot(index) if start else len(index)
    codes = index.stats()["code_bytes"]
    for call in (
        lambda: index.add(late_nan),
        lambda: index.add(early_nan),
        lambda: index.add(many, twice),
        lambda: index.upsert(np.arange(12_000), late_nan),
        lambda: index.upsert(np.arange(900), early_nan),
    ):
        with pytest.raises((nf.NonFiniteError, nf.DuplicateKeyError)):
            call()
        assert (snapshot(index) if start else len(index)) == before
        assert index.stats()["code_bytes"] == codes
    fresh = candidate.make(4, metric)
    if start:
        fresh = pickle.loads(pickle.dumps(index))
    for one in (index, fresh):
        one.add(many[:1500])
    assert snapshot(index) == snapshot(fresh), "nor does it change what comes later"


def test_an_interrupted_call_at_the_border_changes_nothing(candidate, metric, rng):
    index = candidate.make(4, metric)
    index.add(candidate.rows(gaussian, rng, 900, 4))
    before = snapshot(index)

    def stop(done: int, total: int) -> None:
        time.sleep(0.1)  # so that the call looks up
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        index.add(candidate.rows(gaussian, rng, 40_000, 4), progress=stop)
    assert snapshot(index) == before
    assert not has_codes(index)


def test_deleting_below_the_border_keeps_the_answers(candidate, metric, rng):
    pair = Pair(candidate, 6, metric)
    pair.add(candidate.rows(gaussian, rng, 1500, 6))
    pair.delete(rng.choice(1500, 1480, replace=False))
    pair.check_state()
    queries = gaussian(rng, 4, 6)
    pair.check_search(queries, (1, 10, 30))
    before = pair.index.get(pair.model.ids)
    pair.index.optimize()
    np.testing.assert_array_equal(pair.index.get(pair.model.ids), before)
    assert has_codes(pair.index) == candidate.estimates, (
        "no rows to centre codes on, but what is lost is lost"
    )
    pair.check_state()
    pair.check_search(queries, (1, 10, 30))
    pair.add(candidate.rows(gaussian, rng, 5, 6))
    pair.check_search(queries, (4, 40))


def test_everything_can_be_deleted_and_the_border_crossed_again(candidate, metric, rng):
    pair = Pair(candidate, 6, metric)
    for optimize in (False, True):
        ids = pair.add(candidate.rows(gaussian, rng, 1100, 6))
        pair.delete(ids)
        assert pair.index.search(gaussian(rng, 2, 6), 5).counts.tolist() == [0, 0]
        assert pair.index.range_search(gaussian(rng, 2, 6), 1e9).lims.tolist() == [0, 0, 0]
        if optimize:
            pair.index.optimize()
        pickle.loads(pickle.dumps(pair.index))
    pair.add(candidate.rows(gaussian, rng, 1100, 6))
    check_everything(pair, rng)


# ---- copies and files


def test_an_index_with_codes_comes_back_however_it_is_kept(candidate, metric, rng, tmp_path):
    pair = Pair(candidate, 9, metric)
    pair.add(candidate.rows(gaussian, rng, 1300, 9), rng.permutation(9000)[:1300])
    pair.delete(pair.model.ids[::11])
    before = snapshot(pair.index)
    path = tmp_path / "index.nf"
    pair.index.save(path)
    mapped = nf.load(path, mmap=True)
    twins = [
        pair.index.copy(),
        copy.deepcopy(pair.index),
        pickle.loads(pickle.dumps(pair.index)),
        nf.load(path),
        mapped,
        mapped.copy(),
        pickle.loads(pickle.dumps(mapped)),
    ]
    queries = gaussian(rng, 10, 9)
    rows = candidate.rows(gaussian, rng, 60, 9)
    for twin in twins:
        assert type(twin) is type(pair.index)
        assert twin.stats()["code_bytes"] == pair.index.stats()["code_bytes"] > 0
        assert snapshot(twin) == before
        assert_same_bits(twin.search(queries, 30), pair.index.search(queries, 30))
    mapped.save(tmp_path / "again.nf")
    assert (tmp_path / "again.nf").read_bytes() == path.read_bytes()
    twins.remove(mapped)
    pair.index.upsert(np.arange(60), rows)
    for twin in twins:
        twin.upsert(np.arange(60), rows)
        assert snapshot(twin) == snapshot(pair.index), "what comes later is encoded alike"


def test_optimize_keeps_the_answers(candidate, metric, rng):
    pair = Pair(candidate, 8, metric)
    pair.add(candidate.rows(gaussian, rng, 2500, 8), rng.permutation(9000)[:2500])
    pair.delete(rng.choice(pair.model.ids, 1000, replace=False))
    queries = gaussian(rng, 10, 8)
    before = pair.index.search(queries, 20)
    looked = pair.index.stats()["queries"]
    pair.index.optimize()
    stats = pair.index.stats()
    assert (stats["dead"], stats["queries"]) == (0, looked)
    assert_same_bits(pair.index.search(queries, 20), before)
    check_everything(pair, rng)


# ---- data that hurts


@pytest.mark.parametrize("kind", [*ADVERSARIAL, clustered], ids=lambda kind: kind.__name__)
def test_adversarial_data_with_codes_is_answered_like_the_model(candidate, metric, kind, rng):
    for dim in (3, 40):
        pair = Pair(candidate, dim, metric)
        rows = candidate.rows(kind, rng, 1150, dim)
        pair.add(rows[:1100])
        pair.add(rows[1100:])
        queries = asked(rng, rows, kind(rng, 2, dim))
        pair.check_search(queries, (1, 7, 250))
        allowed = pair.index.ids[::30]
        pair.check_search(queries, (5,), filter=allowed, allowed=allowed)
        middle = pair.model.ranking(queries[0])[1][40]
        pair.check_search(queries, (10,), min_score=float(middle))
        pair.check_range(queries, float(natural_distances(middle, metric)))
        pair.delete(range(0, 1150, 2))
        pair.check_search(queries, (7, 75))


def test_zero_rows_have_the_cosine_zero_also_as_codes(candidate, rng):
    pair = Pair(candidate, 12, "cosine")
    rows = candidate.rows(gaussian, rng, 1400, 12) + (1 if candidate.codec == "u8" else 0)
    rows[::2] = 0
    pair.add(rows)
    for query in (gaussian(rng, 1, 12), rows[1:2], -rows[1:2], np.zeros((1, 12), np.float32)):
        for k in (1, 100, 701, 1400):
            result = pair.index.search(query, k)
            zero = result.ids[0] % 2 == 0
            assert (result.scores[0, zero] == 0).all()
            above = int((result.scores[0] > 0).sum())
            if above < k:
                first = result.ids[0, above : above + 700]
                assert (np.diff(first) > 0).all(), "equal scores by id"
                if query.any():
                    assert (first % 2 == 0).all(), "zero rows come before all with a negative score"
        assert_same_bits(pair.index.search(query, 50, threads=1), pair.index.search(query, 50, threads=2))
        np.testing.assert_array_equal(pair.index.get([0, 2]), np.zeros((2, 12)))


def test_equal_rows_have_equal_scores_also_as_codes(candidate, metric, rng):
    index = candidate.make(10, metric)
    index.add(candidate.rows(gaussian, rng, 1100, 10))
    ids = index.add(np.repeat(candidate.rows(gaussian, rng, 5, 10), 30, axis=0))
    for number in range(5):
        same = ids[30 * number : 30 * number + 30]
        result = index.search(gaussian(rng, 1, 10), 30, filter=same)
        assert result.ids.tolist() == [same.tolist()]
        assert len(set(result.scores[0].tolist())) == 1
        for k in (1, 17):
            assert index.search(gaussian(rng, 1, 10), k, filter=same).ids.tolist() == [same[:k].tolist()]


@pytest.mark.parametrize("kind", [duplicates, all_zeros], ids=lambda kind: kind.__name__)
def test_a_few_kinds_of_rows_are_ordered_by_id(candidate, metric, kind, rng):
    pair = Pair(candidate, 10, metric)
    pair.add(candidate.rows(kind, rng, 1200, 10), rng.permutation(4000)[:1200])
    pair.check_search(gaussian(rng, 5, 10), (1, 10, 299))


@pytest.mark.parametrize("dim", [767, 4099])
def test_large_dimensions_with_codes(candidate, metric, dim, rng):
    pair = Pair(candidate, dim, metric)
    pair.add(candidate.rows(gaussian, rng, BORDER + 6, dim))
    pair.check_search(candidate.rows(gaussian, rng, 2, dim), (5, 30))


# ---- filters


def test_filters_with_codes_select_whatever_their_form(candidate, metric, rng):
    pair = Pair(candidate, 6, metric)
    pair.add(candidate.rows(gaussian, rng, 1500, 6), rng.permutation(30_000)[:1500])
    ids = pair.index.ids
    queries = gaussian(rng, 4, 6)
    for share in (0.0, 0.001, 0.05, 0.5, 1.0):
        mask = rng.random(1500) < share
        for form in (ids[mask], mask, pair.index.filter(mask)):
            pair.check_search(queries, (1, 20), filter=form, allowed=ids[mask])
    compiled = pair.index.filter(ids[::3])
    pair.add(candidate.rows(gaussian, rng, 30, 6))
    pair.delete(ids[:9])
    pair.check_search(queries, (30,), filter=compiled, allowed=ids[::3])


def test_a_filter_compiled_before_the_codes_came_means_the_same_rows(candidate, metric, rng):
    pair = Pair(candidate, 6, metric)
    pair.add(candidate.rows(gaussian, rng, 1000, 6))
    compiled = pair.index.filter(np.arange(0, 1000, 50))
    pair.add(candidate.rows(gaussian, rng, 100, 6))
    assert has_codes(pair.index)
    pair.check_search(gaussian(rng, 4, 6), (30,), filter=compiled, allowed=range(0, 1000, 50))


# ---- what the codes are good for


def test_an_accelerated_index_looks_at_few_rows_and_another_has_no_codes(rng):
    rows = gaussian(rng, 3100, 64)
    fast, plain = nf.FlatIndex(64), nf.FlatIndex(64, accelerate=False)
    assert (fast.accelerate, plain.accelerate) == (True, False)
    for index in (fast, plain):
        index.add(rows[:3000])
    assert_same_bits(fast.search(rows[3000:], 10), plain.search(rows[3000:], 10))
    stats = fast.stats()
    assert stats["queries"] == 100
    assert 10 * 100 <= stats["reranked"] < 0.3 * 100 * 3000
    assert 3000 * 32 <= stats["code_bytes"] <= 3016 * (32 + 12)
    assert stats["bytes"] > stats["code_bytes"] + plain.stats()["bytes"] - 1000
    assert [plain.stats()[name] for name in ("code_bytes", "queries", "reranked")] == [0, 0, 0]
    for index in (fast, plain):
        for twin in (index.copy(), pickle.loads(pickle.dumps(index))):
            assert twin.accelerate == index.accelerate
            assert twin.stats()["queries"] == 0
