"""Published numbers held against what a run measured."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pandas as pd

from probing.sources.declarations import MODELS
from probing.sources.shipped import shipped_data

TOLERANCE = 0.10
"""Points (correlation or accuracy × 100) within which a number counts as reproduced."""

_FILES = ("sts.csv", "sts_chinese.csv", "linguistic.csv")
_CELL = ["model", "task", "split", "aggregation", "view", "transform", "probe", "metric"]
_SUBSETS_MATTER = ("all", "mean", "wmean")


class Agreement(StrEnum):
    """How a published number and the measured one agree."""

    REPRODUCED = "reproduced"
    """Within `TOLERANCE`."""
    DIFFERS = "differs"
    TRAP = "trap"
    """Known not to be reproducible as labelled; the note says why."""
    UNCHECKED = "unchecked"
    """Not yet read in its source, so neither a success nor a failure."""


@dataclass(frozen=True)
class Ledger:
    """The outcome of a comparison.

    ``cells`` has a row per published cell that the run measured, with the published columns,
    ``measured``, ``difference`` (measured − published, points) and ``finding``; ``missing`` has the
    published cells that it did not measure.
    """

    cells: pd.DataFrame
    missing: pd.DataFrame


def published_numbers() -> pd.DataFrame:
    """The numbers of ``data/published``: one row a cell, ``value`` in points (× 100)."""
    tables = [
        pd.read_csv(shipped_data() / "published" / name, dtype=str, keep_default_na=False)
        for name in _FILES
    ]
    published = pd.concat(tables, ignore_index=True)
    published["value"] = published["value"].astype(float)
    return published


def compare(scores: pd.DataFrame, published: pd.DataFrame) -> Ledger:
    """Hold a results table against published numbers.

    A cell is the same where model, task, split, aggregation, view, transform, probe and metric are.
    A model is known by its alias and by its Hub id. A task without subsets has one correlation,
    whatever aggregation a paper uses.
    """
    measured = scores[(scores["subset"] == "all") & (scores["labels"] == "real")].copy()
    measured["model"] = measured["model"].map(_canonical)
    wanted = published.copy()
    wanted["model"] = wanted["model"].map(_canonical)
    several = set(measured.loc[measured["aggregation"].isin(["mean", "wmean"]), "task"])
    plain = wanted["aggregation"].isin(_SUBSETS_MATTER) & ~wanted["task"].isin(several)
    wanted.loc[plain, "aggregation"] = "all"
    measured = measured.drop_duplicates(_CELL)[[*_CELL, "value"]]
    joined = wanted[_CELL].merge(
        measured.rename(columns={"value": "measured"}), on=_CELL, how="left", validate="m:1"
    )
    cells = published.assign(measured=100 * joined["measured"].to_numpy())
    cells["difference"] = cells["measured"] - cells["value"]
    found = cells["measured"].notna()
    cells = cells[found]
    return Ledger(
        cells=cells.assign(finding=[str(_agreement(row)) for row in cells.to_dict("records")]),
        missing=published[~found.to_numpy()],
    )


def _canonical(model: str) -> str:
    for source in MODELS:
        if model in (source.alias, source.hub_id):
            return source.hub_id or source.alias
    return model


def _agreement(row: Mapping[Hashable, Any]) -> Agreement:
    if str(row["note"]).startswith("trap:"):
        return Agreement.TRAP
    if row["seen"] != "yes":
        return Agreement.UNCHECKED
    # rounded first: published numbers have two digits, and 0.10 must not fail for a last bit
    difference = round(abs(row["difference"]), 6)
    return Agreement.REPRODUCED if difference <= TOLERANCE else Agreement.DIFFERS
