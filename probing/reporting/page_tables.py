"""The tables of a report, before they take a form."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from probing.claims.deciding import Finding, Verdict
from probing.claims.outcomes import Outcome
from probing.results.names import twin_name
from probing.results.quantities import (
    Quantity,
    best_row,
    floors,
    quantities,
    records,
    select,
    signed,
    with_interval,
    written,
)

TUNED_FOR = "†"
"""Marks the view that a checkpoint was tuned for."""

_HASH = 16
"""Characters of a hash that are shown."""


@dataclass(frozen=True)
class PageCell:
    """A cell of a table; ``number`` is what it sorts by, None for words."""

    text: str
    number: float | None = None
    is_best: bool = False


@dataclass(frozen=True)
class PageTable:
    """A table with a caption; every row has as many cells as the header."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[PageCell, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"a row of {len(row)} cells under {len(self.header)} names")

    def is_number(self, column: int) -> bool:
        """Whether the column holds numbers."""
        return any(row[column].number is not None for row in self.rows)


def score_table(
    scores: pd.DataFrame,
    model: str,
    tasks: Sequence[str],
    quantity: Quantity,
    *,
    declared: str | None = None,
) -> PageTable:
    """Views as rows; of each task the value with its interval, and the random-weight twin.

    ``declared`` is the view that the model was tuned for, which is marked.
    """
    measured = {task: _by_view(scores, quantity, model, task) for task in tasks}
    has_twin = twin_name(model) in set(scores["model"])
    control = {
        task: _by_view(scores, quantity, twin_name(model), task) if has_twin else {}
        for task in tasks
    }
    best: dict[str, str] = {}
    for task in tasks:
        highest = best_row(select(scores, quantity, model=model, task=task))
        best[task] = "" if highest is None else highest["view"]
    header = ["view"]
    for task in tasks:
        header += [task, "random weights"] if has_twin else [task]
    lines: list[tuple[PageCell, ...]] = []
    for view in dict.fromkeys(view for rows in measured.values() for view in rows):
        line = [PageCell(f"{view} {TUNED_FOR}" if view == declared else view)]
        for task in tasks:
            row = measured[task].get(view)
            value = math.nan if row is None else row["value"]
            text = "" if row is None else with_interval(row)
            line.append(PageCell(text, value, is_best=view == best[task]))
            if has_twin:
                other = control[task].get(view, {"value": math.nan})["value"]
                line.append(PageCell(written(other), other))
        lines.append(tuple(line))
    for name in dict.fromkeys(
        name for task in tasks for name in floors(scores, quantity, task=task, model=model)
    ):
        line = [PageCell(f"floor: {name}")]
        for task in tasks:
            value = floors(scores, quantity, task=task, model=model).get(name, math.nan)
            line.append(PageCell(written(value), value))
            if has_twin:
                line.append(PageCell("", math.nan))
        lines.append(tuple(line))
    return PageTable(
        caption=f"{str(quantity)[0].upper()}{str(quantity)[1:]} with 95 % interval; the best view "
        f"of each task in bold{f'; {TUNED_FOR}: the view it was tuned for' if declared else ''}",
        header=tuple(header),
        rows=tuple(lines),
    )


def _by_view(
    scores: pd.DataFrame, quantity: Quantity, model: str, task: str
) -> dict[str, dict[str, Any]]:
    if quantity not in quantities(scores, model, task):
        return {}
    return {row["view"]: row for row in records(select(scores, quantity, model=model, task=task))}


def sentences_table(verdict: Verdict) -> PageTable:
    """What each claim says."""
    said = {finding.claim: finding.sentence for finding in verdict.by_task}
    rows = tuple((PageCell(claim), PageCell(sentence)) for claim, sentence in said.items())
    return PageTable(caption="The claims", header=("claim", "sentence"), rows=rows)


def findings_table(verdict: Verdict) -> PageTable:
    """Every claim over all tasks, where there are enough for a mean, then on each of them."""
    findings = (*verdict.overall, *verdict.by_task)
    return PageTable(
        caption="What the run says of them: difference × 100 with the interval that decides and "
        "its level in percent, p corrected by Holm's method (of the two one-sided tests where an "
        "effect is negligible)",
        header=("claim", "task", "metric", "outcome", "effect", "level", "p", "contrast"),
        rows=tuple(
            (
                PageCell(finding.claim),
                PageCell(finding.task),
                PageCell(finding.metric),
                PageCell(finding.outcome + (f" ({finding.reason})" if finding.reason else "")),
                PageCell(
                    signed(*(100 * end for end in (finding.effect, finding.lower, finding.upper))),
                    100 * finding.effect,
                ),
                PageCell(_level(finding.level), 100 * finding.level),
                PageCell(_p(_deciding_p(finding)), _deciding_p(finding)),
                PageCell(_contrast(finding)),
            )
            for finding in findings
        ),
    )


def _contrast(finding: Finding) -> str:
    """The rows that a finding is read from; the training items only where they are not all."""
    words = [finding.view, finding.transform, finding.probe]
    return ", ".join(words + ([finding.trained_on] if finding.trained_on != "all" else []))


def _level(level: float) -> str:
    return "NaN" if math.isnan(level) else f"{100 * level:.3g}"


def _deciding_p(finding: Finding) -> float:
    negligible = finding.outcome is Outcome.NEGLIGIBLE
    return finding.negligible_p if negligible else finding.corrected_p


def _p(p: float) -> str:
    return "NaN" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def encoder_table(manifest: dict[str, Any]) -> PageTable:
    """The encoders of a run as its manifest describes them."""
    header = ("encoder", "architecture", "pooler", "layers", "width", "revision", "weights SHA-256")
    return PageTable(
        caption="Encoders; whether the body of a trained pooler was trained further since cannot "
        "be seen",
        header=header,
        rows=tuple(
            (
                PageCell(encoder["name"]),
                PageCell(encoder["architecture"]),
                PageCell(encoder["pooler"]),
                PageCell(str(encoder["num_layers"]), encoder["num_layers"]),
                PageCell(str(encoder["hidden_size"]), encoder["hidden_size"]),
                PageCell(_shortened(encoder["revision"])),
                PageCell(_shortened(encoder["weights_sha256"])),
            )
            for encoder in manifest["encoders"]
        ),
    )


def _shortened(name: str) -> str:
    """A hash as long as needed to tell it from others; the manifest has all of it."""
    return name if len(name) <= _HASH else f"{name[: _HASH - 1]}…"


def task_table(manifest: dict[str, Any]) -> PageTable:
    """The tasks of a run as its manifest describes them; remarks where there are any."""
    remarks = ("remark",) if any(task["remark"] for task in manifest["tasks"]) else ()
    return PageTable(
        caption="Tasks",
        header=("task", "split", "rows", "origin", *remarks),
        rows=tuple(
            (
                PageCell(task["name"]),
                PageCell(task.get("split", "")),
                PageCell(str(task["rows"]), task["rows"]),
                PageCell(task["origin"]),
                *(PageCell(task[remark]) for remark in remarks),
            )
            for task in manifest["tasks"]
        ),
    )
