"""View id → rows that are read, gathered or computed only when they are asked for."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from probing.errors import InputError

Rows = TypeVar("Rows")


class LazyViews(Mapping[str, Rows]):
    """View id → rows of that view, made again each time: nothing is kept in memory."""

    def __init__(self, view_ids: Iterable[str], read: Callable[[str], Rows]) -> None:
        """``read`` gives the rows of any of ``view_ids``."""
        self._view_ids = dict.fromkeys(view_ids)
        self._read = read

    def __getitem__(self, view_id: str) -> Rows:
        """The rows of a view. Raises `InputError` for an unknown id."""
        if view_id not in self._view_ids:
            raise InputError(f"no view {view_id!r} here: expected one of {', '.join(self)}")
        return self._read(view_id)

    def __contains__(self, view_id: object) -> bool:
        return view_id in self._view_ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._view_ids)

    def __len__(self) -> int:
        return len(self._view_ids)
