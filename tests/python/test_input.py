"""What may be handed in: every type, layout and library; nothing is truncated, nothing is read twice."""

from __future__ import annotations

import numpy as np
import pytest
from kept import CODECS, fit, keep

import nearfield as nf
from nearfield.arrays import as_array

N, D = 60, 7


@pytest.fixture
def rows() -> np.ndarray:
    """Small integers: every type can hold them, some types exactly only these."""
    return np.random.default_rng(5).integers(0, 100, size=(N, D)).astype(np.float32)


def assert_stored(given: object, expected: np.ndarray, codec: str = "f32") -> None:
    """An index keeps what was given, and finds it by a query given in the same form."""
    index = nf.FlatIndex(expected.shape[1], "l2", codec=codec)
    assert index.add(given).tolist() == list(range(len(expected)))
    np.testing.assert_array_equal(index.get(index.ids), expected)
    reference = nf.FlatIndex(expected.shape[1], "l2")
    reference.add(np.ascontiguousarray(expected))
    mine, theirs = index.search(given, 3), reference.search(expected, 3)
    np.testing.assert_array_equal(mine.ids, theirs.ids)
    np.testing.assert_array_equal(mine.scores, theirs.scores)


NUMERIC = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">f4", ">f8", ">i2", "g"]


@pytest.mark.parametrize("dtype", NUMERIC)
def test_every_numeric_type_is_converted(rows, dtype):
    assert_stored(rows.astype(dtype), rows)


@pytest.mark.parametrize("codec", ["f16", "bf16", "u8"])
def test_every_numeric_type_is_converted_before_it_is_encoded(rows, codec):
    for dtype in NUMERIC:
        assert_stored(rows.astype(dtype), rows, codec)
    assert_stored(np.asfortranarray(rows.astype("u1")), rows, codec)
    assert_stored(rows.astype(int).tolist(), rows, codec)


@pytest.mark.parametrize("codec", CODECS)
def test_a_row_is_rounded_once_from_its_float32(codec):
    doubles = np.random.default_rng(8).standard_normal((4000, 33)) * 1e-3
    # In the middle between two halves but for a last bit that float32 does not have.
    doubles[0, 0] = 1 + 2.0**-11 + 2.0**-40
    doubles = fit(codec, doubles)
    index = nf.FlatIndex(33, "dot", codec=codec)
    index.add(doubles)
    np.testing.assert_array_equal(index.get(index.ids), keep(codec, doubles))


def test_booleans_are_zero_and_one(rows):
    assert_stored(rows > 50, (rows > 50).astype(np.float32))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "u1"])
@pytest.mark.parametrize(
    "layout",
    [
        lambda a: np.asfortranarray(a),
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: np.repeat(a, 3, axis=1)[:, ::3],
        lambda a: a[::-1][::-1].copy()[::-1][::-1],
        lambda a: a[:, ::-1].copy()[:, ::-1],
        lambda a: a.T.copy().T,
        lambda a: np.concatenate([a, a], axis=1)[:, :D],
        lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
        lambda a: a.view(np.matrix),
    ],
    ids=[
        "Fortran",
        "rows apart",
        "columns apart",
        "turned rows",
        "turned",
        "transposed",
        "slice",
        "unaligned",
        "matrix",
    ],
)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_every_layout_is_read(rows, dtype, layout):
    assert_stored(layout(rows.astype(dtype)), rows)


def test_broadcast_rows_are_read():
    assert_stored(np.broadcast_to(np.float32([1, 2, 3]), (5, 3)), np.tile(np.float32([1, 2, 3]), (5, 1)))


def test_read_only_and_mapped_arrays_are_read(rows, tmp_path):
    rows.setflags(write=False)
    assert_stored(rows, rows)
    np.save(tmp_path / "rows.npy", rows)
    assert_stored(np.load(tmp_path / "rows.npy", mmap_mode="r"), rows)


@pytest.mark.parametrize("dtype", ["f2", "f8", "i4"])
def test_arrays_larger_than_a_chunk_are_converted_whole(dtype):
    rows = np.random.default_rng(6).integers(-1000, 1000, size=(20_000, 40)).astype(dtype)
    index = nf.FlatIndex(20, "dot")
    index.add(rows[:, ::2])
    np.testing.assert_array_equal(index.get(index.ids), rows[:, ::2].astype(np.float32))


def test_doubles_are_rounded_to_the_nearest_float():
    rows = np.random.default_rng(7).standard_normal((50, 9))
    index = nf.FlatIndex(9, "dot")
    index.add(rows)
    np.testing.assert_array_equal(index.get(index.ids), rows.astype(np.float32))


def test_large_integers_are_rounded_to_the_nearest_float():
    rows = np.array([[2**53 + 1, 2**24 + 1, -(2**62) - 5], [1, 2, 3]], dtype=np.int64)
    index = nf.FlatIndex(3, "dot")
    index.add(rows)
    np.testing.assert_array_equal(index.get(index.ids), rows.astype(np.float32))


def test_lists_and_tuples_are_read(rows):
    assert_stored(rows.tolist(), rows)
    assert_stored([tuple(row) for row in rows.tolist()], rows)
    assert_stored(list(rows), rows)
    assert_stored(tuple(rows.astype(int).tolist()), rows)


def test_a_single_vector_is_one_row(rows):
    index = nf.FlatIndex(D, "l2")
    assert index.add(rows[0]).tolist() == [0]
    assert index.add(rows[1].tolist()).tolist() == [1]
    assert index.add(rows[2], [9]).tolist() == [9]
    assert index.upsert([9], rows[3]) == 1
    np.testing.assert_array_equal(index.get(index.ids), rows[[0, 1, 3]])
    assert index.search(rows[1].tolist(), 1).ids.tolist() == [1]


class Tensor:
    """A tensor of another library: all that is known of it is DLPack."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __dlpack__(self, **options: object) -> object:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


def test_tensors_are_read_through_dlpack(rows):
    assert_stored(Tensor(rows), rows)
    assert_stored(Tensor(rows.astype(np.float16)), rows)
    shared = as_array(Tensor(rows))
    assert np.shares_memory(shared, rows), "without a copy"


def test_a_tensor_that_cannot_be_read_says_what_to_do():
    class OnAnotherDevice:
        def __dlpack__(self, **options: object) -> object:
            raise BufferError("the tensor is on device cuda:0")

        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

    index = nf.FlatIndex(D)
    with pytest.raises(nf.DTypeError, match=r"cuda:0.*cpu\(\)"):
        index.add(OnAnotherDevice())


def test_objects_that_numpy_can_show_are_read(rows):
    class Shown:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return rows

    assert_stored(Shown(), rows)


def test_arrow_fixed_size_lists_are_read(rows):
    pa = pytest.importorskip("pyarrow")
    array = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), D)
    assert np.shares_memory(as_array(array), np.asarray(array.values)), "without a copy"
    assert_stored(array, rows)
    assert_stored(array[5:40:1], rows[5:40])
    assert_stored(pa.chunked_array([array[:10], array[10:10], array[10:]]), rows)
    assert_stored(pa.chunked_array([array]), rows)
    assert_stored(pa.table({"embedding": array})["embedding"], rows)
    assert_stored(pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel().astype(np.float16)), D), rows)
    assert_stored(pa.FixedShapeTensorArray.from_numpy_ndarray(rows), rows)
    empty = pa.chunked_array([], type=array.type)
    assert as_array(empty).shape == (0, D)


def test_arrow_lists_are_read_if_all_have_the_same_length(rows):
    pa = pytest.importorskip("pyarrow")
    array = pa.array(rows.tolist())
    assert_stored(array, rows)
    assert_stored(array[7:20], rows[7:20])
    with pytest.raises(nf.DimensionError, match="row 2 has 1 values, row 0 has 2"):
        as_array(pa.array([[1.0, 2.0], [3.0, 4.0], [5.0]]))


def test_arrow_nulls_are_no_numbers(rows):
    pa = pytest.importorskip("pyarrow")
    array = pa.array([[1.0, 2.0], None, [3.0, 4.0]], type=pa.list_(pa.float32(), 2))
    with pytest.raises(nf.DTypeError, match=r"row 1 .* null"):
        as_array(array)
    index = nf.FlatIndex(2)
    with pytest.raises(nf.NonFiniteError, match=r"row 1.*column 0"):
        index.add(pa.array([[1.0, 2.0], [None, 4.0]], type=pa.list_(pa.float32(), 2)))
    with pytest.raises(nf.DTypeError, match="one column"):
        as_array(pa.table({"embedding": array}))


def test_pandas_and_polars_are_read(rows):
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    assert_stored(pd.DataFrame(rows), rows)
    assert_stored(pd.Series(list(rows)), rows)
    assert_stored(pd.Series(rows.tolist(), index=range(100, 100 + N)), rows)
    assert_stored(pl.DataFrame(rows), rows)
    assert_stored(pl.Series(rows.tolist(), dtype=pl.Array(pl.Float32, D)), rows)
    assert_stored(pl.Series(rows.tolist()), rows)
    assert as_array(pd.Series(rows[0])).shape == (D,)


def test_arrays_pass_through_untouched(rows):
    for array in (rows, rows[::2], rows.T, rows.astype(np.int16), rows.astype(np.float16)):
        assert as_array(array) is array


def test_an_array_that_is_written_to_meanwhile_cannot_spoil_an_index():
    import threading

    rows = np.ones((2000, 16), np.float32)
    stop = threading.Event()

    def spoil() -> None:
        while not stop.is_set():
            rows[1500, 3] = np.nan
            rows[1500, 3] = 1.0

    thread = threading.Thread(target=spoil)
    thread.start()
    index = nf.FlatIndex(16, "l2")
    try:
        for _ in range(100):
            before = len(index)
            try:
                index.add(rows)
            except nf.NonFiniteError:
                assert len(index) == before
    finally:
        stop.set()
        thread.join()
    kept = index.get(index.ids)
    assert np.isfinite(kept).all()
    assert len(kept) % 2000 == 0
