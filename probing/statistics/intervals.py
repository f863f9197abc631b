"""Intervals of one value and of the difference between two, from shared resamples."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from probing.statistics.correlation import FloatArray


class Interval(NamedTuple):
    """Lower and upper end of an interval for each of several values, float64 of one shape."""

    lower: FloatArray
    upper: FloatArray


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """How far view A lies above view B, for each of several pairs of views; NaN if undefined."""

    difference: FloatArray
    """(...) A minus B on the items themselves."""
    lower: FloatArray
    upper: FloatArray
    """(...) ends of the percentile interval of the difference."""
    standard_error: FloatArray
    """(...) standard deviation of the resampled differences."""
    p: FloatArray
    """(...) two-sided, by inversion of the percentile interval: it cannot come out below
    2 / (n_resamples + 1), 0.002 for a thousand."""
    p_normal: FloatArray
    """(...) two-sided, from difference / standard_error and the normal distribution: without that
    floor, so the one to correct for a family of more than a few tests."""


def percentile_interval(samples: FloatArray, *, level: float = 0.95) -> Interval:
    """Percentile interval of each column of a bootstrap distribution (Efron & Tibshirani 1993).

    Chosen by measurement: for Spearman's rho from 0 to 0.95 and n from 100 to 1379 it held the
    truth in 94 to 96 % of simulations, as often as the bias-corrected and Fisher-z intervals did.
    For accuracies of few items see `accuracy_interval`.

    Args:
        samples: (n_resamples, ...) float64. Undefined (NaN) resamples are left out.
        level: share of the distribution between the two ends, in (0, 1).

    Returns:
        Lower and upper end, each (...) float64; NaN where no resample is defined.

    Raises:
        ValueError: the level is not between 0 and 1.
    """
    tail = _tail(level)
    ends = np.full((2, *samples.shape[1:]), np.nan)
    defined = ~np.isnan(samples).all(axis=0)
    ends[:, defined] = np.nanquantile(samples[:, defined], [tail, 1 - tail], axis=0)
    return Interval(ends[0], ends[1])


def accuracy_interval(correct: ArrayLike, *, level: float = 0.95) -> Interval:
    """Wilson's score interval (1927) of the accuracy of every view over independent items.

    For one accuracy the bootstrap is a draw from Binomial(n, accuracy) and needs no drawing. Its
    percentiles fail near 1: of 100 items at a true 0.98 they hold the truth 87 % of the time, at
    1.00 measured they have no width. Wilson's interval holds it 92 to 97 % of the time for n from
    100 and accuracies from 0.5 to 0.99. Between views, use `paired_difference` of
    `bootstrap_accuracies`; for words in sentences, `percentile_interval` of those, with groups.

    Args:
        correct: (n_items, n_views) bool, or float64 in [0, 1] where several seeds are averaged,
            the interval then being that of one seed. A column with a NaN gives NaN.
        level: share of intervals that hold the truth, in (0, 1).

    Returns:
        Lower and upper end, each (n_views,) float64 in [0, 1].

    Raises:
        ValueError: the shape does not fit or the level is not between 0 and 1.
    """
    right = np.asarray(correct, dtype=np.float64)
    if right.ndim != 2 or right.shape[0] == 0:
        raise ValueError(f"expected correct (n_items, n_views), found {right.shape}")
    n, share = len(right), right.mean(axis=0)
    z = float(norm.isf(_tail(level)))
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return Interval(np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0))


def paired_difference(
    samples_a: FloatArray,
    samples_b: FloatArray,
    *,
    estimate_a: ArrayLike,
    estimate_b: ArrayLike,
    level: float = 0.95,
) -> PairedDifference:
    """The difference between two views from resamples that both share.

    The p-value asks at which level the percentile interval stops holding zero: twice the smaller
    share of differences on either side of zero, with one added to both counts so that no finite
    number of resamples gives zero (Davison & Hinkley 1997, section 4.2).

    Args:
        samples_a: (n_resamples, ...) float64 of view A.
        samples_b: The same shape, of view B: row i from the same resample as row i of view A.
        estimate_a: (...) value of view A on the items themselves.
        estimate_b: (...) value of view B.
        level: share of the distribution between the two ends, in (0, 1).

    Returns:
        Difference, interval, standard error and p-values, each (...) float64. Resamples in which
        either view is undefined are left out. Two equal views have p = 1.

    Raises:
        ValueError: the shapes do not fit or the level is not between 0 and 1.
    """
    difference = np.asarray(estimate_a, dtype=np.float64) - np.asarray(estimate_b, np.float64)
    if samples_a.shape != samples_b.shape or samples_a.shape[1:] != difference.shape:
        raise ValueError(
            "expected samples (n_resamples, ...) of one shape and estimates (...), found "
            f"{samples_a.shape}, {samples_b.shape} and {difference.shape}"
        )
    differences = samples_a - samples_b
    n_defined = (~np.isnan(differences)).sum(axis=0)
    defined = (n_defined > 1) & ~np.isnan(difference)
    differences = np.where(defined, differences, np.nan)
    difference = np.where(defined, difference, np.nan)
    lower, upper = percentile_interval(differences, level=level)
    at_most = np.minimum((differences <= 0).sum(axis=0), (differences >= 0).sum(axis=0))
    # The sum of squares is taken by hand: np.nanstd warns where a column has nothing defined.
    n = np.where(defined, n_defined, 2)
    deviations = differences - np.nansum(differences, axis=0) / n
    standard_error = np.sqrt(np.nansum(deviations**2, axis=0) / (n - 1))
    z = np.zeros(difference.shape)
    with np.errstate(divide="ignore"):
        np.divide(np.abs(difference), standard_error, out=z, where=difference != 0)
    return PairedDifference(
        difference=difference,
        lower=lower,
        upper=upper,
        standard_error=np.where(defined, standard_error, np.nan),
        p=np.where(defined, np.minimum(2 * (at_most + 1) / (n_defined + 1), 1.0), np.nan),
        p_normal=np.where(defined, 2 * norm.sf(z), np.nan),
    )


def _tail(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, found {level}")
    return (1 - level) / 2
