"""The command line: ``probing run``, ``probing tasks``, ``probing models``."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from probing.commands.extract import cache_app, extract_command
from probing.commands.finetune import finetune_command
from probing.commands.pretrain import export_command, pretrain_command
from probing.commands.terminal import bar
from probing.encoding.encoder import Dtype
from probing.errors import InputError
from probing.progress import set_display
from probing.results.names import sides
from probing.sources.declarations import MODELS

_PIPED_WIDTH = 120
"""Columns of a table that goes to a file or a pipe, where nothing wraps."""
_INTERRUPTED = 130
"""Exit code after Ctrl-C."""
_REMARKS = "probing.tasks.official"
"""Who logs the remarks on tasks, which stand under the results."""

app = typer.Typer(
    help="What do BERT's layers and its pooler_output know about a sentence?",
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.command()
def run(
    preset: Annotated[str | None, typer.Option(help="A named study: its models and tasks.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="An alias, a Hub id or a folder. May be repeated."),
    ] = None,
    contrast: Annotated[
        list[str] | None,
        typer.Option(
            help="Two of the models to compare view by view: 'ONE - OTHER'. May be repeated, as "
            "for pairs pre-trained from several seeds; their mean is compared too."
        ),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="A task (see probing tasks). May be repeated.")
    ] = None,
    probe: Annotated[
        list[str] | None,
        typer.Option(help="linear, mlp, mlp-senteval, senteval or codelength. May be repeated."),
    ] = None,
    controls: Annotated[
        bool, typer.Option("--controls", help="Train each probe on a control task too.")
    ] = False,
    protocol: Annotated[
        str | None,
        typer.Option(help="Whose settings the STS sets are scored with, such as simcse or mteb."),
    ] = None,
    data_dir: Annotated[
        str | None,
        typer.Option(envvar="PROBING_DATA", help="Folder with the official data sets."),
    ] = None,
    corpus: Annotated[
        str | None,
        typer.Option(help="Folder of texts, to read next sentences from every view too."),
    ] = None,
    dtype: Annotated[Dtype, typer.Option(help="Number format of the forward pass.")] = (
        Dtype.FLOAT32
    ),
    cache_dir: Annotated[
        str | None,
        typer.Option(
            envvar="PROBING_CACHE", help="Where vectors are kept; by default the user's cache."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap and the random weights.")] = 0,
    seeds: Annotated[
        int, typer.Option(help="How many seeds a probe that is random is averaged over.")
    ] = 1,
    smallest_effect: Annotated[
        float, typer.Option(help="Smallest effect of interest in points; less is negligible.")
    ] = 1.0,
    out: Annotated[
        Path | None, typer.Option(help="The run folder; by default runs/DATE-TIME.")
    ] = None,
) -> None:
    """Measure every view of the models on the tasks and write a run folder."""
    from probing.claims.catalogue import NEXT_SENTENCE_CLAIMS, pair_claims
    from probing.claims.deciding import decide
    from probing.claims.verdict import verdict_text, wrapped
    from probing.commands.score_tables import score_tables
    from probing.reporting.report import write_report
    from probing.results.differences import usable_aggregation
    from probing.study.encoder_pairs import contrast_names
    from probing.study.study import PRESETS, run_study, this_command
    from probing.tasks import find_protocol

    name = preset or "embedded"
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}: expected one of {', '.join(PRESETS)}")
    study = replace(
        PRESETS[name], dtype=str(dtype), seed=seed, data_dir=data_dir, cache_dir=cache_dir
    )
    if model:
        pairs = tuple(_contrast(text) for text in contrast or ())
        study = replace(study, models=tuple(model), contrasts=pairs)
    elif contrast:
        raise InputError("--contrast compares models of --model: name them")
    if task:
        study = replace(study, tasks=tuple(task))
    if probe:
        study = replace(study, probes=tuple(probe))
    if controls:
        study = replace(study, controls=True)
    if smallest_effect != 1.0:
        study = replace(study, smallest_effect=smallest_effect / 100)
    if seeds != 1:
        study = replace(study, n_seeds=seeds)
    if protocol:
        study = replace(study, protocol=protocol)
    if corpus:
        study = replace(study, corpus=corpus)
    folder = out or Path("runs") / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    result = run_study(study, folder, command=this_command())
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _PIPED_WIDTH)
    settings = find_protocol(study.protocol)
    aggregation = usable_aggregation(result.scores, str(settings.aggregation))
    encoders = {encoder["name"]: encoder for encoder in result.manifest["encoders"]}
    records = {name: encoder["pretraining"] for name, encoder in encoders.items()}
    for model_name in study.models:
        for table in score_tables(
            result.scores,
            model_name,
            metric=str(settings.metric),
            aggregation=str(settings.aggregation),
            width=console.width,
        ):
            console.print(table)
        pooler = encoders[model_name]["pooler"]
        console.print(f"pooler of {escape(model_name)}: [bold]{pooler}[/]")
        if any(score == "spearman_difference" for score in result.scores["metric"]):
            verdict = decide(
                result.scores,
                model_name,
                aggregation=aggregation,
                smallest_effect=study.smallest_effect,
            )
            console.print()
            console.print(escape(wrapped(verdict_text(verdict, pooler=pooler), console.width)))
        if study.corpus is not None:
            verdict = decide(
                result.scores,
                model_name,
                claims=NEXT_SENTENCE_CLAIMS,
                smallest_effect=study.smallest_effect,
            )
            console.print(escape(wrapped(verdict_text(verdict), console.width)))
    for name in contrast_names(study.contrasts):
        verdict = decide(
            result.scores,
            name,
            claims=pair_claims(records, study.contrasts),
            aggregation=aggregation,
            smallest_effect=study.smallest_effect,
        )
        console.print(escape(wrapped(verdict_text(verdict), console.width)))
    for described in result.manifest["tasks"]:
        if described["remark"]:
            console.print(escape(described["remark"]))
    console.print()
    console.print(f"report: {escape(str(write_report(result)))}", soft_wrap=True)
    console.print(f"run folder: {escape(str(result.folder))}", soft_wrap=True)


def _contrast(text: str) -> tuple[str, str]:
    found = tuple(side.strip() for side in sides(text))
    if len(found) != 2 or not all(found):
        raise InputError(f"contrast {text!r}: expected two models, 'ONE - OTHER'")
    return found[0], found[1]


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")],
) -> None:
    """Write report.html, report.md and figures/ into a run folder."""
    from probing.reporting.report import write_report
    from probing.results.run_folder import load_run

    path = write_report(load_run(run))
    Console(highlight=False, soft_wrap=True).print(f"report: {escape(str(path))}")


app.command("extract")(extract_command)
app.command("pretrain")(pretrain_command)
app.command("export")(export_command)
app.command("finetune")(finetune_command)
app.add_typer(cache_app, name="cache")


@app.command()
def compare(
    run: Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")],
) -> None:
    """Hold the scores of a run against published numbers."""
    from probing.commands.ledger_table import ledger_table
    from probing.reporting.ledger import compare as compare_scores
    from probing.reporting.ledger import published_numbers
    from probing.results.run_folder import load_run

    ledger = compare_scores(load_run(run).scores, published_numbers())
    console = Console(highlight=False)
    if len(ledger.cells):
        console.print(ledger_table(ledger))
    counts = ledger.cells["finding"].value_counts()
    console.print(
        f"{len(ledger.cells)} published cells measured here"
        + "".join(f", {count} {finding}" for finding, count in counts.items())
    )
    for (source, model), missing in ledger.missing.groupby(["source", "model"], sort=False):
        console.print(f"not measured: {len(missing)} of {escape(str(source))} ({model})")


@app.command()
def tasks() -> None:
    """List the tasks; a file with recognised columns works as well."""
    from probing.tasks import catalogue

    console = Console(highlight=False, soft_wrap=True)
    for entry in catalogue():
        kind = entry.kind or "unknown until loaded"
        facts = [str(kind), entry.size, entry.target]
        console.print(f"[bold]{escape(entry.name)}[/]  {escape(entry.title)}")
        console.print(f"    {', '.join(fact for fact in facts if fact)}")
        console.print(f"    {escape(entry.where)}")
        if entry.citation:
            console.print(f"    {escape(entry.citation)}; licence: {escape(entry.licence)}")
        if entry.note:
            console.print(f"    {escape(entry.note)}")


@app.command()
def models() -> None:
    """List the encoders that have an alias; any Hub id or folder works as well."""
    console = Console(highlight=False, soft_wrap=True)
    for source in MODELS:
        console.print(f"[bold]{source.alias}[/]  {source.note}")
        where = source.shipped or f"{source.hub_id} at {source.revision}"
        console.print(f"    {where}, {source.licence}")


def main() -> None:
    """Entry point: one line and exit code 2 for what the user can mend, never a traceback."""
    handler = RichHandler(
        console=Console(stderr=True), level=logging.WARNING, show_time=False, show_path=False
    )
    handler.addFilter(_is_news())
    logging.basicConfig(format="%(message)s", handlers=[handler])
    set_display(bar)
    arguments = sys.argv[1:] or ["--help"]
    # a scheduler's request to stop tidies up as Ctrl-C does
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = app(arguments, prog_name="probing", standalone_mode=False)
    except InputError as error:
        _fail(str(error), code=2)
    except typer.TyperException as error:  # an option that does not exist, a value it cannot have
        context = getattr(error, "ctx", None)
        command = "probing" if context is None else context.command_path
        found = error.format_message() if isinstance(error, typer.BadParameter) else str(error)
        found = found.replace("Value error, ", "").rstrip(".")  # typer's own preface
        _fail(f"{found}; see {command} --help", code=2)
    except Exception as error:
        if "PROBING_DEBUG" in os.environ:
            raise
        _fail(
            f"internal error, {type(error).__name__}: {error}. Set PROBING_DEBUG=1 to see where, "
            "and report it",
            code=1,
        )
    if code == _INTERRUPTED:
        _fail("interrupted; what was begun was not written", code=code)
    raise SystemExit(code or 0)


def _is_news() -> Callable[[logging.LogRecord], bool]:
    """Whether a message is for the terminal: not said before, nor told with the results."""
    seen: set[str] = set()

    def is_news(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if message in seen or record.name == _REMARKS:
            return False
        seen.add(message)
        return True

    return is_news


def _fail(message: str, *, code: int) -> None:
    print(f"probing: {' '.join(message.split())}", file=sys.stderr)  # one line, whatever it quotes
    raise SystemExit(code)
