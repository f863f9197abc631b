"""The answer of a run in a few sentences and one small table, made from rows.

Terminal, report, README and notebooks show the same summary. Which differences it names is decided
by the verdict: a sentence says below or above where a claim was decided so, with the interval that
decides it, and nothing is chosen on the pairs that it is shown on.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from probing.claims.catalogue import CLAIMS
from probing.claims.deciding import Finding, Verdict
from probing.claims.outcomes import Outcome
from probing.claims.verdict import verdict_text
from probing.reporting.page_tables import TUNED_FOR, PageCell, PageTable
from probing.results.names import difference, place_of, sides, twin_name
from probing.results.quantities import (
    ACCURACY,
    SIMILARITY,
    Quantity,
    floors,
    models_of,
    points,
    quantities,
    select,
    signed,
)

_UNTOLD: Final = "—"
_SHOWN_VIEWS: Final = 6
_DECIDED: Final = (Outcome.SUPPORTED, Outcome.REFUTED)
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
class _Decided:
    """What the verdict says of one difference: on each task, and of all of them."""

    by_task: tuple[Finding, ...] = ()
    overall: Finding | None = None

    @classmethod
    def of(cls, verdict: Verdict | None, view: str) -> "_Decided":
        """Of the plain difference of two views; empty where no claim is about it."""
        if verdict is None:
            return cls()
        claims = {claim.id for claim in verdict.claims if not claim.given and not claim.threshold}

        def plain(finding: Finding) -> bool:
            cell = (finding.model, finding.transform, finding.probe, finding.trained_on)
            wanted = (verdict.model, "raw", "cosine", "all")
            return finding.claim in claims and finding.view == view and cell == wanted

        by_task = {f.task: f for f in verdict.by_task if plain(f)}
        return cls(tuple(by_task.values()), next(filter(plain, verdict.overall), None))

    def on(self, tasks: Sequence[str]) -> "_Decided":
        """The same on some of the tasks."""
        return replace(self, by_task=tuple(f for f in self.by_task if f.task in tasks))

    @property
    def side(self) -> int:
        """-1 or 1 where the difference lies below or above zero on all tasks, else 0."""
        found = {_side(finding) for finding in self.by_task}
        return found.pop() if len(found) == 1 else 0

    @property
    def negligible(self) -> bool:
        """Whether it is negligible overall, or on each task where nothing is said of them all."""
        found = self.by_task if self.overall is None else (self.overall,)
        return bool(found) and all(f.outcome is Outcome.NEGLIGIBLE for f in found)


def _side(finding: Finding) -> int:
    return int(np.sign(finding.effect)) if finding.outcome in _DECIDED else 0


def summarise(
    scores: pd.DataFrame,
    manifest: Mapping[str, Any],
    verdicts: Mapping[str, Verdict],
    *,
    aggregation: str = "all",
) -> Summary:
    """The answer of a run.

    Args:
        scores: The results table.
        manifest: Of the run: what it says of encoders and tasks.
        verdicts: Of each model, where claims were measured.
        aggregation: Of tasks with several subsets.
    """
    encoders = {encoder["name"]: encoder for encoder in manifest["encoders"]}
    said = [
        model_sentences(scores, model, encoders[model], verdicts.get(model))
        for model in models_of(scores)
        if model in encoders
    ]
    own = [
        line
        for model, verdict in verdicts.items()
        for line in _own_claims(verdict, named=len(verdicts) > 1)
    ]
    return Summary(sentences=(*_once(said), *own), table=_table(scores, manifest, aggregation))


def _own_claims(verdict: Verdict, *, named: bool) -> list[str]:
    """What became of the claims that a researcher brought, a line each."""
    ours = {claim.id for claim in CLAIMS}
    own = {claim.id: claim for claim in verdict.claims if claim.id not in ours}
    told = {
        claim: line
        for line in verdict_text(verdict).splitlines()
        if (claim := line.partition(" ")[0]) in own
    }
    tested = own.keys() - {claim.id for claim in verdict.not_tested}
    before = f"{verdict.model}: " if named else ""
    return [
        before + told[name]
        if name in tested
        else f"{before}{name} ({claim.sentence}) is undecided: the run has no row of {claim.view}."
        for name, claim in own.items()
    ]


def _once(said: Sequence[list[str]]) -> list[str]:
    """The sentences of all models; a last one that all have in common, the advice, is said once."""
    last = {sentences[-1] if sentences else "" for sentences in said}
    if len(said) < 2 or len(last) > 1 or "" in last:
        return [sentence for sentences in said for sentence in sentences]
    every = "both" if len(said) == 2 else f"all {_number(len(said))}"
    told = [sentence for sentences in said for sentence in sentences[:-1]]
    return [*told, last.pop(), f"This holds for {every} encoders."]


def model_sentences(
    scores: pd.DataFrame, model: str, described: Mapping[str, Any], verdict: Verdict | None
) -> list[str]:
    """Two or three sentences: pooler against mean, where the loss is, and which layer to use."""
    last = described["num_layers"]
    state = str(described["pooler"])
    mean, cls, pooler = (f"{pooling}@{last}" for pooling in ("mean", "cls", "pooler"))
    to_pooler = _Decided.of(verdict, difference(pooler, mean))
    sides_of = {_side(finding) for finding in to_pooler.by_task}
    layer = _layer_to_use(
        verdict, mean, described.get("declared_view"), plainly=-1 in sides_of and 1 not in sides_of
    )
    if not to_pooler.by_task:
        probed = _probed_poolings(scores, model, mean, pooler)
        if probed:
            return [f"In {model}, {_state(state)}, {probed}.", *layer]
        absent = f"{model} has no pooler" + _without_layers(scores, model)
        return [*([f"{absent}."] if state == "absent" else []), *layer]
    spread = _spread(to_pooler, "mean pooling", unit=" (Spearman × 100)")
    found = f"In {model}, {_state(state)}, pooler_output is {spread}"
    lost = [f.task for f in to_pooler.by_task if _side(f) < 0]
    steps = [
        _Decided.of(verdict, difference(*views)).on(lost) for views in ((cls, mean), (pooler, cls))
    ]
    return [f"{found}.", *_place_of_the_loss(*steps), *_of_all(to_pooler), *layer]


def _without_layers(scores: pd.DataFrame, model: str) -> str:
    """What the views of vectors from outside reach: they have no place in the table beside."""
    told = []
    for quantity, name in ((SIMILARITY, "Spearman × 100"), (ACCURACY, "accuracy in %")):
        tables = _values(scores, model, quantity)
        means = pd.DataFrame(tables).mean(axis=1, skipna=False)
        if not tables or any("@" in str(view) for view in means.index):
            continue
        shown = [f"{view} {points(float(value))}" for view, value in means.items()][:_SHOWN_VIEWS]
        more = len(means) - len(shown)
        where = f"on average over {_number(len(tables))} tasks"
        where = where if len(tables) > 1 else f"on {next(iter(tables))}"
        told.append(f"; {name} {where}: {', '.join(shown)}{f' and {more} more' if more else ''}")
    return "".join(told)


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
        f"a linear probe has an accuracy of {points(float(means[pooler]))} % from pooler_output "
        f"and of {points(float(means[mean]))} % from mean pooling {where}"
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


def _spread(decided: _Decided, other: str, these: str = "", unit: str = "") -> str:
    """``4.5 to 10.7 points below mean pooling on five of seven sets and not detectably …``.

    Args:
        decided: On one task or more.
        other: What the difference is from.
        these: What the tasks are called where they are some of the run.
        unit: What is said of points, where they are first named.
    """
    groups: dict[str, list[Finding]] = {}
    for finding in decided.by_task:
        word = {-1: "below", 1: "above"}.get(_side(finding), "not detectably different from")
        if finding.outcome is Outcome.NEGLIGIBLE:
            word = f"within {_margin(finding)} of"
        elif math.isnan(finding.effect):
            word = "undefined against"
        groups.setdefault(word, []).append(finding)
    parts: list[str] = []
    for word, group in groups.items():
        said = f"{word} {other if not parts else 'it'}"
        if word in ("below", "above"):
            sizes = sorted(points(100 * abs(finding.effect)) for finding in group)
            sizes.sort(key=float)
            said = f"{' to '.join(dict.fromkeys((sizes[0], sizes[-1])))} points{unit} {said}"
            unit = ""
        parts.append(f"{said} on {_where(group, decided.by_task, these)}")
    return ", ".join(parts[:-1]) + " and " * (len(parts) > 1) + parts[-1]


def _of_all(decided: _Decided) -> list[str]:
    """What the sets say of all sets that they are drawn from, where it is said."""
    finding = decided.overall
    if finding is None:
        return []
    found = {-1: "pooler_output is below it too", 1: "pooler_output is above it too"}.get(
        _side(finding), "the difference may go either way"
    )
    if finding.outcome is Outcome.NEGLIGIBLE:
        found = f"the difference is less than {_margin(finding)}"
    mean = f"the mean difference is {_numbers(finding)} points, weighted by precision"
    return [f"Over all sets like these, {found}: {mean}."]


def _numbers(finding: Finding) -> str:
    """Effect in points with the interval that decides."""
    return signed(100 * finding.effect, 100 * finding.lower, 100 * finding.upper)


def _margin(finding: Finding) -> str:
    size = f"{100 * finding.smallest_effect:g}"
    return f"{size} point{'s' * (size != '1')}"


def _where(group: Sequence[Finding], every: Sequence[Finding], these: str) -> str:
    if len(every) == 1 or (len(group) <= 2 and len(group) < len(every)):
        return " and ".join(finding.task for finding in group)
    n = _number(len(every))
    if len(group) == len(every):
        both = f"both{' of these' * bool(these)} sets"
        return both if len(every) == 2 else f"all {n} {'of these ' * bool(these)}sets"
    return f"{_number(len(group))} of {these}{n} sets"


def _number(n: int) -> str:
    return _NUMBERS[n] if n < len(_NUMBERS) else str(n)


def _place_of_the_loss(cls: _Decided, pooler: _Decided) -> list[str]:
    """Where the tasks on which the pooler is below the mean lose it; nothing where none does."""
    if not cls.by_task or not pooler.by_task:
        return []
    of_cls, of_pooler = (
        f"{name} is {_spread(step, other, 'these ')}"
        for name, step, other in (("[CLS]", cls, "mean pooling"), ("the pooler", pooler, "[CLS]"))
    )
    if cls.side < 0 and pooler.side < 0:
        return [f"The loss is partly in [CLS], partly in the pooler: {of_cls}, and {of_pooler}."]
    if cls.side < 0 and pooler.negligible:
        told = f"The loss is already in [CLS], before the pooler: {of_cls}; the pooler itself "
        return [f"{told}changes the score by {_small(pooler)}."]
    if pooler.side < 0 and cls.negligible:
        return [f"The loss is in the pooler: {of_pooler}; [CLS] differs by {_small(cls)}."]
    return [f"There {of_cls}, and {of_pooler}."]


def _small(decided: _Decided) -> str:
    found = decided.overall or decided.by_task[0]
    numbers = f" ({_numbers(found)})" if decided.overall or len(decided.by_task) == 1 else ""
    return f"less than {_margin(found)}{numbers}"


def _layer_to_use(
    verdict: Verdict | None, mean: str, declared: str | None, *, plainly: bool
) -> list[str]:
    """The last layer's mean or that of the best earlier layer, chosen on pairs not scored.

    ``plainly`` where the mean lies above the pooler, else it is advice about mean pooling only.
    """
    if verdict is None or not verdict.selection:
        return []
    pairs = [sides(finding.view) for finding in verdict.by_task]
    other = next((p[1] for p in pairs if p[0] == mean and p[-1].startswith("mean@")), "")
    decided = _Decided.of(verdict, difference(mean, other))
    if not decided.by_task:
        return []
    named = f"`{other}`, the best earlier layer (chosen on held-out pairs),"
    side = decided.side if decided.overall is None else _side(decided.overall)
    best = other if side < 0 else mean
    told = f"{_spread(decided, named)}."
    if not side and not decided.negligible:
        return [f"`{mean}` is {told}"]
    layer = "the last layer" if best == mean else f"layer {best.partition('@')[2]}"
    use = f"{'Use mean pooling of' if plainly else 'Of mean pooling, use'} {layer} (`{best}`)"
    if best == declared:
        use += ", which the encoder was tuned for"
    return [f"{use}: {'it' if best == mean else f'`{mean}`'} is {told}"]


def _values(scores: pd.DataFrame, model: str, quantity: Quantity) -> "dict[str, pd.Series[float]]":
    """Task → value of every view, in points."""
    found: dict[str, pd.Series[float]] = {}
    for task in scores.loc[scores["model"] == model, "task"].unique():
        if quantity not in quantities(scores, model, str(task)):
            continue
        table = select(scores, quantity, model=model, task=str(task)).set_index("view")
        found[str(task)] = table["value"]
    return found


def made_for(described: Mapping[str, Any], *, marked: bool = False) -> list[str]:
    """What a checkpoint was tuned for, and that its attention is causal, a sentence each.

    ``marked`` where a table beside it marks the checkpoint's own view: it is not said again.
    """
    name, lines = described["name"], []
    view = described.get("declared_view")
    if described.get("tuned_for") and not (marked and view):
        own = f": its own view is {view}" if view else ": none of the views is its own"
        lines.append(f"{name} is {described['tuned_for']}{own}")
    if described.get("attention") == "causal":
        lines.append(f"the attention of {name} is causal: last and wmean take the place of cls")
    return lines


def _table(scores: pd.DataFrame, manifest: Mapping[str, Any], aggregation: str) -> PageTable:
    """Encoders as rows: mean, [CLS], pooler and chosen layer, beside random weights and floors."""
    measured = ("mean", "[CLS]", "pooler", "chosen layer", "random weights", "floor")
    header = ("encoder", "measured", *measured)
    rows: list[tuple[PageCell, ...]] = []
    own = {e["name"]: e.get("declared_view") for e in manifest["encoders"]}
    similarity = replace(SIMILARITY, aggregation=aggregation)
    of_pairs = False
    for model in models_of(scores):
        for quantity, name in ((similarity, "Spearman × 100"), (ACCURACY, "accuracy, %")):
            tables = _values(scores, model, quantity)
            if not tables:
                continue
            means = pd.DataFrame(tables).mean(axis=1, skipna=False)
            layers = [place_of(str(view)).layer for view in means.index]
            last = max((layer for layer in layers if layer is not None), default=0)
            chosen = _chosen_view(scores, model) if quantity is similarity else ""
            twin = _values(scores, twin_name(model), quantity)
            control = pd.DataFrame(twin).mean(axis=1, skipna=False).max() if twin else math.nan
            reached = [
                max(floors(scores, quantity, task=task, model=model).values(), default=math.nan)
                for task in tables
            ]
            floor = float(np.mean(reached)) if reached else math.nan
            sets = next(iter(tables)) if len(tables) == 1 else f"average of {len(tables)}"
            cells = [PageCell(model), PageCell(f"{name}, {sets}")]
            for pooling in ("mean", "cls", "pooler"):
                view = f"{pooling}@{last}"
                value = float(means.get(view, math.nan))
                cells.append(_number_cell(value, mark=view == own.get(model)))
            value = float(means.get(chosen, math.nan))
            if not math.isnan(value):
                mark = f"\N{NO-BREAK SPACE}{TUNED_FOR}" if chosen == own.get(model) else ""
                cells.append(PageCell(f"{points(value)}\N{NO-BREAK SPACE}{chosen}{mark}", value))
            else:
                cells.append(PageCell(_UNTOLD))
            cells += [_number_cell(float(control)), _number_cell(floor)]
            rows.append(tuple(cells))
            of_pairs |= quantity is similarity
    chosen_layer = "Chosen layer: mean pooling of the layer that was best on held-out pairs. "
    return PageTable(
        caption="Mean, [CLS] and pooler are of the last layer. "
        + chosen_layer * of_pairs
        + "Random weights: the same network, untrained, its best view. Floor: the best baseline "
        f"that uses no encoder, such as {'word overlap' if of_pairs else 'the commonest label'}"
        + (f". {TUNED_FOR}: the view that the encoder was tuned for" if any(own.values()) else ""),
        header=header,
        rows=tuple(rows),
    )


def _chosen_view(scores: pd.DataFrame, model: str) -> str:
    """Mean pooling of the best layer on development pairs; empty where none was chosen."""
    rows = scores[(scores["metric"] == "selection_spearman") & (scores["model"] == model)]
    rows = rows[rows["pooling"] == "mean"]
    values = rows.set_index("view")["value"].dropna()
    return str(values.idxmax()) if len(values) else ""


def _number_cell(value: float, *, mark: bool = False) -> PageCell:
    shown = points(value) + (f"\N{NO-BREAK SPACE}{TUNED_FOR}" if mark else "")
    return PageCell(_UNTOLD if math.isnan(value) else shown, value)
