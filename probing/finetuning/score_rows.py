"""Score rows of fine-tuned cells: each seed, the mean over seeds, and paired differences.

These columns say what a row is of: ``probe`` is ``finetuned`` or ``finetuned-frozen``,
``view`` the head at the last layer (``pooler-fresh@6``), and ``trained_on`` the training items,
``all`` or ``100``. There are two kinds of chance: that of the test items, by a bootstrap that all
seeds share, and that of training, by the spread over seeds. Differences have a row for each seed,
and what the items add to the error of their mean; the verdict brings both together.
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
from scipy.stats import norm

from probing.finetuning.heads import Head
from probing.finetuning.network import FinetuningData
from probing.results.differences import ITEMS_ERROR
from probing.results.names import difference, floor_name
from probing.results.quantities import DIFFERENCE
from probing.results.scores import Score
from probing.results.target import Target
from probing.statistics import (
    Metric,
    accuracy_interval,
    bootstrap_accuracies,
    bootstrap_correlations,
    effect_over_seeds,
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


_UNDEFINED: Final = _Estimate(math.nan, math.nan, math.nan)


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

    A difference between heads is NaN where no head beats the floor, which is the most frequent
    class of train, or no correlation: there is nothing to compare.

    Args:
        trained: Every head with every size and every seed, in this order of sizes.
        data: The task.
        probe: Value of the ``probe`` column.
        layer: The last.
        seed: Seed of the bootstrap; every row sees the same resamples.
        n_resamples: Resamples of the bootstrap.

    Returns:
        A row ``accuracy`` (Wilson's interval; with two classes also ``matthews``) or ``spearman``
        per cell; the mean over seeds; per size and seed the difference of each head from ``mean``
        and of ``pooler`` from ``cls`` and ``pooler-fresh``, each with its ``standard_error``; what
        the difference changes by from the fewest rows to the most (``trained_on`` is ``all -
        100``); of several seeds what the items add to the error of the mean difference;
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
    target = Target(
        task=data.task,
        gold=data.gold[data.test],
        clusters=None if data.clusters is None else data.clusters[data.test],
        seed=seed,
        n_resamples=n_resamples,
    )
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
    lowest, floor = (0.0, majority_share(data)) if data.classes else (-1.0, 0.0)
    beaten = {
        trained_on: [
            head
            for head in heads
            if _combined([(1.0, by_cell[trained_on, head])], lowest).lower > floor
        ]
        for trained_on in sizes
    }
    for trained_on, those in beaten.items():
        if not those:
            logger.warning(
                "%s, %s: no head beats %s, so that differences between heads are undefined",
                data.task,
                trained_on,
                f"the most frequent class ({100 * floor:.1f} %)" if data.classes else "chance",
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
        learned = all(beaten[place] for _, place in signs)
        by_seed, resampled = _summed(terms)
        if not learned:
            by_seed, resampled = by_seed * math.nan, resampled * math.nan
        named = partial(
            score,
            view=difference(f"{left}@{layer}", f"{right}@{layer}"),
            trained_on=trained_on,
            aggregation="all",
        )
        ends = percentile_interval(resampled.T)
        for place, one in enumerate(seeds):
            rows += [
                named(
                    metric=f"{data.metric}{DIFFERENCE}",
                    value=by_seed[place],
                    lower=ends.lower[place],
                    upper=ends.upper[place],
                    seed=one,
                ),
                named(metric="standard_error", value=_spread(resampled[place]), seed=one),
            ]
        if len(seeds) > 1:
            of_items = _spread(resampled.mean(axis=0))
            rows.append(named(metric=ITEMS_ERROR, value=of_items, seed=seeds[0]))
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
    return float(_majority_right(data).mean()) if data.classes else math.nan


def _majority_right(data: FinetuningData) -> NDArray[np.bool_]:
    """``(n_test,)`` where the most frequent class of train is right."""
    most = np.bincount(data.gold[data.train].astype(np.intp)).argmax()
    right: NDArray[np.bool_] = data.gold[data.test] == most
    return right


def majority_rows(data: FinetuningData, *, seed: int) -> list[Score]:
    """The floor of a task with classes: always the most frequent class of train."""
    if not data.classes:
        return []
    right = _majority_right(data)
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
    samples = bootstrap_accuracies(
        correct, rng=target.rng(), groups=target.clusters, n_resamples=target.n_resamples
    )
    values = correct.mean(0)
    independent = target.clusters is None
    interval = accuracy_interval(correct) if independent else percentile_interval(samples)
    measured: dict[str, _Found] = {"accuracy": (values, *interval)}
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
        clusters=target.clusters,
        metric=metric,
        n_resamples=target.n_resamples,
    ).values()
    return samples


def _combined(
    terms: Sequence[tuple[float, tuple[FloatArray, FloatArray]]], lowest: float
) -> _Estimate:
    """The mean over seeds of a sum of cells, as `_summed` takes them.

    The interval is that of `effect_over_seeds`; with one seed it covers only the test items. It
    ends where values end, from ``lowest`` to 1 in each cell.
    """
    by_seed, resampled = _summed(terms)
    of_items = _spread(resampled.mean(axis=0))
    value = float(by_seed.mean())
    if math.isnan(value + of_items):
        return _UNDEFINED
    ends = (value - float(norm.isf(0.025)) * of_items, value + float(norm.isf(0.025)) * of_items)
    if len(by_seed) > 1:
        found = effect_over_seeds(by_seed[:, np.newaxis], [of_items])
        ends = (found.lower, found.upper)
    lower = max(ends[0], sum(min(sign * lowest, sign) for sign, _ in terms))
    upper = min(ends[1], sum(max(sign * lowest, sign) for sign, _ in terms))
    return _Estimate(value, lower, upper)


def _summed(
    terms: Sequence[tuple[float, tuple[FloatArray, FloatArray]]],
) -> tuple[FloatArray, FloatArray]:
    """Sums of cells with their signs, each ``(n_seeds,)`` values, ``(n_seeds, n_resamples)``."""
    by_seed: FloatArray = np.sum([sign * values for sign, (values, _) in terms], axis=0)
    resampled: FloatArray = np.sum([sign * samples for sign, (_, samples) in terms], axis=0)
    return by_seed, resampled


def _spread(resampled: FloatArray) -> float:
    """Standard deviation of the defined ones; NaN for fewer than two."""
    defined = resampled[~np.isnan(resampled)]
    return float(defined.std(ddof=1)) if len(defined) > 1 else math.nan
