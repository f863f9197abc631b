"""Correlations of resamples, each kept as the number of times that every item was drawn.

A correlation of a resample is one with weights, and for Spearman the sorting, the costly part, is
done once for all resamples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from probing.statistics.correlation import FloatArray, Metric
from probing.statistics.device_ranks import device_spearman

_STRETCH = 16
"""Sorted values that stand one after another in one stretch."""

Weighted = Callable[[FloatArray], FloatArray]
"""Counts ``(n_items, n_block)`` to correlations ``(n_block, n_views)``."""


def weighted_correlation(
    views: FloatArray, scores: FloatArray, metric: Metric, device: str
) -> Weighted:
    """The correlations of views ``(n_items, n_views)`` with scores ``(n_items,)``, given counts.

    Only Spearman's are computed on another device than the CPU.
    """
    if metric is not Metric.SPEARMAN:
        return _weighted_pearson(views, scores)
    if device == "cpu":
        return _weighted_spearman(views, scores)
    return _weighted_spearman_on(device, views, scores)


def _weighted_spearman(views: FloatArray, scores: FloatArray) -> Weighted:
    """A function from counts (n_items, n_block) to Spearman's rho (n_block, n_views).

    The counts of a resample need not add up to n_items: clusters differ in size.

    With the items in the order of a view, an item drawn c times whose predecessors were drawn C
    times in all has the mid-rank C + (c + 1) / 2; items that tie count as one. Twice a mid-rank is
    an integer and exact in float32, half as much to move as float64; rho is exact to about 1e-8.
    """
    usable = np.flatnonzero(~np.isnan(views).any(axis=0))
    orders = [_Order.of(views[:, view]) for view in usable]
    gold_order = _Order.of(scores)

    def correlations(counts: FloatArray) -> FloatArray:
        n_items, n_block = counts.shape
        totals = counts.sum(axis=0)
        drawn, products = np.zeros((2, n_items + 1, n_block), dtype=np.float32)
        drawn[:-1] = counts
        cubes = _cubes(counts)
        by_gold = gold_order.sort(drawn)
        gold_spread = _rank_spread(cubes + gold_order.added_cubes(drawn, by_gold), totals)
        gold_ranks = 2 * _running_sums(by_gold.copy()) - by_gold - totals.astype(np.float32)
        np.multiply(drawn[:-1], gold_ranks[gold_order.places], out=products[:-1])
        own = _column_dots(drawn, products)
        result = np.full((n_block, views.shape[1]), np.nan)
        for view, order in zip(usable, orders, strict=True):
            by_view, product = order.sort(drawn), order.sort(products)
            spread, shared = cubes, -own
            if len(order.tied_places):
                spread = cubes + order.added_cubes(drawn, by_view)
                shared -= _column_dots(by_view[order.tied_places], product[order.tied_places])
                shared += _column_dots(drawn[order.tied], products[order.tied])
            shared += 2 * _column_dots(_running_sums(by_view), product)
            result[:, view] = _ratio(shared, _rank_spread(spread, totals), gold_spread)
        return result

    return correlations


def _weighted_spearman_on(device: str, views: FloatArray, scores: FloatArray) -> Weighted:
    """As `_weighted_spearman`, computed on a device of torch."""
    usable = np.flatnonzero(~np.isnan(views).any(axis=0))
    if not len(usable):
        return lambda counts: np.full((counts.shape[1], views.shape[1]), np.nan)
    sums = device_spearman(views[:, usable], scores, device)

    def correlations(counts: FloatArray) -> FloatArray:
        result = np.full((counts.shape[1], views.shape[1]), np.nan)
        result[:, usable] = _ratio(*sums(counts))
        return result

    return correlations


def _weighted_pearson(views: FloatArray, scores: FloatArray) -> Weighted:
    """A function from counts (n_items, n_block) to Pearson's r (n_block, n_views)."""
    usable = np.isfinite(views).all(axis=0) & np.isfinite(scores).all()
    x, y = views[:, usable], scores - scores.mean()
    x = x - x.mean(axis=0)
    squares, products, gold_squares = x * x, x * y[:, None], y * y

    def correlations(counts: FloatArray) -> FloatArray:
        weights = counts.T
        totals = counts.sum(axis=0)[:, None]
        x_sum, y_sum = weights @ x, (weights @ y)[:, None]
        x_square, y_square = weights @ squares, (weights @ gold_squares)[:, None]
        x_spread = _spread(x_square, x_sum, totals)
        y_spread = _spread(y_square, y_sum, totals)
        result = np.full((len(weights), views.shape[1]), np.nan)
        shared = weights @ products - x_sum * y_sum / totals
        result[:, usable] = _ratio(shared, x_spread, y_spread)
        return result

    return correlations


@dataclass(frozen=True)
class _Order:
    """The sorting of n values, those that tie as one, laid out for `_running_sums`.

    The sorted groups are cut into stretches of `_STRETCH`; a place is ``(position in the stretch,
    number of the stretch)``, the first counting more. Places that no group fills stay zero.
    """

    items: NDArray[np.intp]
    """(n_places,): a value of each place, n where there is none."""
    places: NDArray[np.intp]
    """(n,): the place of each value."""
    tied: NDArray[np.intp]
    """(n_tied,): which values are equal to another."""
    tied_places: NDArray[np.intp]
    """Their places, each once."""
    together: sparse.csr_array
    """(n_tied_places, n) of ones: times (n, k) it adds up the rows that tie."""

    @classmethod
    def of(cls, values: FloatArray) -> "_Order":
        unique, group = np.unique(values, return_inverse=True)
        n_stretches = -(-len(unique) // _STRETCH)
        places = group % _STRETCH * n_stretches + group // _STRETCH
        sizes = np.bincount(places, minlength=_STRETCH * n_stretches)
        items = np.full(len(sizes), len(values))
        items[places] = np.arange(len(values))
        tied, tied_places = np.flatnonzero(sizes[places] > 1), np.flatnonzero(sizes > 1)
        together = sparse.csr_array(
            (
                np.ones(len(tied), dtype=np.float32),
                tied[np.argsort(places[tied], kind="stable")],
                np.concatenate([[0], np.cumsum(sizes[tied_places])]),
            ),
            (len(tied_places), len(values)),
        )
        return cls(
            items=items, places=places, tied=tied, tied_places=tied_places, together=together
        )

    def sort(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n_places, k) from (n + 1, k), the last row zeros; rows that tie are added up."""
        placed = np.take(rows, self.items, axis=0)  # a third of the time that sparse @ rows takes
        if len(self.tied_places):
            placed[self.tied_places] = self.together @ rows[:-1]
        return placed

    def added_cubes(self, drawn: NDArray[np.float32], placed: NDArray[np.float32]) -> FloatArray:
        """(n_block,): by how much the ties make the sum of the cubes of the counts larger."""
        return _cubes(placed[self.tied_places]) - _cubes(drawn[self.tied])


def _running_sums(columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n_places, n_block): the sum of each row and of all before it in the order of the values.

    Written over the columns. All stretches advance together, row by row: twice as fast as
    ``np.cumsum`` down the columns.
    """
    sums = columns.reshape(_STRETCH, -1, columns.shape[1])
    for place in range(1, _STRETCH):
        sums[place] += sums[place - 1]
    sums += np.cumsum(sums[-1], axis=0) - sums[-1]
    return sums.reshape(columns.shape)


def _rank_spread(cubes: FloatArray, totals: FloatArray) -> FloatArray:
    """(n_block,) sum of squared deviations of twice the ranks, from the sizes of the ties cubed."""
    spread: FloatArray = (totals**3 - cubes) / 3
    return spread


def _cubes(counts: NDArray[np.floating]) -> FloatArray:
    """(n_block,) sums of the cubes of whole numbers (n, n_block): exact up to n = 100,000."""
    exact = counts.astype(np.float64)
    cubes: FloatArray = np.einsum("gb,gb,gb->b", exact, exact, exact)
    return cubes


def _column_dots(left: NDArray[np.float32], right: NDArray[np.float32]) -> FloatArray:
    """(n_block,) dot products of the columns of two (n, n_block).

    A few rows are added up in float32, these sums in float64: what rounding is left is about 1e-8.
    """
    n_block = left.shape[1]
    even = len(left) // _STRETCH * _STRETCH
    shape = (_STRETCH, -1, n_block) if even else (_STRETCH, 0, n_block)
    few = np.einsum("sgb,sgb->gb", left[:even].reshape(shape), right[:even].reshape(shape))
    rest = (left[even:] * right[even:]).sum(axis=0, dtype=np.float64)
    dots: FloatArray = few.sum(axis=0, dtype=np.float64) + rest
    return dots


def _spread(square_sum: FloatArray, value_sum: FloatArray, totals: FloatArray) -> FloatArray:
    """Sum of squared deviations; exactly zero where only rounding is left of it."""
    spread = square_sum - value_sum**2 / totals
    spread[spread <= 1e-12 * square_sum] = 0.0
    return spread


def _ratio(shared: FloatArray, spread: FloatArray, gold_spread: FloatArray) -> FloatArray:
    """Correlation from a sum of products and two sums of squares, NaN where either is zero."""
    length = np.sqrt(spread) * np.sqrt(gold_spread)
    ratio = np.full(np.broadcast_shapes(shared.shape, length.shape), np.nan)
    np.divide(shared, length, out=ratio, where=length > 0)
    return np.clip(ratio, -1.0, 1.0, out=ratio)
