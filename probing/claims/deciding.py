"""The verdict: claims about the pooler, held against the score table of one run.

A claim names the row of the table that decides it and the side of a threshold on which it says the
effect lies. Each claim is tested on each task, with the normal p of effect and standard error, and
over all tasks with a random-effects mean. Holm's correction is made over all tests of single tasks
together, and over all tests over tasks together. A claim is supported where its corrected test
rejects at 5 % on the side it predicts, refuted where it rejects on the other side, and undecided
otherwise. Tasks count as independent; STS-B shares sentence pairs with STS12 to STS16, so the
overall interval is somewhat too narrow where these stand together.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Final

import pandas as pd

from probing.claims.road import Road, road_to_pooler
from probing.errors import InputError
from probing.results.differences import Difference, Place, read_differences
from probing.results.names import is_difference, twin_name
from probing.results.quantities import training_items
from probing.statistics import holm, random_effects

LEVEL: Final = 0.05
"""Highest corrected p at which a claim is decided."""
MARGIN: Final = 0.01
"""A deficit of less than one point (Spearman × 100) counts as gone."""
OVERALL: Final = "overall"
"""Stands for the task where all tasks are taken together."""


class Outcome(StrEnum):
    """What the numbers say of a claim."""

    SUPPORTED = "supported"
    """The corrected test rejects, and the effect lies where the claim says."""
    REFUTED = "refuted"
    """The corrected test rejects, and the effect lies on the other side."""
    UNDECIDED = "undecided"
    """The test does not reject, or what the claim presupposes is not supported."""


class Side(StrEnum):
    """The side of its threshold on which a claim says the effect lies."""

    BELOW = "below"
    ABOVE = "above"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence and the row of the table that decides it.

    ``view``, ``transform``, ``probe`` and ``subset`` are written as in the table; `` - `` stands
    between the two sides of a difference, ``{last}`` for the last layer, ``{earlier}`` for the best
    layer before it under mean pooling, chosen on development pairs, ``{least}`` and ``{most}`` for
    the fewest and the most training items that an encoder was fine-tuned on.
    """

    id: str
    sentence: str
    view: str
    transform: str = "raw"
    probe: str = "cosine"
    subset: str = "all"
    predicts: Side = Side.BELOW
    threshold: float = 0.0
    """Difference of Spearman's rho or of accuracy, as a fraction."""
    control: bool = False
    """Whether the random-weight twin is measured in the model's place."""
    given: str | None = None
    """Id of the claim without whose support this one has nothing to speak of."""

    def row(
        self, last: int, earlier: int | None, sizes: tuple[str, str] | None = None
    ) -> tuple[str, str, str, str] | None:
        """View, transform, probe and subset, filled in; None where what is to be is unknown.

        Args:
            last: The last layer.
            earlier: The best earlier layer, None where none was chosen.
            sizes: Subset of the fewest and of the most training items, None where nothing was
                fine-tuned on both.
        """
        if earlier is None and "{earlier}" in self.view:
            return None
        if sizes is None and "{" in self.subset:
            return None
        least, most = sizes or ("", "")
        view = self.view.format(last=last, earlier=earlier)
        return view, self.transform, self.probe, self.subset.format(least=least, most=most)


_POOLER_MEAN: Final = "pooler@{last} - mean@{last}"

CLAIMS: Final = (
    Claim(
        id="C1",
        sentence="pooler_output is worse than mean pooling of the last layer",
        view=_POOLER_MEAN,
    ),
    Claim(
        id="C2",
        sentence="pooler_output is worse than [CLS] of the last layer: dense and tanh hurt",
        view="pooler@{last} - cls@{last}",
    ),
    Claim(
        id="C3",
        sentence="[CLS] of the last layer is worse than mean pooling of the last layer",
        view="cls@{last} - mean@{last}",
    ),
    Claim(
        id="C4",
        sentence="mean pooling of the last layer is worse than that of the best earlier layer",
        view="mean@{last} - mean@{earlier}",
    ),
    Claim(
        id="C5",
        sentence="the deficit of C1 disappears after whitening",
        view=_POOLER_MEAN,
        transform="whitened:target",
        predicts=Side.ABOVE,
        threshold=-MARGIN,
        given="C1",
    ),
    Claim(
        id="C5a",
        sentence="whitening raises pooler_output itself",
        view="pooler@{last}",
        transform="whitened:target - raw",
        predicts=Side.ABOVE,
    ),
    Claim(
        id="C6",
        sentence="the deficit of C1 disappears under a supervised readout",
        view=_POOLER_MEAN,
        probe="regression",
        predicts=Side.ABOVE,
        threshold=-MARGIN,
        given="C1",
    ),
    Claim(
        id="C7",
        sentence="the deficit of C1 is there with random weights too",
        view=_POOLER_MEAN,
        control=True,
        given="C1",
    ),
    Claim(
        id="C8",
        sentence="after fine-tuning on all there is, the head on pooler_output is still worse than "
        "that on mean pooling",
        view=_POOLER_MEAN,
        probe="finetuned",
        subset="{most}",
    ),
    Claim(
        id="C8a",
        sentence="after fine-tuning on the fewest items, the head on pooler_output is worse than "
        "that on mean pooling",
        view=_POOLER_MEAN,
        probe="finetuned",
        subset="{least}",
    ),
    Claim(
        id="C9",
        sentence="the deficit of C8a shrinks with the number of training items",
        view=_POOLER_MEAN,
        probe="finetuned",
        subset="{most} - {least}",
        predicts=Side.ABOVE,
        given="C8a",
    ),
)
"""The claims of a study. C5 can come true because whitening lowers the mean; C5a tells."""

NEXT_SENTENCE_CLAIMS: Final = (
    Claim(
        id="N1",
        sentence="pooler_output tells next sentences better than mean pooling of the last layer",
        view=_POOLER_MEAN,
        probe="linear",
        predicts=Side.ABOVE,
    ),
)
"""What next sentence prediction should do to the pooler of an encoder that was trained by it."""

TWIN_CLAIMS: Final = (
    Claim(
        id="N2",
        sentence="without next sentence prediction [CLS] of the last layer is no worse",
        view="cls@{last}",
        predicts=Side.ABOVE,
        threshold=-MARGIN,
    ),
    Claim(
        id="N3",
        sentence="without next sentence prediction mean pooling of the last layer is no worse",
        view="mean@{last}",
        predicts=Side.ABOVE,
        threshold=-MARGIN,
    ),
    Claim(
        id="N4",
        sentence="without next sentence prediction pooler_output is worse",
        view="pooler@{last}",
    ),
)
"""Claims about the difference of two twins, the one without next sentence prediction first."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One claim on one task, or over all tasks: the numbers and what they say.

    Effects are differences of ``metric`` as fractions. ``model``, ``view``, ``transform``,
    ``probe``, ``subset`` and ``aggregation`` name the rows of the table that the numbers come from.
    """

    claim: str
    sentence: str
    task: str
    model: str
    view: str
    transform: str
    probe: str
    subset: str
    metric: str
    """``spearman`` or ``accuracy``; over tasks that differ, both names."""
    aggregation: str
    effect: float
    lower: float
    upper: float
    """95 % interval, not corrected."""
    standard_error: float
    """NaN over tasks."""
    predicts: Side
    threshold: float
    p: float
    """Two-sided, of the effect being equal to the threshold."""
    corrected_p: float
    outcome: Outcome
    reason: str
    """Why a claim is undecided that was not left so by its test; else empty."""
    n_tasks: int


@dataclass(frozen=True)
class Verdict:
    """What one run says of the claims for one model."""

    model: str
    aggregation: str
    """That of tasks with several subsets."""
    tasks: tuple[str, ...]
    by_task: tuple[Finding, ...]
    overall: tuple[Finding, ...]
    not_tested: tuple[Claim, ...]
    road: Road
    selection: str
    """``earlier`` layer and where it was chosen, in words; empty where there was no choice."""

    def table(self) -> pd.DataFrame:
        """All findings, those of single tasks first, one row each."""
        return pd.DataFrame([asdict(finding) for finding in (*self.by_task, *self.overall)])


def claim_rows(
    last: int, earlier: int | None, claims: Sequence[Claim] = CLAIMS, *, control: bool = False
) -> list[tuple[str, str, str]]:
    """View, transform and probe of every row that the claims need of a model (or of its twin).

    Args:
        last: The last layer.
        earlier: The best earlier layer, None where none was chosen.
        claims: The claims.
        control: Whether the rows of the random-weight twin are wanted.
    """
    rows = [claim.row(last, earlier) for claim in claims if claim.control == control]
    return list(dict.fromkeys(row[:3] for row in rows if row is not None))


def decide(
    scores: pd.DataFrame, model: str, *, claims: Sequence[Claim] = CLAIMS, aggregation: str = "all"
) -> Verdict:
    """Hold the claims against the score table of a run.

    Args:
        scores: The results table (`probing.results.scores.COLUMNS`).
        model: One of its models; the random-weight twin is looked up by name.
        claims: The claims; one that presupposes another stands after it.
        aggregation: Of tasks with several subsets; the others have ``all`` only.

    Returns:
        The verdict. A claim without rows is in ``not_tested``.

    Raises:
        InputError: The table has no rows of this model.
    """
    mine = scores[scores["model"].isin([model, twin_name(model)])]
    if model not in set(mine["model"]):
        present = ", ".join(scores["model"].unique()) or "no model"
        raise InputError(f"no rows of model {model!r} in the score table, found {present}")
    layers = mine.loc[mine["model"] == model, "layer"].dropna()
    last = int(layers.max()) if len(layers) else 0  # vectors from outside show no layers
    chosen = _chosen_layer(mine[mine["model"] == model], last)
    sizes = _training_sizes(mine)
    differences = read_differences(mine, aggregation)
    by_task: list[Finding] = []
    for claim in claims:
        row = claim.row(last, None if chosen is None else chosen[0], sizes)
        if row is not None:
            place = Place(twin_name(model) if claim.control else model, *row)
            by_task += [_finding(claim, place, one) for one in differences.get(place, ())]
    overall = [
        _over_tasks(claim, found)
        for claim in claims
        if (found := [f for f in by_task if f.claim == claim.id])
    ]
    tested = {finding.claim for finding in overall}
    tasks = tuple(dict.fromkeys(finding.task for finding in by_task))
    return Verdict(
        model=model,
        aggregation=aggregation,
        tasks=tasks,
        by_task=tuple(_decided(by_task, claims)),
        overall=tuple(_decided(overall, claims)),
        not_tested=tuple(claim for claim in claims if claim.id not in tested),
        road=road_to_pooler(differences, model, last=last, tasks=tasks),
        selection="" if chosen is None else f"layer {chosen[0]} chosen on {chosen[1]}",
    )


def _chosen_layer(scores: pd.DataFrame, last: int) -> tuple[int, str] | None:
    """The best layer before the last on development pairs, and the name of those pairs."""
    rows = scores[(scores["metric"] == "selection_spearman") & (scores["layer"] < last)]
    rows = rows[rows["value"].notna()].sort_values("value", ascending=False, kind="stable")
    if rows.empty:
        return None
    best = rows.iloc[0]
    return int(best["layer"]), f"{best['task']} {best['split']}"


def _training_sizes(scores: pd.DataFrame) -> tuple[str, str] | None:
    """The subsets of the fewest and the most training items; None where there are not two."""
    rows = scores[(scores["probe"] == "finetuned") & (scores["metric"] == "standard_error")]
    sizes = [str(subset) for subset in rows["subset"].unique() if not is_difference(subset)]
    sizes.sort(key=training_items)
    return (sizes[0], sizes[-1]) if len(sizes) > 1 else None


def _finding(claim: Claim, place: Place, difference: Difference) -> Finding:
    """A claim on one task, not yet decided."""
    return Finding(
        claim=claim.id,
        sentence=claim.sentence,
        task=difference.task,
        **place._asdict(),
        metric=difference.metric,
        aggregation=difference.aggregation,
        effect=difference.value,
        lower=difference.lower,
        upper=difference.upper,
        standard_error=difference.standard_error,
        predicts=claim.predicts,
        threshold=claim.threshold,
        p=_p(difference.value - claim.threshold, difference.standard_error),
        corrected_p=math.nan,
        outcome=Outcome.UNDECIDED,
        reason="" if difference.defined else "the value is undefined",
        n_tasks=1,
    )


def _p(distance: float, standard_error: float) -> float:
    """Two-sided normal p; 1 for no distance at all, NaN where undefined."""
    if math.isnan(distance) or math.isnan(standard_error):
        return math.nan
    if distance == 0:
        return 1.0
    return math.erfc(abs(distance) / standard_error / math.sqrt(2)) if standard_error > 0 else 0.0


def _over_tasks(claim: Claim, found: Sequence[Finding]) -> Finding:
    pooled = random_effects(
        [finding.effect - claim.threshold for finding in found],
        [finding.standard_error for finding in found],
    )
    defined = [finding for finding in found if not math.isnan(finding.effect)]
    single = len(defined) == 1
    return replace(
        found[0],
        task=OVERALL,
        aggregation=" and ".join(dict.fromkeys(finding.aggregation for finding in found)),
        metric=" and ".join(dict.fromkeys(finding.metric for finding in found)),
        effect=pooled.effect + claim.threshold,
        # One task keeps the interval that the table has for it.
        lower=defined[0].lower if single else pooled.lower + claim.threshold,
        upper=defined[0].upper if single else pooled.upper + claim.threshold,
        standard_error=math.nan,
        p=pooled.p,
        reason="" if defined else "the value is undefined on every task",
        n_tasks=len(defined),
    )


def _decided(findings: Sequence[Finding], claims: Sequence[Claim]) -> list[Finding]:
    """The findings of one family of tests with corrected p and outcome."""
    given = {claim.id: claim.given for claim in claims}
    outcomes: dict[tuple[str, str], Outcome] = {}
    decided: list[Finding] = []
    corrected = holm([finding.p for finding in findings])
    for finding, p in zip(findings, corrected.tolist(), strict=True):
        side = Side.ABOVE if finding.effect > finding.threshold else Side.BELOW
        outcome, reason = Outcome.UNDECIDED, finding.reason
        needed = given[finding.claim]
        if needed is not None and outcomes.get((needed, finding.task)) is not Outcome.SUPPORTED:
            reason = f"{needed} is not supported"
        elif p <= LEVEL:
            outcome = Outcome.SUPPORTED if side is finding.predicts else Outcome.REFUTED
        outcomes[finding.claim, finding.task] = outcome
        decided.append(replace(finding, corrected_p=p, outcome=outcome, reason=reason))
    return decided
