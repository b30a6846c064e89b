"""Codes of a few bits: what they keep of a row, what they find, and that all answers agree."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from conformance import CODES
from kept import keep as kept_as
from kinds import gaussian
from model import Model, canonical_scores
from pair import assert_same_bits, snapshot

import nearfield as nf

BITS = tuple(CODES)
METRICS = ("cosine", "dot", "l2")

# Recall@10 of codes alone, on 3,000 rows of dimension 64 in wide clusters: no more than this is promised.
FLOORS = {1: 0.25, 2: 0.5, 3: 0.68, 4: 0.8, 5: 0.87, 6: 0.92, 7: 0.95, 8: 0.97}
# ||y - s c|| / ||y||: how far a decoded row may lie from the one that was given, with a tenth to spare.
ERRORS = {1: 0.67, 2: 0.38, 3: 0.21, 4: 0.11, 5: 0.066, 6: 0.036, 7: 0.02, 8: 0.011}


@pytest.fixture(params=BITS)
def bits(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(params=METRICS)
def metric(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def wide_clusters(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Gaussian clusters as wide as they are far apart, around a centre that is not the origin."""
    centres = rng.standard_normal((20, d)) + 0.5
    return (centres[rng.integers(20, size=n)] + rng.standard_normal((n, d))).astype(np.float32)


def filled(rows: np.ndarray, metric: str, bits: int = 4, **options: Any) -> nf.QuantizedIndex:
    index = nf.QuantizedIndex(rows.shape[1], metric, bits=bits, **options)
    index.add(rows)
    return index


def recall(result: nf.SearchResult, truth: nf.SearchResult) -> float:
    pairs = zip(result.ids.tolist(), truth.ids.tolist(), strict=True)
    return float(np.mean([len(set(mine) & set(true)) / len(true) for mine, true in pairs]))


# ---- what it is


def test_the_defaults_are_four_bits_and_no_rows():
    index = nf.QuantizedIndex(8)
    assert (index.dim, index.metric, index.codec) == (8, "cosine", "turbo4")
    assert (index.bits, index.keep, index.rerank, index.seed) == (4, None, 4.0, 0)


def test_an_index_says_how_it_was_made_wherever_it_comes_from(bits, tmp_path):
    for keep in (None, "f32", "f16"):
        index = nf.QuantizedIndex(8, "l2", bits=bits, keep=keep, rerank=2.5, seed=2**64 - 1)
        for rows in (0, 30, 1100):
            index.upsert(np.arange(rows), gaussian(np.random.default_rng(rows), rows, 8))
            index.save(tmp_path / "index.nf")
            for one in (
                index,
                index.copy(),
                pickle.loads(pickle.dumps(index)),
                nf.load(tmp_path / "index.nf"),
                nf.QuantizedIndex.load(tmp_path / "index.nf", mmap=True),
            ):
                assert type(one) is nf.QuantizedIndex
                assert (one.bits, one.keep, one.rerank, one.seed) == (bits, keep, 2.5, 2**64 - 1)
                assert one.codec == one.stats()["codec"] == CODES[bits]
                assert CODES[bits] in one._repr_html_()
                assert (one.stats()["code_bytes"] > 0) == (rows > 1000)


def test_codes_take_as_many_bits_as_they_say(bits, rng):
    rows = gaussian(rng, 4000, 128)
    index = filled(rows, "cosine", bits)
    stats = index.stats()
    assert stats["kind"] == "quantized"
    # A few numbers a row besides, and a live bit.
    assert 16 * bits <= stats["bytes_per_vector"] <= 16 * bits + 12
    assert stats["code_bytes"] <= stats["bytes"] <= stats["code_bytes"] + 1000
    # The row, its term, and its squared norm.
    both = filled(rows, "cosine", bits, keep="f16").stats()
    assert both["bytes_per_vector"] == pytest.approx(stats["bytes_per_vector"] + 256 + 4 + 8, abs=1)


def test_rows_that_are_looked_at_are_counted(bits, rng):
    rows = gaussian(rng, 3000, 64)
    index = filled(rows[:900], "l2", bits)
    index.search(rows[:5], 10)
    assert [index.stats()[name] for name in ("queries", "reranked")] == [0, 0], "no codes yet"
    index.add(rows[900:])
    index.search(rows[:50], 10)
    index.search(rows[:5], 10, filter=np.arange(100))
    stats = index.stats()
    assert stats["queries"] == 55
    assert 55 * 10 <= stats["reranked"] < 55 * 3000
    assert index.copy().stats()["queries"] == 0


# ---- what it finds


def test_few_rows_are_kept_and_answered_exactly(bits, metric, rng):
    rows = gaussian(rng, 1023, 16)
    for keep in (None, "f32", "f16"):
        index = filled(rows, metric, bits, keep=keep)
        model = Model(16, metric, keep or "f32")
        model.add(rows)
        queries = gaussian(rng, 5, 16)
        answer = model.search(queries, 10)
        for options in ({}, {"exact": True}):
            result = index.search(queries, 10, **options)
            np.testing.assert_array_equal(result.ids, answer.ids)
            np.testing.assert_array_equal(result.scores, answer.scores)
        np.testing.assert_array_equal(index.get(index.ids), kept_as(keep or "f32", rows))


def test_codes_alone_find_what_is_promised(bits, metric, rng):
    rows = wide_clusters(rng, 3200, 64)
    index = filled(rows[:3000], metric, bits)
    truth = nf.exact_neighbors(rows[:3000], rows[3000:], 10, metric)
    assert recall(index.search(rows[3000:], 10), truth) >= FLOORS[bits]


def test_rows_beside_the_codes_find_more_the_more_of_them_are_looked_at(bits, metric, rng):
    rows = wide_clusters(rng, 3200, 64)
    queries, truth = rows[3000:], nf.exact_neighbors(rows[:3000], rows[3000:], 10, metric)
    alone = recall(filled(rows[:3000], metric, bits).search(queries, 10), truth)
    index = filled(rows[:3000], metric, bits, keep="f32", rerank=1)
    # One candidate for each row that is wanted: the same rows, in the order of their own scores.
    assert recall(index.search(queries, 10), truth) == pytest.approx(alone)
    found = []
    for index.rerank in (1, 2, 4, 16, 300):
        result = index.search(queries, 10)
        found.append(recall(result, truth))
        for number in range(0, 200, 20):
            seen = rows[result.ids[number]]
            np.testing.assert_array_equal(
                result.scores[number], canonical_scores(queries[number], seen, metric)
            )
    assert found == sorted(found)
    assert found[-1] == 1.0
    assert found[2] >= {1: 0.55, 2: 0.87}.get(bits, 0.97)
    assert_same_bits(result, index.search(queries, 10, exact=True))
    assert_same_bits(result, truth)


def test_rerank_may_be_any_number_from_one(rng):
    rows = gaussian(rng, 2000, 32)
    index = filled(rows, "l2", 2, keep="f16", rerank=1.5)
    for rerank in (1, 1.0, np.float32(2.5), 7, 1e300):
        index.rerank = rerank
        assert index.rerank == float(rerank)
        assert index.search(rows[:3], 4).counts.tolist() == [4, 4, 4]
    for mistake in (0.99, 0, -1, math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match=r"rerank must be a finite number of at least 1, got "):
            index.rerank = mistake
    assert index.rerank == 1e300


def test_a_seed_decides_the_codes_and_any_is_as_good(metric, rng):
    rows = wide_clusters(rng, 2100, 48)
    queries, truth = rows[2000:], nf.exact_neighbors(rows[:2000], rows[2000:], 10, metric)
    by_seed = {}
    for seed in (0, 0, 1, 2**63):
        index = filled(rows[:2000], metric, 2, seed=seed)
        state = index.search(queries, 10).scores.tobytes()
        assert by_seed.setdefault(seed, state) == state
        assert recall(index.search(queries, 10), truth) >= 0.45
    assert len(set(by_seed.values())) == 3


# ---- what it keeps


def test_get_gives_the_row_that_the_codes_describe(bits, metric, rng):
    rows = wide_clusters(rng, 1500, 100)
    index = filled(rows, metric, bits)
    decoded = index.get(index.ids)
    centred = rows - rows[:1024].mean(axis=0)
    if metric == "cosine":
        units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        centred = units - units[:1024].mean(axis=0)
        errors = decoded / np.linalg.norm(rows, axis=1, keepdims=True) - units
    else:
        errors = decoded - rows
    # The estimate is the unbiased multiple of the code, which lies a little beyond the nearest.
    relative = np.linalg.norm(errors, axis=1) / np.linalg.norm(centred, axis=1)
    assert np.median(relative) <= ERRORS[bits] * 1.25
    query = gaussian(rng, 1, 100)
    scores = np.empty(1500)
    result = index.search(query, 1500)
    scores[result.ids[0]] = result.scores[0]
    # The query is rounded to steps on its way through the codes; the decoded row is not.
    norm = 1.0 if metric == "cosine" else float(np.linalg.norm(query))
    spread = np.linalg.norm(centred, axis=1).mean()
    expected = canonical_scores(query[0], decoded, "dot" if metric == "cosine" else metric).astype(float)
    if metric == "cosine":
        expected /= np.linalg.norm(query) * np.linalg.norm(rows, axis=1)
    if metric == "l2" and bits < 3:
        return  # of a coarse code the length is known better than the code has it
    assert np.abs(scores - expected).mean() <= 0.05 * norm * spread * (1 if metric != "l2" else 2 / norm)


def test_a_row_is_decoded_alike_wherever_it_lies(bits, rng):
    rows = gaussian(rng, 1300, 24)
    at_once = filled(rows, "dot", bits)
    in_between = filled(rows[:1100], "dot", bits)
    in_between.add(rows[1100:])
    moved = filled(rows, "dot", bits)
    moved.delete(range(1024, 1300, 3))
    moved.optimize()
    expected = at_once.get(at_once.ids)
    np.testing.assert_array_equal(in_between.get(in_between.ids), expected)
    np.testing.assert_array_equal(moved.get(moved.ids), expected[moved.ids])


# ---- answers that agree


def test_search_range_search_and_kneighbors_agree(bits, metric, rng):
    rows, queries = wide_clusters(rng, 1400, 20), gaussian(rng, 6, 20)
    index = filled(rows, metric, bits)
    whole = index.search(queries, 1400)
    assert whole.counts.tolist() == [1400] * 6
    for k in (0, 1, 10, 700, 5000):
        result = index.search(queries, k)
        m = min(k, 1400)
        assert result.counts.tolist() == [m] * 6
        np.testing.assert_array_equal(result.ids[:, :m], whole.ids[:, :m])
        np.testing.assert_array_equal(result.scores[:, :m], whole.scores[:, :m])
        distances, ids = index.kneighbors(queries, k)
        np.testing.assert_array_equal(ids, result.ids)
        np.testing.assert_array_equal(distances, result.distances)
    for number in range(6):
        order = np.lexsort((whole.ids[number], -whole.scores[number]))
        np.testing.assert_array_equal(order, np.arange(1400))
        for place in (0, 7, 600):
            score, distance = whole.scores[number, place], whole.distances[number, place]
            reached = int((whole.scores[number] >= score).sum())
            lowest = index.search(queries[number], 1400, min_score=float(score))
            assert lowest.ids.tolist() == whole.ids[number, :reached].tolist(), "inclusive"
            above = float(np.nextafter(score, np.float32(np.inf)))
            assert len(index.search(queries[number], 1400, min_score=above).ids) < reached
            near = index.range_search(queries[number], float(distance))
            within = int((whole.distances[number] <= distance).sum())
            assert near.ids.tolist() == whole.ids[number, :within].tolist(), "inclusive"
            assert near.scores.tobytes() == whole.scores[number, :within].tobytes()
            assert near.distances.tobytes() == whole.distances[number, :within].tobytes()


def test_a_filter_gives_what_the_whole_has_of_it(bits, metric, rng):
    index = filled(wide_clusters(rng, 1400, 20), metric, bits)
    index.delete(range(0, 1400, 5))
    queries = gaussian(rng, 4, 20)
    whole = index.search(queries, 1400)
    for share in (0.002, 0.1, 0.9):
        mask = rng.random(len(index)) < share
        mask[3] = True
        allowed = index.ids[mask]
        for form in (allowed, mask, index.filter(mask)):
            result = index.search(queries, 30, filter=form)
            for number in range(4):
                expected = whole.ids[number][np.isin(whole.ids[number], allowed)][:30]
                assert result.ids[number, : len(expected)].tolist() == expected.tolist()
                assert result.counts[number] == len(expected) == min(30, len(allowed))


def test_min_score_holds_for_the_scores_of_rows(metric, rng):
    rows = wide_clusters(rng, 2000, 32)
    index = filled(rows, metric, 3, keep="f32", rerank=20)
    for query in gaussian(rng, 5, 32):
        scores = index.search(query, 30).scores
        result = index.search(query, 30, min_score=float(scores[9]))
        assert result.scores.tolist() == scores[scores >= scores[9]].tolist()


def test_what_is_deleted_or_replaced_is_gone(bits, metric, rng):
    rows = wide_clusters(rng, 1500, 20)
    index = filled(rows, metric, bits)
    index.delete(range(0, 1500, 2))
    index.upsert(range(1, 1500, 4), rows[1::4] + 40)
    queries = rows[1:40:4]
    assert not (index.search(queries, 750).ids % 2 == 0).any()
    assert len(index) == 750
    if metric == "l2":
        assert not (index.search(queries, 200).ids % 4 == 1).any(), "not where they were"
        found = index.search(queries + 40, 375).ids
        assert (found % 4 == 1).all(), "but where they are"
    assert snapshot(pickle.loads(pickle.dumps(index))) == snapshot(index)


def test_rows_far_from_the_others_are_told_apart(metric, rng):
    rows = wide_clusters(rng, 1500, 40)
    rows[1400:] *= 1e4
    for bits in BITS:
        index = filled(rows, metric, bits, keep="f32")
        result = index.search(rows[1400:1450], 5)
        if metric == "l2":
            assert result.ids[:, 0].tolist() == list(range(1400, 1450))
        assert np.isfinite(result.scores).all()


@pytest.mark.parametrize("level", ["portable", "avx2"])
def test_scores_are_the_same_bits_whatever_the_processor_can_do(level):
    script = """
import hashlib, numpy as np, nearfield as nf
rng = np.random.default_rng(3)
rows, queries = rng.standard_normal((1200, 45), np.float32), rng.standard_normal((9, 45), np.float32)
digest = hashlib.sha256()
for metric in ("cosine", "dot", "l2"):
    quantized = [nf.QuantizedIndex(45, metric, bits=bits) for bits in range(1, 9)]
    for index in (nf.FlatIndex(45, metric), *quantized):
        index.add(rows)
        for result in (index.search(queries, 20), index.search(queries[0], 20)):
            digest.update(result.ids.tobytes() + result.scores.tobytes())
        digest.update(index.get(index.ids).tobytes())
print(digest.hexdigest())
"""
    digests = set()
    for environment in ({}, {"NEARFIELD_SIMD": level}):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        digests.add(done.stdout)
    assert len(digests) == 1


# ---- what cannot be


@pytest.mark.parametrize("bits", [0, 9, -1, 16, 2**40])
def test_bits_that_do_not_exist_are_named(bits):
    with pytest.raises(ValueError, match=rf"bits must be 1 to 8, got {bits if 0 <= bits < 2**32 else ''}"):
        nf.QuantizedIndex(4, bits=bits)
    for kind in ("4", 4.5, None):
        with pytest.raises(TypeError):
            nf.QuantizedIndex(4, bits=kind)


@pytest.mark.parametrize("keep", ["i8", "bf16", "u8", "F32", "", "none"])
def test_a_keep_that_does_not_exist_names_those_that_do(keep):
    with pytest.raises(ValueError, match=rf"keep must be 'f32' or 'f16', or None .*, got \"{keep}\""):
        nf.QuantizedIndex(4, keep=keep)


@pytest.mark.parametrize("rerank", [0.5, 0, -4, math.nan, math.inf])
def test_a_rerank_that_makes_no_sense_is_a_value_error(rerank):
    with pytest.raises(ValueError, match=r"rerank must be a finite number of at least 1, got .*wanted"):
        nf.QuantizedIndex(4, rerank=rerank)


@pytest.mark.parametrize("metric", ["l1", "hamming", "euclidean"])
def test_a_metric_that_codes_do_not_serve_names_those_that_they_do(metric):
    with pytest.raises(ValueError, match=rf"'cosine', 'dot'.*'l2'.*got .{metric}"):
        nf.QuantizedIndex(4, metric)


def test_there_is_no_codec_to_choose():
    with pytest.raises(TypeError, match="codec"):
        nf.QuantizedIndex(4, codec="f16")


def test_a_value_that_f16_cannot_keep_is_refused_on_both_sides_of_the_border(rng):
    index = nf.QuantizedIndex(4, "l2", keep="f16")
    for _ in range(2):
        before = snapshot(index)
        rows = gaussian(rng, 1100, 4)
        rows[1050, 2] = 1e6
        with pytest.raises(ValueError, match=r"row 1050, column 2 .*'f16'"):
            index.add(rows)
        assert snapshot(index) == before
        index.add(rows[:1040])


def test_a_cap_counts_codes_and_rows(rng):
    rows = gaussian(rng, 3000, 64)
    small = filled(rows, "cosine", 4).stats()["bytes"]
    for keep in (None, "f32"):
        index = nf.QuantizedIndex(64, keep=keep, max_bytes=2 * small)
        index.add(rows[:100])
        before = snapshot(index)
        with pytest.raises(nf.CapacityError, match="max_bytes"):
            index.add(rows)
        assert snapshot(index) == before
        assert len(index.add(rows[100:300])) == 200


def test_recall_cannot_be_measured_against_codes(rng):
    rows = gaussian(rng, 1200, 16)
    with pytest.raises(ValueError, match=r"keeps no rows.*truth=nf\.exact_neighbors"):
        nf.evaluate(filled(rows, "l2"), rows[:20])
    truth = nf.exact_neighbors(rows, rows[:20], 10, "l2")
    assert 0.3 < nf.evaluate(filled(rows, "l2"), rows[:20], truth).rows[0].recall < 1
    assert nf.evaluate(filled(rows, "l2", keep="f32"), rows[:20]).rows[0].recall > 0.9
