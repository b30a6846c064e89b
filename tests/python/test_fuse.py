"""Several rankings made one."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import nearfield as nf


def test_the_score_of_a_key_is_the_sum_of_its_reciprocal_places():
    fused = nf.fuse([["a", "b", "c"], ["c", "a", "d"]], k=60)
    expected = {
        "a": Fraction(1, 61) + Fraction(1, 62),
        "c": Fraction(1, 63) + Fraction(1, 61),
        "b": Fraction(1, 62),
        "d": Fraction(1, 63),
    }
    assert [hit.key for hit in fused] == list(expected)
    assert [hit.score for hit in fused] == pytest.approx([float(score) for score in expected.values()])


def test_equal_scores_stay_in_the_order_in_which_keys_come_up():
    assert [key for key, _ in nf.fuse([["x", "y"], ["y", "x"], ["z"]])] == ["x", "y", "z"]
    assert nf.fuse([]) == [] and nf.fuse([[], []]) == []


def test_weights_say_how_much_a_ranking_counts():
    rankings = [["a", "b"], ["b", "a"]]
    assert nf.fuse(rankings, weights=[1, 2])[0].key == "b"
    assert nf.fuse(rankings, weights=[2, 1])[0].key == "a"
    assert nf.fuse(rankings, weights=[1, 0])[1] == ("b", pytest.approx(1 / 62))


def test_of_a_key_that_comes_twice_the_first_place_counts():
    assert nf.fuse([["a", "a", "b"]]) == [("a", pytest.approx(1 / 61)), ("b", pytest.approx(1 / 62))]


def test_a_small_k_makes_first_places_worth_more():
    rankings = [["a", "b"], ["c", "b"]]
    assert nf.fuse(rankings, k=60)[0].key == "b"
    assert nf.fuse(rankings, k=0)[0].key != "b" or nf.fuse(rankings, k=0)[0].score == 1.0
    assert nf.fuse(rankings, k=0)[0].score == 1.0


def test_results_of_indexes_and_collections_are_rankings():
    vectors = np.eye(4, dtype=np.float32)
    index = nf.FlatIndex(4)
    index.add(vectors, ids=[10, 11, 12, 13])
    query = vectors[2] + 0.1 * vectors[3]
    fused = nf.fuse([index.search(query, 2), np.array([13, 99])])
    assert [key for key, _ in fused] == [13, 12, 99]
    assert all(type(key) is int for key, _ in fused)
    with nf.open(":memory:") as store:
        docs = store.create_collection("docs", 4)
        docs.upsert(["a", "b", "c", "d"], vectors)
        assert [key for key, _ in nf.fuse([docs.search(query, 2), ["d", "z"]])] == ["d", "c", "z"]
        with pytest.raises(ValueError, match="one query"):
            nf.fuse([docs.search(vectors, 2)])
    with pytest.raises(ValueError, match="one query"):
        nf.fuse([index.search(vectors, 2)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "borda"}, "rrf"),
        ({"k": -1}, "0 or more"),
        ({"weights": [1]}, "one weight for each of 2"),
        ({"weights": [1, -1]}, "0 or more"),
        ({"weights": [1, float("nan")]}, "0 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        nf.fuse([["a"], ["b"]], **options)


def test_a_string_is_no_ranking():
    with pytest.raises(TypeError, match="sequence of keys"):
        nf.fuse(["abc", ["a"]])
    with pytest.raises(TypeError):
        nf.fuse([[["a"]]])
