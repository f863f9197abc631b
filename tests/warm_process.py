"""Scripts and commands in processes of their own, without the time that imports take.

Importing PyTorch, Transformers and scikit-learn takes most of a small command. Here a server
imports them once, and each process is forked from it: with its own folder, environment, arguments
and standard streams, and with an exit code, as a shell would start it. What is about starting
Python itself (import time, signals while it starts) is tested by `subprocess`.
"""

import contextlib
import multiprocessing
import os
import runpy
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from subprocess import CompletedProcess

PRELOADED = (
    "probing.cause.continuation",
    "probing.commands.main",
    "probing.encoding.extraction",
    "probing.pretraining.training",
    "probing.reporting.report",
    "probing.study.study",
    "transformers.modeling_utils",
    "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert",
)
SECONDS = 600.0


def forked() -> ForkServerContext:
    """The context of processes that have all modules of `PRELOADED`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def started(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    out: Path | None = Path(os.devnull),
    error: Path = Path(os.devnull),
) -> ForkServerProcess:
    """A process at work.

    Args:
        command: ``probing`` or a script, and its arguments.
        folder: Where it works; by default here.
        environment: All of it; by default that of this process.
        out: File of its standard output; None is a pipe that nobody reads.
        error: File of its standard error.
    """
    given = dict(os.environ if environment is None else environment)
    arguments = (list(command), folder or Path.cwd(), given, (out, error))
    process = forked().Process(target=_execute, args=arguments)
    process.start()
    return process


def completed(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    is_read: bool = True,
) -> "CompletedProcess[str]":
    """A process at its end: its exit code and all that it wrote, where its output is read."""
    with tempfile.TemporaryDirectory() as kept:
        out, error = Path(kept, "out"), Path(kept, "error")
        out.touch()
        process = started(
            command,
            folder=folder,
            environment=environment,
            out=out if is_read else None,
            error=error,
        )
        process.join(SECONDS)
        process.kill()  # one that has ended is left as it is
        process.join()
        said = [path.read_text(encoding="utf-8", errors="replace") for path in (out, error)]
    assert process.exitcode is not None
    return CompletedProcess(list(command), process.exitcode, *said)


def _execute(
    command: list[str],
    folder: Path,
    environment: dict[str, str],
    streams: tuple[Path | None, Path],
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    encoding, _, errors = environment.get("PYTHONIOENCODING", "utf-8").partition(":")
    for name, path in zip(("stdout", "stderr"), streams, strict=True):
        target: Path | int = _pipe_that_nobody_reads() if path is None else path
        stream = open(target, "w", encoding=encoding, errors=errors or None, buffering=1)  # noqa: PTH123, SIM115
        os.dup2(stream.fileno(), getattr(sys, name).fileno())
        setattr(sys, name, stream)
    sys.argv = command
    code: object = 0
    try:
        if command[0] == "probing":
            runpy.run_module("probing", run_name="__main__")
        else:
            sys.path.insert(0, str(folder))
            runpy.run_path(command[0], run_name="__main__")
    except SystemExit as stopped:
        code = stopped.code or 0
    except BaseException:  # as Python ends a script: traceback and exit code 1
        traceback.print_exc()
        code = 1
    if not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _pipe_that_nobody_reads() -> int:
    read, written = os.pipe()
    os.close(read)
    return written
