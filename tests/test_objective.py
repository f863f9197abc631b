"""docs/objective.md: from committed rows alone, and its shipped encoders are those of the study."""

import json
from pathlib import Path

import objective
import pandas as pd
import pytest

from probing.reporting.run import Run

ROOT = Path(__file__).parent.parent


def test_the_page_is_what_the_script_makes_of_the_committed_rows() -> None:
    assert objective.PAGE.read_text(encoding="utf-8") == objective.page()


@pytest.mark.parametrize("name", ["nsp-mini", "mlm-mini"])
def test_the_figures_are_of_the_encoders_that_are_shipped(name: str) -> None:
    shipped = (ROOT / "data" / "encoders" / name / "pretraining.json").read_text(encoding="utf-8")
    assert (objective.KEPT / f"{name}.json").read_text(encoding="utf-8") == shipped


def test_pairs_differ_in_the_objective_alone() -> None:
    told = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in objective.KEPT.glob("*-*.json")
    }
    manifest = json.loads((objective.KEPT / "manifest.json").read_text(encoding="utf-8"))
    assert len(manifest["study"]["contrasts"]) == 2
    for pair in manifest["study"]["contrasts"]:
        one, other = (told[Path(name).name] for name in pair)
        assert one["tokens"] == other["tokens"]
        assert one["config"]["objective"] == "mlm"
        assert other["config"] == one["config"] | {"objective": "mlm+nsp"}


def test_what_is_kept_of_a_run_says_nothing_of_where_it_lay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective, "KEPT", tmp_path / "kept")
    scores = pd.read_csv(
        ROOT / "docs" / "objective" / "scores.csv", keep_default_na=False, na_values=["NaN"]
    )
    extra = scores.head(1).assign(model="mlm-mini", task="stsb", metric="pearson")
    manifest = {"command": "probing run --corpus a/b --out c --model x", "study": {"corpus": "a/b"}}
    run = Run(folder=tmp_path, scores=pd.concat([extra, scores]), manifest=manifest)
    objective.keep(run, {"nsp-mini": ROOT / "data" / "encoders" / "nsp-mini"})
    written = json.loads((tmp_path / "kept" / "manifest.json").read_text(encoding="utf-8"))
    assert written["command"] == "probing run --model x"
    assert set(written["study"].values()) == {None}
    assert len(pd.read_csv(tmp_path / "kept" / "scores.csv")) == len(scores)
    assert len(pd.read_csv(tmp_path / "kept" / "nsp-mini.csv")) > 10
