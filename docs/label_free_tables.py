"""The tables of ``docs/label-free.md``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import label_free_rules
import numpy as np
from label_free_rules import (
    BEST,
    DEPTH,
    ENCODER,
    HALF,
    LEVEL,
    MARGIN,
    N_HALVES,
    N_ITEMS,
    N_SENTENCES,
    N_TWIN_PAIRS,
    PAIRS,
    RANDOM,
    TWIN,
    Case,
    Effect,
    FloatArray,
    correlations,
    gains,
    read_cases,
    verdicts,
)

from probing.results.names import TWIN_SUFFIX
from probing.results.quantities import points, signed
from probing.similarity.label_free import METRICS, LabelFreeMetric
from probing.statistics import holm
from probing.study.label_free import N_COPIES

OTHERS: Final = "others"
TITLES: Final = {"isoscore": "IsoScore", "infonce": "InfoNCE", "dime": "DiME", "lidar": "LiDAR"}


@dataclass(frozen=True)
class Findings:
    """What the page says, of the trained encoder under mean pooling."""

    cases: Sequence[Case]
    twin: Sequence[Case]
    over: Mapping[str, Mapping[str, Effect]]
    """Rule → measure → what its pick scores above that of the rule."""
    verdict: Mapping[str, Mapping[str, str]]
    """`DEPTH` and `HALF` → measure → outcome."""

    @classmethod
    def of(cls, rows: Sequence[Any]) -> "Findings":
        """From the cases as they are kept."""
        cases = read_cases(rows, ENCODER, "mean")
        twin = read_cases(rows, ENCODER + TWIN_SUFFIX, "mean")
        over = {rule: gains(cases, rule, others=twin) for rule in (DEPTH, HALF, RANDOM, TWIN, BEST)}
        verdict = {rule: verdicts(over[rule], over[TWIN]) for rule in (DEPTH, HALF)}
        return cls(cases=cases, twin=twin, over=over, verdict=verdict)

    def lost(self, name: str) -> str:
        """Points that a pick is below the best layer, mean over tasks, as text."""
        return points(-self.over[BEST][name].value, 2)

    @property
    def last(self) -> int:
        """The last layer."""
        return len(self.cases[0].scores) - 1

    def only_last(self) -> list[LabelFreeMetric]:
        """The measures that pick the last layer on every task."""
        return [
            metric
            for metric in METRICS
            if all(case.picks(metric.name)[0] == self.last for case in self.cases)
        ]

    def answer(self) -> str:
        """The answer in a few sentences."""
        counts = {
            rule: ", ".join(
                f"{outcome} for {sum(found == outcome for found in self.verdict[rule].values())}"
                for outcome in ("supported", "refuted", "undecided")
            )
            for rule in (DEPTH, HALF)
        }
        lost = min(-self.over[BEST][metric.name].value for metric in METRICS)
        best = [m for m in METRICS if -self.over[BEST][m.name].value <= lost + 1e-9]
        same = self.only_last()
        least = "no measure loses less than the last layer"
        if best != same:
            least = f"the best of the measures{_named(best)} {self.lost(best[0].name)}"
        supported = [m for m in METRICS if self.verdict[DEPTH][m.name] == "supported"]
        return (
            f"In `{ENCODER}` {len(supported) or 'none'} of {len(METRICS)} label-free measures is "
            f"shown to pick a better layer than the last one{_named(supported)}. That claim is "
            f'{counts[DEPTH]}; "better than the layer at half depth" is {counts[HALF]}. On all '
            f"{len(self.cases)} tasks, {len(same)} of the measures pick the last layer, and so "
            f"gain nothing over it{_named(same)}. Compared with the best layer of each task, the "
            f"last one loses {self.lost(DEPTH)} points on average, half depth {self.lost(HALF)}"
            f"; {least}."
        )


def markdown(rows: Sequence[Any]) -> str:
    """The page, every figure of it from the cases."""
    found = Findings.of(rows)
    lines = [
        "# Can a layer be chosen without labels?",
        "",
        found.answer(),
        "",
        *_claim(found),
        *_verdicts(found),
        *_kinds(found),
        *_followed(found),
        *_beside(rows, found.twin),
        *_every_case(found.cases),
        *_how(),
        "Made by `python docs/label_free.py --data-dir DATA`.",
        "",
    ]
    return "\n".join(lines)


def _claim(found: Findings) -> Iterator[str]:
    best = [int(np.nanargmax(case.scores)) for case in found.cases]
    earlier = [case for case, layer in zip(found.cases, best, strict=True) if layer < found.last]
    of_pairs = sum(case.task in PAIRS for case in earlier)
    follows = correlations(found.cases)
    above = [m for m in METRICS if follows[m.name].interval[0] > 0]
    beyond = [m for m in METRICS if follows[f"{m.name} - {DEPTH}"].interval[0] > 0]
    yield (
        "**The claim tested.** Skean et al. (2025, *Layer by Layer*) say that intermediate layers "
        "consistently do better than the last one, that such measures follow the performance of "
        "the layers, and that a layer can therefore be chosen without labels: by DiME, about 3 % "
        f"better than the last layer of Pythia-410M. For `{ENCODER}`, which was tuned for its last "
        "layer:"
    )
    yield ""
    yield (
        f"- An earlier layer is the best on {len(earlier)} of {len(best)} tasks ({of_pairs} of "
        f"them STS). The layer at half depth is {_signed(found.over[DEPTH][HALF])} points from the "
        "last one."
    )
    yield (
        f"- Over the layers {len(above)} of {len(METRICS)} measures rise with the scores by their "
        f"95 % intervals{_named(above)}, and {len(beyond)} do so more than the number of the layer "
        f"does{_named(beyond)}, which has {_signed(follows[DEPTH], 2)}."
    )
    constant = [
        metric
        for metric in METRICS
        if len({int(case.picks(metric.name)[0]) for case in found.cases}) == 1
    ]
    lost = {
        pairs: np.mean(
            [
                case.scores.max() - case.scores[-1]
                for case in found.cases
                if (case.task in PAIRS) is pairs
            ]
        )
        for pairs in (True, False)
    }
    yield (
        "- Which layer is best depends on the task, which no measure sees: the last layer loses "
        f"{points(100 * lost[True], 2)} points on the STS sets and {points(100 * lost[False], 2)} "
        f"on the labelled tasks, and {len(constant)} of {len(METRICS)} measures pick one and the "
        "same layer for all of them."
    )
    yield (
        f"- What DiME picks is {_signed(found.over[DEPTH]['dime'])} points from the last layer: "
        f"{found.verdict[DEPTH]['dime']}."
    )
    yield ""
    yield (
        f"**What this cannot say.** This is one trained encoder of {found.last + 1} layers, tuned "
        "on pairs of sentences by the mean of its last layer, and few tasks, which share sentences "
        "(STS-B has some of STS12 to 16, and is drawn as if it were another task). The intervals "
        "are wide; a decoder, for which the claim was first made, may differ."
    )
    yield ""


def _verdicts(found: Findings) -> Iterator[str]:
    over, verdict = found.over, found.verdict
    yield "## A claim per measure"
    yield ""
    yield (
        f"`{ENCODER}`, mean pooling, {len(found.cases)} tasks. Differences are in points (Spearman "
        "or accuracy × 100), with 95 % intervals. *Lost* is what the picked layer is below the "
        "best one of its task; *layers picked* has the number of tasks in brackets."
    )
    yield ""
    yield (
        "| measure | better | layers picked | lost | over the last layer | p (Holm) | better than "
        "the last | over half depth | p (Holm) | better than half depth | over the pick of random "
        "weights |"
    )
    yield "|---|---|---|---:|---:|---:|---|---:|---:|---|---:|"
    corrected = [holm([over[rule][m.name].p for m in METRICS]) for rule in (DEPTH, HALF)]
    for metric, p, p_half in zip(METRICS, *corrected, strict=True):
        name = metric.name
        yield (
            f"| {_title(metric)} | {metric.better} | {_picked(found.cases, name)} | "
            f"{found.lost(name)} | {_signed(over[DEPTH][name])} | {p:.3f} | "
            f"**{verdict[DEPTH][name]}** | {_signed(over[HALF][name])} | "
            f"{p_half:.3f} | **{verdict[HALF][name]}** | {_signed(over[TWIN][name])} |"
        )
    yield ""
    yield (
        "A measure that picks the last layer on every task gains nothing, without an interval. "
        "Over half depth it gains what the last layer does; where the same measure picks as well "
        "from random weights, the rule does not call that a merit of it."
    )
    yield ""
    yield "Beside them, rules that look at no vector:"
    yield ""
    yield "| rule | lost | over the last layer | over half depth |"
    yield "|---|---:|---:|---:|"
    for rule, title in ((DEPTH, "the last layer"), (HALF, "the layer at half depth")):
        yield (
            f"| {title} | {found.lost(rule)} | {_signed(over[DEPTH][rule])} | "
            f"{_signed(over[HALF][rule])} |"
        )
    yield _random_row(over)
    yield _others_row(found.cases)
    yield ""


def _kinds(found: Findings) -> Iterator[str]:
    kinds = [
        [case for case in found.cases if (case.task in PAIRS) is pairs] for pairs in (True, False)
    ]
    over = [gains(some, DEPTH) for some in kinds]
    yield "By kind of task, gain over the last layer:"
    yield ""
    yield (
        f"| measure | {len(kinds[0])} STS sets, cosine | {len(kinds[1])} labelled, linear probe |"
    )
    yield "|---|---:|---:|"
    for name, title in (*_NAMES, (HALF, "the layer at half depth")):
        yield f"| {title} | {_signed(over[0][name])} | {_signed(over[1][name])} |"
    yield ""


def _followed(found: Findings) -> Iterator[str]:
    follows, of_twin = correlations(found.cases), correlations(found.twin)
    yield "## Does a measure follow the scores over the layers?"
    yield ""
    yield (
        "Spearman over the layers between what a measure says, in its own direction, and what the "
        "layers score; mean over tasks. *Depth* is the number of the layer. With "
        f"{found.last + 1} layers the correlation of one task is coarse."
    )
    yield ""
    yield "| measure | trained | trained, less that of depth | random weights |"
    yield "|---|---:|---:|---:|"
    for name, title in _NAMES:
        yield (
            f"| {title} | {_signed(follows[name], 2)} | "
            f"{_signed(follows[f'{name} - {DEPTH}'], 2)} | {_signed(of_twin[name], 2)} |"
        )
    yield f"| depth | {_signed(follows[DEPTH], 2)} | | {_signed(of_twin[DEPTH], 2)} |"
    yield ""


def _named(metrics: Sequence[LabelFreeMetric]) -> str:
    return f" ({', '.join(_title(metric) for metric in metrics)})" if metrics else ""


def _title(metric: LabelFreeMetric) -> str:
    return TITLES.get(metric.name, metric.name.replace("_", " "))


_NAMES: Final = tuple((metric.name, _title(metric)) for metric in METRICS)


def _signed(effect: Effect, digits: int = 1) -> str:
    return signed(effect.value, *effect.interval, digits=digits)


def _picked(cases: Sequence[Case], name: str) -> str:
    layers, counts = np.unique([case.picks(name)[0] for case in cases], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return ", ".join(f"{layers[i]} ({counts[i]}×)" for i in order)


def _random_row(over: Mapping[str, Mapping[str, Effect]]) -> str:
    """A layer drawn at random: the mean of all."""
    lost = {rule: -over[BEST][rule].value + over[RANDOM][rule].value for rule in (DEPTH, HALF)}
    turned = [
        Effect(-over[RANDOM][rule].value, over[RANDOM][rule].error, over[RANDOM][rule].freedom)
        for rule in (DEPTH, HALF)
    ]
    return (
        f"| a random layer, on average | {points(lost[DEPTH], 2)} | {_signed(turned[0])} | "
        f"{_signed(turned[1])} |"
    )


def _others_row(cases: Sequence[Case]) -> str:
    """The layer that is best on the mean of the other tasks, whose labels it needs."""
    table = np.array([case.scores for case in cases])
    picks = [
        int(np.delete(table, number, axis=0).mean(axis=0).argmax()) for number in range(len(table))
    ]
    with_rule = [
        replace(case, said={**case.said, DEPTH: case.said[DEPTH], OTHERS: _only(pick, case)})
        for case, pick in zip(cases, picks, strict=True)
    ]
    found = {rule: gains(with_rule, rule, names=(OTHERS,))[OTHERS] for rule in (BEST, DEPTH, HALF)}
    return (
        f"| the best layer of the other tasks, by their labels | {points(-found[BEST].value, 2)} | "
        f"{_signed(found[DEPTH])} | {_signed(found[HALF])} |"
    )


def _only(layer: int, case: Case) -> FloatArray:
    """What a rule says that picks this layer whatever the sentences."""
    return np.tile(-np.abs(np.arange(len(case.scores)) - float(layer)), (1 + N_HALVES, 1))


def _beside(rows: Sequence[Any], twin: Sequence[Case]) -> Iterator[str]:
    cls = read_cases(rows, ENCODER, "cls")
    found = gains(twin, DEPTH), gains(cls, DEPTH)
    lost = gains(twin, BEST), gains(cls, BEST)
    yield "## Random weights, and `[CLS]`"
    yield ""
    yield (
        "The same within the random-weight twin under mean pooling (the layers scored on at most "
        f"{N_TWIN_PAIRS:,} pairs), and in the trained encoder "
        "under `cls`, whose layer 0 is one vector and cannot be picked. No verdict hangs on these."
    )
    yield ""
    yield "| measure | twin: lost | twin: over the last | cls: lost | cls: over the last |"
    yield "|---|---:|---:|---:|---:|"
    rules = ((DEPTH, "the last layer"), (HALF, "the layer at half depth"))
    for name, title in (*_NAMES, *rules):
        yield (
            f"| {title} | {points(-lost[0][name].value, 2)} | {_signed(found[0][name])} | "
            f"{points(-lost[1][name].value, 2)} | {_signed(found[1][name])} |"
        )
    yield ""


def _every_case(cases: Sequence[Case]) -> Iterator[str]:
    layers = range(len(cases[0].scores))
    yield "## Every task"
    yield ""
    yield (
        f"Score × 100 of `mean` at every layer of `{ENCODER}`, then the layer that each measure "
        "picks."
    )
    yield ""
    titles = [*(f"layer {layer}" for layer in layers), *(_title(metric) for metric in METRICS)]
    yield f"| task | {' | '.join(titles)} |"
    yield "|---|" + "---:|" * len(titles)
    for case in cases:
        best = int(np.nanargmax(case.scores))
        scores = [points(100 * score) for score in case.scores]
        scores[best] = f"**{scores[best]}**"
        picks = [str(case.picks(metric.name)[0]) for metric in METRICS]
        yield f"| {case.task} | {' | '.join([*scores, *picks])} |"
    yield ""


def _how() -> list[str]:
    rule = "The rule, " + str(label_free_rules.__doc__).split("The rule, ")[1].strip()
    return [
        "## How it was decided",
        "",
        rule.replace("`MARGIN`", f"{MARGIN}").replace("`LEVEL`", f"{LEVEL}"),
        "",
        (
            "What the last layer loses on STS, TREC and the number of the subject was known "
            "before, from [choose.md](choose.md): the rule, the directions and the tasks were "
            "fixed in this knowledge."
        ),
        "",
        "## What was measured",
        "",
        (
            f"The measures are taken on at most {N_SENTENCES} distinct sentences of the task, its "
            f"labels unseen, and on {N_HALVES} random halves of them. The definitions, with what "
            "differs from the published code, are in the docstrings of "
            "`probing.similarity.label_free`; `probing.label_free` gives them for any encoder and "
            f"sentences. {N_COPIES} noisy copies of each sentence have slips of the pen: three in "
            "ten of the longer words are split in two, three in ten have a letter replaced. They "
            "change no meaning and need no label, word list or keyboard. Alignment, InfoNCE and "
            "DiME take two of them, LiDAR all."
        ),
        "",
        (
            "STS sets are scored by Spearman of the cosine over all pairs. Labelled tasks are "
            f"scored by a linear probe, trained on {N_ITEMS:,} sentences and tested on as many "
            "others. A probe's answers are resampled with the probe held fixed."
        ),
        "",
    ]
