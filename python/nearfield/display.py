"""Tables, for notebooks (HTML) and for terminals (aligned text).

The idea: an object says what it is at a glance, in the notebook's own colours. No style sheets, no scripts;
everything that is printed is escaped, because names and paths come from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

__all__ = [
    "bytes_text", "collection_html", "index_html", "metadata_cells", "number_text", "store_html",
    "table_html", "table_text",
]  # fmt: skip


def number_text(value: Any) -> str:
    """Write one cell: integers in groups of three, other numbers in four significant digits, None as a dash.

    Parameters
    ----------
    value : object
        What stands in the cell.

    Returns
    -------
    str
        Its text, not escaped.
    """
    if value is None:
        return "-"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int) or hasattr(value, "__index__"):
        return f"{int(value):,}"
    if isinstance(value, float) or hasattr(value, "__float__"):
        number = float(value)
        return f"{number:,.0f}" if 1000 <= abs(number) < 1e15 else f"{number:.4g}"
    return str(value)


def bytes_text(size: float) -> str:
    """Write a number of bytes in the largest binary unit that leaves a whole part: `1.50 MiB`.

    Parameters
    ----------
    size : float
        A number of bytes.

    Returns
    -------
    str
        The same size, for people.
    """
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.2f} {unit}"
        amount /= 1024
    return f"{amount:.2f} TiB"


def table_html(header: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> str:
    """Make an HTML table; the cells are written by `number_text` and escaped.

    Parameters
    ----------
    header : sequence of str
        The names of the columns; empty for a table without a head.
    rows : iterable of sequences
        The cells, row by row.
    caption : str, optional
        The line above the table.

    Returns
    -------
    str
        A `<table>` element.
    """
    parts = ["<table>"]
    if caption:
        parts.append(f'<caption style="text-align:left"><b>{escape(caption)}</b></caption>')
    if header:
        cells = "".join(f"<th>{escape(name)}</th>" for name in header)
        parts.append(f"<thead><tr>{cells}</tr></thead>")
    parts.append("<tbody>")
    for row in rows:
        cells = "".join(f"<td>{escape(number_text(cell))}</td>" for cell in row)
        parts.append(f"<tr>{cells}</tr>")
    parts.append("</tbody></table>")
    return "".join(parts)


def table_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Make a table for a terminal, its columns flush right.

    Parameters
    ----------
    header : sequence of str
        The names of the columns.
    rows : iterable of sequences
        The cells, row by row, written by `number_text`.

    Returns
    -------
    str
        Lines of equal length, without a newline at the end.
    """
    lines = [list(header), *([number_text(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )


def index_html(stats: Mapping[str, Any]) -> str:
    """Show an index in a notebook.

    Parameters
    ----------
    stats : mapping
        What `index.stats()` says, and under `"class"` the name of the class. Entries with the word
        `bytes` in their name are written as sizes, nested mappings as one row per entry.

    Returns
    -------
    str
        A `<table>` element.
    """
    return table_html((), _rows(stats), caption=str(stats.get("class", "Index")))


def store_html(stats: Mapping[str, Any]) -> str:
    """Show a store in a notebook.

    Parameters
    ----------
    stats : mapping
        What `store.stats()` says.

    Returns
    -------
    str
        Two `<table>` elements: the store, and its collections.
    """
    collections: Mapping[str, Mapping[str, Any]] = stats["collections"]
    whole = {name: value for name, value in stats.items() if name != "collections"}
    header = ["collection", "dim", "metric", "index", "codec", "rows", "memory"]
    rows = [
        [
            name,
            *(one[key] for key in ("dim", "metric", "index", "codec", "rows")),
            bytes_text(one["memory_bytes"]),
        ]
        for name, one in collections.items()
    ]
    return table_html((), _rows(whole), caption="Store") + table_html(header, rows)


def collection_html(stats: Mapping[str, Any], first: Sequence[tuple[Any, Mapping[str, Any]]]) -> str:
    """Show a collection in a notebook.

    Parameters
    ----------
    stats : mapping
        What `collection.stats()` says.
    first : sequence of tuples
        Key and metadata of the first rows.

    Returns
    -------
    str
        Two `<table>` elements: the collection, and its first rows.
    """
    names, cells = metadata_cells([metadata for _, metadata in first])
    rows = [[repr(key), *row] for (key, _), row in zip(first, cells, strict=True)]
    return table_html((), _rows(stats), caption="Collection") + table_html(["key", *names], rows)


def metadata_cells(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Lay metadata out in columns.

    Parameters
    ----------
    rows : sequence of mappings
        What each row says.

    Returns
    -------
    list of str, list of lists
        The first few names that come up, and a cell for each in every row, long ones shortened.
    """
    names = list(dict.fromkeys(name for metadata in rows for name in metadata))[:_COLUMNS]
    return names, [[_cell(metadata.get(name)) for name in names] for metadata in rows]


# Names of metadata that are shown, and letters of each value.
_COLUMNS, _LETTERS = 6, 60


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, float):
        return value
    text = str(value)  # whole numbers too: a year is no amount
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 3]}..."


def _rows(stats: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in stats.items():
        label = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _rows(value, prefix=f"{label} ")
        elif "bytes" in name.split("_") and isinstance(value, int | float):
            yield label, bytes_text(value)
        elif name != "class":
            yield label, value
