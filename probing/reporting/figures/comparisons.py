"""Comparisons: the same views measured in several ways, and the way from one view to another."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final, Literal

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes

from probing.claims.deciding import Finding, Verdict
from probing.claims.outcomes import Outcome
from probing.errors import InputError
from probing.reporting.figures.drawing import (
    CHARACTER,
    COLUMN,
    INK,
    PAPER,
    REFERENCE,
    Described,
    canvas,
)
from probing.results.names import is_twin, sides
from probing.results.quantities import (
    DIFFERENCE,
    SIMILARITY,
    Quantity,
    best_row,
    points,
    records,
    select,
    signed,
)

_OKABE_ITO: Final = mpl.color_sequences["okabe_ito"]
_SERIES: Final[tuple[tuple[Any, str], ...]] = (
    (INK, "o"),
    (_OKABE_ITO[6], "s"),
    (_OKABE_ITO[5], "^"),
    (_OKABE_ITO[3], "D"),
    (_OKABE_ITO[7], "v"),
    (_OKABE_ITO[1], "P"),
    (_OKABE_ITO[2], "X"),
)
_OUTCOMES: Final = {
    Outcome.SUPPORTED: (_OKABE_ITO[5], "D"),
    Outcome.REFUTED: (_OKABE_ITO[6], "s"),
    Outcome.NEGLIGIBLE: (_OKABE_ITO[1], "^"),
    Outcome.UNDECIDED: (REFERENCE, "o"),
}
_ROW: Final = 0.2
"""Inches."""
_SHORT: Final = 12
"""Up to so many characters three names fit beside each other in a legend."""


def comparison(
    scores: pd.DataFrame,
    *,
    model: str,
    task: str,
    by: Literal["aggregation", "transform", "probe", "labels"],
    values: Sequence[str] = (),
    views: Sequence[str] = (),
    quantity: Quantity = SIMILARITY,
) -> Described:
    """Views as rows; what they score under each value of one column of the table, with intervals.

    Args:
        scores: The results table.
        model: One of its models.
        task: One of its tasks.
        by: The column: the three aggregations, the transforms, the probes, …
        values: Which values of the column; by default those under which all ``views`` were
            measured.
        views: Which views, from top to bottom; by default the best and the last layer of each
            pooling, from the highest value down.
        quantity: What is drawn, apart from ``by``.

    Raises:
        InputError: The table has no such rows, or only one value of the column.
    """
    tables: dict[str, pd.DataFrame] = {}
    for value in values or scores[by].unique():
        chosen = replace(quantity, **{by: str(value)})
        with suppress(InputError):
            tables[str(value)] = select(scores, chosen, model=model, task=task).set_index("view")
    names: list[str] = []
    if tables:
        names = [*(views or _telling_views(next(iter(tables.values())).reset_index()))]
    if not values:
        tables = {name: table for name, table in tables.items() if {*names} <= {*table.index}}
    if len(tables) < 2:
        raise InputError(
            f"nothing to compare by {by} for {model} on {task}: found {', '.join(tables) or 'none'}"
            ", expected at least two"
        )
    undefined = [
        name
        for name, table in tables.items()
        if table.loc[table.index.isin(names), "value"].isna().all()
    ]
    if len(undefined) < len(tables):
        tables = {name: table for name, table in tables.items() if name not in undefined}
    place = {view: float(len(names) - 1 - i) for i, view in enumerate(names)}
    offset = 0.5 / len(tables)
    in_row = 3 if max(map(len, tables)) <= _SHORT else 2
    legend = 0.1 + 0.14 * math.ceil(len(tables) / in_row)
    rows_height = _ROW * max(1.0, len(tables) / 3) * max(len(names), 2)
    with canvas(height=0.45 + legend + rows_height) as (figure, axes):
        for i, (series, table) in enumerate(tables.items()):
            colour, marker = _SERIES[i % len(_SERIES)]
            rows = records(table[table.index.isin(names)].reset_index())
            y = [place[row["view"]] + offset * ((len(tables) - 1) / 2 - i) for row in rows]
            axes.hlines(
                y,
                [row["lower"] for row in rows],
                [row["upper"] for row in rows],
                color=colour,
                linewidth=0.8,
            )
            axes.plot(
                [row["value"] for row in rows],
                y,
                marker,
                color=colour,
                markeredgecolor=PAPER,
                markeredgewidth=0.3,
                label=series,
            )
        for line in range(len(names) - 1):
            axes.axhline(line + 0.5, color=INK, alpha=0.12, linewidth=0.5)
        axes.set_ylim(-0.5, len(names) - 0.5)
        axes.set_yticks([place[view] for view in names], names)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(quantity.unit)
        height = figure.get_figheight()
        left = (0.15 + CHARACTER * max(map(len, names))) / COLUMN
        figure.subplots_adjust(left=left, right=0.97, bottom=0.38 / height, top=1 - legend / height)
        figure.legend(
            loc="upper left",
            bbox_to_anchor=(0.2 if in_row == 3 else 0.05, 1.0),
            ncols=in_row,
            frameon=False,
            handletextpad=0.1,
            columnspacing=1.0,
            borderaxespad=0.2,
        )
    parts = []
    for series, table in tables.items():
        best = best_row(table[table.index.isin(names)].reset_index())
        if best is not None:
            parts.append(f"{series}: highest {best['view']} {points(best['value'])}")
    if undefined:
        parts.append(f"undefined (NaN): {', '.join(undefined)}")
    return Described(
        figure,
        f"{quantity.unit} of {model} on {task} by {by}, bars are 95 % intervals; "
        f"{'; '.join(parts)}.",
    )


def road(
    scores: pd.DataFrame,
    *,
    model: str,
    task: str,
    views: Sequence[str],
    quantity: Quantity = SIMILARITY,
) -> Described:
    """The way from one view to another as a waterfall: where it starts, each change, all together.

    The changes carry the intervals of the paired differences, where the table has them (rows whose
    view is ``A - B``).

    Args:
        scores: The results table.
        model: One of its models.
        task: One of its tasks.
        views: At least two, such as ``mean@4, mean@6, cls@6, pooler_dense@6, pooler@6``.
        quantity: What is drawn.

    Raises:
        InputError: The table lacks one of the views or it is undefined, or fewer than two are
            given.
    """
    if len(views) < 2:
        raise InputError(f"a road needs at least two views, found {', '.join(views) or 'none'}")
    table = select(scores, quantity, model=model, task=task).set_index("view")["value"]
    for view in views:
        if view not in table.index or math.isnan(table[view]):
            state = "undefined" if view in table.index else "not measured"
            raise InputError(f"{view} of {model} on {task} is {state}: choose another view")
    paired = replace(quantity, metric=quantity.metric + DIFFERENCE)
    try:
        differences = select(scores, paired, model=model, task=task)
    except InputError:
        differences = table.iloc[:0].to_frame()
    steps = [
        _change(differences, before, after, float(table[after] - table[before]))
        for before, after in (*pairwise(views), (views[0], views[-1]))
    ]
    starts = [float(table[view]) for view in (*views[:-1], views[0])]
    names = [views[0], *(f"→ {view}" for view in views[1:]), "together"]
    with canvas(height=0.5 + 0.27 * len(names)) as (figure, axes):
        ends = [start + end for start, step in zip(starts, steps, strict=True) for end in step]
        reached = [*starts, *(end for end in ends if not math.isnan(end))]
        room = 0.08 * max(max(reached) - min(reached), 1.0)
        axes.set_xlim(min(reached) - room, max(reached) + room)
        top = len(names) - 1.0
        axes.plot(starts[0], top, "o", color=INK, markersize=5)
        _note(axes, top, points(starts[0]))
        for i, (start, step) in enumerate(zip(starts, steps, strict=True)):
            y = top - 1 - i
            is_sum = i == len(steps) - 1
            axes.vlines(start, y - 0.3, top if is_sum else y + 1, color=INK, linewidth=0.4)
            _bar(axes, y, start, step, alpha=0.4 if is_sum else 0.85)
            _note(axes, y, signed(*step))
        axes.vlines(starts[0] + steps[-1][0], -0.3, 1, color=INK, linewidth=0.4)
        axes.set_yticks([top - i for i in range(len(names))], names)
        axes.set_ylim(-0.5, top + 0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(quantity.unit)
        height = figure.get_figheight()
        left = (0.15 + CHARACTER * max(map(len, names))) / COLUMN
        figure.subplots_adjust(left=left, right=0.67, bottom=0.38 / height, top=0.99)
    changes = ", ".join(
        f"to {view} {signed(*step)}" for view, step in zip(views[1:], steps[:-1], strict=True)
    )
    return Described(
        figure,
        f"{quantity.unit} of {model} on {task}, from {views[0]} ({points(starts[0])}) to "
        f"{views[-1]} ({points(float(table[views[-1]]))}): {changes}; together "
        f"{signed(*steps[-1])}.",
    )


def effects(verdict: Verdict) -> Described:
    """What each claim of a verdict is about, as an effect with its interval, and the outcome.

    Small marks are single tasks, the large one is all of them together; with too few tasks for a
    mean each has a row. The band is what is negligible, a tick across the line is the threshold
    where it is not zero.

    Raises:
        InputError: The run measured none of the claims.
    """
    if not verdict.by_task:
        raise InputError(f"no claim was measured for {verdict.model}: nothing to draw")
    together = {finding.claim: [finding] for finding in verdict.overall}
    findings = [
        finding
        for claim in dict.fromkeys(finding.claim for finding in verdict.by_task)
        for finding in together.get(claim, [f for f in verdict.by_task if f.claim == claim])
    ]
    metrics = " or ".join(dict.fromkeys(f.metric for f in verdict.by_task))
    metrics = metrics.replace("spearman", "Spearman")
    top = len(findings) - 1
    several = len(verdict.tasks) > 1
    labels = [
        f"{f.claim}  {_abridged(f)}" + (f"\n{f.task}" if several and f.n_tasks == 1 else "")
        for f in findings
    ]
    row = 0.05 + 0.13 * max(2, *(1 + label.count("\n") for label in labels))
    with canvas(height=0.5 + row * len(findings)) as (figure, axes):
        axes.axvline(0, color=REFERENCE, linewidth=0.7)
        least = 100 * verdict.smallest_effect
        axes.axvspan(-least, least, color=REFERENCE, alpha=0.15, linewidth=0)
        axes.margins(x=0.08)
        for i, finding in enumerate(findings):
            y = top - i
            colour, marker = _OUTCOMES[finding.outcome]
            alone = [f for f in verdict.by_task if f.claim == finding.claim]
            if len(alone) > 1 and finding.n_tasks > 1:
                x = [100 * f.effect for f in alone]
                axes.plot(x, [y - 0.24] * len(x), "|", color=colour, markersize=4, alpha=0.8)
            axes.hlines(y, 100 * finding.lower, 100 * finding.upper, color=colour, linewidth=1.2)
            axes.plot(100 * finding.effect, y, marker, color=colour, markersize=5)
            if finding.threshold:
                axes.vlines(100 * finding.threshold, y - 0.3, y + 0.3, color=INK, linewidth=0.9)
            _note(axes, y, f"{finding.outcome}\n{_points(finding)}")
        axes.set_ylim(-0.5, top + 0.5)
        axes.set_yticks([top - i for i in range(len(findings))], labels)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"difference of {metrics} × 100")
        height = figure.get_figheight()
        figure.subplots_adjust(left=0.32, right=0.67, bottom=0.38 / height, top=0.99)
    said = "; ".join(f"{f.claim} {_points(f)} {f.outcome}" for f in findings)
    n = len(verdict.tasks)
    over = f"over {n} tasks" if n > 1 else f"on {verdict.tasks[0]}"
    return Described(
        figure,
        f"The effect behind each claim for {verdict.model} {over}, difference of {metrics} × 100 "
        f"with the interval that decides: {said}; within {100 * verdict.smallest_effect:g} either "
        "way (the band) it is negligible.",
    )


def _points(finding: Finding) -> str:
    return signed(100 * finding.effect, 100 * finding.lower, 100 * finding.upper)


def _abridged(finding: Finding) -> str:
    """A contrast in as few words as an axis has room for."""
    words = " −\n".join(sides(finding.view))
    for what in (finding.transform, finding.probe):
        if what not in ("raw", "cosine"):
            words += f"\n{what.replace(' - raw', '')}"
    if finding.trained_on != "all":
        words += f" {finding.trained_on.replace('-', '−')}"
    if is_twin(finding.model):
        words += "\nless random weights"
    return words


_Change = tuple[float, float, float]


def _change(differences: pd.DataFrame, before: str, after: str, value: float) -> _Change:
    """After minus before with the interval of the paired difference, NaN where it is not known."""
    for row in records(differences):
        if row["view"] == f"{after} - {before}":
            return value, row["lower"], row["upper"]
        if row["view"] == f"{before} - {after}":
            return value, -row["upper"], -row["lower"]
    return value, math.nan, math.nan


def _bar(axes: Axes, y: float, start: float, change: _Change, *, alpha: float) -> None:
    """One change as a bar from where it starts, its interval at its end, its size beside it."""
    value, low, high = change
    colour = _OKABE_ITO[6] if value < 0 else _OKABE_ITO[5]
    axes.barh(y, value, left=start, height=0.6, color=colour, alpha=alpha)
    if not math.isnan(low):
        axes.hlines(y, start + low, start + high, color=INK, linewidth=1.0)
        axes.vlines([start + low, start + high], y - 0.12, y + 0.12, color=INK, linewidth=1.0)


def _note(axes: Axes, y: float, text: str) -> None:
    """A number or two lines of text at the right of a row."""
    axes.annotate(
        text,
        (1.03, y),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=6.5,
        linespacing=1.3,
    )


def _telling_views(table: pd.DataFrame) -> list[str]:
    """The best and the last layer of each pooling, from the highest value down."""
    table = table[table["layer"].notna() & table["value"].notna()]
    chosen: dict[str, float] = {}
    for _, rows in table.groupby("pooling", sort=False):
        for column in ("value", "layer"):
            row = records(rows.sort_values(column, kind="stable"))[-1]
            chosen[row["view"]] = row["value"]
    return sorted(chosen, key=lambda view: -chosen[view])
