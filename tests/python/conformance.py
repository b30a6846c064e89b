"""One suite for every index: whatever is in `REGISTRY` must behave like the naive model.

The idea: a semantic rule is written down once, as a test of anything with the interface of an index. What is
asked of an answer is in `pair`, the rows that hurt are in `kinds`.

A new index, codec or backend registers in one line of `REGISTRY`.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from kept import keep
from kinds import ADVERSARIAL, all_equal, asked, clustered, duplicates, gaussian, integers
from model import METRICS, natural_distances
from pair import Candidate, Pair, assert_same_bits, assert_shapes, snapshot

import nearfield as nf


def quantized(bits: int, keep: str | None = None, recall: float | None = None) -> Candidate:
    """A quantized index. With rows to score, it looks at so many of them that it must be exact."""
    return Candidate(
        f"quantized {bits} {keep}",
        partial(nf.QuantizedIndex, bits=bits, keep=keep, rerank=1e9),
        recall=recall,
        codec=keep or "f32",
        code=CODES[bits],
        estimates=keep is None,
        metrics=("cosine", "dot", "l2"),
    )


CODES = {
    1: "rabitq1", 2: "turbo2", 3: "turbo3", 4: "turbo4", 5: "rabitq5", 6: "rabitq6", 7: "rabitq7", 8: "n8",
}  # fmt: skip

REGISTRY = [
    Candidate("flat", nf.FlatIndex),
    Candidate("flat without codes", partial(nf.FlatIndex, accelerate=False)),
    Candidate("flat f16", partial(nf.FlatIndex, codec="f16"), codec="f16"),
    Candidate("flat bf16", partial(nf.FlatIndex, codec="bf16"), codec="bf16"),
    Candidate("flat u8", partial(nf.FlatIndex, codec="u8"), codec="u8"),
    Candidate("flat i8", partial(nf.FlatIndex, codec="i8"), codec="i8"),
    Candidate("hnsw", nf.HnswIndex, recall=0.9),
    Candidate(
        "hnsw thin",  # far too thin to find much: what it gives back must be well-formed all the same
        lambda dim, metric: nf.HnswIndex(dim, metric, m=4, ef_construction=8, ef_search=1),
        recall=0.0,
    ),
    Candidate(
        "hnsw lean",
        partial(nf.HnswIndex, keep=None),
        recall=0.9,
        code="n8",
        estimates=True,
        metrics=("cosine", "dot", "l2"),
    ),
    quantized(4),
    quantized(1, "f32"),
    quantized(8, "f16"),
]


class IndexConformance:
    """To be mixed into a test class, with fixtures `candidate` and `metric`."""

    @pytest.fixture
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(1234)

    # -- what the model says

    @pytest.mark.parametrize("seed", range(4))
    def test_any_sequence_of_calls_ends_where_the_model_ends(self, candidate, metric, seed, tmp_path):
        rng = np.random.default_rng([seed, METRICS.index(metric)])
        dim = int(rng.choice([1, 2, 3, 8, 17, 64]))
        kind = integers if seed % 2 else gaussian
        pair = Pair(candidate, dim, metric)
        for step in range(60):
            self._one_step(rng, pair, kind, tmp_path / f"{step}.nf")
            if step % 5 == 4:
                pair.check_state()
        pair.check_state()
        pair.check_search(kind(rng, 10, dim), (1, 5, 40))

    def _one_step(self, rng, pair, kind, path):
        index, model = pair.index, pair.model
        known = np.array(model.ids, dtype=np.int64)
        n = int(rng.integers(0, 12))
        rows = pair.candidate.rows(kind, rng, n, model.dim)
        queries = kind(rng, 3, model.dim)
        match rng.choice(["add", "add ids", "upsert", "delete", "search", "filter", "range", "keep"]):
            case "add":
                pair.add(rows)
            case "add ids":
                pair.add(rows, model.next_id + rng.permutation(3 * n)[:n])
            case "upsert":
                # Old, new and deleted ids, some of them twice: the last one counts.
                pair.upsert(rng.integers(0, model.next_id + 4, size=n), rows)
            case "delete":
                pair.delete(rng.integers(0, model.next_id + 4, size=n))
            case "search":
                best = model.ranking(queries[0])[1]
                at_tie = float(best[len(best) // 2]) if len(best) else 0.0
                pair.check_search(queries, (0, 1, 4, len(known) + 2), min_score=rng.choice([None, at_tie]))
            case "filter":
                chosen = rng.random(len(known)) < rng.random()
                allowed = known[chosen]
                given = [allowed, chosen, index.filter(allowed), index.filter(chosen)][rng.integers(4)]
                pair.check_search(queries, (1, 6), filter=given, allowed=allowed)
            case "range":
                distances = natural_distances(model.ranking(queries[0])[1], model.metric)
                radius = float(distances[len(distances) // 3]) if len(distances) else 1.0
                pair.check_range(queries, radius)
            case "keep":
                before = snapshot(index)
                way = rng.integers(4)
                if way == 0:
                    pair.index = index.copy()
                    assert index.delete(known) == len(known), "the original can go, the copy stays"
                elif way == 1:
                    pair.index = pickle.loads(pickle.dumps(index))
                elif way == 2:
                    index.save(path)
                    pair.index = nf.load(path)
                else:
                    index.optimize()
                    return  # a better graph may give better answers
                assert snapshot(pair.index) == before

    @pytest.mark.parametrize("kind", ADVERSARIAL, ids=lambda kind: kind.__name__)
    def test_adversarial_data_is_answered_like_the_model(self, candidate, metric, kind, rng):
        for dim in (1, 2, 3, 17, 64):
            pair = Pair(candidate, dim, metric)
            rows = candidate.rows(kind, rng, 150, dim)
            pair.add(rows[:100])
            pair.add(rows[100:])
            queries = asked(rng, rows, kind(rng, 3, dim))
            pair.check_search(queries, (1, 7, 149, 150, 155))
            allowed = pair.index.ids[::3]
            pair.check_search(queries, (5,), filter=allowed, allowed=allowed)
            middle = pair.model.ranking(queries[0])[1][40]
            pair.check_search(queries, (10,), min_score=float(middle))
            pair.check_range(queries, float(natural_distances(middle, metric)))
            pair.delete(range(0, 150, 2))
            pair.check_search(queries, (7, 75))

    @pytest.mark.parametrize(
        "kind", [gaussian, clustered, duplicates, all_equal], ids=lambda kind: kind.__name__
    )
    def test_recall_keeps_what_the_index_promises(self, candidate, metric, kind, rng):
        pair = Pair(candidate, 24, metric)
        rows = candidate.rows(kind, rng, 1060, 24)
        pair.add(rows[:1000])
        pair.check_search(rows[1000:], (1, 10), floor=True)
        pair.delete(range(0, 1000, 3))
        pair.check_search(rows[1000:], (10,), floor=True)

    @pytest.mark.parametrize("dim", [1535, 65_535])
    def test_large_dimensions(self, candidate, metric, dim, rng):
        pair = Pair(candidate, dim, metric)
        rows = candidate.rows(gaussian, rng, 14, dim)
        pair.add(rows[:12])
        pair.check_search(rows[11:], (3, 20))

    def test_ties_are_ordered_by_id_wherever_k_cuts(self, candidate, metric, rng):
        pair = Pair(candidate, 8, metric)
        rows = np.repeat(candidate.rows(integers, rng, 10, 8), 20, axis=0)
        pair.add(rows, rng.permutation(1000)[:200])
        pair.check_search(rows[::50], tuple(range(0, 61, 3)))

    # -- shapes

    def test_one_query_gives_flat_arrays_of_what_there_is(self, candidate, metric, rng):
        pair = Pair(candidate, 5, metric)
        pair.add(candidate.rows(gaussian, rng, 8, 5))
        query = gaussian(rng, 1, 5)
        for k, found in ((0, 0), (3, 3), (8, 8), (100, 8)):
            one = pair.index.search(query[0], k, exact=True)
            many = pair.index.search(query, k, exact=True)
            assert one.ids.shape == one.scores.shape == one.distances.shape == (found,)
            assert one.counts.tolist() == [found]
            assert many.ids.shape == (1, k)
            assert many.ids[0, :found].tolist() == one.ids.tolist()
            assert many.scores[0, :found].tobytes() == one.scores.tobytes()
            ids, scores = one
            assert ids is one.ids and scores is one.scores

    def test_no_queries_give_no_rows(self, candidate, metric, rng):
        pair = Pair(candidate, 5, metric)
        pair.add(candidate.rows(gaussian, rng, 8, 5))
        result = pair.index.search(np.empty((0, 5), np.float32), 3)
        assert_shapes(result, 0, 3)
        assert pair.index.range_search(np.empty((0, 5), np.float32), 1.0).lims.tolist() == [0]

    def test_an_empty_index_finds_nothing(self, candidate, metric, rng):
        index = candidate.make(5, metric)
        queries = gaussian(rng, 2, 5)
        assert len(index) == 0
        assert index.ids.shape == (0,)
        assert index.search(queries[0], 3).ids.shape == (0,)
        result = index.search(queries, 3)
        assert_shapes(result, 2, 3)
        assert result.counts.tolist() == [0, 0]
        assert (result.ids == -1).all()
        assert (result.scores == -np.inf).all()
        assert (result.distances == np.inf).all()
        assert index.range_search(queries, 1e9).lims.tolist() == [0, 0, 0]
        assert index.delete([1, 2]) == 0
        assert index.get([]).shape == (0, 5)

    def test_nothing_added_changes_nothing(self, candidate, metric, rng):
        pair = Pair(candidate, 5, metric)
        pair.add(candidate.rows(gaussian, rng, 8, 5))
        before = snapshot(pair.index)
        nothing = np.empty((0, 5), np.float32)
        assert pair.index.add(nothing).shape == (0,)
        assert pair.index.add(nothing, []).shape == (0,)
        assert pair.index.upsert([], nothing) == 0
        assert pair.index.delete([]) == 0
        assert pair.index.delete(12345) == 0
        assert snapshot(pair.index) == before

    # -- ids

    def test_ids_are_assigned_above_the_largest_ever_used(self, candidate, metric, rng):
        index = candidate.make(3, metric)
        rows = candidate.rows(gaussian, rng, 4, 3)
        assert index.add(rows).tolist() == [0, 1, 2, 3]
        assert index.delete([2, 3]) == 2
        assert index.add(rows[:2]).tolist() == [4, 5], "deleted ids are not used again"
        assert index.add(rows[:1], [100]).tolist() == [100]
        assert index.add(rows[:1]).tolist() == [101]
        assert index.upsert([200], rows[:1]) == 1
        assert index.delete(200) == 1
        again = pickle.loads(pickle.dumps(index))
        for one in (index, index.copy(), again):
            assert one.add(rows[:1]).tolist() == [201]
        assert index.add(rows[:1], [2]).tolist() == [2], "a deleted id may be given again by hand"

    def test_the_largest_id_is_an_id(self, candidate, metric, rng):
        index = candidate.make(3, metric)
        rows = candidate.rows(gaussian, rng, 2, 3)
        top = 2**63 - 1
        index.add(rows[:1], [top])
        assert index.search(rows[0], 1).ids.tolist() == [top]
        assert top in index
        with pytest.raises(ValueError, match="id"):
            index.add(rows[1:])
        assert index.ids.tolist() == [top]

    def test_membership_asks_for_an_id(self, candidate, metric, rng):
        index = candidate.make(3, metric)
        index.add(candidate.rows(gaussian, rng, 2, 3), [5, 9])
        assert 5 in index and np.int64(9) in index
        assert 6 not in index and -1 not in index and 2**70 not in index

    def test_get_gives_rows_in_the_order_asked_for(self, candidate, metric, rng):
        index = candidate.make(3, metric)
        rows = candidate.rows(gaussian, rng, 3, 3)
        index.add(rows, [7, 3, 5])
        kept = keep(candidate.codec, rows)
        np.testing.assert_array_equal(index.get([5, 7, 5]), kept[[2, 0, 2]])
        np.testing.assert_array_equal(index.get(np.array([3], dtype=np.uint8)), kept[[1]])
        assert index.get(3).shape == (3,)
        np.testing.assert_array_equal(index.get(3), kept[1])

    def test_delete_counts_each_row_once(self, candidate, metric, rng):
        index = candidate.make(3, metric)
        index.add(candidate.rows(gaussian, rng, 5, 3))
        assert index.delete([1, 1, 3, 77]) == 2
        assert index.delete([1, 3]) == 0
        assert index.ids.tolist() == [0, 2, 4]

    def test_upsert_replaces_rows_and_adds_new_ones(self, candidate, metric, rng):
        pair = Pair(candidate, 6, metric)
        pair.add(candidate.rows(gaussian, rng, 20, 6))
        fresh = candidate.rows(gaussian, rng, 6, 6)
        pair.upsert([3, 50, 7, 3, 50, 60], fresh)
        np.testing.assert_array_equal(
            pair.index.get([3, 50, 7, 60]), keep(candidate.codec, fresh)[[3, 4, 2, 5]]
        )
        pair.check_state()
        pair.check_search(fresh, (1, 5, 30))

    def test_deleted_rows_do_not_come_back(self, candidate, metric, rng):
        pair = Pair(candidate, 6, metric)
        rows = candidate.rows(gaussian, rng, 200, 6)
        pair.add(rows)
        gone = np.arange(0, 200, 2)
        pair.delete(gone)
        for index in (pair.index, pair.index.copy(), pickle.loads(pickle.dumps(pair.index))):
            for options in ({}, {"exact": True}, {"filter": np.arange(200)}):
                assert not np.isin(index.search(rows, 20, **options).ids, gone).any()
            assert not np.isin(index.range_search(rows[:5], 1e9).ids, gone).any()
            with pytest.raises(nf.MissingKeyError, match="4"):
                index.get([1, 4])

    def test_everything_can_be_deleted_and_filled_again(self, candidate, metric, rng):
        pair = Pair(candidate, 6, metric)
        for _ in range(3):
            rows = candidate.rows(gaussian, rng, 120, 6)
            ids = pair.add(rows)
            pair.check_search(rows[:4], (5, 130))
            pair.delete(ids)
            assert len(pair.index) == 0
            assert pair.index.search(rows[:4], 5).counts.tolist() == [0, 0, 0, 0]

    # -- filters

    def test_a_filter_may_be_ids_a_mask_or_compiled(self, candidate, metric, rng):
        pair = Pair(candidate, 6, metric)
        rows = candidate.rows(gaussian, rng, 300, 6)
        pair.add(rows, rng.permutation(3000)[:300])  # so that the order of ids is not that of rows
        ids = pair.index.ids
        queries = gaussian(rng, 4, 6)
        for share in (0.0, 0.003, 0.05, 0.5, 0.99, 1.0):
            mask = rng.random(300) < share if 0 < share < 1 else np.full(300, share == 1.0)
            allowed = ids[mask]
            forms = (allowed, allowed.tolist(), allowed[::-1].astype(np.uint16), mask, mask.tolist())
            for form in forms:
                pair.check_search(queries, (1, 20), filter=form, allowed=allowed)
                compiled = pair.index.filter(form)
                assert isinstance(compiled, nf.Filter)
                assert len(compiled) == len(allowed)
                pair.check_search(queries, (20,), filter=compiled, allowed=allowed)
            pair.check_range(queries, 1e9, filter=allowed, allowed=allowed)

    def test_ids_in_a_filter_that_are_not_there_match_nothing(self, candidate, metric, rng):
        pair = Pair(candidate, 6, metric)
        pair.add(candidate.rows(gaussian, rng, 50, 6))
        pair.check_search(
            candidate.rows(gaussian, rng, 3, 6), (5,), filter=[3, 4, 4, 999, 2**62], allowed=[3, 4]
        )
        assert pair.index.search(gaussian(rng, 1, 6), 5, filter=[999]).counts.tolist() == [0]

    def test_a_compiled_filter_means_ids_also_after_changes(self, candidate, metric, rng):
        pair = Pair(candidate, 6, metric)
        pair.add(candidate.rows(gaussian, rng, 60, 6))
        queries = gaussian(rng, 3, 6)
        compiled = pair.index.filter(np.arange(60) % 3 == 0)
        pair.check_search(queries, (30,), filter=compiled, allowed=range(0, 60, 3))
        pair.add(candidate.rows(gaussian, rng, 30, 6))
        pair.delete([0, 3, 6])
        pair.upsert([9, 10], candidate.rows(gaussian, rng, 2, 6))
        pair.check_search(queries, (30,), filter=compiled, allowed=range(0, 60, 3))

    # -- scores and distances

    def test_min_score_and_radius_are_inclusive(self, candidate, metric, rng):
        pair = Pair(candidate, 6, metric)
        pair.add(candidate.rows(integers, rng, 200, 6))
        for query in gaussian(rng, 4, 6)[:, None]:
            scores = pair.model.ranking(query[0])[1]
            for score in scores[[0, 20, -1]]:
                pair.check_search(query, (30, 200), min_score=float(score))
                pair.check_range(query, float(natural_distances(score, metric)))
            above = float(np.nextafter(scores[0], np.float32(np.inf)))
            assert pair.index.search(query, 5, min_score=above).counts.tolist() == [0]

    def test_kneighbors_is_search_in_the_order_of_scikit_learn(self, candidate, metric, rng):
        index = candidate.make(6, metric)
        index.add(candidate.rows(gaussian, rng, 50, 6))
        queries = gaussian(rng, 4, 6)
        result = index.search(queries, 7)
        distances, ids = index.kneighbors(queries, 7)
        np.testing.assert_array_equal(distances, result.distances)
        np.testing.assert_array_equal(ids, result.ids)
        ids = index.kneighbors(queries, n_neighbors=7, return_distance=False)
        np.testing.assert_array_equal(ids, result.ids)

    def test_a_range_of_one_query_is_one_range(self, candidate, metric, rng):
        pair = Pair(candidate, 6, metric)
        pair.add(candidate.rows(gaussian, rng, 50, 6))
        query = gaussian(rng, 1, 6)
        one, many = pair.index.range_search(query[0], 1e9), pair.index.range_search(query, 1e9)
        assert one.lims.tolist() == [0, 50]
        for a, b in zip(one, many, strict=True):
            assert a.tobytes() == b.tobytes()

    # -- determinism

    def test_answers_are_the_same_bits_for_any_threads_and_batches(self, candidate, metric, rng):
        index = candidate.make(33, metric)
        rows = np.concatenate(
            [candidate.rows(gaussian, rng, 700, 33), candidate.rows(integers, rng, 300, 33)]
        )
        index.add(rows)
        queries = np.concatenate(
            [candidate.rows(gaussian, rng, 40, 33), candidate.rows(integers, rng, 23, 33)]
        )
        for options in ({}, {"exact": True}, {"filter": np.arange(0, 1000, 7)}, {"min_score": 0.0}):
            whole = index.search(queries, 12, **options)
            for threads in (1, 2, 5):
                assert_same_bits(index.search(queries, 12, threads=threads, **options), whole)
            half = index.search(queries[:31], 12, **options)
            assert half.ids.tobytes() == whole.ids[:31].tobytes()
            assert half.scores.tobytes() == whole.scores[:31].tobytes()
            for number, query in enumerate(queries):
                one = index.search(query, 12, **options)
                assert one.ids.tobytes() == whole.ids[number, : len(one.ids)].tobytes()
                assert one.scores.tobytes() == whole.scores[number, : len(one.ids)].tobytes()

    def test_the_same_calls_give_the_same_index(self, candidate, metric, rng):
        rows = candidate.rows(gaussian, rng, 600, 12)
        made = []
        for _ in range(2):
            index = candidate.make(12, metric)
            index.add(rows[:350])
            index.delete(range(0, 350, 5))
            index.upsert(range(300, 400), rows[350:450])
            index.add(rows[450:])
            made.append(index)
        assert snapshot(made[0]) == snapshot(made[1])
        assert_same_bits(made[0].search(rows, 10), made[1].search(rows, 10))

    # -- all or nothing

    def test_a_call_that_fails_changes_nothing(self, candidate, metric, rng):
        index = candidate.make(4, metric)
        index.add(candidate.rows(gaussian, rng, 100, 4))
        index.delete([4, 99])
        many = candidate.rows(gaussian, rng, 3000, 4)
        late_nan = many.copy()
        late_nan[-1, -1] = np.nan
        late_overflow = many.astype(np.float64)
        late_overflow[-1, 0] = 1e300
        once_too_often = np.arange(1000, 4000)
        once_too_often[-1] = 1000
        known_at_the_end = np.arange(1000, 4000)
        known_at_the_end[-1] = 5

        calls: dict[str, Callable[[], Any]] = {
            "add: NaN at the end": lambda: index.add(late_nan),
            "add: overflow at the end": lambda: index.add(late_overflow),
            "add: wrong dim": lambda: index.add(many[:, :3]),
            "add: three axes": lambda: index.add(many[None]),
            "add: strings": lambda: index.add(np.full((2, 4), "x")),
            "add: an id twice": lambda: index.add(many, once_too_often),
            "add: a known id": lambda: index.add(many, known_at_the_end),
            "add: a negative id": lambda: index.add(many[:2], [1000, -1]),
            "add: an id beyond int64": lambda: index.add(many[:2], [1000, 2**63]),
            "add: too few ids": lambda: index.add(many, [1000]),
            "add: float ids": lambda: index.add(many[:2], [1000.0, 1001.0]),
            "add: progress": lambda: index.add(many[:2], progress="yes"),
            "upsert: NaN at the end": lambda: index.upsert(np.arange(3000), late_nan),
            "upsert: wrong dim": lambda: index.upsert([1], many[:1, :3]),
            "upsert: too many ids": lambda: index.upsert([1, 2], many[:1]),
            "upsert: a negative id": lambda: index.upsert([1, -2], many[:2]),
            "delete: a string": lambda: index.delete(["1"]),
            "delete: a float": lambda: index.delete([1.0]),
            "search: NaN": lambda: index.search(late_nan),
            "search: negative k": lambda: index.search(many[:2], -1),
        }
        before = snapshot(index)
        for what, call in calls.items():
            with pytest.raises((nf.NearfieldError, ValueError, TypeError)):
                call()
            assert snapshot(index) == before, what

    # -- copies

    def test_a_copy_has_a_life_of_its_own(self, candidate, metric, rng, tmp_path):
        pair = Pair(candidate, 6, metric)
        pair.add(candidate.rows(gaussian, rng, 90, 6))
        pair.delete([5, 6])
        before = snapshot(pair.index)
        path = tmp_path / "index.nf"
        pair.index.save(path)
        twins = [
            pair.index.copy(),
            copy.copy(pair.index),
            copy.deepcopy(pair.index),
            pickle.loads(pickle.dumps(pair.index)),
            nf.load(path),
            nf.load(path, mmap=True).copy(),
        ]
        for twin in twins:
            assert type(twin) is type(pair.index)
            for name in ("dim", "metric", "codec"):
                assert getattr(twin, name) == getattr(pair.index, name)
            assert snapshot(twin) == before
            twin.upsert([1, 500], candidate.rows(gaussian, rng, 2, 6))
            twin.delete(range(10, 40))
            assert snapshot(twin) != before
            assert snapshot(pair.index) == before

    def test_a_mapped_index_answers_like_the_live_one(self, candidate, metric, rng, tmp_path):
        pair = Pair(candidate, 17, metric)
        pair.add(candidate.rows(integers, rng, 150, 17), rng.permutation(900)[:150])
        pair.delete(pair.index.ids[::4])
        path = tmp_path / "index.nf"
        pair.index.save(path)
        live = pair.index
        pair.index = nf.load(path, mmap=True)
        pair.check_state()
        queries = integers(rng, 6, 17)
        pair.check_search(queries, (0, 5, 200))
        pair.check_search(queries, (9,), filter=pair.model.ids[::2], allowed=pair.model.ids[::2])
        assert_same_bits(pair.index.search(queries, 20), live.search(queries, 20))

    def test_what_the_caller_does_to_the_array_later_does_not_matter(self, candidate, metric, rng):
        index = candidate.make(4, metric)
        rows = candidate.rows(gaussian, rng, 50, 4)
        kept = keep(candidate.codec, rows)
        index.add(rows)
        rows[:] = np.nan
        np.testing.assert_array_equal(index.get(index.ids), kept)
        result = index.get([1])
        result[:] = 0
        np.testing.assert_array_equal(index.get([1]), kept[[1]])

    # -- being told about it

    def test_an_index_says_what_it_is(self, candidate, metric, rng):
        index = candidate.make(4, metric)
        index.add(candidate.rows(gaussian, rng, 50, 4))
        codec = candidate.code or candidate.codec
        assert (index.dim, index.metric, index.codec) == (4, metric, codec)
        assert isinstance(index, nf.Index)
        stats = index.stats()
        assert stats["rows"] == 50
        assert stats["codec"] == codec
        assert stats["bytes"] >= 50 * 4 * (1 if candidate.codec in ("u8", "i8") else 2)
        for text in (repr(index), index._repr_html_()):
            assert type(index).__name__ in text
            assert metric in text
            assert "50" in text

    def test_progress_is_reported_up_to_the_last_row(self, candidate, metric, rng):
        index = candidate.make(8, metric)
        seen: list[tuple[int, int]] = []
        index.add(
            candidate.rows(gaussian, rng, 3000, 8), progress=lambda done, total: seen.append((done, total))
        )
        assert seen and seen[-1] == (3000, 3000)
        assert seen == sorted(seen)
