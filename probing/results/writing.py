"""Files that are complete or not there: written aside, synced to disk, renamed.

The temporary file is in the same folder, hidden, and named after the host and the process that
writes it, so that what a killed process left can be told from what a running one is writing.
"""

import contextlib
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from probing.errors import InputError

_TEMPORARY: Final = re.compile(r"\.(?P<host>[\w.-]*)\.(?P<process>\d+)\.[0-9a-f]+\.tmp")
_ABANDONED_SECONDS: Final = 3600.0


@contextlib.contextmanager
def no_empty_folder_left(folder: Path) -> Iterator[None]:
    """Remove in the end what the body made of ``folder`` and its parents and left empty."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    finally:
        for place in made:  # the innermost first
            with contextlib.suppress(OSError):
                place.rmdir()


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A temporary path for the body to write; it becomes ``path`` if the body ends well.

    Where the body fails, the temporary file is removed and ``path`` is as it was.

    Raises:
        InputError: The disk is full or cannot be written.
    """
    name = f".{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    temporary = path.with_name(name)
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error}): make room or choose another folder, then rerun "
            "the same command"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file of these parts, one after the other; see `written_aside`."""
    with written_aside(path) as temporary, temporary.open("wb") as stream:
        for part in parts:
            stream.write(part)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file; see `written_aside`."""
    with written_aside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def is_temporary(path: Path) -> bool:
    """Whether a file was made by `written_aside` and not yet renamed."""
    return _TEMPORARY.fullmatch(path.name) is not None


def remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left half-written; leave what a running one is writing."""
    for path in folder.glob(".*.tmp"):
        name = _TEMPORARY.fullmatch(path.name)
        if name is None:
            continue
        with contextlib.suppress(FileNotFoundError):
            is_old = time.time() - path.stat().st_mtime > _ABANDONED_SECONDS
            is_dead = name["host"] == socket.gethostname() and not _is_running(int(name["process"]))
            if is_old or is_dead:
                path.unlink()


def _is_running(process: int) -> bool:
    if os.name != "posix":
        return True  # signal 0 would end the process there
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
