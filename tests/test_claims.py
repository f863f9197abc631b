"""The verdict says what the rows of the table carry, no more and no less."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from probing.claims.catalogue import (
    CLAIMS,
    NEXT_SENTENCE_CLAIMS,
    NSP_PAIR_CLAIMS,
    PAIR_CLAIMS,
    TREEBANK_CLAIMS,
    Claim,
    Side,
    pair_claims,
)
from probing.claims.deciding import OVERALL, Finding, Verdict, claim_rows, decide
from probing.claims.outcomes import Outcome
from probing.claims.verdict import POOLER_STATES, verdict_text, wrapped
from probing.errors import InputError
from probing.results.differences import ITEMS_ERROR, Difference
from probing.results.scores import Score, score_table
from probing.results.target import Target
from probing.similarity.contrasts import Cell, contrast_scores
from probing.statistics import effect_over_seeds, holm, random_effects

C1_ROW = ("pooler@2 - mean@2", "raw", "cosine")
C5_ROW = ("pooler@2 - mean@2", "whitened:train - raw", "cosine")
C5A_ROW = ("pooler@2", "whitened:train - raw", "cosine")
C6_ROW = ("pooler@2 - mean@2", "raw", "regression - cosine")
C6A_ROW = ("pooler@2", "raw", "regression - cosine")
LESS_RANDOM = "toy - toy+random"
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


def _draws(
    effects: Sequence[float], items_error: float, *, task: str = "stsb", model: str = LESS_RANDOM
) -> list[Score]:
    """C7: the deficit less that of each of several draws of random weights."""
    rows = [
        replace(row, seed=seed)
        for seed, effect in enumerate(effects)
        for row in _rows(C1_ROW, effect, items_error, task=task, model=model)
    ]
    return [*rows, replace(rows[1], metric=ITEMS_ERROR, value=items_error, seed=0)]


def _of(verdict: Verdict, claim: str, task: str | None = None) -> Finding:
    """The finding of a claim on a task; by default on the only one."""
    (finding,) = [
        f for f in verdict.by_task if f.claim == claim and (task is None or f.task == task)
    ]
    return finding


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
    finding = _of(verdict, "C1")
    assert finding.outcome is outcome
    assert finding.p == pytest.approx(2 * norm.sf(abs(effect) / 0.02))
    half = norm.isf(0.025) * 0.02
    assert (finding.lower, finding.upper) == pytest.approx((effect - half, effect + half))
    assert verdict.overall == ()
    assert {claim.id for claim in verdict.not_tested} == {c.id for c in CLAIMS} - {"C1"}


@pytest.mark.parametrize(
    ("effect", "error", "outcome"),
    [
        (0.0, 0.002, Outcome.NEGLIGIBLE),
        (-0.005, 0.001, Outcome.NEGLIGIBLE),  # there is an effect, and it is too small to matter
        (-0.009, 0.002, Outcome.SUPPORTED),
        (0.0, 0.02, Outcome.UNDECIDED),
        (-0.02, 0.002, Outcome.SUPPORTED),
    ],
)
def test_what_is_surely_less_than_a_point_is_negligible(
    effect: float, error: float, outcome: Outcome
) -> None:
    finding = _of(_decide(_rows(C1_ROW, effect, error)), "C1")
    assert finding.outcome is outcome
    assert finding.smallest_effect == 0.01
    # with another smallest effect of interest the outcome is another
    finer = _decide(_rows(C1_ROW, effect, error), smallest_effect=0.001)
    assert _of(finer, "C1").outcome is not Outcome.NEGLIGIBLE
    coarser = _decide(_rows(C1_ROW, effect, error), smallest_effect=0.2)
    assert _of(coarser, "C1").outcome is Outcome.NEGLIGIBLE
    with pytest.raises(InputError, match="smallest effect of interest 0"):
        _decide(_rows(C1_ROW, effect, error), smallest_effect=0)


def test_the_interval_of_a_finding_is_the_one_that_decides_it() -> None:
    verdict = _decide(*_seven(spread=0.02))
    outcomes = set()
    for family in (verdict.by_task, verdict.overall):
        for finding in family:
            outcomes.add(finding.outcome)
            inside = finding.lower > -0.01 and finding.upper < 0.01
            leaves_out = finding.lower > 0 or finding.upper < 0
            if finding.outcome is Outcome.NEGLIGIBLE:
                assert inside
            elif finding.outcome in (Outcome.SUPPORTED, Outcome.REFUTED):
                assert leaves_out
            elif not finding.reason:
                assert not inside
                assert not leaves_out
    assert outcomes == set(Outcome)


def test_a_deficit_that_whitening_leaves_as_it_is_does_not_disappear() -> None:
    """Version 0.1 called a deficit of .4 points gone, though whitening had changed nothing."""
    verdict = _decide(
        _rows(C1_ROW, -0.004, 0.0005),
        _rows(C5_ROW, 0.0, 0.0005),
        _rows(C5A_ROW, 0.0, 0.0005),
    )
    assert _of(verdict, "C1").outcome is Outcome.NEGLIGIBLE
    assert _of(verdict, "C5").outcome is Outcome.NEGLIGIBLE


def test_whitening_that_spoils_both_gives_nothing_back() -> None:
    """Mean pooling from 60 to 15 and the pooler from 40 to 15: the deficit of 20 is gone."""
    rows = (
        _rows(C1_ROW, -0.2, 0.01),
        _rows(C5_ROW, 0.2, 0.01),
        _rows(C5A_ROW, -0.25, 0.01),
    )
    finding = _of(_decide(*rows), "C5")
    assert finding.outcome is Outcome.UNDECIDED
    assert "lower pooler_output (C5a)" in finding.reason
    # nor is it known to give back where the pooler itself was not measured
    assert _of(_decide(*rows[:2]), "C5").outcome is Outcome.UNDECIDED
    raised = _decide(*rows[:2], _rows(C5A_ROW, 0.12, 0.01))
    assert _of(raised, "C5").outcome is Outcome.SUPPORTED
    assert "whitening gives back 20.0 of 20.0 points." in verdict_text(raised, pooler="trained")


@pytest.mark.parametrize(("row", "itself"), [(C5_ROW, C5A_ROW), (C6_ROW, C6A_ROW)])
def test_without_a_deficit_there_is_nothing_to_give_back(
    row: tuple[str, str, str], itself: tuple[str, str, str]
) -> None:
    rows = (_rows(row, 0.1, 0.002), _rows(itself, 0.1, 0.002))
    claim = "C5" if row is C5_ROW else "C6"
    assert _of(_decide(_rows(C1_ROW, -0.2, 0.002), *rows), claim).outcome is Outcome.SUPPORTED
    for without in (_decide(_rows(C1_ROW, 0.1, 0.002), *rows), _decide(*rows)):
        finding = _of(without, claim)
        assert (finding.outcome, finding.reason) == (Outcome.UNDECIDED, "C1 is not supported")


def test_random_weights_are_taken_from_the_deficit() -> None:
    """A deficit of 20.0 points against 1.0 with random weights; 0.1 said it was there with both."""
    draws = [-0.19 + shift for shift in (-0.002, -0.001, 0.0, 0.001, 0.002)]
    verdict = _decide(_rows(C1_ROW, -0.2, 0.004), _draws(draws, 0.004))
    finding = _of(verdict, "C7")
    assert (finding.outcome, finding.model, finding.n_seeds) == (
        Outcome.SUPPORTED,
        LESS_RANDOM,
        5,
    )
    found = effect_over_seeds([[draw] for draw in draws], [0.004])
    assert (finding.effect, finding.p) == pytest.approx((found.effect, found.p))
    text = verdict_text(verdict, pooler="trained")
    assert "19.0 points" in text
    assert "lower than with random weights (mean of 5 draws)" in text
    assert "19.0 of 20.0 points are not there with random weights." in text
    alike = _decide(_rows(C1_ROW, -0.2, 0.002), _draws([0.001, -0.001, 0.0, 0.0, 0.0], 0.001))
    assert _of(alike, "C7").outcome is Outcome.NEGLIGIBLE
    assert "are not there" not in verdict_text(alike, pooler="trained")
    assert claim_rows(2, {"mean": 1}, control=True) == [C1_ROW]
    assert C1_ROW in claim_rows(2, {"mean": 1})


def test_draws_that_differ_leave_c7_undecided() -> None:
    verdict = _decide(_rows(C1_ROW, -0.2, 0.004), _draws([-0.35, -0.02, -0.3, 0.02, -0.05], 0.004))
    assert _of(verdict, "C7").outcome is Outcome.UNDECIDED


def test_the_earlier_layer_is_the_best_one_on_development_pairs() -> None:
    rows = [_rows((f"mean@2 - mean@{layer}", "raw", "cosine"), -0.1, 0.01) for layer in (0, 1)]
    chosen = _decide(*rows, _chosen([0.6, 0.5, 0.9]))
    assert _of(chosen, "C4").view == "mean@2 - mean@0"
    assert chosen.selection == {"mean": "layer 0 chosen on stsb dev"}
    # A layer without a value, and the last, are not to be chosen.
    other = _decide(*rows, _chosen([math.nan, 0.5, 0.9]))
    assert _of(other, "C4").view == "mean@2 - mean@1"
    unchosen = _decide(*rows)
    assert "C4" in {claim.id for claim in unchosen.not_tested}
    assert ("mean@2 - mean@0", "raw", "cosine") in claim_rows(2, {"mean": 0})
    assert not [row for row in claim_rows(2, {}) if "{" in row[0] or "None" in row[0]]


def _seven(seed: int = 0, effect: float = -0.1, spread: float = 0.01) -> list[list[Score]]:
    rng = np.random.default_rng(seed)
    return [
        _rows(row, centre + rng.normal(0, spread * share), 0.01 * share, task=task)
        for row, centre, share in (
            (C1_ROW, effect, 1.0),
            (("pooler@2 - cls@2", "raw", "cosine"), 0.0, 0.1),
            (("cls@2 - mean@2", "raw", "cosine"), 0.06, 1.0),
            (C5_ROW, 0.03, 1.0),
            (C5A_ROW, 0.04, 1.0),
        )
        for task in TASKS
    ]


def test_p_is_corrected_over_the_tests_of_tasks_and_over_those_of_all_tasks() -> None:
    verdict = _decide(*_seven())
    assert verdict.tasks == TASKS
    assert verdict.beside == ("stsb",)
    for family, size in ((verdict.by_task, 5 * 7), (verdict.overall, 5)):
        assert len(family) == size
        corrected = holm([finding.p for finding in family])
        np.testing.assert_array_equal([finding.corrected_p for finding in family], corrected)
    first = [f for f in verdict.by_task if f.claim == "C5" and f.task != "stsb"]
    pooled = random_effects([f.effect for f in first], [f.standard_error for f in first])
    overall = _overall(verdict, "C5")
    assert (overall.effect, overall.p) == pytest.approx((pooled.effect, pooled.p))
    assert (overall.task, overall.n_tasks) == (OVERALL, 6)


def test_pairs_that_two_sets_share_count_once() -> None:
    """STS-B repeats pairs of STS12 to STS16: beside one of them it is not in the mean."""
    alone = _decide(
        *(_rows(C1_ROW, -0.1, 0.01, task=t) for t in ("stsb", "sickr", "mine", "other"))
    )
    assert alone.beside == ()
    assert _overall(alone, "C1").n_tasks == 4
    tasks = ("stsb", "sickr", "mine", "other", "sts14")
    rows = [_rows(C1_ROW, -0.5 if t == "stsb" else -0.1, 0.01, task=t) for t in tasks]
    beside = _decide(*rows)
    assert beside.beside == ("stsb",)
    assert _overall(beside, "C1").n_tasks == 4
    assert _overall(beside, "C1").effect == pytest.approx(-0.1)
    assert "Not in it: stsb, which repeats pairs of the others." in verdict_text(beside)


def test_fewer_than_four_tasks_are_listed() -> None:
    rows = [_rows(C1_ROW, -0.1, 0.01, task="sts12"), _rows(C1_ROW, 0.0, 0.05, task="sickr")]
    verdict = _decide(*rows)
    assert verdict.overall == ()
    text = verdict_text(verdict)
    assert (
        "C1 supported on sts12, undecided on sickr: on sts12 pooler_output is 10.0 points" in text
    )
    assert "; on sickr pooler_output is 0.0 points" in text
    assert "Fewer than 4 tasks: nothing is said of all together." in text
    assert "overall" not in text
    three = _decide(*rows, _rows(C1_ROW, -0.1, 0.01, task="sts13"))
    assert three.overall == ()
    four = _decide(*rows, *(_rows(C1_ROW, -0.1, 0.01, task=task) for task in ("sts13", "sts14")))
    assert _overall(four, "C1").n_tasks == 4


def test_sets_that_differ_are_said_to() -> None:
    effects = (-0.02, -0.15, -0.09, -0.01, -0.2, -0.12)
    tasks = [task for task in TASKS if task != "stsb"]
    rows = [_rows(C1_ROW, e, 0.01, task=t) for e, t in zip(effects, tasks, strict=True)]
    finding = _overall(_decide(*rows), "C1")
    pooled = random_effects(effects, [0.01] * 6)
    assert (finding.prediction_lower, finding.prediction_upper) == pytest.approx(
        (pooled.prediction_lower, pooled.prediction_upper)
    )
    assert "; on one more set like these −" in verdict_text(_decide(*rows))
    same = [_rows(C1_ROW, -0.1, 0.02, task=task) for task in tasks]
    assert "one more set" not in verdict_text(_decide(*same))


def test_every_number_of_the_verdict_stands_in_the_table() -> None:
    table = score_table(chain.from_iterable(_seven()))
    findings = decide(table, "toy").table()
    key = ["model", "task", "view", "transform", "probe", "aggregation"]
    single = findings[findings["task"] != OVERALL]
    for metric, names in (
        ("spearman_difference", {"value": "effect"}),
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


def test_rows_of_another_aggregation_are_not_taken_in_place_of_those_asked_for() -> None:
    only_all = _rows(C1_ROW, -0.1, 0.01, task="sts12")
    with pytest.raises(InputError, match=r"no differences of aggregation 'wmean' on sts12: found"):
        _decide(only_all, aggregation="wmean")
    with pytest.raises(InputError, match="aggregation 'typo'"):
        _decide(only_all, aggregation="typo")
    # a task that has subsets lacks the rows, though another task has them
    subset = [replace(only_all[0], subset="headlines", metric="spearman", aggregation="none")]
    other = _rows(C1_ROW, -0.1, 0.01, task="sts13", aggregation="wmean")
    with pytest.raises(InputError, match="'wmean' on sts12"):
        _decide(only_all, subset, other, aggregation="wmean")


def test_what_is_undefined_is_undecided_and_left_out_of_the_family() -> None:
    verdict = _decide(
        _rows(C1_ROW, math.nan, math.nan, task="sts12"), _rows(C1_ROW, -0.1, 0.01, task="stsb")
    )
    undefined, defined = verdict.by_task
    assert (undefined.outcome, undefined.reason) == (Outcome.UNDECIDED, "the value is undefined")
    assert defined.corrected_p == defined.p
    nothing = _decide(_rows(C1_ROW, math.nan, math.nan))
    assert _of(nothing, "C1").outcome is Outcome.UNDECIDED
    text = verdict_text(nothing, pooler="trained")
    assert "C1 undecided on stsb: the value is undefined." in text
    rows = [_rows(C1_ROW, -0.1, 0.01, task=task) for task in TASKS[:4]]
    five = _decide(*rows, _rows(C1_ROW, math.nan, math.nan, task="sickr"))
    assert _overall(five, "C1").n_tasks == 4


def test_few_clusters_are_few_degrees_of_freedom() -> None:
    rows = [replace(row, clusters=5, largest_cluster=3) for row in _rows(C1_ROW, -0.03, 0.01)]
    finding = _of(_decide(rows), "C1")
    assert finding.degrees_of_freedom == 4
    assert finding.p == pytest.approx(2 * student.sf(3, 4))
    assert _of(_decide(_rows(C1_ROW, -0.03, 0.01)), "C1").p == pytest.approx(2 * norm.sf(3))
    one = [replace(row, clusters=1, largest_cluster=9) for row in _rows(C1_ROW, -0.03, 0.01)]
    assert math.isnan(_of(_decide(one), "C1").p)


def test_a_new_claim_is_five_lines() -> None:
    claim = Claim(
        id="C20",
        sentence="max pooling of the last layer is worse than mean pooling of it",
        view="max@{last} - mean@{last}",
    )
    row = ("max@2 - mean@2", "raw", "cosine")
    assert claim_rows(2, {}, [*CLAIMS, claim])[-1] == row
    verdict = _decide(_rows(row, -0.2, 0.01), claims=[*CLAIMS, claim])
    assert (
        "C20 supported on stsb: max pooling of layer 2 is 20.0 points (18.0 to 22.0 at 95 %) below "
        "mean pooling of layer 2, p < 0.001."
    ) in verdict_text(verdict, pooler="trained")


def _text(*rows: list[Score], pooler: str = "untrained") -> str:
    return verdict_text(_decide(*rows), pooler=pooler)


def worked_out(value: float, error: float) -> list[Difference]:
    """What the function of a claim gives: a difference on STS-B, without an interval."""
    return [
        Difference(
            task="stsb",
            metric="spearman",
            aggregation="all",
            seed=0,
            value=value,
            lower=math.nan,
            upper=math.nan,
            standard_error=error,
        )
    ]


def test_a_claim_can_be_worked_out_by_a_function() -> None:
    def spread(rows: pd.DataFrame) -> list[Difference]:
        """Half of what whitening gives: any number that the rows of a model yield."""
        found = rows[rows["transform"] == C5_ROW[1]].set_index("metric")["value"]
        return worked_out(found["spearman_difference"] / 2, found["standard_error"] / 2)

    claim = Claim(id="C21", sentence="half", view="half of it", measure=spread, predicts=Side.ABOVE)
    verdict = _decide(_rows(C5_ROW, 0.2, 0.01), claims=[claim])
    assert _of(verdict, "C21").effect == pytest.approx(0.1)
    assert _of(verdict, "C21").outcome is Outcome.SUPPORTED
    assert "C21 supported on stsb: the difference half of it" in verdict_text(verdict)
    described = claim.describe()
    json.dumps(described)
    assert Claim.described(described).measure is None
    for known in (*CLAIMS, *TREEBANK_CLAIMS, *NSP_PAIR_CLAIMS):
        assert Claim.described(json.loads(json.dumps(known.describe()))) == known
    with pytest.raises(InputError, match="claim C5 has older: the run was written by another"):
        Claim.described({**CLAIMS[4].describe(), "older": "all"})


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("pooler@2 - mean@2", "raw", "Ridge"), "the difference pooler@2 - mean@2, raw, Ridge is"),
        (("pooler@2", "raw", "cosine"), "pooler_output is"),
    ],
)
def test_an_effect_that_no_word_gives_a_direction_has_its_sign(
    row: tuple[str, str, str], words: str
) -> None:
    view, transform, probe = row
    claim = Claim(id="B1", sentence="mine", view=view, transform=transform, probe=probe)
    text = verdict_text(_decide(_rows(row, -0.1, 0.01), claims=[claim]))
    assert f"{words} −10.0 points (−12.0 to −8.0 at 95 %)" in text


@pytest.mark.parametrize(
    ("predicts", "threshold", "words"),
    [
        (Side.BELOW, -0.02, "by more than 2.0 points"),
        (Side.ABOVE, 0.02, "by more than 2.0 points"),
        (Side.BELOW, 0.02, "to within 2.0 points"),
        (Side.ABOVE, -0.02, "to within 2.0 points"),
    ],
)
def test_a_threshold_is_beyond_zero_or_a_margin_around_it(
    predicts: Side, threshold: float, words: str
) -> None:
    claim = replace(CLAIMS[0], id="B1", sentence="mine", predicts=predicts, threshold=threshold)
    text = verdict_text(_decide(_rows(C1_ROW, -0.1, 0.01), claims=[claim]))
    assert f"B1 (“mine”, {words})" in text


def test_the_words_of_the_opposite() -> None:
    text = _text(_rows(C1_ROW, 0.089, 0.01), _rows(C5A_ROW, 0.052, 0.01))
    assert "C1 refuted on stsb: pooler_output is 8.9 points (6.7 to 11.1 at 97.5 %) above" in text
    assert "; whitening gives back" not in text
    text = _text(_rows(C1_ROW, -0.001, 0.01))
    assert "C1 undecided on stsb: pooler_output is 0.1 points (−1.9 to 2.1 at 95 %) below" in text


def test_the_words_of_whitening_say_what_it_is_fitted_on() -> None:
    rows = (_rows(C1_ROW, -0.089, 0.01), _rows(C5_ROW, 0.05, 0.01), _rows(C5A_ROW, 0.052, 0.01))
    text = _text(*rows)
    assert (
        "C5 supported on stsb: whitening fitted on training sentences that are not scored raises "
        "pooler_output minus mean pooling of layer 2 by 5.0 points"
    ) in text
    assert "; whitening gives back 5.0 of 8.9 points." in text
    assert "whitening fitted on training sentences that are not scored raises pooler_output" in text
    more = _text(rows[0], _rows(C5_ROW, 0.12, 0.01), _rows(C5A_ROW, 0.2, 0.01))
    assert "whitening gives back 12.0 points (more than the whole deficit of 8.9)." in more


def test_the_words_of_many_tasks() -> None:
    tasks = [task for task in TASKS if task != "stsb"]
    rows = [_rows(C1_ROW, -0.09 - 0.001 * i, 0.005, task=t) for i, t in enumerate(tasks[:-1])]
    rows.append(_rows(C1_ROW, -0.08, 0.05, task=tasks[-1]))
    text = _text(*rows)
    assert "C1 supported overall and on 5 of 6 tasks (undecided on 1): pooler_output is " in text
    assert "Overall: random-effects mean over 6 tasks, for sets like these." in text
    rows[-1] = _rows(C1_ROW, 0.3, 0.005, task=tasks[-1])
    assert "C1 undecided overall (supported on 5, refuted on 1 of 6 tasks): " in _text(*rows)


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


def _pair(model: str, effect: float = -0.03, **names: str) -> list[Score]:
    rows = _rows(C1_ROW, effect, 0.003, model=model, **names)
    return rows + _rows(("pooler@2 - cls@2", "raw", "cosine"), 0.02, 0.003, model=model, **names)


def test_two_encoders_are_held_against_each_other() -> None:
    verdict = decide(score_table(_pair("without - with")), "without - with", claims=PAIR_CLAIMS)
    found = {finding.claim: finding.outcome for finding in verdict.by_task}
    assert found == {"N2": Outcome.SUPPORTED, "N3": Outcome.REFUTED}
    text = verdict_text(verdict)
    assert (
        "N2 supported on stsb: pooler_output minus mean pooling of layer 2 is 3.0 points "
        "(2.3 to 3.7 at 97.5 %) lower in without than in with"
    ) in text
    assert not any(state in text for state in POOLER_STATES.values())


def test_next_sentence_prediction_is_named_only_where_the_records_carry_it() -> None:
    config = {"objective": "mlm", "layers": 2, "seed": 0}
    without = {"config": config, "sources": ["a"], "tokens": 9, "bfloat16": False}
    with_it = {**without, "config": {**config, "objective": "mlm+nsp"}}
    records = {"without": without, "with": with_it, "unknown": None}

    def told(one: str, other: str) -> tuple[Claim, ...]:
        return pair_claims(records, [(one, other)])

    assert told("without", "with") == NSP_PAIR_CLAIMS
    assert told("with", "without") == PAIR_CLAIMS  # the other way round the words are false
    assert told("without", "unknown") == told("without", "nowhere") == PAIR_CLAIMS
    records["with"] = {**with_it, "tokens": 10}
    assert told("without", "with") == PAIR_CLAIMS
    records["with"] = {**with_it, "config": {**with_it["config"], "seed": 1}}
    assert told("without", "with") == PAIR_CLAIMS
    assert pair_claims({}, []) == PAIR_CLAIMS


def test_a_seed_counts_once_however_many_the_tasks() -> None:
    """Two pairs, +9 and +2 points on each of seven tasks: 0.1 found the mean beyond doubt."""
    mean = "a1, a2 - b1, b2"
    rows = []
    for task in TASKS:
        for model, effect in (("a1 - b1", 0.09), ("a2 - b2", 0.02), (mean, 0.055)):
            rows += _rows(C1_ROW, effect, 0.003, task=task, model=model)
        rows.append(replace(rows[-1], metric=ITEMS_ERROR, value=0.003))
    verdict = decide(score_table(rows), mean, claims=PAIR_CLAIMS)
    overall = _overall(verdict, "N2")
    assert overall.outcome is Outcome.UNDECIDED
    assert (overall.effect, overall.n_seeds, overall.n_tasks) == (pytest.approx(0.055), 2, 6)
    assert (overall.lower, overall.upper) == pytest.approx((-0.39, 0.5), abs=0.01)
    assert {f.outcome for f in verdict.by_task} == {Outcome.UNDECIDED}
    assert "Overall: mean over seeds and tasks" in verdict_text(verdict)
    single = decide(score_table(rows), "a1 - b1", claims=PAIR_CLAIMS)
    assert _overall(single, "N2").outcome is Outcome.REFUTED
    lost = [row for row in rows if row.model != "a2 - b2"]
    with pytest.raises(InputError, match="1 of 2 pairs of encoders were measured on sts12"):
        decide(score_table(lost), mean, claims=PAIR_CLAIMS)


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
        "From mean pooling of layer 2 to pooler_output: [CLS] in place of the mean −4.0 "
        "(−5.4 to −2.6), the dense layer −2.0 (−3.4 to −0.6), tanh 0.0 (−1.4 to +1.4); together "
        "−6.0, the plain mean over these 2 tasks."
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
        "With a random matrix of the same scale in place of the dense layer: the random one −1.0 "
        "(−2.0 to 0.0), tanh 0.0 (0.0 to 0.0), each the mean of 2 draws (lowest to highest); tanh "
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
    assert "With aggregation wmean instead: C1 is supported on stsb." in text.splitlines()
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
    outcomes = [decide(_simulated(rng, 200), "toy").by_task[0].outcome for _ in range(500)]
    decided = [outcome for outcome in outcomes if outcome is not Outcome.UNDECIDED]
    assert 0.03 <= len(decided) / 500 <= 0.07
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
    for _ in range(300):
        table.loc[is_effect, "value"] = rng.normal(0, 0.01, is_effect.sum())
        verdict = decide(table, "toy", claims=claims)
        wrong += [
            any(finding.outcome is not Outcome.UNDECIDED for finding in family)
            for family in (verdict.by_task, verdict.overall)
        ]
    assert (wrong / 300 <= 0.06).all()
    assert wrong[0] > 0  # over tasks that do not differ the mean is guarded, and never wrong here


def test_sides_are_what_claims_predict() -> None:
    assert {claim.predicts for claim in CLAIMS} == {Side.BELOW, Side.ABOVE}
