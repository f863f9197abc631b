"""What the experiment estimates, from its rows: effects over seeds and tasks, with both variances.

The outcome of an encoder is ``pooler − cls``, Spearman of the pooler less that of ``[CLS]`` of the
last layer. Effects are averaged over tasks within a seed; the means of the seeds are what Student's
t is made of. Items enter by a bootstrap of sentence clusters that all seeds share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from safetensors import safe_open
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from probing.cause.suite import POOLED_TASKS, Suite
from probing.statistics import Aggregation, bootstrap_correlations
from probing.statistics.seeds import EffectOverSeeds, effect_over_seeds

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """One arm against another, in points (Spearman × 100).

    Attributes:
        name: such as ``nsp − nsp-permuted``.
        mean: over seeds and tasks, with its 95 % interval.
        by_seed: (n_seeds,) means over tasks.
        by_task: task → mean over seeds.
        item_errors: task → standard error of that mean over items, the seeds held fixed.
    """

    name: str
    mean: EffectOverSeeds
    by_seed: FloatArray
    by_task: Mapping[str, float]
    item_errors: Mapping[str, float]

    @property
    def seeds_below(self) -> int:
        """Seeds whose mean over tasks is below 0."""
        return int((self.by_seed < 0).sum())

    @property
    def tasks_below(self) -> int:
        """Tasks whose mean over seeds is below 0."""
        return sum(value < 0 for value in self.by_task.values())


def pooler_minus_cls(
    rows: pd.DataFrame, arm: str, dose: int, tasks: Sequence[str] = POOLED_TASKS
) -> FloatArray:
    """(n_seeds, n_tasks) in points: the outcome of every seed of an arm at one dose.

    Args:
        rows: ``arm, seed, DOSE, task, view, metric, value``, where DOSE is ``steps`` or ``tokens``.
            ``cls`` may be there once for all seeds and doses of an arm, if its body is frozen.
        arm: One of the arms.
        dose: One of the doses.
        tasks: In the order of the columns.

    Raises:
        ValueError: A seed or a task is missing.
    """
    column = "steps" if "steps" in rows.columns else "tokens"
    mine = rows[(rows["arm"] == arm) & (rows["metric"] == "spearman")]
    pooler = mine[(mine["view"] == "pooler") & (mine[column] == dose)]
    pooler = pooler.pivot_table(index="seed", columns="task", values="value")
    pooler = pooler.reindex(columns=[*tasks])
    cls = mine[mine["view"] == "cls"]
    at_dose = cls[cls[column] == dose]
    if len(at_dose) >= pooler.size:
        by_seed = at_dose.pivot_table(index="seed", columns="task", values="value")
        found = pooler - by_seed.reindex(index=pooler.index, columns=[*tasks])
    else:  # a frozen body has one [CLS]
        found = pooler - cls.drop_duplicates("task").set_index("task")["value"].reindex([*tasks])
    values: FloatArray = 100 * found.to_numpy(dtype=np.float64)
    if not values.size or np.isnan(values).any():
        raise ValueError(f"{arm} at {dose}: a seed or a task is missing")
    return values


def effect(
    name: str,
    one: FloatArray,
    other: FloatArray | None,
    item_errors: Sequence[float],
    tasks: Sequence[str] = POOLED_TASKS,
) -> Effect:
    """The difference of two arms, paired by seed, or what one arm is by itself.

    Args:
        name: Of the effect.
        one: (n_seeds, n_tasks) points.
        other: The same of the arm that is taken away; None for none.
        item_errors: (n_tasks,) points.
        tasks: Of the columns.
    """
    values = one if other is None else one - other
    return Effect(
        name=name,
        mean=effect_over_seeds(values, item_errors),
        by_seed=values.mean(axis=1),
        by_task=dict(zip(tasks, values.mean(axis=0).tolist(), strict=True)),
        item_errors=dict(zip(tasks, item_errors, strict=True)),
    )


def frozen_item_errors(
    suite: Suite,
    one: Path,
    other: Path,
    seeds: int,
    tasks: Sequence[str] = POOLED_TASKS,
    *,
    n_resamples: int = 200,
) -> list[float]:
    """(n_tasks,) points: standard error over items of a mean over seeds, the seeds held fixed.

    Args:
        suite: Gold and pairs.
        one: ``ARM.safetensors`` with the cosines of the last look.
        other: The same of the arm that is taken away; its ``[CLS]`` is the same.
        seeds: How many.
        tasks: In order.
        n_resamples: Of the bootstrap of sentence clusters, the same for every seed and arm.
    """
    errors = []
    for task in tasks:
        columns = [_cosines(one, f"{seed}/{task}/pooler") for seed in range(seeds)]
        columns += [_cosines(other, f"{seed}/{task}/pooler") for seed in range(seeds)]
        samples = bootstrap_correlations(
            np.column_stack(columns),
            suite.gold[task],
            rng=np.random.default_rng(0),
            clusters=sentence_clusters(suite.pairs[task]),
            n_resamples=n_resamples,
        )[Aggregation.ALL]
        differences = samples[:, :seeds].mean(axis=1) - samples[:, seeds:].mean(axis=1)
        errors.append(100 * float(np.std(differences, ddof=1)))
    return errors


def sentence_clusters(pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """(n_pairs,) cluster of each pair (n_pairs, 2): those connected by a common sentence."""
    n = int(pairs.max()) + 1
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    _, codes = np.unique(component[pairs[:, 0]], return_inverse=True)
    found: npt.NDArray[np.intp] = codes
    return found


def _cosines(path: Path, name: str) -> npt.NDArray[np.float32]:
    with safe_open(path, framework="numpy") as tensors:
        found: npt.NDArray[np.float32] = tensors.get_tensor(f"cosines/{name}")
    return found
