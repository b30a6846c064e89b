"""Files: what is saved comes back, what is damaged is refused, and nothing on the disk can do harm."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conformance import assert_same_bits, snapshot
from kept import CODECS, fit, keep

import nearfield as nf

D = 12
PAGE = 4096


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, D), dtype=np.float32)


@pytest.fixture(
    params=[nf.FlatIndex, nf.HnswIndex, partial(nf.FlatIndex, codec="i8")], ids=["flat", "hnsw", "flat i8"]
)
def index(request):
    index = request.param(D, "cosine")
    index.add(rows(400), np.random.default_rng(1).permutation(4000)[:400])
    index.delete(index.ids[::9])
    return index


@pytest.fixture
def path(index, tmp_path) -> Path:
    path = tmp_path / "index.nf"
    index.save(path)
    return path


@pytest.fixture(params=[False, True], ids=["read", "mapped"])
def mmap(request) -> bool:
    return request.param


# ---- there and back


def test_what_is_saved_comes_back(index, path, mmap):
    for load in (nf.load, type(index).load):
        again = load(path, mmap=mmap)
        assert type(again) is type(index)
        assert (again.dim, again.metric, again.codec) == (D, "cosine", index.codec)
        assert_same_bits(again.search(rows(50, 7), 10), index.search(rows(50, 7), 10))
        np.testing.assert_array_equal(again.ids, index.ids)
        np.testing.assert_array_equal(again.get(again.ids), index.get(index.ids))


@pytest.mark.parametrize("codec", CODECS)
def test_a_codec_comes_back_with_the_rows_that_it_kept(codec, tmp_path):
    for dim in (1, 7, 60, 61, 128):
        index = nf.FlatIndex(dim, "l2", codec=codec)
        given = fit(codec, np.random.default_rng(dim).standard_normal((500, dim)).astype(np.float32))
        index.add(given, np.random.default_rng(2).permutation(4000)[:500])
        expected = keep(codec, given)[np.argsort(np.random.default_rng(2).permutation(4000)[:500])]
        path = tmp_path / f"{dim}.nf"
        index.save(path)
        read, mapped = nf.load(path), nf.load(path, mmap=True)
        for again in (index, read, mapped, mapped.copy(), index.copy(), pickle.loads(pickle.dumps(mapped))):
            assert (again.codec, again.stats()["codec"]) == (codec, codec)
            np.testing.assert_array_equal(again.get(again.ids), expected)
            assert snapshot(again) == snapshot(index)
        with pytest.raises(nf.ReadOnlyError):
            mapped.add(given)
        mapped.save(tmp_path / "again.nf")
        assert (tmp_path / "again.nf").read_bytes() == path.read_bytes()


def test_paths_may_be_strings(index, tmp_path, mmap):
    index.save(str(tmp_path / "ümlaut index.nf"))
    assert len(nf.load(str(tmp_path / "ümlaut index.nf"), mmap=mmap)) == len(index)


def test_hnsw_options_come_back(tmp_path, mmap):
    index = nf.HnswIndex(D, "l2", m=7, ef_construction=33, ef_search=21, seed=5)
    index.add(rows(100))
    index.save(tmp_path / "index.nf")
    for again in (nf.load(tmp_path / "index.nf", mmap=mmap), pickle.loads(pickle.dumps(index)), index.copy()):
        assert (again.m, again.ef_construction, again.ef_search, again.seed) == (7, 33, 21, 5)


@pytest.mark.parametrize("make", [nf.FlatIndex, nf.HnswIndex])
def test_an_empty_index_comes_back(make, tmp_path, mmap):
    index = make(D, "dot")
    index.add(rows(3))
    index.delete([0, 1, 2])
    for one in (make(D, "dot"), index):
        one.save(tmp_path / "index.nf")
        again = nf.load(tmp_path / "index.nf", mmap=mmap)
        assert len(again) == 0
        assert again.search(rows(2), 3).counts.tolist() == [0, 0]
        twin = again.copy()
        assert twin.add(rows(1)).tolist() == [0 if one is not index else 3]


def test_saving_twice_gives_the_same_bytes(index, path, tmp_path):
    nf.load(path).save(tmp_path / "again.nf")
    assert (tmp_path / "again.nf").read_bytes() == path.read_bytes()


def test_saving_replaces_the_file_and_leaves_nothing_else(index, path):
    index.delete(index.ids[:10])
    index.save(path)
    assert len(nf.load(path)) == len(index)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_save_that_fails_leaves_nothing_behind(index, tmp_path):
    with pytest.raises(FileNotFoundError):
        index.save(tmp_path / "no such folder" / "index.nf")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        index.save(tmp_path / "folder")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
    assert not list((tmp_path / "folder").iterdir())


# ---- mapped


def test_a_mapped_index_refuses_every_change(index, path):
    mapped = nf.load(path, mmap=True)
    before = snapshot(mapped)
    known = int(mapped.ids[0])
    for call in (
        lambda: mapped.add(rows(1)),
        lambda: mapped.upsert([known], rows(1)),
        lambda: mapped.delete([known]),
    ):
        with pytest.raises(nf.ReadOnlyError, match="copy"):
            call()
    assert snapshot(mapped) == before
    twin = mapped.copy()
    assert twin.delete([known]) == 1
    assert len(twin.add(rows(5))) == 5
    assert snapshot(mapped) == before


def test_a_mapped_index_survives_its_file(index, path):
    mapped = nf.load(path, mmap=True)
    before = snapshot(mapped)
    other = type(index)(D, "cosine")
    other.add(rows(3))
    other.save(path)
    assert snapshot(mapped) == before, "replaced"
    path.unlink()
    assert snapshot(mapped) == before, "removed"
    mapped.save(path)
    assert snapshot(nf.load(path)) == before


def test_a_mapped_index_can_be_pickled(index, path):
    mapped = nf.load(path, mmap=True)
    again = pickle.loads(pickle.dumps(mapped))
    assert snapshot(again) == snapshot(mapped)
    again.add(rows(1))


def test_a_file_that_may_not_be_written_can_be_loaded(index, path, mmap):
    path.chmod(0o444)
    assert len(nf.load(path, mmap=mmap)) == len(index)


# ---- damaged


def test_a_missing_file_is_not_found(tmp_path, mmap):
    for load in (nf.load, nf.FlatIndex.load, nf.HnswIndex.load):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.nf"):
            load(tmp_path / "nowhere.nf", mmap=mmap)


def test_a_folder_is_no_file(tmp_path, mmap):
    with pytest.raises(OSError):
        nf.load(tmp_path, mmap=mmap)


def test_a_truncated_file_is_corrupt_at_any_length(index, path, mmap):
    whole = path.read_bytes()
    random = np.random.default_rng(2).integers(0, len(whole), size=40).tolist()
    pages = [n * PAGE + offset for n in range(len(whole) // PAGE + 1) for offset in (-1, 0, 1)]
    for length in sorted({*random, *pages, len(whole) - 1} - {-1, len(whole), len(whole) + 1}):
        path.write_bytes(whole[:length])
        with pytest.raises(nf.CorruptionError) as caught:
            nf.load(path, mmap=mmap)
        assert str(path) in str(caught.value)
        assert caught.value.path == str(path)
        with pytest.raises(nf.CorruptionError):
            type(index)._from_bytes(whole[:length])


def test_a_longer_file_is_corrupt(path, mmap):
    whole = path.read_bytes()
    for more in (b"\0", b"\0" * PAGE, whole):
        path.write_bytes(whole + more)
        with pytest.raises(nf.CorruptionError):
            nf.load(path, mmap=mmap)


def flips(size: int) -> list[int]:
    """Positions all over the file, densest where its structure is."""
    rng = np.random.default_rng(3)
    return sorted(
        {*range(0, 256, 3), *range(PAGE - 20, PAGE + 64, 3), *rng.integers(0, size, size=150).tolist()}
    )


def test_any_flipped_byte_is_noticed_when_a_file_is_read(index, path):
    whole = bytearray(path.read_bytes())
    for position in flips(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        with pytest.raises((nf.CorruptionError, nf.FormatVersionError)):
            nf.load(path)
        with pytest.raises((nf.CorruptionError, nf.FormatVersionError)):
            type(index)._from_bytes(bytes(damaged))


def test_a_flipped_byte_of_a_mapped_file_is_refused_or_stays_a_wrong_number(index, path):
    whole = bytearray(path.read_bytes())
    queries = rows(5, 8)
    refused = 0
    for position in flips(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            mapped = nf.load(path, mmap=True)
            for exact in (False, True):
                result = mapped.search(queries, 10, exact=exact)
                assert set(result.ids.ravel().tolist()) <= {-1, *index.ids.tolist()}
                assert ((result.counts >= 0) & (result.counts <= 10)).all()
            mapped.range_search(queries, 2.0)
            # Only the numbers of a row may be wrong: which rows there are is checked.
            assert mapped.ids.tolist() == index.ids.tolist()
            assert mapped.get(mapped.ids).shape == (len(index), D)
        except (nf.CorruptionError, nf.FormatVersionError):
            refused += 1
    assert refused > 50, "the header at least is checked before anything else is believed"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"\0" * 100_000,
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 100,
        b"\x93NUMPY\x01\x00" + bytes(100_000),
        b"PK\x03\x04" + bytes(5000),
        pickle.dumps(list(range(5000))),
        np.random.default_rng(4).bytes(3 * PAGE),
        b"#!/usr/bin/env python\nprint('no index')\n",
    ],
    ids=["empty", "one byte", "zeros", "PNG", "npy", "zip", "pickle", "noise", "text"],
)
def test_a_foreign_file_is_no_index(tmp_path, content, mmap):
    path = tmp_path / "foreign.nf"
    path.write_bytes(content)
    with pytest.raises(nf.CorruptionError, match=r"foreign\.nf"):
        nf.load(path, mmap=mmap)
    with pytest.raises(nf.CorruptionError):
        nf.FlatIndex._from_bytes(content)


@pytest.mark.parametrize("version", [1, 2, 2**31])
def test_a_file_of_another_version_names_both(path, version, mmap):
    content = bytearray(path.read_bytes())
    found = int.from_bytes(content[8:12], "little")  # FORMAT.md: the version follows the eight bytes of magic
    content[8:12] = (found + version).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(nf.FormatVersionError, match=rf"\b{found + version}\b.*\b{found}\b"):
        nf.load(path, mmap=mmap)


def test_a_file_of_another_index_is_refused(index, path, mmap):
    other = nf.HnswIndex if isinstance(index, nf.FlatIndex) else nf.FlatIndex
    with pytest.raises((nf.NearfieldError, ValueError), match=type(index).__name__):
        other.load(path, mmap=mmap)


def test_a_failed_load_holds_no_file_open(path, mmap):
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    path.write_bytes(path.read_bytes()[:-1])
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with pytest.raises(nf.CorruptionError):
            nf.load(path, mmap=mmap)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
