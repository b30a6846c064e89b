"""Libraries that Nearfield can do without, imported when they are needed.

The idea: whoever lacks one learns at once how to get it, in the same words everywhere.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["missing", "needed"]


def needed(module: str, extra: str) -> Any:
    """Import a library, or say how to install it.

    Parameters
    ----------
    module : str
        What to import.
    extra : str
        The extra of Nearfield that brings it.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        If it is not installed; names the extra.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise missing(module.partition(".")[0], extra) from error


def missing(library: str, extra: str) -> ImportError:
    """The error that says how to install a library.

    Parameters
    ----------
    library : str
        Its name, as its users know it.
    extra : str
        The extra of Nearfield that brings it.

    Returns
    -------
    ImportError
        To be raised from the one that was caught.
    """
    return ImportError(f"this needs {library}, which is not installed: pip install 'nearfield[{extra}]'")
