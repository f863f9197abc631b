"""Tests of the difference between two correlations that share the gold scores."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata
from scipy.stats import t as student

from probing.statistics.correlation import FloatArray, Metric, checked, correlation


class WilliamsTest(NamedTuple):
    """Williams' t and its two-sided p, float64 of one shape; NaN where undefined."""

    t: FloatArray
    p: FloatArray


class PermutationTest(NamedTuple):
    """Difference of two correlations and its two-sided p, (k,) float64; NaN where undefined."""

    difference: FloatArray
    p: FloatArray


def williams_test(
    r_ag: ArrayLike, r_bg: ArrayLike, r_ab: ArrayLike, n: int, *, metric: Metric
) -> WilliamsTest:
    """Williams' test of two dependent correlations that share one variable.

    Williams (1959), recommended by Steiger (1980, equation 7): t with n - 3 degrees of freedom.
    It was derived for Pearson's r. Spearman's rho varies more, by the factor 1 + rho²/2 of
    Bonett & Wright (2000), and the plain t of rank correlations rejects a true null at 5 % in up
    to 8.6 % of simulations (rho = 0.9); divided by the root of that factor, in 3.6 to 5.1 %.

    Args:
        r_ag: (...) correlation of view A with the gold, in [-1, 1].
        r_bg: (...) correlation of view B with the gold.
        r_ab: (...) correlation of view A with view B.
        n: number of pairs, at least 4.
        metric: which correlation the three are.

    Returns:
        t, positive where view A lies above view B, and its two-sided p, each (...) float64. Two
        equal correlations have t = 0 and p = 1; a NaN gives NaN.

    Raises:
        ValueError: fewer than 4 pairs.
    """
    if n < 4:
        raise ValueError(f"Williams' test needs at least 4 pairs, found {n}")
    a, b, ab = np.broadcast_arrays(*(np.asarray(r, dtype=np.float64) for r in (r_ag, r_bg, r_ab)))
    middle = (a + b) / 2
    # The determinant of the correlation matrix; rounding can take it below zero.
    determinant = np.maximum(1 - a**2 - b**2 - ab**2 + 2 * a * b * ab, 0.0)
    variance = 2 * (n - 1) / (n - 3) * determinant + middle**2 * (1 - ab) ** 3
    if metric is Metric.SPEARMAN:
        variance = variance * (1 + middle**2 / 2)
    t = np.asarray((a - b) * np.sqrt((n - 1) * (1 + ab)))
    with np.errstate(divide="ignore"):
        np.divide(t, np.sqrt(variance), out=t, where=t != 0)
    return WilliamsTest(t, np.asarray(2 * student.sf(np.abs(t), n - 3)))


def permutation_test(
    similarities_a: ArrayLike,
    similarities_b: ArrayLike,
    gold: ArrayLike,
    *,
    rng: np.random.Generator,
    metric: Metric = Metric.SPEARMAN,
    n_permutations: int = 1000,
) -> PermutationTest:
    """Permutation test of the difference between two views' correlations with the gold.

    Under the null the two views are exchangeable: in each permutation the two similarities of a
    pair change sides with probability one half (approximate randomisation, Noreen 1989). They are
    brought to one scale first: ranks for Spearman, standard scores for Pearson.

    Args:
        similarities_a: (n_pairs, k) of view A in each of k comparisons.
        similarities_b: (n_pairs, k) of view B.
        gold: (n_pairs,), without NaN.
        rng: source of the permutations, which all comparisons share.
        metric: which correlation.
        n_permutations: number of permutations; no p lies below 1 / (n_permutations + 1).

    Returns:
        Correlation of A minus that of B, and the two-sided p, each (k,) float64; NaN where either
        view or the gold is constant, or a view holds a NaN.

    Raises:
        ValueError: the shapes do not fit or the gold holds a NaN.
    """
    a, scores = checked(similarities_a, gold)
    b, _ = checked(similarities_b, gold)
    if a.shape != b.shape:
        raise ValueError(f"expected two views of one shape, found {a.shape} and {b.shape}")
    difference = correlation(a, scores, metric) - correlation(b, scores, metric)
    p = np.full(difference.shape, np.nan)
    defined = ~np.isnan(difference)
    if not defined.any():
        return PermutationTest(difference, p)
    a, b, scores = (_standard(x, metric) for x in (a[:, defined], b[:, defined], scores[:, None]))

    # With signs s of ±1 the views are middle + s·half and middle - s·half, so that every moment
    # of every permutation is a matrix product with the signs.
    middle, half = (a + b) / 2, (a - b) / 2
    n = len(scores)
    squares = (middle**2 + half**2).sum(axis=0)
    shared = (middle * scores).sum(axis=0)
    # The same difference reached in another order of summation counts as equally extreme, and so
    # does a permutation that leaves a view constant.
    as_extreme = np.zeros(middle.shape[1])
    least = np.abs(difference[defined]) - 1e-12
    step = max(1, 2**22 // n)
    for start in range(0, n_permutations, step):
        signs = rng.integers(0, 2, size=(min(step, n_permutations - start), n)) * 2.0 - 1.0
        mean, moved, crossed = signs @ half / n, signs @ (half * scores), signs @ (middle * half)
        with np.errstate(divide="ignore", invalid="ignore"):
            of_a = (shared + moved) / np.sqrt(squares + 2 * crossed - n * mean**2)
            of_b = (shared - moved) / np.sqrt(squares - 2 * crossed - n * mean**2)
            permuted = np.abs(of_a - of_b) / np.sqrt(n)
        as_extreme += (~(permuted < least)).sum(axis=0)
    p[defined] = (as_extreme + 1) / (n_permutations + 1)
    return PermutationTest(difference, p)


def holm(p_values: ArrayLike) -> FloatArray:
    """Holm's (1979) step-down correction: p-values that hold for the whole family at once.

    Args:
        p_values: (...) in [0, 1]. NaN, a test that could not be made, is not of the family.

    Returns:
        (...) float64 in [0, 1], NaN kept. Rejecting where this is at most 0.05 rejects any true
        null of the family with probability at most 0.05, however the tests depend on each other.

    Raises:
        ValueError: a p-value lies outside [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    family = p[~np.isnan(p)]
    if (family < 0).any() or (family > 1).any():
        raise ValueError(f"expected p-values in [0, 1], found {family.min()} to {family.max()}")
    order = np.argsort(family, kind="stable")
    stepped = family[order] * np.arange(len(family), 0, -1)
    adjusted = np.empty_like(family)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    result = np.full(p.shape, np.nan)
    result[~np.isnan(p)] = adjusted
    return result


def holm_levels(p_values: ArrayLike, *, level: float = 0.05) -> FloatArray:
    """The level at which Holm's procedure decides each test of a family.

    The tests are taken from the lowest p up, the first at ``level`` over the size of the family,
    the next at ``level`` over one less, and so on; where one does not reject, the rest are held to
    that test's level. An interval at one less this level leaves the null out exactly where the
    procedure rejects.

    Args:
        p_values: (...) in [0, 1]. NaN, a test that could not be made, is not of the family.
        level: of the whole family, in (0, 1).

    Returns:
        (...) float64 in (0, level], NaN kept.
    """
    p = np.asarray(p_values, dtype=np.float64)
    family = p[~np.isnan(p)]
    order = np.argsort(family, kind="stable")
    levels = level / np.arange(len(family), 0, -1)
    failed = np.flatnonzero(family[order] > levels)
    if len(failed):
        levels[failed[0] :] = levels[failed[0]]
    result = np.full(p.shape, np.nan)
    decided = np.empty_like(family)
    decided[order] = levels
    result[~np.isnan(p)] = decided
    return result


def _standard(values: FloatArray, metric: Metric) -> FloatArray:
    """(n, k) columns, ranked for Spearman, with mean 0 and variance 1."""
    scaled = rankdata(values, axis=0) if metric is Metric.SPEARMAN else values
    scaled = scaled - scaled.mean(axis=0)
    standard: FloatArray = scaled / scaled.std(axis=0)
    return standard
