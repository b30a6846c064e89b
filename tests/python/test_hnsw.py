"""The graph: recall, seeds, churn and filters, where an approximation could fail quietly."""

from __future__ import annotations

import numpy as np
import pytest
from kinds import all_equal, clustered, duplicates, gaussian
from pair import assert_same_bits, snapshot

import nearfield as nf

METRICS = ["cosine", "dot", "l2", "l1"]


def recall(index: nf.HnswIndex, queries: np.ndarray, k: int = 10, **options: object) -> float:
    """Found over true neighbours, by score: among equal scores no row is righter than another."""
    found = index.search(queries, k, **options)
    options.pop("ef", None)
    exact = index.search(queries, k, exact=True, **options)
    np.testing.assert_array_equal(found.counts, exact.counts)
    return float((found.scores >= exact.scores[:, -1:]).mean())


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(77)


def random_and_clustered(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return np.concatenate([gaussian(rng, n // 2, d), clustered(rng, n - n // 2, d)])[rng.permutation(n)]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", [gaussian, clustered, random_and_clustered], ids=lambda kind: kind.__name__)
def test_recall_is_high_with_the_defaults(kind, metric, rng):
    rows = kind(rng, 8200, 32)
    index = nf.HnswIndex(32, metric)
    index.add(rows[:8000])
    assert recall(index, rows[8000:]) >= 0.9


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_rows_kept_as_halves_are_found_and_scored_as_kept(metric, rng):
    rows = gaussian(rng, 3100, 40)
    index = nf.HnswIndex(40, metric, keep="f16")
    index.add(rows[:3000])
    assert index.codec == "f16"
    assert (index.get(range(3000)) == rows[:3000].astype(np.float16).astype(np.float32)).all()
    assert recall(index, rows[3000:], ef=200) >= 0.98
    exact = nf.FlatIndex(40, metric, codec="f16")
    exact.add(rows[:3000])
    found, truth = index.search(rows[3000:], ef=3000), exact.search(rows[3000:])
    assert (found.ids == truth.ids).mean() > 0.99
    assert (found.scores[found.ids == truth.ids] == truth.scores[found.ids == truth.ids]).all()


def test_cells_begin_with_the_1024th_row(rng):
    rows = gaussian(rng, 1100, 20)
    index = nf.HnswIndex(20)
    index.add(rows[:1023])
    assert index.stats()["code_bytes"] == 0
    assert recall(index, rows[1024:], ef=1) == 1.0
    index.add(rows[1023:1024])
    # A row of 64 bytes, numbers, and 32 links with 64 signs and 8 bytes each.
    assert index.stats()["code_bytes"] == 1024 * (64 + 64 + 32 * (64 // 8 + 8))
    assert recall(index, rows[1024:], ef=200) >= 0.99


@pytest.mark.parametrize("options", [{"codec": "f32"}, {"metric": "l1"}, {"metric": "l1", "codec": "f32"}])
def test_there_are_no_cells_where_walks_read_rows(options, rng):
    index = nf.HnswIndex(20, **options)
    index.add(gaussian(rng, 1500, 20))
    stats = index.stats()
    assert stats["code_bytes"] == 0
    assert stats["graph_bytes"] > 0
    for keep in ("f16", "f64"):
        with pytest.raises(ValueError, match=keep):
            nf.HnswIndex(20, keep=keep, **options)


def test_cells_are_not_used_where_eight_bits_cannot_tell_rows_apart(rng):
    rows = np.repeat(gaussian(rng, 20, 24) * 1000, 100, axis=0) + gaussian(rng, 2000, 24)
    rows = rows[rng.permutation(2000)].astype(np.float32)
    index = nf.HnswIndex(24, "l2")
    index.add(rows)
    assert index.stats()["code_bytes"] == 0
    assert recall(index, rows + gaussian(rng, 2000, 24)) >= 0.95


def test_a_wider_beam_finds_more(rng):
    rows = gaussian(rng, 8200, 48)
    index = nf.HnswIndex(48, "l2")
    index.add(rows[:8000])
    by_beam = [recall(index, rows[8000:], ef=ef) for ef in (10, 40, 160, 640)]
    assert by_beam == sorted(by_beam)
    assert by_beam[0] < by_beam[-1]
    assert by_beam[-1] >= 0.99


def test_the_beam_can_be_set_for_good_or_for_one_call(rng):
    rows = gaussian(rng, 3100, 24)
    index = nf.HnswIndex(24, "cosine", ef_search=12)
    index.add(rows[:3000])
    wide = index.search(rows[3000:], 10, ef=200)
    thin = index.search(rows[3000:], 10)
    assert thin.ids.tobytes() != wide.ids.tobytes()
    index.ef_search = 200
    assert index.ef_search == 200
    assert_same_bits(index.search(rows[3000:], 10), wide)
    assert_same_bits(index.search(rows[3000:], 10, ef=12), thin)


def test_a_beam_below_k_still_gives_k(rng):
    rows = gaussian(rng, 500, 8)
    index = nf.HnswIndex(8, "l2")
    index.add(rows)
    result = index.search(rows[:20], 50, ef=1)
    assert result.counts.tolist() == [50] * 20


def test_every_row_finds_itself(rng):
    rows = random_and_clustered(rng, 5000, 24)
    index = nf.HnswIndex(24, "l2")
    index.add(rows)
    result = index.search(rows, 1)
    assert (result.ids[:, 0] == np.arange(5000)).mean() >= 0.995


def test_rows_added_one_by_one_are_found_like_rows_added_at_once(rng):
    rows = gaussian(rng, 1100, 16)
    one_by_one, at_once = nf.HnswIndex(16, "l2"), nf.HnswIndex(16, "l2")
    for row in rows[:1000]:
        one_by_one.add(row)
    at_once.add(rows[:1000])
    for index in (one_by_one, at_once):
        assert recall(index, rows[1000:]) >= 0.95


# ---- determinism


def test_the_same_seed_gives_the_same_graph_and_another_one_is_as_good(rng):
    rows, queries = gaussian(rng, 3000, 32), gaussian(rng, 200, 32)
    by_seed = {}
    for seed in (0, 0, 1, 2**63):
        index = nf.HnswIndex(32, "l2", seed=seed)
        assert index.seed == seed
        index.add(rows)
        state = snapshot(index), index.search(queries, 10, ef=10).ids.tobytes()
        assert by_seed.setdefault(seed, state) == state
        assert recall(index, queries) >= 0.9
    assert len({ids for _, ids in by_seed.values()}) > 1, "the seed is used"


# ---- churn


def test_deletes_never_come_back_and_strand_nobody(rng):
    rows = gaussian(rng, 4200, 24)
    queries = rows[4000:]
    index = nf.HnswIndex(24, "l2")
    index.add(rows[:4000])
    gone: set[int] = set()
    for _ in range(5):
        batch = rng.choice(index.ids, 600, replace=False)
        index.delete(batch)
        gone.update(batch.tolist())
        result = index.search(queries, 10)
        assert not gone & set(result.ids.ravel().tolist())
        assert recall(index, queries) >= 0.9
    assert len(index) == 1000
    found = index.search(index.get(index.ids), 1).ids[:, 0]
    assert (found == index.ids).mean() >= 0.99
    index.optimize()
    assert not gone & set(index.search(queries, 10).ids.ravel().tolist())
    assert recall(index, queries) >= 0.9


def test_a_churned_index_is_as_good_as_a_fresh_one(rng):
    rows = gaussian(rng, 6200, 24)
    queries = rows[6000:]
    churned = nf.HnswIndex(24, "l2")
    churned.add(rows[:4000])
    for start in range(4000, 6000, 250):
        churned.delete(churned.ids[:250])
        churned.add(rows[start : start + 250])
    fresh = nf.HnswIndex(24, "l2")
    fresh.add(rows[2000:6000])
    assert churned.ids.tolist() == list(range(2000, 6000))
    for ef in (20, 64):
        assert recall(churned, queries, ef=ef) >= recall(fresh, queries, ef=ef) - 0.02


def test_upserted_rows_are_found_where_they_are_now(rng):
    rows = gaussian(rng, 2000, 16)
    index = nf.HnswIndex(16, "l2")
    index.add(rows)
    moved = np.arange(0, 2000, 4)
    index.upsert(moved, rows[moved] + 50)
    assert len(index) == 2000
    result = index.search(rows[moved] + 50, 1)
    assert (result.ids[:, 0] == moved).mean() >= 0.99
    assert not np.isin(index.search(rows[moved], 5).ids, moved).any(), "nobody finds them where they were"


# ---- data that breaks graphs


@pytest.fixture(params=[duplicates, all_equal], ids=lambda kind: kind.__name__)
def mostly_equal(request, rng) -> np.ndarray:
    """3,000 rows of which there are one or three kinds, then 1,000 others."""
    return np.concatenate([request.param(rng, 3000, 16), gaussian(rng, 1000, 16)])


@pytest.mark.parametrize("metric", METRICS)
def test_duplicates_by_the_thousand_are_built_and_found(mostly_equal, metric):
    index = nf.HnswIndex(16, metric)
    index.add(mostly_equal)
    assert recall(index, mostly_equal[:3000:97]) >= 0.9


@pytest.mark.parametrize("metric", METRICS)
def test_thousands_of_duplicates_do_not_hide_the_other_rows(mostly_equal, metric, rng):
    index = nf.HnswIndex(16, metric)
    index.add(mostly_equal)
    assert recall(index, gaussian(rng, 50, 16)) >= 0.9


def test_clusters_far_apart_are_all_reached(rng):
    centres = gaussian(rng, 20, 16) * 1000
    rows = np.repeat(centres, 150, axis=0) + gaussian(rng, 3000, 16)
    index = nf.HnswIndex(16, "l2")
    index.add(rows)
    result = index.search(centres, 10)
    assert (result.ids // 150 == np.arange(20)[:, None]).all()


def test_rows_in_sorted_order_are_found(rng):
    rows = np.sort(rng.standard_normal((3000, 1)).astype(np.float32), axis=0)
    index = nf.HnswIndex(1, "l2")
    index.add(rows)
    assert recall(index, gaussian(rng, 100, 1)) >= 0.95


# ---- filters


@pytest.mark.parametrize("metric", METRICS)
def test_filters_of_every_selectivity_give_k_of_what_matches(metric, rng):
    rows = gaussian(rng, 6100, 24)
    index = nf.HnswIndex(24, metric)
    index.add(rows[:6000])
    for share in (0.0005, 0.01, 0.1, 0.3, 0.6, 0.99):
        mask = rng.random(6000) < share
        mask[17] = True
        allowed = np.flatnonzero(mask)
        result = index.search(rows[6000:], 10, filter=mask)
        assert np.isin(result.ids, [-1, *allowed]).all()
        assert result.counts.tolist() == [min(10, len(allowed))] * 100
        assert recall(index, rows[6000:], min(10, len(allowed)), filter=mask) >= 0.9


def test_a_filter_that_contradicts_the_query_still_finds_what_matches(rng):
    rows = clustered(rng, 4000, 16)
    far = np.linalg.norm(rows - rows[0], axis=1)
    allowed = np.argsort(far)[-60:]  # the rows farthest from the query
    index = nf.HnswIndex(16, "l2")
    index.add(rows)
    result = index.search(rows[0], 10, filter=allowed)
    exact = index.search(rows[0], 10, filter=allowed, exact=True)
    assert result.counts.tolist() == [10]
    assert np.isin(result.ids, exact.ids).mean() >= 0.9


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_what_matches_is_found_where_it_lies_on_the_other_side(share, rng):
    rows = gaussian(rng, 20_000, 24)
    rows[:, 0] *= 3
    rows[10_000:10_500] = rows[:500]  # twins
    index = nf.HnswIndex(24, "l2")
    index.add(rows)
    mask = rows[:, 0] > np.quantile(rows[:, 0], 1 - share)
    queries = gaussian(rng, 100, 24)
    queries[:, 0] = -6
    result = index.search(queries, 10, filter=mask)
    assert (result.counts == 10).all()
    assert mask[result.ids].all()
    assert all(len(set(ids)) == 10 for ids in result.ids)
    assert recall(index, queries, 10, filter=mask) >= 0.9


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_without_rows_scores_are_estimates_and_rows_about_what_was_given(metric, rng, tmp_path):
    rows = gaussian(rng, 4100, 64)
    queries, rows = rows[:100], rows[100:]
    index = nf.HnswIndex(64, metric, keep=None)
    index.add(rows[:1000])
    np.testing.assert_array_equal(index.get(index.ids), rows[:1000])
    index.add(rows[1000:])
    assert (index.keep, index.codec) == (None, "n8")
    np.testing.assert_allclose(index.get(index.ids), rows, atol=0.05)
    truth = nf.exact_neighbors(rows, queries, k=10, metric=metric)
    exact = index.search(queries, 10, exact=True)
    walked = index.search(queries, 10, ef=300)
    assert np.mean([len(set(a) & set(b)) for a, b in zip(exact.ids, truth.ids, strict=True)]) >= 9.4
    assert np.mean([len(set(a) & set(b)) for a, b in zip(walked.ids, exact.ids, strict=True)]) >= 9.4
    np.testing.assert_allclose(exact.scores, truth.scores, rtol=0.02, atol=0.02)
    index.save(tmp_path / "lean.nf")
    for mmap in (False, True):
        loaded = nf.load(tmp_path / "lean.nf", mmap=mmap)
        assert loaded.keep is None
        again = loaded.search(queries, 10, ef=300)
        np.testing.assert_array_equal(again.ids, walked.ids)
        np.testing.assert_array_equal(again.scores, walked.scores)


def test_nothing_can_be_kept_only_where_there_are_codes():
    with pytest.raises(ValueError, match="got None"):
        nf.HnswIndex(8, codec="f32", keep=None)
    with pytest.raises(ValueError, match="l1"):
        nf.HnswIndex(8, "l1", keep=None)
    with pytest.raises(ValueError, match="keep must be 'f32' or 'f16', or None"):
        nf.HnswIndex(8, keep="i8")
    assert [nf.HnswIndex(8, keep=keep).keep for keep in ("f32", "f16", None)] == ["f32", "f16", None]
