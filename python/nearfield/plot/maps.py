"""Embeddings on a plane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nearfield._core import Collection, Index
from nearfield.arrays import as_array
from nearfield.columns import as_list
from nearfield.errors import DimensionError
from nearfield.optional import needed
from nearfield.plot.canvas import finished, new_axes

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

__all__ = ["embedding_map"]

_COLORS = [f"C{number}" for number in range(10) if number != 7]  # grey is for the others


def embedding_map(
    vectors: Any,
    labels: Sequence[Any] | str | None = None,
    path: str | PathLike[str] | None = None,
    *,
    names: Sequence[Any] | None = None,
    method: Literal["pca", "tsne"] | Callable[[NDArray[Any]], Any] = "pca",
    limit: int = 5000,
    seed: int = 0,
) -> Any:
    """Draw vectors as points on a plane, what is near as near as two dimensions can show.

    Parameters
    ----------
    vectors : array-like of shape (n, d), index, or collection
        What to draw.
    labels : sequence of n values, or str, optional
        What tells the points apart: numbers (not bool) become shades, anything else groups; the nine largest
        have a colour each. For a collection, the path of a field of its metadata: `"lang"`, `"a.b"`.
    path : path-like, optional
        Where to write the picture; the suffix chooses the format (.png, .svg, .pdf). The figure is then
        closed. If not given, matplotlib shows it: at once in a notebook, at `plt.show()` in a script.
    names : sequence of n values, optional
        What to write beside points; None or an empty text: nothing.
    method : {"pca", "tsne"} or callable, default "pca"
        How to find places: the two directions in which the vectors vary most; t-SNE, which keeps
        neighbours together and takes seconds (scikit-learn); or a function from (n, d) to (n, 2).
    limit : int, default 5000
        Of more vectors than that a sample is drawn.
    seed : int, default 0
        Of the sample, and of t-SNE.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, for titles and limits of one's own.

    Raises
    ------
    ImportError
        If matplotlib, or for t-SNE scikit-learn, is not installed.
    ValueError
        If there is nothing to draw, labels or names are not as many as vectors, or the method is unknown.
    DimensionError
        If `vectors` are not 2-D, or a function gives back another shape than (n, 2).
    """
    rows, values = _rows_of(vectors, labels)
    told = None if names is None else as_list(names, "names")
    for what, given in (("labels", values), ("names", told)):
        if given is not None and len(given) != len(rows):
            raise ValueError(f"expected {what} for {len(rows)} vectors, got {len(given)}")
    chosen = np.arange(len(rows))
    if len(rows) > limit:
        chosen = np.sort(np.random.default_rng(seed).choice(len(rows), limit, replace=False))
    places = _places(rows[chosen].astype(np.float32), method, seed)
    axes = new_axes((7, 6))
    _points(axes, places, None if values is None else [values[i] for i in chosen])
    for place, name in zip(places, [] if told is None else [told[i] for i in chosen], strict=False):
        if name:
            axes.annotate(str(name), place, fontsize=7, alpha=0.8)
    axes.set_xticks([])
    axes.set_yticks([])
    return finished(axes, path)


def _rows_of(vectors: Any, labels: Any) -> tuple[NDArray[Any], list[Any] | None]:
    """Rows, and what tells them apart."""
    if isinstance(vectors, Collection):
        kept = list(vectors.scan())
        rows: NDArray[Any] = np.stack([row.vector for row in kept]) if kept else np.empty((0, vectors.dim))
        if isinstance(labels, str):
            return _enough(rows), [_at(row.metadata, labels) for row in kept]
    else:
        rows = vectors.get(vectors.ids) if isinstance(vectors, Index) else as_array(vectors)
        if isinstance(labels, str):
            raise ValueError(
                f"expected a label for each vector, got {labels!r}: only collections have fields"
            )
    return _enough(rows), None if labels is None else as_list(labels, "labels")


def _enough(rows: NDArray[Any]) -> NDArray[Any]:
    if rows.ndim != 2:
        raise DimensionError(f"expected vectors as an array of shape (n, d), not {rows.shape}")
    if len(rows) == 0:
        raise ValueError("expected at least one vector to draw")
    return rows


def _at(metadata: Any, path: str) -> Any:
    for name in path.split("."):
        metadata = metadata.get(name) if isinstance(metadata, dict) else None
    return metadata


def _places(rows: NDArray[Any], method: Any, seed: int) -> NDArray[Any]:
    if method == "pca":
        return _pca(rows)
    if method == "tsne":
        manifold = needed("sklearn.manifold", "sklearn")
        perplexity = min(30.0, max((len(rows) - 1) / 3, 1.0))
        return np.asarray(
            manifold.TSNE(init="random", perplexity=perplexity, random_state=seed).fit_transform(rows)
        )
    if not callable(method):
        raise ValueError(f"method must be 'pca', 'tsne' or a function, not {method!r}")
    places = np.asarray(method(rows))
    if places.shape != (len(rows), 2):
        raise DimensionError(f"expected places of shape ({len(rows)}, 2), got {places.shape}")
    return places


def _pca(rows: NDArray[Any]) -> NDArray[Any]:
    """The two directions of the largest variance; from the covariance, which is small where rows are many."""
    centred = rows - rows.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    places = centred @ directions[:, ::-1][:, :2]
    return places if places.shape[1] == 2 else np.hstack([places, np.zeros_like(places)])


def _points(axes: Any, places: NDArray[Any], values: list[Any] | None) -> None:
    size = float(np.clip(4000 / len(places), 4, 30))
    if values is None:
        axes.scatter(*places.T, s=size, alpha=0.6, linewidths=0)
        return
    if all(isinstance(value, int | float | np.number) and not isinstance(value, bool) for value in values):
        shades = axes.scatter(*places.T, c=values, s=size, alpha=0.7, linewidths=0, cmap="viridis")
        axes.figure.colorbar(shades, ax=axes)
        return
    groups = [str(value) for value in values]
    largest = [name for name, _ in Counter(groups).most_common(len(_COLORS))]
    for name, color in zip([None, *largest], ["0.7", *_COLORS], strict=False):  # the others below the rest
        inside = np.array([group == name if name is not None else group not in largest for group in groups])
        if inside.any():
            axes.scatter(
                *places[inside].T, s=size, alpha=0.7, linewidths=0, color=color, label=name or "others"
            )
    # Beside the points: looking for a place among thousands of them takes seconds.
    axes.legend(fontsize=8, markerscale=2, loc="upper left", bbox_to_anchor=(1, 1))
