"""Which numbers of the results table are meant, what they are called, and how they are written."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import pandas as pd

from probing.errors import InputError
from probing.results.names import floor_kind, is_difference, is_floor, is_twin

_POINTS: Final = {
    "spearman": "Spearman × 100",
    "pearson": "Pearson × 100",
    "accuracy": "accuracy (%)",
    "macro_f1": "macro F1 (%)",
    "uuas": "arcs found (UUAS, %)",
    "root_accuracy": "roots found (%)",
    "distance_spearman": "Spearman of distances × 100",
    "depth_spearman": "Spearman of depths × 100",
}
"""Fractions that are shown in points; every other metric is shown as it is stored."""
_UNITS: Final = {
    "bits": "code length (bits)",
    "compression": "compression (times)",
    "anisotropy": "anisotropy (mean cosine)",
    "isoscore": "IsoScore",
    "effective_dimension": "effective dimension",
    "cka": "linear CKA",
}
DIFFERENCE: Final = "_difference"
"""What the name of a metric ends with where two cells are compared."""
FINETUNED: Final = ("finetuned", "finetuned-frozen")
"""The probes that are shown by training size, not by layer."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """What all numbers of one picture or table have in common beside model, task and view."""

    metric: str = "spearman"
    probe: str = "cosine"
    aggregation: str = "all"
    subset: str = "all"
    transform: str = "raw"
    labels: str = "real"
    trained_on: str = "all"

    @property
    def unit(self) -> str:
        """The metric with its unit, for an axis: ``Spearman × 100``, ``accuracy (%)``."""
        metric = self.metric.removesuffix(DIFFERENCE)
        return _POINTS.get(metric) or _UNITS.get(metric) or metric

    @property
    def scale(self) -> float:
        """What a stored value is multiplied by to be shown."""
        return 100.0 if self.metric.removesuffix(DIFFERENCE) in _POINTS else 1.0

    @property
    def digits(self) -> int:
        """Decimals that are shown: one of points, two of what is shown as stored."""
        return 1 if self.scale == 100 else 2

    def __str__(self) -> str:
        words = [self.unit]
        if self.probe not in ("cosine", "none"):
            words.append(f"of the {self.probe} probe")
        if self.labels != "real":
            words.append("on control labels")
        if self.transform != "raw":
            words.append(f"after {self.transform}")
        if self.subset != "all":
            words.append(f"of the subset {self.subset}")
        if self.trained_on != "all":
            words.append(f"trained on {self.trained_on} items")
        return " ".join(words)


SIMILARITY: Final = Quantity()
"""Spearman of the cosine with the human scores, all subsets together."""
ACCURACY: Final = Quantity(metric="accuracy", probe="linear", aggregation="none")
"""Test accuracy of the linear probe."""
UUAS: Final = Quantity(metric="uuas", probe="structural", aggregation="none")
"""Share of the arcs of a tree that are found (Hewitt & Manning 2019)."""
COMPRESSION: Final = Quantity(metric="compression", probe="codelength", aggregation="none")
"""How many times shorter the labels become given the vectors (Voita & Titov 2020)."""
ANISOTROPY: Final = Quantity(metric="anisotropy", probe="none", aggregation="none")
"""Mean cosine of random sentences (Ethayarajh 2019): no matter of gold scores."""

QUANTITIES: Final[Mapping[str, Quantity]] = MappingProxyType(
    {
        "similarity": SIMILARITY,
        "accuracy": ACCURACY,
        "uuas": UUAS,
        "compression": COMPRESSION,
        "anisotropy": ANISOTROPY,
    }
)
"""The quantities that can be asked for by name."""


def quantities(scores: pd.DataFrame, model: str, task: str) -> tuple[Quantity, ...]:
    """The main quantities that a table has for a model on a task.

    `SIMILARITY`; the accuracy of every probe, the linear one first; `UUAS`; `COMPRESSION`.
    """
    accuracies = (scores["metric"] == "accuracy") & ~scores["probe"].isin(FINETUNED)
    mine = (scores["model"] == model) & (scores["subset"] == "all")
    probes = [*scores.loc[accuracies & mine, "probe"].unique()]
    probes.sort(key=lambda probe: probe != ACCURACY.probe)
    found = [
        quantity
        for quantity in (SIMILARITY, *(replace(ACCURACY, probe=str(probe)) for probe in probes))
        if len(_rows(scores, quantity, model, task))
    ]
    more = (UUAS, COMPRESSION)
    return (*found, *(each for each in more if len(_rows(scores, each, model, task))))


def select(scores: pd.DataFrame, quantity: Quantity, *, model: str, task: str) -> pd.DataFrame:
    """One row a view, in the order of the table, values and intervals scaled to be shown.

    Where a view was measured on several splits the test split is meant; where with several seeds,
    the row is their mean value, and the interval is the mean of theirs.

    Returns:
        Columns ``view, layer, pooling, value, lower, upper, n``; ``layer`` is missing for a
        composite view.

    Raises:
        InputError: The table has no such row.
    """
    rows = _rows(scores, quantity, model, task)
    if rows.empty:
        raise InputError(
            f"no {quantity} of {model} on {task} in this table: it has "
            f"the models {', '.join(map(str, scores['model'].unique()))} and "
            f"the tasks {', '.join(map(str, scores['task'].unique()))}"
        )
    if "test" in set(rows["split"]):
        rows = rows[rows["split"] == "test"]
    by_view = rows.groupby("view", sort=False)
    table = by_view[["layer", "pooling", "n"]].first()
    for number in ("value", "lower", "upper"):
        table[number] = by_view[number].mean(skipna=False) * quantity.scale
    return table.reset_index()


def training_items(trained_on: str) -> float:
    """The number in the column ``trained_on``; infinite for all."""
    return math.inf if trained_on == "all" else float(trained_on)


def models_of(scores: pd.DataFrame) -> tuple[str, ...]:
    """The models of a table, without twins, floors and contrasts, in order of appearance."""
    return tuple(
        str(name)
        for name in map(str, scores["model"].unique())
        if not (is_floor(name) or is_twin(name) or is_difference(name))
    )


def contrasts_of(scores: pd.DataFrame) -> tuple[str, ...]:
    """The contrasts between models of a table, ``ONE - OTHER``, in order of appearance.

    What a model has over its random-weight twins is no contrast between models.
    """
    return tuple(
        str(name)
        for name in scores["model"].unique()
        if is_difference(str(name)) and not is_twin(str(name))
    )


def floors(
    scores: pd.DataFrame, quantity: Quantity, *, task: str, model: str | None = None
) -> dict[str, float]:
    """Name of each floor of a task, without its prefix → value, scaled to be shown.

    The floor of an encoder's own word vectors is only that of this model, or of the first.
    """
    found = scores[
        scores["model"].map(is_floor)
        & (scores["task"] == task)
        & (scores["metric"] == quantity.metric)
        & (scores["aggregation"] == quantity.aggregation)
        & (scores["subset"] == quantity.subset)
        & (scores["labels"] == quantity.labels)
        & scores["probe"].isin([quantity.probe, "none"])
    ]
    if "test" in set(found["split"]):
        found = found[found["split"] == "test"]
    values = found.groupby("model", sort=False)["value"].mean() * quantity.scale
    shown: dict[str, float] = {}
    for name, value in values.items():
        kind, _, owner = floor_kind(str(name)).partition(":")
        if not owner or model in (None, owner):
            shown.setdefault(kind, float(value))
    return shown


def points(value: float, digits: int = 1) -> str:
    """A number as text: ``NaN``, or digits with a true minus sign and none before a rounded zero.

    >>> points(-4.71), points(-0.04)
    ('−4.7', '0.0')
    """
    if math.isnan(value):
        return "NaN"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def signed(
    value: float, lower: float = math.nan, upper: float = math.nan, *, digits: int = 1
) -> str:
    """A change as text, with its interval where it has one.

    >>> signed(-4.71, -7.93, 1.64)
    '−4.7 [−7.9, +1.6]'
    """
    plain = [points(number, digits) for number in (value, lower, upper)]
    return _bracketed(*("+" * (float(text.replace("−", "-")) > 0) + text for text in plain))


def written(
    value: float, lower: float = math.nan, upper: float = math.nan, *, digits: int = 1
) -> str:
    """A number as text, with its interval where it has one.

    >>> written(75.61, 69.71, 80.29)
    '75.6 [69.7, 80.3]'
    """
    return _bracketed(*(points(number, digits) for number in (value, lower, upper)))


def _bracketed(value: str, lower: str, upper: str) -> str:
    return value if "NaN" in (value, lower, upper) else f"{value} [{lower}, {upper}]"


def with_interval(row: Mapping[str, Any], digits: int = 1) -> str:
    """Value and interval of a row of `select` as text."""
    return written(row["value"], row["lower"], row["upper"], digits=digits)


def best_row(table: pd.DataFrame) -> dict[str, Any] | None:
    """The row with the highest value; None where all are undefined."""
    if table["value"].isna().all():
        return None
    return records(table.loc[[table["value"].idxmax()]])[0]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as dictionaries."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _rows(scores: pd.DataFrame, quantity: Quantity, model: str, task: str) -> pd.DataFrame:
    # the table of a study is long, and the part that one model has on one task is short
    there = scores[(scores["model"] == model) & (scores["task"] == task)]
    return there[
        (there["metric"] == quantity.metric)
        & (there["probe"] == quantity.probe)
        & (there["aggregation"] == quantity.aggregation)
        & (there["subset"] == quantity.subset)
        & (there["trained_on"] == quantity.trained_on)
        & (there["transform"] == quantity.transform)
        & (there["labels"] == quantity.labels)
    ]
