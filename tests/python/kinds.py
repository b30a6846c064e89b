"""Kinds of rows: such as there are, and such as break indexes; and queries that hurt, made of them.

A kind is a function of a generator, a number of rows and a dimension; it gives so many float32 rows.
"""

from __future__ import annotations

import numpy as np


def gaussian(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return rng.standard_normal((n, d)).astype(np.float32)


def clustered(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    centres = rng.standard_normal((max(n // 50, 1), d))
    return (centres[rng.integers(len(centres), size=n)] + 0.1 * rng.standard_normal((n, d))).astype(
        np.float32
    )


def integers(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return rng.integers(-2, 3, size=(n, d)).astype(np.float32)


def duplicates(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return gaussian(rng, 3, d)[rng.integers(3, size=n)]


def all_equal(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return np.repeat(gaussian(rng, 1, d), n, axis=0)


def half_zeros(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    rows = integers(rng, n, d)
    rows[rng.random(n) < 0.5] = 0
    return rows


def all_zeros(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return np.zeros((n, d), np.float32)


def one_hot(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return np.eye(d, dtype=np.float32)[rng.integers(d, size=n)]


def collinear(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return rng.uniform(-3, 3, (n, 1)).astype(np.float32) * gaussian(rng, 1, d)


def as_long_as_allowed(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    # The squared norm stays just below float32's largest number; that of a difference passes it.
    rows = rng.standard_normal((n, d))
    return (rows * (1.8e19 / np.linalg.norm(rows, axis=1, keepdims=True))).astype(np.float32)


def tiny(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return (rng.standard_normal((n, d)) * 1e-30).astype(np.float32)


def denormal(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return rng.integers(-4, 5, size=(n, d)).astype(np.float32) * np.float32(1e-45)


def any_magnitude(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return (rng.standard_normal((n, d)) / d * 10.0 ** rng.uniform(-42, 18, (n, 1))).astype(np.float32)


def one_outlier(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    rows = gaussian(rng, n, d)
    rows[n // 2] *= np.float32(1e15)
    return rows


def far_from_the_origin(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return (1e6 + rng.standard_normal((n, d))).astype(np.float32)


ADVERSARIAL = [
    integers,
    duplicates,
    all_equal,
    half_zeros,
    all_zeros,
    one_hot,
    collinear,
    as_long_as_allowed,
    tiny,
    denormal,
    any_magnitude,
    one_outlier,
    far_from_the_origin,
]


def asked(rng: np.random.Generator, rows: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Queries that hurt: rows of the index, their opposites, zero, and others of the same kind."""
    some = rows[rng.integers(len(rows), size=2)]
    return np.concatenate([some, -some[:1], np.zeros_like(some[:1]), fresh[:3]])
