"""Differences between two views, transforms or readouts on one task, with their intervals.

A cell of the results table is one view under one transform, read by one probe. A contrast is
written in the same three columns: `` - `` in a column stands for the difference between the cell
with what is on its left and the cell with what is on its right.

- ``("pooler@6 - mean@6", "raw", "cosine")``: the pooler minus mean pooling;
- ``("pooler@6", "whitened:target - raw", "cosine")``: what whitening does to the pooler;
- ``("pooler@6 - mean@6", "whitened:target - raw", "cosine")``: what it does to their difference.
"""

import logging
import math
from collections.abc import Collection, Mapping
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probing.results.names import sides
from probing.results.scores import Score
from probing.results.target import Target
from probing.statistics import (
    Aggregation,
    Metric,
    aggregate_correlations,
    bootstrap_correlations,
    paired_difference,
    percentile_interval,
    spearman,
    williams_test,
)

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]


class Cell(NamedTuple):
    """A cell of the results table, or a contrast between cells (see the module)."""

    view: str
    transform: str = "raw"
    probe: str = "cosine"

    @property
    def terms(self) -> tuple[tuple[int, "Cell"], ...]:
        """The cells that are added (1) and taken away (-1); a plain cell is its own only term.

        Raises `ValueError` where a column has more than two sides.
        """
        columns = [sides(column) for column in self]
        if max(map(len, columns)) > 2:
            raise ValueError(f"a contrast has two sides in each column, found {self}")
        return tuple(
            (math.prod(sign for sign, _ in chosen), Cell(*(name for _, name in chosen)))
            for chosen in product(*(zip((1, -1), column, strict=False) for column in columns))
        )


def contrast_scores(
    columns: Mapping[Cell, FloatArray], target: Target, *, cells: Collection[Cell]
) -> list[Score]:
    """Spearman of cells and differences of Spearman between cells, all from the same resamples.

    The resamples depend only on the task and the seed, so these rows are paired with those of
    any other call and of `similarity_scores` on the same task.

    Args:
        columns: Plain cell → ``(n_pairs,)`` float64: the similarity, or the predicted similarity,
            of each pair.
        target: n_pairs gold scores. With several subsets there are rows for the three
            aggregations; without, for ``all``.
        cells: Which plain cells and contrasts are wanted. One that needs a column that is not
            there (an encoder without a pooler) is left out.

    Returns:
        For a plain cell a row ``spearman`` with a 95 % percentile interval. For a contrast
        ``spearman_difference`` with the same, ``standard_error`` (standard deviation of the
        resampled differences; its normal p is what the verdict corrects), and, where two cells are
        compared under ``all``, ``p_williams``: the two-sided p of Williams' test. A column with a
        NaN gives NaN rows.
    """
    wanted = [cell for cell in cells if all(term in columns for _, term in cell.terms)]
    for cell in cells:
        if cell not in wanted:
            logger.info("no %s under %s by %s here: left out", *cell)
    if not wanted:
        return []
    used = list(dict.fromkeys(term for cell in wanted for _, term in cell.terms))
    similarities = np.column_stack([columns[cell] for cell in used])
    gold = target.gold
    _, codes, aggregations = target.coded_subsets()
    values = aggregate_correlations(similarities, gold, codes, aggregations=aggregations)
    samples = bootstrap_correlations(
        similarities,
        gold,
        rng=target.rng(),
        subsets=codes,
        clusters=target.clusters,
        aggregations=aggregations,
        n_resamples=target.n_resamples,
        device=target.device,
    )
    # (n_wanted, n_used): which columns a wanted cell adds and which it takes away.
    added, taken = np.zeros((2, len(wanted), len(used)))
    for row, cell in enumerate(wanted):
        for sign, term in cell.terms:
            (added if sign > 0 else taken)[row, used.index(term)] = 1.0
    rows: list[Score] = []
    for aggregation in aggregations:
        measured = _combine(values[aggregation], samples[aggregation], added, taken)
        for row, cell in enumerate(wanted):
            found = measured[row]
            if aggregation is Aggregation.ALL and len(cell.terms) == 2:
                found["p_williams"] = (_williams(cell, columns, gold), math.nan, math.nan)
            rows += [
                target.score(
                    view=cell.view,
                    transform=cell.transform,
                    probe=cell.probe,
                    metric=metric,
                    value=value,
                    lower=lower,
                    upper=upper,
                    aggregation=str(aggregation),
                )
                for metric, (value, lower, upper) in found.items()
            ]
    return rows


_Numbers = tuple[float, float, float]


def _combine(
    values: FloatArray, samples: FloatArray, added: FloatArray, taken: FloatArray
) -> list[dict[str, _Numbers]]:
    """For each wanted cell its metrics: value, lower, upper.

    ``values``: (n_used,); ``samples``: (n_resamples, n_used); ``added``, ``taken``: (n_wanted,
    n_used). Sums are taken over the columns that take part, so that a NaN elsewhere stays there.
    """
    found: list[dict[str, _Numbers]] = []
    for plus, minus in zip(added.astype(bool), taken.astype(bool), strict=True):
        if not minus.any():
            lower, upper = percentile_interval(samples[:, plus].sum(axis=1))
            value = float(values[plus].sum())
            found.append({"spearman": (value, float(lower), float(upper))})
            continue
        result = paired_difference(
            samples[:, plus].sum(axis=1),
            samples[:, minus].sum(axis=1),
            estimate_a=values[plus].sum(),
            estimate_b=values[minus].sum(),
        )
        ends = (float(result.lower), float(result.upper))
        # known even where it has no interval, as where all pairs are one cluster
        value = float(values[plus].sum() - values[minus].sum())
        found.append(
            {
                "spearman_difference": (value, *ends),
                "standard_error": (float(result.standard_error), math.nan, math.nan),
            }
        )
    return found


def _williams(cell: Cell, columns: Mapping[Cell, FloatArray], gold: FloatArray) -> float:
    (_, one), (_, other) = cell.terms
    a, b = columns[one], columns[other]
    if len(gold) < 4 or np.isnan(a).any() or np.isnan(b).any():
        return math.nan
    r_ag, r_bg = spearman(np.column_stack([a, b]), gold)
    (r_ab,) = spearman(a[:, np.newaxis], b)
    return float(williams_test(r_ag, r_bg, r_ab, len(gold), metric=Metric.SPEARMAN).p)
