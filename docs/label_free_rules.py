"""Whether a label-free measure chooses a better layer: the rule, and what follows from the cases.

The rule, written down before anything of this was measured but for what is said below. A measure's
*gain* on a task is the score of the layer it picks less that of the last layer, × 100; its
direction is that of `METRICS`.
The claim "picks a better layer than the last one" is, for mean pooling over all tasks,

- supported, where the mean gain lies above zero (two-sided p of Holm over the measures at most
  `LEVEL`) and so, by its 95 % interval, does the gain over the layer that the same measure picks in
  the random-weight twin: a choice that random weights make as well is one of the architecture;
- else refuted, where a gain of `MARGIN` points or more is ruled out (one-sided p of Holm at most
  `LEVEL`);
- else undecided. A gain that never varies, as of a measure that picks the last layer on every
  task, rules nothing out: so few tasks do not show that it never would.

As first written the rule called such a gain refuted, at p = 0, which also made Holm milder for the
other measures. That was changed after the first results; it makes no verdict bolder.

The same rule holds for "than the layer at half depth". Tests and intervals are of t with a degree
of freedom fewer than there are tasks; the standard error is that of a bootstrap which draws tasks,
in a task the scores of its layers given how items vary, and the picks of a random half of the
sentences.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from scipy.stats import t as student

from probing.similarity.label_free import METRICS
from probing.statistics import holm

ENCODER: Final = "minilm"
PAIRS: Final = ("stsb", "sickr", "sts12", "sts13", "sts14", "sts15", "sts16")
LABELLED: Final = ("trec", "subj", "sst2", "ewt:bigram_shift", "ewt:subj_number")
N_SENTENCES: Final = 600
"""That the measures are taken on, of each task."""
N_ITEMS: Final = 1000
"""Labelled sentences to train a probe on, and to test it on."""
N_TWIN_PAIRS: Final = 1000
"""Pairs that the layers of the twin are scored on, which no verdict hangs on."""
N_HALVES: Final = 8
"""Random halves of the sentences: what a half says varies around what all say as all vary around
the truth, and none is drawn twice, which measures of pairs could not bear."""
N_DRAWS: Final = 4000
LEVEL: Final = 0.05
MARGIN: Final = 0.5
"""Points: a gain below this would change no one's choice."""
DEPTH: Final = "last"
"""The rule that takes the last layer, and the measure that is the depth itself."""
HALF: Final = "half depth"
BEST: Final = "best"
RANDOM: Final = "random"
TWIN: Final = "twin"
RULES: Final = (*(metric.name for metric in METRICS), DEPTH, HALF)
"""What picks a layer: the measures, and two rules that look at nothing."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One task under an encoder and a pooling, by layer."""

    task: str
    scores: FloatArray
    """``(n_layers,)``; NaN where a layer is one vector for every sentence."""
    covariance: FloatArray
    """``(n_layers, n_layers)``."""
    said: Mapping[str, FloatArray]
    """Measure → ``(1 + N_HALVES, n_layers)``, higher is better: of all sentences, then halves."""

    @property
    def defined(self) -> NDArray[np.bool_]:
        """The layers that can be picked."""
        return np.isfinite(self.scores)

    def picks(self, name: str) -> NDArray[np.intp]:
        """The layer that a measure picks, ``(1 + N_HALVES,)``, the lowest of equal ones."""
        said = np.where(self.defined & np.isfinite(self.said[name]), self.said[name], -np.inf)
        return np.asarray(said.argmax(axis=1))

    def drawn(self, n: int, rng: np.random.Generator) -> FloatArray:
        """The scores as they vary with the items, ``(n, n_layers)``."""
        found = np.full((n, len(self.scores)), np.nan)
        kept = self.defined
        found[:, kept] = rng.multivariate_normal(
            self.scores[kept], self.covariance[np.ix_(kept, kept)], size=n, check_valid="ignore"
        )
        return found


def read_cases(rows: Sequence[Any], encoder: str, pooling: str) -> list[Case]:
    """The cases of an encoder under a pooling; measures of which lower is better change sign."""
    found = []
    for row in rows:
        if (row["encoder"], row["pooling"]) != (encoder, pooling):
            continue
        said = {
            metric.name: np.array(row["measures"][metric.name], dtype=float)
            * (1 if metric.better == "high" else -1)
            for metric in METRICS
        }
        depth = np.arange(len(row["scores"]), dtype=float)
        said[DEPTH] = np.tile(depth, (1 + N_HALVES, 1))
        said[HALF] = -np.abs(said[DEPTH] - len(depth) // 2)
        found.append(
            Case(
                task=row["task"],
                scores=np.array(row["scores"], dtype=float),
                covariance=np.array(row["covariance"], dtype=float),
                said=said,
            )
        )
    return found


@dataclass(frozen=True)
class Effect:
    """A mean over tasks with its standard error, × 100 where it is of scores."""

    value: float
    error: float
    freedom: int

    @property
    def p(self) -> float:
        """Two-sided; 1 where nothing varies and the value is zero."""
        if self.error == 0:
            return 1.0 if self.value == 0 else 0.0
        return float(2 * student.sf(abs(self.value) / self.error, self.freedom))

    def below(self, bound: float) -> float:
        """One-sided p of the null that the effect is at least the bound; 1 where nothing varies."""
        if self.error == 0:
            return 1.0
        return float(student.cdf((self.value - bound) / self.error, self.freedom))

    @property
    def interval(self) -> tuple[float, float]:
        """Ends at 95 %."""
        half = float(student.isf(0.025, self.freedom)) * self.error
        return self.value - half, self.value + half


def effects(
    cases: Sequence[Case], values: Mapping[str, Any], rng: np.random.Generator
) -> dict[str, Effect]:
    """Name → mean over cases, from ``(n_cases,)`` estimates and ``(n_cases, n_draws)`` draws.

    ``values`` has name → (estimates, draws). The draws of all names share their tasks.
    """
    n = len(cases)
    tasks = rng.integers(n, size=(N_DRAWS, n))
    which = rng.integers(N_DRAWS, size=(N_DRAWS, n))
    found = {}
    for name, (estimates, draws) in values.items():
        means = np.asarray(draws)[tasks, which].mean(axis=1)
        error = float(means.std(ddof=1)) * math.sqrt(n / (n - 1))
        found[name] = Effect(float(np.mean(estimates)), error if error > 1e-9 else 0.0, n - 1)
    return found


def gains(
    cases: Sequence[Case],
    over: str,
    *,
    others: Sequence[Case] | None = None,
    names: Sequence[str] = RULES,
) -> dict[str, Effect]:
    """Measure → what its pick scores above that of another rule, points, mean over cases.

    ``over`` is `DEPTH`, `HALF`, `BEST` (the best layer, as if it were known), `RANDOM` (the mean of
    all layers) or `TWIN` (what the same measure picks in ``others``, case by case). ``names`` are
    of what the cases have in ``said``.
    """
    rng = np.random.default_rng(0)
    estimates: dict[str, list[float]] = {name: [] for name in names}
    draws: dict[str, list[FloatArray]] = {name: [] for name in names}
    for number, case in enumerate(cases):
        scores = np.vstack([case.scores, case.drawn(N_DRAWS, rng)])
        half = np.concatenate([[0], rng.integers(1, 1 + N_HALVES, size=N_DRAWS)])
        rows = np.arange(len(scores))
        for name in names:
            picked = scores[rows, case.picks(name)[half]]
            if over == BEST:
                reference = scores[:, int(np.nanargmax(case.scores))]
            elif over == RANDOM:
                reference = np.nanmean(scores, axis=1)
            elif over == TWIN:
                of_twin = (others or cases)[number]
                twin_picks = replace(of_twin, scores=case.scores).picks(name)
                reference = scores[rows, twin_picks[half]]
            else:
                reference = scores[rows, case.picks(over)[half]]
            estimates[name].append(100 * float(picked[0] - reference[0]))
            draws[name].append(100 * (picked[1:] - reference[1:]))
    values = {name: (estimates[name], draws[name]) for name in names}
    return effects(cases, values, np.random.default_rng(1))


def correlations(cases: Sequence[Case]) -> dict[str, Effect]:
    """Measure → Spearman over layers of what it says with the scores, mean over cases.

    ``dime - last`` and so on is what a measure has over the depth.
    """
    rng = np.random.default_rng(0)
    names = [*(metric.name for metric in METRICS), DEPTH]
    values: dict[str, tuple[list[float], list[FloatArray]]] = {name: ([], []) for name in names}
    for case in cases:
        kept = case.defined
        scores = _ranks(np.vstack([case.scores, case.drawn(N_DRAWS, rng)])[:, kept])
        half = np.concatenate([[0], rng.integers(1, 1 + N_HALVES, size=N_DRAWS)])
        for name in names:
            said = _ranks(case.said[name][:, kept])[half]
            found = (scores * said).sum(axis=1)
            values[name][0].append(float(found[0]))
            values[name][1].append(found[1:])
    for name in names[:-1]:
        more = [np.subtract(*both) for both in zip(values[name][1], values[DEPTH][1], strict=True)]
        ahead = np.subtract(values[name][0], values[DEPTH][0])
        values[f"{name} - {DEPTH}"] = (ahead.tolist(), more)
    return effects(cases, values, np.random.default_rng(1))


def _ranks(values: FloatArray) -> FloatArray:
    """Ranks of each row, centred and of length one: their products are Spearman's."""
    ranks = rankdata(values, axis=1)
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    return np.asarray(ranks / np.linalg.norm(ranks, axis=1, keepdims=True))


def verdicts(over: Mapping[str, Effect], over_twin: Mapping[str, Effect]) -> dict[str, str]:
    """Measure → supported, refuted or undecided, by the rule at the head of this file."""
    names = [metric.name for metric in METRICS]
    better = holm([over[name].p for name in names])
    ruled_out = holm([over[name].below(MARGIN) for name in names])
    found = {}
    for name, p, small in zip(names, better, ruled_out, strict=True):
        learned = over_twin[name].interval[0] > 0
        if over[name].value > 0 and p <= LEVEL and learned:
            found[name] = "supported"
        else:
            found[name] = "refuted" if small <= LEVEL else "undecided"
    return found
