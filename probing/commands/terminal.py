"""How the command line shows work that takes long: a bar on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from probing.progress import Advance

_SHORT: Final = 500
"""Units of work too few for a bar."""


@contextmanager
def bar(description: str, total: int | None) -> Iterator[Advance]:
    """A bar that goes when the work ends; nothing where standard error is no terminal."""
    console = Console(stderr=True)
    silent = not console.is_terminal or (total is not None and total < _SHORT)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=silent,
    ) as live:
        task = live.add_task(description, total=total)

        def advance(done: int = 1, text: str | None = None) -> None:
            live.update(task, advance=done, description=text or description)

        yield advance
