"""Strict reading: every damage is one clear line that names the file and the place."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probing.errors import InputError
from probing.tasks import LabelledSentences, SentencePairs, load_task
from probing.tasks.tables import SPLIT_NAMES, read_table

HEADER = ("sentence1", "sentence2", "score")
ROWS = (("a cat sat", 'it "sat" there', "4.5"), ("one, two", "nine\u2028ten\x85 end", "0"))


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def tsv(*lines: Sequence[str], header: Sequence[str] = HEADER) -> str:
    return "".join("\t".join(line) + "\n" for line in (header, *lines))


def as_csv(rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    return stream.getvalue()


def as_jsonl(rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> str:
    return "".join(
        json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) + "\n" for row in rows
    )


def parquet(path: Path, **columns: object) -> Path:
    pd.DataFrame(columns).to_parquet(path)
    return path


def error_of(path: Path, **options: str) -> str:
    with pytest.raises(InputError) as caught:
        load_task(path, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


@pytest.mark.parametrize("suffix", ["tsv", "csv", "jsonl", "parquet"])
def test_the_four_formats_give_the_same_task(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pairs.{suffix}"
    if suffix == "parquet":
        first, second, score = zip(*ROWS, strict=True)
        parquet(path, sentence1=first, sentence2=second, score=[float(s) for s in score])
    else:
        write(path, {"tsv": tsv(*ROWS), "csv": as_csv(ROWS), "jsonl": as_jsonl(ROWS)}[suffix])
    task = load_task(path)
    assert isinstance(task, SentencePairs)
    assert task.sentences1 == ("a cat sat", "one, two")
    assert task.sentences2 == ('it "sat" there', "nine\u2028ten\x85 end")
    assert task.scores.tolist() == [4.5, 0.0]
    assert task.scores.dtype == np.float64
    assert (task.name, task.split, task.subsets) == (path.name, "all", None)
    assert task.origin.startswith(f"file {path.name} sha256:")
    assert str(tmp_path) not in task.origin


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.removesuffix("\n"),
        lambda text: text + "\n\n",
        lambda text: text.replace("a cat sat", "a cat sat " * 30_000),
    ],
    ids=["byte order mark", "CRLF", "no last line end", "blank lines at the end", "long field"],
)
@pytest.mark.parametrize("suffix", ["tsv", "csv", "jsonl"])
def test_harmless_differences_change_nothing(
    tmp_path: Path, suffix: str, change: Callable[[str], str]
) -> None:
    good = {"tsv": tsv(*ROWS), "csv": as_csv(ROWS), "jsonl": as_jsonl(ROWS)}[suffix]
    task = load_task(write(tmp_path / f"pairs.{suffix}", change(good)))
    assert isinstance(task, SentencePairs)
    assert [" ".join(s.split()[:3]) for s in task.sentences1] == ["a cat sat", "one, two"]
    assert task.sentences2 == ('it "sat" there', "nine\u2028ten\x85 end")


def test_reading_a_long_csv_field_leaves_the_global_limit_alone(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    load_task(write(tmp_path / "f.csv", as_csv([("a" * 200_000, "b", "1")])))
    assert csv.field_size_limit() == before


DAMAGES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "the file is empty"),
    "blank": ("\n\n", "nothing but blank lines"),
    "only a header": (tsv(), "found only a header line"),
    "missing column": (tsv(("a", "b"), header=HEADER[:2]), "expected sentence1, sentence2, score"),
    "one column twice": (tsv(header=(*HEADER, "score")), "column 'score' stands twice"),
    "short row": (tsv(*ROWS, ("a", "b")), "line 4: found 2 columns, expected 3"),
    "long row": (tsv(("a", "b", "1", "c"), *ROWS), "line 2: found 4 columns, expected 3"),
    "blank line": (tsv(ROWS[0]) + "\n" + "\t".join(ROWS[1]), "line 3: found 1 columns"),
    "broken UTF-8": (tsv(*ROWS).encode() + b"a\xff", "line 4: byte 84 of the file (0xff)"),
    "broken UTF-8 after a mark": (
        b"\xef\xbb\xbf" + tsv(*ROWS).encode() + b"a\xff",
        "line 4: byte 87 of the file (0xff)",
    ),
    "UTF-16 unmarked": (tsv(*ROWS).encode("utf-16-le"), "line 3: byte 144 of the file"),
    "NUL": (tsv(*ROWS).replace("cat", "c\0t"), "line 2: found a NUL"),
    "carriage return": (tsv(*ROWS).replace("cat", "c\rt"), "line 2: found a carriage return"),
    "old Mac line ends": (tsv(*ROWS).replace("\n", "\r"), "line 1: found a carriage return"),
    "word as score": (tsv(("a", "b", "high")), "line 2: score is 'high', expected a number"),
    "no score": (tsv(("a", "b", "")), "line 2: score is '', expected a number"),
    "NaN": (tsv(("a", "b", "nan")), "line 2: score is 'nan', expected a number"),
    "infinity": (tsv(("a", "b", "inf")), "line 2: score is 'inf', expected a number"),
    "huge score": (tsv(("a", "b", "1e999")), "expected a number in 0–5"),
    "underscored score": (tsv(("a", "b", "1_0")), "score is '1_0', expected a number"),
    "foreign digit": (tsv(("a", "b", "\u0663")), "expected a number"),
    "score too high": (tsv(*ROWS, ("a", "b", "5.1")), "line 4: score is '5.1', expected a number"),
    "score too low": (tsv(*ROWS, ("a", "b", "-1")), "line 4: score is '-1', expected a number in"),
    "empty sentence": (tsv(("", "b", "1")), "line 2: sentence1 is blank"),
    "blank sentence": (tsv(("a", " \u00a0", "1")), "line 2: sentence2 is blank"),
    "empty subset": (tsv(("a", "b", "1", ""), header=(*HEADER, "subset")), "subset is empty"),
    "unknown split": (
        tsv(("a", "b", "1", "tst"), header=(*HEADER, "split")),
        "line 2: split is 'tst', expected one of train, dev, test",
    ),
    "no test rows": (
        tsv(("a", "b", "1", "dev"), header=(*HEADER, "split")),
        "no rows of split 'test'; found dev, or ask for all",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_of_a_tsv_is_one_clear_line(tmp_path: Path, damage: str) -> None:
    content, expected = DAMAGES[damage]
    assert expected in error_of(write(tmp_path / "pairs.tsv", content))


def test_columns_that_fit_no_task_are_listed_with_those_that_would(tmp_path: Path) -> None:
    message = error_of(write(tmp_path / "f.tsv", tsv(("a", "b"), header=("text", "class"))))
    assert "found the columns text, class" in message
    for accepted in ("sentence1, sentence2, score[, subset][, split]", "sentence, label[, split]"):
        assert accepted in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (as_csv(ROWS) + '"a,b,1\n', "line 4: not valid CSV (unexpected end of data)"),
        (as_csv(ROWS) + '"a"b,c,1\n', "line 4: not valid CSV (',' expected after"),
        (as_csv([("a\nb", "c", "1")]), "line 2: not valid CSV"),
        (as_csv(ROWS) + "a,b\n", "line 4: found 2 columns, expected 3"),
    ],
    ids=["quote not closed", "text behind a quote", "line end within a field", "ragged"],
)
def test_every_damage_of_a_csv_is_one_clear_line(
    tmp_path: Path, content: str, expected: str
) -> None:
    assert expected in error_of(write(tmp_path / "pairs.csv", content))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"sentence1": "a"', "not valid JSON"),
        ('["a", "b", 1]', "expected an object"),
        ('{"sentence1": "a", "sentence2": "b"}', "found the keys sentence1, sentence2, expected"),
        ('{"sentence1": "a", "sentence1": "b"}', "not valid JSON: a key stands twice"),
        ('{"sentence1": "a", "sentence2": "b", "score": NaN}', "not valid JSON: NaN is not JSON"),
        ('{"sentence1": "a", "sentence2": "b", "score": true}', "score is True, expected a number"),
        ('{"sentence1": "a", "sentence2": "b", "score": null}', "score is None, expected a number"),
        ('{"sentence1": "a", "sentence2": 7, "score": 1}', "sentence2 is 7, expected text"),
        ('{"sentence1": null, "sentence2": "b", "score": 1}', "sentence1 is blank"),
        ('{"sentence1": "a", "sentence2": "b", "score": 1e400}', "expected a number in 0–5"),
        (
            '{"sentence1": "a", "sentence2": "b", "score": 1' + "0" * 400 + "}",
            "expected a number in 0–5",
        ),
        ('{"sentence1": "a", "sentence2": "\\ud800", "score": 1}', "half of a surrogate pair"),
        ('{"sentence1": "a", "sentence2": "\\u0000", "score": 1}', "found a NUL"),
        ("[" * 100_000, "not valid JSON"),
        ('{"score": ' + "9" * 5000 + "}", "not valid JSON"),
        ("", "line 3: not valid JSON"),
    ],
)
def test_every_damage_of_json_lines_is_one_clear_line(
    tmp_path: Path, line: str, expected: str
) -> None:
    good = as_jsonl(ROWS)
    message = error_of(write(tmp_path / "pairs.jsonl", f"{good}{line}\n{good}"))
    assert expected in message
    assert "line 3" in message


def test_a_parquet_file_that_is_none_or_is_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    assert "not a readable Parquet file" in error_of(write(path, "PAR1 is how it would begin"))
    parquet(path, sentence=["a", "b"], label=[0, 1])
    whole = path.read_bytes()
    assert "not a readable Parquet file" in error_of(write(path, whole[: len(whole) // 2]))


def test_a_parquet_file_never_loses_rows_to_a_flipped_bit(tmp_path: Path) -> None:
    path = parquet(tmp_path / "f.parquet", sentence=["a", "b", "c"], label=["x", "y", "x"])
    whole = path.read_bytes()
    checked = 0
    for place in range(len(whole) - int.from_bytes(whole[-8:-4], "little") - 8, len(whole) - 8):
        flipped = bytearray(whole)
        flipped[place] ^= 2  # a row count is stored doubled, so this is one row more or less
        try:
            groups = pq.ParquetFile(pa.BufferReader(bytes(flipped))).metadata
            promised = {groups.num_rows, groups.row_group(0).num_rows}
        except (OSError, ValueError):
            continue
        if promised != {3}:
            assert "not a readable Parquet file" in error_of(write(path, bytes(flipped)))
            checked += 1
    assert checked >= 2


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"sentence": ["a", None], "label": [0, 1]}, "row 2: sentence is blank"),
        ({"sentence": ["a", "b"], "label": [0.5, 1.0]}, "row 1: label is 0.5, expected text or"),
        ({"sentence": ["a", "b"], "label": [["x"], ["y"]]}, "label is ['x'], expected text or"),
        ({"sentence": ["a", "b"], "label": ["x", None]}, "row 2: label is empty"),
        ({"sentence": [], "label": []}, "found only a header"),
    ],
)
def test_every_damage_of_a_parquet_column_names_the_row(
    tmp_path: Path, columns: dict[str, list[object]], expected: str
) -> None:
    assert expected in error_of(parquet(tmp_path / "labelled.parquet", **columns))


def test_a_folder_a_missing_file_and_an_unknown_ending_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "folder.tsv").mkdir()
    assert "found a folder, expected a file" in error_of(tmp_path / "folder.tsv")
    assert "no such file" in error_of(tmp_path / "absent.tsv")
    assert "unknown ending" in error_of(write(tmp_path / "f.txt", "a"))


def test_labels_and_splits_of_an_own_file(tmp_path: Path) -> None:
    names = list(SPLIT_NAMES)
    content = tsv(
        *((f"sentence {name}", "yes", name) for name in names),
        header=("sentence", "label", "split"),
    )
    task = load_task(write(tmp_path / "f.tsv", content))
    assert isinstance(task, LabelledSentences)
    assert task.splits == tuple(SPLIT_NAMES.values())
    dev = load_task(tmp_path / "f.tsv", split="dev")
    assert isinstance(dev, LabelledSentences)
    assert dev.sentences == ("sentence dev", "sentence va", "sentence trial", "sentence validation")
    assert "label is empty" in error_of(
        write(tmp_path / "g.tsv", tsv(("a", " "), header=("sentence", "label")))
    )


def test_own_file_without_splits_and_with_pairs(tmp_path: Path) -> None:
    content = tsv(("a", "b", "1"), ("c", "d", "0"), header=("sentence1", "sentence2", "label"))
    task = load_task(write(tmp_path / "f.tsv", content))
    assert isinstance(task, LabelledSentences)
    assert (task.sentences, task.sentences2) == (("a", "c"), ("b", "d"))
    assert task.splits == ("", "")
    assert "no rows of split 'test'; found no split column" in error_of(
        tmp_path / "f.tsv", split="test"
    )


_CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\t\r\n"), min_size=1).filter(
    lambda cell: bool(cell.strip())
)
_PAIRS = st.lists(st.tuples(_CELL, _CELL, st.floats(0, 5).map(repr)), min_size=1, max_size=5)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=_PAIRS, suffix=st.sampled_from(["tsv", "csv", "jsonl"]))
def test_what_is_written_is_read_back(
    tmp_path: Path, rows: list[tuple[str, str, str]], suffix: str
) -> None:
    content = {"tsv": tsv(*rows), "csv": as_csv(rows), "jsonl": as_jsonl(rows)}[suffix]
    task = load_task(write(tmp_path / f"pairs.{suffix}", content))
    assert isinstance(task, SentencePairs)
    read = list(zip(task.sentences1, task.sentences2, map(repr, task.scores.tolist()), strict=True))
    assert read == rows


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), suffix=st.sampled_from(["tsv", "csv", "jsonl", "parquet"]))
def test_any_bytes_are_a_table_or_an_input_error(
    tmp_path: Path, content: bytes, suffix: str
) -> None:
    path = write(tmp_path / f"any.{suffix}", content)
    try:
        table = read_table(path)
    except InputError as error:
        assert str(path) in str(error)
    else:
        assert len(table) > 0
