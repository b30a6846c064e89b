"""What the documents say of themselves, counted: fields, values, extremes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nearfield.hits import Row

__all__ = ["Facts"]

_TYPES = {bool: "boolean", int: "int", float: "float", str: "keyword", list: "list", dict: "object"}


class Facts:
    """The part of the document store that looks at metadata: a call reads all documents that it is about."""

    def _scan(self, filters: dict[str, Any] | None) -> Iterator[Row]:
        raise NotImplementedError

    def count_unique_metadata_by_filter(
        self, filters: dict[str, Any], metadata_fields: list[str]
    ) -> dict[str, int]:
        """Count the different values of some fields.

        Parameters
        ----------
        filters : dict
            Which documents to look at.
        metadata_fields : list of str
            The fields.

        Returns
        -------
        dict of str to int
            A number for each field.
        """
        metas = [row.metadata["meta"] for row in self._scan(filters)]
        return {field: len(_different(_values(metas, field))) for field in metadata_fields}

    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """Say which fields there are, and of what type: the one that was found first."""
        found: dict[str, dict[str, str]] = {}
        for row in self._scan(None):
            for name, value in row.metadata["meta"].items():
                found.setdefault(name, {"type": _TYPES.get(type(value), "unknown")})
        return found

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """Find the smallest and the largest value of a field; None where there is none."""
        metas = [row.metadata["meta"] for row in self._scan(None)]
        values = [value for value in _values(metas, metadata_field) if value is not None]
        return {"min": min(values, default=None), "max": max(values, default=None)}

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int | None = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """List the different values of a field.

        Parameters
        ----------
        metadata_field : str
            The field, with or without `meta.` before it.
        search_term : str, optional
            Only values with this in them, in upper or lower case.
        from_ : int, default 0
            How many to pass over.
        size : int, optional, default 10
            How many to list; None: all.
        filters : dict, optional
            Which documents to look at.

        Returns
        -------
        list, int
            The values, sorted, and how many there are in all.
        """
        metas = [row.metadata["meta"] for row in self._scan(filters)]
        values = _different(_values(metas, metadata_field))
        term = (search_term or "").lower()
        matching = sorted((v for v in values if term in str(v).lower()), key=lambda v: (str(v), str(type(v))))
        return matching[from_ : None if size is None else from_ + size], len(matching)


def _values(metas: list[dict[str, Any]], field: str) -> list[Any]:
    """What stands in a field, wherever it does."""
    found = []
    for meta in metas:
        value: Any = meta
        for name in field.removeprefix("meta.").split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            found.append(value)
    return found


def _different(values: list[Any]) -> list[Any]:
    """Each value once; 1, 1.0, True and "1" are four."""
    return list({(type(value), repr(value)): value for value in values}.values())
