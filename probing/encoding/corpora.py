"""Sentences of a corpus, one after another, from a file or a data set that need not fit memory."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from probing.errors import InputError

_TABLES = (".csv", ".tsv", ".jsonl")
"""Endings of files whose lines are not sentences."""
COLUMNS = ("sentence", "text")
"""Columns that are looked for in a table, unless one is named."""


def read_sentences(
    source: Path | str | Iterable[str | Mapping[str, Any]], column: str | None = None
) -> Iterator[str]:
    """The sentences of a corpus in order, read as they are asked for.

    Args:
        source: A text file (UTF-8, one sentence per line), a Parquet file (``.parquet``), or
            anything that gives strings or rows: a list, a generator, a ``datasets`` data set,
            streaming or not.
        column: Column of a table that has the sentences; by default ``sentence`` or ``text``.

    Raises:
        InputError: While reading: the file cannot be read, is no UTF-8 or no Parquet, or has no
            such column.
    """
    if isinstance(source, (str, Path)):
        path = Path(source)
        ending = path.suffix.lower()
        if ending == ".parquet":
            yield from _parquet(path, column)
        elif ending in _TABLES:
            raise InputError(
                f"{path} is a table: give it to probing extract, or its sentences as a list"
            )
        else:
            yield from _lines(path)
        return
    for row in source:
        yield row[_column(list(row), column, "a row")] if isinstance(row, Mapping) else row


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                    yield text.rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise InputError(
                        f"{path}, line {number}: found a byte that is not UTF-8 "
                        f"(0x{line[error.start]:02x}): save the file as UTF-8"
                    ) from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): expected a text file"
        ) from error


def _parquet(path: Path, column: str | None) -> Iterator[str]:
    try:
        with pq.ParquetFile(path) as table:
            name = _column(table.schema_arrow.names, column, str(path))
            for batch in table.iter_batches(columns=[name]):
                yield from batch.column(0).to_pylist()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}): expected a Parquet file") from error
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is not a Parquet file ({reason}): write it again") from error


def _column(names: list[str], column: str | None, where: str) -> str:
    wanted = COLUMNS if column is None else (column,)
    found = next((name for name in wanted if name in names), None)
    if found is None:
        raise InputError(
            f"{where} has the columns {', '.join(names)}: expected "
            f"{' or '.join(wanted)}; name the one with the sentences"
        )
    return found
