"""The report of a run: which sections, figures and tables it has, and what they say."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pandas as pd

from probing.claims.catalogue import (
    CLAIMS,
    NEXT_SENTENCE_CLAIMS,
    TREEBANK_CLAIMS,
    Claim,
    pair_claims,
)
from probing.claims.deciding import Verdict, decide
from probing.claims.outcomes import SMALLEST_EFFECT
from probing.claims.verdict import POOLER_STATES, verdict_text
from probing.reporting import figures
from probing.reporting.figures import ANISOTROPY, COMPRESSION, SIMILARITY, Described, Quantity
from probing.reporting.page_tables import (
    encoder_table,
    findings_table,
    score_table,
    sentences_table,
    task_table,
)
from probing.reporting.pages import Group, Picture, Report, Section, write_pages
from probing.reporting.summary import made_for, summarise
from probing.results.differences import usable_aggregation
from probing.results.names import twin_name
from probing.results.quantities import (
    DIFFERENCE,
    best_row,
    contrasts_of,
    floors,
    models_of,
    quantities,
    records,
    select,
    with_interval,
    written,
)

_TITLE_NAMES: Final = 40
"""Letters of names that a title has room for."""
_WARNING: Final = re.compile(r"WARNING [\w.]+: (.*)")
_ROAD: Final = ("mean", "cls", "pooler_dense", "pooler")


def write_report(
    run_folder: Path,
    scores: pd.DataFrame,
    manifest: dict[str, Any],
    claims: Sequence[Claim] = CLAIMS,
) -> Path:
    """Write ``report.html``, ``report.md`` and ``figures/*.svg`` into the folder of a run.

    The page is one file: figures inline, no request leaves it. Earlier files are replaced.

    Args:
        run_folder: Where the report goes; its log has the warnings of the run.
        scores: The results table.
        manifest: What was studied.
        claims: What the verdict on each model decides.

    Returns:
        The path of ``report.html``.
    """
    return write_pages(
        run_folder, build_report(scores, manifest, run_notes(run_folder), claims=claims)
    )


def build_report(
    scores: pd.DataFrame,
    manifest: dict[str, Any],
    notes: Sequence[str] = (),
    *,
    claims: Sequence[Claim] = CLAIMS,
) -> Report:
    """What is to be said of a run, before it takes a form."""
    models = models_of(scores)
    tasks = [task["name"] for task in manifest["tasks"]]
    described = {encoder["name"]: encoder for encoder in manifest["encoders"]}
    aggregation = usable_aggregation(scores, manifest.get("aggregation", SIMILARITY.aggregation))
    smallest = manifest["study"].get("smallest_effect", SMALLEST_EFFECT)
    verdicts = {model: _verdicts(scores, model, claims, aggregation, smallest) for model in models}
    further = _further_verdicts(scores, models, aggregation, manifest, smallest)
    return Report(
        title=_title(models, tasks),
        summary=summarise(
            scores,
            manifest,
            {model: found[0] for model, found in verdicts.items() if found},
            aggregation=aggregation,
        ),
        passages=tuple(
            _passage(scores, model, tasks, verdicts[model], described[model]) for model in models
        )
        + tuple(tuple(verdict_text(verdict).splitlines()) for verdict in further),
        sections=tuple(
            _section(scores, model, tasks, verdicts[model], described[model]) for model in models
        )
        + tuple(_claims_section(verdict) for verdict in further),
        command=manifest["command"],
        repeat=_repeat(manifest),
        origins=(encoder_table(manifest), task_table(manifest)),
        notes=tuple(notes),
    )


def _title(models: Sequence[str], tasks: Sequence[str]) -> str:
    """Models and tasks by name where these are few, else how many there are."""
    named = ", ".join(Path(model).name for model in models)
    if len(named) > _TITLE_NAMES:
        named = f"{len(models)} models"
    return f"{named} on {_listed(tasks)}"


def _listed(tasks: Sequence[str]) -> str:
    """Tasks by name where these are few, else how many there are."""
    listed = ", ".join(tasks)
    return listed if len(listed) <= _TITLE_NAMES else f"{len(tasks)} tasks"


def _verdicts(
    scores: pd.DataFrame,
    model: str,
    claims: Sequence[Claim],
    aggregation: str,
    smallest_effect: float,
) -> tuple[Verdict, ...]:
    """The verdict on a model under the run's aggregation, then under the others it measured.

    Empty where the run measured none of the claims.
    """
    mine = scores[scores["model"] == model]
    compared = mine[mine["metric"].str.endswith(DIFFERENCE)]
    if compared.empty:
        return ()
    found = dict.fromkeys((aggregation, *compared["aggregation"].unique()))
    verdicts = [
        decide(scores, model, claims=claims, aggregation=str(name), smallest_effect=smallest_effect)
        for name in found
    ]
    return tuple(verdict for verdict in verdicts if verdict.by_task)


def _further_verdicts(
    scores: pd.DataFrame,
    models: Sequence[str],
    aggregation: str,
    manifest: Mapping[str, Any],
    smallest_effect: float,
) -> tuple[Verdict, ...]:
    """On next sentences and treebanks as each model has them, and on contrasts between models."""
    records = {encoder["name"]: encoder.get("pretraining") for encoder in manifest["encoders"]}
    pairs = [tuple(pair) for pair in manifest["study"].get("contrasts", ())]
    found = [
        decide(scores, model, claims=claims, smallest_effect=smallest_effect)
        for model in models
        for claims in (NEXT_SENTENCE_CLAIMS, TREEBANK_CLAIMS)
    ]
    found += [
        decide(
            scores,
            name,
            claims=pair_claims(records, pairs),
            aggregation=aggregation,
            smallest_effect=smallest_effect,
        )
        for name in contrasts_of(scores)
    ]
    return tuple(verdict for verdict in found if verdict.by_task)


def _claims_section(verdict: Verdict) -> Section:
    title = f"Further claims: {verdict.model} on {_listed(verdict.tasks)}"
    return Section(
        title=title,
        lines=_sentences(verdict),
        groups=(_group(title, "", {"claims": figures.effects(verdict)}),),
        tables=(sentences_table(verdict), findings_table(verdict)),
    )


def _sentences(verdict: Verdict) -> tuple[str, ...]:
    """What each claim says, for those who meet its number for the first time."""
    said = {finding.claim: finding.sentence for finding in verdict.by_task}
    return tuple(f"Claim {claim}: {sentence}." for claim, sentence in said.items())


def _passage(
    scores: pd.DataFrame,
    model: str,
    tasks: Sequence[str],
    verdicts: Sequence[Verdict],
    described: Mapping[str, Any],
) -> tuple[str, ...]:
    state = described["pooler"]
    if verdicts:
        text = verdict_text(
            verdicts[0], pooler=state, declared=described.get("declared_view"), others=verdicts[1:]
        )
        return tuple(text.splitlines())
    headlines = [
        _headline(scores, model, task, quantity)
        for task in tasks
        for quantity in quantities(scores, model, task)[:1]
    ]
    return (f"{model} in numbers", *headlines, POOLER_STATES[state])


def _headline(scores: pd.DataFrame, model: str, task: str, quantity: Quantity) -> str:
    """The highest view of a task, the pooler, and what they are to be held against."""
    table = select(scores, quantity, model=model, task=task)
    best = best_row(table)
    if best is None:
        return f"{task}: undefined under every view."
    n = len(table)
    parts = [f"{task}, {quantity}: highest of {n} views {best['view']} {with_interval(best)}"]
    parts += [
        f"pooler_output {with_interval(row)}"
        for row in records(table[table["pooling"] == "pooler"])
    ]
    if twin_name(model) in set(scores["model"]):
        control = best_row(select(scores, quantity, model=twin_name(model), task=task))
        if control is not None:
            parts.append(f"random weights at most {written(control['value'])}")
    found = floors(scores, quantity, task=task, model=model)
    parts += [f"floor {name} {written(value)}" for name, value in found.items()]
    return "; ".join(parts) + "."


def _section(
    scores: pd.DataFrame,
    model: str,
    tasks: Sequence[str],
    verdicts: Sequence[Verdict],
    described: Mapping[str, Any],
) -> Section:
    measured: dict[Quantity, list[str]] = {}
    for task in tasks:
        for quantity in quantities(scores, model, task):
            measured.setdefault(quantity, []).append(task)
    first: dict[str, Described] = {}
    if verdicts:
        first["claims"] = figures.effects(verdicts[0])
    for quantity, those in measured.items():
        if len(those) > 1 and _has_layers(scores, model, those[0], quantity):
            name = f"tasks {quantity.probe} {quantity.metric}"
            first[name] = figures.task_map(scores, model=model, tasks=those, quantity=quantity)
    if "cka" in set(scores.loc[scores["model"] == model, "metric"]):
        first["cka"] = figures.cka_map(scores, model=model)
    groups = [_group(model, "", first)] if first else []
    for task in tasks:
        drawn: dict[str, Described] = {}
        if len(figures.learning_rows(scores, model=model, task=task)):
            drawn["learning curves"] = figures.learning_curves(scores, model=model, task=task)
        for quantity in quantities(scores, model, task):
            drawn |= _task_figures(scores, model, task, quantity)
        groups.append(_group(model, task, drawn))
    declared = described.get("declared_view")
    tables = [
        score_table(scores, model, those, quantity, declared=declared)
        for quantity, those in measured.items()
    ]
    if verdicts:
        tables = [sentences_table(verdicts[0]), findings_table(verdicts[0]), *tables]
    return Section(
        title=model,
        lines=(
            f"Pooler: {described['pooler']}.",
            *(f"{line}." for line in made_for(described)),
            *(_sentences(verdicts[0]) if verdicts else ()),
        ),
        groups=tuple(groups),
        tables=tuple(tables),
    )


def _group(model: str, title: str, drawn: dict[str, Described]) -> Group:
    pictures = [Picture(_slug(model, title, name), figure) for name, figure in drawn.items()]
    return Group(title, tuple(pictures))


def _task_figures(
    scores: pd.DataFrame, model: str, task: str, quantity: Quantity
) -> dict[str, Described]:
    """Every figure of a task that the table has the rows for."""
    if not _has_layers(scores, model, task, quantity):
        return {}
    where: dict[str, Any] = {"model": model, "task": task}
    mine = scores[(scores["model"] == model) & (scores["task"] == task)]
    if quantity == COMPRESSION:
        return {"compression": figures.layer_curves(scores, **where, quantity=quantity)}
    drawn = {
        "map": figures.heat_map(scores, **where, quantity=quantity),
        "curves": figures.layer_curves(scores, **where, quantity=quantity),
    }
    if quantity != SIMILARITY:
        with_control = set(mine.loc[mine["labels"] == "control", "metric"])
        if quantity.metric in with_control:
            drawn["selectivity"] = figures.selectivity(scores, **where)
        return drawn
    shown = select(scores, quantity, **where)
    if best_row(shown) is None:
        return drawn  # nothing is defined: there is nothing to compare
    if {"mean", "wmean"} <= set(mine["aggregation"]):
        drawn["aggregations"] = figures.comparison(scores, **where, by="aggregation")
    road = [f"{pooling}@{mine['layer'].max()}" for pooling in _ROAD]
    undefined = set(shown.loc[shown["value"].isna(), "view"])
    taken = {f"{after} - {before}" for before, after in pairwise(road)} <= set(mine["view"])
    if taken and not undefined & set(road):
        drawn["road"] = figures.road(scores, **where, views=road)
    if "whitened:target" in set(mine["transform"]):
        drawn["transforms"] = figures.comparison(scores, **where, by="transform")
    if "anisotropy" in set(mine["metric"]):
        drawn["anisotropy"] = figures.layer_curves(scores, **where, quantity=ANISOTROPY)
    return drawn


def _has_layers(scores: pd.DataFrame, model: str, task: str, quantity: Quantity) -> bool:
    """Whether there is more than one layer to draw; fine-tuning measures only the last one."""
    shown = select(scores, quantity, model=model, task=task)
    return len(shown["layer"].dropna().unique()) > 1


def _repeat(manifest: dict[str, Any]) -> tuple[str, ...]:
    versions = ", ".join(f"{name} {number}" for name, number in manifest["versions"].items())
    machine = ", ".join(
        f"{name} {value}" for name, value in manifest["machine"].items() if value is not None
    )
    study = manifest["study"]
    settings = f"Seed {study['seed']}, {study['n_resamples']} resamples, dtype {study['dtype']}"
    return (
        f"{settings}; started {manifest['started']}, {manifest['seconds']} seconds.",
        f"Versions: {versions}.",
        f"Machine: {machine}.",
    )


def run_notes(folder: Path) -> tuple[str, ...]:
    """The distinct warnings in the log of a run folder, with how often each was given."""
    log = folder / "run.log"
    if not log.is_file():
        return ()
    found = Counter(_WARNING.findall(log.read_text(encoding="utf-8")))
    return tuple(text if count == 1 else f"{text} ({count} times)" for text, count in found.items())


def _slug(*words: str) -> str:
    """A file name of lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")
