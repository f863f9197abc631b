"""The registered questions answered from the rows: estimates, gates, criteria, in sentences.

The protocol names no look at which P1 is read. The last is what this code had fixed before any was
seen, so it decides; P1 is given at every look.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import pandas as pd

from probing.cause.continuation import MLM, NSP, SHUFFLED
from probing.cause.continuation import SOP as MLM_SOP
from probing.cause.estimands import (
    OUTCOME,
    START,
    Effect,
    doses_of,
    effect,
    values,
)
from probing.cause.frozen_vectors import FrozenArm
from probing.cause.rows import UNITS, above_floors
from probing.results.names import MINUS, difference
from probing.statistics import holm

FROZEN_NSP: Final = FrozenArm.NSP.value
PLACEBO: Final = FrozenArm.PERMUTED.value
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


@dataclass(frozen=True)
class Verdict:
    """Everything that is said of an experiment.

    Attributes:
        headline: whichever way it came out.
        estimates: P1, P2 and the secondary ones, a sentence each.
        gates: what must hold before a causal sentence is said.
        convincing: all must be answered with yes.
        refuting: one answered with yes is enough.
    """

    headline: str
    estimates: tuple[str, ...]
    gates: tuple[Criterion, ...]
    convincing: tuple[Criterion, ...]
    refuting: tuple[Criterion, ...]

    short: tuple[str, ...] = ()
    """The result in two sentences."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """All of it, the headline first."""
        return (
            self.headline,
            *self.estimates,
            *(f"Gate. {gate}." for gate in self.gates),
            *(f"Convincing if {criterion}." for criterion in self.convincing),
            *(f"Refuting if {criterion}." for criterion in self.refuting),
        )


def decide(rows: pd.DataFrame, encoder: str) -> Verdict:
    """The verdict on an encoder from all rows there are (`ROW_COLUMNS`)."""
    frozen, continued = _looks(rows, "E1", FROZEN_NSP), _looks(rows, "E2", NSP.name)
    p1s = [_effect(rows, "E1", FROZEN_NSP, PLACEBO, dose) for dose in frozen]
    p2s = [_effect(rows, "E2", NSP.name, MLM.name, dose) for dose in continued]
    p1, p2 = p1s[-1] if p1s else None, p2s[-1] if p2s else None
    corrected = _holm(p1, p2)
    gates = _gates(rows, frozen, continued)
    convincing, refuting = _convincing(rows, p1, p2), _refuting(rows, frozen)
    causal = all(gate.answer is Answer.YES for gate in gates)
    opened = {
        of: all(gate.answer is Answer.YES for gate in gates if gate.name.startswith(of))
        for of in ("E1", "E2")
    }
    permuted, without = "the same labels permuted", "MLM without it"
    estimates = [
        *_main("P1", p1, p1s, "E1", permuted, corrected["P1"], open_gates=opened["E1"]),
        *_main("P2", p2, p2s, "E2", without, corrected["P2"], open_gates=opened["E2"]),
        *_arms(rows, frozen),
        *_secondary(rows, continued),
    ]
    headline = _headline(encoder, p1, p2, convincing, refuting, causal=causal)
    short = (*_in_short(encoder, p1, p1s, p2, opened), headline)
    return Verdict(headline, tuple(estimates), gates, convincing, refuting, short)


def monotone_seeds(rows: pd.DataFrame, experiment: str, arm: str, doses: tuple[int, ...]) -> int:
    """Seeds whose ``pooler − cls`` falls at every look."""
    found = np.stack([values(rows, experiment, arm, dose).mean(axis=1) for dose in doses])
    return int((np.diff(found, axis=0) < 0).all(axis=0).sum())


def slopes(rows: pd.DataFrame, experiment: str, one: str, other: str) -> "pd.Series[float]":
    """S4: of each seed, points of ``pooler − cls`` (one less other) a doubling of the dose."""
    doses = _looks(rows, experiment, one)
    found = {
        dose: (values(rows, experiment, one, dose) - values(rows, experiment, other, dose))
        .dropna()
        .mean(axis=1)
        for dose in doses
    }
    frame = pd.DataFrame(found).dropna()
    fitted = np.polyfit(np.log2(doses), frame.to_numpy().T, 1)[0]
    return pd.Series(fitted, index=frame.index)


def _looks(rows: pd.DataFrame, experiment: str, arm: str) -> tuple[int, ...]:
    return tuple(dose for dose in doses_of(rows, experiment, arm) if dose)


def _effect(
    rows: pd.DataFrame, experiment: str, one: str, other: str | None, dose: int, view: str = OUTCOME
) -> Effect | None:
    try:
        return effect(rows, experiment, one, other, dose, view)
    except ValueError:  # an arm, or its second seed, is not there yet
        return None


def _holm(p1: Effect | None, p2: Effect | None) -> dict[str, float]:
    """Corrected over both, whether or not both were measured: one that is missing counts as 1."""
    raw = [1.0 if found is None else found.mean.p for found in (p1, p2)]
    corrected = holm(raw)
    return dict(zip(("P1", "P2"), map(float, corrected), strict=True))


def _gates(
    rows: pd.DataFrame, frozen: tuple[int, ...], continued: tuple[int, ...]
) -> tuple[Criterion, ...]:
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


def _convincing(rows: pd.DataFrame, p1: Effect | None, p2: Effect | None) -> tuple[Criterion, ...]:
    large = "{} is −5 points or less with its upper end below −2"
    found = [Criterion(large.format("P1"), *_large(p1))]
    name = "18 of 20 seeds and every task are below 0"
    if p1 is None:
        found.append(Criterion(name, Answer.OPEN, "P1 is not there"))
    else:
        n, tasks = len(p1.by_seed), len(p1.by_task)
        good = p1.seeds_below >= math.ceil(0.9 * n) and p1.tasks_below == tasks
        told = f"{p1.seeds_below} of {n} seeds and {p1.tasks_below} of {tasks} tasks"
        found.append(Criterion(name, _yes(good), told))
    found.append(_smaller(rows))
    found.append(Criterion(large.format("P2"), *_large(p2)))
    name = "the dose is monotone in 7 of 8 seeds"
    doses = _looks(rows, "E2", NSP.name)
    if doses:
        n = len(values(rows, "E2", NSP.name, doses[-1]))
        down = monotone_seeds(rows, "E2", NSP.name, doses)
        because = f"pooler − cls falls at every look in {down} of {n} seeds of E2"
        found.append(Criterion(name, _yes(down >= math.ceil(7 / 8 * n)), because))
    else:
        frozen = _looks(rows, "E1", FROZEN_NSP)
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
    because = "E2 has no two finished pairs" if s3 is None else f"mean, {_interval(s3, level=90)}"
    answer = Answer.OPEN if s3 is None else _yes(within)
    found.append(Criterion("S3 lies within ± 1 point", answer, because))
    return tuple(found)


def _smaller(rows: pd.DataFrame) -> Criterion:
    name = "placebo and positive control move the pooler a third as much or less"
    doses = _looks(rows, "E1", FROZEN_NSP)
    moved = {
        arm: _effect(rows, "E1", arm, START, doses[-1]) if doses else None
        for arm in (FROZEN_NSP, PLACEBO, FrozenArm.SEMANTIC.value)
    }
    told = [
        f"{ARM_WORDS[arm]} {_points(found.mean.effect)}"
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


def _refuting(rows: pd.DataFrame, frozen: tuple[int, ...]) -> tuple[Criterion, ...]:
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
        arm: _effect(rows, "E1", FROZEN_NSP, arm, frozen[-1]) if frozen else None for arm in arms
    }
    missing = [ARM_WORDS[arm] for arm, found in less.items() if found is None]
    told = [
        f"against {ARM_WORDS[arm]} {_interval(found)}"
        for arm, found in less.items()
        if found is not None
    ]
    below = [found is not None and found.mean.upper < 0 for found in less.values()]
    answer = Answer.NO if any(below) else Answer.OPEN if missing else Answer.YES
    because = [*told, *(f"{arm} not trained" for arm in missing)]
    return Criterion(name, answer, "next sentence prediction " + "; ".join(because))


def _large(found: Effect | None) -> tuple[Answer, str]:
    if found is None:
        return Answer.OPEN, "it has no two finished pairs"
    good = found.mean.effect <= -5 and found.mean.upper < -2
    return _yes(good), f"it is {_interval(found)}"


def _main(
    name: str,
    last: Effect | None,
    looks: list[Effect | None],
    experiment: str,
    other: str,
    p: float,
    *,
    open_gates: bool,
) -> list[str]:
    if last is None:
        return [f"{name} ({experiment}) is not measured yet."]
    unit = UNITS[experiment]
    items = "not measured" if math.isnan(last.item_error) else f"{last.item_error:.2f}"
    told = (
        f"{name} ({experiment}, {last.dose:,} {unit}): with next sentence prediction pooler − cls "
        f"is {_interval(last)} against {other}, Holm-corrected p {_p(p)}; standard error over "
        f"{len(last.by_seed)} seeds {last.seed_error:.2f}, over items {items}; below 0 in "
        f"{last.seeds_below} of {len(last.by_seed)} seeds and {last.tasks_below} of "
        f"{len(last.by_task)} tasks."
    )
    if not open_gates:
        told += f" A gate of {experiment} is closed: it says nothing of a cause."
    every = [f"{look.dose:,}: {_interval(look)}" for look in looks if look is not None]
    if len(every) < 2:
        return [told]
    borrowed = any(look.items_borrowed for look in looks if look is not None)
    of_items = " (errors over items: of the last look)" if borrowed else ""
    return [told, f"{name} at every look, in {unit}{of_items}: {'; '.join(every)}."]


def _arms(rows: pd.DataFrame, frozen: tuple[int, ...]) -> list[str]:
    if not frozen:
        return []
    told = []
    for arm in FrozenArm:
        found = [_effect(rows, "E1", arm.value, None, dose) for dose in frozen]
        if all(look is not None for look in found):
            line = " → ".join(_points(look.mean.effect) for look in found if look is not None)
            told.append(f"{ARM_WORDS[arm.value]} {line}")
    doses = ", ".join(f"{dose:,}" for dose in frozen)
    at_start = values(rows, "E1", FROZEN_NSP, 0).to_numpy().mean()
    start = f"from {_points(at_start)} at the start, after {doses} steps"
    made = [f"pooler − cls with the body frozen, {start}: {'; '.join(told)}."]
    if _effect(rows, "E1", PLACEBO, None, frozen[-1]) is not None and len(frozen) > 1:
        made.append(_slope(slopes(rows, "E1", FROZEN_NSP, PLACEBO), "E1"))
    return made + _readouts(rows, "E1", (FROZEN_NSP, PLACEBO), frozen[-1])


def _secondary(rows: pd.DataFrame, doses: tuple[int, ...]) -> list[str]:
    """S1 to S6 of E2, of what is finished."""
    if not doses:
        return ["S1 to S3 and S6 are of E2, which has no finished pair yet."]
    made = []
    for name, view in (("S1", difference("pooler", "mean")), ("S2", "cls"), ("S3", "mean")):
        found = _effect(rows, "E2", NSP.name, MLM.name, doses[-1], view)
        if found is not None:
            words = view.replace(MINUS, " − ")
            moved = f"next sentence prediction moves {words} by {_interval(found)}"
            made.append(f"{name}: {moved} against MLM.")
    if len(doses) > 1 and _effect(rows, "E2", NSP.name, MLM.name, doses[0]) is not None:
        made.append(_slope(slopes(rows, "E2", NSP.name, MLM.name), "E2"))
    made += _readouts(rows, "S5", (NSP.name, MLM.name), doses[-1])
    return made + _paths(rows, doses[-1])


def _readouts(rows: pd.DataFrame, experiment: str, arms: tuple[str, str], dose: int) -> list[str]:
    """S5: information or geometry?"""
    told = []
    for readout, words in (("ridge", "a ridge readout"), ("whitened", "whitening")):
        try:
            found = effect(rows, experiment, *arms, dose, variants=(readout, readout))
        except ValueError:
            continue
        told.append(
            f"after {words} pooler − cls is {_interval(found)} against {ARM_WORDS[arms[1]]}"
        )
    of = "E1" if experiment == "E1" else "E2"
    return [f"S5 ({of}, intervals over seeds): {'; '.join(told)}."] if told else []


def _paths(rows: pd.DataFrame, dose: int) -> list[str]:
    """S6: the two ways from (MLM's body, pooler at the start) to NSP's body with its pooler."""

    def moved(end: str, begin: str) -> Effect:
        return effect(rows, "E3", NSP.name, NSP.name, dose, variants=(end, begin))

    try:
        weight = [moved("mlm/trained", "mlm/start"), moved("own/trained", "own/start")]
        body = [moved("own/start", "mlm/start"), moved("own/trained", "mlm/trained")]
    except ValueError:
        return []
    both = float((weight[1].by_seed - weight[0].by_seed).mean())
    told = (
        f"S6 (intervals over seeds): the trained pooler moves pooler − cls by {_interval(weight[0])} on MLM's body and "
        f"{_interval(weight[1])} on its own; the body by {_interval(body[0])} under the pooler of "
        f"the start and {_interval(body[1])} under the trained one; interaction {_points(both)}."
    )
    return [told]


def _headline(
    encoder: str,
    p1: Effect | None,
    p2: Effect | None,
    convincing: tuple[Criterion, ...],
    refuting: tuple[Criterion, ...],
    *,
    causal: bool,
) -> str:
    if p1 is None and p2 is None:
        return f"Nothing can be said of {encoder} yet: no two arms are finished."
    refuted = [criterion.name for criterion in refuting if criterion.answer is Answer.YES]
    if refuted:
        return f"Refuted in {encoder}: {' and '.join(refuted)}."
    missed = [criterion.name for criterion in convincing if criterion.answer is Answer.NO]
    open_ones = [criterion.name for criterion in convincing if criterion.answer is Answer.OPEN]
    if not missed and not open_ones and causal:
        return (
            f"Convincing by the registered criteria: in {encoder}, next sentence prediction spoils "
            "the pooler through W."
        )
    if missed:
        told = f"By the registered criteria this is neither convincing nor refuting in {encoder}"
        return f"{told}. Not met: {'; '.join(missed)}."
    if open_ones:
        return f"Open in {encoder}: not measured yet is whether {' and whether '.join(open_ones)}."
    return f"Nothing causal is said of {encoder}: a gate is closed."


def _in_short(
    encoder: str,
    p1: Effect | None,
    looks: list[Effect | None],
    p2: Effect | None,
    opened: dict[str, bool],
) -> list[str]:
    """P2 where it may be told, else P1, in one sentence."""
    if p2 is not None and opened["E2"]:
        told = f"Continued for {p2.dose:,} tokens with next sentence prediction, {encoder} has a "
        return [told + f"pooler − cls {_interval(p2)} from that of MLM without it."]
    if p1 is None or not opened["E1"]:
        return []
    told = f"With the body of {encoder} frozen, next sentence prediction moves pooler − cls by "
    told += f"{_interval(p1)} against permuted labels after {p1.dose:,} steps"
    lowest = min((look for look in looks if look is not None), key=lambda look: look.mean.effect)
    if lowest.dose != p1.dose:
        told += f", and by {_interval(lowest)} after {lowest.dose:,}"
    whole = "" if p2 is not None else "; the whole encoder continued (E2) is not finished"
    return [f"{told}{whole}."]


def _slope(found: "pd.Series[float]", experiment: str) -> str:
    return (
        f"S4 ({experiment}): {_points(float(found.mean()))} a doubling of the dose, standard "
        f"deviation over seeds {float(found.std()):.2f}, below 0 in {int((found < 0).sum())} of "
        f"{len(found)} seeds."
    )


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


def _points(value: float) -> str:
    text = f"{value:+.1f}".replace("-", "−")
    return text[1:] if text in ("+0.0", "−0.0") else text


def _interval(found: Effect, *, level: int = 95) -> str:
    ends = f"{_points(found.mean.lower)} to {_points(found.mean.upper)}"
    return f"{_points(found.mean.effect)} points ({ends} at {level} %)"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
