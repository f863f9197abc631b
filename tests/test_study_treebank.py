"""A study of a treebank: trees, layers together, and what is left when a label is erased."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import probing
from probing.errors import InputError
from probing.probes import mixing, structural
from probing.reporting.run import Run
from probing.study.study import Study
from probing.tasks import LabelledSpans, load_task
from tests.test_treebank import written

ERASED = "own.conllu:subj_number"
METHODS = ("leace", "inlp", "random")


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, tiny_encoder_folder: Callable[[str], Path]
) -> Run:
    folder = tmp_path_factory.mktemp("treebank")
    path = written(folder / "own.conllu", 700)
    study = Study(
        models=[tiny_encoder_folder("bert")],
        tasks=["sts-mini", f"{path}:subj_number", f"{path}:structure", f"{path}:relation"],
        probes=["linear", "scalar-mix", "attention"],
        erase=[f"{path}:subj_number", str(path)],
        n_resamples=50,
        n_draws=1,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixing, "REFITS", 4)
        patch.setattr(mixing, "_FEWEST_STEPS", 40)
        patch.setattr(structural, "EPOCHS", 6)
        return study.run(folder / "run")


def of(run: Run, **wanted: object) -> pd.DataFrame:
    rows = run.scores
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    return rows


def test_trees_are_found_layer_by_layer_beside_the_chain_and_random_weights(run: Run) -> None:
    rows = of(run, task="own.conllu:structure", metric="uuas", split="test", transform="raw")
    (name,) = run.models
    assert set(rows["model"]) == {name, f"{name}+random", "floor:linear-chain"}
    mine = rows[rows["model"] == name]
    assert mine["layer"].tolist() == list(range(len(mine)))
    assert len(mine) > 2
    assert (mine["lower"] <= mine["value"]).all()
    assert (mine["value"] <= mine["upper"]).all()
    chain = rows[rows["model"] == "floor:linear-chain"]["value"].item()
    assert mine["value"].max() > chain + 0.1
    assert set(of(run, task="own.conllu:structure", model=name)["split"]) == {"dev", "test"}


def test_every_measurement_is_made_again_without_the_label(run: Run) -> None:
    (name,) = run.models
    for method in METHODS:
        erased = f"{method}:{ERASED}"
        similar = of(run, model=name, task="sts-mini", transform=erased, metric="spearman")
        plain = of(run, model=name, task="sts-mini", transform="raw", metric="spearman")
        assert set(similar["view"]) < set(plain["view"])
        assert {"mean@0", "cls@1", "mean@3", "pooler@3"} <= set(similar["view"])
        changed = of(run, task="sts-mini", transform=f"{erased} - raw")
        assert set(changed["metric"]) >= {"spearman_difference", "standard_error"}
        probed = of(run, task=ERASED, transform=erased, metric="accuracy", probe="linear")
        assert len(probed) > 4
        assert set(probed["model"]) == {name}
    against = of(run, task="sts-mini", transform=f"leace:{ERASED} - random:{ERASED}")
    assert len(against)
    # sentences have no vectors of words
    assert of(run, task="own.conllu:relation", transform=f"leace:{ERASED}").empty
    assert of(run, task="sts-mini", transform="leace:own.conllu").empty
    assert [entry["name"] for entry in run.manifest["erased"]] == [ERASED, "own.conllu"]


def test_trees_and_arcs_are_measured_without_parts_of_speech(run: Run) -> None:
    for task, metric in (("own.conllu:structure", "uuas"), ("own.conllu:relation", "accuracy")):
        name = run.models[0]
        plain = of(run, task=task, model=name, metric=metric, split="test", transform="raw")
        for method in METHODS:
            without = of(
                run, task=task, metric=metric, split="test", transform=f"{method}:own.conllu"
            )
            assert set(without["model"]) == {name}
            assert set(without["view"]) <= set(plain["view"])
            assert len(without) >= 4
            there = without[without["value"].notna()]
            # INLP takes every direction of vectors as short as these
            assert method == "inlp" or len(there) == len(without)
            assert (there["lower"] <= there["upper"]).all()


def test_what_is_known_of_layers_is_decided_on_the_tasks_it_speaks_of(run: Run) -> None:
    verdict = run.verdict(claims=probing.TREEBANK_CLAIMS)
    assert {(found.claim, found.task) for found in verdict.by_task} == {
        ("L4", "own.conllu:relation")
    }
    (finding,) = verdict.by_task
    # which words are joined by an arc is told by the words themselves
    assert finding.view == "word_first@3 - word_first@0"
    assert finding.outcome in probing.Outcome


def test_layers_are_mixed_and_attended_to(run: Run) -> None:
    (name,) = run.models
    mixed = of(run, model=name, task=ERASED, probe="scalar-mix", labels="real")
    weights = mixed[mixed["metric"] == "layer_weight"]
    assert weights["value"].sum() == pytest.approx(1)
    assert set(mixed["metric"]) == {
        "accuracy", "macro_f1", "layer_weight", "centre_of_gravity", "expected_layer",
    }  # fmt: skip
    assert set(of(run, task=ERASED, probe="attention")["model"]) == {name, f"{name}+random"}
    pairs = of(run, task="own.conllu:relation", probe="scalar-mix", metric="centre_of_gravity")
    assert set(pairs["pooling"]) == {"word_first"}
    assert of(run, task="own.conllu:relation", probe="attention").empty


def test_the_report_and_the_curves_show_trees(run: Run) -> None:
    text = run.report().read_text(encoding="utf-8")
    assert "own.conllu:structure" in text
    curves = run.layer_curves("own.conllu:structure")
    chain = of(run, model="floor:linear-chain", metric="uuas", split="test")["value"].item()
    assert f"linear-chain (dotted) {100 * chain:.1f}" in curves.sentence


def test_only_labels_of_one_vector_are_erased(tmp_path: Path) -> None:
    path = written(tmp_path / "own.conllu", 40)
    assert isinstance(load_task(f"{path}:relation"), LabelledSpans)
    study = Study(models=["minilm"], tasks=["sts-mini"], erase=[f"{path}:relation"])
    with pytest.raises(InputError, match="cannot be erased: expected labels of sentences or of"):
        study.run(tmp_path / "run")
    with pytest.raises(InputError, match="is named twice"):
        Study(models=["minilm"], tasks=["sts-mini"], erase=["ewt", "ewt"])
