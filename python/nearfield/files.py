"""Vectors from the files that they commonly come in.

The idea: a file of vectors is mapped, not read, so that opening costs nothing and an index takes from it what
it needs. What a file says of itself is checked against its size first: one that is cut off or is something
else is refused, and nothing in it is ever executed.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nearfield.errors import CorruptionError
from nearfield.optional import needed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nearfield.typing import Metric

__all__ = ["AnnData", "read_ann_hdf5", "read_vectors"]

_VALUES = {".fvecs": "<f4", ".ivecs": "<i4", ".bvecs": "u1"}
_METRICS: dict[str, Metric] = {
    "angular": "cosine", "euclidean": "l2", "manhattan": "l1", "hamming": "hamming",
    "dot": "dot", "ip": "dot",
}  # fmt: skip


def read_vectors(path: str | PathLike[str], *, mmap: bool = True) -> NDArray[Any]:
    """Read vectors from a .npy, .fvecs, .bvecs or .ivecs file.

    Parameters
    ----------
    path : path-like
        The file; its suffix says what it is.
    mmap : bool, default True
        Map the file, so that only what is looked at is read. False: read it into memory.

    Returns
    -------
    ndarray, shape (n, d)
        Read-only where it is mapped; float32, uint8 or int32 from .fvecs, .bvecs and .ivecs.

    Raises
    ------
    ValueError
        If the suffix is another one.
    CorruptionError
        If the file is not what its suffix says, or is cut off.

    Examples
    --------
    >>> import numpy as np, nearfield as nf
    >>> np.save("rows.npy", np.eye(3, dtype=np.float32))
    >>> nf.read_vectors("rows.npy").shape
    (3, 3)
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix == ".npy":
        try:
            rows: NDArray[Any] = np.load(file, mmap_mode="r" if mmap else None, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise CorruptionError(f"{file}: no NumPy array of numbers: {error}", file) from error
        return rows
    if suffix not in _VALUES:
        raise ValueError(f"expected a file with suffix .npy, {', '.join(_VALUES)}, got {file.name!r}")
    mapped = _vecs(file, np.dtype(_VALUES[suffix]))
    return mapped if mmap else mapped.copy()


def _vecs(file: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Rows that begin with their length, four bytes each, as one array with gaps."""
    size = file.stat().st_size
    if size == 0:
        return np.empty((0, 0), dtype)
    if size < 4:
        raise CorruptionError(f"{file}: expected rows that begin with their length, got {size} bytes", file)
    whole = np.memmap(file, dtype=np.uint8, mode="r")
    dim = int(whole[:4].view("<i4")[0])
    width = 4 + dim * dtype.itemsize
    if dim < 1 or size % width:
        raise CorruptionError(
            f"{file}: expected rows of {dim} values as the first says, but {size:,} bytes are not a whole "
            f"number of them; the file is cut off, or is no {file.suffix} file",
            file,
        )
    rows = whole.reshape(-1, width)
    lengths = rows[:, :4].view("<i4")[:, 0]
    odd = np.flatnonzero(lengths != dim)
    if odd.size:
        raise CorruptionError(
            f"{file}: expected rows of {dim} values, but row {odd[0]} has {lengths[odd[0]]}", file
        )
    return rows[:, 4:].view(dtype)


class AnnData(NamedTuple):
    """A data set of ann-benchmarks: rows, queries, and their true neighbours.

    Attributes
    ----------
    train : ndarray, shape (n, d)
        The rows.
    test : ndarray, shape (nq, d)
        The queries.
    neighbors : ndarray of int, shape (nq, k)
        For each query the numbers of its nearest rows, the nearest first.
    distances : ndarray of float, shape (nq, k), or None
        How far they are.
    metric : str
        The metric that they are nearest by, as Nearfield calls it.
    """

    train: NDArray[Any]
    test: NDArray[Any]
    neighbors: NDArray[Any]
    distances: NDArray[Any] | None
    metric: Metric


def read_ann_hdf5(path: str | PathLike[str]) -> AnnData:
    """Read a data set in the format of ann-benchmarks.

    Parameters
    ----------
    path : path-like
        An .hdf5 file.

    Returns
    -------
    AnnData
        In memory; unpacks as `train, test, neighbors, distances, metric`.

    Raises
    ------
    ImportError
        If h5py is not installed: `pip install nearfield[hdf5]`.
    CorruptionError
        If the file is no such data set; the message says what is missing.
    """
    h5py = needed("h5py", "hdf5")
    try:
        with h5py.File(path, "r") as file:
            absent = [name for name in ("train", "test", "neighbors") if name not in file]
            if absent:
                raise CorruptionError(f"{path}: expected the data set {absent[0]!r}, got {list(file)}", path)
            distance = str(file.attrs.get("distance", "none"))
            if distance not in _METRICS:
                raise CorruptionError(
                    f"{path}: expected a distance out of {list(_METRICS)}, got {distance!r}", path
                )
            train, test, neighbors = (file[name][()] for name in ("train", "test", "neighbors"))
            distances = file["distances"][()] if "distances" in file else None
    except OSError as error:
        if isinstance(error, CorruptionError | FileNotFoundError):
            raise
        raise CorruptionError(f"{path}: no HDF5 file: {error}", path) from error
    return AnnData(train, test, neighbors, distances, _METRICS[distance])
