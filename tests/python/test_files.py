"""Files: what is saved comes back, what is damaged is refused, and nothing on the disk can do harm."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from kept import CODECS, fit, keep
from pair import assert_same_bits, snapshot

import nearfield as nf

D = 12
PAGE = 4096


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, D), dtype=np.float32)


# Each kind, with what makes its files different; with codes there must be more rows than they are centred on.
KINDS = {
    "flat": (nf.FlatIndex, 400),
    "flat i8": (partial(nf.FlatIndex, codec="i8"), 400),
    "flat with codes": (nf.FlatIndex, 1100),
    "quantized": (partial(nf.QuantizedIndex, bits=3), 1100),
    "quantized f16": (partial(nf.QuantizedIndex, bits=8, keep="f16"), 1100),
    "quantized without codes": (nf.QuantizedIndex, 300),
    "hnsw": (nf.HnswIndex, 400),
}


@pytest.fixture(params=KINDS)
def index(request):
    make, n = KINDS[request.param]
    index = make(D, "cosine")
    index.add(rows(n), np.random.default_rng(1).permutation(4000)[:n])
    index.delete(index.ids[::9])
    assert (index.stats()["code_bytes"] > 0) == (n > 1024)
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


@pytest.mark.parametrize("make", [nf.FlatIndex, nf.QuantizedIndex, nf.HnswIndex])
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


def test_a_file_has_the_sections_of_its_kind(index, path):
    content = path.read_bytes()
    found = sections(content)
    table = ["schema", "rows", "terms", "ids", "live", "order"]
    if isinstance(index, nf.HnswIndex):
        assert list(found)[:6] == table
    elif index.stats()["code_bytes"]:
        assert list(found) == [*table, "mean", "codes", "rests"]
        assert len(found["mean"]) == 4 * D
    else:
        assert list(found) == table
    n = len(index) + index.stats()["dead"]
    keeps_rows = not (isinstance(index, nf.QuantizedIndex) and index.keep is None and n > 1024)
    assert len(found["terms"]) == 4 * n * keeps_rows
    assert (len(found["rows"]) > 0) == keeps_rows
    assert len(found["ids"]) == 8 * n


def test_ids_that_are_slots_take_no_room(tmp_path):
    for make, n in KINDS.values():
        index = make(D, "cosine")
        index.add(rows(n))
        index.delete(range(0, n, 9))
        index.save(tmp_path / "index.nf")
        found = sections((tmp_path / "index.nf").read_bytes())
        assert len(found["ids"]) == 0 and "order" not in found
        assert snapshot(nf.load(tmp_path / "index.nf", mmap=True)) == snapshot(index)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs /proc")
@pytest.mark.parametrize("options", [{}, {"keep": "f32"}, None], ids=["codes", "codes and rows", "flat"])
def test_opening_a_mapped_file_reads_neither_rows_nor_codes(tmp_path, options):
    index = nf.FlatIndex(256) if options is None else nf.QuantizedIndex(256, bits=8, **options)
    index.add(np.random.default_rng(1).standard_normal((20_000, 256), dtype=np.float32))
    path = tmp_path / "index.nf"
    index.save(path)
    content = bytearray(path.read_bytes())
    for name in ("rows", "codes", "rests"):
        section = sections(bytes(content))[name]
        if section:
            content[section[len(section) // 2]] ^= 1
    path.write_bytes(content)
    mapped = nf.load(path, mmap=True)  # a page that is not read cannot be verified
    with pytest.raises(nf.CorruptionError):
        nf.load(path)
    resident = 0
    mine = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ")[0]:
            mine = line.endswith(str(path))
        elif mine and line.startswith("Rss:"):
            resident += int(line.split()[1]) * 1024
    assert 0 < resident < len(content) / 2, "pages come by the megabyte where there are huge ones"
    assert len(mapped) == 20_000


# ---- damaged


def test_a_missing_file_is_not_found(tmp_path, mmap):
    for load in (nf.load, nf.FlatIndex.load, nf.QuantizedIndex.load, nf.HnswIndex.load):
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


def sections(content: bytes) -> dict[str, range]:
    """Where each section lies: FORMAT.md, the table in the header."""
    places = {}
    for row in range(int.from_bytes(content[12:16], "little")):
        at = 48 + 48 * row
        start, length = (int.from_bytes(content[at + n : at + n + 8], "little") for n in (16, 24))
        places[content[at : at + 16].rstrip(b"\0").decode()] = range(start, start + length)
    return places


def flips(content: bytes) -> list[int]:
    """Positions all over the file and in each section, densest where its structure is."""
    rng = np.random.default_rng(3)
    positions = {*range(0, 256, 3), *range(PAGE - 20, PAGE + 64, 3)}
    positions.update(rng.integers(0, len(content), size=100).tolist())
    for section in sections(content).values():
        positions.update(section[::997], section[-1:], rng.choice(section, 5).tolist() if section else ())
    return sorted(positions)


def test_any_flipped_byte_is_noticed_when_a_file_is_read(index, path):
    whole = bytearray(path.read_bytes())
    for position in flips(bytes(whole)):
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
    for position in flips(bytes(whole)):
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
    for other in {nf.FlatIndex, nf.QuantizedIndex, nf.HnswIndex} - {type(index)}:
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
