"""From a filter of Haystack to one of Nearfield.

The idea: Nearfield's world is closed, so a missing field makes a condition false; in Haystack a missing field
is None, and None differs from everything. Whatever says "not" is therefore written as `$not` round the
condition. Dates are compared as text, which is right for those of one ISO form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import date, datetime
from typing import Any

from haystack.dataclasses import Document
from haystack.errors import FilterError

__all__ = ["as_where"]

_ORDER = {">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}
_OWN = {field.name for field in fields(Document)}


def as_where(filters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Translate a filter.

    Parameters
    ----------
    filters : mapping or None
        Comparisons (`field`, `operator`, `value`), or conditions joined by `AND`, `OR` or `NOT`.

    Returns
    -------
    dict
        The same for `where=`; empty for None and for an empty one.

    Raises
    ------
    haystack.errors.FilterError
        If it cannot be understood; the message says what is missing or unknown.
    """
    if not filters:
        return {}
    if "field" in filters:
        return _comparison(filters)
    conditions = _part(filters, "conditions")
    operator = _part(filters, "operator")
    parts = [as_where(condition) for condition in conditions]
    if operator == "OR":
        return {"$or": parts} if parts else _NEVER
    if operator not in ("AND", "NOT"):
        raise FilterError(f"expected AND, OR or NOT as the operator of several conditions, got {operator!r}")
    both = {"$and": parts} if parts else {}
    return both if operator == "AND" else {"$not": both}


_NEVER: dict[str, Any] = {"id": {"$in": []}}


def _part(filters: Mapping[str, Any], name: str) -> Any:
    if name not in filters:
        raise FilterError(f"expected {name!r} in a filter, got {sorted(filters)}")
    return filters[name]


def _comparison(condition: Mapping[str, Any]) -> dict[str, Any]:
    operator, value = _part(condition, "operator"), _plain(_part(condition, "value"))
    path = _path(condition["field"])
    if operator in ("==", "!="):
        return _unless(operator == "!=", _equal(path, value))
    if operator in ("in", "not in"):
        if not isinstance(value, list):
            raise FilterError(f"expected a list for {operator!r}, got {type(value).__name__}: {value!r}")
        return _unless(operator == "not in", _among(path, value))
    if operator in _ORDER:
        return _ordered(path, _ORDER[operator], value)
    known = ["==", "!=", *_ORDER, "in", "not in"]
    raise FilterError(f"expected an operator out of {known}, got {operator!r}")


def _path(field: str) -> str:
    """Where a field lies; Haystack takes a name that no document has for one of its metadata."""
    return field if "." in field or field in _OWN else f"meta.{field}"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else value


def _unless(turned: bool, where: dict[str, Any]) -> dict[str, Any]:
    return {"$not": where} if turned else where


def _equal(path: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {"$or": [{"$not": {path: {"$exists": True}}}, {path: {"$eq": None}}]}
    return {path: {"$eq": value}}


def _among(path: str, values: list[Any]) -> dict[str, Any]:
    among = {path: {"$in": [_plain(value) for value in values if value is not None]}}
    return {"$or": [among, _equal(path, None)]} if None in values else among


def _ordered(path: str, operator: str, value: Any) -> dict[str, Any]:
    if value is None:  # nothing comes before or after it
        return _NEVER
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError as error:
            raise FilterError(f"expected a number or an ISO date to compare with, got {value!r}") from error
    elif not isinstance(value, int | float):
        raise FilterError(f"expected a number or an ISO date to compare with, got {type(value).__name__}")
    return {path: {operator: value}}
