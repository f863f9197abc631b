"""How the command line shows work that takes long: a bar on standard error."""

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from probing.errors import InputError
from probing.progress import Advance

WRITTEN_BUT_NOT_SHOWN: Final = 3
"""Exit code of a run whose scores are on disk, but whose report or tables failed."""

_PIPED_WIDTH: Final = 120
"""Columns of a table that goes to a file or a pipe, where nothing wraps."""

_SHORT: Final = 500
"""Units of work too few for a bar."""


def wide_console() -> Console:
    """Standard output for tables."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _PIPED_WIDTH)
    return console


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


@contextmanager
def kept(folder: Path) -> Iterator[None]:
    """What is inside shows a finished run; where it fails, one line says that the run is kept."""
    try:
        yield
        sys.stdout.flush()
    except (OSError, UnicodeError, InputError, SystemExit) as error:
        if isinstance(error, BrokenPipeError | SystemExit):  # rich exits where a pipe is closed
            # what is left in the buffer would fail again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            reason = "the output was closed"
        else:
            cause = (error.__cause__ if isinstance(error, InputError) else None) or error
            reason = getattr(cause, "strerror", None) or str(cause)
        print(
            f"probing: the scores are in {folder}, but showing them failed ({reason}); run probing "
            f"report {folder} to write the report",
            file=sys.stderr,
        )
        raise typer.Exit(WRITTEN_BUT_NOT_SHOWN) from None


_IN_ASCII: Final = {
    "\N{NO-BREAK SPACE}": " ",
    "−": "-",
    "–": "-",
    "—": "-",
    "×": "x",
    "†": "*",
    "→": ">",
    "…": "~",
}
"""As wide as what they stand for, so that tables keep their columns."""


def replace_what_cannot_be_shown() -> None:
    """Let a terminal or pipe that is not UTF-8 get what it can show: a minus sign stays a sign."""
    codecs.register_error("probing", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="probing")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(character, "?") for character in lost), error.end
