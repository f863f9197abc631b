"""One effect of several pairs of encoders, trained from several seeds, on several tasks."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from probing.statistics.margins import ErrorPart, margin, tail_beyond


@dataclass(frozen=True, kw_only=True)
class EffectOverSeeds:
    """The mean effect over a population of seeds; NaN where undefined."""

    effect: float
    seeds: ErrorPart
    """What the seeds add to the error, with one degree of freedom less than there are."""
    items: ErrorPart
    """What the items add, or the tasks where they differ by more than their items explain."""
    lower: float
    upper: float
    """95 % interval, or that of the level asked for."""

    @property
    def p(self) -> float:
        """Two-sided, of no effect."""
        return 2 * tail_beyond((self.seeds, self.items), abs(self.effect))

    @property
    def standard_error(self) -> float:
        """Of both parts together."""
        return math.hypot(self.seeds.error, self.items.error)


def effect_over_seeds(
    effects: ArrayLike,
    item_errors: ArrayLike,
    *,
    item_freedom: float = math.inf,
    level: float = 0.95,
    tasks_vary: bool = True,
) -> EffectOverSeeds:
    """Mean of an effect that was measured with every seed on every task.

    A seed is trained once and measured on all tasks, so its deviation is one and the same draw on
    each: the effects are averaged over tasks first, and the means of the seeds are what a paired t
    is made of (the seeds as the unit, as in Sellam et al. 2022, "The MultiBERTs"). The items are
    the same for all seeds and so are the tasks; what they add to the error is taken from a
    bootstrap of the items, or from the spread of the effect over tasks where that is more. The two
    parts are those of a crossed design, each with its own degrees of freedom; their margins add up
    by their squares (`probing.statistics.margins`).

    Args:
        effects: (n_seeds, n_tasks), n_seeds at least 2.
        item_errors: (n_tasks,) standard error of the mean over seeds on each task, the seeds held
            fixed: from a bootstrap in which all of them see the same resamples.
        item_freedom: degrees of freedom of these errors, where items fall into few clusters.
        level: share of intervals that hold the truth, in (0, 1).
        tasks_vary: take the spread over tasks where it is more than the items'; without it the mean
            is over these tasks, whose items alone are a sample.

    Returns:
        The mean with its interval; NaN where an effect or an error is.

    Raises:
        ValueError: the shapes do not fit, there is one seed only, or the level is not between 0
            and 1.
    """
    values = np.asarray(effects, dtype=np.float64)
    errors = np.asarray(item_errors, dtype=np.float64)
    if values.ndim != 2 or len(values) < 2 or errors.shape != values.shape[1:] or not errors.size:
        raise ValueError(
            "expected effects (n_seeds, n_tasks) of two seeds or more and errors (n_tasks,), "
            f"found {values.shape} and {errors.shape}"
        )
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, found {level}")
    n_seeds, n_tasks = values.shape
    seeds = ErrorPart(float(values.mean(axis=1).std(ddof=1)) / math.sqrt(n_seeds), n_seeds - 1)
    items = ErrorPart(math.hypot(*errors.tolist()) / n_tasks, item_freedom)
    if n_tasks > 1 and tasks_vary:
        tasks = float(values.mean(axis=0).std(ddof=1)) / math.sqrt(n_tasks)
        if tasks > items.error:
            items = ErrorPart(tasks, n_tasks - 1)
    effect, half = float(values.mean()), margin((seeds, items), (1 - level) / 2)
    return EffectOverSeeds(
        effect=effect, seeds=seeds, items=items, lower=effect - half, upper=effect + half
    )
