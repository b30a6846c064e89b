"""Files of vectors that others wrote: read as they are, refused where they are not what they say."""

from __future__ import annotations

import numpy as np
import pytest

import nearfield as nf

KINDS = {".fvecs": np.float32, ".ivecs": np.int32, ".bvecs": np.uint8}


def write_vecs(path, rows):
    with path.open("wb") as file:
        for row in rows:
            file.write(np.int32(len(row)).tobytes() + row.tobytes())
    return path


@pytest.fixture
def rows():
    return np.random.default_rng(0).integers(0, 250, (40, 9))


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("mmap", [True, False])
def test_rows_come_as_they_were_written(tmp_path, rows, suffix, mmap):
    written = rows.astype(KINDS[suffix])
    read = nf.read_vectors(write_vecs(tmp_path / f"rows{suffix}", written), mmap=mmap)
    assert read.dtype == KINDS[suffix] and np.array_equal(read, written)
    index = nf.FlatIndex(9, "l2")
    index.add(read)
    assert np.array_equal(index.get(index.ids), written)


@pytest.mark.parametrize("mmap", [True, False])
def test_an_array_is_mapped_or_read(tmp_path, rows, mmap):
    np.save(tmp_path / "rows.npy", rows)
    read = nf.read_vectors(tmp_path / "rows.npy", mmap=mmap)
    assert np.array_equal(read, rows) and isinstance(read, np.memmap) == mmap


def test_an_empty_file_has_no_rows(tmp_path):
    (tmp_path / "empty.fvecs").touch()
    assert nf.read_vectors(tmp_path / "empty.fvecs").shape == (0, 0)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\x01\x00", "2 bytes"),
        (b"\x02\x00\x00\x00" + b"\x00" * 7, "cut off"),
        (b"\xff\xff\xff\xff" + b"\x00" * 8, "rows of -1 values"),
        (b"\x00\x00\x00\x00", "rows of 0 values"),
        (np.array([1, 7, 2, 7], "<i4").tobytes(), "row 1 has 2"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(tmp_path, content, match):
    path = tmp_path / "bad.ivecs"
    path.write_bytes(content)
    with pytest.raises(nf.CorruptionError, match=match) as refused:
        nf.read_vectors(path)
    assert refused.value.path == str(path)


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00\x00\x00"])
def test_what_is_no_array_is_refused(tmp_path, content):
    (tmp_path / "bad.npy").write_bytes(content)
    with pytest.raises(nf.CorruptionError, match="no NumPy array"):
        nf.read_vectors(tmp_path / "bad.npy")


def test_objects_are_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    for mmap in (True, False):
        with pytest.raises(nf.CorruptionError):
            nf.read_vectors(tmp_path / "objects.npy", mmap=mmap)


def test_the_suffix_says_what_a_file_is(tmp_path):
    with pytest.raises(ValueError, match=r"\.fvecs.*'rows\.txt'"):
        nf.read_vectors(tmp_path / "rows.txt")
    with pytest.raises(FileNotFoundError):
        nf.read_vectors(tmp_path / "rows.fvecs")


def write_hdf5(path, distance="angular", **data):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, rows in data.items():
            file[name] = rows
        if distance:
            file.attrs["distance"] = distance
    return path


@pytest.mark.parametrize(("distance", "metric"), [("angular", "cosine"), ("euclidean", "l2")])
def test_a_data_set_of_ann_benchmarks(tmp_path, distance, metric):
    rng = np.random.default_rng(0)
    train, test = (rng.standard_normal((n, 8)).astype(np.float32) for n in (50, 5))
    truth = nf.exact_neighbors(train, test, 3, metric)
    path = write_hdf5(
        tmp_path / "data.hdf5",
        distance,
        train=train,
        test=test,
        neighbors=truth.ids,
        distances=truth.distances,
    )
    data = nf.read_ann_hdf5(path)
    assert data.metric == metric and np.array_equal(data.distances, truth.distances)
    index = nf.FlatIndex(8, data.metric)
    index.add(data.train)
    assert nf.evaluate(index, data.test, data.neighbors, k=3).rows[0].recall == 1


def test_a_data_set_that_is_none_is_refused(tmp_path):
    rows = np.eye(3)
    part = write_hdf5(tmp_path / "part.hdf5", train=rows, test=rows)
    with pytest.raises(nf.CorruptionError, match="expected the data set 'neighbors'"):
        nf.read_ann_hdf5(part)
    other = write_hdf5(tmp_path / "other.hdf5", "jaccard", train=rows, test=rows, neighbors=rows)
    with pytest.raises(nf.CorruptionError, match="'jaccard'"):
        nf.read_ann_hdf5(other)
    (tmp_path / "none.hdf5").write_bytes(b"nothing")
    with pytest.raises(nf.CorruptionError, match="no HDF5 file"):
        nf.read_ann_hdf5(tmp_path / "none.hdf5")
    with pytest.raises(FileNotFoundError):
        nf.read_ann_hdf5(tmp_path / "absent.hdf5")
