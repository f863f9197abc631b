"""Files of other systems and libraries: read rightly or refused, alike for tasks and extract."""

import bz2
import gzip
import json
import lzma
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from probing.commands.extract import _sentences
from probing.commands.main import main
from probing.encoding.corpora import read_sentences
from probing.encoding.encoder import load_encoder
from probing.errors import InputError
from probing.reporting.run import Run
from probing.study.study import Study
from probing.tasks import LabelledSentences, SentencePairs, load_task
from tests.warm_process import completed

PAIRS = [
    {"sentence1": "A plane.", "sentence2": "An air plane.", "label": 5.0, "idx": 0},
    {"sentence1": "A man plays.", "sentence2": "A man is playing.", "label": 3.8, "idx": 1},
    {"sentence1": "A man eats.", "sentence2": "A cat runs.", "label": 0.0, "idx": 2},
]


def write(rows: list[dict[str, object]], folder: Path, name: str) -> dict[str, Path]:
    frame = pd.DataFrame(rows)
    paths = {ending: folder / f"{name}.{ending}" for ending in ("csv", "tsv", "jsonl", "parquet")}
    frame.to_csv(paths["csv"], index=False)
    frame.to_csv(paths["tsv"], index=False, sep="\t")
    frame.to_json(paths["jsonl"], orient="records", lines=True)
    frame.to_parquet(paths["parquet"], index=False)
    return paths


def test_a_label_with_decimals_is_a_score_in_every_format(tmp_path: Path) -> None:
    for path in write(PAIRS, tmp_path, "stsb").values():
        task = load_task(path)
        assert isinstance(task, SentencePairs), path
        assert task.scores.tolist() == [5.0, 3.8, 0.0]


def test_a_label_of_whole_numbers_is_a_class_in_every_format(tmp_path: Path) -> None:
    rows = [{**row, "label": int(row["label"] > 1)} for row in PAIRS]  # type: ignore[operator]
    for path in write(rows, tmp_path, "mrpc").values():
        task = load_task(path)
        assert isinstance(task, LabelledSentences), path
        assert task.labels == ("1", "1", "0")


def test_a_score_range_of_ones_own(tmp_path: Path) -> None:
    rows = [{**row, "score": 7 - row["idx"]} for row in PAIRS]  # type: ignore[operator]
    path = write(rows, tmp_path, "seven")["tsv"]
    with pytest.raises(InputError, match="expected a number in 0–5"):
        load_task(path)
    for score_range in ((1.0, 7.0), None):
        task = load_task(path, score_range=score_range)
        assert isinstance(task, SentencePairs)
        assert task.scores.tolist() == [7, 6, 5]
        assert task.score_range == (score_range or (5.0, 7.0))
    with pytest.raises(InputError, match="expected a number in 0–6"):
        load_task(path, score_range=(0.0, 6.0))


def test_a_label_with_a_space_around_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ls.tsv"
    path.write_text("sentence\tlabel\na\tpos\nb\tpos \nc\t neg\nd\tneg\n")
    with pytest.raises(InputError, match=r"line 3: label is 'pos ', with white space around it"):
        load_task(path)


def test_a_treebank_without_its_words_is_refused(tmp_path: Path) -> None:
    line = "{}\t{}\t_\tNOUN\t_\t_\t0\troot\t_\t_\n"
    path = tmp_path / "words.conllu"
    path.write_text("".join(line.format(n, "_") for n in (1, 2, 3)) + "\n")
    with pytest.raises(InputError, match="the form of 3 of 3 words is _"):
        load_task(path)
    path.write_text("".join(line.format(n, form) for n, form in enumerate("_ab", 1)) + "\n")
    assert len(load_task(path)) == 1


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("upper", [False, True])
def test_tables_given_to_extract_are_tables(tmp_path: Path, ending: str, *, upper: bool) -> None:
    rows: list[dict[str, object]] = [
        {"sentence": "A cat, asleep.", "label": 1},
        {"sentence": "A dog barks.", "label": 0},
    ]
    path = write(rows, tmp_path, "s")[ending]
    if upper:
        path = path.rename(path.with_name("S." + ending.upper()))
    assert list(_sentences(path, None)) == ["A cat, asleep.", "A dog barks."]
    with pytest.raises(InputError, match="title"):
        list(_sentences(path, "title"))
    if ending != "parquet":
        with pytest.raises(InputError, match="is a table"):
            list(read_sentences(path))


@pytest.mark.parametrize(
    ("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_compressed_files_by_their_ending(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    path = write(PAIRS, tmp_path, "stsb")["tsv"]
    packed = tmp_path / f"packed.tsv.{ending}"
    packed.write_bytes(pack(path.read_bytes()))
    assert load_task(packed).scores.tolist() == [5.0, 3.8, 0.0]  # type: ignore[union-attr]
    text = tmp_path / f"plain.txt.{ending}"
    text.write_bytes(pack("a cat\nein Hündchen\n".encode()))
    assert list(_sentences(text, None)) == ["a cat", "ein Hündchen"]
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(InputError, match="could not be decompressed"):
        load_task(packed)


def test_marks_and_encodings_of_other_systems(tmp_path: Path) -> None:
    plain, marked = tmp_path / "plain.txt", tmp_path / "marked.txt"
    plain.write_text("the cat sat\na dog\n", encoding="utf-8")
    marked.write_text("the cat sat\na dog\n", encoding="utf-8-sig")
    assert list(read_sentences(plain)) == list(read_sentences(marked))
    table = "sentence\tlabel\nein Hündchen\t1\nno\t0\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path = tmp_path / f"{encoding}.tsv"
        path.write_text(table, encoding=encoding)
        task = load_task(path)
        assert isinstance(task, LabelledSentences)
        assert task.sentences == ("ein Hündchen", "no"), encoding
    (tmp_path / "latin.tsv").write_text(table, encoding="latin-1")
    with pytest.raises(InputError, match="is not UTF-8"):
        load_task(tmp_path / "latin.tsv")


def test_a_local_folder_wins_over_an_alias_or_the_clash_is_refused(
    tmp_path: Path,
    tiny_encoder_folder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("bert-base-uncased", "sentence-transformers/all-MiniLM-L6-v2"):
        shutil.copytree(tiny_encoder_folder("bert"), tmp_path / name)
        assert load_encoder(name).hidden_size == 16
    (tmp_path / "minilm").mkdir()
    with pytest.raises(InputError, match="both an alias and a folder here"):
        load_encoder("minilm")


def test_a_revision_is_of_one_model() -> None:
    with pytest.raises(InputError, match="is of one model and the study has 2"):
        Study(models=["a/b", "c/d"], tasks=["sts-mini"], revision="main")


@pytest.mark.parametrize("view", ["mean@99", "foo", "pooler@1+2"])
def test_a_view_that_is_not_there_fails_before_anything_is_encoded(
    view: str,
    tmp_path: Path,
    tiny_encoder_folder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def encoded(*_: object, **__: object) -> None:
        raise AssertionError("something was encoded")

    monkeypatch.setattr("probing.encoding.sharing.extract", encoded)
    study = Study(models=[str(tiny_encoder_folder("bert"))], tasks=["sts-mini"], views=[view])
    with pytest.raises(InputError, match="expected layers 0 to 3 under one of its poolings"):
        study.run(tmp_path / "run")


def run_command(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return completed(["probing", *arguments], environment={**os.environ, **environment})


@pytest.fixture
def run_arguments(tmp_path: Path, tiny_encoder_folder: Callable[[str], Path]) -> list[str]:
    rows = [
        {"sentence1": f"the cat {n}", "sentence2": f"a dog {n % 7}", "score": n % 6}
        for n in range(40)
    ]
    task = tmp_path / "Sätze ☃.tsv"
    pd.DataFrame(rows).to_csv(task, index=False, sep="\t")
    return [
        "run",
        *("--model", str(tiny_encoder_folder("bert")), "--task", str(task)),
        *("--out", str(tmp_path / "run"), "--cache-dir", str(tmp_path / "vectors")),
        *(
            "--draws",
            "1",
            "--device",
            "cpu",
            "--max-length",
            "20",
            "--batch-tokens",
            "64",
            "--view",
            "mean@1+2",
        ),
    ]


@pytest.mark.slow
def test_output_that_is_not_utf8_shows_marks_in_the_place_of_letters(
    tmp_path: Path, run_arguments: list[str]
) -> None:
    done = run_command(*run_arguments, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").is_file()
    assert "S?tze" in done.stdout
    assert "Spearman x 100" in done.stdout
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["encoders"][0]["max_length"] == 20
    assert "mean@1+2" in set(pd.read_parquet(tmp_path / "run" / "scores.parquet")["view"])
    assert run_command("tasks", PYTHONIOENCODING="latin-1").returncode == 0


@pytest.mark.slow
def test_a_report_that_cannot_be_written_leaves_the_scores(
    tmp_path: Path,
    run_arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(_: Run) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Run, "report", full)
    monkeypatch.setattr(sys, "argv", ["probing", *run_arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 3
    shown = capsys.readouterr().err
    assert "the scores are in" in shown
    assert "No space left on device" in shown
    assert (tmp_path / "run" / "scores.parquet").is_file()


@pytest.mark.slow
def test_a_closed_pipe_leaves_the_scores_and_the_report(
    tmp_path: Path, run_arguments: list[str]
) -> None:
    done = completed(["probing", *run_arguments], is_read=False)
    assert done.returncode == 3
    assert "the scores are in" in done.stderr
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.slow
def test_the_version_and_what_a_model_is(tiny_encoder_folder: Callable[[str], Path]) -> None:
    assert run_command("--version").stdout.startswith("probing ")
    done = run_command("inspect", str(tiny_encoder_folder("bert")))
    assert len(done.stdout.splitlines()) == 10
    assert "layers 0 to 3, width 16" in done.stdout


def test_a_parquet_file_of_arrow_strings(tmp_path: Path) -> None:
    path = tmp_path / "large.parquet"
    column = pa.array(["a cat", "a dog"], type=pa.large_string())
    pq.write_table(pa.table({"sentence": column, "label": pa.array(np.array([0, 1]))}), path)
    assert load_task(path).labels == ("0", "1")  # type: ignore[union-attr]
