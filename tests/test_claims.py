"""The verdict says what the rows of the table carry, no more and no less."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from probing.claims.deciding import (
    CLAIMS,
    NEXT_SENTENCE_CLAIMS,
    OVERALL,
    TWIN_CLAIMS,
    Claim,
    Finding,
    Outcome,
    Side,
    Verdict,
    claim_rows,
    decide,
)
from probing.claims.verdict import POOLER_STATES, verdict_text, wrapped
from probing.errors import InputError
from probing.results.scores import Score, score_table
from probing.results.target import Target
from probing.similarity.contrasts import Cell, contrast_scores
from probing.statistics import holm, random_effects

C1_ROW = ("pooler@2 - mean@2", "raw", "cosine")
C5_ROW = ("pooler@2 - mean@2", "whitened:target", "cosine")
C5A_ROW = ("pooler@2", "whitened:target - raw", "cosine")
TASKS = ("sts12", "sts13", "sts14", "sts15", "sts16", "stsb", "sickr")


def _rows(
    row: tuple[str, str, str],
    effect: float,
    error: float,
    *,
    task: str = "stsb",
    model: str = "toy",
    aggregation: str = "all",
) -> list[Score]:
    view, transform, probe = row
    shared = {
        "model": model,
        "task": task,
        "aggregation": aggregation,
        "view": view,
        "layer": 2,
        "pooling": "none",
        "transform": transform,
        "probe": probe,
        "n": 100,
        "seed": 0,
    }
    half = norm.isf(0.025) * error
    difference = {"value": effect, "lower": effect - half, "upper": effect + half}
    return [
        Score(metric="spearman_difference", **difference, **shared),  # type: ignore[arg-type]
        Score(metric="standard_error", value=error, **shared),  # type: ignore[arg-type]
    ]


def _chosen(values: Sequence[float], model: str = "toy") -> list[Score]:
    return [
        Score(
            model=model,
            task="stsb",
            split="dev",
            aggregation="all",
            view=f"mean@{layer}",
            layer=layer,
            pooling="mean",
            probe="cosine",
            metric="selection_spearman",
            value=value,
            n=100,
            seed=0,
        )
        for layer, value in enumerate(values)
    ]


def _decide(*rows: list[Score], **options: object) -> Verdict:
    return decide(score_table(chain.from_iterable(rows)), "toy", **options)  # type: ignore[arg-type]


def _overall(verdict: Verdict, claim: str) -> Finding:
    (finding,) = [f for f in verdict.overall if f.claim == claim]
    return finding


@pytest.mark.parametrize(
    ("effect", "outcome"),
    [
        (-0.1, Outcome.SUPPORTED),
        (0.1, Outcome.REFUTED),
        (-0.01, Outcome.UNDECIDED),
        (0.0, Outcome.UNDECIDED),
    ],
)
def test_a_claim_and_its_opposite(effect: float, outcome: Outcome) -> None:
    verdict = _decide(_rows(C1_ROW, effect, 0.02))
    finding = _overall(verdict, "C1")
    assert finding.outcome is outcome
    assert finding.p == pytest.approx(2 * norm.sf(abs(effect) / 0.02))
    # One task keeps the interval of the table.
    assert (finding.effect, finding.lower) == (effect, verdict.by_task[0].lower)
    assert {claim.id for claim in verdict.not_tested} == {c.id for c in CLAIMS} - {"C1"}


@pytest.mark.parametrize(
    ("whitened", "outcome"),
    [
        (0.0, Outcome.SUPPORTED),
        (-0.05, Outcome.REFUTED),
        (-0.011, Outcome.UNDECIDED),
        (-0.008, Outcome.UNDECIDED),
    ],
)
def test_a_deficit_is_gone_when_it_is_surely_less_than_a_point(
    whitened: float, outcome: Outcome
) -> None:
    rows = _rows(C5_ROW, whitened, 0.002)
    assert _overall(_decide(_rows(C1_ROW, -0.1, 0.002), rows), "C5").outcome is outcome
    # Without a deficit there is nothing that could be gone.
    for without in (_decide(_rows(C1_ROW, 0.1, 0.002), rows), _decide(rows)):
        finding = _overall(without, "C5")
        assert (finding.outcome, finding.reason) == (Outcome.UNDECIDED, "C1 is not supported")


def test_the_twin_decides_c7() -> None:
    deficit = _rows(C1_ROW, -0.1, 0.002)
    alike = _decide(deficit, _rows(C1_ROW, -0.1, 0.002, model="toy+random"))
    other = _decide(deficit, _rows(C1_ROW, 0.1, 0.002, model="toy+random"))
    assert _overall(alike, "C7").outcome is Outcome.SUPPORTED
    assert _overall(other, "C7").outcome is Outcome.REFUTED
    assert _overall(alike, "C7").model == "toy+random"
    assert "says nothing about training" in verdict_text(alike, pooler="trained")
    assert "says nothing about training" not in verdict_text(other, pooler="trained")
    assert claim_rows(2, 1, control=True) == [C1_ROW]
    assert C1_ROW in claim_rows(2, 1)


def test_the_earlier_layer_is_the_best_one_on_development_pairs() -> None:
    rows = [_rows((f"mean@2 - mean@{layer}", "raw", "cosine"), -0.1, 0.01) for layer in (0, 1)]
    chosen = _decide(*rows, _chosen([0.6, 0.5, 0.9]))
    assert _overall(chosen, "C4").view == "mean@2 - mean@0"
    assert chosen.selection == "layer 0 chosen on stsb dev"
    # A layer without a value, and the last, are not to be chosen.
    other = _decide(*rows, _chosen([math.nan, 0.5, 0.9]))
    assert _overall(other, "C4").view == "mean@2 - mean@1"
    unchosen = _decide(*rows)
    assert "C4" in {claim.id for claim in unchosen.not_tested}
    assert ("mean@2 - mean@0", "raw", "cosine") in claim_rows(2, 0)
    assert not [row for row in claim_rows(2, None) if "{" in row[0] or "None" in row[0]]


def _seven(seed: int = 0, effect: float = -0.1) -> list[list[Score]]:
    rng = np.random.default_rng(seed)
    return [
        _rows(row, centre + rng.normal(0, 0.01), 0.01, task=task, model=model)
        for row, centre, model in (
            (C1_ROW, effect, "toy"),
            (("pooler@2 - cls@2", "raw", "cosine"), -0.02, "toy"),
            (("cls@2 - mean@2", "raw", "cosine"), 0.03, "toy"),
            (C5_ROW, -0.01, "toy"),
            (C1_ROW, -0.04, "toy+random"),
            (C5A_ROW, 0.04, "toy"),
        )
        for task in TASKS
    ]


def test_p_is_corrected_over_the_tests_of_tasks_and_over_those_of_all_tasks() -> None:
    verdict = _decide(*_seven())
    assert verdict.tasks == TASKS
    for family, size in ((verdict.by_task, 6 * 7), (verdict.overall, 6)):
        assert len(family) == size
        corrected = holm([finding.p for finding in family])
        np.testing.assert_array_equal([finding.corrected_p for finding in family], corrected)
    first = [finding for finding in verdict.by_task if finding.claim == "C5"]
    pooled = random_effects([f.effect + 0.01 for f in first], [f.standard_error for f in first])
    overall = _overall(verdict, "C5")
    assert overall.effect == pytest.approx(pooled.effect - 0.01)
    assert (overall.lower, overall.p) == (pytest.approx(pooled.lower - 0.01), pooled.p)
    assert (overall.task, overall.n_tasks) == (OVERALL, 7)


def test_every_number_of_the_verdict_stands_in_the_table() -> None:
    table = score_table(chain.from_iterable(_seven()))
    findings = decide(table, "toy").table()
    key = ["model", "task", "view", "transform", "probe", "aggregation"]
    single = findings[findings["task"] != OVERALL]
    for metric, names in (
        ("spearman_difference", {"value": "effect", "lower": "lower", "upper": "upper"}),
        ("standard_error", {"value": "standard_error"}),
    ):
        rows = table.loc[table["metric"] == metric, [*key, *names]].rename(columns=names)
        merged = single.merge(rows, on=key, suffixes=("", "_of_table"), validate="1:1")
        assert len(merged) == len(single)
        for name in names.values():
            pd.testing.assert_series_equal(
                merged[name], merged[f"{name}_of_table"], check_names=False
            )


def test_the_aggregation_asked_for_wins_and_tasks_without_subsets_keep_all() -> None:
    rows = (
        _rows(C1_ROW, 0.1, 0.01, task="sts12"),
        _rows(C1_ROW, -0.1, 0.01, task="sts12", aggregation="wmean"),
        _rows(C1_ROW, -0.2, 0.01, task="stsb"),
    )
    effects = {f.task: f.effect for f in _decide(*rows, aggregation="wmean").by_task}
    assert effects == {"sts12": -0.1, "stsb": -0.2}
    effects = {f.task: f.effect for f in _decide(*rows).by_task}
    assert effects == {"sts12": 0.1, "stsb": -0.2}


def test_what_is_undefined_is_undecided_and_left_out_of_the_family() -> None:
    verdict = _decide(
        _rows(C1_ROW, math.nan, math.nan, task="sts12"), _rows(C1_ROW, -0.1, 0.01, task="stsb")
    )
    undefined, defined = verdict.by_task
    assert (undefined.outcome, undefined.reason) == (Outcome.UNDECIDED, "the value is undefined")
    assert defined.corrected_p == defined.p
    assert _overall(verdict, "C1").n_tasks == 1
    nothing = _decide(_rows(C1_ROW, math.nan, math.nan))
    assert _overall(nothing, "C1").outcome is Outcome.UNDECIDED
    assert "C1 undecided on stsb: the value is undefined on every task." in verdict_text(
        nothing, pooler="trained"
    )


def test_a_new_claim_is_five_lines() -> None:
    claim = Claim(
        id="C20",
        sentence="max pooling of the last layer is worse than mean pooling of it",
        view="max@{last} - mean@{last}",
    )
    row = ("max@2 - mean@2", "raw", "cosine")
    assert claim_rows(2, None, [*CLAIMS, claim])[-1] == row
    verdict = _decide(_rows(row, -0.2, 0.01), claims=[*CLAIMS, claim])
    assert (
        "C20 supported on stsb: max pooling of layer 2 is 20.0 points (18.0 to 22.0) below "
        "mean pooling of layer 2, p < 0.001."
    ) in verdict_text(verdict, pooler="trained")


def _text(*rows: list[Score], pooler: str = "untrained") -> str:
    return verdict_text(_decide(*rows), pooler=pooler)


def test_the_words_of_a_supported_deficit() -> None:
    deficit = _rows(C1_ROW, -0.089, 0.01)
    start = (
        "C1 supported on stsb: pooler_output is 8.9 points (6.9 to 10.9) below mean pooling of "
        "layer 2, p < 0.001"
    )
    assert f"{start}; whitening recovers 5.2 of them." in _text(
        deficit, _rows(C5A_ROW, 0.052, 0.01)
    )
    assert "This pooler was never trained." in _text(deficit)
    # Nothing is recovered where whitening does not surely raise the pooler.
    for without in (_rows(C5A_ROW, 0.01, 0.01), _rows(C5A_ROW, -0.05, 0.01), []):
        assert f"{start}." in _text(deficit, without)
        assert "recovers" not in _text(deficit, without)
    more = _text(deficit, _rows(C5A_ROW, 0.2, 0.01))
    assert "; whitening raises pooler_output by 20.0." in more
    assert "recovers" not in more


def test_the_words_of_the_opposite() -> None:
    text = _text(_rows(C1_ROW, 0.089, 0.01), _rows(C5A_ROW, 0.052, 0.01))
    assert "C1 refuted on stsb: pooler_output is 8.9 points (6.9 to 10.9) above mean" in text
    assert "recovers" not in text
    text = _text(_rows(C1_ROW, -0.001, 0.01))
    assert "C1 undecided on stsb: pooler_output is 0.1 points (-1.9 to 2.1) below mean" in text


def test_the_words_of_many_tasks() -> None:
    rows = [_rows(C1_ROW, -0.09 - 0.001 * i, 0.005, task=t) for i, t in enumerate(TASKS[:-1])]
    rows.append(_rows(C1_ROW, -0.08, 0.05, task=TASKS[-1]))
    text = _text(*rows)
    assert "C1 supported overall and on 6 of 7 tasks (undecided on 1): pooler_output is " in text
    assert "overall: random-effects mean over 7 tasks" in text
    rows[-1] = _rows(C1_ROW, 0.3, 0.005, task=TASKS[-1])
    assert "C1 undecided overall (supported on 6, refuted on 1 of 7 tasks): " in _text(*rows)


@pytest.mark.parametrize("state", POOLER_STATES)
def test_the_state_of_the_pooler_is_said_and_no_other(state: str) -> None:
    text = _text(_rows(C1_ROW, -0.1, 0.01), pooler=state)
    assert [known for known, words in POOLER_STATES.items() if words in text] == [state]
    with pytest.raises(ValueError, match="unknown pooler state"):
        _text(_rows(C1_ROW, -0.1, 0.01), pooler="odd")


def test_an_encoder_without_a_pooler_gets_its_verdict_too() -> None:
    verdict = _decide(_rows(("cls@2 - mean@2", "raw", "cosine"), -0.05, 0.01))
    text = verdict_text(verdict, pooler="absent")
    assert "C3 supported on stsb: [CLS] of layer 2 is 5.0 points" in text
    assert "This encoder has no pooler." in text
    assert "Not measured in this run: C1 (" in text
    assert verdict.road.steps == ()


def test_twins_are_held_against_each_other() -> None:
    twins = "without - with"
    rows = [
        _rows((f"{pooling}@2", "raw", "cosine"), effect, 0.004, model=twins)
        for pooling, effect in (("cls", 0.02), ("mean", -0.05), ("pooler", -0.03))
    ]
    verdict = decide(score_table(chain.from_iterable(rows)), twins, claims=TWIN_CLAIMS)
    found = {finding.claim: finding.outcome for finding in verdict.overall}
    assert found == {
        "N2": Outcome.SUPPORTED,
        "N3": Outcome.REFUTED,
        "N4": Outcome.SUPPORTED,
    }
    text = verdict_text(verdict)
    assert "[CLS] of layer 2 of without is 2.0 points (1.2 to 2.8) above with's" in text
    assert "pooler_output of without is 3.0 points (2.2 to 3.8) below with's" in text
    assert not any(state in text for state in POOLER_STATES.values())


def test_next_sentences_told_by_the_pooler() -> None:
    row = _rows(("pooler@2 - mean@2", "raw", "linear"), 0.1, 0.01, task="next-sentence")
    rows = [
        replace(one, metric="accuracy_difference") if "difference" in one.metric else one
        for one in row
    ]
    text = verdict_text(decide(score_table(rows), "toy", claims=NEXT_SENTENCE_CLAIMS))
    assert "Differences of accuracy × 100" in text
    assert "N1 supported on next-sentence: read by a linear probe, pooler_output is 10.0" in text


def test_the_road_adds_up() -> None:
    steps = ("cls@2 - mean@2", "pooler_dense@2 - cls@2", "pooler@2 - pooler_dense@2")
    changes = {"sts12": (-0.05, -0.03, 0.01), "stsb": (-0.03, -0.01, -0.01)}
    rows = [
        _rows((step, "raw", "cosine"), change, 0.01, task=task)
        for task, values in changes.items()
        for step, change in zip(steps, values, strict=True)
    ]
    rows += [_rows(C1_ROW, sum(values), 0.01, task=task) for task, values in changes.items()]
    verdict = _decide(*rows)
    assert [step.name for step in verdict.road.steps] == ["cls@2", "pooler_dense@2", "pooler@2"]
    whole = np.mean([sum(values) for values in changes.values()])
    assert sum(step.change for step in verdict.road.steps) == pytest.approx(whole)
    text = verdict_text(verdict, pooler="trained")
    assert (
        "From mean pooling of layer 2 to pooler_output: [CLS] in place of the mean -4.0 "
        "(-5.4 to -2.6), the dense layer -2.0 (-3.4 to -0.6), tanh 0.0 (-1.4 to +1.4); together "
        "-6.0, the plain mean over 2 tasks."
    ) in text
    # A step that is missing on one task would break the sum: nothing is said of the road.
    assert _decide(*rows[1:]).road.steps == ()


def test_the_road_with_other_poolers() -> None:
    rows = []
    for task, shift in (("sts12", 0.0), ("stsb", 0.02)):
        rows.append(_rows(C1_ROW, -0.1, 0.01, task=task))
        rows.append(_rows(("cls@2", "tanh - raw", "cosine"), 0.03 + shift, 0.01, task=task))
        for draw, change in enumerate((-0.03, -0.01)):
            for name, value in (
                ("random-dense - raw", change + shift),
                ("random-dense+tanh - random-dense", 0.0),
            ):
                made = _rows(("cls@2", name, "cosine"), value, 0.01, task=task)
                rows.append([replace(row, seed=draw) for row in made])
    verdict = _decide(*rows)
    dense, tanh = verdict.road.random
    assert (dense.change, dense.lower, dense.upper) == pytest.approx((-0.01, -0.02, 0.0))
    assert (tanh.change, verdict.road.n_random) == (0, 2)
    assert (
        "With a random matrix of the same scale in place of the dense layer: the random one -1.0 "
        "(-2.0 to 0.0), tanh 0.0 (0.0 to 0.0), each the mean of 2 draws (lowest to highest); tanh "
        "of [CLS] alone: +4.0 (+2.6 to +5.4)."
    ) in verdict_text(verdict, pooler="trained")


def test_another_aggregation_is_named_where_it_changes_an_outcome() -> None:
    rows = score_table(
        chain(
            _rows(C1_ROW, 0.1, 0.01),
            _rows(C1_ROW, -0.1, 0.01, aggregation="wmean"),
            _rows(C5A_ROW, -0.1, 0.01),
            _rows(C5A_ROW, -0.1, 0.01, aggregation="wmean"),
        )
    )
    verdicts = [decide(rows, "toy", aggregation=name) for name in ("all", "wmean")]
    text = verdict_text(verdicts[0], pooler="trained", others=verdicts[1:])
    assert "With aggregation wmean instead: C1 is supported." in text.splitlines()
    assert "(aggregation all)" in text
    assert "instead" not in verdict_text(verdicts[0], pooler="trained", others=verdicts[:1])


def test_text_is_folded_without_loss() -> None:
    text = _text(*_seven())
    folded = wrapped(text, 60)
    assert max(map(len, folded.splitlines())) <= 60
    assert re.sub(r"\s+", " ", folded) == re.sub(r"\s+", " ", text)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(InputError, match=r"no rows of model 'other'.*found toy"):
        decide(score_table(_rows(C1_ROW, -0.1, 0.01)), "other")


def test_claims_are_sound() -> None:
    ids = [claim.id for claim in CLAIMS]
    assert ids == sorted(ids)
    assert {f"C{number}" for number in range(1, 10)} <= set(ids)
    assert len(set(ids)) == len(ids)
    for claim in CLAIMS:
        assert claim.given is None or ids.index(claim.given) < ids.index(claim.id)
        assert "{last}" in claim.view


# Two views equal by construction, far from perfect and alike to each other.
_NOISE, _SHARED = 0.8, 0.6


def _simulated(rng: np.random.Generator, n: int, gap: float = 0.0) -> pd.DataFrame:
    gold = rng.normal(size=n)
    shared = rng.normal(size=n)
    views = {
        Cell(view): gold + (_NOISE + more) * (_SHARED * shared + rng.normal(size=n))
        for view, more in (("pooler@2", gap), ("mean@2", 0.0))
    }
    rows = contrast_scores(
        views,
        Target(task="toy", gold=gold, seed=int(rng.integers(2**31)), n_resamples=300),
        cells=[Cell("pooler@2 - mean@2")],
    )
    return score_table(replace(row, model="toy") for row in rows)


@pytest.mark.slow
def test_equal_views_are_decided_upon_in_one_run_of_twenty() -> None:
    rng = np.random.default_rng(0)
    outcomes = [decide(_simulated(rng, 200), "toy").by_task[0].outcome for _ in range(1000)]
    decided = [outcome for outcome in outcomes if outcome is not Outcome.UNDECIDED]
    assert 0.03 <= len(decided) / 1000 <= 0.07
    # Either way alike: a claim that is not true is not supported more often than refuted.
    assert 0.3 <= decided.count(Outcome.SUPPORTED) / len(decided) <= 0.7


@pytest.mark.slow
def test_a_worse_view_is_found_and_never_praised() -> None:
    rng = np.random.default_rng(0)
    outcomes = [decide(_simulated(rng, 1379, 0.15), "toy").by_task[0].outcome for _ in range(50)]
    assert outcomes.count(Outcome.SUPPORTED) >= 40
    assert Outcome.REFUTED not in outcomes


@pytest.mark.slow
def test_no_claim_is_decided_in_19_of_20_runs_where_nothing_is_true() -> None:
    """Six claims on seven tasks, all effects null: the family-wise rate of both families."""
    rng = np.random.default_rng(0)
    claims = [
        Claim(id=f"N{number}", sentence="a null", view=f"cls@2 - max@{number}")
        for number in range(6)
    ]
    table = score_table(
        score
        for claim in claims
        for task in TASKS
        for score in _rows((claim.view, "raw", "cosine"), 0.0, 0.01, task=task)
    )
    is_effect = (table["metric"] == "spearman_difference").to_numpy()
    wrong = np.zeros(2)
    for _ in range(500):
        table.loc[is_effect, "value"] = rng.normal(0, 0.01, is_effect.sum())
        verdict = decide(table, "toy", claims=claims)
        wrong += [
            any(finding.outcome is not Outcome.UNDECIDED for finding in family)
            for family in (verdict.by_task, verdict.overall)
        ]
    assert (wrong / 500 <= 0.06).all()
    assert (wrong > 0).all()


def test_sides_are_what_claims_predict() -> None:
    assert {claim.predicts for claim in CLAIMS} == {Side.BELOW, Side.ABOVE}
