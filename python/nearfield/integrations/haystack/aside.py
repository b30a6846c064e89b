"""Every method once more, for coroutines.

The idea: Nearfield lets go of the interpreter while it works, so a call on another thread stops nobody, and a
twin needs no code of its own.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

__all__ = ["Aside"]

_TWINS = (
    "count_documents", "count_documents_by_filter", "count_unique_metadata_by_filter", "delete_all_documents",
    "delete_by_filter", "delete_documents", "embedding_retrieval", "filter_documents",
    "get_metadata_field_min_max", "get_metadata_field_unique_values", "get_metadata_fields_info",
    "update_by_filter", "write_documents",
)  # fmt: skip


class Aside:
    """Gives a class `name_async` for each of its methods `name`."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in _TWINS:
            setattr(cls, f"{name}_async", _twin(getattr(cls, name)))


def _twin(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(method, self, *args, **kwargs)

    twin.__name__ = f"{method.__name__}_async"
    twin.__doc__ = f"`{method.__name__}`, on another thread."
    return twin
