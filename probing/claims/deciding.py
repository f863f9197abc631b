"""The verdict: claims about the pooler, held against the score table of one run.

A claim names the rows of the table that decide it and the side of a threshold on which it says the
effect lies. Each claim is tested on each task, and over all tasks where there are `FEWEST_TASKS` or
more: a mean over fewer says little of tasks like these. Over tasks the mean is that of random
effects; of an effect that was measured with several seeds, such as several pairs of encoders or
several draws of random weights, it is `effect_over_seeds`. Holm's correction is made over all tests
of single tasks together, and over all tests over tasks together.

There are four outcomes. A claim is *negligible* where both one-sided tests put its effect inside
plus and minus the smallest effect of interest; else *supported* where its test rejects on the side
it predicts, and *refuted* where it rejects on the other; else *undecided*. The interval of a
finding is the one that decides it: it leaves the threshold out, or lies inside the margins, exactly
where the outcome says so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import pandas as pd

from probing.claims.catalogue import CLAIMS, Claim, Side
from probing.claims.outcomes import SMALLEST_EFFECT, Outcome, Test, decided
from probing.claims.road import Road, road_to_pooler
from probing.errors import InputError
from probing.results.differences import Difference, Place, check_aggregation, read_differences
from probing.results.names import difference, is_difference, sides, twin_name
from probing.results.quantities import training_items
from probing.statistics import EffectOverSeeds, effect_over_seeds, random_effects

_UNDEFINED: Final = "the value is undefined"
OVERALL: Final = "overall"
"""Stands for the task where all tasks are taken together."""
FEWEST_TASKS: Final = 4
"""With fewer, tasks are listed and nothing is said of them all."""
SHARES_PAIRS: Final[Mapping[str, frozenset[str]]] = {
    "stsb": frozenset({"sts12", "sts13", "sts14", "sts15", "sts16"})
}
"""A task → those whose pairs it repeats; beside one of them it does not count towards the mean.
Of the 1,379 test pairs of STS-B 1,007 are test pairs of STS12 to STS16."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One claim on one task, or over all tasks: the numbers and what they say.

    Effects are differences of ``metric`` as fractions. ``model``, ``view``, ``transform``,
    ``probe``, ``trained_on`` and ``aggregation`` name the rows that the numbers come from.
    """

    claim: str
    sentence: str
    task: str
    model: str
    view: str
    transform: str
    probe: str
    trained_on: str
    metric: str
    """``spearman`` or ``accuracy``; over tasks that differ, both names."""
    aggregation: str
    effect: float
    lower: float
    upper: float
    """The interval that decides, at ``level``."""
    level: float
    """Share of intervals that hold the truth, Holm's correction included."""
    standard_error: float
    degrees_of_freedom: float
    """Of Student's t; infinite where the test is normal. Of several seeds, those of the part of the
    error that the seeds add."""
    prediction_lower: float
    prediction_upper: float
    """95 % interval for the effect on one more task of this kind; NaN where tasks do not differ by
    more than their errors, or for a single task."""
    predicts: Side
    threshold: float
    smallest_effect: float
    """What lies inside plus and minus this is negligible."""
    p: float
    """Two-sided, of the effect being equal to the threshold."""
    corrected_p: float
    negligible_p: float
    """The higher p of the two one-sided tests, corrected."""
    outcome: Outcome
    reason: str
    """Why a claim is undecided that was not left so by its test; else empty."""
    n_tasks: int
    n_seeds: int
    """Pairs of encoders, or draws of random weights, that the effect is a mean over; else 1."""


@dataclass(frozen=True)
class Verdict:
    """What one run says of the claims for one model."""

    model: str
    aggregation: str
    """That of tasks with several subsets."""
    tasks: tuple[str, ...]
    by_task: tuple[Finding, ...]
    overall: tuple[Finding, ...]
    """Of the claims that were measured on `FEWEST_TASKS` or more."""
    beside: tuple[str, ...]
    """Tasks that do not count towards the mean, as they repeat pairs of others."""
    claims: tuple[Claim, ...]
    not_tested: tuple[Claim, ...]
    road: Road
    selection: Mapping[str, str]
    """Pooling → ``earlier`` layer and where it was chosen; empty where there was no choice."""
    smallest_effect: float = SMALLEST_EFFECT

    def table(self) -> pd.DataFrame:
        """All findings, those of single tasks first, one row each."""
        return pd.DataFrame([asdict(finding) for finding in (*self.by_task, *self.overall)])


def claim_rows(
    last: int,
    earlier: Mapping[str, int],
    claims: Sequence[Claim] = CLAIMS,
    *,
    control: bool = False,
    causal: bool = False,
) -> list[tuple[str, str, str]]:
    """View, transform and probe of every row that the claims need of a model.

    Args:
        last: The last layer.
        earlier: Pooling → the best earlier layer under it; empty where none was chosen.
        claims: The claims.
        control: Whether the rows are wanted from which those of the random-weight twins are taken
            away.
        causal: Whether the attention of the model is causal.
    """
    rows = [
        claim.row(last, earlier)
        for claim in claims
        if claim.control == control and claim.measure is None and causal >= claim.causal
    ]
    return list(dict.fromkeys(row[:3] for row in rows if row is not None))


def decide(
    scores: pd.DataFrame,
    model: str,
    *,
    claims: Sequence[Claim] = CLAIMS,
    aggregation: str = "all",
    smallest_effect: float = SMALLEST_EFFECT,
) -> Verdict:
    """Hold the claims against the score table of a run.

    Args:
        scores: The results table (`probing.results.scores.COLUMNS`).
        model: One of its models; what is less its random-weight twins is looked up by name.
        claims: The claims; one that presupposes another stands after it.
        aggregation: Of tasks with several subsets; the others have ``all`` only.
        smallest_effect: The smallest effect of interest, as a fraction: 0.01 is one point.

    Returns:
        The verdict. A claim without rows is in ``not_tested``.

    Raises:
        InputError: The table has no rows of this model, or a task with several subsets has none of
            this aggregation, or the smallest effect is not above zero.
    """
    if not smallest_effect > 0:
        raise InputError(
            f"smallest effect of interest {smallest_effect}: expected more than 0, such as 0.01"
        )
    mine = scores[scores["model"] == model]
    if mine.empty:
        present = ", ".join(scores["model"].unique()) or "no model"
        raise InputError(f"no rows of model {model!r} in the score table, found {present}")
    check_aggregation(mine, aggregation)
    layers = mine["layer"].dropna()
    last = int(layers.max()) if len(layers) else 0  # vectors from outside show no layers
    chosen = _chosen_layers(mine, last)
    earlier = {pooling: layer for pooling, (layer, _) in chosen.items()}
    sizes = _training_sizes(mine)
    less_twin = difference(model, twin_name(model))
    pairs = _pairs(model)
    differences = read_differences(
        scores[scores["model"].isin([model, less_twin, *pairs])], aggregation
    )
    by_task: list[_Measured] = []
    overall: list[_Measured] = []
    beside: dict[str, None] = {}
    for claim in claims:
        row = claim.row(last, earlier, sizes)
        if row is None:
            continue
        place = Place(less_twin if claim.control else model, *row)
        if claim.measure is None:
            samples = _samples(differences, place, pairs)
        else:
            samples = [_Sample.of([one]) for one in claim.measure(mine)]
        if claim.tasks:
            samples = [s for s in samples if s.task.endswith(claim.tasks)]
        by_task += [_on_task(claim, place, sample) for sample in samples]
        there = {sample.task for sample in samples}
        repeated = [task for task in SHARES_PAIRS if task in there and SHARES_PAIRS[task] & there]
        beside |= dict.fromkeys(repeated)
        counted = [s for s in samples if s.defined and s.task not in repeated]
        if len(counted) >= FEWEST_TASKS:
            overall.append(_over_tasks(claim, place, counted))
    tested = {measured.claim.id for measured in by_task}
    tasks = tuple(dict.fromkeys(measured.finding.task for measured in by_task))
    return Verdict(
        model=model,
        aggregation=aggregation,
        tasks=tasks,
        by_task=_outcomes(by_task, smallest_effect),
        overall=_outcomes(overall, smallest_effect),
        beside=tuple(beside),
        claims=tuple(claims),
        not_tested=tuple(claim for claim in claims if claim.id not in tested),
        road=road_to_pooler(differences, model, last=last, tasks=tasks),
        selection={
            pooling: f"layer {layer} chosen on {pairs}"
            for pooling, (layer, pairs) in chosen.items()
        },
        smallest_effect=smallest_effect,
    )


def _chosen_layers(scores: pd.DataFrame, last: int) -> dict[str, tuple[int, str]]:
    """Pooling → its best layer before the last on development pairs, and those pairs' name."""
    rows = scores[(scores["metric"] == "selection_spearman") & (scores["layer"] < last)]
    rows = rows[rows["value"].notna()].sort_values("value", ascending=False, kind="stable")
    return {
        str(best["pooling"]): (int(best["layer"]), f"{best['task']} {best['split']}")
        for best in rows.drop_duplicates("pooling").to_dict("records")
    }


def _training_sizes(scores: pd.DataFrame) -> tuple[str, str] | None:
    """The fewest and the most training items; None where there are not two."""
    rows = scores[(scores["probe"] == "finetuned") & (scores["metric"] == "standard_error")]
    sizes = [str(size) for size in rows["trained_on"].unique() if not is_difference(size)]
    sizes.sort(key=training_items)
    return (sizes[0], sizes[-1]) if len(sizes) > 1 else None


def _pairs(model: str) -> list[str]:
    """The pairs behind the name of a mean over several, ``A1, A2 - B1, B2``; else none."""
    both = [side.split(", ") for side in sides(model)]
    if len(both) != 2 or len(both[0]) < 2:
        return []
    return [difference(one, other) for one, other in zip(*both, strict=True)]


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """An effect on one task: one value, or one for each seed with the error that they share."""

    task: str
    metric: str
    aggregation: str
    effects: tuple[float, ...]
    error: float
    degrees_of_freedom: float

    @classmethod
    def of(cls, found: Sequence[Difference], items_error: float = math.nan) -> "_Sample":
        first = found[0]
        return cls(
            task=first.task,
            metric=first.metric,
            aggregation=first.aggregation,
            effects=tuple(one.value for one in found),
            error=first.standard_error if len(found) == 1 else items_error,
            degrees_of_freedom=first.degrees_of_freedom,
        )

    @property
    def defined(self) -> bool:
        return not math.isnan(sum(self.effects) + self.error)


def _samples(
    differences: Mapping[Place, Sequence[Difference]], place: Place, pairs: Sequence[str]
) -> list[_Sample]:
    """The effect at a place on each task; of a mean over pairs, each pair's is looked up."""
    by_task: dict[str, list[Difference]] = {}
    for found in differences.get(place, ()):
        by_task.setdefault(found.task, []).append(found)
    samples = []
    for task, of_seeds in by_task.items():
        of_pairs = [
            one
            for pair in pairs
            for one in differences.get(place._replace(model=pair), ())
            if one.task == task
        ]
        if len(of_pairs) != len(pairs):
            raise InputError(
                f"{len(of_pairs)} of {len(pairs)} pairs of encoders were measured on {task}: "
                "expected a row of each for the mean over them"
            )
        samples.append(_Sample.of(of_pairs or of_seeds, of_seeds[0].items_error))
    return samples


@dataclass(frozen=True)
class _Measured:
    """A claim, what was measured of it, and the test that is to decide it."""

    claim: Claim
    finding: Finding
    test: Test


def _on_task(claim: Claim, place: Place, sample: _Sample) -> _Measured:
    effect, error, freedom = sample.effects[0], sample.error, sample.degrees_of_freedom
    if len(sample.effects) > 1:
        of_seeds = [[value] for value in sample.effects]
        mean = effect_over_seeds(of_seeds, [error], item_freedom=freedom)
        return _of_seeds(claim, place, [sample], mean)
    if freedom < 1:
        error = math.nan
    reason = "" if not math.isnan(effect + error) else _UNDEFINED
    return _measured(claim, place, [sample], effect, error, freedom, reason=reason)


def _over_tasks(claim: Claim, place: Place, samples: Sequence[_Sample]) -> _Measured:
    several = min(len(sample.effects) for sample in samples)
    if several > 1:
        effects = [sample.effects for sample in samples]
        mean = effect_over_seeds(
            [list(of_seed) for of_seed in zip(*effects, strict=True)],
            [sample.error for sample in samples],
            item_freedom=min(sample.degrees_of_freedom for sample in samples),
        )
        return _of_seeds(claim, place, samples, mean)
    pooled = random_effects(
        [sample.effects[0] for sample in samples], [sample.error for sample in samples]
    )
    found = _measured(
        claim, place, samples, pooled.effect, pooled.standard_error, pooled.degrees_of_freedom
    )
    if not pooled.tau_squared > 0:
        return found
    finding = replace(
        found.finding,
        prediction_lower=pooled.prediction_lower,
        prediction_upper=pooled.prediction_upper,
    )
    return replace(found, finding=finding)


def _of_seeds(
    claim: Claim, place: Place, samples: Sequence[_Sample], mean: EffectOverSeeds
) -> _Measured:
    found = _measured(
        claim,
        place,
        samples,
        mean.effect,
        mean.seeds.error,
        mean.seeds.freedom,
        reason="" if not math.isnan(mean.effect + mean.standard_error) else _UNDEFINED,
    )
    test = replace(found.test, more=(mean.items,))
    finding = replace(found.finding, standard_error=mean.standard_error, p=test.p)
    return replace(found, finding=finding, test=test)


def _measured(
    claim: Claim,
    place: Place,
    samples: Sequence[_Sample],
    effect: float,
    error: float,
    freedom: float,
    *,
    reason: str = "",
) -> _Measured:
    """A claim with its numbers, not yet decided."""
    test = Test(effect=effect, error=error, freedom=freedom, threshold=claim.threshold)
    finding = Finding(
        claim=claim.id,
        sentence=claim.sentence,
        task=samples[0].task if len(samples) == 1 else OVERALL,
        **place._asdict(),
        metric=" and ".join(dict.fromkeys(sample.metric for sample in samples)),
        aggregation=" and ".join(dict.fromkeys(sample.aggregation for sample in samples)),
        effect=effect,
        lower=math.nan,
        upper=math.nan,
        level=math.nan,
        standard_error=error,
        degrees_of_freedom=freedom,
        prediction_lower=math.nan,
        prediction_upper=math.nan,
        predicts=claim.predicts,
        threshold=claim.threshold,
        smallest_effect=math.nan,
        p=test.p,
        corrected_p=math.nan,
        negligible_p=math.nan,
        outcome=Outcome.UNDECIDED,
        reason=reason,
        n_tasks=len(samples),
        n_seeds=len(samples[0].effects),
    )
    return _Measured(claim, finding, test)


def _outcomes(family: Sequence[_Measured], smallest_effect: float) -> tuple[Finding, ...]:
    """The findings of one family of tests with their outcomes and the intervals that decide."""
    decisions = decided([measured.test for measured in family], smallest_effect)
    outcomes: dict[tuple[str, str], Outcome] = {}
    effects = {(one.claim.id, one.finding.task): one.test for one in family}
    found: list[Finding] = []
    for measured, decision in zip(family, decisions, strict=True):
        claim, finding = measured.claim, measured.finding
        outcome, reason = Outcome.UNDECIDED, finding.reason
        if decision.negligible:
            outcome = Outcome.NEGLIGIBLE
        elif claim.given and outcomes.get((claim.given, finding.task)) is not Outcome.SUPPORTED:
            reason = reason or f"{claim.given} is not supported"
        elif decision.rejected:
            side = Side.ABOVE if finding.effect > finding.threshold else Side.BELOW
            outcome = Outcome.SUPPORTED if side is claim.predicts else Outcome.REFUTED
            spared = effects.get((claim.spares or "", finding.task))
            if claim.spares and outcome is Outcome.SUPPORTED:
                lowest = math.nan if spared is None else spared.interval(1 - decision.level)[0]
                if not lowest > -smallest_effect:
                    outcome = Outcome.UNDECIDED
                    reason = f"it may come from a lower pooler_output ({claim.spares})"
        outcomes[claim.id, finding.task] = outcome
        found.append(
            replace(
                finding,
                lower=decision.lower,
                upper=decision.upper,
                level=decision.level,
                smallest_effect=smallest_effect,
                corrected_p=decision.corrected_p,
                negligible_p=decision.negligible_p,
                outcome=outcome,
                reason=reason,
            )
        )
    return tuple(found)
