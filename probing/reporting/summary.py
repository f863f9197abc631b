"""The answer of a run in a few sentences and one small table, made from rows.

Terminal, report, README and notebooks show the same summary. A sentence says nothing that a row
does not carry, and names what decides it: a 95 % interval that leaves out zero.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from probing.reporting.page_tables import TUNED_FOR, PageCell, PageTable
from probing.results.names import difference, place_of, twin_name
from probing.results.quantities import (
    ACCURACY,
    SIMILARITY,
    Quantity,
    floors,
    models_of,
    points,
    quantities,
    records,
    select,
)

_UNTOLD: Final = "—"
_ALIKE: Final = 1.0
"""Points within which the usual choice, mean pooling of the last layer, is as good as any."""
_NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Summary:
    """What a reader has to know first."""

    sentences: tuple[str, ...]
    """Of each model two or three, the answer first."""
    table: PageTable
    """A row for each model and kind of task."""

    def __str__(self) -> str:
        return " ".join(self.sentences)


@dataclass(frozen=True)
class _Change:
    """The difference of two views on one task, in points."""

    task: str
    value: float
    lower: float
    upper: float


def summarise(
    scores: pd.DataFrame, manifest: Mapping[str, Any], *, aggregation: str = "all"
) -> Summary:
    """The answer of a run.

    Args:
        scores: The results table.
        manifest: Of the run: what it says of encoders and tasks.
        aggregation: Of tasks with several subsets.
    """
    sentences: list[str] = []
    for model in models_of(scores):
        described = next((e for e in manifest["encoders"] if e["name"] == model), None)
        if described is not None:
            sentences += model_sentences(scores, model, described, aggregation)
    return Summary(sentences=tuple(sentences), table=_table(scores, manifest, aggregation))


def model_sentences(
    scores: pd.DataFrame, model: str, described: Mapping[str, Any], aggregation: str
) -> list[str]:
    """Two or three sentences: pooler against mean, where the loss is, and what to use."""
    last = described["num_layers"]
    state = str(described["pooler"])
    mean, cls, pooler = (f"{pooling}@{last}" for pooling in ("mean", "cls", "pooler"))
    best = _best_view(scores, model, aggregation, last, described.get("declared_view"))
    to_pooler = _changes(scores, model, difference(pooler, mean), aggregation)
    use = [] if best is None else [f"Use {best[0]}: {best[1]}."]
    if not to_pooler:
        probed = _probed_poolings(scores, model, mean, pooler)
        absent = [f"{model} has no pooler."] if state == "absent" else []
        return [*([f"In {model}, {_state(state)}, {probed}."] if probed else absent), *use]
    found = [f"In {model}, {_state(state)}, pooler_output is {_spread(to_pooler, 'mean pooling')}."]
    place = _place_of_the_loss(
        to_pooler,
        _changes(scores, model, difference(cls, mean), aggregation),
        _changes(scores, model, difference(pooler, cls), aggregation),
    )
    if place:
        found.append(place)
    return found + use


def _probed_poolings(scores: pd.DataFrame, model: str, mean: str, pooler: str) -> str:
    """What linear probes read from the pooler and from the mean, where both were probed."""
    tables = _values(scores, model, ACCURACY)
    frame = pd.DataFrame(tables)
    if not tables or not {mean, pooler} <= set(frame.index):
        return ""
    means = frame.loc[[mean, pooler]].mean(axis=1, skipna=False)
    if means.isna().any():
        return ""
    n = frame.shape[1]
    where = f"on average over {_number(n)} tasks" if n > 1 else f"on {frame.columns[0]}"
    return (
        f"a linear probe is right in {points(float(means[pooler]))} % from pooler_output and in "
        f"{points(float(means[mean]))} % from mean pooling {where}"
    )


_STATES: Final = {
    "trained": "whose pooler was trained",
    "untrained": "whose pooler was never trained",
    "bias moved, weights like a random draw": "whose pooler may never have been trained",
    "bias at zero, weights not like a random draw": "whose pooler may not have been trained",
    "newly initialised": "whose pooler the loader made up",
    "without weights": "whose pooler has no weights",
    "end of text": "whose pooler_output is the end-of-text token",
}


def _state(state: str) -> str:
    return _STATES.get(state, f"whose pooler is {state}")


def _changes(scores: pd.DataFrame, model: str, view: str, aggregation: str) -> list[_Change]:
    rows = scores[
        (scores["model"] == model)
        & (scores["view"] == view)
        & (scores["metric"] == "spearman_difference")
        & (scores["transform"] == "raw")
        & (scores["probe"] == "cosine")
        & scores["aggregation"].isin([aggregation, "all"])
        & scores["value"].notna()
    ]
    # a task without subsets has the aggregation "all" only
    rows = rows.sort_values("aggregation", key=lambda name: name != aggregation, kind="stable")
    rows = rows.drop_duplicates("task")
    return [
        _Change(str(r["task"]), 100 * r["value"], 100 * r["lower"], 100 * r["upper"])
        for r in records(rows)
    ]


def _spread(changes: Sequence[_Change], other: str) -> str:
    """``4.5 to 10.7 points below mean pooling on six of seven sets and 2.4 above on sts12``."""
    below = [change for change in changes if change.upper < 0]
    above = [change for change in changes if change.lower > 0]
    open_ = [change for change in changes if change.lower <= 0 <= change.upper]
    parts: list[str] = []
    for group, word in ((below, "below"), (above, "above")):
        if not group:
            continue
        sizes = sorted(abs(change.value) for change in group)
        size = points(sizes[0])
        if points(sizes[-1]) != size:
            size += f" to {points(sizes[-1])}"
        named = f" {other}" if not parts else ""
        parts.append(f"{size} points {word}{named} on {_where(group, changes)}")
    if open_:
        verb = "not told apart from " + (other if not parts else "it")
        parts.append(f"{verb} on {_where(open_, changes)}")
    return " and ".join(parts)


def _where(group: Sequence[_Change], changes: Sequence[_Change]) -> str:
    if len(group) == len(changes):
        return group[0].task if len(group) == 1 else f"all {_number(len(changes))} sets"
    if len(group) <= 2:
        return " and ".join(change.task for change in group)
    return f"{_number(len(group))} of {_number(len(changes))} sets"


def _number(n: int) -> str:
    return _NUMBERS[n] if n < len(_NUMBERS) else str(n)


def _place_of_the_loss(
    whole: Sequence[_Change], cls: Sequence[_Change], pooler: Sequence[_Change]
) -> str:
    """Whether ``[CLS]`` or the pooler after it loses most; nothing where nothing is lost."""
    total = float(np.mean([change.value for change in whole]))
    if total > -1 or not cls or not pooler:
        return ""
    by_cls = float(np.mean([change.value for change in cls]))
    by_pooler = float(np.mean([change.value for change in pooler]))
    if by_cls <= 0.8 * total:
        where = "in [CLS], not in the pooler"
    elif by_pooler <= 0.8 * total:
        where = "in the pooler, not in [CLS]"
    else:
        where = "partly in [CLS], partly in the pooler"
    sets = "on average" if len(whole) > 1 else f"on {whole[0].task}"
    return (
        f"The loss is {where}: {sets} [CLS] is {_signed_words(by_cls)} mean pooling, and the "
        f"pooler is {_signed_words(by_pooler)} [CLS]."
    )


def _signed_words(value: float) -> str:
    return f"{points(abs(value))} points {'below' if value < 0 else 'above'}"


def _best_view(
    scores: pd.DataFrame, model: str, aggregation: str, last: int, declared: str | None
) -> tuple[str, str] | None:
    """The view to use, and why: the usual one unless another is higher by `_ALIKE`.

    The usual one is that which the checkpoint was tuned for, else mean pooling of the last layer.
    """
    quantity = replace(SIMILARITY, aggregation=aggregation)
    for wanted, noun in ((quantity, "similarity set"), (ACCURACY, "labelled task")):
        tables = _values(scores, model, wanted)
        if not tables:
            continue
        frame = pd.DataFrame(tables).dropna()
        if frame.empty:
            continue
        means = frame.mean(axis=1)
        highest = float(means.max())
        usual = declared or f"mean@{last}"
        view = usual if highest - means.get(usual, -math.inf) <= _ALIKE else str(means.idxmax())
        n = frame.shape[1]
        place = f"on average over {_number(n)} {noun}s" if n > 1 else f"on {frame.columns[0]}"
        gap = points(highest - float(means[view]))
        rest = "no view is higher" if gap == points(0) else f"no view is more than {gap} higher"
        named = f"`{view}`" + (", the view it was tuned for" if view == declared else "")
        if declared and view != declared and declared in means:
            rest += f" (`{declared}`, which it was tuned for, has {points(means[declared])})"
        return named, f"{points(float(means[view]))} {place}, and {rest}"
    return None


def _values(scores: pd.DataFrame, model: str, quantity: Quantity) -> "dict[str, pd.Series[float]]":
    """Task → value of every view, in points."""
    found: dict[str, pd.Series[float]] = {}
    for task in scores.loc[scores["model"] == model, "task"].unique():
        if quantity not in quantities(scores, model, str(task)):
            continue
        table = select(scores, quantity, model=model, task=str(task)).set_index("view")
        found[str(task)] = table["value"]
    return found


def made_for(described: Mapping[str, Any]) -> list[str]:
    """What a checkpoint was tuned for, and that its attention is causal, a sentence each."""
    name, lines = described["name"], []
    if described.get("tuned_for"):
        view = described["declared_view"]
        own = f": its own view is {view}" if view else ": none of the views is its own"
        lines.append(f"{name} is {described['tuned_for']}{own}")
    if described.get("attention") == "causal":
        lines.append(f"the attention of {name} is causal: last and wmean take the place of cls")
    return lines


def _table(scores: pd.DataFrame, manifest: Mapping[str, Any], aggregation: str) -> PageTable:
    """Encoders as rows: mean, [CLS], pooler and best view, beside random weights and floors."""
    measured = ("mean", "[CLS]", "pooler", "best view", "random weights", "floor")
    header = ("encoder", "measured", *measured)
    rows: list[tuple[PageCell, ...]] = []
    own = {e["name"]: e.get("declared_view") for e in manifest["encoders"]}
    similarity = replace(SIMILARITY, aggregation=aggregation)
    for model in models_of(scores):
        for quantity, name in ((similarity, "Spearman × 100"), (ACCURACY, "accuracy, %")):
            tables = _values(scores, model, quantity)
            if not tables:
                continue
            means = pd.DataFrame(tables).mean(axis=1, skipna=False)
            layers = [place_of(str(view)).layer for view in means.index]
            last = max((layer for layer in layers if layer is not None), default=0)
            best = str(means.idxmax()) if means.notna().any() else None
            twin = _values(scores, twin_name(model), quantity)
            control = pd.DataFrame(twin).mean(axis=1, skipna=False).max() if twin else math.nan
            reached = [
                max(floors(scores, quantity, task=task, model=model).values(), default=math.nan)
                for task in tables
            ]
            floor = float(np.mean(reached)) if reached else math.nan
            sets = next(iter(tables)) if len(tables) == 1 else f"mean of {len(tables)}"
            cells = [PageCell(model), PageCell(f"{name}, {sets}")]
            for pooling in ("mean", "cls", "pooler"):
                view = f"{pooling}@{last}"
                value = float(means.get(view, math.nan))
                cells.append(_number_cell(value, mark=view == own.get(model)))
            if best is None:
                cells.append(PageCell(_UNTOLD))
            else:
                mark = f" {TUNED_FOR}" if best == own.get(model) else ""
                cells.append(
                    PageCell(f"{points(float(means[best]))} {best}{mark}", float(means[best]))
                )
            cells += [_number_cell(float(control)), _number_cell(floor)]
            rows.append(tuple(cells))
    return PageTable(
        caption="Last layer under three poolings, the best of all views, the highest view with "
        "random weights, and the best floor (a baseline without a model)"
        + (f"; {TUNED_FOR}: the view that the encoder was tuned for" if any(own.values()) else ""),
        header=header,
        rows=tuple(rows),
    )


def _number_cell(value: float, *, mark: bool = False) -> PageCell:
    shown = points(value) + (f" {TUNED_FOR}" if mark else "")
    return PageCell(_UNTOLD if math.isnan(value) else shown, value)
