"""Score rows of fine-tuned cells: each seed, the mean over seeds, and paired differences.

These columns say what a row is of: ``probe`` is ``finetuned`` or ``finetuned-frozen``,
``view`` the head at the last layer (``pooler-fresh@6``), and ``trained_on`` the training items,
``all`` or ``100``. Differences and means over seeds carry both kinds of chance: that of the test
items, by the bootstrap, and that of training, by the spread over seeds.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from probing.finetuning.heads import Head
from probing.finetuning.network import FinetuningData
from probing.results.names import difference, floor_name
from probing.results.quantities import DIFFERENCE
from probing.results.scores import Score
from probing.results.target import Target
from probing.statistics import (
    Metric,
    accuracy_interval,
    bootstrap_accuracies,
    bootstrap_correlations,
    pearson,
    percentile_interval,
    spearman,
)

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]

FINETUNED: Final = "finetuned"
FINETUNED_FROZEN: Final = "finetuned-frozen"
OVER_SEEDS: Final = "seeds"
"""Value of the column ``aggregation`` for a mean over seeds."""
ALL_ROWS: Final = "all"


def training_size(items: int | None) -> str:
    """Value of the column ``trained_on`` for a number of training items; None for all of them."""
    return ALL_ROWS if items is None else str(items)


@dataclass(frozen=True, eq=False)
class Trained:
    """What one head, training size and seed came to."""

    head: Head
    trained_on: str
    seed: int
    predicted: FloatArray
    """``(n_test,)``."""
    resumed_from: int | None = None
    """Step of the checkpoint that training was resumed from; None where it ran in one go."""


@dataclass(frozen=True)
class _Estimate:
    """A number with the two kinds of chance in it."""

    value: float
    lower: float
    upper: float
    standard_error: float
    """Half width over 1.96: the normal test of a claim then agrees with the interval."""


_UNDEFINED: Final = _Estimate(math.nan, math.nan, math.nan, math.nan)


def finetuning_scores(
    trained: Sequence[Trained],
    data: FinetuningData,
    *,
    probe: str,
    layer: int,
    seed: int,
    n_resamples: int,
) -> list[Score]:
    """All rows of one task, trained in one way.

    A difference between heads is NaN where no head beats the most frequent class of train: there
    is nothing to compare.

    Args:
        trained: Every head with every size and every seed, in this order of sizes.
        data: The task.
        probe: Value of the ``probe`` column.
        layer: The last.
        seed: Seed of the bootstrap; every row sees the same resamples.
        n_resamples: Resamples of the bootstrap.

    Returns:
        A row ``accuracy`` (Wilson's interval; with two classes also ``matthews``) or ``spearman``
        per cell; the mean over seeds; per size the difference of each head from ``mean`` and of
        ``pooler`` from ``cls`` and ``pooler-fresh``, each with its ``standard_error``; and what the
        difference changes by from the fewest rows to the most (``trained_on`` is ``all - 100``);
        and ``resumed_from_step`` of every cell that was resumed from a checkpoint.

    Raises:
        ValueError: A cell is missing.
    """
    cells = {(one.trained_on, one.head, one.seed): one.predicted for one in trained}
    sizes = list(dict.fromkeys(one.trained_on for one in trained))
    heads = list(dict.fromkeys(one.head for one in trained))
    seeds = list(dict.fromkeys(one.seed for one in trained))
    keys = list(product(sizes, heads))
    if len(cells) != len(keys) * len(seeds):
        raise ValueError(f"{len(cells)} cells, expected {len(keys) * len(seeds)}")
    predicted = np.column_stack([cells[(*key, one)] for key in keys for one in seeds])
    target = Target(task=data.task, gold=data.gold[data.test], seed=seed, n_resamples=n_resamples)
    score = partial(target.score, probe=probe)
    values, samples, measured = _measured(target, predicted, n_classes=len(data.classes))
    shape = (len(keys), len(seeds))
    rows = [
        score(
            view=f"{head}@{layer}",
            trained_on=trained_on,
            metric=metric,
            value=found[place],
            lower=lower[place],
            upper=upper[place],
            seed=one,
        )
        for metric, (found, lower, upper) in measured.items()
        for place, ((trained_on, head), one) in enumerate(product(keys, seeds))
    ]
    by_cell = dict(
        zip(
            keys,
            zip(values.reshape(shape), samples.T.reshape(*shape, -1), strict=True),
            strict=True,
        )
    )
    lowest = 0.0 if data.classes else -1.0
    beaten = {
        trained_on: [
            head
            for head in heads
            if _combined([(1.0, by_cell[trained_on, head])], lowest).lower > majority_share(data)
        ]
        for trained_on in sizes
    }
    for trained_on, those in beaten.items():
        if data.classes and not those:
            logger.warning(
                "%s, %s: no head beats the most frequent class (%.1f %%), so that differences "
                "between heads are undefined",
                data.task,
                trained_on,
                100 * majority_share(data),
            )
    for trained_on, head in keys:
        mean = _combined([(1.0, by_cell[trained_on, head])], lowest)
        rows.append(
            score(
                view=f"{head}@{layer}",
                trained_on=trained_on,
                metric=data.metric,
                value=mean.value,
                lower=mean.lower,
                upper=mean.upper,
                aggregation=OVER_SEEDS,
                seed=seeds[0],
            )
        )
    pairs = [(head, Head.MEAN) for head in heads if head is not Head.MEAN]
    pairs += [(Head.POOLER, Head.CLS), (Head.POOLER, Head.POOLER_FRESH)]
    wanted: dict[str, list[tuple[float, str]]] = {name: [(1.0, name)] for name in sizes}
    if len(sizes) > 1:
        most, least = sizes[-1], sizes[0]
        wanted[difference(most, least)] = [(1.0, most), (-1.0, least)]
    for (trained_on, signs), (left, right) in product(wanted.items(), pairs):
        if left not in heads or right not in heads:
            continue
        terms = [
            (sign * side, by_cell[place, head])
            for sign, place in signs
            for side, head in ((1.0, left), (-1.0, right))
        ]
        learned = not data.classes or all(beaten[place] for _, place in signs)
        found = _combined(terms, lowest) if learned else _UNDEFINED
        named = partial(
            score,
            view=difference(f"{left}@{layer}", f"{right}@{layer}"),
            trained_on=trained_on,
            aggregation="all",
            seed=seeds[0],
        )
        rows.append(
            named(
                metric=f"{data.metric}{DIFFERENCE}",
                value=found.value,
                lower=found.lower,
                upper=found.upper,
            )
        )
        rows.append(named(metric="standard_error", value=found.standard_error))
    rows += [
        score(
            view=f"{one.head}@{layer}",
            trained_on=one.trained_on,
            metric="resumed_from_step",
            value=one.resumed_from,
            seed=one.seed,
        )
        for one in trained
        if one.resumed_from is not None
    ]
    return rows


_Found = tuple[FloatArray, FloatArray, FloatArray]


def majority_share(data: FinetuningData) -> float:
    """The accuracy on test of the most frequent class of train; NaN where scores are predicted."""
    if not data.classes:
        return math.nan
    most = np.bincount(data.gold[data.train].astype(np.intp)).argmax()
    return float((data.gold[data.test] == most).mean())


def majority_rows(data: FinetuningData, *, seed: int) -> list[Score]:
    """The floor of a task with classes: always the most frequent class of train."""
    if not data.classes:
        return []
    most = np.bincount(data.gold[data.train].astype(np.intp)).argmax()
    right = data.gold[data.test] == most
    interval = accuracy_interval(right[:, np.newaxis])
    return [
        Score(
            model=floor_name("majority"),
            task=data.task,
            probe="none",
            metric="accuracy",
            value=float(right.mean()),
            lower=float(interval.lower[0]),
            upper=float(interval.upper[0]),
            n=len(right),
            seed=seed,
        )
    ]


def _measured(
    target: Target, predicted: FloatArray, *, n_classes: int
) -> tuple[FloatArray, FloatArray, dict[str, _Found]]:
    """Values (k,), resampled values (n_resamples, k) and, by metric, values with intervals.

    Args:
        target: Places in the classes, or scores.
        predicted: ``(n_test, k)``.
        n_classes: 0 for scores.
    """
    gold = target.gold
    if not n_classes:
        values = spearman(predicted, gold)
        samples = _resampled(target, predicted, Metric.SPEARMAN)
        return values, samples, {"spearman": (values, *percentile_interval(samples))}
    correct = (predicted == gold[:, None]).astype(np.float64)
    correct[predicted < 0] = np.nan
    samples = bootstrap_accuracies(correct, rng=target.rng(), n_resamples=target.n_resamples)
    values = correct.mean(0)
    measured: dict[str, _Found] = {"accuracy": (values, *accuracy_interval(correct))}
    if n_classes == 2:
        # Matthews' correlation is Pearson's of two columns of zeros and ones
        resampled = _resampled(target, predicted, Metric.PEARSON)
        measured["matthews"] = (pearson(predicted, gold), *percentile_interval(resampled))
    return values, samples, measured


def _resampled(target: Target, predicted: FloatArray, metric: Metric) -> FloatArray:
    """Correlations ``(n_resamples, k)`` with the gold of resampled items."""
    (samples,) = bootstrap_correlations(
        predicted,
        target.gold,
        rng=target.rng(),
        metric=metric,
        n_resamples=target.n_resamples,
    ).values()
    return samples


def _combined(
    terms: Sequence[tuple[float, tuple[FloatArray, FloatArray]]], lowest: float
) -> _Estimate:
    """A sum of cells, each ``(n_seeds,)`` values and ``(n_seeds, n_resamples)`` resampled ones.

    The variance is that of the mean over seeds under resampled items, and that of the seeds over
    their number; the interval is Student's with the degrees of freedom of Welch and Satterthwaite.
    With one seed the second part is not known, and the interval covers only the test items. It
    ends where values end, from ``lowest`` to 1 in each cell.
    """
    by_seed = np.sum([sign * values for sign, (values, _) in terms], axis=0)
    resampled = np.sum([sign * samples for sign, (_, samples) in terms], axis=0).mean(0)
    value = float(by_seed.mean())
    defined = resampled[~np.isnan(resampled)]
    if math.isnan(value) or len(defined) < 2:
        return _UNDEFINED
    items = float(defined.var(ddof=1))
    k = len(by_seed)
    training = float(by_seed.var(ddof=1)) / k if k > 1 else 0.0
    total = items + training
    freedom = total**2 / (training**2 / (k - 1)) if training > 0 else math.inf
    half = float(t.isf(0.025, freedom)) * math.sqrt(total)
    lower = max(value - half, sum(min(sign * lowest, sign) for sign, _ in terms))
    upper = min(value + half, sum(max(sign * lowest, sign) for sign, _ in terms))
    return _Estimate(value, lower, upper, half / float(norm.isf(0.025)))
