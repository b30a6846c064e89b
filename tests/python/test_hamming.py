"""Rows of bits: the metric hamming, against the model, packed and unpacked."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from model import Model
from pair import Candidate, Pair, assert_same_bits

import nearfield as nf

FLAT = Candidate("flat b1", nf.FlatIndex, codec="b1")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def bits(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Rows of 0 and 1; every third one is like the first rows but for a bit, so that there are ties."""
    rows = rng.integers(0, 2, size=(n, d)).astype(np.float32)
    near = rows[::3]
    near[:] = rows[: len(near)]
    near[np.arange(len(near)), rng.integers(d, size=len(near))] = 0
    return rows


def pack(rows: np.ndarray) -> np.ndarray:
    return np.packbits(rows.astype(np.uint8), axis=-1)


def filled(rng: np.random.Generator, n: int, d: int) -> tuple[nf.FlatIndex, np.ndarray]:
    index, rows = nf.FlatIndex(d, "hamming"), bits(rng, n, d)
    index.add(rows)
    return index, rows


# ---- what the model says


@pytest.mark.parametrize("dim", [1, 5, 8, 63, 64, 65, 200, 1000])
def test_every_answer_is_that_of_the_model(dim, rng):
    pair = Pair(FLAT, dim, "hamming")
    rows = bits(rng, 300, dim)
    pair.add(rows, rng.permutation(3000)[:300])
    pair.delete(pair.model.ids[40:60])
    pair.upsert(pair.model.ids[:30], bits(rng, 30, dim))
    pair.check_state()
    for count in (1, 5, 30, 70):
        queries = np.concatenate([bits(rng, count, dim), rows[:2]])
        pair.check_search(queries, (0, 1, 10, 400))
        allowed = pair.index.ids[::3]
        pair.check_search(queries, (7,), filter=allowed, allowed=allowed)
        pair.check_search(queries, (7,), min_score=-float(dim // 3))
        pair.check_range(queries, float(dim // 3), filter=allowed, allowed=allowed)


@pytest.mark.parametrize("seed", range(4))
def test_any_sequence_of_calls_ends_where_the_model_ends(seed, tmp_path):
    rng = np.random.default_rng(seed)
    dim = int(rng.choice([1, 9, 64, 130]))
    pair = Pair(FLAT, dim, "hamming")
    for step in range(60):
        n = int(rng.integers(0, 12))
        rows = bits(rng, n, dim)
        match rng.integers(6):
            case 0:
                pair.add(rows)
            case 1:
                pair.upsert(rng.integers(0, pair.model.next_id + 4, size=n), rows)
            case 2:
                pair.delete(rng.integers(0, pair.model.next_id + 4, size=n))
            case 3:
                pair.check_search(bits(rng, 3, dim), (1, 4, 100))
            case 4:
                pair.index.optimize()
            case 5:
                path = tmp_path / f"{step}.nf"
                pair.index.save(path)
                twins = [pair.index.copy(), pickle.loads(pickle.dumps(pair.index)), nf.load(path)]
                pair.index = twins[rng.integers(3)]
        pair.check_state()


def test_scores_are_negative_counts_and_ties_go_to_the_smaller_id():
    index = nf.FlatIndex(4, "hamming")
    index.add([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]], [9, 4, 7, 2])
    result = index.search([1, 1, 0, 0], 4)
    assert result.ids.tolist() == [9, 4, 7, 2]
    assert result.scores.tolist() == [0, -2, -2, -4]
    assert result.distances.tolist() == [0, 2, 2, 4]
    assert (result.scores.dtype, result.distances.dtype) == (np.float32, np.float32)
    assert index.range_search([1, 1, 0, 0], 2).ids.tolist() == [9, 4, 7]


# ---- packed and unpacked


@pytest.mark.parametrize("dim", [1, 7, 8, 9, 64, 100])
def test_packed_bits_are_the_same_as_their_values(dim, rng):
    index, rows = filled(rng, 200, dim)
    packed = nf.FlatIndex(dim, "hamming")
    assert packed.add(pack(rows)).tolist() == list(range(200))
    assert packed.upsert([3, 500], pack(rows[:2])) == index.upsert([3, 500], rows[:2]) == 2
    assert pickle.dumps(packed) == pickle.dumps(index)
    queries = bits(rng, 40, dim)
    expected = index.search(queries, 9)
    forms: list[Any] = [
        queries.astype(bool),
        queries.astype(np.int64),
        queries.astype(np.float64),
        queries.tolist(),
        pack(queries),
        np.asfortranarray(pack(queries)),
        np.repeat(pack(queries), 2, axis=0)[::2],
    ]
    for form in forms:
        assert_same_bits(packed.search(form, 9), expected)
        assert_same_bits(index.search(form, 9), expected)
    one = index.search(pack(queries[0]), 9)
    assert one.ids.tolist() == expected.ids[0].tolist()
    assert index.range_search(pack(queries), 3).lims.tolist() == index.range_search(queries, 3).lims.tolist()
    np.testing.assert_array_equal(index.get([5, 3]), np.stack([rows[5], rows[0]]))
    assert index.get(5).dtype == np.float32


def test_packed_bits_find_their_exact_neighbors(rng):
    base, queries = bits(rng, 100, 64), bits(rng, 5, 64)
    model = Model(64, "hamming")
    model.add(base)
    expected = model.search(queries, 7)
    for given in ((base, queries), (base.astype(bool), queries), (pack(base), pack(queries))):
        result = nf.exact_neighbors(*given, 7, "hamming")
        np.testing.assert_array_equal(result.ids, expected.ids)
        np.testing.assert_array_equal(result.scores, expected.scores)


def test_an_index_of_bits_can_be_evaluated(rng):
    index, _ = filled(rng, 300, 64)
    report = nf.evaluate(index, pack(bits(rng, 20, 64)), k=5)
    assert report.rows[0].recall == 1.0
    # Eight bytes of bits, four and eight of what belongs to a row.
    assert report.rows[0].bytes_per_vector < 8 + 4 + 8 + 1


# ---- what is refused


@pytest.mark.parametrize("bad", [2, -1, 0.5])
def test_what_is_no_bit_is_named(bad, rng):
    index, rows = filled(rng, 50, 10)
    given = bits(rng, 3, 10).astype(np.float64)
    given[1, 7] = bad
    calls = [
        lambda: index.add(given),
        lambda: index.upsert([1, 2, 3], given),
        lambda: index.search(given),
        lambda: index.range_search(given, 1.0),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=rf"row 1, column 7 is {bad}.*0 and 1"):
            call()
    np.testing.assert_array_equal(index.get(index.ids), rows)


def test_nan_is_still_nan(rng):
    index, _ = filled(rng, 5, 3)
    with pytest.raises(nf.NonFiniteError, match="row 0, column 1"):
        index.search([0, np.nan, 1])


@pytest.mark.parametrize(
    ("dtype", "width"), [(np.uint8, 20), (np.uint8, 2), (np.uint8, 4), (bool, 3), (np.float32, 19)]
)
def test_a_wrong_width_says_both_shapes(dtype, width, rng):
    index, _ = filled(rng, 5, 20)
    for call in (index.add, index.search):
        with pytest.raises(nf.DimensionError, match=r"\(n, 20\).*uint8.*\(n, 3\).*got rows of " + str(width)):
            call(np.zeros((2, width), dtype))
    assert len(index) == 5


def test_bits_behind_the_last_are_refused(rng):
    index, _ = filled(rng, 5, 20)
    packed = pack(bits(rng, 4, 20))
    packed[2, 2] |= 1
    for call in (index.add, index.search):
        with pytest.raises(ValueError, match="row 2 has bits set behind the last"):
            call(packed)
    assert len(index) == 5


@pytest.mark.parametrize("codec", ["f32", "f16", "u8"])
def test_hamming_keeps_bits_and_nothing_else_does(codec):
    with pytest.raises(ValueError, match=rf"hamming.*'b1', got '{codec}'"):
        nf.FlatIndex(8, "hamming", codec=codec)
    for index in (nf.FlatIndex(8, "hamming"), nf.FlatIndex(8, "hamming", codec="b1")):
        assert (index.codec, index.metric) == ("b1", "hamming")
        assert index.stats()["codec"] == "b1"
    with pytest.raises(ValueError, match=r"b1.*hamming.*got 'cosine'"):
        nf.FlatIndex(8, codec="b1")


@pytest.mark.parametrize("codec", ["auto", "f32"])
def test_a_graph_says_that_it_does_not_have_hamming(codec):
    with pytest.raises(ValueError, match=r"HnswIndex.*hamming.*FlatIndex"):
        nf.HnswIndex(8, "hamming", codec=codec)


# ---- files, threads


def test_a_mapped_index_of_bits_answers_like_the_live_one(rng, tmp_path):
    index, _ = filled(rng, 3000, 200)
    index.delete(range(0, 3000, 7))
    queries = bits(rng, 100, 200)
    index.save(tmp_path / "bits.nf")
    for other in (nf.load(tmp_path / "bits.nf", mmap=True), nf.FlatIndex.load(tmp_path / "bits.nf")):
        assert (other.metric, other.codec, other.dim) == ("hamming", "b1", 200)
        assert_same_bits(other.search(queries, 12), index.search(queries, 12))
    with pytest.raises(nf.ReadOnlyError):
        nf.load(tmp_path / "bits.nf", mmap=True).add(queries)


def test_answers_are_the_same_bits_for_any_threads_and_batches(rng):
    index, _ = filled(rng, 2000, 33)
    queries = bits(rng, 90, 33)
    for options in ({}, {"filter": np.arange(0, 2000, 7)}, {"min_score": -9.0}):
        whole = index.search(queries, 12, **options)
        for threads in (1, 2, 5):
            assert_same_bits(index.search(queries, 12, threads=threads, **options), whole)
        for number, query in enumerate(queries):
            one = index.search(query, 12, **options)
            assert one.ids.tobytes() == whole.ids[number, : len(one.ids)].tobytes()
            assert one.scores.tobytes() == whole.scores[number, : len(one.ids)].tobytes()
