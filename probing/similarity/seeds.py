"""Differences between encoders that were trained or drawn from several seeds, on one task."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from probing.results.differences import ITEMS_ERROR
from probing.results.names import sides
from probing.results.scores import Score
from probing.results.target import Target
from probing.statistics import (
    aggregate_correlations,
    bootstrap_correlations,
    effect_over_seeds,
    paired_difference,
    percentile_interval,
)

FloatArray = NDArray[np.float64]
Columns = Mapping[str, FloatArray]
"""View id → ``(n_pairs,)`` float64, the similarity of each pair."""


@dataclass(frozen=True)
class SeedContrasts:
    """What `contrasts_over_seeds` finds."""

    of_seeds: tuple[tuple[Score, ...], ...]
    """For each seed ``spearman_difference`` with its interval over items, and the
    ``standard_error`` of that."""
    items: tuple[Score, ...]
    """`ITEMS_ERROR` of the mean over seeds."""
    mean: tuple[Score, ...]
    """Of several seeds ``spearman_difference`` of the mean with Student's interval over seeds and
    items together, and its ``standard_error``; empty for one."""


def contrasts_over_seeds(
    pairs: Sequence[tuple[Columns, Columns]], target: Target, *, views: Sequence[str]
) -> SeedContrasts:
    """Spearman of one encoder minus that of another, seed by seed, and the mean over seeds.

    All seeds see the same resamples of the items, so that what the items add to the error of the
    mean is known apart from what the seeds add: a bootstrap of the items crossed with the seeds.

    Args:
        pairs: For each seed the similarities of the two encoders. Columns that are one and the same
            object, as those of one encoder held against several others, are resampled once.
        target: n_pairs gold scores.
        views: View ids, or differences of two: ``pooler@6 - mean@6`` is what one encoder's pooler
            loses, minus what the other's does.

    Returns:
        Rows of each aggregation of the target and each view; their model is left open. A column
        with a NaN gives NaN rows.
    """
    columns: dict[int, FloatArray] = {}
    for side in (column for pair in pairs for column in pair):
        for name in dict.fromkeys(name for view in views for name in sides(view)):
            columns.setdefault(id(side[name]), side[name])
    place = {key: number for number, key in enumerate(columns)}
    # (n_columns, n_seeds, n_views): how often each column is added (or, negative, taken away).
    signs = np.zeros((len(columns), len(pairs), len(views)))
    for seed, (one, other) in enumerate(pairs):
        for number, view in enumerate(views):
            for sign, encoder in ((1.0, one), (-1.0, other)):
                for term, name in zip((1.0, -1.0), sides(view), strict=False):
                    signs[place[id(encoder[name])], seed, number] += sign * term
    _, codes, aggregations = target.coded_subsets()
    similarities = np.column_stack(list(columns.values()))
    values = aggregate_correlations(similarities, target.gold, codes, aggregations=aggregations)
    samples = bootstrap_correlations(
        similarities,
        target.gold,
        rng=target.rng(),
        subsets=codes,
        clusters=target.clusters,
        aggregations=aggregations,
        n_resamples=target.n_resamples,
        device=target.device,
    )
    of_seeds: list[list[Score]] = [[] for _ in pairs]
    items: list[Score] = []
    mean: list[Score] = []
    for aggregation in aggregations:
        for number, view in enumerate(views):
            row = target.score(
                view=view,
                probe="cosine",
                metric="spearman_difference",
                value=math.nan,
                aggregation=str(aggregation),
            )
            effects = _sums(values[aggregation][np.newaxis], signs[:, :, number])[0]
            resampled = _sums(samples[aggregation], signs[:, :, number])
            for seed, rows in enumerate(of_seeds):
                lower, upper = percentile_interval(resampled[:, seed])
                error = _error(resampled[:, seed], float(effects[seed]))
                rows += [
                    replace(
                        row, value=float(effects[seed]), lower=float(lower), upper=float(upper)
                    ),
                    replace(row, metric="standard_error", value=error),
                ]
            of_items = _error(resampled.mean(axis=1), float(effects.mean()))
            items.append(replace(row, metric=ITEMS_ERROR, value=of_items))
            if len(pairs) > 1:
                found = effect_over_seeds(effects[:, np.newaxis], [of_items])
                mean += [
                    replace(row, value=found.effect, lower=found.lower, upper=found.upper),
                    replace(row, metric="standard_error", value=found.standard_error),
                ]
    return SeedContrasts(
        of_seeds=tuple(tuple(rows) for rows in of_seeds), items=tuple(items), mean=tuple(mean)
    )


def _sums(values: FloatArray, signs: FloatArray) -> FloatArray:
    """``(n, n_columns)`` times ``(n_columns, n_seeds)``; a NaN counts only where it takes part."""
    sums = np.zeros((len(values), signs.shape[1]))
    for seed in range(signs.shape[1]):
        used = np.flatnonzero(signs[:, seed])
        sums[:, seed] = values[:, used] @ signs[used, seed]
    return sums


def _error(resampled: FloatArray, effect: float) -> float:
    """Standard deviation of the resampled effect; NaN where the effect is undefined."""
    zeros = np.zeros_like(resampled)
    found = paired_difference(resampled, zeros, estimate_a=effect, estimate_b=0.0)
    return float(found.standard_error)
