"""The store among threads and processes: one writes, others read, some die."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from store_fixtures import content, gaussian

import nearfield as nf

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
WAIT = 60


@pytest.fixture
def path(tmp_path):
    return tmp_path / "library.nfdb"


def start(code: str, path: object) -> subprocess.Popen[str]:
    """Another Python that runs this code; `path` is there, and `say` and `hear` talk to us."""
    before = """
        import sys, numpy as np, nearfield as nf
        path = sys.argv[1]
        def say(*words): print(*words, flush=True)
        def hear(): return sys.stdin.readline().strip()
    """
    program = textwrap.dedent(before) + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def hear(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def say(child: subprocess.Popen[str], word: str) -> None:
    assert child.stdin is not None
    child.stdin.write(f"{word}\n")
    child.stdin.flush()


HOLDER = """
    store = nf.open(path)
    docs = store.create_collection("docs", dim=2, exist_ok=True)
    docs.upsert(["held"], np.ones((1, 2)), [{"by": "holder"}])
    say("open")
    hear()
"""


def test_a_second_writer_is_told_who_has_the_store(path):
    with start(HOLDER, path) as child:
        assert hear(child) == "open"
        with pytest.raises(nf.LockedError, match=f"process {child.pid}") as caught:
            nf.open(path)
        assert caught.value.pid == child.pid
        assert isinstance(caught.value, OSError)
        assert pickle.loads(pickle.dumps(caught.value)).pid == child.pid
        with nf.open(path, "r") as store:
            assert store["docs"].get("held").metadata == {"by": "holder"}
        say(child, "enough")
    nf.open(path).close()


def test_a_store_is_locked_within_a_process_too(path):
    with nf.open(path):
        with pytest.raises(nf.LockedError) as caught:
            nf.open(path)
        assert caught.value.pid == os.getpid()


def test_a_store_that_nobody_has_any_more_is_free(path):
    store = nf.open(path)
    store.create_collection("docs", dim=2)
    del store
    nf.open(path).close()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_the_lock_of_a_killed_holder_is_free_at_once_and_what_it_wrote_is_there(path):
    with start(HOLDER, path) as child:
        assert hear(child) == "open"
        child.kill()
        child.wait(WAIT)
        began = time.monotonic()
        with nf.open(path) as store:
            assert time.monotonic() - began < 5
            assert store["docs"].get("held").metadata == {"by": "holder"}
            assert store.verify()["ok"]


def test_a_reader_sees_changes_when_it_refreshes(path):
    reader_code = """
        store = nf.open(path, "r")
        say("open")
        while hear() == "look":
            was_new = store.refresh()
            rows = list(store["docs"].scan()) if "docs" in store else []
            say(was_new, len(rows), sum(row.metadata["n"] for row in rows))
    """
    with nf.open(path) as store:
        store.create_collection("docs", dim=2)
        with start(reader_code, path) as child:
            assert hear(child) == "open"
            for n in range(1, 20):
                store["docs"].upsert(range(n), gaussian(n, 2, n), [{"n": n}] * n)
                if n % 7 == 0:
                    store.compact()
                say(child, "look")
                assert hear(child) == f"True {n} {n * n}"
            say(child, "look")
            assert hear(child) == "False 19 361"
            say(child, "enough")


def test_a_reader_keeps_what_it_has_seen_and_refuses_every_change(path):
    with nf.open(path) as store:
        docs = store.create_collection("docs", dim=2)
        docs.upsert(["a"], gaussian(1, 2), [{"n": 1}])
        docs.meta["model"] = "e5"
        reader = nf.open(path, "r")
        before = content(reader)
        docs.upsert(["b"], gaussian(1, 2))
        store.drop_collection("docs")
        store.compact()
        assert content(reader) == before
        refused = reader["docs"]
        for change in (
            lambda: reader.create_collection("new", dim=2),
            lambda: reader.create_collection("docs", dim=2, exist_ok=True),
            lambda: reader.drop_collection("docs"),
            lambda: refused.upsert(["c"], gaussian(1, 2)),
            lambda: refused.insert(["c"], gaussian(1, 2)),
            lambda: refused.set_metadata(["a"], {"n": 2}),
            lambda: refused.delete(["a"]),
            lambda: refused.delete(where={}),
            lambda: refused.meta.update(model="other"),
            lambda: reader.compact(),
            lambda: reader.flush(),
        ):
            with pytest.raises(nf.ReadOnlyError, match="read-only"):
                change()
        assert content(reader) == before
        assert reader.refresh()
        assert reader.collections() == []
        with pytest.raises(nf.CollectionNotFoundError):
            len(refused)
        reader.close()


def test_a_reader_writes_not_a_byte(path):
    with nf.open(path) as store:
        store.create_collection("docs", dim=2).upsert(range(100), gaussian(100, 2))
    files = {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in path.iterdir()}
    path.chmod(0o555)
    try:
        with nf.open(path, "r") as store:
            assert store["docs"].search([1, 1]).counts.tolist() == [10]
            assert not store.refresh()
            assert store.verify()["ok"]
    finally:
        path.chmod(0o755)
    assert {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in path.iterdir()} == files


@needs_fork
def test_a_forked_child_reads_and_cannot_write_and_the_parent_goes_on(path):
    with nf.open(path) as store:
        docs = store.create_collection("docs", dim=2)
        docs.upsert(range(2000), gaussian(2000, 2))
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                assert docs.search([1, 1], k=5).counts.tolist() == [5]
                assert len(list(docs.scan())) == 2000
                for change in (lambda: docs.upsert(["a"], gaussian(1, 2)), store.compact, store.flush):
                    try:
                        change()
                    except nf.ReadOnlyError:
                        continue
                    os._exit(2)
                store.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        docs.upsert(["after"], gaussian(1, 2))
        assert "after" in docs
    with nf.open(path) as store:
        assert len(store["docs"]) == 2001


@needs_fork
def test_a_forked_child_does_not_hold_the_lock(path):
    store = nf.open(path)
    pid = os.fork()
    if pid == 0:
        time.sleep(WAIT)
        os._exit(0)
    try:
        store.close()
        nf.open(path).close()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_threads_read_while_others_write(path):
    dim, rounds = 4, 30
    with nf.open(path, sync="flush") as store:
        docs = store.create_collection("docs", dim=dim, metric="dot")
        docs.upsert(range(100), np.zeros((100, dim)), [{"batch": 0}] * 100)
        stop = threading.Event()

        def read(number: int) -> int:
            looks = 0
            compiled = docs.filter({"batch": {"$gte": 0}})
            while not stop.is_set() or looks == 0:
                result = docs.search(np.ones(dim), k=100, where=compiled, include=["metadata", "vectors"])
                # Each write replaces all rows, and a search sees one state.
                batches = {hit.metadata["batch"] for hit in result}
                assert len(result.keys) == 100
                assert len(batches) == 1
                assert (result.vectors == batches.pop()).all()
                looks += 1
            return looks

        with ThreadPoolExecutor() as pool:
            readers = [pool.submit(read, number) for number in range(3)]
            try:
                for batch in range(1, rounds):
                    docs.upsert(range(100), np.full((100, dim), batch), [{"batch": batch}] * 100)
            finally:
                stop.set()
            assert all(reader.result(WAIT) > 0 for reader in readers)


def test_many_threads_write_and_nothing_is_lost(path):
    with nf.open(path, sync="flush") as store:
        docs = store.create_collection("docs", dim=2)

        def write(number: int) -> None:
            for i in range(20):
                docs.upsert([number * 100 + i], gaussian(1, 2), [{"thread": number}])
                docs.meta[f"{number}"] = i

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(8)))
        assert len(docs) == 160
        assert dict(docs.meta) == {f"{number}": 19 for number in range(8)}
        before = content(store)
    with nf.open(path) as store:
        assert content(store) == before


def test_an_unflushed_store_survives_a_killed_process(path):
    code = """
        store = nf.open(path, sync="flush")
        docs = store.create_collection("docs", dim=2)
        for n in range(50):
            docs.upsert([n], np.ones((1, 2)))
        say("written")
        hear()
    """
    with start(code, path) as child:
        assert hear(child) == "written"
        child.kill()
    with nf.open(path) as store:
        assert len(store["docs"]) == 50
