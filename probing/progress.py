"""How far a long piece of work is: told to a display, where one is set.

The command line sets one (`probing.commands.terminal`); without it nothing is shown, so that a
library call prints nothing of its own accord.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """Says that more of the work is done, and optionally what is being done now."""

    def __call__(self, done: int = 1, text: str | None = None) -> None:
        """Add `done` units to what is finished; `text` replaces the description."""


class Display(Protocol):
    """Shows pieces of work while they run."""

    def __call__(self, description: str, total: int | None) -> AbstractContextManager[Advance]:
        """Show one piece of work of `total` units, or of unknown size, until it is left."""


_displays: list[Display] = []


def set_display(display: Display | None) -> None:
    """Show all further work on `display`; None shows nothing."""
    _displays[:] = [] if display is None else [display]


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Advance]:
    """Tell the display, if any, that a piece of work begins, advances and ends.

    Args:
        description: what is being done, such as ``encoding with minilm``.
        total: units of work, or None where it is not known.
    """
    if _displays:
        with _displays[0](description, total) as advance:
            yield advance
    else:
        yield unseen


def unseen(done: int = 1, text: str | None = None) -> None:
    """An `Advance` that nobody sees."""
