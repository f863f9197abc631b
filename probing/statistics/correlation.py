"""Correlations of many views with one gold score, and how subsets are brought together."""

from collections.abc import Collection, Mapping
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

FloatArray = NDArray[np.float64]


class Metric(StrEnum):
    """How a view's similarities are held against the gold scores."""

    SPEARMAN = "spearman"
    """Correlation of ranks, ties by mid-ranks: the metric of every STS table."""
    PEARSON = "pearson"
    """Linear correlation: the official metric of the STS tasks until 2017."""


class Aggregation(StrEnum):
    """How the subsets of one task become one number."""

    ALL = "all"
    """Concatenate the subsets, one correlation (SBERT, SimCSE, MTEB)."""
    MEAN = "mean"
    """Unweighted mean of the subsets' correlations (WhiteningBERT)."""
    WMEAN = "wmean"
    """Mean of the subsets' correlations weighted by size (BERT-flow, BERT-whitening)."""


def spearman(similarities: ArrayLike, gold: ArrayLike) -> FloatArray:
    """Spearman's rank correlation of every view with the gold scores.

    Args:
        similarities: (n_pairs, n_views), any real dtype.
        gold: (n_pairs,), any real dtype, without NaN.

    Returns:
        (n_views,) float64 in [-1, 1], ties ranked by their mean rank as in
        `scipy.stats.spearmanr`. NaN for a view that is constant or holds a NaN, for every view
        where the gold is constant; no warning is given.

    Raises:
        ValueError: the shapes do not fit or the gold holds a NaN.

    >>> probing.spearman([[0.1, 3], [0.2, 2], [0.9, 1]], [0, 1, 5]).round(6).tolist()
    [1.0, -1.0]
    """
    return correlation(similarities, gold, Metric.SPEARMAN)


def pearson(similarities: ArrayLike, gold: ArrayLike) -> FloatArray:
    """Pearson's linear correlation of every view with the gold scores.

    Args:
        similarities: (n_pairs, n_views), any real dtype.
        gold: (n_pairs,), any real dtype, without NaN.

    Returns:
        (n_views,) float64 in [-1, 1]; NaN as in `spearman`, and for a view with an infinite value.

    Raises:
        ValueError: the shapes do not fit or the gold holds a NaN.
    """
    return correlation(similarities, gold, Metric.PEARSON)


def correlation(similarities: ArrayLike, gold: ArrayLike, metric: Metric) -> FloatArray:
    """The correlation of every view with the gold scores: `spearman` or `pearson` by name.

    Args:
        similarities: (n_pairs, n_views), any real dtype.
        gold: (n_pairs,), any real dtype, without NaN.
        metric: which correlation.

    Returns:
        (n_views,) float64 in [-1, 1], NaN where undefined.

    Raises:
        ValueError: the shapes do not fit or the gold holds a NaN.
    """
    views, scores = checked(similarities, gold)
    if metric is Metric.SPEARMAN:
        return _linear(rankdata(views, axis=0), rankdata(scores))
    return _linear(views, scores)


def aggregate_correlations(
    similarities: ArrayLike,
    gold: ArrayLike,
    subsets: ArrayLike,
    *,
    aggregations: Collection[Aggregation] = tuple(Aggregation),
    metric: Metric = Metric.SPEARMAN,
) -> Mapping[Aggregation, FloatArray]:
    """The correlation of every view with the gold scores of a task in several subsets.

    Args:
        similarities: (n_pairs, n_views), any real dtype.
        gold: (n_pairs,), any real dtype, without NaN.
        subsets: (n_pairs,) integer code of the subset each pair is of.
        aggregations: which numbers are wanted.
        metric: which correlation.

    Returns:
        For each aggregation (n_views,) float64 in [-1, 1]. NaN where any subset's correlation is
        undefined, since a mean over the other subsets would be that of another task.

    Raises:
        ValueError: the shapes do not fit, the codes are no integers or the gold holds a NaN.
    """
    views, scores = checked(similarities, gold)
    rows, sizes = subset_order(subsets, len(scores))
    parts = np.split(rows, np.cumsum(sizes)[:-1])
    needs_parts = any(aggregation is not Aggregation.ALL for aggregation in aggregations)
    by_subset = [correlation(views[p], scores[p], metric) for p in parts] if needs_parts else []
    return {
        aggregation: correlation(views, scores, metric)
        if aggregation is Aggregation.ALL
        else subset_weights(sizes, aggregation) @ np.stack(by_subset)
        for aggregation in aggregations
    }


def checked(similarities: ArrayLike, gold: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both arrays as float64, (n_pairs, n_views) and (n_pairs,); ValueError where they do not fit.

    float32 similarities keep their ties and their order, for the conversion is exact.
    """
    views = np.asarray(similarities, dtype=np.float64)
    scores = np.asarray(gold, dtype=np.float64)
    if views.ndim != 2 or scores.shape != views.shape[:1] or scores.size == 0:
        raise ValueError(
            "expected similarities (n_pairs, n_views) and gold (n_pairs,) with n_pairs > 0, "
            f"found {views.shape} and {scores.shape}"
        )
    if np.isnan(scores).any():
        raise ValueError(f"gold holds {int(np.isnan(scores).sum())} NaN; leave those pairs out")
    return views, scores


def subset_order(subsets: ArrayLike, n_pairs: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row numbers (n_pairs,) that bring each subset together, and the sizes (n_subsets,)."""
    codes = np.asarray(subsets)
    if codes.shape != (n_pairs,) or not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(
            f"expected integer subset codes of shape ({n_pairs},), "
            f"found {codes.dtype} of shape {codes.shape}"
        )
    return np.argsort(codes, kind="stable"), np.unique(codes, return_counts=True)[1]


def subset_weights(sizes: NDArray[np.intp], aggregation: Aggregation) -> FloatArray:
    """(n_subsets,) weight of each subset's correlation, their sum is 1; not for ``all``."""
    if aggregation is Aggregation.MEAN:
        return np.full(len(sizes), 1 / len(sizes))
    weights: FloatArray = sizes / sizes.sum()
    return weights


def _linear(views: FloatArray, scores: FloatArray) -> FloatArray:
    """Pearson's correlation of each column of (n, n_views) with (n,), NaN where undefined."""
    defined = np.isfinite(views).all(axis=0) & (views.max(axis=0) > views.min(axis=0))
    defined &= bool(np.isfinite(scores).all() and scores.max() > scores.min())
    result = np.full(views.shape[1], np.nan)
    x, y = views[:, defined], scores
    if not defined.any():
        return result
    # The largest deviation is scaled to 1, so that squares neither overflow nor vanish.
    x = x - x.mean(axis=0)
    x /= np.abs(x).max(axis=0)
    y = y - y.mean()
    y /= np.abs(y).max()
    lengths = np.sqrt(np.einsum("ij,ij->j", x, x)) * np.sqrt(y @ y)
    result[defined] = np.clip(y @ x / lengths, -1.0, 1.0)
    return result
