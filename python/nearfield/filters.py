"""Filters as expressions: `field("year") >= 2020`.

The idea: there is one language for filters, that of dictionaries, and one place that knows what it means, the
core. An expression is nothing but a pleasant way to write such a dictionary, so both say the same, and
`to_dict` shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from nearfield.errors import FilterError

__all__ = ["Expr", "Field", "as_dict", "field"]

_SYMBOLS = {"$eq": "==", "$ne": "!=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_METHODS = {"$in": "isin", "$contains": "contains", "$glob": "glob"}


class Expr:
    """A filter, written as an expression; made from `field`, combined by `&`, `|` and `~`.

    Parameters
    ----------
    dictionary : dict
        The same filter in the language of dictionaries.
    """

    __slots__ = ("_dictionary",)

    def __init__(self, dictionary: dict[str, Any]) -> None:
        self._dictionary = dictionary

    def to_dict(self) -> dict[str, Any]:
        """Write the filter in the language of dictionaries.

        Returns
        -------
        dict
            What `where=` takes as well.
        """
        return self._dictionary

    def __and__(self, other: Expr) -> Expr:
        return _joined("$and", self, other)

    def __or__(self, other: Expr) -> Expr:
        return _joined("$or", self, other)

    def __invert__(self) -> Expr:
        return Expr({"$not": self._dictionary})

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a filter is neither true nor false here: combine filters with & | ~ and parentheses, not with "
            'and, or, not; write (field("a") > 1) & (field("a") < 5), not 1 < field("a") < 5'
        )

    def __repr__(self) -> str:
        return _shown(self._dictionary)


class Field:
    """What stands at a path of the metadata; compared with a value it becomes an `Expr`.

    Parameters
    ----------
    path : str
        A name, or names with dots between them: `"a.b"` is `b` inside of `a`.
    """

    __slots__ = ("_path",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, path: str) -> None:
        if not isinstance(path, str):
            raise TypeError(
                f"expected the path of a field as a str, such as 'a.b', got {type(path).__name__}"
            )
        if path.startswith("$"):
            raise FilterError(f"expected the path of a field, got the operator {path!r}")
        self._path = path

    def _test(self, operator: str, value: Any) -> Expr:
        if isinstance(value, Expr | Field):
            raise TypeError(f"expected a value to compare {self!r} with, not {value!r}")
        return Expr({self._path: {operator: value}})

    def __eq__(self, value: object) -> Expr:  # type: ignore[override]
        return self._test("$eq", value)

    def __ne__(self, value: object) -> Expr:  # type: ignore[override]
        return self._test("$ne", value)

    def __gt__(self, value: Any) -> Expr:
        return self._test("$gt", value)

    def __ge__(self, value: Any) -> Expr:
        return self._test("$gte", value)

    def __lt__(self, value: Any) -> Expr:
        return self._test("$lt", value)

    def __le__(self, value: Any) -> Expr:
        return self._test("$lte", value)

    def isin(self, values: Iterable[Any]) -> Expr:
        """Whether it is one of these values.

        Parameters
        ----------
        values : iterable
            At most 65,536.

        Returns
        -------
        Expr
        """
        if isinstance(values, str | bytes | Mapping):
            raise TypeError(f"expected several values, such as a list, got {type(values).__name__}")
        return self._test("$in", list(values))

    def glob(self, pattern: str) -> Expr:
        """Whether it is text that matches a pattern as a whole.

        Parameters
        ----------
        pattern : str
            `*` is any text, `?` any character, `[a-c]` and `[!a-c]` one that is or is not among these.

        Returns
        -------
        Expr
        """
        return self._test("$glob", pattern)

    def exists(self) -> Expr:
        """Whether there is anything at the path; null is something.

        Returns
        -------
        Expr
        """
        return self._test("$exists", True)

    def contains(self, value: Any) -> Expr:
        """Whether it is a list with this value in it, or text with this text in it.

        Parameters
        ----------
        value : object
            A JSON value.

        Returns
        -------
        Expr
        """
        return self._test("$contains", value)

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{self!r} is no filter yet: compare it with a value, or ask {self!r}.exists()")

    def __repr__(self) -> str:
        return f"field({self._path!r})"


def field(path: str) -> Field:
    """Begin a filter expression.

    Parameters
    ----------
    path : str
        A name in the metadata, or names with dots between them: `"author.name"`.

    Returns
    -------
    Field
        Compare it: `field("year") >= 2020`, `field("lang").isin(["en", "de"])`. A path that leads nowhere, or
        to a value of another type, makes every comparison false.
    """
    return Field(path)


def as_dict(where: Any) -> dict[str, Any]:
    """Write whatever says a filter in the language of dictionaries.

    Parameters
    ----------
    where : Expr or mapping
        A filter.

    Returns
    -------
    dict
        The same filter.

    Raises
    ------
    FilterError
        If it is anything else.
    """
    if isinstance(where, Expr):
        return where.to_dict()
    if isinstance(where, Mapping):
        return dict(where)
    hint = ""
    if isinstance(where, Field):
        hint = f"; compare {where!r} with a value"
    elif isinstance(where, bool):
        hint = '; combine expressions with & | ~, not with "and", "or", "not"'
    raise FilterError(
        f"filter, at the top: expected a dict or an expression, got {type(where).__name__}{hint}"
    )


def _joined(operator: str, left: Expr, right: Any) -> Expr:
    if not isinstance(right, Expr):
        raise TypeError(
            f"expected a filter on both sides, got {type(right).__name__}; compare it with a value first"
        )
    # a & b & c is one list, not a list in a list: filters are at most 64 deep.
    parts: list[Any] = []
    for side in (left, right):
        dictionary = side.to_dict()
        parts.extend(dictionary[operator] if list(dictionary) == [operator] else [dictionary])
    return Expr({operator: parts})


def _shown(dictionary: dict[str, Any]) -> str:
    """The expression that makes this dictionary."""
    ((name, value),) = dictionary.items()
    if name == "$not":
        return f"~({_shown(value)})"
    if name in ("$and", "$or"):
        return (" & " if name == "$and" else " | ").join(f"({_shown(part)})" for part in value)
    ((operator, operand),) = value.items()
    if operator == "$exists":
        return f"field({name!r}).exists()"
    if operator in _METHODS:
        return f"field({name!r}).{_METHODS[operator]}({operand!r})"
    return f"field({name!r}) {_SYMBOLS[operator]} {operand!r}"
