"""Bad input: a clear typed error that says what was expected and what was given, and nothing has changed."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path

import numpy as np
import pytest
from pair import snapshot

import nearfield as nf
from nearfield import errors
from nearfield.arrays import as_array

D = 4


@pytest.fixture(params=[nf.FlatIndex, nf.QuantizedIndex, nf.HnswIndex])
def index(request):
    index = request.param(D, "l2")
    index.add(np.random.default_rng(3).standard_normal((30, D), dtype=np.float32))
    return index


@pytest.fixture(autouse=True)
def nothing_has_changed(request):
    """Around every test that uses an index."""
    if "index" not in request.fixturenames:
        yield
        return
    index = request.getfixturevalue("index")
    before = snapshot(index)
    yield
    assert snapshot(index) == before


VECTOR_CALLS = {
    "add": lambda index, x: index.add(x),
    "upsert": lambda index, x: index.upsert([1, 2], x),
    "search": lambda index, x: index.search(x),
    "exact search": lambda index, x: index.search(x, exact=True),
    "range_search": lambda index, x: index.range_search(x, 1.0),
    "kneighbors": lambda index, x: index.kneighbors(x),
}


@pytest.fixture(params=VECTOR_CALLS)
def call(request):
    """Each method that takes vectors."""
    return VECTOR_CALLS[request.param]


# ---- vectors


@pytest.mark.parametrize("d", [1, D - 1, D + 1, 100])
def test_another_dimension_names_both(index, call, d):
    with pytest.raises(nf.DimensionError, match=rf"\b{D}\b.*\b{d}\b"):
        call(index, np.ones((2, d), np.float32))


@pytest.mark.parametrize("shape", [(0,), (1, 2, D), (2, 0), (0, D + 1), ()], ids=str)
def test_another_number_of_axes_or_no_axis(index, call, shape):
    with pytest.raises(nf.DimensionError):
        call(index, np.ones(shape, np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_nan_and_infinity_are_named_by_row_and_column(index, call, bad, dtype, order):
    x = np.ones((2, D), dtype, order=order)
    x[1, 2] = bad
    with pytest.raises(nf.NonFiniteError, match=r"row 1\D.*column 2\b"):
        call(index, x)


def test_the_first_bad_value_of_a_large_array_is_named(index):
    x = np.ones((9000, D), np.float32)
    x[8000, 3] = np.inf
    x[8500, 0] = np.nan
    for given in (x, x.astype(np.float64), np.asfortranarray(x)):
        with pytest.raises(nf.NonFiniteError, match=r"row 8000\D.*column 3\b"):
            index.add(given)
        with pytest.raises(nf.NonFiniteError, match=r"row 8000\D.*column 3\b"):
            index.search(given)


def test_values_beyond_float32_are_refused_not_truncated(index, call):
    x = np.ones((2, D))
    x[0, 1] = 1e39
    with pytest.raises(nf.NonFiniteError, match=r"row 0\D.*column 1\b"):
        call(index, x)


def test_a_row_whose_squared_norm_passes_float32_is_refused(index, call):
    x = np.ones((2, D), np.float32)
    x[1, 2:] = 1.5e19
    with pytest.raises(nf.NonFiniteError, match=r"row 1\D.*column 3\b"):
        call(index, x)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.full((2, D), None), "object"),
        (np.full((2, D), "1.0"), "string"),
        (np.full((2, D), b"1.0"), "string"),
        (np.ones((2, D), complex), "complex"),
        (np.zeros((2, D), "M8[s]"), "date"),
        (np.zeros((2, D), "m8[s]"), "date"),
        (np.zeros((2, D), [("a", "f4")]), "a"),
        ([["a"] * D] * 2, "string"),
        ([[1.0, None, 2.0, 3.0]] * 2, "None"),
        ([[10**30] * D] * 2, "int"),
        ("text", "str"),
        (b"text", "bytes"),
        (None, "None"),
        ({1: 2}, "dict"),
        (object(), "object"),
    ],
    ids=lambda value: str(getattr(value, "dtype", value))[:16],
)
def test_what_is_no_number_is_a_type_error_that_says_what_it_is(index, call, given, said):
    with pytest.raises(nf.DTypeError, match=said):
        call(index, given)


def test_masked_values_are_no_numbers():
    masked = np.ma.masked_array(np.ones((2, D)), mask=np.eye(2, D))
    with pytest.raises(nf.DTypeError, match="masked"):
        as_array(masked)
    assert as_array(np.ma.masked_array(np.ones((2, D)))).shape == (2, D)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0]], "row 1 has 3 values, row 0 has 4"),
        ([[1.0] * D] * 5 + [[1.0] * (D + 1)], "row 5 has 5 values"),
        ([[1.0] * D, 7.0], "row 1 has no list"),
    ],
)
def test_ragged_lists_name_the_row(index, call, rows, said):
    with pytest.raises(nf.DimensionError, match=said):
        call(index, rows)


# ---- ids


def test_an_id_that_exists_is_named(index):
    with pytest.raises(nf.DuplicateKeyError, match=r"\b7\b"):
        index.add(np.ones((2, D), np.float32), [100, 7])


def test_an_id_given_twice_is_named(index):
    with pytest.raises(nf.DuplicateKeyError, match=r"\b100\b"):
        index.add(np.ones((3, D), np.float32), [100, 101, 100])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_ids_of_the_wrong_length_name_both_lengths(index, count):
    ids = np.arange(100, 100 + count)
    with pytest.raises(ValueError, match=rf"\b2\b.*\b{count}\b"):
        index.add(np.ones((2, D), np.float32), ids)
    with pytest.raises(ValueError, match=rf"\b2\b.*\b{count}\b"):
        index.upsert(ids, np.ones((2, D), np.float32))


@pytest.mark.parametrize(
    "ids", [[100, -1], [100, 2**63], [100, 2**64], [100, -(2**70)], np.array([1, 2**63], np.uint64)]
)
def test_ids_outside_int64_are_value_errors(index, ids):
    x = np.ones((2, D), np.float32)
    for call in (lambda: index.add(x, ids), lambda: index.upsert(ids, x)):
        with pytest.raises(ValueError, match=r"2\*\*63") as caught:
            call()
        assert not isinstance(caught.value, OverflowError)


@pytest.mark.parametrize(
    "ids",
    [[100.0, 101.0], ["100", "101"], [None, 1], np.array([1.5, 2.5]), np.array([True, False]), [b"1", b"2"]],
)
def test_ids_that_are_no_integers_are_type_errors(index, ids):
    x = np.ones((2, D), np.float32)
    for call in (
        lambda: index.add(x, ids),
        lambda: index.upsert(ids, x),
        lambda: index.delete(ids),
        lambda: index.get(ids),
    ):
        with pytest.raises(nf.DTypeError, match="integer"):
            call()


def test_ids_with_two_axes_are_refused(index):
    with pytest.raises(ValueError, match="ids"):
        index.add(np.ones((2, D), np.float32), [[100], [101]])


def test_a_missing_id_is_named(index):
    for ids in (777, [1, 777, 888], np.array([777])):
        with pytest.raises(nf.MissingKeyError, match=r"\b777\b"):
            index.get(ids)
    with pytest.raises(nf.MissingKeyError):
        index.get(-1)


# ---- searches


@pytest.mark.parametrize("k", [-1, -(2**40), -(2**70)])
def test_a_negative_k_is_a_value_error(index, k):
    with pytest.raises(ValueError, match=r"k\b"):
        index.search(np.ones(D, np.float32), k)
    with pytest.raises(ValueError, match=r"n_neighbors|k\b"):
        index.kneighbors(np.ones((1, D), np.float32), k)


@pytest.mark.parametrize("k", [1.5, "10", None])
def test_a_k_that_is_no_integer_is_a_type_error(index, k):
    with pytest.raises(TypeError):
        index.search(np.ones(D, np.float32), k)


def test_k_may_be_an_integer_of_numpy(index):
    assert index.search(np.ones(D, np.float32), np.int32(3)).ids.shape == (3,)


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_at_all_are_a_value_error(index, threads):
    with pytest.raises(ValueError, match="threads"):
        index.search(np.ones(D, np.float32), threads=threads)


@pytest.mark.parametrize("length", [0, 29, 31])
def test_a_mask_must_have_one_entry_for_each_row(index, length):
    mask = np.zeros(length, bool)
    for call in (lambda: index.filter(mask), lambda: index.search(np.ones(D, np.float32), filter=mask)):
        with pytest.raises(ValueError, match=rf"\b30\b.*\b{length}\b"):
            call()


@pytest.mark.parametrize("bad", [[1.5], ["1"], np.array([0.0, 1.0]), {"lang": "en"}, "abc"], ids=str)
def test_a_filter_that_is_neither_ids_nor_a_mask_is_a_type_error(index, bad):
    with pytest.raises(TypeError):
        index.filter(bad)
    with pytest.raises(TypeError):
        index.search(np.ones(D, np.float32), filter=bad)


# ---- codecs

UNFIT = [
    ("f16", 65520.0, r"-65504 to 65504.*scale.*'bf16'"),
    ("f16", -1e9, r"-65504 to 65504"),
    ("u8", 0.5, r"whole numbers from 0 to 255.*'i8'"),
    ("u8", -1.0, r"whole numbers"),
    ("u8", 256.0, r"whole numbers"),
    ("i8", 1e-37, r"largest value of a row.*scale"),
    ("i8", -1e-45, r"largest value of a row"),
]


@pytest.mark.parametrize(("codec", "value", "advice"), UNFIT)
def test_a_value_that_the_codec_cannot_keep_is_named_with_what_to_do(codec, value, advice):
    index = nf.FlatIndex(D, "l2", codec=codec)
    index.add(np.random.default_rng(3).integers(0, 256, (40, D)))
    before = snapshot(index)
    rows = np.zeros((9000, D))
    rows[8000, 2] = value
    rows[8001, 1] = np.nan
    for given in (rows, rows.astype(np.float32), np.asfortranarray(rows)):
        for call in (lambda x: index.add(x), lambda x: index.upsert(np.arange(9000), x)):
            with pytest.raises(
                ValueError, match=rf"row 8000, column 2 is .*codec '{codec}' cannot keep: .*{advice}"
            ) as caught:
                call(given)
            assert not isinstance(caught.value, nf.NearfieldError)
            assert snapshot(index) == before
    index.search(rows[8000], 3)  # queries are f32 under every codec


def test_a_row_that_rounds_to_one_too_long_is_refused():
    index = nf.FlatIndex(2, "dot", codec="bf16")
    rows = np.float32([[1.8e19, 0], [1.843e19, 0]])
    assert len(index.add(rows[:1])) == 1
    with pytest.raises(nf.NonFiniteError, match=r"row 1\D.*too large"):
        index.add(rows)
    assert len(index) == 1


@pytest.mark.parametrize("codec", ["f32", "f16", "bf16", "u8", "i8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_what_no_codec_keeps_is_named_alike(codec, bad):
    index = nf.FlatIndex(D, codec=codec)
    rows = np.ones((3, D), np.float32)
    rows[2, 1] = bad
    with pytest.raises(nf.NonFiniteError, match=r"row 2\D.*column 1\b"):
        index.add(rows)
    assert len(index) == 0


# ---- making an index


@pytest.mark.parametrize("make", [nf.FlatIndex, nf.QuantizedIndex, nf.HnswIndex])
class TestMaking:
    @pytest.mark.parametrize("dim", [0, -1, 65_536, 2**40])
    def test_a_dim_out_of_range_is_a_value_error(self, make, dim):
        with pytest.raises(ValueError, match=r"65[,_]?535"):
            make(dim)

    @pytest.mark.parametrize("dim", [1.5, "4", None])
    def test_a_dim_that_is_no_integer_is_a_type_error(self, make, dim):
        with pytest.raises(TypeError):
            make(dim)

    @pytest.mark.parametrize("metric", ["euclidean", "", "COSINE", "l3"])
    def test_an_unknown_metric_names_those_that_exist(self, make, metric):
        with pytest.raises(ValueError, match=r"cosine.*dot.*l2.*l1.*hamming"):
            make(D, metric)

    @pytest.mark.parametrize("codec", ["f64", "F16", "", "nonsense"])
    def test_an_unknown_codec_names_those_that_exist(self, make, codec):
        if make is nf.QuantizedIndex:
            pytest.skip("has bits instead")
        with pytest.raises(ValueError, match=rf"codec must be .*'f32'.*got \"{codec}\""):
            make(D, codec=codec)

    def test_no_threads_at_all_are_a_value_error(self, make):
        with pytest.raises(ValueError, match="threads"):
            make(D, threads=0)

    def test_a_cap_refuses_what_does_not_fit_and_keeps_what_is_there(self, make):
        index = make(256, max_bytes=32 << 20)
        rows = np.random.default_rng(1).standard_normal((100_000, 256), dtype=np.float32)
        index.add(rows[:500])
        before = snapshot(index)
        with pytest.raises(nf.CapacityError, match="bytes"):
            index.add(rows)
        assert snapshot(index) == before
        assert len(index.add(rows[500:600])) == 100


def test_a_flat_index_names_all_its_codecs_and_a_graph_its_own():
    with pytest.raises(ValueError, match=r"'f32', 'f16', 'bf16', 'u8', 'i8' or 'b1', got \"auto\""):
        nf.FlatIndex(D, codec="auto")
    for codec in ("f16", "bf16", "u8", "i8"):
        with pytest.raises(ValueError, match=rf"codec must be 'auto' or 'f32', got \"{codec}\""):
            nf.HnswIndex(D, codec=codec)
    assert nf.HnswIndex(D, codec="auto").codec == "f32"


@pytest.mark.parametrize("option", ["m", "ef_construction", "ef_search"])
@pytest.mark.parametrize("value", [0, -1])
def test_hnsw_options_out_of_range_are_named(option, value):
    with pytest.raises(ValueError, match=option.partition("_search")[0]):
        nf.HnswIndex(D, **{option: value})


def test_a_beam_out_of_range_is_a_value_error():
    index = nf.HnswIndex(D)
    for value in (0, -1):
        with pytest.raises(ValueError, match="ef"):
            index.search(np.ones(D, np.float32), ef=value)
        with pytest.raises(ValueError, match="ef"):
            index.ef_search = value
    assert index.ef_search == 64


def test_the_base_class_cannot_be_made():
    with pytest.raises(TypeError):
        nf.Index(D)


# ---- the errors themselves

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass)]


def test_every_error_is_exported_with_its_contract():
    builtins = {
        "DimensionError": ValueError,
        "NonFiniteError": ValueError,
        "FilterError": ValueError,
        "DTypeError": TypeError,
        "DuplicateKeyError": KeyError,
        "MissingKeyError": KeyError,
        "CollectionExistsError": ValueError,
        "CollectionNotFoundError": KeyError,
        "CapacityError": MemoryError,
        "ReadOnlyError": OSError,
        "LockedError": OSError,
        "NoSpaceError": OSError,
        "CorruptionError": OSError,
        "FormatVersionError": OSError,
    }
    for name, builtin in builtins.items():
        cls = getattr(nf, name)
        assert issubclass(cls, nf.NearfieldError) and issubclass(cls, builtin)
    assert {cls.__name__ for cls in CLASSES} == {*builtins, "NearfieldError"}


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_survive_pickling_and_print_plainly(cls):
    message = 'row 3 is "odd"\nand long'
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(cls(message), protocol))
        assert type(again) is cls
        assert str(again) == message
        assert again.args == (message,)


def test_attributes_survive_pickling():
    locked = pickle.loads(pickle.dumps(nf.LockedError("held", 4711)))
    assert (str(locked), locked.pid) == ("held", 4711)
    assert nf.LockedError("held").pid is None
    damaged = pickle.loads(pickle.dumps(nf.CorruptionError("damaged", Path("a.nf"), "rows")))
    assert (str(damaged), damaged.path, damaged.block) == ("damaged", "a.nf", "rows")
    assert (nf.CorruptionError("damaged").path, nf.CorruptionError("damaged").block) == (None, None)


def test_an_error_from_the_core_survives_pickling(index):
    with pytest.raises(nf.DuplicateKeyError) as caught:
        index.add(np.ones((1, D), np.float32), [7])
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is nf.DuplicateKeyError
    assert str(again) == str(caught.value)
    assert "upsert" in str(again), "it says what to do"
