"""The command `nearfield`: every command, as text and as JSON, and what it says when something is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest

import nearfield as nf
from nearfield.cli import main

ROWS = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)


@pytest.fixture
def run(capsys):
    """Run a command; its JSON, or its text with `text=True`."""

    def run(*arguments, text=False, status=0):
        said = [str(argument) for argument in arguments] + ([] if text else ["--json"])
        assert main(said) == status
        printed = capsys.readouterr()
        if status and not printed.out:
            return printed.err if text else json.loads(printed.err)
        return printed.out if text else json.loads(printed.out)

    return run


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "store"
    with nf.open(path) as opened:
        docs = opened.create_collection("docs", 4)
        keys = [f"doc-{n}" for n in range(50)] + list(range(10))
        docs.upsert(keys, ROWS, [{"n": n, "even": n % 2 == 0} for n in range(60)])
    return path


@pytest.fixture
def index(tmp_path):
    made = nf.HnswIndex(4, "l2")
    made.add(ROWS)
    made.save(tmp_path / "index.nf")
    return tmp_path / "index.nf"


def test_info_of_a_store(run, store):
    said = run("info", store)
    assert said["rows"] == 60 and said["collections"]["docs"]["dim"] == 4
    text = run("info", store, text=True)
    assert "collections:\n  docs:\n" in text and "disk bytes" in text and "KiB" in text


def test_info_of_an_index(run, index):
    said = run("info", index)
    assert (said["class"], said["rows"], said["file_bytes"]) == ("HnswIndex", 60, index.stat().st_size)
    assert "metric" in run("info", index, text=True)


def test_what_is_sound_is_said_to_be(run, store, index):
    assert run("verify", store)["ok"] and run("verify", index)["ok"]
    assert run("verify", index, text=True) == f"{index}: sound\n"


def test_a_damaged_index_is_status_1(run, index):
    content = bytearray(index.read_bytes())
    content[-9] ^= 1
    index.write_bytes(content)
    said = run("verify", index, status=1)
    assert not said["ok"] and said["damaged"][0]["path"] == str(index)
    assert "damaged" in run("verify", index, text=True, status=1)


def test_a_damaged_store_is_status_1(run, store):
    with nf.open(store) as opened:
        opened.compact()
    for file in store.glob("seg-*"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(content)
    said = run("verify", store, status=1)
    assert not said["ok"] and said["damaged"]


def test_compacting_gives_room_back(run, store, index):
    with nf.open(store, auto_compact=None) as opened:
        opened.compact()
        opened["docs"].delete(where={"even": True})
    said = run("compact", store)
    assert said["bytes_before"] > said["bytes_after"] > 0
    changed = nf.load(index)
    changed.delete(list(range(50)))
    changed.save(index)
    assert "was" in run("compact", index, text=True)
    assert len(nf.load(index)) == 10


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_rows_go_out_and_come_in(run, store, tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    file = tmp_path / f"rows{suffix}"
    assert run("export", store, file, "--where", '{"n": {"$lt": 50}}') == {"rows": 50, "file": str(file)}
    assert run("import", file, tmp_path / "copy", "-c", "docs")["rows"] == 50
    with nf.open(store, "r") as one, nf.open(tmp_path / "copy", "r") as other:
        for row in one["docs"].scan({"n": {"$lt": 50}}):
            same = other["docs"].get(row.key)
            assert np.array_equal(row.vector, same.vector) and row.metadata == same.metadata
    assert "50 rows" in run("import", file, tmp_path / "copy", "-c", "docs", text=True)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".npy"])
def test_an_index_goes_out_and_comes_in(run, index, tmp_path, suffix):
    file, again = tmp_path / f"rows{suffix}", tmp_path / "again.nf"
    assert run("export", index, file)["rows"] == 60
    for kind, cls in (("flat", nf.FlatIndex), ("hnsw", nf.HnswIndex), ("quantized", nf.QuantizedIndex)):
        assert run("import", file, again, "--index", kind, "--metric", "l2")["size"] == 60
        made = nf.load(again)
        assert isinstance(made, cls) and made.metric == "l2" and np.array_equal(made.get(made.ids), ROWS)
        again.unlink()


def test_rows_without_keys_are_numbered(run, tmp_path):
    np.save(tmp_path / "rows.npy", np.tile(ROWS, (200, 1)))  # more than one batch
    assert run("import", tmp_path / "rows.npy", tmp_path / "store", "--index", "flat")["rows"] == 12_000
    with nf.open(tmp_path / "store", "r") as opened:
        assert opened["rows"].index == "flat"
        assert np.array_equal(opened["rows"].get(11_999).vector, ROWS[-1])


def test_other_columns_are_metadata(run, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"vector": ROWS[:3].tolist(), "lang": ["en", "de", "fr"]})
    frame.to_parquet(tmp_path / "rows.parquet")
    run("import", tmp_path / "rows.parquet", tmp_path / "store")
    with nf.open(tmp_path / "store", "r") as opened:
        assert [row.metadata for row in opened["rows"].scan()] == [
            {"lang": one} for one in ("en", "de", "fr")
        ]


def test_searching_a_store(run, store):
    hits = run("search", store, "--like", "doc-3", "-k", 4, "--where", '{"even": false}')
    assert (
        hits[0]["key"] == "doc-3" and hits[0]["score"] == pytest.approx(1) and hits[0]["metadata"]["n"] == 3
    )
    assert len(hits) == 4 and not any(hit["metadata"]["even"] for hit in hits)
    assert run("search", store, "--like", "3", "-k", 1)[0]["key"] == 3
    assert run("search", store, "--vector", "[1, 0, 0, 0]", "--min-score", 2) == []
    text = run("search", store, "-c", "docs", "--vector", "[1, 0, 0, 0]", "--exact", text=True)
    assert text.splitlines()[0].split() == ["key", "score", "distance", "metadata"]
    assert run("search", store, "--vector", "[1,0,0,0]", "--min-score", 2, text=True) == "nothing found\n"


def test_searching_an_index(run, index):
    hits = run("search", index, "--like", "7", "-k", 2)
    assert hits[0] == {"id": 7, "score": 0.0, "distance": 0.0} and len(hits) == 2


@pytest.fixture
def hurried(monkeypatch):
    import importlib

    module = importlib.import_module("nearfield.evaluate")
    monkeypatch.setattr(module, "_BATCH_SECONDS", 0.01)
    monkeypatch.setattr(module, "_SINGLE_CALLS", 20)


def test_measuring(run, index, tmp_path, hurried):
    np.save(tmp_path / "rows.npy", np.random.default_rng(1).standard_normal((900, 8)))
    said = run("bench", tmp_path / "rows.npy", "--ef", "10,40", "-k", 5)
    assert [row["ef"] for row in said["rows"]] == [10, 40] and (said["size"], said["queries"]) == (810, 90)
    np.save(tmp_path / "queries.npy", ROWS[:5])
    assert run("bench", index, "--queries", tmp_path / "queries.npy")["rows"][0]["recall"] == 1
    np.save(tmp_path / "few.npy", ROWS)
    text = run(
        "bench", tmp_path / "few.npy", "--index", "flat", "--queries", tmp_path / "queries.npy", text=True
    )
    assert "recall@10" in text


def test_measuring_a_data_set_and_drawing_it(run, tmp_path, hurried):
    h5py, matplotlib = pytest.importorskip("h5py"), pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    with h5py.File(tmp_path / "data.hdf5", "w") as file:
        file["train"], file["test"] = ROWS, ROWS[:4]
        file["neighbors"] = nf.exact_neighbors(ROWS, ROWS[:4], 10, "l2").ids
        file.attrs["distance"] = "euclidean"
    said = run("bench", tmp_path / "data.hdf5", "--plot", tmp_path / "curve.svg")
    assert said["rows"][0]["recall"] == 1 and "'l2'" in said["name"]
    assert (tmp_path / "curve.svg").stat().st_size > 1000


def test_the_demo(run, hurried):
    said = run("demo", "--rows", 500)
    assert said["rows"] == 500 and said["report"]["rows"][-1]["recall"] > 0.9
    assert "clusters" in run("demo", "--rows", 100, text=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "nowhere"], "no store and no index at nowhere"),
        (["export", "STORE", "rows.txt"], r"suffix \.jsonl"),
        (["export", "STORE", "rows.npy", "--where", "{"], "--where: expected JSON"),
        (["export", "INDEX", "rows.npy", "--where", "{}"], "no metadata"),
        (["search", "INDEX", "--like", "1", "--where", "{}"], "no metadata"),
        (["search", "STORE", "--like", "doc-99"], "no row 'doc-99'"),
        (["search", "STORE", "--vector", "one"], "--vector: expected JSON"),
        (["search", "STORE", "--vector", "[1]"], "4"),
        (["search", "STORE", "--like", "1", "--collection", "none"], "none"),
        (["import", "rows.xyz", "new"], r"suffix \.npy"),
        (["import", "BAD", "new"], "line 2: expected an object"),
        (["import", "WORSE", "new"], "line 1: no JSON"),
        (["import", "NPY", "new", "--index", "quantized"], "collections have"),
        (["import", "NPY", "INDEX"], "exists already"),
        (["import", "EMPTY", "new.nf"], "no rows"),
        (["bench", "INDEX"], "--queries"),
        (["demo", "--rows", "3"], "100 or more"),
    ],
)
def test_what_is_wrong_is_said(run, store, index, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.jsonl").write_text('{"vector": [1, 2]}\n[3]\n')
    (tmp_path / "worse.jsonl").write_text("vector\n")
    (tmp_path / "empty.jsonl").write_text("\n")
    np.save("rows.npy", ROWS)
    names = {"STORE": store, "INDEX": index, "NPY": "rows.npy"}
    names |= {name.upper(): f"{name}.jsonl" for name in ("bad", "worse", "empty")}
    given = [names.get(argument, argument) for argument in arguments]
    said = run(*given, status=1)
    assert set(said) == {"error", "message"}
    assert re.search(message, said["message"])
    assert run(*given, text=True, status=1).startswith("nearfield: ")


def test_a_collection_must_be_named_where_there_are_several(run, store):
    with nf.open(store) as opened:
        opened.create_collection("more", 2)
    assert "docs, more" in run("search", store, "--like", "doc-1", status=1)["message"]
    assert run("search", store, "--like", "doc-1", "-c", "docs", "-k", 1)[0]["key"] == "doc-1"


def test_numbers_that_json_does_not_have_are_null():
    from nearfield.cli.answer import as_json

    assert as_json({"a": float("inf"), "b": (np.int64(3), b"\xff"), "c": np.eye(1)}) == (
        '{"a": null, "b": [3, "\\\\xff"], "c": [[1.0]]}'
    )


def test_arguments_that_are_not_understood_are_status_2(capsys):
    for arguments in ([], ["fly"], ["search", "x"], ["search", "x", "--vector", "[]", "--like", "1"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2 and "usage" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"nearfield {nf.__version__}\n"


def test_it_is_a_module(store):
    done = subprocess.run([sys.executable, "-m", "nearfield", "info", store, "--json"], capture_output=True)
    assert done.returncode == 0 and json.loads(done.stdout)["rows"] == 60
    closed = subprocess.Popen(
        [sys.executable, "-m", "nearfield", "info", store], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    closed.stdout.close()
    assert b"Traceback" not in closed.stderr.read()
    closed.stderr.close()
    assert closed.wait() == 0
