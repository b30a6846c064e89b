"""What a command answers, and how it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nearfield.display import bytes_text, number_text

__all__ = ["Answer", "as_json", "lines_of"]


@dataclass(frozen=True)
class Answer:
    """The answer of a command.

    Attributes
    ----------
    data : object
        What `--json` prints.
    text : str
        The same for people.
    status : int
        The exit status.
    """

    data: Any
    text: str
    status: int = 0


def as_json(data: Any) -> str:
    """Write data as JSON; bytes as text, and numbers that JSON does not have as null."""
    return json.dumps(_plain(data), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def lines_of(data: Mapping[str, Any], indent: str = "") -> str:
    """Show a mapping, a line for each name; names with the word `bytes` as sizes."""
    return "\n".join(_lines(data, indent))


def _lines(data: Mapping[str, Any], indent: str) -> Iterator[str]:
    width = max((len(name) for name in data), default=0)
    for name, value in data.items():
        label = f"{indent}{name.replace('_', ' '):<{width}}"
        if isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from _lines(value, f"{indent}  ")
        elif "bytes" in name.split("_") and isinstance(value, int | float):
            yield f"{label}  {bytes_text(value)}"
        else:
            yield f"{label}  {number_text(value)}"
