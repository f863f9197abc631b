"""Several runs side by side: merged by hash, ranked with confidence."""

import json
from pathlib import Path

import numpy as np
import pytest

from probing.commands.main import app
from probing.errors import InputError
from probing.reporting.leaderboard import leaderboard
from probing.reporting.run import Run, load_run
from probing.results.items import Items
from probing.results.run_folder import write_run
from probing.results.scores import Score, score_table
from probing.results.target import Target

GOLD = np.random.default_rng(0).normal(size=400)
NOISE = {"good": 0.4, "as-good": 0.41, "poor": 3.0}


def _run(folder: Path, *models: str, weights: str = "", task: str = "t", gold=GOLD) -> Run:  # type: ignore[no-untyped-def]
    folder.mkdir()
    rows = []
    for model in models:
        rng = np.random.default_rng(len(model))
        column = gold + NOISE[model] * rng.normal(size=len(gold))
        Items(
            model=model,
            probe="cosine",
            views=("mean@2", "cls@2"),
            columns=np.column_stack([column, -column]),
            target=Target(task=task, gold=gold, n_resamples=200),
        ).write(folder / "items")
        rows.append(
            Score(
                model=model,
                task=task,
                view="mean@2",
                layer=2,
                pooling="mean",
                probe="cosine",
                metric="spearman",
                value=0.5,
                n=400,
                seed=0,
            )
        )
    encoders = [
        {"name": m, "weights_sha256": weights or m, "tokenizer_sha256": "t", "num_layers": 2}
        for m in models
    ]
    manifest = {"encoders": encoders, "tasks": [{"name": task, "origin": "here"}], "study": {}}
    write_run(folder, score_table(rows), manifest)
    return load_run(folder)


def test_ranks_are_as_wide_as_chance_makes_them(tmp_path: Path) -> None:
    board = leaderboard([_run(tmp_path / "a", "good", "poor"), _run(tmp_path / "b", "as-good")])
    rows = board.table.set_index("model")
    assert rows.loc["poor", ["rank_from", "rank_to"]].tolist() == [3, 3]
    for name in ("good", "as-good"):
        assert rows.loc[name, ["rank_from", "rank_to"]].tolist() == [1, 2]
    assert board.tasks == ("t",)
    assert (rows["lower"] < rows["mean"]).all()
    assert (rows["mean"] < rows["upper"]).all()
    drawn = board.figure()
    assert "rank 3" in drawn.sentence
    assert drawn.svg.startswith("<?xml")


def test_one_encoder_in_two_runs_is_one_row_and_two_of_one_name_are_two(tmp_path: Path) -> None:
    first = _run(tmp_path / "a", "good")
    again = _run(tmp_path / "b", "good")
    other = _run(tmp_path / "c", "good", weights="others")
    assert leaderboard([first, again]).table["model"].tolist() == ["good"]
    assert sorted(leaderboard([first, other]).table["model"]) == ["good", "good (c)"]


def test_what_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    first = _run(tmp_path / "a", "good")
    with pytest.raises(InputError, match="share no task"):
        leaderboard([first, _run(tmp_path / "b", "poor", task="u")])
    with pytest.raises(InputError, match="other items"):
        leaderboard([first, _run(tmp_path / "c", "poor", gold=GOLD[:300])])
    with pytest.raises(InputError, match="good has no max@2 on t"):
        leaderboard([first, first], pooling="max")
    bare = _run(tmp_path / "d", "poor")
    (next((bare.folder / "items").iterdir())).unlink()
    with pytest.raises(InputError, match="keeps no items"):
        leaderboard([first, bare])


def test_the_command_prints_ranks_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, model in (("a", "good"), ("b", "poor")):
        _run(tmp_path / name, model)
    figure = tmp_path / "ranks.png"
    runs = [str(tmp_path / name) for name in ("a", "b")]
    app(["compare", *runs, "--figure", str(figure)], standalone_mode=False)
    shown = capsys.readouterr().out
    assert shown.index("good") < shown.index("poor")
    assert figure.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="for several runs"):
        app(["compare", runs[0], "--figure", str(figure)], standalone_mode=False)
    assert json.loads((tmp_path / "a" / "manifest.json").read_text())["encoders"]
