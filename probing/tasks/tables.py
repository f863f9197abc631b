r"""Strict readers of tables: TSV, CSV, JSON lines and Parquet, each damage one clear line.

No row is ever skipped, joined or cut: a file is read whole or refused. In the text formats a row is
exactly one line, ended by ``\n`` or ``\r\n``; other characters that Unicode counts as line ends
(U+0085, U+2028) occur within real sentences and are left alone. In TSV nothing is quoted: a ``"``
is a character of the sentence.
"""

import bz2
import codecs
import csv
import gzip
import hashlib
import json
import lzma
import math
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from probing.errors import InputError

SPLIT_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "train": "train",
        "dev": "dev",
        "test": "test",
        "tr": "train",
        "va": "dev",
        "te": "test",
        "trial": "dev",
        "validation": "dev",
    }
)
"""Every accepted spelling of a split and the name used everywhere."""

_DECIMAL: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LONGEST_QUOTE: Final = 40
_BYTE_ORDER_MARK: Final = "\ufeff"


@dataclass(frozen=True)
class Table:
    """A table read from a file or the Hub: named columns of n cells each.

    ``columns`` maps a name to its n cells as read: ``str`` in TSV and CSV; JSON lines and Parquet
    also give numbers, booleans and None. ``positions`` has n entries: the line (or row, counted
    from 1) that each came from.
    """

    place: str
    """What error messages call the table: the path as the user gave it, or a Hub id."""
    columns: Mapping[str, tuple[object, ...]]
    positions: tuple[int, ...]
    unit: str
    """What ``positions`` counts: ``line`` or ``row``."""
    origin: str
    """Where the rows came from, as a task names it: a file with its SHA-256 or a Hub id."""

    def __len__(self) -> int:
        return len(self.positions)

    def with_column(self, name: str, cells: tuple[object, ...]) -> "Table":
        """The same table with one more column of n cells."""
        return replace(self, columns=MappingProxyType({**self.columns, name: cells}))

    def fail(self, row: int, found: str) -> NoReturn:
        """Raise the ``InputError`` that names the file and the line of ``row``."""
        raise InputError(f"{self.place}, {self.unit} {self.positions[row]}: {found}")

    def require(self, *names: str) -> None:
        """Check that the columns are there.

        Raises:
            InputError: naming those missing, those found and those expected.
        """
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise InputError(
                f"{self.place}: column {', '.join(missing)} is missing; found "
                f"{quote_all(self.columns)}, expected {', '.join(names)}"
            )

    def sentences(self, column: str, *, blanks: int = 0) -> tuple[str, ...]:
        """The column as n sentences, unchanged.

        Args:
            column: its name.
            blanks: how many sentences without a visible character the official file is known to
                have; these are let through.

        Raises:
            InputError: for a cell that is not text, and for blank sentences beyond ``blanks``.
        """
        self.require(column)
        blank_rows: list[int] = []
        texts: list[str] = []
        for row, cell in enumerate(self.columns[column]):
            if not isinstance(cell, str) and cell is not None:
                self.fail(row, f"{column} is {quote(cell)}, expected text")
            if not cell or not cell.strip():
                blank_rows.append(row)
            texts.append(cell or "")
        if len(blank_rows) > blanks:
            known = f" beyond the {blanks} known blank ones" if blanks else ""
            self.fail(blank_rows[0], f"{column} is blank{known}, expected a sentence")
        return tuple(texts)

    def labels(self, column: str) -> tuple[str, ...]:
        """The column as n labels; whole numbers and booleans are written out.

        Raises:
            InputError: for a blank label or a cell that cannot be one.
        """
        self.require(column)
        labels: list[str] = []
        for row, cell in enumerate(self.columns[column]):
            if cell is None or (isinstance(cell, str) and not cell.strip()):
                self.fail(row, f"{column} is empty, expected a label")
            if not isinstance(cell, str | int):
                self.fail(row, f"{column} is {quote(cell)}, expected text or a whole number")
            if isinstance(cell, str) and cell != cell.strip():
                self.fail(row, f"{column} is {quote(cell)}, with white space around it: remove it")
            labels.append(str(cell))
        return tuple(labels)

    def scores(self, column: str, score_range: tuple[float, float]) -> NDArray[np.float64]:
        """The column as scores, ``(n,)`` float64.

        Raises:
            InputError: for anything that is not a decimal number within ``score_range``.
        """
        self.require(column)
        lowest, highest = score_range
        scores = np.empty(len(self), dtype=np.float64)
        for row, cell in enumerate(self.columns[column]):
            if isinstance(cell, str) and _DECIMAL.fullmatch(cell):
                score = float(cell)
            elif isinstance(cell, int | float) and not isinstance(cell, bool):
                score = _as_float(cell)
            else:
                self.fail(row, f"{column} is {quote(cell)}, expected a number")
            if not lowest <= score <= highest:  # also true of NaN
                self.fail(
                    row, f"{column} is {quote(cell)}, expected a number in {lowest:g}–{highest:g}"
                )
            scores[row] = score
        return scores

    def range_of(self, column: str) -> tuple[float, float]:
        """The lowest and the highest number of a column.

        Raises:
            InputError: for anything that is not a finite decimal number.
        """
        largest = sys.float_info.max
        scores = self.scores(column, (-largest, largest))
        return float(scores.min()), float(scores.max())

    def looks_like_scores(self, column: str) -> bool:
        """Whether every cell is a number and at least one has a decimal point."""
        cells = self.columns[column]
        numbers = all(
            _DECIMAL.fullmatch(cell)
            if isinstance(cell, str)
            else isinstance(cell, int | float) and not isinstance(cell, bool)
            for cell in cells
        )
        return numbers and any(isinstance(cell, float) or "." in str(cell) for cell in cells)

    def splits(self, column: str = "split") -> tuple[str, ...]:
        """The column as n split names, each ``train``, ``dev`` or ``test``.

        Raises:
            InputError: for a name that is none of ``SPLIT_NAMES``.
        """
        self.require(column)
        splits: list[str] = []
        for row, cell in enumerate(self.columns[column]):
            split = SPLIT_NAMES.get(cell) if isinstance(cell, str) else None
            if split is None:
                self.fail(
                    row, f"{column} is {quote(cell)}, expected one of {', '.join(SPLIT_NAMES)}"
                )
            splits.append(split)
        return tuple(splits)


def quote(value: object) -> str:
    """The value for an error message: on one line, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


def quote_all(names: Sequence[str] | Mapping[str, object]) -> str:
    """Names found in a file, for an error message: each on one line and escaped."""
    shown = [quote(name)[1:-1] for name in names]
    return ", ".join(shown[:12]) + (f" and {len(shown) - 12} more" if len(shown) > 12 else "")


def _as_float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def read_bytes(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        InputError: if it is not there, is a folder, is empty, or may not be read.
    """
    if path.is_dir():
        raise InputError(f"{path}: found a folder, expected a file")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: could not be read: {error.strerror}") from error
    open_compressed = _COMPRESSED.get(path.suffix.lower())
    if open_compressed is not None:
        try:
            data = open_compressed(data)
        except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
            raise InputError(
                f"{path}: could not be decompressed ({error}): is it whole?"
            ) from error
    if not data:
        raise InputError(f"{path}: the file is empty")
    return data


def check_shipped(path: Path, expected: str) -> None:
    """Hold a file that the project ships against its SHA-256.

    Raises:
        InputError: if it is another.
    """
    found = hashlib.sha256(read_bytes(path)).hexdigest()
    if found != expected:
        raise InputError(
            f"{path}: SHA-256 is {found}, expected {expected}; the file that the project ships has "
            "been changed, install the project again"
        )


def format_suffix(path: Path) -> str:
    """The ending that tells the format: ``.tsv`` of ``A.TSV`` and of ``a.tsv.gz``."""
    inner = path.with_suffix("") if path.suffix.lower() in _COMPRESSED else path
    return inner.suffix.lower()


def read_lines(path: Path, data: bytes) -> list[str]:
    """The lines of a UTF-8 or marked UTF-16 text, without their ends or a byte order mark.

    Blank lines at the end of the file are dropped, blank lines elsewhere are kept.

    Raises:
        InputError: for broken UTF-8, a NUL, a carriage return within a line, or nothing but blanks.
    """
    try:
        # Excel writes "Unicode text" as UTF-16, which its first two bytes tell
        marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if marked else "utf-8")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {number}: byte {error.start} of the file "
            f"(0x{data[error.start]:02x}) is not UTF-8; save the file as UTF-8"
        ) from error
    text = text.removeprefix(_BYTE_ORDER_MARK)
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    for at, line in enumerate(lines, start=1):
        if "\0" in line:
            raise InputError(f"{path}, line {at}: found a NUL character, expected text")
        if "\r" in line:
            raise InputError(
                f"{path}, line {at}: found a carriage return within the line; "
                "end lines with \\n or \\r\\n"
            )
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise InputError(f"{path}: found nothing but blank lines")
    return lines


def _tsv_rows(path: Path, data: bytes) -> Iterator[tuple[int, list[object]]]:
    for number, line in enumerate(read_lines(path, data), start=1):
        yield number, list[object](line.split("\t"))


def _csv_rows(path: Path, data: bytes) -> Iterator[tuple[int, list[object]]]:
    """One row a line: a quoted line end is refused, for it mostly is a lost quotation mark."""
    for number, line in enumerate(read_lines(path, data), start=1):
        before = csv.field_size_limit(max(len(line), csv.field_size_limit()))
        try:
            rows = list(csv.reader([line], strict=True))
        except csv.Error as error:
            raise InputError(
                f"{path}, line {number}: not valid CSV ({error}); every row must be one line, and "
                'a " within a quoted field is written ""'
            ) from error
        finally:
            csv.field_size_limit(before)
        yield number, list[object](rows[0] if rows else [""])


def _jsonl_rows(path: Path, data: bytes) -> Iterator[tuple[int, list[object]]]:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        keys = [key for key, _ in items]
        if len(set(keys)) < len(keys):
            raise ValueError("a key stands twice")
        return dict(items)

    header: list[str] | None = None
    for number, line in enumerate(read_lines(path, data), start=1):
        try:
            found = json.loads(line, parse_constant=refuse, object_pairs_hook=pairs)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", str(error))
            raise InputError(f"{path}, line {number}: not valid JSON: {reason}") from error
        if not isinstance(found, dict):
            raise InputError(f"{path}, line {number}: found {quote(found)}, expected an object")
        if header is None:
            header = list(found)
            yield 0, list[object](header)
        if set(found) != set(header):
            raise InputError(
                f"{path}, line {number}: found the keys {quote_all(found)}, expected those of "
                f"line 1: {quote_all(header)}"
            )
        yield number, [found[key] for key in header]


def _parquet_rows(path: Path, data: bytes) -> Iterator[tuple[int, list[object]]]:
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        table = file.read()
        table.validate(full=True)
        columns = [column.to_pylist() for column in table.columns]
    except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError, KeyError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{path}: not a readable Parquet file: {reason}") from error
    if len(table) != file.metadata.num_rows:
        raise InputError(
            f"{path}: not a readable Parquet file: its footer promises {file.metadata.num_rows:,} "
            f"rows, its row groups hold {len(table):,}"
        )
    yield 0, list(table.column_names)
    for number, row in enumerate(zip(*columns, strict=True), start=1):
        yield number, list(row)


_COMPRESSED: Final[Mapping[str, Callable[[bytes], bytes]]] = MappingProxyType(
    {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}
)
_Reader = Callable[[Path, bytes], Iterator[tuple[int, list[object]]]]
_READERS: Final[Mapping[str, _Reader]] = MappingProxyType(
    {".tsv": _tsv_rows, ".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
)
TABLE_SUFFIXES: Final[tuple[str, ...]] = tuple(_READERS)
"""The endings by which a table file is recognised."""


def read_table(path: Path, *, header: Sequence[str] | None = None) -> Table:
    """Read a table file; its format is told by its ending, one of ``TABLE_SUFFIXES``.

    Args:
        path: the file.
        header: names of the columns of a file that has no header line, which is then read as TSV
            whatever its ending.

    Raises:
        InputError: for every damage, with the file and the line.
    """
    data = read_bytes(path)
    ending = format_suffix(path)
    if header is None and ending not in _READERS:
        raise InputError(f"{path}: unknown ending, expected one of {', '.join(TABLE_SUFFIXES)}")
    rows = _READERS[ending](path, data) if header is None else _tsv_rows(path, data)
    names = _header(path, next(rows)[1]) if header is None else list(header)
    positions: list[int] = []
    cells: list[list[object]] = []
    for number, row in rows:
        if len(row) != len(names):
            raise InputError(
                f"{path}, line {number}: found {len(row)} columns, expected {len(names)} "
                f"({quote_all(names)})"
            )
        for cell in row:
            if isinstance(cell, str):
                _check_text(path, number, cell)
        positions.append(number)
        cells.append(row)
    if not positions:
        raise InputError(f"{path}: found only a header line, expected rows below it")
    return Table(
        place=str(path),
        columns=MappingProxyType(dict(zip(names, zip(*cells, strict=True), strict=True))),
        positions=tuple(positions),
        unit="row" if ending == ".parquet" else "line",
        origin=f"file {path.name} sha256:{hashlib.sha256(data).hexdigest()}",
    )


def _header(path: Path, names: list[object]) -> list[str]:
    texts = [str(name) for name in names]
    twice = [name for name, count in Counter(texts).items() if count > 1]
    if twice:
        raise InputError(f"{path}: column {quote(twice[0])} stands twice in the header")
    return texts


def _check_text(path: Path, number: int, cell: str) -> None:
    """JSON can spell characters that no UTF-8 file holds; they would fail only in the tokenizer."""
    surrogate = not cell.isascii() and any("\ud800" <= char <= "\udfff" for char in cell)
    if surrogate or "\0" in cell:
        raise InputError(
            f"{path}, line {number}: found a NUL or half of a surrogate pair, expected text"
        )
