"""Maps: a number in each cell, coloured by it."""

import math
from collections.abc import Sequence
from typing import Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from probing.errors import InputError
from probing.reporting.figures.drawing import (
    CHARACTER,
    COLUMN,
    INK,
    PAPER,
    POOLER,
    REFERENCE,
    Described,
    apart,
    canvas,
    contrasting,
    in_order,
)
from probing.results.quantities import (
    SIMILARITY,
    Quantity,
    best_row,
    points,
    records,
    select,
    with_interval,
)

_CIVIDIS: Final = mpl.colormaps["cividis"]
_GAP: Final = 0.35
"""Between what every layer has and the pooler beside it, in cells."""
_LOWEST_BAR: Final = 4
"""Layers that a colour bar below the pooler needs."""
_LONG_UNIT: Final = 18
"""Characters; a longer unit takes two lines beside a colour bar."""
_CELL_HEIGHT: Final = 0.21
_CELL_WIDTH: Final = 0.36
"""Inches."""


def heat_map(
    scores: pd.DataFrame, *, model: str, task: str, quantity: Quantity = SIMILARITY
) -> Described:
    """Layers × poolings, the pooler beside them, the best view framed.

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
    poolings = in_order(table["pooling"])
    per_layer = [pooling for pooling in poolings if pooling not in POOLER]
    beside = [pooling for pooling in poolings if pooling in POOLER]
    columns = _columns(per_layer, beside)
    layers = sorted({int(layer) for layer in table["layer"]})
    best = best_row(table)
    norm = _norm(table["value"])
    with canvas(height=max(1.3, 0.6 + _CELL_HEIGHT * len(layers))) as (figure, axes):
        for row in records(table):
            framed = best is not None and row["view"] == best["view"]
            corner = (columns[row["pooling"]], float(row["layer"]))
            _cell(axes, *corner, row["value"], norm, frame=framed, digits=quantity.digits)
        _grid(axes, columns, {str(layer): float(layer) for layer in layers})
        axes.set_ylabel("layer (0: embeddings)" if len(layers) > _LOWEST_BAR else "layer")
        right = 0.99 if beside and len(layers) >= _LOWEST_BAR else 0.79
        figure.subplots_adjust(left=0.11, right=right, bottom=0.02, top=_below(figure, 0.4))
        _colour_bar(figure, axes, norm, quantity.unit, beside=len(beside), height=len(layers))
    sentence = f"{quantity} of {model} on {task}, layer by pooling: "
    if best is None:
        sentence += "undefined everywhere."
    else:
        pooler = records(table[table["pooling"] == "pooler"])
        parts = [f"the highest is {best['view']}, {with_interval(best, quantity.digits)}"]
        parts += [
            f"pooler_output ({row['view']}) {with_interval(row, quantity.digits)}" for row in pooler
        ]
        sentence += ", ".join(parts) + "."
    undefined = [str(view) for view in table.loc[table["value"].isna(), "view"]]
    if undefined:
        sentence += f" Undefined (NaN): {', '.join(undefined)}."
    return Described(figure, sentence)


def task_map(
    scores: pd.DataFrame,
    *,
    model: str,
    tasks: Sequence[str],
    pooling: str = "mean",
    quantity: Quantity = SIMILARITY,
) -> Described:
    """Tasks × layers under one pooling, the pooler beside them, the best of each row framed.

    Each row has its own colours, from its lowest value to its highest: tasks differ in what chance
    and what perfection are.

    Args:
        scores: The results table.
        model: One of its models.
        tasks: Which of its tasks, from top to bottom.
        pooling: Pooling of the layers.
        quantity: What is drawn.

    Raises:
        InputError: The table has no such rows, or no task was asked for.
    """
    if not tasks:
        raise InputError("no task was asked for: expected at least one for a map of tasks")
    tables = {task: select(scores, quantity, model=model, task=task) for task in tasks}
    views: dict[str, str] = {}
    for row in records(pd.concat(tables.values())):
        if row["pooling"] == pooling and not pd.isna(row["layer"]):
            views[row["view"]] = str(int(row["layer"]))
    if not views:
        raise InputError(f"no layer of {model} under the pooling {pooling} in this table")
    views = dict(sorted(views.items(), key=lambda item: int(item[1])))
    found = {str(row["view"]) for table in tables.values() for row in records(table)}
    beside = {f"{name}@{list(views.values())[-1]}": name for name in POOLER}
    beside = {view: name for view, name in beside.items() if view in found}
    columns = _columns([*views.values()], [*beside.values()])
    places = {view: columns[name] for view, name in (views | beside).items()}
    prefix = _shared_prefix(tasks)
    rows = {task: float(len(tasks) - 1 - i) for i, task in enumerate(tasks)}
    left = 0.15 + CHARACTER * max(len(task) - len(prefix) for task in tasks)
    width = max(COLUMN, left + _CELL_WIDTH * (max(columns.values()) + 1))
    peaks: list[str] = []
    with canvas(height=0.6 + _CELL_HEIGHT * len(tasks), width=width) as (figure, axes):
        for task, table in tables.items():
            table = table[table["view"].isin(list(places))]
            best = best_row(table)
            norm = _norm(table["value"])
            for row in records(table):
                framed = best is not None and row["view"] == best["view"]
                corner = (places[row["view"]], rows[task])
                _cell(axes, *corner, row["value"], norm, frame=framed, digits=quantity.digits)
            if best is not None:
                peaks.append(f"{task} {best['view']} {points(best['value'], quantity.digits)}")
        _grid(axes, columns, {task.removeprefix(prefix): y for task, y in rows.items()})
        axes.tick_params(axis="x", labelsize=6.5)
        title = f"{quantity.unit} by layer under {pooling} (0: embeddings)"
        figure.text(0.01, 1 - 0.04 / figure.get_figheight(), title, va="top")
        figure.subplots_adjust(left=left / width, right=0.99, bottom=0.02, top=_below(figure, 0.55))
    return Described(
        figure,
        f"{quantity} of {model} by layer under {pooling} and of the pooler, each row coloured from "
        f"its lowest to its highest; peaks: {', '.join(peaks)}.",
    )


def cka_map(
    scores: pd.DataFrame,
    *,
    model: str,
    poolings: Sequence[str] = ("cls", "mean", "pooler_dense", "pooler"),
) -> Described:
    """Linear CKA between every two views: how alike the clouds of sentences are that they see.

    Args:
        scores: The results table.
        model: One of its models.
        poolings: Whose views are drawn, in this order, by layer.

    Raises:
        InputError: The table has no such rows.
    """
    rows = scores[(scores["model"] == model) & (scores["metric"] == "cka")]
    alike: dict[tuple[str, str], float] = {}
    for row in records(rows):
        one, _, other = row["view"].partition(" & ")
        alike[one, other] = alike[other, one] = row["value"]
    found = dict.fromkeys(view for pair in alike for view in pair)
    defined = {pair[0] for pair, value in alike.items() if not math.isnan(value)}
    layer_of = {view: int(view.rpartition("@")[2]) for view in found if view in defined}
    views = [
        view
        for pooling in poolings
        for view in sorted(layer_of, key=lambda view: layer_of[view])
        if view.startswith(f"{pooling}@")
    ]
    if len(views) < 2:
        raise InputError(f"no CKA between views of {model} under {', '.join(poolings)} here")
    matrix = np.array([[alike.get((a, b), 1.0) for b in views] for a in views])
    with canvas(height=0.6 * COLUMN) as (figure, axes):
        image = axes.imshow(matrix, cmap=_CIVIDIS, vmin=0, vmax=1, interpolation="nearest")
        names = [pooling for pooling in poolings if any(v.startswith(f"{pooling}@") for v in views)]
        counts = [sum(view.startswith(f"{name}@") for view in views) for name in names]
        ends = np.cumsum(counts)
        for end in ends[:-1]:
            axes.axhline(end - 0.5, color=PAPER, linewidth=1.2)
            axes.axvline(end - 0.5, color=PAPER, linewidth=1.2)
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.set_yticks(range(len(views)), [view.rpartition("@")[2] for view in views])
        axes.tick_params(labelsize=min(7.0, 120 / len(views)))
        axes.spines[:].set_visible(False)
        middles = ends - np.array(counts) / 2 - 0.5
        height = figure.get_figheight() * 72
        places = apart(middles.tolist(), 9 * len(views) / height, -0.5, len(views) - 0.5)
        for name, place in zip(names, places, strict=True):
            axes.annotate(
                name,
                (-0.09, place),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="center",
                annotation_clip=False,
            )
        figure.subplots_adjust(left=0.29, right=0.84, bottom=0.02, top=0.98)
        bar = figure.add_axes((0.865, 0.2, 0.022, 0.6))
        figure.colorbar(image, cax=bar)
        bar.tick_params(length=2, width=0.5, labelsize=6.5)
        bar.set_ylabel("linear CKA", fontsize=6.5)
        bar.spines[:].set_visible(False)
    below = np.tril_indices(len(views), -1)
    least = int(np.nanargmin(matrix[below]))
    one, other = views[below[1][least]], views[below[0][least]]
    parts = [f"least alike are {one} and {other} ({points(matrix[below][least], 2)})"]
    last = max(layer_of.values())
    for one, other in ((f"cls@{last}", f"pooler@{last}"), (f"mean@{last}", f"pooler@{last}")):
        if one in views and other in views:
            parts.append(f"{one} and {other} {points(alike[one, other], 2)}")
    return Described(
        figure,
        f"Linear CKA between views of {model}, columns in the order of the rows, 1 where two see "
        f"the same cloud up to rotation and scale: {', '.join(parts)}.",
    )


def attention_map(weights: ArrayLike, tokens: Sequence[str]) -> Described:
    """Where one position looks, by layer.

    Args:
        weights: ``(n_layers, n_tokens)`` float, shares of attention in [0, 1]: row i is of block
            i + 1, the mean over its heads.
        tokens: n_tokens word pieces.

    >>> probing.attention_map([[0.5, 0.5], [0.9, 0.1]], ["[CLS]", "cat"]).sentence != ""
    True
    """
    shares = np.asarray(weights, dtype=np.float64)
    if shares.ndim != 2 or shares.shape[1] != len(tokens):
        raise InputError(
            f"attention of shape {shares.shape} for {len(tokens)} tokens: expected a row for each "
            "layer with a share for each token"
        )
    norm = Normalize(0.0, 100 * float(shares.max()))
    width = max(COLUMN, 0.6 + 0.36 * len(tokens))
    with canvas(height=0.78 + _CELL_HEIGHT * len(shares), width=width) as (figure, axes):
        for (i, j), share in np.ndenumerate(shares):
            _cell(axes, j, i + 1, 100 * share, norm, digits=0)
        _grid(
            axes,
            {f"{j}": float(j) for j in range(len(tokens))},
            {str(i + 1): float(i + 1) for i in range(len(shares))},
        )
        axes.set_xticklabels(tokens, rotation=40, ha="left", rotation_mode="anchor")
        axes.set_ylabel("layer")
        axes.set_xlabel("attention of the first position (%)")
        axes.xaxis.set_label_position("top")
        figure.subplots_adjust(
            left=0.4 / width, right=1 - 0.35 / width, bottom=0.02, top=_below(figure, 0.68)
        )
    strongest = [
        f"layer {i + 1} {tokens[int(row.argmax())]} {points(100 * float(row.max()), 0)}"
        for i, row in enumerate(shares)
    ]
    return Described(
        figure,
        "Share of its attention, in %, that the first position pays to each token, mean over the "
        f"heads; the most in {', '.join(strongest)}.",
    )


def _shared_prefix(tasks: Sequence[str]) -> str:
    """Such as ``ewt:`` where all tasks are of that kind, else nothing."""
    prefixes = {task[: task.find(":") + 1] for task in tasks}
    return prefixes.pop() if len(prefixes) == 1 else ""


def _columns(per_layer: Sequence[str], beside: Sequence[str]) -> dict[str, float]:
    """Name → left edge of its column, with a gap before the pooler."""
    columns = {name: float(i) for i, name in enumerate(per_layer)}
    return columns | {name: len(per_layer) + _GAP + i for i, name in enumerate(beside)}


def _grid(axes: Axes, columns: dict[str, float], rows: dict[str, float]) -> None:
    """Limits and names of a map: columns named at the top, rows at the left."""
    axes.set_xlim(-0.05, max(columns.values()) + 1.05)
    axes.set_ylim(min(rows.values()) - 0.08, max(rows.values()) + 1.08)
    axes.set_xticks(
        [place + 0.5 for place in columns.values()], [name.replace("_", "\n") for name in columns]
    )
    axes.set_yticks([place + 0.5 for place in rows.values()], list(rows))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.xaxis.tick_top()


def _cell(
    axes: Axes,
    x: float,
    y: float,
    value: float,
    norm: Normalize,
    *,
    frame: bool = False,
    digits: int = 1,
) -> None:
    """One cell, its lower left corner at (x, y), with its number; hatched where undefined."""
    centre = (x + 0.5, y + 0.47)
    if math.isnan(value):
        axes.add_patch(
            Rectangle(
                (x + 0.04, y + 0.06),
                0.92,
                0.88,
                facecolor="none",
                edgecolor=REFERENCE,
                linewidth=0.4,
                hatch="////",
            )
        )
        behind = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8}
        axes.text(*centre, "NaN", ha="center", va="center", fontsize=6.5, bbox=behind)
        return
    colour = _CIVIDIS(norm(value))
    axes.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, edgecolor=PAPER, linewidth=0.8))
    if frame:
        axes.add_patch(
            Rectangle((x, y), 1, 1, facecolor="none", edgecolor=INK, linewidth=1.4, zorder=3)
        )
    axes.text(
        *centre,
        points(value, digits),
        ha="center",
        va="center",
        fontsize=7,
        color=contrasting(colour),
        fontweight="bold" if frame else "normal",
    )


def _colour_bar(
    figure: Figure, axes: Axes, norm: Normalize, unit: str, *, beside: int, height: int
) -> None:
    """The scale: in the empty place below the pooler where there is room, else at the right."""
    box = axes.get_position()
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    below = beside and height >= _LOWEST_BAR
    left, top = box.x1 + 0.02, box.y1
    wrapped = unit.replace(" (", "\n(") if len(unit) > _LONG_UNIT else unit
    if below:
        left = box.x0 + box.width * (x1 - 0.05 - beside + 0.1 - x0) / (x1 - x0)
        top = box.y0 + box.height * (min(height - 2.0 - 0.6 * wrapped.count("\n"), 7.5) + 0.08) / (
            y1 - y0
        )
    bar = figure.add_axes((left, box.y0 + 0.015, 0.022, top - box.y0 - 0.02))
    figure.colorbar(mpl.cm.ScalarMappable(norm=norm, cmap=_CIVIDIS), cax=bar)
    bar.tick_params(length=2, width=0.5, labelsize=6.5)
    bar.locator_params(nbins=4)
    bar.spines[:].set_visible(False)
    if below:
        bar.set_title(wrapped, fontsize=6.5, loc="left", pad=5)
    else:
        bar.set_ylabel(wrapped, fontsize=6.5)


def _below(figure: Figure, inches: float) -> float:
    """The place so many inches below the upper edge, as a share of the height."""
    return 1 - inches / figure.get_figheight()


def _norm(values: pd.Series) -> Normalize:
    if values.isna().all():
        return Normalize(0, 1)
    return Normalize(float(values.min()), float(values.max()))
