"""Threads, forks and Ctrl-C: long calls leave the interpreter free, and everybody gets whole answers.

No test here measures speed. Where one waits, it waits many times longer than it should need: a guard
against hanging.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from model import canonical_scores
from pair import assert_same_bits, snapshot

import nearfield as nf


def gaussian(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)


def quantized(dim: int, metric: str, **options: object) -> nf.QuantizedIndex:
    return nf.QuantizedIndex(dim, metric, keep="f32", **options)


KINDS = [nf.FlatIndex, quantized, nf.HnswIndex]


# ---- the GIL


def ticks_during(call: Callable[[], object]) -> tuple[int, float]:
    """How often another thread got a turn while `call` ran (less 20 ms at each end), and how long it took."""
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        time.sleep(0.02)
        began = time.perf_counter()
        call()
        ended = time.perf_counter()
    finally:
        stop.set()
        thread.join()
    return sum(began + 0.02 < moment < ended - 0.02 for moment in ticks), ended - began


def assert_releases_the_gil(make_call: Callable[[int], Callable[[], object]], size: int) -> None:
    """Makes the call longer until it lasts long enough to tell; holding the GIL would let no tick through."""
    for _ in range(12):
        ticks, seconds = ticks_during(make_call(size))
        if seconds > 0.3:
            assert ticks >= 5, f"{ticks} ticks of another thread in {seconds:.2f} s"
            return
        size *= 2
    pytest.fail("no call lasted long enough")


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_other_threads_run_during_a_search(make):
    index = make(32, "l2")
    index.add(gaussian(5000, 32))

    def make_call(n: int) -> Callable[[], object]:
        queries = gaussian(n, 32, 1)
        return lambda: index.search(queries, 10)

    assert_releases_the_gil(make_call, 4000)


def test_other_threads_run_during_a_range_search():
    index = nf.FlatIndex(32, "l2")
    index.add(gaussian(5000, 32))

    def make_call(n: int) -> Callable[[], object]:
        queries = gaussian(n, 32, 1)
        return lambda: index.range_search(queries, 0.5)

    assert_releases_the_gil(make_call, 2000)


@pytest.mark.parametrize("method", ["add", "upsert"])
def test_other_threads_run_while_a_graph_is_built(method):
    def make_call(n: int) -> Callable[[], object]:
        index, rows, ids = nf.HnswIndex(32, "l2"), gaussian(n, 32), np.arange(n)
        return (lambda: index.add(rows)) if method == "add" else (lambda: index.upsert(ids, rows))

    assert_releases_the_gil(make_call, 3000)


# ---- many threads, one index


def assert_whole(result: nf.SearchResult, most: int) -> None:
    """Nothing half-written: known ids, falling scores, padding only at the end."""
    assert (result.ids < most).all()
    assert (np.diff(result.scores, axis=1)[result.ids[:, 1:] >= 0] <= 0).all()
    np.testing.assert_array_equal((result.ids >= 0).sum(axis=1), result.counts)


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_searches_run_while_rows_are_added(make):
    index = make(16, "l2")
    rows = gaussian(6000, 16)
    index.add(rows[:500])
    queries = rows[:20]
    failures: list[BaseException] = []
    done = threading.Event()

    def search() -> None:
        try:
            while not done.is_set():
                result = index.search(queries, 5)
                assert_whole(result, 6000)
                # These rows are there from the beginning, and nothing is nearer to a row than itself.
                exact = index.search(queries, 5, exact=True)
                assert exact.ids[:, 0].tolist() == list(range(20))
                for number, query in enumerate(queries[:3]):
                    seen = index.get(result.ids[number])
                    np.testing.assert_array_equal(result.scores[number], canonical_scores(query, seen, "l2"))
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for start in range(500, 6000, 500):
            index.add(rows[start : start + 500])
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failures, failures[0]
    assert index.ids.tolist() == list(range(6000))
    np.testing.assert_array_equal(index.get(index.ids), rows)


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_threads_that_write_and_search_leave_what_they_wrote(make):
    index = make(8, "l2")
    index.add(gaussian(50, 8), np.arange(100_000, 100_050))
    rows = gaussian(400, 8, 1)

    def work(number: int) -> None:
        mine = np.arange(number * 1000, number * 1000 + 400)
        for start in range(0, 400, 50):
            part = slice(start, start + 50)
            index.add(rows[part], mine[part])
            assert_whole(index.search(rows[:5], 10), 100_050)
            assert index.delete(mine[part][::2]) == 25
            assert index.upsert(mine[part][1::4], rows[part][1::4] + 1) == 13
            assert all(one in index for one in mine[part][1::2])

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work, number) for number in range(4)]:
            future.result(timeout=60)
    kept = np.arange(400)[np.arange(400) % 50 % 2 == 1]
    assert index.ids.tolist() == [n * 1000 + i for n in range(4) for i in kept.tolist()] + [
        *range(100_000, 100_050)
    ]
    moved = kept % 50 % 4 == 1
    for number in range(4):
        expected = rows[kept] + moved[:, None].astype(np.float32)
        np.testing.assert_array_equal(index.get(number * 1000 + kept), expected)
    result = index.search(gaussian(3, 8, 2), 10, exact=True)
    assert_same_bits(result, index.copy().search(gaussian(3, 8, 2), 10, exact=True))


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2", "l1"])
def test_the_number_of_threads_changes_no_bit(make, metric):
    if make is quantized and metric == "l1":
        pytest.skip("no metric of this index")
    rows, queries = gaussian(3000, 24), gaussian(200, 24, 1)
    indexes = []
    for threads in (1, 2, 4, None):
        index = make(24, metric, threads=threads)
        index.add(rows[:2000])
        index.delete(range(0, 2000, 7))
        index.add(rows[2000:])
        indexes.append(index)
    # A thin beam shows every difference between two graphs.
    thin = {"ef": 10} if make is nf.HnswIndex else {}
    reference = indexes[0].search(queries, 10, threads=1, **thin)
    for index in indexes:
        for threads in (1, 2, 3, None):
            assert_same_bits(index.search(queries, 10, threads=threads, **thin), reference)
        assert snapshot(index) == snapshot(indexes[0])


def test_searches_from_many_threads_give_the_same_bits():
    index = nf.HnswIndex(24, "cosine")
    index.add(gaussian(3000, 24))
    queries = gaussian(100, 24, 1)
    expected = index.search(queries, 10)
    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(index.search, queries, 10) for _ in range(40)]:
            assert_same_bits(future.result(timeout=60), expected)


# ---- other processes


def run_script(script: str, timeout: float = 60) -> str:
    """Runs a script in a process of its own, which is killed if it hangs."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    "make",
    ['FlatIndex(16, "l2")', 'QuantizedIndex(16, "l2", bits=8, keep="f32", rerank=20)', 'HnswIndex(16, "l2")'],
    ids=lambda make: make.partition("(")[0],
)
def test_a_forked_child_searches_and_writes_while_the_parent_is_busy(make):
    output = run_script(f"""
        import os, signal, sys, threading, time
        import numpy as np, nearfield as nf

        rng = np.random.default_rng(0)
        rows = rng.standard_normal((4000, 16), dtype=np.float32)
        quiet = nf.{make}
        quiet.add(rows)
        expected = quiet.search(rows[:300], 5).ids
        busy = nf.{make}
        busy.add(rows[:100])
        stop = threading.Event()

        def search():
            while not stop.is_set():
                busy.search(rows[:300], 5)
                quiet.search(rows[:300], 5)

        def write():
            while not stop.is_set():
                busy.add(rows[:200])
                busy.delete(busy.ids[100:])

        threads = [threading.Thread(target=job, daemon=True) for job in (search, search, write)]
        for thread in threads:
            thread.start()

        def child():
            signal.alarm(30)
            assert (quiet.search(rows[:300], 5).ids == expected).all()
            quiet.add(rows[:200] + 100)
            assert len(quiet) == 4200
            assert quiet.search(rows[7] + 100, 1).ids.tolist() == [4007]
            # Another thread of the parent was writing here: the child sees a whole state, and can go on.
            n = len(busy)
            found = busy.search(rows[:100], 1, exact=True)
            assert (found.ids[:, 0] == np.arange(100)).all(), found.ids
            busy.upsert([10**6], rows[:1])
            assert len(busy) == n + 1
            fresh = nf.{make}
            fresh.add(rows)
            assert fresh.search(rows[:300], 5).counts.sum() == 1500

        for _ in range(8):
            time.sleep(0.03)
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    child()
                    code = 0
                finally:
                    os._exit(code)
            assert os.waitpid(pid, 0)[1] == 0
        stop.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert (quiet.search(rows[:300], 5).ids == expected).all()
        print("whole")
    """)
    assert output.strip() == "whole"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_get_an_index_by_pickle(method, tmp_path):
    if method not in __import__("multiprocessing").get_all_start_methods():
        pytest.skip(f"no {method} here")
    script = tmp_path / "work.py"
    script.write_text(
        textwrap.dedent(f"""
        import multiprocessing
        import numpy as np, nearfield as nf

        def nearest(job):
            index, queries = job
            return index.search(queries, 3)

        if __name__ == "__main__":
            rows = np.random.default_rng(0).standard_normal((500, 8), dtype=np.float32)
            index = nf.HnswIndex(8, "l2")
            index.add(rows)
            with multiprocessing.get_context({method!r}).Pool(2) as pool:
                results = pool.map(nearest, [(index, rows[:50]), (index, rows[50:90])])
            assert [r.ids[:, 0].tolist() for r in results] == [list(range(50)), list(range(50, 90))]
            print("whole")
        """)
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "whole", done.stderr


# ---- Ctrl-C

LONG_CALLS = {
    "flat batch": """
        index = nf.FlatIndex(128, "l2")
        index.add(rng.standard_normal((60_000, 128), dtype=np.float32))
        queries = rng.standard_normal((200_000, 128), dtype=np.float32)
        call = lambda: index.search(queries, 10)
    """,
    "flat one thread": """
        index = nf.FlatIndex(128, "cosine")
        index.add(rng.standard_normal((60_000, 128), dtype=np.float32))
        queries = rng.standard_normal((100_000, 128), dtype=np.float32)
        call = lambda: index.search(queries, 10, threads=1)
    """,
    "range search": """
        index = nf.FlatIndex(128, "l2")
        index.add(rng.standard_normal((60_000, 128), dtype=np.float32))
        queries = rng.standard_normal((200_000, 128), dtype=np.float32)
        call = lambda: index.range_search(queries, 1.0)
    """,
    "hnsw build": """
        index = nf.HnswIndex(96, "l2")
        index.add(rng.standard_normal((1000, 96), dtype=np.float32))
        rows = rng.standard_normal((300_000, 96), dtype=np.float32)
        call = lambda: index.add(rows)
    """,
    "hnsw search": """
        index = nf.HnswIndex(64, "l2")
        index.add(rng.standard_normal((5000, 64), dtype=np.float32))
        queries = rng.standard_normal((400_000, 64), dtype=np.float32)
        call = lambda: index.search(queries, 10, ef=800)
    """,
    "hnsw exact": """
        index = nf.HnswIndex(64, "dot")
        index.add(rng.standard_normal((5000, 64), dtype=np.float32))
        queries = rng.standard_normal((1_000_000, 64), dtype=np.float32)
        call = lambda: index.search(queries, 10, exact=True)
    """,
}


@pytest.mark.parametrize("which", LONG_CALLS)
def test_ctrl_c_ends_a_long_call_and_leaves_the_index_usable(which):
    script = f"""
        import numpy as np, nearfield as nf
        rng = np.random.default_rng(0)
{LONG_CALLS[which]}
        probe = rng.standard_normal((20, index.dim), dtype=np.float32)
        before, ids = len(index), index.search(probe, 5).ids
        print("ready", flush=True)
        try:
            call()
            print("finished: too fast to be interrupted", flush=True)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        assert len(index) == before
        assert (index.search(probe, 5).ids == ids).all()
        assert len(index.add(probe)) == 20
        assert index.search(probe, 1, exact=True).ids[:, 0].tolist() != []
        assert len(index) == before + 20
        print("usable", flush=True)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().strip() == "ready", process.stderr.read()
        time.sleep(0.4)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        answer = process.stdout.readline().strip()
        waited = time.monotonic() - sent
        output, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert answer == "interrupted", answer + errors
    assert waited < 2, f"{waited:.2f} s"
    assert output.strip() == "usable", errors
    assert process.returncode == 0
