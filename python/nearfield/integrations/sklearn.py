"""Nearfield as a transformer of scikit-learn.

The idea: many estimators of scikit-learn take a sparse graph of neighbours instead of looking for neighbours
themselves (`metric="precomputed"`). So one transformer in front of them is all that it takes to make
`KNeighborsClassifier`, `DBSCAN`, `Isomap`, `SpectralClustering` or `TSNE` use an index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nearfield._core import FlatIndex, HnswIndex
from nearfield.optional import missing

try:
    from scipy.sparse import csr_matrix
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise missing("scikit-learn 1.6 or newer", "sklearn") from error

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["NearfieldTransformer"]

_METRICS = {
    "euclidean": "l2", "l2": "l2", "manhattan": "l1", "cityblock": "l1", "l1": "l1", "cosine": "cosine",
}  # fmt: skip


class NearfieldTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turns rows into the graph of their nearest neighbours, as `KNeighborsTransformer` does.

    Parameters
    ----------
    n_neighbors : int, default 5
        Neighbours of each row.
    mode : {"distance", "connectivity"}, default "distance"
        What stands in the graph: distances, or ones. With distances each row has one neighbour more, since a
        row that was fitted is its own nearest.
    metric : {"euclidean", "manhattan", "cosine"}, default "euclidean"
        How rows are compared; also by the names that an index has for it.
    index : {"hnsw", "flat"}, default "hnsw"
        A graph that finds nearly all neighbours, or a search that finds all.
    recall : float, optional
        The part of the neighbours that the graph has to find, between 0 and 1: see `HnswIndex.search`.
    threads : int, optional
        How many threads to use; all cores if not given.

    Attributes
    ----------
    index_ : HnswIndex or FlatIndex
        The rows that were fitted; their ids are their positions.
    n_features_in_ : int
        How many values a row has.
    n_samples_fit_ : int
        How many rows were fitted.

    Examples
    --------
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from nearfield.integrations.sklearn import NearfieldTransformer
    >>> model = make_pipeline(NearfieldTransformer(5), KNeighborsClassifier(5, metric="precomputed"))
    >>> model.fit([[0.0], [0.1], [0.2], [1.0], [1.1], [1.2]], [0, 0, 0, 1, 1, 1]).predict([[0.15]])
    array([0])
    """

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        mode: str = "distance",
        metric: str = "euclidean",
        index: str = "hnsw",
        recall: float | None = None,
        threads: int | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.mode = mode
        self.metric = metric
        self.index = index
        self.recall = recall
        self.threads = threads

    def fit(self, X: Any, y: Any = None) -> Self:
        """Put rows into a new index.

        Parameters
        ----------
        X : array-like, shape (n, d)
            The rows.
        y : ignored

        Returns
        -------
        NearfieldTransformer
            Itself.

        Raises
        ------
        ValueError
            If a parameter is none of those that are allowed, or `X` is no array of finite numbers.
        """
        self._check()
        rows = validate_data(self, X, dtype=[np.float32, np.float64])
        metric: Any = _METRICS[self.metric]
        if self.index == "flat":
            self.index_: FlatIndex | HnswIndex = FlatIndex(rows.shape[1], metric, threads=self.threads)
        else:
            self.index_ = HnswIndex(rows.shape[1], metric, recall=self.recall, threads=self.threads)
        self.index_.add(rows)
        self.n_samples_fit_ = len(rows)
        return self

    def transform(self, X: Any) -> csr_matrix:
        """Find the nearest of the rows that were fitted.

        Parameters
        ----------
        X : array-like, shape (n, d)
            Rows to find neighbours of.

        Returns
        -------
        csr_matrix of float32, shape (n, n_samples_fit_)
            In each row its neighbours, the nearest first: as many as were asked for, or as there are.

        Raises
        ------
        NotFittedError
            If nothing was fitted.
        ValueError
            If `X` is no array of finite numbers with as many values a row.
        """
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=[np.float32, np.float64], reset=False)
        k = self.n_neighbors + (self.mode == "distance")
        result = self.index_.search(rows, k, threads=self.threads)
        real = np.arange(result.ids.shape[1]) < result.counts[:, None]
        # Rounding may make the cosine of a row with itself a little more than 1.
        values = np.maximum(result.distances[real], 0) if self.mode == "distance" else np.ones(real.sum())
        ends = np.concatenate([[0], np.cumsum(result.counts)])
        shape = len(rows), self.n_samples_fit_
        return csr_matrix((values.astype(np.float32), result.ids[real], ends), shape=shape)

    def _check(self) -> None:
        allowed = {"mode": ("distance", "connectivity"), "metric": tuple(_METRICS), "index": ("hnsw", "flat")}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} must be one of {values}, not {getattr(self, name)!r}")
        if self.n_neighbors < 1:
            raise ValueError(f"n_neighbors must be 1 or more, not {self.n_neighbors}")

    @property
    def _n_features_out(self) -> int:
        return self.n_samples_fit_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
