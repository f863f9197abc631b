"""The verdict on planted effects, and the experiment by one command with a tiny encoder."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probing.cause.criteria import Answer
from probing.cause.estimands import ROW_COLUMNS, START, effect, values
from probing.cause.experiment import Cause, figures_of, read_cause_rows, rewrite, run_cause
from probing.cause.smoke_texts import python_help
from probing.cause.verdict import decide
from probing.errors import InputError
from probing.pretraining.corpus import read_documents
from probing.reporting.run import load_run
from tests.test_pretraining import write_corpus
from tests.warm_process import completed

TASKS = ("sts12", "sts13", "sts14", "sts15", "sts16", "sickr")
FROZEN = {"nsp": -9.0, "nsp-permuted": -1.0, "next-mean": 0.5, "sop": -1.0}
CONTINUED = {"mlm": 0.0, "mlm+nsp": -20.0, "mlm+shuffled": 0.0}


def planted(
    frozen: Mapping[str, float] = FROZEN,
    continued: Mapping[str, float] = CONTINUED,
    *,
    spread: float = 0.3,
    accuracy: float = 0.7,
    mlm_loss: float = 0.0,
) -> pd.DataFrame:
    """Rows in which ``pooler − cls`` of an arm ends as given, halfway there at the first look."""
    rng = np.random.default_rng(0)
    rows: list[tuple[object, ...]] = []

    def add(*place: object, view: str, task: str, points: float, metric: str = "spearman") -> None:
        rows.append((*place, task, view, metric, points / 100, 100))

    for experiment, arms, n_seeds in (("E1", frozen, 20), ("E2", continued, 8)):
        for arm, end in arms.items():
            for seed in range(n_seeds):
                own = spread * rng.normal()
                for dose, share in ((0, 0.0), (10, 0.5), (20, 1.0)):
                    place = (experiment, arm, "", seed, dose)
                    for task in TASKS:
                        points = 70 + share * (end + own)
                        add(*place, view="pooler", task=task, points=points)
                        if experiment == "E2" or (seed == 0 and dose == 0):
                            add(*place, view="cls", task=task, points=70)
                            add(*place, view="mean", task=task, points=80)
                    told = accuracy if arm in ("nsp", "mlm+nsp") else 0.5
                    held_out = {"view": "", "task": "held-out"}
                    add(*place, **held_out, points=100 * told, metric="sentence_accuracy")
                    loss = 300 + 100 * mlm_loss * (arm == "mlm+nsp")
                    add(*place, **held_out, points=loss, metric="mlm_loss")
            for other in (*arms, START):
                for task in TASKS:
                    place = (experiment, f"{arm} - {other}", "", -1, 20)
                    error = {"view": "pooler - cls", "metric": "standard_error"}
                    add(*place, task=task, points=0.5, **error)
    for floor, points in (("floor:jaccard", 57.0), ("floor:random", 44.0)):
        for task in TASKS:
            add("floor", floor, "", -1, 0, view="mean", task=task, points=points)
    for place in (("E1", "nsp", "", 0, 0), ("E2", "mlm", "", 0, 0)):
        add(*place, view="", task="held-out", points=55, metric="overlap_accuracy")
    return pd.DataFrame(rows, columns=list(ROW_COLUMNS))


def test_a_planted_effect_is_found_in_points_and_by_seed() -> None:
    rows = planted(spread=0.0)
    found = effect(rows, "E1", "nsp", "nsp-permuted", 20)
    assert found.mean.effect == pytest.approx(-8.0)
    assert (found.seeds_below, found.tasks_below) == (20, 6)
    assert found.item_error == pytest.approx(0.5 / np.sqrt(6))
    assert found.mean.standard_error == pytest.approx(0.5 / np.sqrt(6))  # seeds do not differ
    assert effect(rows, "E1", "nsp", START, 20).mean.effect == pytest.approx(-9.0)
    early = effect(rows, "E1", "nsp", "nsp-permuted", 10)
    assert early.items_borrowed
    assert not found.items_borrowed
    with pytest.raises(ValueError, match="is missing"):
        values(rows[rows["task"] != "sickr"].assign(value=np.nan), "E1", "nsp", 20)


def test_seeds_and_items_make_the_interval_and_tasks_do_not() -> None:
    rows = planted(spread=1.0)
    scale = rows["task"].map({task: 1 + place for place, task in enumerate(TASKS)})
    of_nsp = (rows["arm"] == "nsp") & (rows["view"] == "pooler")
    rows.loc[of_nsp, "value"] -= 0.01 * scale[of_nsp]
    found = effect(rows, "E1", "nsp", "nsp-permuted", 20)
    expected = np.hypot(found.by_seed.std(ddof=1) / np.sqrt(20), 0.5 / np.sqrt(6))
    assert found.mean.standard_error == pytest.approx(expected)


def test_all_criteria_met_is_convincing() -> None:
    verdict = decide(planted(), "minilm")
    assert all(gate.answer is Answer.YES for gate in verdict.gates)
    assert all(criterion.answer is Answer.YES for criterion in verdict.convincing)
    assert all(criterion.answer is Answer.NO for criterion in verdict.refuting)
    assert verdict.headline == (
        "Convincing by the registered criteria: in minilm, next sentence prediction spoils the "
        "pooler through W."
    )


@pytest.mark.slow
def test_a_placebo_that_does_as_much_refutes() -> None:
    verdict = decide(planted(FROZEN | {"nsp-permuted": -9.1}), "minilm")
    assert verdict.headline == "Refuted in minilm: permuted labels do as much."
    both = decide(planted(FROZEN | {"next-mean": -9.3, "sop": -9.2}), "minilm")
    assert both.headline.startswith("Refuted in minilm: sentence order prediction and the positive")
    untaught = decide(planted(FROZEN | {"nsp-permuted": -9.1}, accuracy=0.6), "minilm")
    assert untaught.headline.startswith("Nothing is concluded about minilm. A gate is closed: E1")
    one = decide(planted(FROZEN | {"sop": -9.2}), "minilm")
    assert one.refuting[1].answer is Answer.NO


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({"frozen": FROZEN | {"nsp": -5.5}}, "P1 is −5"),
        ({"frozen": FROZEN | {"nsp-permuted": -3.5}}, "placebo and positive control"),
        ({"continued": CONTINUED | {"mlm+nsp": -4.0}}, "P2 is −5"),
        ({"continued": CONTINUED | {"mlm+nsp": -0.1}}, "the dose is monotone"),
    ],
)
def test_a_criterion_that_is_not_met_is_named(
    changes: dict[str, dict[str, float]], missed: str
) -> None:
    headline = decide(planted(**changes), "minilm").headline  # type: ignore[arg-type]
    assert "the result is neither convincing nor refuting" in headline
    assert missed in headline


@pytest.mark.parametrize(
    "changes",
    [{"accuracy": 0.6}, {"mlm_loss": 0.03}, {"accuracy": float("nan")}],
    ids=["head", "loss", "not measured"],
)
def test_nothing_causal_is_said_where_a_gate_is_closed(changes: dict[str, float]) -> None:
    verdict = decide(planted(**changes), "minilm")  # type: ignore[arg-type]
    assert verdict.headline.startswith(("Nothing is concluded about minilm. A gate", "Open in"))
    assert "is closed" in " ".join((verdict.headline, *verdict.estimates))


def test_what_is_not_there_is_not_measured() -> None:
    rows = planted()
    rows = rows[~rows["arm"].str.contains("mlm|sop")]
    verdict = decide(rows, "minilm")
    assert verdict.headline.startswith("Open in minilm")
    assert "P2 (E2) is not measured yet." in verdict.estimates
    nothing = decide(rows[rows["arm"].str.startswith("floor")], "minilm")
    assert nothing.headline.startswith("Nothing can be said")


def test_figures_show_every_arm_with_the_placebo() -> None:
    figures = figures_of(planted())
    assert set(figures) == {"E1", "E2"}
    assert "nsp-permuted −1." in figures["E1"].sentence
    assert "cls − mean" in figures["E2"].sentence


@pytest.mark.slow
def test_the_experiment_runs_from_one_command(
    tiny_encoder_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    encoder = tiny_encoder_folder("bert")
    texts = write_corpus(tmp_path / "texts", documents=120)
    options = ["--model", str(encoder), "--corpus", str(texts), "--size", "smoke"]
    done = completed(["probing", "cause", *options, "--out", str(tmp_path / "run")])
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "run"
    verdict = decide(
        read_cause_rows(folder / "rows.csv"), load_run(folder).manifest["encoders"][0]["name"]
    )
    assert verdict.headline in done.stdout.replace("\n   ", " ")
    scores = load_run(folder).scores
    assert {"E1", "E2", "E3", "S5"} == {
        name.split("[")[1][:2] for name in scores.model if "[" in name
    }
    assert (folder / "figures" / "cause-e3.svg").is_file()
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert len(manifest["cause"]["corpus"]) == 1
    assert len(manifest["cause"]["changes"]) >= 9
    before = (folder / "rows.csv").read_bytes()
    page = (folder / "report.html").read_bytes()
    work = Cause(str(encoder), str(texts), folder, "smoke")
    assert run_cause(work).verdict() == verdict  # nothing is done again
    assert (folder / "rows.csv").read_bytes() == before
    assert rewrite(folder).is_file()
    assert len(page) > 10_000


def test_a_size_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="smoke, pilot, full"):
        Cause("minilm", str(tmp_path), tmp_path / "out", "huge")
    with pytest.raises(InputError, match="no --corpus"):
        Cause("minilm", None, tmp_path / "out", "pilot")


def test_a_corpus_without_texts_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    with pytest.raises(InputError, match="expected plain text"):
        run_cause(Cause("minilm", str(tmp_path / "texts"), tmp_path / "out", "pilot"))
    assert not (tmp_path / "out").exists()


def test_the_texts_of_python_are_sentences(tmp_path: Path) -> None:
    folder = python_help(tmp_path)
    documents = list(read_documents(folder / "python-help.txt"))
    assert len(documents) > 200  # of which one in a hundred is held out
    assert all(len(sentence.split()) >= 4 for document in documents for sentence in document)
