"""What `progress=` means: silence, a bar, or a function of the caller.

The idea: the core reports (done, total) to one callable and knows nothing about how it is shown.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nearfield.typing import Progress

__all__ = ["reporter"]


def reporter(progress: Progress, description: str) -> Callable[[int, int], None] | None:
    """Turn the argument `progress=` into what the core calls.

    Parameters
    ----------
    progress : bool or callable
        False: nothing is shown. True: a tqdm bar where tqdm is installed, otherwise a line on standard error.
        A callable is called with (done, total), both in rows.
    description : str
        What is going on, in a word or two: `"Adding"`.

    Returns
    -------
    callable or None
        A function of (done, total), or None where nothing is to be shown.

    Raises
    ------
    TypeError
        If `progress` is neither a bool nor a callable.
    """
    if progress is False or progress is None:
        return None
    if progress is True:
        try:
            with warnings.catch_warnings():  # in a notebook without widgets it warns, and draws a bar of text
                warnings.simplefilter("ignore")
                from tqdm.auto import tqdm  # type: ignore[import-untyped, unused-ignore]
        except ImportError:
            return _Line(description)
        return _Bar(tqdm, description)
    if callable(progress):
        return progress
    raise TypeError(
        "progress must be True, False or a function of (done, total), "
        f"not {type(progress).__name__} {progress!r}"
    )


class _Bar:
    """A tqdm bar that opens at the first report, and closes at the last."""

    def __init__(self, tqdm: Any, description: str) -> None:
        self._tqdm = tqdm
        self._description = description
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = self._tqdm(total=total, desc=self._description)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self._bar.close()


class _Line:
    """One line on standard error, rewritten ten times a second; every five seconds in a file."""

    def __init__(self, description: str) -> None:
        self._description = description
        self._terminal = sys.stderr.isatty()
        self._next = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now < self._next and done < total:
            return
        self._next = now + (0.1 if self._terminal else 5.0)
        share = 100 * done // total if total else 100
        end = "\r" if self._terminal and done < total else "\n"
        print(f"{self._description}: {done:,} of {total:,} ({share} %)", end=end, file=sys.stderr, flush=True)
