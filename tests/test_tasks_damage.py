"""Random damage: never anything but an `InputError`, and never a task with fewer rows."""

import csv
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pandas as pd
import pytest

from probing.errors import InputError
from probing.tasks import load_task

HEADER = ("split", "score", "sentence1", "sentence2")
ROWS = [
    (("train", "dev", "test")[row % 3], str(row % 6), f'a "first, one" {row} ünï', f"second {row}")
    for row in range(25)
]


def _tsv() -> bytes:
    return "".join("\t".join(row) + "\n" for row in (HEADER, *ROWS)).encode()


def _csv() -> bytes:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([HEADER, *ROWS])
    return stream.getvalue().encode()


def _jsonl() -> bytes:
    return "".join(json.dumps(dict(zip(HEADER, row, strict=True))) + "\n" for row in ROWS).encode()


def _parquet() -> bytes:
    stream = io.BytesIO()
    columns = zip(*ROWS, strict=True)
    pd.DataFrame(dict(zip(HEADER, columns, strict=True))).to_parquet(stream)
    return stream.getvalue()


def _conllu() -> bytes:
    rest = "\t_\tX\t_\t_\t0\troot\t_\t_\n"
    lines = (
        f"# sent_id = {row}\n1\tit{rest}2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_\n2\tdo{rest}"
        f"3\tn't{rest}3.1\tgo{rest}\n"
        for row in range(25)
    )
    return "".join(lines).encode()


GOOD: Final = {
    "tsv": _tsv(),
    "csv": _csv(),
    "jsonl": _jsonl(),
    "parquet": _parquet(),
    "conllu": _conllu(),
}


def _flip_bit(data: bytes, at: int, rng: random.Random) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _replace_byte(data: bytes, at: int, rng: random.Random) -> bytes:
    return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]


def _cut_off(data: bytes, at: int, rng: random.Random) -> bytes:  # noqa: ARG001
    return data[:at]


def _cut_out(data: bytes, at: int, rng: random.Random) -> bytes:
    return data[:at] + data[at + rng.randrange(1, 60) :]


def _repeat(data: bytes, at: int, rng: random.Random) -> bytes:
    return data[:at] + data[at : at + rng.randrange(1, 120)] + data[at:]


def _insert(data: bytes, at: int, rng: random.Random) -> bytes:
    strange = [b"\0", b"\t", b"\n", b"\r", b"\r\n", b'"', b",", b"\\", b"{", b"\xff", b"\xc2\x85"]
    return data[:at] + rng.choice(strange) + data[at:]


def _swap_delimiter(data: bytes, at: int, rng: random.Random) -> bytes:
    one, other = rng.sample([b"\t", b",", b"\n", b'"', b" "], 2)
    return data[:at] + data[at : at + 200].replace(one, other) + data[at + 200 :]


def _column(data: bytes, at: int, rng: random.Random) -> bytes:
    """Take a column out of every line, or put it in twice."""
    cells = [line.split(b"\t") for line in data.split(b"\n")]
    place, times = at % 4, rng.choice([0, 2])
    return b"\n".join(
        b"\t".join(cells[:place] + cells[place : place + 1] * times + cells[place + 1 :])
        for cells in cells
    )


DAMAGES: Final[tuple[Callable[[bytes, int, random.Random], bytes], ...]] = (
    _flip_bit,
    _replace_byte,
    _cut_off,
    _cut_out,
    _repeat,
    _insert,
    _swap_delimiter,
    _column,
)


def _dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - damage, not secrets


def _rows_of(data: bytes, suffix: str) -> int:
    """How many rows a damaged file should still give: its data lines that are not empty."""
    if suffix == "parquet":
        return len(ROWS)
    data = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    if suffix == "conllu":
        return sum(bool(block.strip(b"\n")) for block in data.split(b"\n\n"))
    lines = sum(bool(line) for line in data.split(b"\n"))
    return lines if suffix == "jsonl" else lines - 1


@pytest.mark.parametrize("suffix", GOOD)
def test_the_whole_file_is_good(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"good.{suffix}"
    path.write_bytes(GOOD[suffix])
    assert len(load_task(path, split="all")) == len(ROWS) == _rows_of(GOOD[suffix], suffix)


@pytest.mark.parametrize("seed", range(200))
def test_a_damaged_file_is_whole_or_refused(tmp_path: Path, seed: int) -> None:
    rng = _dice(seed)
    suffix = list(GOOD)[seed % len(GOOD)]
    data = GOOD[suffix]
    for _ in range(rng.choice([1, 1, 2])):
        data = rng.choice(DAMAGES)(data, rng.randrange(max(1, len(data) - 1)), rng)
        if not data:
            break
    path = tmp_path / f"damaged.{suffix}"
    path.write_bytes(data)
    try:
        task = load_task(path, split="all")
    except InputError as error:
        message = str(error)
        assert "\n" not in message
        assert path.name in message
    else:
        assert len(task) == _rows_of(data, suffix)


@pytest.mark.parametrize("seed", range(20))
def test_a_known_task_that_lost_rows_says_so(tmp_path: Path, seed: int) -> None:
    """A file cut off just behind a row is a good file: only the official size gives it away."""
    lines = ["split\tscore\tsentence1\tsentence2", *["test\t1\ta\tb"] * 1379]
    lost = _dice(seed).sample(range(1, len(lines)), k=1 + 45 * seed)
    path = tmp_path / "sts" / "stsb.tsv"
    path.parent.mkdir()
    kept = [line for place, line in enumerate(lines) if place not in set(lost)]
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")
    task = load_task("stsb", tmp_path)
    assert len(task) == 1379 - len(lost)
    assert f"{len(task):,} rows, the official split has 1,379" in task.remark
