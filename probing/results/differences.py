"""The differences in a score table, each with its standard error."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import pandas as pd

_METRICS: Final = {f"{metric}_difference": metric for metric in ("spearman", "accuracy")}


class Place(NamedTuple):
    """Model and whatever else names the row of a difference, as in the table."""

    model: str
    view: str
    transform: str = "raw"
    probe: str = "cosine"
    subset: str = "all"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference on one task, as a fraction: three cells of two rows of the table."""

    task: str
    metric: str
    """What is compared: ``spearman`` or ``accuracy``."""
    aggregation: str
    seed: int
    value: float
    lower: float
    upper: float
    standard_error: float

    @property
    def defined(self) -> bool:
        """Whether there is a value and a standard error."""
        return not (math.isnan(self.value) or math.isnan(self.standard_error))


def read_differences(
    scores: pd.DataFrame, aggregation: str
) -> Mapping[Place, tuple[Difference, ...]]:
    """Every difference of a table, by its place; on each task one, and one per seed.

    Args:
        scores: The results table (`probing.results.scores.COLUMNS`).
        aggregation: Aggregation of tasks with several subsets; the others have ``all`` only.
    """
    rows = scores[
        scores["metric"].isin([*_METRICS, "standard_error"])
        & (scores["labels"] == "real")
        & scores["aggregation"].isin([aggregation, "all"])
    ]
    found: dict[Place, dict[tuple[str, int], dict[str, Any]]] = {}
    for row in rows.to_dict("records"):
        place = Place(*(row[name] for name in Place._fields))
        cells = found.setdefault(place, {}).setdefault((row["task"], row["seed"]), {})
        # Where a task has subsets both aggregations are there: the one asked for wins.
        if cells and cells["aggregation"] != row["aggregation"]:
            if row["aggregation"] != aggregation:
                continue
            cells.clear()
        cells |= {name: row[name] for name in ("task", "aggregation", "seed")}
        if row["metric"] == "standard_error":
            cells["standard_error"] = row["value"]
        else:
            cells |= {name: row[name] for name in ("value", "lower", "upper")}
            cells["metric"] = _METRICS[row["metric"]]
    return {
        place: tuple(Difference(**cells) for cells in of_tasks.values() if len(cells) == 8)
        for place, of_tasks in found.items()
    }
