"""VectorDBBench: its abstract class, and its steps in processes of their own, as its runner takes them."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

pytest.importorskip("vectordb_bench", reason="VectorDBBench needs Python 3.11")

from vectordb_bench.backend.clients.api import MetricType, VectorDB
from vectordb_bench.backend.filter import IntFilter, LabelFilter, non_filter

import nearfield as nf
from nearfield.integrations.vectordbbench import NearfieldCaseConfig, NearfieldClient, NearfieldConfig

DIM = 16


def load(client, rows, first):
    with client.init():
        numbers = list(range(first, first + len(rows)))
        return client.insert_embeddings(embeddings=rows.tolist(), metadata=numbers)


def optimize(client):
    with client.init():
        client.optimize(data_size=None)


def search(client, queries, filters):
    client.prepare_filter(filters)
    with client.init():
        return [client.search_embedding(query.tolist(), k=10) for query in queries]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return [rng.standard_normal((n, DIM), dtype=np.float32) for n in (2000, 30)]


def client(tmp_path, **case):
    config = NearfieldConfig(path=str(tmp_path / "bench.nf")).to_dict()
    return NearfieldClient(DIM, config, NearfieldCaseConfig(**case), collection_name="case", drop_old=True)


@pytest.mark.parametrize(
    "case", [{"recall": 0.99}, {"metric_type": MetricType.L2, "ef_search": 200}], ids=str
)
def test_a_case_from_loading_to_searching(tmp_path, data, case):
    rows, queries = data
    one = client(tmp_path, **case)
    assert isinstance(one, VectorDB) and not one.need_normalize_cosine()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(load, one, rows[:1200], 0).result() == (1200, None)
        assert pool.submit(load, one, rows[1200:], 1200).result() == (800, None)
        pool.submit(optimize, one).result()
        everything = pool.submit(search, one, queries, non_filter).result()
        large = pool.submit(search, one, queries, IntFilter(int_value=1900, filter_rate=0.99)).result()
    metric = one.case.index_param()["metric"]
    for found, first in ((everything, 0), (large, 1900)):
        truth = nf.exact_neighbors(rows[first:], queries, 10, metric).ids + first
        shared = [len(set(a) & set(b)) for a, b in zip(found, truth.tolist(), strict=True)]
        assert np.mean(shared) > 9.5


def test_which_filters_there_are():
    assert NearfieldClient.filter_supported(non_filter)
    assert NearfieldClient.filter_supported(IntFilter(int_value=3))
    assert not NearfieldClient.filter_supported(LabelFilter(label_percentage=0.01))


def test_rows_that_do_not_fit_are_reported(tmp_path):
    one = client(tmp_path)
    with one.init():
        count, error = one.insert_embeddings([[1.0, 2.0]], [0])
    assert count == 0 and isinstance(error, nf.DimensionError)
