"""The differences in a score table, each with its standard error."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import pandas as pd

from probing.errors import InputError

_METRICS: Final = {f"{metric}_difference": metric for metric in ("spearman", "accuracy")}

ITEMS_ERROR: Final = "items_standard_error"
"""Metric of a row that says which part of the standard error of a mean over seeds is due to the
items: the one standard error that all seeds share."""


class Place(NamedTuple):
    """Model and whatever else names the row of a difference, as in the table."""

    model: str
    view: str
    transform: str = "raw"
    probe: str = "cosine"
    trained_on: str = "all"


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
    items_error: float = math.nan
    """Of a mean over seeds, the part of the standard error that is due to the items."""
    degrees_of_freedom: float = math.inf
    """Of Student's t, of which the standard error is one; infinite where items are many."""

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
        scores["metric"].isin([*_METRICS, "standard_error", ITEMS_ERROR])
        & (scores["labels"] == "real")
        & scores["aggregation"].isin([aggregation, "all"])
    ]
    shared: dict[tuple[Place, str, str], float] = {}
    found: dict[Place, dict[tuple[str, int], dict[str, Any]]] = {}
    for row in rows.to_dict("records"):
        place = Place(*(row[name] for name in Place._fields))
        if row["metric"] == ITEMS_ERROR:
            shared[place, row["task"], row["aggregation"]] = row["value"]
            continue
        cells = found.setdefault(place, {}).setdefault((row["task"], row["seed"]), {})
        # Where a task has subsets both aggregations are there: the one asked for wins.
        if cells and cells["aggregation"] != row["aggregation"]:
            if row["aggregation"] != aggregation:
                continue
            cells.clear()
        cells |= {name: row[name] for name in ("task", "aggregation", "seed")}
        if row["metric"] == "standard_error":
            cells["standard_error"] = row["value"]
            clusters = row.get("clusters")
            if clusters is not None and not pd.isna(clusters):
                cells["degrees_of_freedom"] = float(clusters) - 1
        else:
            cells |= {name: row[name] for name in ("value", "lower", "upper")}
            cells["metric"] = _METRICS[row["metric"]]
    return {
        place: tuple(
            Difference(
                **cells,
                items_error=shared.get((place, cells["task"], cells["aggregation"]), math.nan),
            )
            for cells in of_tasks.values()
            if {"value", "standard_error"} <= set(cells)
        )
        for place, of_tasks in found.items()
    }


def check_aggregation(scores: pd.DataFrame, aggregation: str) -> None:
    """Refuse an aggregation that a task with several subsets was not measured under.

    Raises:
        InputError: No difference of these rows has the aggregation, or one of a task that has
            others is missing: ``all`` in its place would be another number.
    """
    lacking = _lacking(scores, aggregation)
    if lacking:
        there = dict.fromkeys(map(str, _compared(scores)["aggregation"]))
        raise InputError(
            f"no differences of aggregation {aggregation!r} on {', '.join(lacking)}: found "
            f"{', '.join(there)}"
        )


def usable_aggregation(scores: pd.DataFrame, wanted: str) -> str:
    """The aggregation wanted; ``all`` where no task has subsets that it could bring together."""
    only_all = set(_compared(scores)["aggregation"]) <= {"all"}
    return "all" if only_all and not _with_subsets(scores) else wanted


def _lacking(scores: pd.DataFrame, aggregation: str) -> list[str]:
    by_task = _compared(scores).groupby("task", sort=False)["aggregation"]
    found = {str(task): set(rows) for task, rows in by_task}
    none_has_it = not any(aggregation in there for there in found.values())
    several = _with_subsets(scores)
    return [
        task
        for task, there in found.items()
        if aggregation not in there and (none_has_it or task in several or there != {"all"})
    ]


def _compared(scores: pd.DataFrame) -> pd.DataFrame:
    return scores[scores["metric"].isin(_METRICS) & (scores["labels"] == "real")]


def _with_subsets(scores: pd.DataFrame) -> set[str]:
    return set(scores.loc[(scores["subset"] != "all") & (scores["probe"] == "cosine"), "task"])
