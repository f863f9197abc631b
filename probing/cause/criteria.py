"""The registered gates and criteria, each answered from the rows."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import pandas as pd

from probing.cause.continuation import MLM, NSP, SHUFFLED
from probing.cause.continuation import SOP as MLM_SOP
from probing.cause.estimands import OUTCOME, START, Effect, doses_of, effect, values
from probing.cause.frozen_vectors import FrozenArm
from probing.cause.rows import above_floors
from probing.results.quantities import signed

FROZEN_NSP: Final = FrozenArm.NSP.value
PLACEBO: Final = FrozenArm.PERMUTED.value
LARGE: Final = -5
"""Points that P1 and P2 have to reach."""
ARM_WORDS: Final = {
    FrozenArm.NSP.value: "next sentence prediction",
    FrozenArm.PERMUTED.value: "permuted labels",
    FrozenArm.SEMANTIC.value: "picking the next segment's mean",
    FrozenArm.SOP.value: "sentence order prediction",
    FrozenArm.SAME_SOURCE.value: "negatives of the same source",
    FrozenArm.EASY.value: "negatives of another genre",
    FrozenArm.FEW.value: "a tenth of the pairs",
    FrozenArm.FRESH.value: "no pair twice",
    MLM.name: "MLM",
    NSP.name: "MLM + next sentence prediction",
    SHUFFLED.name: "MLM + permuted labels",
    MLM_SOP.name: "MLM + sentence order prediction",
}


class Answer(StrEnum):
    """To a criterion or a gate."""

    YES = "yes"
    NO = "no"
    OPEN = "not measured"


@dataclass(frozen=True)
class Criterion:
    """A registered condition, its answer, and the numbers it rests on."""

    name: str
    answer: Answer
    because: str

    def __str__(self) -> str:
        return f"{self.name}: {self.answer}; {self.because}"


def monotone_seeds(rows: pd.DataFrame, experiment: str, arm: str, doses: tuple[int, ...]) -> int:
    """Seeds whose ``pooler − cls`` falls at every look."""
    found = np.stack([values(rows, experiment, arm, dose).mean(axis=1) for dose in doses])
    return int((np.diff(found, axis=0) < 0).all(axis=0).sum())


def looks_of(rows: pd.DataFrame, experiment: str, arm: str) -> tuple[int, ...]:
    """The looks at an arm after its start, ascending."""
    return tuple(dose for dose in doses_of(rows, experiment, arm) if dose)


def effect_if_measured(
    rows: pd.DataFrame, experiment: str, one: str, other: str | None, dose: int, view: str = OUTCOME
) -> Effect | None:
    """As `effect`; None where an arm, or its second seed, is not there yet."""
    try:
        return effect(rows, experiment, one, other, dose, view)
    except ValueError:  # an arm, or its second seed, is not there yet
        return None


def gates_of(
    rows: pd.DataFrame, frozen: tuple[int, ...], continued: tuple[int, ...]
) -> tuple[Criterion, ...]:
    """What must hold before a causal sentence is said."""
    found = []
    if frozen:
        nsp, placebo = (_held_out(rows, "E1", arm, frozen[-1]) for arm in (FROZEN_NSP, PLACEBO))
        floor = _held_out(rows, "E1", FROZEN_NSP, 0, "overlap_accuracy")
        found.append(
            Criterion(
                "E1, the head tells next sentences 15 points better than on permuted labels",
                _yes(nsp - placebo >= 0.15, nsp - placebo),
                f"{100 * nsp:.1f} against {100 * placebo:.1f} %, word overlap {100 * floor:.1f} %",
            )
        )
        found.append(_above(rows, "E1", (FROZEN_NSP,), frozen[-1]))
    name = "E2, MLM losses of paired arms lie within .02 nats"
    if not continued:
        return (*found, Criterion(name, Answer.OPEN, "E2 has no finished pair"))
    last = continued[-1]
    losses = {arm: _by_seed(rows, arm, last, "mlm_loss") for arm in (NSP.name, MLM.name)}
    apart = float((losses[NSP.name] - losses[MLM.name]).dropna().mean())
    found.append(Criterion(name, _yes(abs(apart) <= 0.02, apart), f"they differ by {apart:+.3f}"))
    there = rows.loc[(rows["experiment"] == "E2") & (rows["metric"] == "spearman"), "arm"]
    found.append(_above(rows, "E2", tuple(there.unique().tolist()), last))
    accuracy = _held_out(rows, "E2", NSP.name, last)
    overlap = _held_out(rows, "E2", MLM.name, 0, "overlap_accuracy")
    found.append(
        Criterion(
            "E2, the head tells next sentences 10 points better than word overlap",
            _yes(accuracy - overlap >= 0.10, accuracy - overlap),
            f"{100 * accuracy:.1f} % against {100 * overlap:.1f} %",
        )
    )
    return tuple(found)


def _above(rows: pd.DataFrame, experiment: str, arms: tuple[str, ...], dose: int) -> Criterion:
    name = f"{experiment}, mean@last of every arm is 5 points above word overlap and random weights"
    least = math.inf
    for arm in arms:
        try:
            least = min(least, *above_floors(rows, experiment, arm, dose).values())
        except ValueError:
            continue
    return Criterion(name, _yes(least >= 5, least), f"the least is {least:.1f} above")


def convincing_criteria(
    rows: pd.DataFrame, p1: Effect | None, p2: Effect | None
) -> tuple[Criterion, ...]:
    """All of these, and the result is convincing."""
    large = f"is {signed(LARGE, digits=0)} points or less with its upper end below −2"
    found = [Criterion(f"P1 {large}", *_large(p1))]
    name = "18 of 20 seeds and every task are below 0"
    if p1 is None:
        found.append(Criterion(name, Answer.OPEN, "P1 is not there"))
    else:
        n, tasks = len(p1.by_seed), len(p1.by_task)
        good = p1.seeds_below >= math.ceil(0.9 * n) and p1.tasks_below == tasks
        told = f"{p1.seeds_below} of {n} seeds and {p1.tasks_below} of {tasks} tasks"
        found.append(Criterion(name, _yes(good), told))
    found.append(_smaller(rows))
    found.append(Criterion(f"P2 {large}", *_large(p2)))
    name = "the dose is monotone in 7 of 8 seeds"
    doses = looks_of(rows, "E2", NSP.name)
    if doses:
        n = len(values(rows, "E2", NSP.name, doses[-1]))
        down = monotone_seeds(rows, "E2", NSP.name, doses)
        because = f"pooler − cls falls at every look in {down} of {n} seeds of E2"
        found.append(Criterion(name, _yes(down >= math.ceil(7 / 8 * n)), because))
    else:
        frozen = looks_of(rows, "E1", FROZEN_NSP)
        because = "E2 has no finished pair"
        if frozen:
            down = monotone_seeds(rows, "E1", FROZEN_NSP, frozen)
            n = len(values(rows, "E1", FROZEN_NSP, frozen[-1]))
            because += f"; in E1 it is monotone in {down} of {n} seeds"
        found.append(Criterion(name, Answer.OPEN, because))
    s3 = None
    if doses:
        try:
            s3 = effect(rows, "E2", NSP.name, MLM.name, doses[-1], "mean", level=0.9)
        except ValueError:
            s3 = None
    within = s3 is not None and max(-s3.mean.lower, s3.mean.upper) <= 1
    because = (
        "E2 has no two finished pairs" if s3 is None else f"mean, {interval_words(s3, level=90)}"
    )
    answer = Answer.OPEN if s3 is None else _yes(within)
    found.append(Criterion("S3 lies within ± 1 point", answer, because))
    return tuple(found)


def _smaller(rows: pd.DataFrame) -> Criterion:
    name = "placebo and positive control move the pooler a third as much or less"
    doses = looks_of(rows, "E1", FROZEN_NSP)
    moved = {
        arm: effect_if_measured(rows, "E1", arm, START, doses[-1]) if doses else None
        for arm in (FROZEN_NSP, PLACEBO, FrozenArm.SEMANTIC.value)
    }
    told = [
        f"{ARM_WORDS[arm]} {signed(found.mean.effect)}"
        for arm, found in moved.items()
        if found is not None
    ]
    missing = [ARM_WORDS[arm] for arm, found in moved.items() if found is None]
    if missing:
        return Criterion(name, Answer.OPEN, f"{', '.join(missing)} not trained")
    sizes = [0.0 if found is None else found.mean.effect for found in moved.values()]
    # an arm that moves the pooler the other way does not move it so
    good = all(-other <= -sizes[0] / 3 for other in sizes[1:]) and sizes[0] < 0
    return Criterion(name, _yes(good), f"from its start, {', '.join(told)}")


def refuting_criteria(rows: pd.DataFrame, frozen: tuple[int, ...]) -> tuple[Criterion, ...]:
    """One of these, and it is refuted."""
    found = [_as_much("permuted labels do as much", rows, frozen, (PLACEBO,))]
    others = (FrozenArm.SOP.value, FrozenArm.SEMANTIC.value)
    name = "sentence order prediction and the positive control do as much"
    found.append(_as_much(name, rows, frozen, others))
    return tuple(found)


def _as_much(
    name: str, rows: pd.DataFrame, frozen: tuple[int, ...], arms: tuple[str, ...]
) -> Criterion:
    """No where NSP's interval against one of the arms lies below 0; yes where none does."""
    less = {
        arm: effect_if_measured(rows, "E1", FROZEN_NSP, arm, frozen[-1]) if frozen else None
        for arm in arms
    }
    missing = [ARM_WORDS[arm] for arm, found in less.items() if found is None]
    told = [
        f"against {ARM_WORDS[arm]} {interval_words(found)}"
        for arm, found in less.items()
        if found is not None
    ]
    below = [found is not None and found.mean.upper < 0 for found in less.values()]
    answer = Answer.NO if any(below) else Answer.OPEN if missing else Answer.YES
    because = [*told, *(f"{arm} not trained" for arm in missing)]
    return Criterion(name, answer, "next sentence prediction " * bool(told) + "; ".join(because))


def _large(found: Effect | None) -> tuple[Answer, str]:
    if found is None:
        return Answer.OPEN, "it has no two finished pairs"
    good = found.mean.effect <= LARGE and found.mean.upper < -2
    return _yes(good), f"it is {interval_words(found)}"


def _held_out(
    rows: pd.DataFrame, experiment: str, arm: str, dose: int, metric: str = "sentence_accuracy"
) -> float:
    mine = rows[(rows["experiment"] == experiment) & (rows["arm"] == arm)]
    mine = mine[(mine["metric"] == metric) & (mine["dose"] == dose)]
    return float(mine["value"].mean()) if len(mine) else math.nan


def _by_seed(rows: pd.DataFrame, arm: str, dose: int, metric: str) -> "pd.Series[float]":
    mine = rows[(rows["experiment"] == "E2") & (rows["arm"] == arm)]
    mine = mine[(mine["metric"] == metric) & (mine["dose"] == dose)]
    return mine.set_index("seed")["value"]


def _yes(good: bool, value: float = 0.0) -> Answer:  # noqa: FBT001 - the answer itself
    return Answer.OPEN if math.isnan(value) else Answer.YES if good else Answer.NO


def interval_words(found: Effect, *, level: int = 95) -> str:
    """``−3.1 [−3.7, −2.4] points``, and the level in % where it is not 95."""
    of_level = "" if level == 95 else f" ({level} %)"
    return f"{signed(found.mean.effect, found.mean.lower, found.mean.upper)} points{of_level}"
