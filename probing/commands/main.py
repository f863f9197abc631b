"""The command line: ``probing``, its commands, and how errors reach the terminal."""

import errno
import logging
import os
import signal
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.logging import RichHandler

from probing.commands.cause import cause_command
from probing.commands.choose import choose_command
from probing.commands.compare import compare_command, verify_command
from probing.commands.extract import cache_app, extract_command
from probing.commands.finetune import finetune_command
from probing.commands.inspect import inspect_command
from probing.commands.lists import models_command, tasks_command
from probing.commands.pretrain import export_command, pretrain_command
from probing.commands.run import report_command, run_command
from probing.commands.terminal import bar, replace_what_cannot_be_shown
from probing.errors import InputError
from probing.progress import set_display

_INTERRUPTED = 130
"""Exit code after Ctrl-C."""
_REMARKS = "probing.tasks.official"
"""Who logs the remarks on tasks, which are printed under the results."""

app = typer.Typer(
    help="What do BERT's layers and its pooler_output know about a sentence?",
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("run")(run_command)
app.command("choose")(choose_command)
app.command("report")(report_command)
app.command("compare")(compare_command)
app.command("verify")(verify_command)
app.command("extract")(extract_command)
app.command("cause")(cause_command)
app.command("pretrain")(pretrain_command)
app.command("export")(export_command)
app.command("finetune")(finetune_command)
app.command("inspect")(inspect_command)
app.command("tasks")(tasks_command)
app.command("models")(models_command)
app.add_typer(cache_app, name="cache")


def _print_version(asked: bool) -> None:  # noqa: FBT001 - as typer calls it
    if asked:
        typer.echo(f"probing {metadata.version('probing')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Say more of what is done, such as how passes run.")
    ] = False,
) -> None:
    del version  # told by its callback
    if verbose:
        logging.getLogger("probing").setLevel(logging.INFO)
        for handler in logging.getLogger().handlers:
            handler.setLevel(logging.INFO)


def main() -> None:
    """Entry point: one line and exit code 2 for what the user can mend, never a traceback."""
    replace_what_cannot_be_shown()
    handler = RichHandler(
        console=Console(stderr=True), level=logging.WARNING, show_time=False, show_path=False
    )
    handler.addFilter(_is_news())
    logging.basicConfig(format="%(message)s", handlers=[handler])
    set_display(bar)
    arguments = sys.argv[1:] or ["--help"]
    # a scheduler's request to stop tidies up as Ctrl-C does
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _check_endpoint()
        code = app(arguments, prog_name="probing", standalone_mode=False)
    except InputError as error:
        _fail(str(error), code=2)
    except typer.TyperException as error:  # an option that does not exist, a value it cannot have
        context = getattr(error, "ctx", None)
        command = "probing" if context is None else context.command_path
        found = error.format_message() if isinstance(error, typer.BadParameter) else str(error)
        found = found.replace("Value error, ", "").rstrip(".")  # typer's own preface
        _fail(f"{found}; see {command} --help", code=2)
    except Exception as error:
        if "PROBING_DEBUG" in os.environ:
            raise
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            _fail(f"{error.strerror}: make room, then rerun the same command", code=2)
        _fail(
            f"internal error, {type(error).__name__}: {error}. Set PROBING_DEBUG=1 to see where, "
            "and report it",
            code=1,
        )
    if code == _INTERRUPTED:
        _fail("interrupted; what was begun was not written", code=code)
    raise SystemExit(code or 0)


def _check_endpoint() -> None:
    """Some addresses are such that the Hub's client cannot even be imported."""
    endpoint = os.environ.get("HF_ENDPOINT", "")
    try:
        urlsplit(endpoint)
    except ValueError as error:
        raise InputError(
            f"HF_ENDPOINT is {endpoint!r}, which is not an address: expected https://…"
        ) from error


def _is_news() -> Callable[[logging.LogRecord], bool]:
    """Whether a message is for the terminal: not said before, nor told with the results."""
    seen: set[str] = set()

    def is_news(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if message in seen or record.name == _REMARKS:
            return False
        seen.add(message)
        return True

    return is_news


def _fail(message: str, *, code: int) -> None:
    print(f"probing: {' '.join(message.split())}", file=sys.stderr)  # one line, whatever it quotes
    raise SystemExit(code)
