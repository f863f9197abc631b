"""The registered questions answered from the rows: estimates, gates, criteria, in sentences.

The protocol names no look at which P1 is read. The last is what this code had fixed before any was
seen, so it decides; P1 is given at every look.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from probing.cause.continuation import MLM, NSP
from probing.cause.criteria import (
    ARM_WORDS,
    FROZEN_NSP,
    LARGE,
    PLACEBO,
    Answer,
    Criterion,
    convincing_criteria,
    effect_if_measured,
    gates_of,
    interval_words,
    looks_of,
    refuting_criteria,
)
from probing.cause.estimands import Effect, effect, values
from probing.cause.frozen_vectors import FrozenArm
from probing.cause.rows import UNITS
from probing.results.names import MINUS, difference
from probing.results.quantities import signed
from probing.statistics import holm


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
    """The result for a reader who knows none of the criteria."""

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
    frozen, continued = looks_of(rows, "E1", FROZEN_NSP), looks_of(rows, "E2", NSP.name)
    p1s = [effect_if_measured(rows, "E1", FROZEN_NSP, PLACEBO, dose) for dose in frozen]
    p2s = [effect_if_measured(rows, "E2", NSP.name, MLM.name, dose) for dose in continued]
    p1, p2 = p1s[-1] if p1s else None, p2s[-1] if p2s else None
    corrected = _holm(p1, p2)
    gates = gates_of(rows, frozen, continued)
    convincing, refuting = convincing_criteria(rows, p1, p2), refuting_criteria(rows, frozen)
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
    result, *not_met = _headline(encoder, p1, p2, gates, convincing, refuting)
    short = (result, *_in_short(rows, encoder, p1, p1s, p2, opened))
    headline = " ".join((result, *not_met))
    return Verdict(headline, tuple(estimates), gates, convincing, refuting, short)


def slopes(rows: pd.DataFrame, experiment: str, one: str, other: str) -> "pd.Series[float]":
    """S4: of each seed, points of ``pooler − cls`` (one less other) a doubling of the dose."""
    doses = looks_of(rows, experiment, one)
    found = {
        dose: (values(rows, experiment, one, dose) - values(rows, experiment, other, dose))
        .dropna()
        .mean(axis=1)
        for dose in doses
    }
    frame = pd.DataFrame(found).dropna()
    fitted = np.polyfit(np.log2(doses), frame.to_numpy().T, 1)[0]
    return pd.Series(fitted, index=frame.index)


def _holm(p1: Effect | None, p2: Effect | None) -> dict[str, float]:
    """Corrected over both, whether or not both were measured: one that is missing counts as 1."""
    raw = [1.0 if found is None else found.mean.p for found in (p1, p2)]
    corrected = holm(raw)
    return dict(zip(("P1", "P2"), map(float, corrected), strict=True))


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
        f"is {interval_words(last)} against {other}, Holm-corrected p {_p(p)}; standard error over "
        f"{len(last.by_seed)} seeds {last.seed_error:.2f}, over items {items}; below 0 in "
        f"{last.seeds_below} of {len(last.by_seed)} seeds and {last.tasks_below} of "
        f"{len(last.by_task)} tasks."
    )
    if not open_gates:
        told += f" A gate of {experiment} is closed: it says nothing of a cause."
    every = [f"{look.dose:,}: {interval_words(look)}" for look in looks if look is not None]
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
        found = [effect_if_measured(rows, "E1", arm.value, None, dose) for dose in frozen]
        if all(look is not None for look in found):
            line = " → ".join(signed(look.mean.effect) for look in found if look is not None)
            told.append(f"{ARM_WORDS[arm.value]} {line}")
    doses = ", ".join(f"{dose:,}" for dose in frozen)
    at_start = values(rows, "E1", FROZEN_NSP, 0).to_numpy().mean()
    start = f"from {signed(at_start)} at the start, after {doses} steps"
    made = [f"pooler − cls with the body frozen, {start}: {'; '.join(told)}."]
    if effect_if_measured(rows, "E1", PLACEBO, None, frozen[-1]) is not None and len(frozen) > 1:
        made.append(_slope(slopes(rows, "E1", FROZEN_NSP, PLACEBO), "E1"))
    return made + _readouts(rows, "E1", (FROZEN_NSP, PLACEBO), frozen[-1])


def _secondary(rows: pd.DataFrame, doses: tuple[int, ...]) -> list[str]:
    """S1 to S6 of E2, of what is finished."""
    if not doses:
        return ["S1 to S3 and S6 are of E2, which has no finished pair yet."]
    made = []
    for name, view in (("S1", difference("pooler", "mean")), ("S2", "cls"), ("S3", "mean")):
        found = effect_if_measured(rows, "E2", NSP.name, MLM.name, doses[-1], view)
        if found is not None:
            words = view.replace(MINUS, " − ")
            differs = f"with next sentence prediction {words} is {interval_words(found)}"
            made.append(f"{name}: {differs} from that of MLM.")
    if len(doses) > 1 and effect_if_measured(rows, "E2", NSP.name, MLM.name, doses[0]) is not None:
        made.append(_slope(slopes(rows, "E2", NSP.name, MLM.name), "E2"))
    made += _readouts(rows, "S5", (NSP.name, MLM.name), doses[-1])
    return made + _paths(rows, doses[-1])


def _readouts(rows: pd.DataFrame, experiment: str, arms: tuple[str, str], dose: int) -> list[str]:
    """S5: information or geometry?"""
    told = []
    for readout, words in (("ridge", "a ridge readout"), ("whitened", "whitening")):
        found = readout_effect(rows, experiment, arms, dose, readout)
        if found is not None:
            moved = f"after {words} pooler − cls is {interval_words(found)}"
            told.append(f"{moved} against {ARM_WORDS[arms[1]]}")
    of = "E1" if experiment == "E1" else "E2"
    return [f"S5 ({of}, intervals over seeds): {'; '.join(told)}."] if told else []


def readout_effect(
    rows: pd.DataFrame, experiment: str, arms: tuple[str, str], dose: int, readout: str
) -> Effect | None:
    """One arm less the other after a readout; None where that was not measured."""
    try:
        return effect(rows, experiment, *arms, dose, variants=(readout, readout))
    except ValueError:
        return None


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
    of_weight, of_body = ([interval_words(found) for found in pair] for pair in (weight, body))
    told = (
        "S6 (intervals over seeds): the trained pooler moves pooler − cls by "
        f"{of_weight[0]} on MLM's body and {of_weight[1]} on its own; the body by {of_body[0]} "
        f"under the pooler of the start and {of_body[1]} under the trained one; interaction "
        f"{signed(both)}."
    )
    return [told]


def _headline(
    encoder: str,
    p1: Effect | None,
    p2: Effect | None,
    gates: tuple[Criterion, ...],
    convincing: tuple[Criterion, ...],
    refuting: tuple[Criterion, ...],
) -> tuple[str, ...]:
    """The result, and in a sentence of its own what it falls short of."""
    if p1 is None and p2 is None:
        return (f"Nothing can be said of {encoder} yet: no two arms are finished.",)
    closed = [gate.name for gate in gates if gate.answer is Answer.NO]
    if closed:
        return (
            f"Nothing is concluded about {encoder}.",
            f"A gate is closed: {'; '.join(closed)}.",
        )
    refuted = [criterion.name for criterion in refuting if criterion.answer is Answer.YES]
    if refuted:
        return (f"Refuted in {encoder}: {' and '.join(refuted)}.",)
    missed = [criterion.name for criterion in convincing if criterion.answer is Answer.NO]
    open_ones = [criterion.name for criterion in convincing if criterion.answer is Answer.OPEN]
    open_ones += [gate.name for gate in gates if gate.answer is Answer.OPEN]
    if not missed and not open_ones:
        cause = f"in {encoder}, next sentence prediction spoils the pooler through W"
        return (f"Convincing by the registered criteria: {cause}.",)
    if missed:
        told = f"Undecided in {encoder}: by the criteria registered before the run, the result is"
        return (
            f"{told} neither convincing nor refuting.",
            f"Not met: {'; '.join(missed)}.",
        )
    return (f"Open in {encoder}: not measured yet is whether {' and whether '.join(open_ones)}.",)


def _in_short(
    rows: pd.DataFrame,
    encoder: str,
    p1: Effect | None,
    looks: list[Effect | None],
    p2: Effect | None,
    opened: dict[str, bool],
) -> list[str]:
    """P2 where it may be told, else P1, in plain sentences."""
    if p2 is not None and opened["E2"]:
        told = f"Training all of {encoder} on {p2.dose:,} tokens with next sentence prediction "
        return [told + f"changes pooler − cls by {interval_words(p2)} compared with MLM only."]
    if p1 is None or not opened["E1"]:
        return []
    lowest = min((look for look in looks if look is not None), key=lambda look: look.mean.effect)
    told = (
        f"With the body of {encoder} frozen and only the pooler trained, next sentence prediction "
        "moves pooler − [CLS], compared with the same training on shuffled labels, by "
    )
    if lowest.dose < p1.dose:
        told += f"{interval_words(lowest)} after {lowest.dose:,} steps and by "
    asked = f"the criterion was {signed(LARGE, digits=0)} or less"
    sentences = [f"{told}{interval_words(p1)} after all {p1.dose:,}; {asked}."]
    whitened = readout_effect(rows, "E1", (FROZEN_NSP, PLACEBO), p1.dose, "whitened")
    if whitened is not None:
        sentences.append(f"On whitened vectors it ends at {interval_words(whitened)}.")
    if p2 is None:
        sentences.append("A second experiment, which trains the whole encoder, is not finished.")
    return sentences


def _slope(found: "pd.Series[float]", experiment: str) -> str:
    return (
        f"S4 ({experiment}): {signed(float(found.mean()))} a doubling of the dose, standard "
        f"deviation over seeds {float(found.std()):.2f}, below 0 in {int((found < 0).sum())} of "
        f"{len(found)} seeds."
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
