"""From the metadata filters of LlamaIndex to one of Nearfield.

The idea: all fourteen operators mean what they mean in LlamaIndex's own store, where what is missing is null,
null differs from every value, and every other comparison with it is false.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

__all__ = ["as_where"]


def as_where(filters: MetadataFilters | None) -> dict[str, Any]:
    """Translate filters.

    Parameters
    ----------
    filters : MetadataFilters or None
        Conditions, which may have conditions in them.

    Returns
    -------
    dict
        The same for `where=`; empty for None, and where there are no conditions.

    Raises
    ------
    ValueError
        If a value does not fit its operator.
    """
    if filters is None or not filters.filters:
        return {}
    parts = [
        as_where(one) if isinstance(one, MetadataFilters) else _condition(one) for one in filters.filters
    ]
    if filters.condition == FilterCondition.NOT:  # none of them
        return {"$not": {"$or": parts}}
    return {"$or" if filters.condition == FilterCondition.OR else "$and": parts}


def _condition(condition: MetadataFilter) -> dict[str, Any]:
    return _OPERATORS[condition.operator](condition.key, condition.value)


def _simple(operator: str) -> Callable[[str, Any], dict[str, Any]]:
    # Nothing is compared with null, whatever the operator: it is in no list.
    return lambda key, value: {key: {"$in": []} if value is None else {operator: value}}


def _among(key: str, value: Any) -> dict[str, Any]:
    return {key: {"$in": _several(key, value)}}


def _negated(test: Callable[[str, Any], dict[str, Any]]) -> Callable[[str, Any], dict[str, Any]]:
    return lambda key, value: {"$not": test(key, value)}


def _each(operator: str) -> Callable[[str, Any], dict[str, Any]]:
    def test(key: str, value: Any) -> dict[str, Any]:
        parts = [{key: {"$contains": one}} for one in _several(key, value)]
        if parts:
            return {operator: parts}
        return {key: {"$in": []} if operator == "$or" else {"$exists": True}}

    return test


def _several(key: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list of values to look for in {key!r}, got {value!r}")
    return value


def _text(insensitive: bool) -> Callable[[str, Any], dict[str, Any]]:
    def test(key: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, str):
            raise ValueError(f"expected text to look for in {key!r}, got {value!r}")
        return {key: {"$glob": f"*{''.join(_letter(letter, insensitive) for letter in value)}*"}}

    return test


def _letter(letter: str, insensitive: bool) -> str:
    """A pattern for one letter: itself, or it in upper and lower case."""
    if letter in "*?[":
        return f"[{letter}]"
    cases = {letter, letter.lower(), letter.upper()} if insensitive else {letter}
    single = sorted(case for case in cases if len(case) == 1)
    return letter if len(single) == 1 else f"[{''.join(single)}]"


def _empty(key: str, value: Any) -> dict[str, Any]:
    nothing: list[Any] = [None, "", []]
    blank = [{key: {"$eq": one}} for one in nothing]
    return {"$or": [{"$not": {key: {"$exists": True}}}, *blank]}


_OPERATORS: dict[FilterOperator, Callable[[str, Any], dict[str, Any]]] = {
    FilterOperator.EQ: _simple("$eq"),
    FilterOperator.NE: _negated(_simple("$eq")),
    FilterOperator.GT: _simple("$gt"),
    FilterOperator.GTE: _simple("$gte"),
    FilterOperator.LT: _simple("$lt"),
    FilterOperator.LTE: _simple("$lte"),
    FilterOperator.IN: _among,
    FilterOperator.NIN: _negated(_among),
    FilterOperator.ANY: _each("$or"),
    FilterOperator.ALL: _each("$and"),
    FilterOperator.TEXT_MATCH: _text(insensitive=False),
    FilterOperator.TEXT_MATCH_INSENSITIVE: _text(insensitive=True),
    FilterOperator.CONTAINS: _simple("$contains"),
    FilterOperator.IS_EMPTY: _empty,
}
