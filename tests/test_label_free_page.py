"""docs/label-free.md says what was measured, and the verdicts follow the rule."""

import json
from pathlib import Path
from typing import Any

import label_free
import label_free_rules
import label_free_tables
import numpy as np
import pytest
from label_free_rules import DEPTH, HALF, RULES, TWIN, Case, Effect, gains, read_cases, verdicts
from scipy.stats import spearmanr

import probing
from probing.similarity.label_free import METRICS
from probing.study.label_free import token_metrics

DOCS = Path(__file__).parent.parent / "docs"
ROWS = json.loads((DOCS / "label-free.json").read_text(encoding="utf-8"))
NAMES = [metric.name for metric in METRICS]


def _case(picked: int, *, best: int, spread: float = 0.001, task: str = "t") -> Case:
    """Four layers of which every measure picks one, and every layer varies by the spread."""
    scores = np.array([0.5, 0.6, 0.7, 0.65])
    scores[best] = 0.9
    said = np.tile(-np.abs(np.arange(4.0) - picked), (1 + label_free_rules.N_HALVES, 1))
    depth = np.tile(np.arange(4.0), (len(said), 1))
    return Case(
        task=task,
        scores=scores,
        covariance=spread**2 * np.eye(4),
        said=dict.fromkeys(NAMES, said) | {DEPTH: depth, HALF: -np.abs(depth - 2)},
    )


def _decided(cases: list[Case], twin: list[Case]) -> set[str]:
    over = gains(cases, DEPTH), gains(cases, TWIN, others=twin)
    return set(verdicts(*over).values())


def test_the_page_is_made_from_the_cases() -> None:
    page = (DOCS / "label-free.md").read_text(encoding="utf-8")
    assert page == label_free_tables.markdown(ROWS)
    tasks = {(row["encoder"], row["pooling"], row["task"]) for row in ROWS}
    expected = {
        (encoder, pooling, task)
        for encoder, poolings in label_free.POOLINGS.items()
        for pooling in poolings
        for task in (*label_free_rules.PAIRS, *label_free_rules.LABELLED)
    }
    assert tasks == expected
    assert len(ROWS) == len(expected)


def test_a_planted_choice_is_supported_and_its_opposite_refuted() -> None:
    right, wrong = [_case(1, best=1)] * 8, [_case(0, best=1)] * 8
    assert _decided(right, wrong) == {"supported"}
    assert _decided(wrong, right) == {"refuted"}


def test_a_choice_that_random_weights_make_as_well_is_not_supported() -> None:
    right = [_case(1, best=1)] * 8
    assert _decided(right, right) == {"undecided"}


def test_what_varies_too_much_is_undecided_and_the_last_layer_gains_nothing() -> None:
    noisy = [_case(1, best=1, spread=0.9)] * 4
    assert _decided(noisy, [_case(0, best=1)] * 4) == {"undecided"}
    last = gains([_case(3, best=1)] * 8, DEPTH)["dime"]
    assert (last.value, last.error, last.p) == (0, 0, 1)
    assert last.below(label_free_rules.MARGIN) == 1  # so few tasks do not show that it never would


def test_gains_and_intervals_by_hand() -> None:
    cases = [_case(1, best=1), _case(2, best=1), _case(0, best=2)]
    found = gains(cases, DEPTH)["lidar"]
    apart = [25.0, 5.0, -15.0]
    assert found.value == pytest.approx(np.mean(apart))
    # the spread over tasks decides; a bootstrap's is that of n, corrected to n - 1
    assert found.error == pytest.approx(np.std(apart, ddof=1) / np.sqrt(3), rel=0.06)
    lower, upper = found.interval
    assert lower + upper == pytest.approx(2 * found.value)
    assert (upper - lower) / 2 == pytest.approx(4.303 * found.error, rel=1e-3)
    assert Effect(1.0, 0.5, 9).p == pytest.approx(0.0766, abs=1e-3)


def test_correlations_are_spearmans() -> None:
    cases = read_cases(ROWS, label_free_rules.ENCODER, "mean")
    found = label_free_rules.correlations(cases)
    expected = [spearmanr(case.said["dime"][0], case.scores).statistic for case in cases]
    assert found["dime"].value == pytest.approx(np.mean(expected))


def test_a_layer_of_one_vector_is_never_picked() -> None:
    cases = read_cases(ROWS, label_free_rules.ENCODER, "cls")
    for case in cases:
        assert not case.defined[0]
        assert all((case.picks(name) > 0).all() for name in RULES)


@pytest.mark.slow
def test_what_ships_gives_a_case_of_the_page_again() -> None:
    """The curvature of a treebank task's sentences, without its vectors."""
    (row,) = (
        row
        for row in ROWS
        if (row["encoder"], row["task"], row["pooling"]) == ("minilm", "ewt:subj_number", "mean")
    )
    task: Any = probing.load_task("ewt:subj_number")
    rows = label_free._train_and_test(task, np.random.default_rng(0))
    distinct = list(dict.fromkeys(task.sentences[row] for row in rows))
    rng = np.random.default_rng(0)
    n = label_free_rules.N_SENTENCES
    drawn = rng.choice(len(distinct), min(n, len(distinct)), replace=False)
    found = token_metrics(probing.load_encoder("minilm"), [distinct[i] for i in sorted(drawn)])
    expected = np.nanmean(found["curvature"], axis=1)
    assert row["measures"]["curvature"][0] == pytest.approx(expected, rel=1e-4)
