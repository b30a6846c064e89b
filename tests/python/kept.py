"""What each codec keeps of a row, in NumPy: the definitions that the core's are held against.

Written from the formats themselves, not from the core: f16 is NumPy's own, bf16 is rounding to eight
significant bits, u8 is what a byte holds, b1 what a bit holds, i8 is the nearest multiple of 1/127 of
the row's largest value.
"""

from __future__ import annotations

import numpy as np

CODECS = ("f32", "f16", "bf16", "u8", "i8")

# The largest value of a row must be at least this for i8, or zero: its scale may not be denormal.
I8_SMALLEST = 127 * float(np.finfo(np.float32).tiny)


def keep(codec: str, rows: np.ndarray) -> np.ndarray:
    """The rows (n, d) as an index keeps them: f32."""
    x = np.asarray(rows, dtype=np.float32)
    if codec == "f32":
        return x.copy()
    if codec == "f16":
        assert (np.abs(x) <= 65504).all()
        return x.astype(np.float16).astype(np.float32)
    if codec == "bf16":
        exponent = np.frexp(x.astype(np.float64))[1]
        # Eight significant bits; the exponents of f32 end at -126, so its smallest quantum is 2^-133.
        quantum = np.exp2(np.maximum(exponent - 8, -133).astype(np.float64))
        return (np.rint(x / quantum) * quantum).astype(np.float32)
    if codec == "u8":
        assert np.array_equal(x.astype(np.uint8), x)
        return x.astype(np.uint8).astype(np.float32)
    if codec == "b1":
        assert np.isin(x, (0, 1)).all()
        return x + 0
    if codec == "i8":
        scales = np.abs(x).max(axis=1, keepdims=True, initial=0) / np.float32(127)
        codes = np.rint(np.divide(x, scales, out=np.zeros_like(x), where=scales > 0)).astype(np.int8)
        return codes.astype(np.float32) * scales
    raise ValueError(codec)


def fit(codec: str, rows: np.ndarray) -> np.ndarray:
    """Rows like these that the codec takes, of the same shape."""
    if codec == "f16":
        return np.clip(rows, -65504, 65504)
    if codec == "u8":
        return np.rint(np.minimum(np.abs(rows), 6) * 37).astype(np.float32)
    if codec == "i8":
        return rows * (np.abs(rows).max(axis=1, keepdims=True, initial=0) >= I8_SMALLEST)
    return rows
