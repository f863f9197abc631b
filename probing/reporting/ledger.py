"""Published numbers held against what a run measured."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pandas as pd

from probing.errors import InputError
from probing.sources.declarations import MODELS
from probing.sources.shipped import shipped_data

TOLERANCE = 0.10
"""Points (correlation or accuracy × 100) within which a number counts as reproduced."""

_FILES = ("sts.csv", "sts_chinese.csv", "linguistic.csv", "decoders.csv")
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


def needed(
    published: pd.DataFrame, name: str, *, models: Sequence[str] = ()
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The cells of one source, and the study that measures them.

    Args:
        published: As `published_numbers` gives them.
        name: The source, or a part of its name that no other has.
        models: Only these, by alias or Hub id; by default all of the source.

    Returns:
        The cells, and ``models``, ``tasks``, ``views`` and ``protocol`` of a `Study`.

    Raises:
        InputError: No source or several have the name, or it has no such model.
    """
    sources = list(dict.fromkeys(published["source"]))
    found = [source for source in sources if name.lower() in source.lower()]
    found = [source for source in found if source.lower() == name.lower()] or found
    if len(found) != 1:
        which = f"is in {len(found)} sources" if found else "is in no source"
        raise InputError(f"{name!r} {which}: expected one of {'; '.join(found or sources)}")
    cells = published[published["source"] == found[0]]
    if models:
        asked = [_canonical(model) for model in models]
        known = set(cells["model"].map(_canonical))
        absent = [model for model in asked if model not in known]
        if absent:
            raise InputError(
                f"{found[0]} has no numbers of {absent[0]!r}: expected one of "
                f"{', '.join(sorted(known))}"
            )
        cells = cells[cells["model"].map(_canonical).isin(asked)]
    averages = [view for view in dict.fromkeys(cells["view"]) if "+" in view or "," in view]
    whole = (cells.loc[cells["task"] == "sickr", "split"] == "all").any()
    return cells, {
        "models": tuple(dict.fromkeys(cells["model"])),
        "tasks": tuple(dict.fromkeys(cells["task"])),
        "views": tuple(averages),
        **({"protocol": "mteb"} if whole else {}),
    }


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
