"""Encoders of several runs side by side: values, intervals and ranks with confidence."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probing.claims.choice import resampled
from probing.errors import InputError
from probing.reporting.page_tables import PageCell, PageTable
from probing.reporting.run import Run
from probing.results.items import Items, read_items
from probing.results.quantities import written
from probing.statistics import percentile_interval

if TYPE_CHECKING:  # matplotlib takes long to import
    from probing.reporting.figures import Described

FloatArray = NDArray[np.float64]
OWN: Final = "own"
"""The view an encoder was tuned for, and the mean of the last layer where none is declared."""


@dataclass(frozen=True)
class Leaderboard:
    """Encoders from the highest mean over tasks down."""

    table: pd.DataFrame = field(repr=False)
    """A row for each encoder: ``model``, ``view``, ``mean`` over tasks with ``lower`` and ``upper``
    (95 %), ``rank_from`` and ``rank_to``, and a column for each task; fractions."""
    tasks: tuple[str, ...]
    """The tasks that every encoder was measured on."""

    def figure(self) -> "Described":
        """Mean over tasks with its interval, and the ranks."""
        from probing.reporting.figures.leaderboard import ranked

        return ranked(self)

    def page_table(self) -> PageTable:
        """The table as terminal and pages show it."""
        rows = []
        for row in self.table.to_dict("records"):
            numbers = [(row["mean"], row["lower"], row["upper"])] * (len(self.tasks) > 1)
            numbers += [(row[task], math.nan, math.nan) for task in self.tasks]
            rows.append(
                (
                    PageCell(str(row["model"])),
                    PageCell(str(row["view"])),
                    PageCell(ranks(row), number=float(row["rank_from"])),
                    *(PageCell(written(*(100 * n for n in cell)), cell[0]) for cell in numbers),
                )
            )
        mean = (f"mean of {len(self.tasks)}",) * (len(self.tasks) > 1)
        return PageTable(
            caption="Spearman or accuracy × 100; ranks hold together with 95 % confidence",
            header=("encoder", "view", "rank", *mean, *self.tasks),
            rows=tuple(rows),
        )


def ranks(row: Mapping[Any, Any]) -> str:
    """``3``, or ``2 to 4``."""
    return " to ".join(map(str, sorted({int(row["rank_from"]), int(row["rank_to"])})))


def leaderboard(runs: Sequence[Run], *, pooling: str = OWN) -> Leaderboard:
    """The encoders of runs on the tasks that all of them were measured on.

    Encoders are one where their weights, tokenizer and precision have the same hash and they take
    as many tokens, whatever they are called; tasks are one where name, origin and items are.
    Encoders are compared on the same resamples of the same items, and the ranks allow for all
    comparisons at once: an encoder's rank runs from one more than the encoders that are above it
    beyond chance to the number of those that are not below it beyond chance.

    Args:
        runs: Which keep their items.
        pooling: ``own``, or a pooling of the last layer such as ``cls``.

    Raises:
        InputError: A run keeps no items, an encoder lacks the view, or no task is shared.
    """
    columns: dict[tuple[str, str], tuple[Items, FloatArray]] = {}
    views: dict[str, str] = {}
    names: dict[str, str] = {}
    for run in runs:
        kept = read_items(run.folder)
        if not kept:
            raise InputError(f"{run.folder} keeps no items: make the run again with this version")
        origins = {task["name"]: task["origin"] for task in run.manifest["tasks"]}
        for described in run.manifest["encoders"]:
            if described["name"] not in run.models:
                continue
            key = _identity(described)
            names.setdefault(key, _unused(described["name"], run, names.values()))
            views.setdefault(key, _view(described, pooling))
            for items in kept:
                if items.model == described["name"] and items.target.task in origins:
                    task = f"{items.target.task}\n{origins[items.target.task]}\n{items.probe}"
                    columns.setdefault((key, task), (items, _column(items, views[key])))
    tasks = [
        task
        for task in dict.fromkeys(task for _, task in columns)
        if all((key, task) in columns for key in names)
    ]
    if not tasks:
        raise InputError(
            "the runs share no task: expected encoders that were measured on the same data"
        )
    by_task = [_together([columns[key, task] for key in names]) for task in tasks]
    values = np.stack([estimates for estimates, _ in by_task])
    samples = np.mean([drawn for _, drawn in by_task], axis=0)
    interval = percentile_interval(samples)
    above = _beyond_chance(values.mean(axis=0), samples)
    shown = [task.split("\n")[0] for task in tasks]
    table = pd.DataFrame(
        {
            "model": list(names.values()),
            "view": list(views.values()),
            "mean": values.mean(axis=0),
            "lower": interval.lower,
            "upper": interval.upper,
            "rank_from": 1 + above.sum(axis=0),
            "rank_to": len(names) - above.sum(axis=1),
            **dict(zip(shown, values, strict=True)),
        }
    ).sort_values("mean", ascending=False, kind="stable", ignore_index=True)
    return Leaderboard(table=table, tasks=tuple(dict.fromkeys(shown)))


def _identity(described: dict[str, Any]) -> str:
    """What makes two encoders one: their hashes, and how they are used."""
    kept = ("weights_sha256", "tokenizer_sha256", "dtype", "max_length")
    return " ".join(str(described.get(key)) for key in kept)


def _unused(name: str, run: Run, taken: Iterable[str]) -> str:
    return f"{name} ({run.folder.name})" if name in set(taken) else name


def _view(described: dict[str, Any], pooling: str) -> str:
    last = described["num_layers"]
    if pooling == OWN:
        return str(described.get("declared_view") or f"mean@{last}")
    return f"{pooling}@{last}"


def _column(items: Items, view: str) -> FloatArray:
    if view not in items.views:
        raise InputError(
            f"{items.model} has no {view} on {items.target.task}: expected one of "
            f"{', '.join(items.views)}"
        )
    return items.columns[:, items.views.index(view)]


def _together(measured: Sequence[tuple[Items, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    """Values and resamples of several encoders on the items of one task."""
    first = measured[0][0]
    for items, column in measured:
        if len(column) != len(measured[0][1]) or not np.array_equal(
            items.target.gold, first.target.gold
        ):
            raise InputError(
                f"{first.target.task}: {items.model} was measured on other items than "
                f"{first.model}; expected the same split and protocol"
            )
    return resampled(first, np.column_stack([column for _, column in measured]))


def _beyond_chance(values: FloatArray, samples: FloatArray) -> NDArray[np.bool_]:
    """``(k, k)``: whether i is above j by more than any difference is by chance, all at once."""
    around = samples - values
    differences = around[:, :, None] - around[:, None, :]
    errors = differences.std(axis=0, ddof=1)
    scale = np.where(errors > 0, errors, np.inf)
    largest = np.nanquantile(np.abs(differences / scale).max(axis=(1, 2)), 0.95)
    above: NDArray[np.bool_] = values[:, None] - values[None, :] > np.maximum(
        largest * errors, 1e-12
    )
    return above
