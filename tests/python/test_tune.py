"""A wanted recall instead of a beam."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nearfield as nf

D = 24


def clusters(count: int, seed: int) -> np.ndarray:
    """Rows in some clusters of unequal width: neither uniform nor easy."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((40, D))
    widths = np.random.default_rng(98).uniform(0.3, 1.2, 40)
    of = rng.integers(0, 40, count)
    return (centres[of] + widths[of, None] * rng.standard_normal((count, D))).astype(np.float32)


@pytest.fixture(scope="module")
def filled() -> nf.HnswIndex:
    index = nf.HnswIndex(D, "l2", m=8)
    index.add(clusters(12_000, 0))
    return index


def recall(index: nf.HnswIndex, queries: np.ndarray, **options: float) -> float:
    found, truth = index.search(queries, **options).ids, index.search(queries, exact=True).ids
    return float(np.mean([np.isin(f, t).mean() for f, t in zip(found, truth, strict=True)]))


@pytest.mark.parametrize("wanted", [0.8, 0.9, 0.97])
def test_a_search_finds_the_part_that_it_was_asked_for(filled, wanted):
    queries = clusters(400, 1)
    assert recall(filled, queries, recall=wanted) >= wanted - 0.02
    assert filled.beam_for(0.8) < filled.beam_for(0.9) < filled.beam_for(0.97)


def test_the_recall_of_an_index_goes_for_searches_that_name_nothing(filled, tmp_path: Path):
    queries = clusters(50, 2)
    index = filled.copy()
    assert index.recall is None
    index.recall = 0.9
    assert (index.search(queries).ids == index.search(queries, recall=0.9).ids).all()
    assert (index.search(queries, ef=12).ids == filled.search(queries, ef=12).ids).all()
    index.save(tmp_path / "index.nf")
    for other in (nf.load(tmp_path / "index.nf"), index.copy()):
        assert other.recall == 0.9 and other.beam_for(0.9) == index.beam_for(0.9)
    index.recall = None
    assert (index.search(queries).ids == index.search(queries, ef=index.ef_search).ids).all()


def test_what_was_measured_is_measured_again_after_changes():
    index = nf.HnswIndex(D, "l2", m=8, recall=0.95)
    index.add(clusters(2_000, 0))
    few = index.beam_for(0.95)
    index.add(clusters(20_000, 5))
    assert index.beam_for(0.95) > few
    assert recall(index, clusters(300, 6)) >= 0.93


def test_an_index_of_few_rows_or_none_has_a_beam_as_well():
    index = nf.HnswIndex(D, recall=0.9)
    assert index.search(np.ones(D)).ids.shape == (0,)
    index.add(clusters(5, 0))
    assert index.search(np.ones(D)).ids.shape == (5,)
    index.add(clusters(2_000, 1)[:, :])
    assert index.search(np.ones(D)).ids.shape == (10,)


@pytest.mark.parametrize("wrong", [0, 1, 1.5, -0.1, float("nan")])
def test_a_recall_that_is_none_is_refused(filled, wrong):
    for refused in (
        lambda: filled.search(np.ones(D), recall=wrong),
        lambda: filled.beam_for(wrong),
        lambda: nf.HnswIndex(D, recall=wrong),
        lambda: setattr(filled, "recall", wrong),
        lambda: nf.tune(filled, recall=wrong),
    ):
        with pytest.raises(ValueError, match="between 0 and 1"):
            refused()
    assert filled.recall is None


def test_a_beam_and_a_recall_contradict_each_other(filled):
    with pytest.raises(ValueError, match="not both"):
        filled.search(np.ones(D), ef=20, recall=0.9)


def test_tune_sets_the_narrowest_beam_that_is_enough_for_the_queries(filled):
    index, queries = filled.copy(), clusters(200, 3)
    tuned = nf.tune(index, queries, recall=0.93, k=5)
    assert index.ef_search == tuned["ef"] and tuned["recall"] >= 0.93 and tuned["qps"] > 0
    truth = index.search(queries, 5, exact=True).ids
    narrower = index.search(queries, 5, ef=tuned["ef"] - 1).ids
    assert np.mean([np.isin(f, t).mean() for f, t in zip(narrower, truth, strict=True)]) < 0.93


def test_tune_without_queries_takes_rows(filled):
    index = filled.copy()
    assert nf.tune(index, recall=0.9) == {"ef": index.beam_for(0.9), "recall": None, "qps": None}
    assert index.ef_search == index.beam_for(0.9)


def test_what_cannot_be_tuned_is_told(filled):
    with pytest.raises(ValueError, match="empty"):
        nf.tune(nf.HnswIndex(D))
    with pytest.raises(ValueError, match="10 nearest"):
        nf.tune(filled, k=5)
    with pytest.raises(ValueError, match="without queries"):
        nf.tune(filled, np.empty((0, D)))
    with pytest.raises(ValueError, match="k must be"):
        nf.tune(filled, np.ones((1, D)), k=0)
