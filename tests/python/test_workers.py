"""Thread pools, processes by fork and by spawn, workers as data loaders have them, and event loops."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import nearfield as nf

# Since Python 3.12 a fork beside threads is warned of; that it works is what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

METHODS = [method for method in ("fork", "spawn") if method in multiprocessing.get_all_start_methods()]
RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((3000, 24)).astype(np.float32)
QUERIES = RNG.standard_normal((160, 24)).astype(np.float32)


@pytest.fixture(scope="module")
def index():
    made = nf.HnswIndex(24)
    made.add(ROWS)
    return made


@pytest.fixture(scope="module")
def expected(index):
    return index.search(QUERIES, 5).ids


@pytest.fixture
def file(index, tmp_path):
    index.save(tmp_path / "rows.nf")
    return tmp_path / "rows.nf"


@pytest.mark.parametrize("workers", [1, 2, 16])
def test_a_thread_pool_shares_an_index(index, expected, workers):
    with ThreadPoolExecutor(workers) as pool:
        one_by_one = list(pool.map(lambda query: index.search(query, 5, threads=1).ids, QUERIES))
        in_batches = list(pool.map(lambda part: index.search(part, 5).ids, np.array_split(QUERIES, 7)))
    assert np.array_equal(one_by_one, expected) and np.array_equal(np.concatenate(in_batches), expected)


def test_a_thread_pool_shares_a_collection():
    with nf.open(":memory:") as store, ThreadPoolExecutor(8) as pool:
        docs = store.create_collection("docs", 24)
        parts = np.array_split(np.arange(3000), 30)
        written = pool.map(lambda part: docs.upsert(part, ROWS[part], {"n": part}), parts)
        found = pool.map(lambda query: docs.search(query, 5, where={"n": {"$gte": 0}}).scores, QUERIES)
        assert sum(written) == 3000 and all((scores <= 1).all() for scores in found)
        assert docs.search(ROWS[77], 1).keys == [77]


def search_held(part):
    """In a forked child: the index that the parent held."""
    return HELD.search(part, 5).ids


HELD: nf.HnswIndex


@pytest.mark.skipif("fork" not in METHODS, reason="no fork on this system")
def test_a_forked_pool_has_what_its_parent_held(index, expected):
    global HELD
    HELD = index
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        found = list(pool.map(search_held, np.array_split(QUERIES, 6)))
    assert np.array_equal(np.concatenate(found), expected)


def search_sent(index, part):
    return index.search(part, 5).ids


@pytest.mark.parametrize("method", METHODS)
def test_an_index_is_sent_to_a_pool(index, expected, method):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        sent = [pool.submit(search_sent, index, part) for part in np.array_split(QUERIES, 3)]
        found = [one.result() for one in sent]
    assert np.array_equal(np.concatenate(found), expected)


class Neighbours:
    """A data set as loaders want it: with a length and items, cheap to pickle, opened where it is used."""

    def __init__(self, path):
        self.path, self.index = path, None

    def __len__(self):
        return len(QUERIES)

    def __getitem__(self, number):
        if self.index is None:
            self.index = nf.load(self.path, mmap=True)
        return self.index.search(QUERIES[number], 5, threads=1).ids


def worker(data, numbers, results):
    """What a worker of a loader does: take numbers until there are no more, put items."""
    while (number := numbers.get()) is not None:
        results.put((number, data[number]))


@pytest.mark.parametrize("opened_before", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_workers_of_a_data_loader_map_one_file(file, expected, method, opened_before):
    context, data = multiprocessing.get_context(method), Neighbours(file)
    if opened_before:
        _ = data[0]  # in the parent: forked workers go on with its mapping, others get a copy
    numbers, results = context.Queue(), context.Queue()
    workers = [context.Process(target=worker, args=(data, numbers, results)) for _ in range(3)]
    for one in workers:
        one.start()
    for number in [*range(len(data)), None, None, None]:
        numbers.put(number)
    items = dict(results.get(timeout=120) for _ in range(len(data)))
    for one in workers:
        one.join(timeout=60)
        assert one.exitcode == 0
    assert np.array_equal([items[number] for number in range(len(data))], expected)


def read_rows(path, key):
    with nf.open(path, mode="r") as store:
        return store["docs"].search(ROWS[key], 1).keys


@pytest.mark.parametrize("method", METHODS)
def test_processes_read_a_store_that_one_writes(tmp_path, method):
    with nf.open(tmp_path / "store") as store:
        docs = store.create_collection("docs", 24)
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
            for first in (0, 100):
                docs.upsert(np.arange(first, first + 100), ROWS[first : first + 100])
                found = [pool.submit(read_rows, tmp_path / "store", first + n) for n in (3, 50, 99)]
                assert [one.result() for one in found] == [[first + 3], [first + 50], [first + 99]]


def test_an_event_loop_goes_on_while_threads_search(expected):
    index = nf.FlatIndex(24, accelerate=False)
    index.add(np.tile(ROWS, (20, 1)))

    async def tick(ticks):
        while True:
            ticks.append(time.perf_counter())
            await asyncio.sleep(0.001)

    async def main():
        ticks: list[float] = []
        ticking = asyncio.create_task(tick(ticks))
        await asyncio.sleep(0)
        many = np.tile(QUERIES, (5, 1))
        results = await asyncio.gather(*(asyncio.to_thread(index.search, many, 5) for _ in range(4)))
        ticking.cancel()
        return ticks, results

    ticks, results = asyncio.run(main())
    assert len(ticks) > 5, "it came to its turn while searches ran"
    assert all(np.array_equal(result.ids, results[0].ids) for result in results)


def test_writes_of_an_event_loop_are_all_there():
    async def main():
        with nf.open(":memory:") as store:
            docs = store.create_collection("docs", 24)
            parts = np.array_split(np.arange(1000), 20)
            writing = [asyncio.to_thread(docs.upsert, part, ROWS[part]) for part in parts]
            reading = [asyncio.to_thread(docs.search, ROWS[n], 3) for n in range(20)]
            done = await asyncio.gather(*writing, *reading)
            return sum(done[:20]), len(docs)

    assert asyncio.run(main()) == (1000, 1000)
