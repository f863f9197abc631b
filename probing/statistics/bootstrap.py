"""Bootstrap resamples of test items, the same for every view.

A resample of n items is kept as the number of times each item was drawn. A correlation of the
resample is then a correlation with weights, and for Spearman the sorting, the costly part, is done
once for all resamples.
"""

from collections.abc import Collection, Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probing.statistics.correlation import (
    Aggregation,
    FloatArray,
    Metric,
    checked,
    subset_order,
    subset_weights,
)
from probing.statistics.weighted import Weighted, weighted_correlation
from probing.threads import in_threads

_BLOCK_ELEMENTS = 2**18
"""Items × resamples worked on at once: few enough for the processor's cache, twice as fast so."""

_GPU_BLOCK_ELEMENTS = 2**23
"""The same on a GPU: enough to fill it, and 64 MB at a time."""


def bootstrap_correlations(
    similarities: ArrayLike,
    gold: ArrayLike,
    *,
    rng: np.random.Generator,
    subsets: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    aggregations: Collection[Aggregation] = (Aggregation.ALL,),
    metric: Metric = Metric.SPEARMAN,
    n_resamples: int = 1000,
    device: str = "cpu",
) -> Mapping[Aggregation, FloatArray]:
    """Bootstrap distribution of the correlation of every view with the gold scores.

    Pairs are drawn with replacement (Efron & Tibshirani 1993), and every view and every
    aggregation sees the same draws, so differences between columns are paired. The draws depend
    on ``rng``, ``subsets``, ``clusters`` and ``n_resamples`` only: two calls on one task with
    equally seeded generators are paired too. Pairs that are not independent, because they share a
    sentence, are drawn together: the cluster bootstrap of Davison & Hinkley (1997, section 3.8).

    Args:
        similarities: (n_pairs, n_views), any real dtype.
        gold: (n_pairs,), any real dtype, without NaN.
        rng: source of the draws.
        subsets: (n_pairs,) integer code of the subset each pair is of; each subset is then
            resampled within itself. None: one subset.
        clusters: (n_pairs,) integer code of the cluster each pair is of; whole clusters are drawn,
            as many as their subset has. None: every pair by itself. One cluster in all says
            nothing of how pairs vary: every resample is NaN.
        aggregations: which numbers are wanted; all three cost about twice as much as one.
        metric: which correlation.
        n_resamples: number of resamples.
        device: where Spearman's correlations are computed; the draws are the CPU's.

    Returns:
        For each aggregation (n_resamples, n_views) float64 in [-1, 1], equal to the correlation
        computed on the drawn rows. NaN for a view that is constant or holds a NaN, and in
        resamples where a view or the gold came out constant.

    Raises:
        ValueError: the shapes do not fit, the codes are no integers or the gold holds a NaN.
    """
    codes = np.zeros(len(np.asarray(gold)), dtype=np.intp) if subsets is None else subsets
    return _bootstrap(
        similarities, gold, codes, clusters, rng, aggregations, metric, n_resamples, device
    )[0]


def bootstrap_with_subsets(
    similarities: ArrayLike,
    gold: ArrayLike,
    subsets: ArrayLike,
    *,
    rng: np.random.Generator,
    clusters: ArrayLike | None = None,
    aggregations: Collection[Aggregation] = tuple(Aggregation),
    metric: Metric = Metric.SPEARMAN,
    n_resamples: int = 1000,
    device: str = "cpu",
) -> tuple[Mapping[Aggregation, FloatArray], FloatArray]:
    """`bootstrap_correlations`, and the correlations in each subset alone from the same draws.

    Returns:
        The mapping, and (n_subsets, n_resamples, n_views) float64 in the order of the codes.
    """
    return _bootstrap(
        similarities, gold, subsets, clusters, rng, aggregations, metric, n_resamples, device
    )


def _bootstrap(
    similarities: ArrayLike,
    gold: ArrayLike,
    subsets: ArrayLike,
    clusters: ArrayLike | None,
    rng: np.random.Generator,
    aggregations: Collection[Aggregation],
    metric: Metric,
    n_resamples: int,
    device: str,
) -> tuple[Mapping[Aggregation, FloatArray], FloatArray]:
    """Both; the subsets are left out (n_subsets 0) where no aggregation needs them."""
    views, scores = checked(similarities, gold)
    rows, sizes = subset_order(subsets, len(scores))
    drawn_from, members = _units(sizes, None if clusters is None else _codes(clusters, rows))
    views, scores = views[rows], scores[rows]
    on_gpu = device != "cpu" and metric is Metric.SPEARMAN
    elements = _GPU_BLOCK_ELEMENTS if on_gpu else _BLOCK_ELEMENTS

    def weighted(part: FloatArray, of_part: FloatArray) -> Weighted:
        return weighted_correlation(part, of_part, metric, device)

    ends = np.cumsum(sizes)
    slices = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]

    whole = weighted(views, scores) if Aggregation.ALL in aggregations else None
    averaged = [a for a in aggregations if a is not Aggregation.ALL]
    parts = [weighted(views[part], scores[part]) for part in slices] if averaged else []

    samples = {a: np.empty((n_resamples, views.shape[1])) for a in aggregations}
    alone = np.empty((len(parts), n_resamples, views.shape[1]))

    def correlate(drawn: tuple[slice, FloatArray]) -> None:
        block, counts = drawn
        if members is not None:
            counts = counts[members]
        if whole is not None:
            # blocks are sized for one subset; all of them together take fewer resamples at once
            step = _block_size(len(scores), elements)
            starts = range(0, counts.shape[1], step)
            blocks = [whole(np.ascontiguousarray(counts[:, at : at + step])) for at in starts]
            samples[Aggregation.ALL][block] = np.concatenate(blocks)
        for number, (part, rows) in enumerate(zip(parts, slices, strict=False)):
            alone[number, block] = part(counts[rows])
        for aggregation in averaged:
            weights = subset_weights(sizes, aggregation)
            samples[aggregation][block] = np.einsum("s,sbv->bv", weights, alone[:, block])

    largest = int(sizes.max()) if parts else len(scores)
    if members is not None and drawn_from.sum() < 2:
        for values in (*samples.values(), alone):
            values[:] = np.nan
        return samples, alone
    for _ in in_threads(
        correlate, _resampled_counts(drawn_from, n_resamples, rng, _block_size(largest, elements))
    ):
        pass
    return samples, alone


def bootstrap_accuracies(
    correct: ArrayLike,
    *,
    rng: np.random.Generator,
    groups: ArrayLike | None = None,
    n_resamples: int = 1000,
) -> FloatArray:
    """Bootstrap distribution of the accuracy of every view over the test items.

    Every view sees the same draws, so differences between columns are paired.

    Args:
        correct: (n_items, n_views) bool, or float64 in [0, 1] where an item can be partly right
            or several seeds are averaged. A column with a NaN gives NaN.
        rng: source of the draws.
        groups: (n_items,) integer code of the group each item is of, for items that are not
            independent (the words of one sentence): whole groups are then drawn, the cluster
            bootstrap of Davison & Hinkley (1997, section 3.8). None: every item by itself. One
            group in all says nothing of how items vary: every resample is NaN.
        n_resamples: number of resamples.

    Returns:
        (n_resamples, n_views) float64 in [0, 1].

    Raises:
        ValueError: the shapes do not fit or the codes are no integers.
    """
    right = np.asarray(correct, dtype=np.float64)
    if right.ndim != 2 or right.shape[0] == 0:
        raise ValueError(f"expected correct (n_items, n_views), found {right.shape}")
    sizes = np.ones(len(right), dtype=np.intp)
    if groups is not None:
        rows, sizes = subset_order(groups, len(right))
        right = np.add.reduceat(right[rows], np.cumsum(sizes) - sizes, axis=0)
    samples = np.full((n_resamples, right.shape[1]), np.nan)
    if groups is not None and len(right) < 2:
        return samples
    step = _block_size(len(right))
    for block, counts in _resampled_counts(np.array([len(right)]), n_resamples, rng, step):
        samples[block] = counts.T @ right / (counts.T @ sizes)[:, None]
    return samples


def _codes(clusters: ArrayLike, rows: NDArray[np.intp]) -> NDArray[np.integer]:
    """The code of each row's cluster, in the order of the rows."""
    codes = np.asarray(clusters)
    if codes.shape != rows.shape or not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(
            f"expected integer cluster codes of shape {rows.shape}, found {codes.dtype} of shape "
            f"{codes.shape}"
        )
    return codes[rows]


def _units(
    sizes: NDArray[np.intp], clusters: NDArray[np.integer] | None
) -> tuple[NDArray[np.intp], NDArray[np.intp] | None]:
    """How many units each subset draws from, and the unit of each item (None: the item itself).

    ``sizes`` are those of the subsets, ``clusters`` ``(n_items,)`` codes in the order of the
    subsets; a code that occurs in two subsets means two clusters. Units are numbered as they occur,
    so that clusters of one item each give the draws of no clusters at all.
    """
    if clusters is None:
        return sizes, None
    subset = np.repeat(np.arange(len(sizes)), sizes)
    both = np.stack([subset, clusters.astype(np.intp)])
    _, first, unit = np.unique(both, axis=1, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    number = np.empty(len(order), dtype=np.intp)
    number[order] = np.arange(len(order))
    return np.bincount(subset[first], minlength=len(sizes)), number[unit.ravel()]


def _block_size(n_items: int, elements: int = _BLOCK_ELEMENTS) -> int:
    """How many resamples of n items are worked on at once."""
    return max(1, elements // n_items)


def _resampled_counts(
    sizes: NDArray[np.intp], n_resamples: int, rng: np.random.Generator, step: int
) -> Iterator[tuple[slice, FloatArray]]:
    """Blocks of ``step`` resamples: their slice and how often each item was drawn.

    The second is (n_items, n_in_block). Items of one subset stand together and are drawn among
    themselves. One uniform number is used per draw, resample by resample, so the block size does
    not change the resamples.
    """
    n_items = int(sizes.sum())
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    among = np.repeat(sizes, sizes)
    for start in range(0, n_resamples, step):
        n_block = min(step, n_resamples - start)
        drawn = first + (rng.random((n_block, n_items)) * among).astype(np.intp)
        drawn += n_items * np.arange(n_block)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=n_block * n_items).reshape(n_block, n_items)
        yield (slice(start, start + n_block), np.ascontiguousarray(counts.T, dtype=np.float64))
