"""How far fine-tuning with the encoder held fixed is from the linear probe that it should be."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from probing.results.quantities import records


class FrozenGap(NamedTuple):
    """The cell in which the frozen limit lies farthest from the linear probe."""

    points: float
    """Distance × 100."""
    task: str
    view: str
    trained_on: str
    seed: int
    n_cells: int
    """How many cells were compared."""


def frozen_gap(scores: pd.DataFrame) -> FrozenGap | None:
    """How far the frozen limit is from the linear probe of the same rows, at most.

    The heads that have weights of their own (``pooler-fresh``, ``attention``) train these in the
    frozen limit too, and are no linear probe: they are left out.

    Returns:
        None where nothing was trained with the encoder frozen.
    """
    key = ["model", "task", "view", "trained_on", "seed", "metric"]
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
        trained_on=str(row["trained_on"]),
        seed=int(row["seed"]),
        n_cells=int(distance.notna().sum()),
    )
