"""Fine-tuning in words and tables for the terminal."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from rich.table import Table

from probing.reporting.figures.learning_curves import learning_rows
from probing.results.quantities import Quantity, records, training_items, with_interval


class FrozenGap(NamedTuple):
    """The cell in which the frozen limit lies farthest from the linear probe."""

    points: float
    """Distance × 100."""
    task: str
    view: str
    subset: str
    seed: int
    n_cells: int
    """How many cells were compared."""


def learning_tables(scores: pd.DataFrame, model: str) -> list[Table]:
    """One table a task: heads as rows, training sizes as columns, means over seeds."""
    tables = []
    for task in scores.loc[scores["model"] == model, "task"].unique():
        rows = learning_rows(scores, model=model, task=str(task))
        if rows.empty:
            continue
        unit = Quantity(metric=str(rows["metric"].iloc[0])).unit
        table = Table(title=f"{model} on {task}: {unit} by training items", title_justify="left")
        sizes = sorted(rows["subset"].unique(), key=training_items)
        table.add_column("head")
        for size in sizes:
            table.add_column(size.removeprefix("train:"), justify="right")
        for (probe, head), part in rows.groupby(["probe", "pooling"], sort=False):
            cells = {row["subset"]: with_interval(row) for row in records(part)}
            name = f"{head} frozen" if probe == "finetuned-frozen" else str(head)
            table.add_row(name, *(cells.get(size, "") for size in sizes))
        tables.append(table)
    return tables


def frozen_gap(scores: pd.DataFrame) -> FrozenGap | None:
    """How far the frozen limit is from the linear probe of the same rows, at most.

    The heads that have weights of their own (``pooler-fresh``, ``attention``) train these in the
    frozen limit too, and are no linear probe: they are left out.

    Returns:
        None where nothing was trained with the encoder frozen.
    """
    key = ["model", "task", "view", "subset", "seed", "metric"]
    single = scores[
        (scores["aggregation"] == "none")
        & scores["metric"].isin(["accuracy", "spearman"])
        & ~scores["pooling"].isin(["pooler-fresh", "attention"])
    ]
    frozen = single[single["probe"] == "finetuned-frozen"]
    linear = single[single["probe"].isin(["linear", "regression"])]
    both = frozen.merge(linear, on=key, suffixes=("", "_linear"))
    if both.empty:
        return None
    distance = (both["value"] - both["value_linear"]).abs()
    if distance.isna().all():
        return None
    row = records(both.iloc[[int(np.nanargmax(distance))]])[0]
    return FrozenGap(
        points=100 * float(distance.max()),
        task=str(row["task"]),
        view=str(row["view"]),
        subset=str(row["subset"]),
        seed=int(row["seed"]),
        n_cells=int(distance.notna().sum()),
    )
