"""The study and the command line, from arguments to the run folder."""

import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probing.commands import main as cli
from probing.errors import InputError
from probing.reporting.run import load_run
from probing.results.scores import COLUMNS
from probing.sources.declarations import MODELS
from probing.study.study import PRESETS, Study, run_study
from probing.tasks import catalogue
from tests.conftest import FAMILIES, FAMILIES_WITH_POOLER

Folder = Callable[[str], Path]
HEADER = "split\tsubset\tscore\tsentence1\tsentence2"
ROWS = [
    f"test\t{'ab'[row % 2]}\t{row % 6}\t{first}\t{second}"
    for row, (first, second) in enumerate(
        (f"the {one} is {size}", f"a {other} sat on the {size} mat")
        for one in ("cat", "dog", "mat")
        for other in ("cat", "dog", "run")
        for size in ("big", "small", "red")
    )
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data", "\n".join([HEADER, *ROWS]) + "\n")


@pytest.fixture(autouse=True)
def _logging_is_left_as_found() -> Iterator[None]:
    root = logging.getLogger()
    handlers = root.handlers[:]
    yield
    root.handlers[:] = handlers


def write_data(folder: Path, text: str | bytes) -> Path:
    path = folder / "sts" / "stsb.tsv"
    path.parent.mkdir(parents=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def _main(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["probing", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.slow
def test_a_run_of_every_family(
    family: str,
    tiny_encoder_folder: Folder,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, out = tiny_encoder_folder(family), tmp_path / "run"
    code = _main(
        monkeypatch,
        "run",
        "--table",
        "--model",
        model,
        "--task",
        "stsb",
        "--data-dir",
        data,
        "--out",
        out,
    )
    assert code == 0
    table = pd.read_parquet(out / "scores.parquet")
    assert tuple(table.columns) == COLUMNS
    has_pooler = family in FAMILIES_WITH_POOLER
    assert ("pooler" in set(table["pooling"])) == has_pooler
    models = {str(model), f"{model}+random"}
    models |= {"floor:jaccard", "floor:idf-words", f"floor:static-words:{model}"}
    if has_pooler:
        models.add(f"{model} - {model}+random")
    assert set(table["model"]) == models
    described = json.loads((out / "manifest.json").read_text())["encoders"][0]
    assert described["pooler"] == ("trained" if has_pooler else "absent")
    shown = capsys.readouterr().out
    assert f"{'trained' if has_pooler else 'absent'}" in shown
    assert "floor:jaccard" in shown


def test_the_run_folder_is_whole_and_reads_back(
    tiny_encoder_folder: Folder, data: Path, tmp_path: Path
) -> None:
    study = Study(models=(str(tiny_encoder_folder("bert")),), tasks=("stsb",), data_dir=str(data))
    run = run_study(study, tmp_path / "run", command=["probing", "run"])
    names = {path.name for path in run.folder.iterdir()}
    assert names >= {"scores.parquet", "scores.csv", "manifest.json", "run.log"}
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    again = load_run(run.folder)
    pd.testing.assert_frame_equal(again.scores, run.scores)
    from_csv = pd.read_csv(run.folder / "scores.csv", na_values=["NaN"], keep_default_na=False)
    np.testing.assert_array_equal(from_csv["value"], run.scores["value"])
    assert again.manifest["command"] == "probing run"
    assert again.manifest["tasks"][0]["origin"].startswith("file sts/stsb.tsv sha256:")
    correlations = run.scores[run.scores["metric"].isin(["spearman", "pearson"])]
    undefined = correlations[correlations["value"].isna()]
    assert set(undefined.loc[undefined["transform"] == "raw", "view"]) == {"cls@0"}
    # so few sentences are too few for whitening
    assert {t.partition(":")[0] for t in undefined["transform"]} == {"raw", "whitened"}
    assert "cls@0 is the same vector for every sentence" in (run.folder / "run.log").read_text()


def test_equal_studies_give_equal_scores(
    tiny_encoder_folder: Folder, data: Path, tmp_path: Path
) -> None:
    study = Study(models=(str(tiny_encoder_folder("bert")),), tasks=("stsb",), data_dir=str(data))
    one = run_study(study, tmp_path / "one").scores
    two = run_study(study, tmp_path / "two").scores
    pd.testing.assert_frame_equal(one, two)


def test_a_run_replaces_a_run_and_nothing_else(
    tiny_encoder_folder: Folder, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study = Study(models=(str(tiny_encoder_folder("bert")),), tasks=("stsb",), data_dir=str(data))
    out = tmp_path / "run"
    run_study(study, out)
    (out / "left-over").touch()
    said = f"{out} holds a run: it is replaced when this one is finished"
    assert said not in caplog.messages
    run_study(study, out)
    assert said in caplog.messages
    assert not (out / "left-over").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").touch()
    with pytest.raises(InputError, match="exists and is not a run folder"):
        run_study(study, mine)
    assert (mine / "thesis.tex").exists()


BAD_FILES: dict[str, str | bytes] = {
    "empty file": "",
    "only a header": HEADER + "\n",
    "missing column": "split\tsubset\tscore\tsentence1\ntest\ta\t1\tthe cat\n",
    "score is a word": "\n".join([HEADER, *ROWS, "test\ta\tfive\tthe cat\ta dog"]),
    "score above the range": "\n".join([HEADER, *ROWS, "test\ta\t5.1\tthe cat\ta dog"]),
    "score below the range": "\n".join([HEADER, *ROWS, "test\ta\t-0.1\tthe cat\ta dog"]),
    "score is NaN": "\n".join([HEADER, *ROWS, "test\ta\tnan\tthe cat\ta dog"]),
    "score is missing": "\n".join([HEADER, *ROWS, "test\ta\t\tthe cat\ta dog"]),
    "ragged row": "\n".join([HEADER, *ROWS, "test\ta\t1\tthe cat"]),
    "row too long": "\n".join([HEADER, *ROWS, "test\ta\t1\tthe cat\ta dog\tmore"]),
    "empty sentence": "\n".join([HEADER, *ROWS, "test\ta\t1\t \ta dog"]),
    "broken UTF-8": "\n".join([HEADER, *ROWS]).encode() + b"\ntest\ta\t1\tthe \xff cat\ta dog\n",
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_file_is_one_line_and_exit_code_2(
    what: str,
    tiny_encoder_folder: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = write_data(tmp_path / "data", BAD_FILES[what])
    model = tiny_encoder_folder("bert")
    _refused(monkeypatch, capsys, tmp_path, "--model", model, "--task", "stsb", "--data-dir", data)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--model", "nonsense"),
        ("--model", "no-such-folder/nor-model/here"),
        ("--task", "nonsense"),
        ("--preset", "nonsense"),
        ("--seed", "-1"),
        ("--probe", "nonsense"),
        ("--protocol", "nonsense"),
        ("--task", "stsb", "--task", "stsb"),
    ],
)
def test_a_bad_argument_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _refused(monkeypatch, capsys, tmp_path, *arguments)


def _refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    *arguments: object,
) -> None:
    before = sorted(tmp_path.iterdir())
    assert _main(monkeypatch, "run", "--out", tmp_path / "run", *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("probing: ")
    assert shown.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_an_output_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert _main(monkeypatch, "run", "--out", tmp_path / "file" / "run") == 2
    assert "cannot write to" in capsys.readouterr().err


def test_what_is_no_run_folder_does_not_load(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run folder"):
        load_run(tmp_path)


def test_a_bug_is_told_apart_and_shows_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PROBING_DEBUG", raising=False)
    monkeypatch.setattr("probing.study.study.run_study", lambda *_, **__: 1 / 0)
    assert _main(monkeypatch, "run") == 1
    assert "internal error, ZeroDivisionError" in capsys.readouterr().err


def test_long_sentences_are_truncated_counted_and_reported(
    tiny_encoder_folder: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    long = f"test\ta\t2\t{'the cat sat ' * 60}\ta dog"
    data = write_data(tmp_path / "data", "\n".join([HEADER, *ROWS, long]))
    model = str(tiny_encoder_folder("bert"))
    run = run_study(Study(models=(model,), tasks=("stsb",), data_dir=str(data)), tmp_path / "run")
    assert run.manifest["encoders"][0]["truncated_sentences"] == {"stsb": 1}
    assert "longer than 48 tokens and were truncated" in caplog.text


LABELLED = [
    f"{split}\t{label}\tthe {size} {animal} {verb} on mat {number}"
    for split, numbers in (("train", range(6)), ("dev", range(6, 8)), ("test", range(8, 11)))
    for number in numbers
    for animal, label in (("cat", "feline"), ("dog", "canine"))
    for size in ("big", "small", "red")
    for verb in ("sat", "is")
]


@pytest.mark.slow
def test_labelled_sentences_and_words_are_probed(
    tiny_encoder_folder: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = tmp_path / "animals.tsv"
    task.write_text("\n".join(["split\tlabel\tsentence", *LABELLED]) + "\n", encoding="utf-8")
    out = tmp_path / "run"
    options = ["--probe", "linear", "--probe", "codelength", "--controls", "--out", out]
    model = tiny_encoder_folder("bert")
    assert _main(monkeypatch, "run", "--table", "--model", model, "--task", task, *options) == 0
    table = pd.read_parquet(out / "scores.parquet")
    mine = table[table["model"] == str(model)]
    accuracy = mine[(mine["metric"] == "accuracy") & (mine["view"] == "mean@0")]
    by_labels = accuracy.set_index("labels")["value"]
    assert by_labels["real"] == 1.0
    assert by_labels["control"] < 0.9
    bits = mine[(mine["metric"] == "compression") & (mine["view"] == "mean@0")]
    assert bits.set_index("labels")["value"]["real"] > bits.set_index("labels")["value"]["control"]
    floors = table[(table["metric"] == "accuracy") & table["model"].str.startswith("floor:")]
    found = floors.set_index("model")["value"]
    assert found["floor:majority"] == 0.5
    assert found["floor:bag-of-words"] == 1.0
    undefined = mine[(mine["metric"] == "accuracy") & mine["value"].isna()]
    assert set(undefined["view"]) == {"cls@0"}
    shown = capsys.readouterr().out
    assert "linear probe" in " ".join(shown.split())
    assert "floor:bag-of-words" in shown


def test_words_are_probed(tiny_encoder_folder: Folder, tmp_path: Path) -> None:
    words = {"cat": "NOUN", "dog": "NOUN", "mat": "NOUN", "red": "ADJ", "big": "ADJ"}
    sentences = []
    for first in words:
        for second in words:
            rows = [
                f"{place}\t{word}\t_\t{words[word]}\t_\t_\t0\t_\t_\t_"
                for place, word in enumerate((first, second), start=1)
            ]
            sentences.append("\n".join(rows) + "\n")
    task = tmp_path / "words.conllu"
    task.write_text("\n".join(sentences) + "\n", encoding="utf-8")
    study = Study(models=(str(tiny_encoder_folder("bert")),), tasks=(str(task),))
    scores = run_study(study, tmp_path / "run").scores
    mine = scores[(scores["model"] == study.models[0]) & (scores["metric"] == "accuracy")]
    assert set(mine["view"]) == {f"word_first@{layer}" for layer in range(4)}
    majority = 0.6  # three of five word types are nouns
    assert mine.set_index("view")["value"]["word_first@0"] > majority + 0.2


def test_models_lists_every_alias_and_every_preset_is_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(monkeypatch, "models") == 0
    shown = capsys.readouterr().out
    assert [source.alias for source in MODELS if source.alias not in shown] == []
    aliases = {source.alias for source in MODELS}
    known = {entry.name for entry in catalogue()}
    for preset in PRESETS.values():
        assert set(preset.models) <= aliases
        for task in preset.task_names:
            assert task in known


@pytest.mark.real
def test_the_published_number_of_minilm(
    real_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """MTEB: 82.03 on STS-B test with mean pooling of the last layer."""
    whole = pd.read_csv(real_data / "sts" / "stsb.tsv", sep="\t", dtype=str, quoting=3)
    # The number is of the test split; what else is read from the others has tests of its own.
    part = whole[(whole["split"] == "test") | (whole.groupby("split").cumcount() < 150)]
    data = write_data(tmp_path / "data", part.to_csv(sep="\t", index=False, quoting=3))
    out = tmp_path / "run"
    arguments = ["run", "--table", "--model", "minilm", "--task", "stsb", "--draws", "1"]
    assert _main(monkeypatch, *arguments, "--data-dir", data, "--out", out) == 0
    table = pd.read_csv(out / "scores.csv")
    chosen = table[
        (table["model"] == "minilm")
        & (table["metric"] == "spearman")
        & (table["aggregation"] == "all")
        & (table["transform"] == "raw")
        & (table["probe"] == "cosine")
    ].set_index("view")["value"]
    assert chosen["mean@6"] == pytest.approx(0.8203, abs=5e-4)
    assert chosen["pooler@6"] == pytest.approx(0.7307, abs=1e-3)
    assert np.isnan(chosen["cls@0"])
    assert "untrained" in capsys.readouterr().out


@pytest.mark.slow
def test_twins_of_several_seeds_are_compared_to_the_last_page(
    tiny_encoder_folder: Folder,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("mlm-0", "nsp-0", "mlm-1", "nsp-1")
    models: list[str] = []
    for name in names:
        shutil.copytree(tiny_encoder_folder("bert"), tmp_path / name)
        models += ["--model", f"./{name}"]
    contrasts = ["--contrast", "./mlm-0 - ./nsp-0", "--contrast", "./mlm-1 - ./nsp-1"]
    where = ["--task", "stsb", "--data-dir", data, "--out", "run"]
    assert _main(monkeypatch, "run", "--table", *models, *contrasts, *where) == 0
    compared = ["./mlm-0 - ./nsp-0", "./mlm-1 - ./nsp-1", "./mlm-0, ./mlm-1 - ./nsp-0, ./nsp-1"]
    shown = capsys.readouterr().out
    page = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    found = [line for line in page.splitlines() if line.startswith("## ")]
    for name in compared:
        assert f"Verdict for {name} on stsb" in " ".join(shown.split())
        assert any(name in line.replace("\\", "") for line in found), found
