"""One effect over several tasks that differ from each other."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

from probing.statistics.correlation import FloatArray


@dataclass(frozen=True, kw_only=True)
class PooledEffect:
    """The mean effect over a population of tasks; NaN where undefined."""

    effect: float
    standard_error: float
    degrees_of_freedom: float
    """Of Student's t; infinite for a single task, whose interval is normal."""
    lower: float
    upper: float
    """95 % interval, or that of the level asked for."""
    p: float
    """Two-sided, of no effect."""
    tau_squared: float
    """Variance of the effect between tasks; NaN for a single task."""
    i_squared: float
    """Share, in [0, 1], of the observed variance that lies between tasks (Higgins & Thompson
    2002); NaN for a single task."""
    prediction_lower: float
    prediction_upper: float
    """Interval for the effect on one more task of this kind (Higgins, Thompson & Spiegelhalter
    2009); NaN for fewer than three tasks, where its degrees of freedom run out."""
    n_effects: int
    """Number of tasks that came in."""


def random_effects(
    effects: ArrayLike, standard_errors: ArrayLike, *, level: float = 0.95
) -> PooledEffect:
    """Random-effects mean of one effect measured on several tasks.

    Variance between tasks by DerSimonian & Laird (1986); interval and p by Hartung & Knapp (2001)
    with Student's t of n_effects - 1 degrees of freedom. The factor by which Hartung & Knapp
    change the usual variance is never less than one (Röver, Knapp & Friede 2015): without this
    guard two effects that happen to agree would give an interval of no width. The guard makes the
    interval too wide where tasks do not differ; ``docs/validation.md`` says by how much.

    Tasks whose effect or standard error is NaN are left out. A single task keeps its own normal
    interval: nothing is known of other tasks. Where some standard error is zero (a view set
    against itself) weights by precision do not exist, and every task weighs the same (the
    unweighted estimate of Hedges 1983).

    Args:
        effects: (n_tasks,), for example differences of correlations.
        standard_errors: (n_tasks,), not negative.
        level: share of intervals that hold the truth, in (0, 1).

    Returns:
        The pooled effect with its interval.

    Raises:
        ValueError: the shapes differ, a standard error is negative, or the level is not between
            0 and 1.
    """
    y = np.asarray(effects, dtype=np.float64)
    errors = np.asarray(standard_errors, dtype=np.float64)
    if y.ndim != 1 or y.shape != errors.shape:
        raise ValueError(
            f"expected effects and standard errors (n_tasks,), found {y.shape} and {errors.shape}"
        )
    if (errors < 0).any():
        raise ValueError(f"expected standard errors of at least 0, found {errors.min()}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, found {level}")
    defined = ~(np.isnan(y) | np.isnan(errors))
    y, variances = y[defined], errors[defined] ** 2
    n = len(y)
    predicted = math.nan
    if n < 2:
        effect, error = (float(y[0]), math.sqrt(variances[0])) if n else (math.nan, math.nan)
        tau_squared = i_squared = math.nan
        freedom = math.inf
    else:
        tau_squared, i_squared, weights = _between(y, variances)
        effect, freedom = float(weights @ y), float(n - 1)
        usual = float(weights**2 @ (variances + tau_squared))
        observed = float(weights @ (y - effect) ** 2) / (n - 1)
        error = math.sqrt(max(usual, observed))
        if n > 2:
            spread = math.sqrt(tau_squared + error**2)
            predicted = float(student.isf((1 - level) / 2, n - 2)) * spread
    half = float(student.isf((1 - level) / 2, freedom)) * error
    return PooledEffect(
        effect=effect,
        standard_error=error,
        degrees_of_freedom=freedom,
        lower=effect - half,
        upper=effect + half,
        p=2 * float(student.sf(_distance(effect, error), freedom)),
        tau_squared=tau_squared,
        i_squared=i_squared,
        prediction_lower=effect - predicted,
        prediction_upper=effect + predicted,
        n_effects=n,
    )


def _between(y: FloatArray, variances: FloatArray) -> tuple[float, float, FloatArray]:
    """tau², I² and the random-effects weights (n_tasks,), whose sum is 1."""
    n = len(y)
    if (variances == 0).any():
        observed = float(y.var(ddof=1))
        tau_squared = max(0.0, observed - float(variances.mean()))
        i_squared = tau_squared / observed if observed > 0 else 0.0
        return tau_squared, i_squared, np.full(n, 1 / n)
    precisions = 1 / variances
    fixed = precisions / precisions.sum()
    heterogeneity = float(precisions @ (y - fixed @ y) ** 2)
    excess = max(0.0, heterogeneity - (n - 1))
    tau_squared = excess / float(precisions.sum() * (1 - fixed @ fixed))
    i_squared = excess / heterogeneity if heterogeneity > 0 else 0.0
    weights: FloatArray = 1 / (variances + tau_squared)
    return tau_squared, i_squared, weights / weights.sum()


def _distance(effect: float, error: float) -> float:
    """Size of the effect in standard errors; no effect is 0 of them even when they are zero."""
    if effect == 0:
        return 0.0
    return abs(effect) / error if error != 0 else math.inf
