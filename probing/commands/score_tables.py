"""The results table as compact tables for the terminal."""

from collections.abc import Iterator, Sequence

import pandas as pd
from rich.table import Table

from probing.reporting.page_tables import TUNED_FOR
from probing.results.names import is_floor, twin_name
from probing.results.quantities import points

_VIEW_WIDTH = 18
_TASK_WIDTH = 24
"""Columns of the terminal that the names of the views and one task take."""

Cells = dict[tuple[str, str, str], tuple[float, float, float]]
"""(model, task, view) → value, lower, upper, in the unit of the table."""


def score_tables(
    scores: pd.DataFrame,
    model: str,
    *,
    metric: str,
    aggregation: str,
    width: int,
    declared: str | None = None,
) -> Iterator[Table]:
    """Views as rows, tasks as columns, with 95 % interval and the random-weight twin beside it.

    All × 100 but compression, which is how many times shorter the labels become.

    One table for the cosine and one for each probe of labels, continued where a table would be
    wider than the terminal; the last rows are the floors.

    Args:
        scores: The results table of a run.
        model: One of its models; the twin is looked up by name.
        metric: ``spearman`` or ``pearson``, of the cosine.
        aggregation: Of the tasks with subsets; the others have one correlation.
        width: Columns of the terminal.
        declared: The view that the model was tuned for, which is marked.
    """
    real = scores[
        (scores["subset"] == "all") & (scores["labels"] == "real") & (scores["transform"] == "raw")
    ]
    mine = real[real["model"] == model]
    cosine = real[(real["metric"] == metric) & real["probe"].isin(["cosine", "none"])]
    several = set(cosine.loc[cosine["aggregation"] == aggregation, "task"])
    cosine = cosine[
        cosine["aggregation"].eq(aggregation)
        | (cosine["aggregation"].eq("all") & ~cosine["task"].isin(several))
    ]
    how = f"{metric} × 100 ({aggregation} where there are subsets)"
    title = f"{model}: cosine against human similarity"
    yield from _tables(cosine, model, title, how, width, declared)
    read = mine[mine["metric"].isin(["accuracy", "compression"])]
    kinds = zip(read["probe"], read["metric"], strict=True)
    for probe, measure in dict.fromkeys(kinds):
        of_floors = real["model"].map(is_floor)
        chosen = real[real["metric"].eq(measure) & (real["probe"].eq(probe) | of_floors)]
        scale = 1 if measure == "compression" else 100
        how = f"{measure} × {scale}" if scale > 1 else f"{measure} (times)"
        yield from _tables(chosen, model, f"{model}: {probe} probe", how, width, declared, scale)


def _tables(
    chosen: pd.DataFrame,
    model: str,
    title: str,
    how: str,
    width: int,
    declared: str | None,
    scale: int = 100,
) -> Iterator[Table]:
    cells: Cells = {
        (row["model"], row["task"], row["view"]): (
            scale * row["value"],
            scale * row["lower"],
            scale * row["upper"],
        )
        for row in chosen.to_dict("records")
    }
    tasks = list(dict.fromkeys(task for name, task, _ in cells if name == model))
    fitting = max(1, (width - _VIEW_WIDTH) // _TASK_WIDTH)
    for first in range(0, len(tasks), fitting):
        yield _table(cells, model, tasks[first : first + fitting], title, how, declared)


def _table(
    cells: Cells, model: str, tasks: Sequence[str], title: str, how: str, declared: str | None
) -> Table:
    caption = (
        f"{how}, ± half the 95 % interval, and in brackets the same with random weights; "
        "the best view in bold"
    )
    if declared:
        caption += f"; {TUNED_FOR}: the view it was tuned for"
    table = Table(title=title, caption=caption)
    table.add_column("view", no_wrap=True)
    for task in tasks:
        table.add_column(task, justify="right")
    views = list(dict.fromkeys(view for name, task, view in cells if name == model))
    views = [view for view in views if any((model, task, view) in cells for task in tasks)]
    best = {task: _best(cells, model, task, views) for task in tasks}
    for view in views:
        row = [f"{view} {TUNED_FOR}" if view == declared else view]
        for task in tasks:
            cell = cells.get((model, task, view))
            if cell is None:
                row.append("")
                continue
            twin = cells.get((twin_name(model), task, view))
            text = _written(cell)
            text = f"[bold]{text}[/bold]" if cell[0] == best[task] else text
            row.append(text if twin is None else f"{text} ({points(twin[0], 2):>5})")
        table.add_row(*row, end_section=view.startswith("max@"))
    table.add_section()
    for floor in dict.fromkeys(name for name, _, _ in cells if is_floor(name)):
        found = [cells.get((floor, task, "none")) for task in tasks]
        if any(cell is not None for cell in found):
            table.add_row(floor, *("" if c is None else f"{_written(c)}{' ' * 8}" for c in found))
    return table


def _best(cells: Cells, model: str, task: str, views: Sequence[str]) -> float:
    values = [cells[model, task, view][0] for view in views if (model, task, view) in cells]
    return max((value for value in values if value == value), default=float("nan"))


def _written(cell: tuple[float, float, float]) -> str:
    value, lower, upper = cell
    if value != value or lower != lower:
        return points(value, 2)
    return f"{points(value, 2)} ±{(upper - lower) / 2:.2g}"
