"""The contract of the results table: every measurement, of whatever kind, is one `Score`."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Final

import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Score:
    """One row of the results table; the fields are its columns, in order.

    Correlations and accuracies are fractions in [-1, 1]. A value that is undefined is NaN, and the
    code that found it so logs the reason.
    """

    model: str = ""
    """The name the user gave; a control is ``minilm+random``, a floor ``floor:jaccard``."""
    revision: str = ""
    task: str
    subset: str = "all"
    """The subset the value is of, ``all`` for the whole task."""
    split: str = "test"
    aggregation: str = "none"
    """``all``, ``mean`` or ``wmean`` where subsets are brought together, ``seeds`` for a mean over
    seeds, else ``none``."""
    view: str = "none"
    """View id such as ``mean@6``; ``none`` for a floor that has no vectors."""
    layer: int | None = None
    """Missing for composite views and floors."""
    pooling: str = "none"
    transform: str = "raw"
    probe: str
    """``cosine``, ``linear``, ``mlp``, ``regression``, ``codelength``, ``finetuned``,
    ``finetuned-frozen``, ``none``, …"""
    labels: str = "real"
    """``real`` or ``control``."""
    metric: str
    """``spearman``, ``pearson``, ``accuracy``, ``macro_f1``, ``mse``, ``bits``, …"""
    value: float
    lower: float = math.nan
    upper: float = math.nan
    """95 % interval; missing only where the method has none."""
    n: int
    """Number of items the value is computed on."""
    seed: int
    clusters: int | None = None
    """Into how many independent clusters the n items fall; missing where that plays no part."""
    largest_cluster: int | None = None
    """Items of the largest of them."""
    trained_on: str = "all"
    """Training items that a head was fine-tuned on: ``100``, ``all``; ``all - 100`` for what more
    of them change."""

    def __post_init__(self) -> None:
        if not math.isnan(self.lower) and not math.isnan(self.upper) and self.lower > self.upper:
            raise ValueError(f"lower {self.lower} is above upper {self.upper}")
        if self.labels not in ("real", "control"):
            raise ValueError(f"labels must be 'real' or 'control', found {self.labels!r}")


COLUMNS: Final = tuple(field.name for field in fields(Score))
_INTEGERS: Final = {
    "layer": "Int64",
    "n": "int64",
    "seed": "int64",
    "clusters": "Int64",
    "largest_cluster": "Int64",
}
_FLOATS: Final = ("value", "lower", "upper")


def score_table(scores: Iterable[Score]) -> pd.DataFrame:
    """The rows as one tidy table with `COLUMNS` in order and fixed dtypes.

    ``layer``, ``clusters`` and ``largest_cluster`` are nullable integers; ``n`` and ``seed`` are
    integers; ``value``, ``lower`` and ``upper`` are float64; every other column is a string.
    """
    table = pd.DataFrame([asdict(score) for score in scores], columns=list(COLUMNS))
    types = dict.fromkeys(COLUMNS, "str") | dict.fromkeys(_FLOATS, "float64") | _INTEGERS
    return table.astype(types)
