"""Which view to use on a task: the set that holds the best one, and what the usual choices cost."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probing.claims.outcomes import SMALLEST_EFFECT
from probing.errors import InputError
from probing.results.items import Items
from probing.results.quantities import points
from probing.statistics import (
    Aggregation,
    BestSet,
    accuracy_interval,
    best_set,
    bootstrap_accuracies,
    bootstrap_correlations,
    percentile_interval,
    spearman,
)

FloatArray = NDArray[np.float64]

FEWEST: Final = 10
"""Independent items that a choice takes at least. Of fewer there are so few different resamples
(three of two items, all in the same order or undefined) that intervals have no width."""
_MANY: Final = 1_000_000
"""Items that nobody labels for this."""
_NAMED: Final = 8
"""Views that a sentence names."""


@dataclass(frozen=True)
class Choice:
    """Which view of a model to use on a task, with 95 % confidence."""

    model: str
    task: str
    measure: str
    """``Spearman`` of the cosine, or the accuracy of a probe."""
    n_items: int
    table: pd.DataFrame = field(repr=False)
    """A row for each view, the highest first: ``view``, ``value``, ``lower``, ``upper`` (its 95 %
    interval), ``may_be_best``, and the bounds ``at_least`` and ``at_most`` of what it costs against
    the best view, 95 % each; fractions."""
    usual: tuple[str, ...]
    """The views of the table that are used without looking."""
    undefined: tuple[str, ...]
    """Views that have no value here, such as one that is the same vector for every sentence."""
    more_for_one: float
    """How many more items would leave one view, if the differences stay as they are."""
    more_for_a_point: float
    """How many more would bring the most that `best` can cost to one point."""

    @property
    def best(self) -> str:
        """The view to use: the highest."""
        return str(self.table["view"].iloc[0])

    @property
    def views(self) -> tuple[str, ...]:
        """The set that holds the best view with 95 % confidence, the highest first."""
        return tuple(self.table.loc[self.table["may_be_best"], "view"])

    @property
    def sentences(self) -> tuple[str, ...]:
        """What to use, which views may be the best, what the usual ones cost, what would settle."""
        first = {str(name): self.table[name].iloc[0] for name in self.table}
        n = len(self.table)
        others = f"none of the other {n - 1} views is" if n > 2 else "the other view is not"
        cost = f"{others} more than {_points(first['at_most'])} points higher"
        if len(self.views) == 1:
            cost = f"it is the best of the {n} views"
        elif first["at_most"] == 0:  # the others of the set are the same to the last item
            cost = f"{others} higher"
        use = (
            f"Use `{self.best}`: {self.measure} {_points(first['value'])} "
            f"[{_points(first['lower'])}, {_points(first['upper'])}] on {self.n_items:,} items of "
            f"{self.task}; with 95 % confidence {cost}."
        )
        return (
            use,
            f"The best view is {_one_of(self.views)}, with 95 % confidence.",
            *(self._cost_of(view) for view in self.usual if view != self.best),
            *self._settling(),
        )

    def _cost_of(self, view: str) -> str:
        row = self.table[self.table["view"] == view].to_dict("records")[0]
        behind = f"`{view}` is {_points(self.table['value'].iloc[0] - row['value'])} points lower"
        most = f"at most {_points(row['at_most'])} points below the best view"
        if row["may_be_best"]:
            return f"{behind}, which may be chance; it is {most}."
        return f"{behind}; it is at least {_points(row['at_least'])} and {most}."

    def _settling(self) -> tuple[str, ...]:
        if len(self.views) == 1:
            return ()
        if math.isinf(self.more_for_one):
            settled = "No number of items separates two views of equal value."
        else:
            settled = (
                f"Even {_MANY:,} more items would not leave one view"
                if self.more_for_one > _MANY
                else f"About {_rounded(self.more_for_one)} more items would leave one view"
            )
            settled += ", if the differences stay as they are"
            settled += (
                f"; {_rounded(self.more_for_a_point)} would bring the most that `{self.best}` can "
                "cost to one point."
                if self.more_for_a_point >= 1
                else "."
            )
        return (settled,)

    def __str__(self) -> str:
        return " ".join(self.sentences)


def usual_views(last: int, declared: str | None = None) -> list[str]:
    """What is used without looking: the last layer, and what a checkpoint was tuned for."""
    return [*(f"{name}@{last}" for name in ("mean", "cls", "pooler")), *filter(None, [declared])]


def choose_view(items: Items, *, usual: Iterable[str]) -> Choice:
    """Decide which view of a model to use, from what every view says of every item.

    Pairs: Spearman of the cosine, subsets taken together. Probes: the share of items that are
    right, the probes being held fixed.

    Args:
        items: Of one task and one model.
        usual: Views that are used without looking; those that the model lacks are left out.

    Raises:
        InputError: No view is defined, or the items are too few or hang together.
    """
    defined: NDArray[np.bool_] = ~np.any(np.isnan(items.columns), axis=0)
    values = items.columns[:, defined]
    target = items.target
    where = f"{target.task}, {items.model}"
    if not values.size:
        raise InputError(f"{where}: no view is defined on every item")
    independent = len(values if target.clusters is None else np.unique(target.clusters))
    if independent < FEWEST:
        groups = "1 group" if independent == 1 else f"{independent} groups"
        connected = f" in {groups}" if independent < len(values) else ""
        raise InputError(
            f"{where}: found {len(values)} items{connected}, expected at least {FEWEST} that have "
            "nothing in common"
        )
    estimates, samples = resampled(items, values)
    there = ~np.isnan(estimates)
    if not there.any():
        raise InputError(
            f"{where}: no view has a correlation with the scores; expected scores that differ"
        )
    defined[defined] = there
    values, estimates, samples = values[:, there], estimates[there], samples[:, there]
    by_items = items.probe != "cosine" and target.clusters is None
    intervals = accuracy_interval(values) if by_items else percentile_interval(samples)
    try:
        found = best_set(estimates, samples)
    except ValueError as error:
        raise InputError(
            f"{where}: {len(values)} items give no interval ({error}); expected more of them, with "
            "different scores and not all connected by shared sentences"
        ) from error
    views = [view for view, kept in zip(items.views, defined, strict=True) if kept]
    table = pd.DataFrame(
        {
            "view": views,
            "value": found.estimates,
            "lower": intervals.lower,
            "upper": intervals.upper,
            "may_be_best": found.may_be_best,
            "at_least": found.at_least,
            "at_most": found.at_most,
        }
    ).sort_values("value", ascending=False, kind="stable", ignore_index=True)
    return Choice(
        model=items.model,
        task=target.task,
        measure=items.measure,
        n_items=len(values),
        table=table,
        usual=tuple(dict.fromkeys(view for view in usual if view in views)),
        undefined=tuple(v for v, kept in zip(items.views, defined, strict=True) if not kept),
        more_for_one=_more(found, len(values), 0.0),
        more_for_a_point=_more(found, len(values), SMALLEST_EFFECT),
    )


def resampled(items: Items, columns: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The value of each column and its resamples, the same for all columns of the same target.

    Args:
        items: With the target, and how a column becomes a value: Spearman, or a share.
        columns: ``(n_items, k)``.

    Returns:
        ``(k,)`` and ``(n_resamples, k)``.
    """
    target = items.target
    if items.probe == "cosine":
        samples = bootstrap_correlations(
            columns,
            target.gold,
            subsets=target.coded_subsets()[1],
            clusters=target.clusters,
            rng=target.rng(),
            n_resamples=target.n_resamples,
        )
        return spearman(columns, target.gold), samples[Aggregation.ALL]
    return columns.mean(axis=0), bootstrap_accuracies(
        columns, groups=target.clusters, rng=target.rng(), n_resamples=target.n_resamples
    )


def _more(found: BestSet, n: int, within: float) -> float:
    return n * (found.items_factor(within) - 1)


def _points(value: float) -> str:
    return points(100 * value)


def _rounded(count: float) -> str:
    """Two digits: no more are known of a number of items."""
    return f"{float(f'{count:.2g}'):,.0f}"


def _one_of(views: tuple[str, ...]) -> str:
    named = [f"`{view}`" for view in views[:_NAMED]]
    if len(views) == 1:
        return named[0]
    if len(views) > _NAMED:
        return f"one of {len(views)}: {', '.join(named)}, …"
    return f"{', '.join(named[:-1])} or {named[-1]}"
