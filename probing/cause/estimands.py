"""What the experiment estimates, from its rows: effects over seeds and tasks, with both variances.

Effects are averaged over tasks within a seed; the means of the seeds are what Student's t is made
of. Items enter by a bootstrap of sentence clusters that all seeds share. Nothing else enters: the
tasks are these six, not a sample of tasks.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from probing.cause.suite import BESIDE, POOLED_TASKS, Suite
from probing.results.names import difference, sides
from probing.statistics import Aggregation, bootstrap_correlations
from probing.statistics.seeds import EffectOverSeeds, effect_over_seeds

FloatArray = npt.NDArray[np.float64]

ROW_COLUMNS: Final = (
    "experiment",
    "arm",
    "variant",
    "seed",
    "dose",
    "task",
    "view",
    "metric",
    "value",
    "n",
)
"""A row: ``E1`` (dose in steps), ``E2`` (tokens), ``E3`` (the variant is ``BODY/POOLER``) or ``S5``
(the variant is the readout). A standard error over items is of no seed (−1) and of two arms or
views, ``ONE - OTHER``; so is a floor, whose arm is ``floor:jaccard`` or ``floor:random``."""
START: Final = "start"
"""In place of an arm: the arm itself at dose 0."""
OUTCOME: Final = difference("pooler", "cls")


@dataclass(frozen=True)
class Effect:
    """One arm against another, in points (Spearman × 100).

    Attributes:
        name: such as ``nsp - nsp-permuted``.
        dose: at which look.
        mean: over seeds and tasks, with its 95 % interval.
        by_seed: (n_seeds,) means over tasks.
        by_task: task → mean over seeds.
        seed_error: standard error of the mean over seeds.
        item_error: standard error of the mean over items, the seeds held fixed; NaN where it was
            not measured, and then the interval is that of the seeds.
        items_borrowed: whether that of the last look takes the place of this look's.
    """

    name: str
    dose: int
    mean: EffectOverSeeds
    by_seed: FloatArray
    by_task: Mapping[str, float]
    seed_error: float
    item_error: float
    items_borrowed: bool = False

    @property
    def seeds_below(self) -> int:
        """Seeds whose mean over tasks is below 0."""
        return int((self.by_seed < 0).sum())

    @property
    def tasks_below(self) -> int:
        """Tasks whose mean over seeds is below 0."""
        return sum(value < 0 for value in self.by_task.values())


def tasks_of(rows: pd.DataFrame) -> tuple[str, ...]:
    """The tasks whose plain mean is the outcome: those of the protocol, or what a small run has."""
    scored = rows.loc[rows["metric"] == "spearman", "task"].unique().tolist()
    pooled = tuple(task for task in POOLED_TASKS if task in scored)
    return pooled or tuple(task for task in scored if task != BESIDE) or (BESIDE,)


def doses_of(rows: pd.DataFrame, experiment: str, arm: str) -> tuple[int, ...]:
    """The looks at an arm, ascending."""
    mine = rows[(rows["experiment"] == experiment) & (rows["arm"] == arm)]
    return tuple(sorted(mine.loc[mine["metric"] == "spearman", "dose"].unique().tolist()))


def values(
    rows: pd.DataFrame, experiment: str, arm: str, dose: int, view: str = OUTCOME, variant: str = ""
) -> pd.DataFrame:
    """Seeds × tasks, in points; a view may be a difference of two.

    What a frozen body leaves as it is, ``cls`` and ``mean``, is there once for all seeds and doses.

    Raises:
        ValueError: a task is missing of a seed.
    """
    mine = rows[
        (rows["experiment"] == experiment)
        & (rows["arm"] == arm)
        & (rows["variant"] == variant)
        & (rows["metric"] == "spearman")
    ]
    tasks = tasks_of(rows)
    parts = []
    for side in sides(view):
        of_view = mine[mine["view"] == side]
        if experiment != "E1" or side not in ("cls", "mean"):
            of_view = of_view[of_view["dose"] == dose]
        wide = of_view.pivot_table(index="seed", columns="task", values="value")
        parts.append(100 * wide.reindex(columns=list(tasks)))
    found = parts[0]
    for other in parts[1:]:
        found = found - (other.iloc[0] if len(other) == 1 < len(found) else other)
    if found.empty or found.isna().to_numpy().any():
        raise ValueError(f"{experiment}, {arm} at {dose}: {view} of a seed or a task is missing")
    return found


def effect(
    rows: pd.DataFrame,
    experiment: str,
    one: str,
    other: str | None,
    dose: int,
    view: str = OUTCOME,
    *,
    level: float = 0.95,
    variants: tuple[str, str] = ("", ""),
) -> Effect:
    """One arm less another at one dose, paired by seed, over seeds and items.

    Args:
        rows: of `ROW_COLUMNS`.
        experiment: one of them.
        one: an arm.
        other: another, `START` for the same at dose 0, None for nothing taken away.
        dose: one of the arm's.
        view: what is compared.
        level: of the interval.
        variants: of both sides.

    Raises:
        ValueError: there are fewer than two seeds of both.
    """
    mine = values(rows, experiment, one, dose, view, variants[0])
    if other == START:
        mine = mine - values(rows, experiment, one, 0, view, variants[0])
    elif other is not None:
        mine = (mine - values(rows, experiment, other, dose, view, variants[1])).dropna()
    name = one if other is None else difference(one, other)
    errors, borrowed = item_errors_of(rows, experiment, name, dose, view, variants[0])
    found = mine.to_numpy(dtype=np.float64)
    known = not np.isnan(errors).any()
    if not known:
        errors = np.zeros(len(errors))
    mean = effect_over_seeds(found, errors, level=level, tasks_vary=False)
    return Effect(
        name=name,
        dose=dose,
        mean=mean,
        by_seed=found.mean(axis=1),
        by_task=dict(zip(map(str, mine.columns), found.mean(axis=0).tolist(), strict=True)),
        seed_error=mean.seeds.error,
        item_error=mean.items.error if known else math.nan,
        items_borrowed=borrowed,
    )


def item_errors_of(
    rows: pd.DataFrame, experiment: str, name: str, dose: int, view: str, variant: str = ""
) -> tuple[FloatArray, bool]:
    """(n_tasks,) points, NaN where not measured; and whether they are of the last look instead."""
    mine = rows[
        (rows["experiment"] == experiment)
        & (rows["arm"] == name)
        & (rows["view"] == view)
        & (rows["variant"] == variant)
        & (rows["metric"] == "standard_error")
    ]
    borrowed = len(mine) > 0 and dose not in set(mine["dose"])
    if len(mine):
        mine = mine[mine["dose"] == (max(mine["dose"]) if borrowed else dose)]
    errors = mine.set_index("task")["value"].reindex(list(tasks_of(rows)))
    return 100 * errors.to_numpy(dtype=np.float64), borrowed


def item_error_rows(
    suite: Suite,
    arm: str,
    experiment: str,
    dose: int,
    cosines: Callable[[str], tuple[Sequence[npt.NDArray[np.float32]], Sequence[float]]],
    view: str = OUTCOME,
    *,
    n_resamples: int = 200,
) -> list[dict[str, object]]:
    """A row a task: standard error over items of a weighted sum of correlations.

    Args:
        suite: gold and pairs.
        arm: name of the effect.
        experiment: as in the rows.
        dose: as in the rows.
        cosines: of a task: columns (n_pairs,), and the weight of each column's correlation.
        view: as in the rows.
        n_resamples: of the bootstrap of sentence clusters, the same for every column.
    """
    rows: list[dict[str, object]] = []
    for task, gold in suite.gold.items():
        columns, weights = cosines(task)
        samples = bootstrap_correlations(
            np.column_stack(columns),
            gold,
            rng=np.random.default_rng(0),
            clusters=sentence_clusters(suite.pairs[task]),
            n_resamples=n_resamples,
        )[Aggregation.ALL]
        error = float(np.std(samples @ np.asarray(weights), ddof=1))
        where = {"experiment": experiment, "arm": arm, "variant": "", "seed": -1, "dose": dose}
        measured = {"task": task, "view": view, "metric": "standard_error", "value": error}
        rows.append({**where, **measured, "n": len(gold)})
    return rows


def sentence_clusters(pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """(n_pairs,) cluster of each pair (n_pairs, 2): those connected by a common sentence."""
    n = int(pairs.max()) + 1
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    _, codes = np.unique(component[pairs[:, 0]], return_inverse=True)
    found: npt.NDArray[np.intp] = codes
    return found
