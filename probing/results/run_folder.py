"""The run folder: written whole or not at all, and read back."""

import json
import logging
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pandas as pd
from pandas.api.types import is_numeric_dtype

from probing.errors import InputError
from probing.results.scores import COLUMNS
from probing.results.writing import no_empty_folder_left, write_text, written_aside

logger = logging.getLogger(__name__)

_LIBRARIES: Final = (
    "probing",
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
)

_FACTS: Final = ("encoders", "tasks")
"""What the manifest of every kind of run has."""
_NUMBERS: Final = ("value", "lower", "upper")


def describe_versions() -> dict[str, str]:
    """The installed version of each library that can change a number."""
    return {name: version(name) for name in _LIBRARIES}


def read_run(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The results table and the manifest of a run folder.

    Raises:
        InputError: The folder is not one, or one of an earlier version.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        table = pd.read_parquet(folder / "scores.parquet")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} is not a run folder ({error}): expected one written by probing run"
        ) from error
    lacking = [name for name in _FACTS if not isinstance(manifest, dict) or name not in manifest]
    if lacking:
        raise InputError(
            f"{folder}: manifest.json lacks {', '.join(lacking)}: expected as probing run wrote it"
        )
    lacking = [name for name in COLUMNS if name not in table]
    if lacking:
        raise InputError(
            f"{folder} lacks the columns {', '.join(lacking)}: an earlier version wrote it, rerun"
        )
    texts = [name for name in _NUMBERS if not is_numeric_dtype(table[name])]
    if texts:
        raise InputError(
            f"{folder}: the column {texts[0]} of scores.parquet holds {table[texts[0]].dtype}: "
            "expected numbers, as probing run wrote them"
        )
    return table, manifest


def write_run(folder: Path, scores: pd.DataFrame, manifest: dict[str, Any]) -> None:
    """Write ``scores.parquet``, ``scores.csv`` (NaN spelt out) and ``manifest.json``.

    Raises:
        InputError: The disk is full or cannot be written.
    """
    with written_aside(folder / "scores.parquet") as temporary:
        scores.to_parquet(temporary, index=False)
    with written_aside(folder / "scores.csv") as temporary:
        scores.to_csv(temporary, index=False, na_rep="NaN")
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    write_text(folder / "manifest.json", text + "\n")


@contextmanager
def new_run_folder(out: Path) -> Iterator[Path]:
    """A hidden folder beside ``out`` that becomes ``out`` when the body ends well.

    It is removed when the body does not end well. A run that stands at ``out`` is replaced.

    Raises:
        InputError: ``out`` is occupied by something that is not a run, is the folder that the
            user is in, or cannot be written.
    """
    named, out = out, _resolved(out)
    if Path.cwd().is_relative_to(out):
        raise InputError(f"--out {str(named)!r} is or holds the current folder: name a new folder")
    if _is_occupied(out):
        if not (out / "manifest.json").is_file():
            raise InputError(f"{out} exists and is not a run folder: choose another --out")
        logger.warning("%s holds a run: it is replaced when this one is finished", named)
    # Named before it is made: whatever interrupts from then on, it is removed.
    folder, replaced = (out.parent / f".{out.name}-{secrets.token_hex(8)}" for _ in range(2))
    with no_empty_folder_left(out.parent):
        try:
            try:
                folder.mkdir(parents=True)
            except OSError as error:
                raise InputError(
                    f"cannot write to {out} ({error.strerror}): choose another --out"
                ) from error
            with _log_file(folder / "run.log"):
                yield folder
            if out.exists():
                out.rename(replaced)
            folder.rename(out)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if out.exists():
                shutil.rmtree(replaced, ignore_errors=True)
            elif replaced.exists():
                replaced.rename(out)


def _resolved(out: Path) -> Path:
    """The place itself, for a link to a folder can be neither removed nor renamed over."""
    try:
        return out.resolve()
    except (OSError, RuntimeError) as error:  # a loop of links
        raise InputError(f"cannot read {out} ({error}): choose another --out") from error


def _is_occupied(out: Path) -> bool:
    try:
        return out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise InputError(f"cannot read {out} ({error.strerror}): choose another --out") from error


class _LogFile(logging.FileHandler):
    """A log that a full disk cuts short: the error that the user sees is that of the scores."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say nothing, where logging would print a traceback for each message."""


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Keep what the package logs meanwhile in a file of the run."""
    package = logging.getLogger("probing")
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    level = package.level
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.setLevel(level)
        package.removeHandler(handler)
        handler.close()
