"""What a collection says about itself.

The idea: a mapping like any other, whose content is in the store. Each change is a batch of its own, durable
like a batch of rows, and what another thread changes meanwhile is not lost.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nearfield._core import Collection

__all__ = ["Meta"]


class Meta(MutableMapping[str, Any]):
    """A durable mapping of str to JSON values: `collection.meta["model"] = "all-MiniLM-L6-v2"`.

    A value that is read is a copy: to change what is inside it, set it again.

    Parameters
    ----------
    collection : Collection
        Whose it is.
    """

    __slots__ = ("_collection",)

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def _read(self) -> dict[str, Any]:
        from nearfield._core import _get_meta  # not at the top: the core imports this module

        return _get_meta(self._collection)

    def _change(self, remove: list[str] | None, entries: dict[str, Any]) -> None:
        from nearfield._core import _change_meta

        _change_meta(self._collection, remove, entries)

    def __getitem__(self, name: str) -> Any:
        return self._read()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._change([], {name: value})

    def __delitem__(self, name: str) -> None:
        if name not in self._read():
            raise KeyError(name)
        self._change([name], {})

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def update(self, *args: Any, **entries: Any) -> None:
        """Set several names in one batch."""
        self._change([], dict(*args, **entries))

    def clear(self) -> None:
        """Remove all names."""
        self._change(None, {})

    def __repr__(self) -> str:
        return f"Meta({self._read()!r})"
