"""Curves: numbers by layer."""

import math
from dataclasses import replace
from typing import Any, Final

import matplotlib as mpl
import pandas as pd

from probing.errors import InputError
from probing.reporting.figures.drawing import (
    PAPER,
    POOLER,
    REFERENCE,
    Described,
    canvas,
    in_order,
    label_right,
    layer_ticks,
    mark,
)
from probing.results.names import twin_name
from probing.results.quantities import (
    ACCURACY,
    SIMILARITY,
    Quantity,
    best_row,
    floors,
    points,
    select,
    with_interval,
    written,
)

_PROBE_COLOURS: Final = [mpl.color_sequences["okabe_ito"][i] for i in (5, 6, 3, 7, 1)]


def layer_curves(
    scores: pd.DataFrame, *, model: str, task: str, quantity: Quantity = SIMILARITY
) -> Described:
    """Each pooling by layer with its 95 % interval, the pooler beside the last layer.

    References: the random-weight twin, of which the highest pooling of each layer is drawn, and the
    floors of the task.

    Args:
        scores: The results table.
        model: One of its models.
        task: One of its tasks.
        quantity: What is drawn.

    Raises:
        InputError: The table has no such rows.
    """
    table = select(scores, quantity, model=model, task=task)
    table = table[table["layer"].notna()]
    last = int(table["layer"].max())
    step = max(last, 4) / 14
    references = floors(scores, quantity, task=task, model=model)
    random = _random_reference(scores, quantity, model=model, task=task)
    with canvas(height=2.7) as (figure, axes):
        figure.subplots_adjust(left=0.13, bottom=0.14, top=0.965)
        ends: list[tuple[float, float, str, Any]] = []
        beside = 0
        for pooling in in_order(table["pooling"]):
            rows = table[table["pooling"] == pooling].sort_values("layer")
            colour, marker = mark(pooling)
            x = rows["layer"].to_numpy(dtype=float)
            y = rows["value"].to_numpy(dtype=float)
            if pooling in POOLER:
                beside += 1
                x = x + step * (beside + 0.2)
                axes.vlines(x, rows["lower"], rows["upper"], color=colour, linewidth=0.9)
            else:
                axes.fill_between(
                    x, rows["lower"], rows["upper"], color=colour, alpha=0.13, linewidth=0
                )
            axes.plot(
                x,
                y,
                color=colour,
                marker=marker,
                markersize=5 if pooling in POOLER else None,
                markeredgecolor=PAPER,
                markeredgewidth=0.4,
            )
            if not math.isnan(y[-1]):
                ends.append((float(x[-1]), float(y[-1]), pooling, colour))
        right = last + step * (beside + 0.7)
        if random is not None:
            axes.plot(random.index, random, color=REFERENCE, linestyle=(0, (4, 2)))
            ends.append((last, float(random.iloc[-1]), "random weights", REFERENCE))
        for name, value in references.items():
            axes.axhline(value, color=REFERENCE, linestyle=(0, (1, 1.5)), linewidth=0.9)
            ends.append((right, value, f"floor: {name}", REFERENCE))
        axes.set_xlim(-0.25, right)
        axes.set_xticks(layer_ticks(last))
        axes.set_xlabel("layer (0: embeddings)")
        axes.set_ylabel(quantity.unit)
        label_right(axes, ends, x=right + 0.55 * step)
    sentence = f"{quantity} of {model} on {task} by layer"
    if table["lower"].notna().any():
        sentence += ", bands and bars are 95 % intervals"
    best = best_row(table)
    if best is not None:
        sentence += f": the highest is {best['view']}, {with_interval(best, quantity.digits)}"
    if random is not None:
        sentence += "; random weights (dashed, highest pooling of each layer) reach "
        sentence += points(float(random.max()), quantity.digits)
    for name, value in references.items():
        sentence += f"; the floor {name} (dotted) {written(value, digits=quantity.digits)}"
    return Described(figure, sentence + ".")


def selectivity(
    scores: pd.DataFrame,
    *,
    model: str,
    task: str,
    pooling: str = "mean",
    quantity: Quantity = ACCURACY,
) -> Described:
    """What each probe reaches on the real and on the control labels, by layer; the gap is shaded.

    Selectivity is real minus control (Hewitt & Liang 2019).

    Args:
        scores: The results table.
        model: One of its models.
        task: One of its tasks.
        pooling: Pooling of the layers.
        quantity: What is drawn, apart from probe and labels.

    Raises:
        InputError: The table has no probe with both real and control labels here.
    """
    pairs = {
        probe: _real_and_control(scores, quantity, probe, model, task, pooling)
        for probe in scores["probe"].unique()
    }
    gaps = {str(probe): pair for probe, pair in pairs.items() if pair is not None}
    if not gaps:
        raise InputError(
            f"no probe of {model} on {task} under {pooling} with real and control labels in this "
            "table: run with --controls"
        )
    with canvas(height=2.5) as (figure, axes):
        figure.subplots_adjust(left=0.13, bottom=0.15, top=0.965)
        ends: list[tuple[float, float, str, Any]] = []
        last = 0.0
        for (probe, (real, control)), colour, marker in zip(
            gaps.items(), _PROBE_COLOURS, "osD^v", strict=False
        ):
            last = max(last, float(real.index[-1]))
            axes.fill_between(real.index, control, real, color=colour, alpha=0.1, linewidth=0)
            for labels, line, style in (("real", real, "-"), ("control", control, (0, (4, 2)))):
                axes.plot(
                    line.index,
                    line,
                    color=colour,
                    marker=marker,
                    linestyle=style,
                    markerfacecolor=colour if labels == "real" else PAPER,
                )
                end = (float(line.index[-1]), float(line.iloc[-1]))
                ends.append((*end, f"{probe}, {labels}", colour))
        axes.set_xticks(layer_ticks(int(last)))
        axes.set_xlabel("layer (0: embeddings)")
        axes.set_ylabel(quantity.unit)
        label_right(axes, ends, x=last * 1.12)
    widest = []
    for probe, (real, control) in gaps.items():
        gap = (real - control).dropna()
        if len(gap):
            widest.append(f"{probe} {points(gap.max())} at layer {gap.idxmax()}")
    return Described(
        figure,
        f"{quantity.unit} of {model} on {task} under {pooling}, real labels (solid) and control "
        f"labels (dashed); the gap is the selectivity, at its widest {', '.join(widest)}.",
    )


def _real_and_control(
    scores: pd.DataFrame, quantity: Quantity, probe: str, model: str, task: str, pooling: str
) -> "tuple[pd.Series[float], pd.Series[float]] | None":
    """Layer → value on real and on control labels; None where either was not measured."""
    found: list[pd.Series[float]] = []
    for labels in ("real", "control"):
        chosen = replace(quantity, probe=str(probe), labels=labels)
        try:
            table = select(scores, chosen, model=model, task=task)
        except InputError:
            return None
        table = table[(table["pooling"] == pooling) & table["layer"].notna()]
        if table.empty:
            return None
        found.append(table.set_index(table["layer"].astype(int))["value"].sort_index())
    return found[0], found[1]


def _random_reference(
    scores: pd.DataFrame, quantity: Quantity, *, model: str, task: str
) -> "pd.Series[float] | None":
    """Layer → the highest value of any pooling of the random-weight twin: the bar to clear."""
    try:
        table = select(scores, quantity, model=twin_name(model), task=task)
    except InputError:
        return None
    highest = table[table["layer"].notna()].groupby("layer")["value"].max().dropna()
    return highest if len(highest) else None
