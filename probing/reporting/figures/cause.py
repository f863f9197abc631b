"""What training does to a pooler: dose by dose, and with bodies and poolers swapped."""

import math
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from scipy.stats import t as student

from probing.errors import InputError
from probing.reporting.figures.drawing import (
    COLUMN,
    PAPER,
    REFERENCE,
    Described,
    apart,
    canvas,
    label_right,
)

_COLOURS: Final = [mpl.color_sequences["okabe_ito"][i] for i in (6, 5, 3, 7, 1, 2)] + ["#8a5a00"]
_MARKERS: Final = "osD^vPX"
_JITTER: Final = 0.012
"""Of the points of a seed, as a share of the axis."""


def dose_response(looks: pd.DataFrame, *, unit: str) -> Described:
    """Two differences of views by dose: a point a seed, the mean of each arm and its interval.

    Args:
        looks: ``panel, arm, seed, dose, value``; a panel is what is drawn over each other, a value
            is in points. Arms and panels come in the order of the rows.
        unit: of the dose, such as ``steps``.

    Raises:
        InputError: there is no look.
    """
    if looks.empty:
        raise InputError("no look at any arm: nothing to draw")
    arms, panels = list(dict.fromkeys(looks["arm"])), list(dict.fromkeys(looks["panel"]))
    doses = sorted(looks["dose"].unique().tolist())
    place = {dose: float(number) for number, dose in enumerate(doses)}
    height = 2.5 * len(panels)
    with canvas(height=height, width=2 * COLUMN) as (figure, first):
        first.remove()
        every = np.atleast_1d(figure.subplots(len(panels), 1, sharex=True))
        figure.subplots_adjust(left=0.09, bottom=0.45 / height, top=1 - 0.25 / height, hspace=0.16)
        for axes, panel in zip(every, panels, strict=True):
            _panel(axes, looks[looks["panel"] == panel], arms, place)
            axes.set_title(panel.replace(" - ", " − "))
            axes.set_ylabel("points")
        for axes in every:
            axes.set_xlim(-0.25, len(doses) - 0.6)
            axes.set_xticks(list(place.values()), [_short(dose) for dose in doses])
        every[-1].set_xlabel(unit)
        for axes, panel in zip(every, panels, strict=True):
            drawn = looks[looks["panel"] == panel]
            label_right(axes, _ends(drawn, arms, place), x=len(doses) - 0.55)
    said = "; ".join(_said(looks[looks["panel"] == panel], arms) for panel in panels)
    return Described(
        figure,
        f"Spearman × 100 by {unit} of training, dots are seeds, lines their means with 95 % "
        f"intervals over seeds. At the last look, {said}.",
    )


def swap(swapped: pd.DataFrame) -> Described:
    """Every body under every pooler: a panel for each sentence loss, a line for each body.

    Args:
        swapped: ``loss, body, pooler, seed, value`` in points of ``pooler − cls``; two bodies, two
            poolers (``start``, ``trained``).

    Raises:
        InputError: there is no swap.
    """
    if swapped.empty:
        raise InputError("no seed with both of its arms finished: nothing to swap")
    losses = list(dict.fromkeys(swapped["loss"]))
    poolers = list(dict.fromkeys(swapped["pooler"]))
    said: list[str] = []
    labels: list[tuple[Axes, dict[str, float]]] = []
    with canvas(height=2.4, width=COLUMN * max(1.2, len(losses))) as (figure, first):
        first.remove()
        every = np.atleast_1d(figure.subplots(1, len(losses), sharey=True))
        figure.subplots_adjust(left=0.11, bottom=0.16, top=0.9, right=0.86, wspace=0.55)
        for axes, loss in zip(every, losses, strict=True):
            mine = swapped[swapped["loss"] == loss]
            ends: dict[str, float] = {}
            told = []
            for number, body in enumerate(dict.fromkeys(mine["body"])):
                colour, marker = _COLOURS[number], _MARKERS[number]
                means = []
                for x, pooler in enumerate(poolers):
                    cell = mine[(mine["body"] == body) & (mine["pooler"] == pooler)]
                    _cell(axes, x + 0.06 * (number - 0.5), cell["value"], colour, marker)
                    means.append(float(cell["value"].mean()))
                    told.append(f"{body} body, {pooler} pooler {_points(means[-1])}")
                axes.plot(range(len(poolers)), means, color=colour, linewidth=1)
                ends[f"{body} body"] = means[-1]
            labels.append((axes, ends))
            said.append(f"{loss}: {', '.join(told)}")
            axes.axhline(0, color=REFERENCE, linewidth=0.6, zorder=0)
            axes.set_xticks(range(len(poolers)), [f"{pooler} pooler" for pooler in poolers])
            axes.set_xlim(-0.3, len(poolers) - 0.7)
            axes.set_title(loss)
        every[0].set_ylabel("pooler − cls (points)")
        for axes, ends in labels:
            _name_ends(axes, ends, len(poolers) - 1)
    return Described(
        figure,
        "pooler − cls with bodies and poolers swapped, dots are seeds, bars 95 % intervals over "
        f"seeds: {'; '.join(said)}.",
    )


def _name_ends(axes: Axes, ends: dict[str, float], x: float) -> None:
    """Names beside the ends of lines, pushed apart."""
    low, high = axes.get_ylim()
    order = sorted(ends, key=lambda name: ends[name])
    places = apart([ends[name] for name in order], 0.06 * (high - low), low, high)
    for name, place in zip(order, places, strict=True):
        put: dict[str, Any] = {"textcoords": "offset points", "annotation_clip": False}
        axes.annotate(name, (x, place), (8, 0), va="center", fontsize=7, **put)


def _panel(axes: Axes, drawn: pd.DataFrame, arms: Sequence[str], place: dict[int, float]) -> None:
    axes.axhline(0, color=REFERENCE, linewidth=0.6, zorder=0)
    spread = _JITTER * len(place)
    for number, arm in enumerate(arms):
        colour, marker = _style(number)
        shift = spread * (number - (len(arms) - 1) / 2)
        means = []
        for dose, values in drawn[drawn["arm"] == arm].groupby("dose")["value"]:
            x = place[int(str(dose))] + shift
            _cell(axes, x, values, colour, marker)
            means.append((x, float(values.mean())))
        if means:
            axes.plot(*zip(*means, strict=True), color=colour, linewidth=1, zorder=2)


def _cell(axes: Axes, x: float, values: "pd.Series[float]", colour: Any, marker: str) -> None:
    """Dots for the seeds, a mark for their mean, a bar for its interval."""
    found = values.to_numpy(dtype=np.float64)
    dots: dict[str, Any] = {"color": colour, "alpha": 0.35, "linewidth": 0, "markersize": 2}
    axes.plot(np.full(len(found), x), found, marker="o", zorder=1, **dots)
    mean = float(found.mean())
    half = _half(found)
    if not math.isnan(half):
        axes.vlines([x], mean - half, mean + half, color=colour, linewidth=0.9, zorder=2)
    axes.plot([x], [mean], color=colour, marker=marker, markeredgecolor=PAPER, zorder=3)


def _half(found: npt.NDArray[np.floating[Any]]) -> float:
    """Half of Student's 95 % interval of a mean; NaN for one number."""
    if len(found) < 2:
        return math.nan
    error = float(found.std(ddof=1)) / math.sqrt(len(found))
    return float(student.isf(0.025, len(found) - 1)) * error


def _ends(
    drawn: pd.DataFrame, arms: Sequence[str], place: dict[int, float]
) -> list[tuple[float, float, str, Any]]:
    ends = []
    for number, arm in enumerate(arms):
        mine = drawn[drawn["arm"] == arm]
        if len(mine):
            dose = int(mine["dose"].max())
            mean = float(mine.loc[mine["dose"] == dose, "value"].mean())
            ends.append((place[dose] + 0.08, mean, arm, _style(number)[0]))
    return ends


def _style(number: int) -> tuple[Any, str]:
    return _COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)]


def _said(drawn: pd.DataFrame, arms: Sequence[str]) -> str:
    panel = str(drawn["panel"].iloc[0]).replace(" - ", " − ")
    last = {}
    for arm in arms:
        mine = drawn[drawn["arm"] == arm]
        if len(mine):
            last[arm] = float(mine.loc[mine["dose"] == mine["dose"].max(), "value"].mean())
    return f"{panel}: " + ", ".join(f"{arm} {_points(value)}" for arm, value in last.items())


def _points(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _short(dose: float) -> str:
    """``250000`` as ``250k``."""
    for size, letter in ((1_000_000, "M"), (1000, "k")):
        if dose >= size:
            return f"{dose / size:g}{letter}"
    return f"{dose:g}"
