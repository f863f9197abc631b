"""Learning curves: what each head reaches by the number of training items."""

import math
from typing import Any, Final

import pandas as pd

from probing.errors import InputError
from probing.reporting.figures.drawing import (
    PAPER,
    REFERENCE,
    Described,
    canvas,
    in_order,
    label_right,
    mark,
)
from probing.results.names import floor_name
from probing.results.quantities import Quantity, records, training_items, with_interval

_STYLES: Final = {"finetuned": "-", "finetuned-frozen": (0, (4, 2))}
_NAMES: Final = {"finetuned": "", "finetuned-frozen": " frozen"}
_OFFSET: Final = 0.09
"""Between heads at one training size, in steps from one size to the next."""


def learning_rows(scores: pd.DataFrame, *, model: str, task: str) -> pd.DataFrame:
    """Means over seeds of a fine-tuned model on a task, scaled to be shown.

    Returns:
        Columns ``trained_on, pooling, probe, metric, value, lower, upper``; empty where nothing was
        fine-tuned.
    """
    rows = scores[
        (scores["model"] == model)
        & (scores["task"] == task)
        & scores["probe"].isin(list(_STYLES))
        & (scores["aggregation"] == "seeds")
    ]
    columns = ["trained_on", "pooling", "probe", "metric", "value", "lower", "upper"]
    table = rows[columns].reset_index(drop=True)
    table[["value", "lower", "upper"]] *= 100
    return table


def learning_curves(scores: pd.DataFrame, *, model: str, task: str) -> Described:
    """Each head by training size with its 95 % interval; the frozen encoder dashed.

    The intervals carry the chance of the test items and that of the seeds.

    Args:
        scores: The results table.
        model: One of its models.
        task: One of its tasks.

    Raises:
        InputError: Nothing was fine-tuned here.
    """
    table = learning_rows(scores, model=model, task=task)
    if table.empty:
        raise InputError(
            f"{model} was not fine-tuned on {task} in this table: run probing finetune"
        )
    quantity = Quantity(metric=str(table["metric"].iloc[0]))
    sizes = sorted(table["trained_on"].unique(), key=training_items)
    heads = in_order(table["pooling"])
    with canvas(height=2.7) as (figure, axes):
        figure.subplots_adjust(left=0.14, bottom=0.15, top=0.965)
        ends: list[tuple[float, float, str, Any]] = []
        for probe, style in _STYLES.items():
            for number, head in enumerate(heads):
                rows = table[(table["pooling"] == head) & (table["probe"] == probe)]
                rows = rows.set_index("trained_on").reindex(sizes)
                if rows["value"].isna().all():
                    continue
                colour, marker = mark(head)
                x = [i + _OFFSET * (number - (len(heads) - 1) / 2) for i in range(len(sizes))]
                axes.vlines(x, rows["lower"], rows["upper"], color=colour, linewidth=0.8)
                axes.plot(
                    x,
                    rows["value"],
                    color=colour,
                    marker=marker,
                    linestyle=style,
                    markerfacecolor=colour if probe == "finetuned" else PAPER,
                    markeredgecolor=PAPER if probe == "finetuned" else colour,
                    markeredgewidth=0.4 if probe == "finetuned" else 0.7,
                )
                last = float(rows["value"].iloc[-1])
                if not math.isnan(last):
                    ends.append((x[-1], last, head + _NAMES[probe], colour))
        majority = scores[
            (scores["model"] == floor_name("majority"))
            & (scores["task"] == task)
            & (scores["metric"] == quantity.metric)
        ]
        for share in majority["value"].to_list()[:1]:
            axes.axhline(100 * share, color=REFERENCE, linewidth=0.7)
            ends.append((float(len(sizes) - 1), 100 * share, "majority", REFERENCE))
        right = len(sizes) - 1 + _OFFSET * len(heads) / 2 + 0.05
        axes.set_xlim(-0.3, right)
        axes.set_xticks(range(len(sizes)), sizes)
        axes.set_xlabel("training items")
        axes.set_ylabel(quantity.unit)
        label_right(axes, ends, x=right + 0.08 * max(len(sizes) - 1, 1))
    said = []
    for size in dict.fromkeys((sizes[0], sizes[-1])):
        part = table[(table["trained_on"] == size) & (table["probe"] == table["probe"].iloc[0])]
        numbers = ", ".join(f"{row['pooling']} {with_interval(row)}" for row in records(part))
        said.append(f"on {size} items {numbers}")
    dashes = "; dashed with the encoder frozen" if len(table["probe"].unique()) > 1 else ""
    kind = "fine-tuned" if table["probe"].iloc[0] == "finetuned" else "with the encoder frozen"
    return Described(
        figure,
        f"{quantity.unit} of {model} on {task} by training items, {kind} under each head, mean "
        f"over seeds with 95 % intervals over test items and seeds{dashes}: {'; '.join(said)}.",
    )
