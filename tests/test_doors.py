"""What a researcher brings, each in a few lines that import `probing` and nothing below it.

The scripts run in a process of their own, in a folder outside the repository.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import probing
from tests.warm_process import completed

LINES = 12
"""Most lines of a script."""

POOLING = """
import probing

def every_second(hidden, mask):
    kept = mask.clone()
    kept[:, 1::2] = False
    return (hidden * kept[:, :, None]).sum(1) / kept.sum(1, keepdim=True)

study = probing.Study([ENCODER], ["sts-mini"], poolings={"every_second": every_second})
study.run("run").report()
"""
PROBE = """
import probing
from sklearn.neighbors import KNeighborsClassifier

probing.Study([ENCODER], [TASK], probes=["linear", KNeighborsClassifier()]).run("run").report()
"""
TASK = """
import numpy as np
import probing

rows = [("A cat sleeps.", "A dog barks.", 1.0), ("It rains.", "It is raining.", 5.0)] * 20
one, two, gold = zip(*rows)
mine = probing.SentencePairs(
    name="mine", sentences1=one, sentences2=two, scores=np.array(gold), score_range=(0, 5),
    split="test", origin="typed in by hand")
probing.Study([ENCODER], [mine]).run("run").report()
"""
CLAIM = """
import probing
from mine import every_second

claim = probing.Claim(
    id="mine", sentence="every second token is as good as all",
    view="every_second@{last} - mean@{last}", predicts=probing.Side.ABOVE, threshold=-0.01)
run = probing.Study([ENCODER], ["sts-mini"], poolings={"every_second": every_second},
                    claims=[*probing.CLAIMS, claim]).run("run")
run.report()
print(run.words(width=1000))
"""
FUNCTION = """
import numpy as np
import probing

words = np.random.default_rng(0).normal(size=(5000, 50))

def static(sentences):
    return np.stack([words[[hash_of(w) for w in s.split()]].mean(0) for s in sentences])

hash_of = lambda word: sum(ord(c) * 31**i for i, c in enumerate(word)) % 5000
probing.Study([static], ["sts-mini"]).run("run").report()
"""
TRANSFORM = """
import numpy as np
import probing

def unit_variance(vectors):
    spread = vectors.std(0) + 1e-9
    return lambda others: (others - vectors.mean(0)) / spread

probing.Study([ENCODER], ["sts-mini"], transforms=[unit_variance]).run("run").report()
"""
VECTORS = """
import numpy as np
import probing

task = probing.load_task("sts-mini")
sentences = sorted({*task.sentences1, *task.sentences2})
vectors = np.random.default_rng(0).normal(size=(len(sentences), 8))
np.savez("mine.npz", sentences=np.array(sentences), first=vectors, second=vectors**3)
probing.Study(["mine.npz"], [task]).run("run").report()
"""


def executed(script: str, folder: Path, **names: str) -> tuple[pd.DataFrame, str, str]:
    """Scores, page and output of a script; each of ``names`` is a text that it knows."""
    lines = [line for line in script.strip().splitlines() if line]
    assert len(lines) <= LINES
    text = "\n".join([*(f"{name} = {value!r}" for name, value in names.items()), script])
    (folder / "script.py").write_text(text, encoding="utf-8")
    environment = {**os.environ, "PROBING_CACHE": str(folder / "cache")}
    done = completed(["script.py"], folder=folder, environment=environment)
    assert done.returncode == 0, done.stderr
    run = folder / "run"
    scores = pd.read_csv(run / "scores.csv")
    return scores, (run / "report.html").read_text(encoding="utf-8"), done.stdout


def with_intervals(rows: pd.DataFrame) -> bool:
    """Whether rows are there and every one that has a value has an interval around it."""
    defined = rows[rows["value"].notna()]
    below, above = defined["value"] - defined["lower"], defined["upper"] - defined["value"]
    return len(defined) > 0 and bool((below > -1e-9).all() and (above > -1e-9).all())


@pytest.fixture
def encoder(tiny_encoder_folder: Callable[[str], Path]) -> str:
    """The folder of a tiny BERT."""
    return str(tiny_encoder_folder("bert"))


@pytest.mark.slow
def test_a_pooling(encoder: str, tmp_path: Path) -> None:
    scores, page, _ = executed(POOLING, tmp_path, ENCODER=encoder)
    mine = scores[(scores["pooling"] == "every_second") & (scores["metric"] == "spearman")]
    raw = mine[(mine["transform"] == "raw") & (mine["subset"] == "all")]
    assert set(raw["layer"]) == {0, 1, 2, 3}
    assert with_intervals(raw)
    assert set(raw["model"]) == {encoder, f"{encoder}+random"}
    assert "every_second" in page


@pytest.mark.slow
def test_a_classifier_on_every_view(encoder: str, tmp_path: Path) -> None:
    task = tmp_path / "colours.tsv"
    lines = [f"the {n} {'red' if n % 2 else 'blue'} cats sat\t{n % 2}" for n in range(60)]
    splits = ["train"] * 40 + ["test"] * 20
    rows = [f"{line}\t{split}" for line, split in zip(lines, splits, strict=True)]
    task.write_text("\n".join(["sentence\tlabel\tsplit", *rows]) + "\n", encoding="utf-8")
    scores, page, _ = executed(PROBE, tmp_path, ENCODER=encoder, TASK=str(task))
    for probe in ("linear", "KNeighborsClassifier"):
        mine = scores[(scores["probe"] == probe) & (scores["metric"] == "accuracy")]
        named = mine[~mine["model"].str.startswith("floor:")]
        assert named["view"].nunique() == 4 * 4 + 2
        assert with_intervals(named)
        assert probe in page


@pytest.mark.slow
def test_a_task_from_lists(encoder: str, tmp_path: Path) -> None:
    scores, page, _ = executed(TASK, tmp_path, ENCODER=encoder)
    mine = scores[(scores["task"] == "mine") & (scores["metric"] == "spearman")]
    assert with_intervals(mine[mine["transform"] == "raw"])
    assert "mine" in page


@pytest.mark.slow
def test_a_claim_about_a_pooling(encoder: str, tmp_path: Path) -> None:
    function = POOLING[POOLING.index("def every") : POOLING.index("study =")]
    (tmp_path / "mine.py").write_text(function, encoding="utf-8")
    scores, page, printed = executed(CLAIM, tmp_path, ENCODER=encoder)
    mine = scores[scores["view"].str.startswith("every_second@3 - ")]
    assert "spearman_difference" in set(mine["metric"])
    assert "every_second" in page
    (line,) = [line for line in printed.splitlines() if line.startswith("mine ") or "mine" in line]
    assert "every_second" in line
    again = probing.load_run(tmp_path / "run").verdict()
    assert "mine" in {finding.claim for finding in again.by_task}


@pytest.mark.slow
def test_a_function_of_sentences(tmp_path: Path) -> None:
    scores, page, _ = executed(FUNCTION, tmp_path)
    mine = scores[(scores["model"] == "static") & (scores["metric"] == "spearman")]
    assert set(mine["view"]) == {"vectors"}
    assert with_intervals(mine[mine["transform"] == "raw"])
    assert "static" in page


@pytest.mark.slow
def test_a_transform(encoder: str, tmp_path: Path) -> None:
    scores, page, _ = executed(TRANSFORM, tmp_path, ENCODER=encoder)
    mine = scores[scores["transform"].str.startswith("unit_variance:")]
    assert with_intervals(mine[mine["metric"] == "spearman"])
    assert mine["view"].nunique() > 10
    assert "unit_variance" in page


REGRESSOR = """
import probing
from sklearn.linear_model import LassoCV

study = probing.Study([ENCODER], ["stsb"], data_dir="data", probes=["linear", LassoCV()])
study.run("run").report()
"""


@pytest.mark.slow
def test_a_regressor_reads_similarity(encoder: str, tmp_path: Path) -> None:
    rows = [
        f"{split}\t{number % 6}\ta cat {number}\ta dog {number % 6} {number}"
        for split, size in (("train", 60), ("dev", 20), ("test", 30))
        for number in range(size)
    ]
    path = tmp_path / "data" / "sts" / "stsb.tsv"
    path.parent.mkdir(parents=True)
    lines = ["split\tscore\tsentence1\tsentence2", *rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    scores, _, _ = executed(REGRESSOR, tmp_path, ENCODER=encoder)
    for probe in ("regression", "LassoCV"):
        mine = scores[(scores["probe"] == probe) & (scores["metric"] == "spearman")]
        assert mine["view"].nunique() == 4 * 4 + 2


@pytest.mark.slow
def test_vectors_from_a_file(tmp_path: Path) -> None:
    scores, page, _ = executed(VECTORS, tmp_path)
    mine = scores[(scores["model"] == "mine") & (scores["metric"] == "spearman")]
    assert set(mine["view"]) == {"first", "second"}
    assert with_intervals(mine[mine["transform"] == "raw"])
    assert "second" in page
