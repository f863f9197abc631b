"""The command line under odd use: whatever it is given, one line, and nothing half-written."""

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probing.commands import main as cli
from probing.errors import InputError
from probing.results.run_folder import new_run_folder
from probing.study.settings import HIGHEST_SEED
from probing.study.study import Study, run_study

Folder = Callable[[str], Path]
PAIRS = "\n".join(
    ["sentence1\tsentence2\tscore"]
    + [
        f"the {one} is {size}\ta {other} sat on the {size} mat\t{number % 6}"
        for number, (one, other, size) in enumerate(
            (one, other, size)
            for one in ("cat", "dog", "mat")
            for other in ("cat", "dog", "run")
            for size in ("big", "small", "red")
        )
    ]
)


@pytest.fixture(autouse=True)
def _logging_and_signals_are_left_as_found() -> Iterator[None]:
    root = logging.getLogger()
    handlers = root.handlers[:]
    on_terminate = signal.getsignal(signal.SIGTERM)
    yield
    root.handlers[:] = handlers
    signal.signal(signal.SIGTERM, on_terminate)


def _main(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["probing", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--seed", "1.5"), "--seed"),
        (("run", "--seed", "many"), "--seed"),
        (("run", "--seed", HIGHEST_SEED + 1), "from 0 to"),
        (("run", "--modle", "minilm"), "--modle"),
        (("run", "--dtype", "float16"), "float16"),
        (("run", "--contrast", "a - b"), "name them"),
        (("run", "--model", "a - b"), "rename the folder"),
        (("run", "--model", "minilm", "--contrast", "minilm"), "expected two different models"),
        (("run", "--model", "minilm", "--contrast", "minilm - x"), "none of the study's models"),
        (("run", "--vectors", "mine.npz", "--view", "mean@1+2"), "--view is for layers"),
        (("run", "--vectors", "mine.npz", "--pooling", "mine:half"), "--pooling is for layers"),
        (("run", "--claim", "./mine.py:better"), "expected module:name"),
        (("run", "minilm"), "minilm"),
        (("run", "--model", ""), "unknown model ''"),
        (("run", "--model", " "), "unknown model ' '"),
        (("run", "--task", ""), "unknown task ''"),
        (("finetune", "--model", "minilm", "--encoder-rate", "nan"), "learning rates"),
        (("cause", "--model", "nowhere", "--size", "smoke"), "unknown model 'nowhere'"),
        (("compare",), "RUN"),
        (("cache",), "probing cache --help"),
        (("zork",), "zork"),
    ],
)
@pytest.mark.slow
def test_a_wrong_use_is_one_line_and_exit_code_2(
    arguments: tuple[object, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _main(monkeypatch, *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("probing: ")
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert list(tmp_path.rglob("*.csv")) == []


def test_no_arguments_are_a_wish_for_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(monkeypatch) == 0
    assert "Usage" in capsys.readouterr().out


def test_an_interrupted_run_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("probing.study.study.load_task", interrupted)
    assert _main(monkeypatch, "run", "--out", tmp_path / "run") == 130
    assert capsys.readouterr().err.startswith("probing: interrupted")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_terminated_run_leaves_nothing(tiny_encoder_folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text(PAIRS + "\n", encoding="utf-8")
    runs = tmp_path / "runs"
    runs.mkdir()
    command = [sys.executable, "-c", "from probing.commands.main import main; main()", "run"]
    command += ["--model", str(tiny_encoder_folder("bert")), "--task", str(tmp_path / "pairs.tsv")]
    command += ["--out", str(runs / "run"), "--cache-dir", str(tmp_path / "cache")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(runs.iterdir()):
            time.sleep(0.01)
        process.terminate()
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said.startswith("probing: interrupted")
    assert list(runs.iterdir()) == []


@pytest.mark.parametrize("out", ["", ".", ".."])
def test_the_current_folder_is_no_place_for_a_run(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "above" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    with (
        pytest.raises(InputError, match="is or holds the current folder"),
        new_run_folder(Path(out)),
    ):
        pytest.fail("a run was begun")
    assert list(here.iterdir()) == []


def test_a_link_to_a_run_is_followed(tmp_path: Path) -> None:
    run, link = tmp_path / "run", tmp_path / "link"
    run.mkdir()
    (run / "manifest.json").touch()
    link.symlink_to(run)
    with new_run_folder(link) as folder:
        (folder / "new").touch()
    assert link.is_symlink()
    assert {path.name for path in run.iterdir()} == {"new", "run.log"}
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(InputError, match="choose another --out"), new_run_folder(loop):
        pytest.fail("a run was begun")


def test_two_files_of_one_name_are_refused(tiny_encoder_folder: Folder, tmp_path: Path) -> None:
    files = [tmp_path / folder / "pairs.tsv" for folder in ("one", "other")]
    for file in files:
        file.parent.mkdir()
        file.write_text(PAIRS, encoding="utf-8")
    study = Study(models=(str(tiny_encoder_folder("bert")),), tasks=tuple(map(str, files)))
    with pytest.raises(InputError, match=r"two tasks are called 'pairs\.tsv'"):
        run_study(study, tmp_path / "run")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["the cat\tyes", "a dog\tno"], "expected at least 10"),
        ([f"the cat {number}\tyes" for number in range(12)], "at least two classes"),
    ],
)
def test_what_ails_labels_is_told_with_the_name_of_the_task_before_encoding(
    rows: list[str],
    said: str,
    tiny_encoder_folder: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "labels.tsv"
    file.write_text("\n".join(["sentence\tlabel", *rows]), encoding="utf-8")
    monkeypatch.setattr(
        "probing.study.study.measure_model", lambda *_, **__: pytest.fail("encoded")
    )
    study = Study(models=(str(tiny_encoder_folder("bert")),), tasks=(str(file),))
    with pytest.raises(InputError, match=said) as refused:
        run_study(study, tmp_path / "run")
    assert str(refused.value).startswith("task labels.tsv: ")


@pytest.mark.slow
def test_a_sentence_without_a_word_is_nan_under_mean_words_alone(
    tiny_encoder_folder: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text(f"{PAIRS}\n\u200b\ta dog\t1\n", encoding="utf-8")
    study = Study(models=(str(tiny_encoder_folder("bert")),), tasks=(str(file),), n_resamples=50)
    scores = run_study(study, tmp_path / "run").scores
    mine = scores[(scores["model"] == study.models[0]) & (scores["task"] == "pairs.tsv")]
    for metric in ("spearman", "isoscore"):
        values = mine[(mine["metric"] == metric) & (mine["transform"] == "raw")]
        undefined = values[values["value"].isna()]
        assert set(undefined["pooling"]) - {"cls"} == {"mean_words"}, metric
        assert len(undefined[undefined["pooling"] == "mean_words"]) == 4
    assert "mean_words@0 holds a vector that is not finite: its geometry is NaN" in caplog.text


@pytest.mark.parametrize(
    "rows",
    [["the cat\tthe cat\t5"], ["the cat\ta dog\t3", "a dog\tthe mat\t3", "a cat\tthe mat\t3"]],
    ids=["one pair of one sentence", "equal scores"],
)
def test_what_has_no_correlation_is_nan_and_still_reported(
    rows: list[str], tiny_encoder_folder: Folder, tmp_path: Path
) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text("\n".join(["sentence1\tsentence2\tscore", *rows]), encoding="utf-8")
    study = Study(models=(str(tiny_encoder_folder("bert")),), tasks=(str(file),), n_resamples=50)
    run = run_study(study, tmp_path / "run")
    log = (tmp_path / "run" / "run.log").read_text(encoding="utf-8")
    assert f"pairs.tsv: every score is {rows[0][-1]}: correlations with it are NaN" in log
    scores = run.scores
    found = scores[(scores["task"] == "pairs.tsv") & (scores["metric"] == "spearman")]
    assert len(found)
    assert np.isnan(found["value"]).all()
    assert run.report().is_file()


def test_byte_order_mark_and_windows_line_ends_change_nothing(
    tiny_encoder_folder: Folder, tmp_path: Path
) -> None:
    tables = []
    for name, text in (
        ("plain", PAIRS),
        ("mark", f"\ufeff{PAIRS}\n"),
        ("windows", PAIRS.replace("\n", "\r\n")),
    ):
        file = tmp_path / name / "dáта 数据.tsv"
        file.parent.mkdir()
        file.write_bytes(text.encode())
        model = str(tiny_encoder_folder("bert"))
        study = Study(models=(model,), tasks=(str(file),), n_resamples=50)
        tables.append(run_study(study, tmp_path / name / "run").scores)
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0])


def test_a_warning_is_shown_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def repeated(*_: object, **__: object) -> None:
        for _ in range(3):
            logging.getLogger("probing.measuring").warning("cls@0 is constant")
        raise InputError("enough")

    monkeypatch.setattr("probing.study.study.run_study", repeated)
    logging.getLogger().handlers.clear()
    assert _main(monkeypatch, "run") == 2
    assert capsys.readouterr().err.count("cls@0 is constant") == 1


@pytest.mark.parametrize(
    "command",
    [[], *([name] for name in ("run", "choose", "report", "compare", "verify", "extract"))]
    + [[name] for name in ("cause", "pretrain", "export", "finetune", "inspect", "tasks", "cache")],
)
def test_help_shows_every_word_of_it(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(monkeypatch, *command, "--help") == 0
    shown = capsys.readouterr().out
    if command in (["cause"], ["pretrain"]):
        assert "/CONFIG" in shown
        assert "NAME.txt[.xz]" in shown
    if command == ["pretrain"]:
        assert "by default 256" in " ".join(shown.replace("│", " ").split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--smallest-effect", "-1"), "--smallest-effect -1: expected points"),
        (("--same-source",), "--same-source is for --corpus"),
        (("--corpus", "nowhere"), "no NAME.txt or NAME.txt.xz in nowhere"),
        (("--claim", "builtins:len"), "a claim of type builtin_function_or_method"),
        (("--pooling", "textwrap:dedent", "--pooling", "ast:dedent"), "called 'dedent'"),
    ],
)
def test_an_option_that_would_come_to_nothing_is_refused_before_the_work(
    options: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ("run", "--model", "minilm", "--task", "sts-mini", "--out", "new/run", *options)
    assert _main(monkeypatch, *given) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("extract", "--input", "lines.txt", "--column", "text"), "leave --column out"),
        (("extract", "--input", "empty.txt"), "found no sentence"),
        (("pretrain", "--from", "minilm", "--corpus", "empty"), "has no document"),
    ],
)
def test_texts_that_cannot_be_read_as_told_leave_no_folder(
    command: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lines.txt").write_text("A cat sleeps.\n", encoding="utf-8")
    Path("empty.txt").touch()
    Path("empty").mkdir()
    Path("empty/none.txt").touch()
    before = set(tmp_path.rglob("*"))
    model = () if command[0] == "pretrain" else ("--model", "minilm")
    assert _main(monkeypatch, *command, *model, "--out", "made") == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a file without room")
@pytest.mark.slow
def test_a_terminal_without_room_is_one_line() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "probing", "tasks"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == (
        "probing: No space left on device: make room, then rerun the same command\n"
    )
