"""Encoders beside each other: how they were trained, and what each reaches by layer."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
import pandas as pd

from probing.errors import InputError
from probing.reporting.figures.drawing import (
    CHARACTER,
    COLUMN,
    PAPER,
    REFERENCE,
    Described,
    canvas,
    label_right,
    layer_ticks,
)
from probing.results.quantities import SIMILARITY, Quantity, best_row, points, select

_COLOURS: Final = [mpl.color_sequences["okabe_ito"][i] for i in (6, 5, 3, 7, 1)]
_MARKERS: Final = "osD^v"
_LEARNT: Final[Mapping[str, tuple[str, str, float]]] = {
    "held_out_mlm_loss": ("MLM loss", "held-out MLM loss (nats)", 1.0),
    "held_out_sentence_accuracy": ("accuracy", "next sentence accuracy (%)", 100.0),
}
"""Column of a training log → its short name, its name on an axis, and its scale."""
_CURVES: Final = 2.6
"""Inches for the curves, left of the names."""
_STYLES: Final = {"mean": "-", "cls": (0, (4, 2))}


def training_curves(
    logs: Mapping[str, pd.DataFrame], *, column: str = "held_out_mlm_loss"
) -> Described:
    """What pre-training runs reach on held-out documents, by tokens seen.

    Args:
        logs: Name of each run → its training log (``training_log.parquet``).
        column: ``held_out_mlm_loss`` or ``held_out_sentence_accuracy``; a run that has no number
            there is not drawn.

    Raises:
        InputError: No run has numbers in this column.
    """
    short, unit, scale = _LEARNT[column]
    drawn = {name: log.dropna(subset=[column]) for name, log in logs.items()}
    drawn = {name: log for name, log in drawn.items() if len(log)}
    if not drawn:
        raise InputError(f"no run of {', '.join(logs) or 'none'} has a {column}")
    with canvas(height=2.3) as (figure, axes):
        figure.subplots_adjust(left=0.16, bottom=0.17, top=0.965)
        ends: list[tuple[float, float, str, Any]] = []
        for name, colour, marker in zip(
            logs, _cycled(_COLOURS, len(logs)), _cycled(_MARKERS, len(logs)), strict=True
        ):
            if name not in drawn:
                continue
            log = drawn[name]
            x, y = log["tokens"] / 1e6, log[column] * scale
            axes.plot(x, y, color=colour, marker=marker, markeredgecolor=PAPER)
            ends.append((float(x.iloc[-1]), float(y.iloc[-1]), name, colour))
        if column == "held_out_sentence_accuracy":
            axes.axhline(50, color=REFERENCE, linestyle=(0, (1, 1.5)), linewidth=0.9)
            ends.append((max(end[0] for end in ends), 50.0, "chance", REFERENCE))
        axes.set_xlabel("tokens seen (millions)")
        axes.set_ylabel(unit)
        right = axes.get_xlim()[1]
        axes.set_xlim(0, right)
        label_right(axes, ends, x=right * 1.03)
    said = ", ".join(f"{name} {log[column].iloc[-1] * scale:.4g}" for name, log in drawn.items())
    return Described(figure, f"{unit} by tokens seen; {short} at the end: {said}.")


def model_curves(
    scores: pd.DataFrame, *, models: Sequence[str], task: str, quantity: Quantity = SIMILARITY
) -> Described:
    """Mean pooling and ``[CLS]`` of several models by layer, their poolers beside the last layer.

    Args:
        scores: The results table.
        models: Some of its models.
        task: One of its tasks.
        quantity: What is drawn.

    Raises:
        InputError: The table has no such rows of one of the models.
    """
    said: list[str] = []
    longest = max((len(f"{model} pooler") for model in models), default=0)
    width = max(COLUMN, _CURVES + CHARACTER * longest)
    with canvas(height=2.7, width=width) as (figure, axes):
        figure.subplots_adjust(left=0.13, bottom=0.14, top=0.965)
        ends: list[tuple[float, float, str, Any]] = []
        deepest, right = 0, 0.0
        for number, (model, colour, marker) in enumerate(
            zip(models, _cycled(_COLOURS, len(models)), _cycled(_MARKERS, len(models)), strict=True)
        ):
            table = select(scores, quantity, model=model, task=task)
            table = table[table["layer"].notna()]
            last = int(table["layer"].max())
            for pooling, style in _STYLES.items():
                rows = table[table["pooling"] == pooling].sort_values("layer")
                x, y = rows["layer"].to_numpy(dtype=float), rows["value"].to_numpy(dtype=float)
                axes.fill_between(
                    x, rows["lower"], rows["upper"], color=colour, alpha=0.1, linewidth=0
                )
                axes.plot(x, y, color=colour, linestyle=style, marker=marker)
                if not math.isnan(y[-1]):
                    ends.append((last, float(y[-1]), f"{model} {pooling}", colour))
            for row in table[table["pooling"] == "pooler"].to_dict("records"):
                x_pooler = last + 0.25 + 0.15 * number
                axes.vlines([x_pooler], row["lower"], row["upper"], color=colour, linewidth=0.9)
                axes.plot([x_pooler], [row["value"]], color=colour, marker="P", markersize=5)
                ends.append((x_pooler, float(row["value"]), f"{model} pooler", colour))
            deepest = max(deepest, last)
            right = max(right, last + 0.4 + 0.15 * len(models))
            best = best_row(table)
            if best is not None:
                said.append(f"{model} {best['view']} {points(best['value'], quantity.digits)}")
        axes.set_xlim(-0.25, right)
        axes.set_xticks(layer_ticks(deepest))
        axes.set_xlabel("layer (0: embeddings)")
        axes.set_ylabel(quantity.unit)
        label_right(axes, ends, x=right + 0.2)
    return Described(
        figure,
        f"{quantity} on {task} by layer, mean pooling solid, [CLS] dashed, the pooler beside the "
        f"last layer, bands and bars are 95 % intervals: highest {', '.join(said)}.",
    )


def _cycled(values: Sequence[Any], count: int) -> list[Any]:
    return [values[place % len(values)] for place in range(count)]
