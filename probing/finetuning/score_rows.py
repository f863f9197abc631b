"""Score rows of fine-tuned cells: each seed, the mean over seeds, and paired differences.

What a row is of stands in these columns: ``probe`` is ``finetuned`` or ``finetuned-frozen``,
``view`` the head at the last layer (``pooler-fresh@6``), and ``subset`` the training rows, ``all``
or ``train:100``. Differences and means over seeds carry both kinds of chance: that of the test
items, by the bootstrap, and that of training, by the spread over seeds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from probing.finetuning.heads import Head
from probing.finetuning.network import FinetuningData
from probing.results.names import difference
from probing.results.scores import Score
from probing.statistics import (
    Metric,
    accuracy_interval,
    bootstrap_accuracies,
    bootstrap_correlations,
    pearson,
    percentile_interval,
    spearman,
)

FloatArray = NDArray[np.float64]

FINETUNED: Final = "finetuned"
FINETUNED_FROZEN: Final = "finetuned-frozen"
OVER_SEEDS: Final = "seeds"
"""Stands in the column ``aggregation`` of a mean over seeds."""
ALL_ROWS: Final = "all"


def subset_name(train_size: int | None) -> str:
    """What stands in ``subset`` for a number of training rows; None for all of them."""
    return ALL_ROWS if train_size is None else f"train:{train_size}"


@dataclass(frozen=True, eq=False)
class Trained:
    """The predictions of one head, training size and seed: ``(n_test,)``."""

    head: Head
    subset: str
    seed: int
    predicted: FloatArray


@dataclass(frozen=True)
class _Estimate:
    """A number with the two kinds of chance in it."""

    value: float
    lower: float
    upper: float
    standard_error: float
    """Half width over 1.96: the normal test of a claim then agrees with the interval."""


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

    Args:
        trained: Every head with every size and every seed, in this order of sizes.
        data: The task.
        probe: For the ``probe`` column.
        layer: The last.
        seed: Of the bootstrap; every row sees the same resamples.
        n_resamples: Of the bootstrap.

    Returns:
        A row ``accuracy`` (Wilson's interval; with two classes also ``matthews``) or ``spearman``
        per cell; the mean over seeds; per size the difference of each head from ``mean`` and of
        ``pooler`` from ``cls`` and ``pooler-fresh``, each with its ``standard_error``; and what the
        difference changes by from the fewest rows to the most (``subset`` is ``all - train:100``).

    Raises:
        ValueError: A cell is missing.
    """
    cells = {(one.subset, one.head, one.seed): one.predicted for one in trained}
    subsets = list(dict.fromkeys(one.subset for one in trained))
    heads = list(dict.fromkeys(one.head for one in trained))
    seeds = list(dict.fromkeys(one.seed for one in trained))
    keys = list(product(subsets, heads))
    if len(cells) != len(keys) * len(seeds):
        raise ValueError(f"{len(cells)} cells, expected {len(keys) * len(seeds)}")
    predicted = np.column_stack([cells[(*key, one)] for key in keys for one in seeds])
    values, samples, measured = _measured(data, predicted, seed, n_resamples)
    shape = (len(keys), len(seeds))
    shared: dict[str, Any] = {
        "task": data.task,
        "probe": probe,
        "layer": layer,
        "n": len(data.test),
    }
    rows: list[Score] = []
    for metric, (found, lower, upper) in measured.items():
        for place, ((subset, head), one) in enumerate(product(keys, seeds)):
            numbers = {"value": found[place], "lower": lower[place], "upper": upper[place]}
            named = {"view": f"{head}@{layer}", "pooling": str(head), "subset": subset}
            rows.append(_row({**shared, **named, **numbers, "metric": metric, "seed": one}))
    by_cell = dict(
        zip(
            keys,
            zip(values.reshape(shape), samples.T.reshape(*shape, -1), strict=True),
            strict=True,
        )
    )
    lowest = 0.0 if data.classes else -1.0
    for subset, head in keys:
        mean = _combined([(1.0, by_cell[subset, head])], lowest)
        named = {"view": f"{head}@{layer}", "pooling": str(head), "subset": subset}
        numbers = {"value": mean.value, "lower": mean.lower, "upper": mean.upper}
        extra = {"metric": data.metric, "aggregation": OVER_SEEDS, "seed": seeds[0]}
        rows.append(_row({**shared, **named, **numbers, **extra}))
    pairs = [(head, Head.MEAN) for head in heads if head is not Head.MEAN]
    pairs += [(Head.POOLER, Head.CLS), (Head.POOLER, Head.POOLER_FRESH)]
    wanted: dict[str, list[tuple[float, str]]] = {name: [(1.0, name)] for name in subsets}
    if len(subsets) > 1:
        most, least = subsets[-1], subsets[0]
        wanted[difference(most, least)] = [(1.0, most), (-1.0, least)]
    for (subset, signs), (left, right) in product(wanted.items(), pairs):
        if left not in heads or right not in heads:
            continue
        terms = [
            (sign * side, by_cell[place, head])
            for sign, place in signs
            for side, head in ((1.0, left), (-1.0, right))
        ]
        rows += _difference_rows(
            _combined(terms, lowest),
            shared
            | {
                "view": difference(f"{left}@{layer}", f"{right}@{layer}"),
                "pooling": difference(left, right),
                "subset": subset,
                "aggregation": "all",
                "seed": seeds[0],
            },
            data.metric,
        )
    return rows


def resumption_rows(
    resumed: Mapping[tuple[str, str, int], int], *, task: str, probe: str, layer: int, n: int
) -> list[Score]:
    """A row ``resumed_from_step`` for every cell that went on from a checkpoint.

    Args:
        resumed: Head, subset and seed → the step of the checkpoint.
        task: For the rows.
        probe: For the rows.
        layer: The last.
        n: Number of test items.
    """
    return [
        _row(
            {
                "task": task,
                "subset": subset,
                "view": f"{head}@{layer}",
                "layer": layer,
                "pooling": head,
                "probe": probe,
                "metric": "resumed_from_step",
                "value": float(step),
                "n": n,
                "seed": seed,
            }
        )
        for (head, subset, seed), step in resumed.items()
    ]


_Found = tuple[FloatArray, FloatArray, FloatArray]


def _measured(
    data: FinetuningData, predicted: FloatArray, seed: int, n_resamples: int
) -> tuple[FloatArray, FloatArray, dict[str, _Found]]:
    """Values (k,), resampled values (n_resamples, k) and, by metric, values with intervals."""
    gold = data.gold[data.test]
    rng = np.random.default_rng(seed)
    if not data.classes:
        values = spearman(predicted, gold)
        (samples,) = bootstrap_correlations(
            predicted, gold, rng=rng, n_resamples=n_resamples
        ).values()
        return values, samples, {"spearman": (values, *percentile_interval(samples))}
    correct = (predicted == gold[:, None]).astype(np.float64)
    correct[predicted < 0] = np.nan
    samples = bootstrap_accuracies(correct, rng=rng, n_resamples=n_resamples)
    values = correct.mean(0)
    measured: dict[str, _Found] = {"accuracy": (values, *accuracy_interval(correct))}
    if len(data.classes) == 2:
        # Matthews' correlation is Pearson's of two columns of zeros and ones
        (resampled,) = bootstrap_correlations(
            predicted,
            gold,
            rng=np.random.default_rng(seed),
            metric=Metric.PEARSON,
            n_resamples=n_resamples,
        ).values()
        measured["matthews"] = (pearson(predicted, gold), *percentile_interval(resampled))
    return values, samples, measured


def _combined(
    terms: Sequence[tuple[float, tuple[FloatArray, FloatArray]]], lowest: float
) -> _Estimate:
    """A sum of cells, each ``(n_seeds,)`` values and ``(n_seeds, n_resamples)`` resampled ones.

    The variance is that of the mean over seeds under resampled items, and that of the seeds over
    their number; the interval is Student's with the degrees of freedom of Welch and Satterthwaite.
    With one seed the second part is not known, and the interval is of the test items alone. It
    ends where values end, from ``lowest`` to 1 in each cell.
    """
    by_seed = np.sum([sign * values for sign, (values, _) in terms], axis=0)
    resampled = np.sum([sign * samples for sign, (_, samples) in terms], axis=0).mean(0)
    value = float(by_seed.mean())
    defined = resampled[~np.isnan(resampled)]
    if math.isnan(value) or len(defined) < 2:
        return _Estimate(math.nan, math.nan, math.nan, math.nan)
    items = float(defined.var(ddof=1))
    k = len(by_seed)
    training = float(by_seed.var(ddof=1)) / k if k > 1 else 0.0
    total = items + training
    freedom = total**2 / (training**2 / (k - 1)) if training > 0 else math.inf
    half = float(t.isf(0.025, freedom)) * math.sqrt(total)
    lower = max(value - half, sum(min(sign * lowest, sign) for sign, _ in terms))
    upper = min(value + half, sum(max(sign * lowest, sign) for sign, _ in terms))
    return _Estimate(value, lower, upper, half / float(norm.isf(0.025)))


def _difference_rows(found: _Estimate, named: dict[str, Any], metric: str) -> list[Score]:
    numbers = {"value": found.value, "lower": found.lower, "upper": found.upper}
    return [
        _row({**named, **numbers, "metric": f"{metric}_difference"}),
        _row({**named, "value": found.standard_error, "metric": "standard_error"}),
    ]


def _row(cells: dict[str, Any]) -> Score:
    given = [name for name in ("value", "lower", "upper") if name in cells]
    numbers: dict[str, Any] = {name: float(cells[name]) for name in given}
    return Score(**{**cells, **numbers})
