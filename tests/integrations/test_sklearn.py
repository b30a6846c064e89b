"""scikit-learn: its own checks of estimators, and the pipelines that such a transformer is for."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.cluster import DBSCAN
from sklearn.datasets import load_digits, make_blobs
from sklearn.manifold import TSNE
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsTransformer
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from nearfield.integrations.sklearn import NearfieldTransformer


@parametrize_with_checks(
    [
        NearfieldTransformer(),
        NearfieldTransformer(index="flat", mode="connectivity"),
        NearfieldTransformer(metric="cosine"),
        NearfieldTransformer(metric="manhattan", n_neighbors=1),
    ]
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    return train_test_split(*load_digits(return_X_y=True), test_size=0.3, random_state=0)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine"])
@pytest.mark.parametrize("mode", ["distance", "connectivity"])
def test_the_graph_is_that_of_scikit_learn(digits, metric, mode):
    train, test, _, _ = digits
    mine = NearfieldTransformer(4, metric=metric, mode=mode, index="flat").fit(train).transform(test)
    theirs = KNeighborsTransformer(n_neighbors=4, metric=metric, mode=mode).fit(train).transform(test)
    assert mine.shape == theirs.shape and np.array_equal(mine.indptr, theirs.indptr)
    # Among equal distances they choose other rows than we do, so the distances decide.
    assert np.allclose(mine.data, theirs.data, atol=1e-5)


def test_a_classifier_on_the_graph(digits):
    train, test, labels, truth = digits
    model = make_pipeline(NearfieldTransformer(5), KNeighborsClassifier(5, metric="precomputed"))
    direct = KNeighborsClassifier(5).fit(train, labels)
    assert model.fit(train, labels).score(test, truth) >= direct.score(test, truth) - 0.005


def test_parameters_are_searched(digits):
    train, _, labels, _ = digits
    model = make_pipeline(NearfieldTransformer(9), KNeighborsClassifier(metric="precomputed"))
    grid = {
        "nearfieldtransformer__metric": ["euclidean", "cosine"],
        "kneighborsclassifier__n_neighbors": [1, 9],
    }
    assert GridSearchCV(model, grid, cv=3).fit(train, labels).best_score_ > 0.95


def test_a_map_of_the_graph():
    rows, labels = make_blobs(300, 16, centers=3, random_state=0)
    model = make_pipeline(
        NearfieldTransformer(91),  # three times the perplexity, and one
        TSNE(metric="precomputed", init="random", perplexity=30, max_iter=300, random_state=0),
    )
    places = model.fit_transform(rows.astype(np.float32))
    assert places.shape == (300, 2)
    nearest = KNeighborsClassifier(5).fit(places, labels)
    assert nearest.score(places, labels) > 0.95


def test_clusters_of_the_graph():
    rows, labels = make_blobs(200, 4, centers=3, cluster_std=0.3, random_state=0)
    graph = NearfieldTransformer(20).fit_transform(rows)
    found = DBSCAN(eps=1.5, metric="precomputed").fit_predict(graph)
    assert len({(a, b) for a, b in zip(found, labels, strict=True)}) == 3


def test_fewer_rows_than_neighbours():
    graph = NearfieldTransformer(10).fit([[0.0], [1.0]]).transform([[0.2], [5.0]])
    assert graph.toarray() == pytest.approx(np.array([[0.2, 0.8], [5.0, 4.0]]))
    assert NearfieldTransformer(1).fit([[0.0]]).get_feature_names_out().tolist() == ["nearfieldtransformer0"]


def test_it_can_be_pickled(digits):
    train, test, _, _ = digits
    model = NearfieldTransformer(3, recall=0.95).fit(train)
    again = pickle.loads(pickle.dumps(model))
    assert (again.transform(test) != model.transform(test)).nnz == 0


@pytest.mark.parametrize(
    "wrong", [{"mode": "x"}, {"metric": "dot"}, {"index": "tree"}, {"n_neighbors": 0}], ids=str
)
def test_a_wrong_parameter_is_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        NearfieldTransformer(**wrong).fit([[0.0], [1.0]])
