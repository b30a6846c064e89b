"""Results as tables of other libraries.

The idea: a result knows its columns, and a table is made of columns; so each of these is one line, written
once.
"""

from __future__ import annotations

from typing import Any

from nearfield.optional import needed

__all__ = ["Frames"]


class Frames:
    """What can become a table; which columns it has stands with the class."""

    __slots__ = ()

    def _columns(self) -> dict[str, Any]:
        """Columns of equal length."""
        raise NotImplementedError

    def _plain_columns(self) -> dict[str, Any]:
        """The same for tables whose columns have one type each."""
        return self._columns()

    def to_pandas(self) -> Any:
        """Make a table with the columns that the class names.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return needed("pandas", "frames").DataFrame(self._columns())

    def to_polars(self) -> Any:
        """Make a table with the columns that the class names.

        Returns
        -------
        polars.DataFrame

        Raises
        ------
        ImportError
            If polars is not installed.
        """
        return needed("polars", "frames").DataFrame(self._plain_columns())

    def to_arrow(self) -> Any:
        """Make a table with the columns that the class names.

        Returns
        -------
        pyarrow.Table

        Raises
        ------
        ImportError
            If pyarrow is not installed.
        """
        return needed("pyarrow", "frames").table(self._plain_columns())
