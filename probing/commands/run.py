"""``probing run``, and what is done with a finished run: ``report`` and ``compare``."""

import math
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from probing.commands.options import BatchTokens, CacheDir, DataDir, Device, MaxLength, WeightForm
from probing.commands.terminal import kept, wide_console
from probing.encoding.dtypes import Dtype
from probing.encoding.weight_forms import Weights
from probing.errors import InputError
from probing.results.names import sides

if TYPE_CHECKING:
    from probing.reporting.run import Run
    from probing.study.study import Study


def run_command(
    preset: Annotated[
        str | None,
        typer.Option(
            help="A named study, its models and tasks: embedded (what a run without --model or "
            "--task measures) or paper."
        ),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="An alias, a Hub id or a folder. May be repeated.")
    ] = None,
    vectors: Annotated[
        list[Path] | None,
        typer.Option(
            help="Vectors that you have, in place of a model: .npz, .parquet or .safetensors of "
            "named views with their sentences, or a folder of such files. May be repeated."
        ),
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
    pooling: Annotated[
        list[str] | None,
        typer.Option(
            help="A pooling of your own, module:name, a function of (hidden, mask). May be "
            "repeated."
        ),
    ] = None,
    view: Annotated[
        list[str] | None,
        typer.Option(
            help="An average (mean@11+12) or concatenation (cls@11,12) of layers to measure too. "
            "May be repeated."
        ),
    ] = None,
    probe: Annotated[
        list[str] | None,
        typer.Option(
            help="linear, mlp, mlp-senteval, senteval, codelength, scalar-mix, attention, or "
            "module:name of a scikit-learn classifier. May be repeated."
        ),
    ] = None,
    transform: Annotated[
        list[str] | None,
        typer.Option(help="A transform of your own, module:name. May be repeated."),
    ] = None,
    erase: Annotated[
        list[str] | None,
        typer.Option(
            help="A task (with --corpus also next-sentence) whose labels are taken out of the "
            "vectors, by LEACE, INLP, and a random subspace as control; all is measured without "
            "them too. May be repeated."
        ),
    ] = None,
    claim: Annotated[
        list[str] | None, typer.Option(help="A claim of your own, module:name. May be repeated.")
    ] = None,
    controls: Annotated[
        bool, typer.Option("--controls", help="Train each probe on a control task too.")
    ] = False,
    protocol: Annotated[
        str | None,
        typer.Option(help="Whose settings the STS sets are scored with, such as simcse or mteb."),
    ] = None,
    data_dir: DataDir = None,
    corpus: Annotated[
        str | None,
        typer.Option(help="Folder of texts, to read next sentences from every view too."),
    ] = None,
    same_source: Annotated[
        bool, typer.Option("--same-source", help="Draw random next sentences from the same source.")
    ] = False,
    dtype: Annotated[Dtype, typer.Option(help="Number format of the forward pass.")] = (
        Dtype.FLOAT32
    ),
    device: Device = None,
    revision: Annotated[
        str | None, typer.Option(help="Commit, tag or branch of the one model, a Hub id.")
    ] = None,
    max_length: MaxLength = None,
    batch_tokens: BatchTokens = None,
    score_range: Annotated[
        str | None,
        typer.Option(
            help="LOWEST,HIGHEST score in files of your own, or any; by default 0,5.",
            metavar="RANGE",
        ),
    ] = None,
    weights: WeightForm = Weights.SAFETENSORS,
    cache_dir: CacheDir = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap and the random weights.")] = 0,
    seeds: Annotated[
        int, typer.Option(help="Average everything random in a probe over this many seeds.")
    ] = 1,
    draws: Annotated[
        int, typer.Option(help="Hold the pooler against this many draws of random weights.")
    ] = 5,
    smallest_effect: Annotated[
        float, typer.Option(help="Smallest effect of interest in points; less is negligible.")
    ] = 1.0,
    table: Annotated[
        bool, typer.Option("--table", help="Print every view and claim, not only the summary.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The run folder; by default runs/DATE-TIME.")
    ] = None,
) -> None:
    """Measure every view of the models on the tasks and write a run folder."""
    from probing.study.brought import load_named, load_object
    from probing.study.running import this_command
    from probing.study.study import PRESETS, run_study

    name = preset or "embedded"
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}: expected one of {', '.join(PRESETS)}")
    if not 0 < smallest_effect < math.inf:
        raise InputError(f"--smallest-effect {smallest_effect:g}: expected points, more than 0")
    if same_source and not corpus:
        raise InputError("--same-source is for --corpus: add it, or leave --same-source out")
    if vectors and not model and (pooling or view):
        given = "--pooling" if pooling else "--view"
        raise InputError(f"{given} is for layers, and --vectors has none: leave one of them out")
    chosen: dict[str, Any] = {
        "dtype": str(dtype),
        "seed": seed,
        "data_dir": data_dir,
        "cache_dir": cache_dir,
        "controls": controls,
        "n_seeds": seeds,
        "same_source": same_source,
        "n_draws": draws,
        "smallest_effect": smallest_effect / 100,
        "poolings": load_named(pooling or (), kind="pooling"),
        "transforms": load_named(transform or (), kind="transform"),
        "views": tuple(view or ()),
        "erase": tuple(erase or ()),
        "device": device,
        "revision": revision,
        "max_length": max_length,
        "batch_tokens": batch_tokens,
        "weights": str(weights),
    }
    if score_range is not None:
        chosen["score_range"] = _score_range(score_range)
    if model or vectors:
        chosen["models"] = (*(model or ()), *_vector_files(vectors or []))
        chosen["contrasts"] = tuple(_contrast(text) for text in contrast or ())
    elif contrast:
        raise InputError("--contrast compares models of --model: name them")
    if task:
        chosen["tasks"] = tuple(task)
    if probe:
        chosen["probes"] = tuple(
            load_object(text, kind="probe") if ":" in text else text for text in probe
        )
    if claim:
        brought = [load_object(text, kind="claim") for text in claim]
        chosen["claims"] = (*PRESETS[name].claims, *brought)
    if protocol:
        chosen["protocol"] = protocol
    if corpus:
        chosen["corpus"] = corpus
    study = replace(PRESETS[name], **chosen)
    folder = out or Path("runs") / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    result = run_study(study, folder, command=this_command())
    with kept(folder):
        report = result.report()
        _show(result, study, report, tables=table)


def _show(result: "Run", study: "Study", report: Path, *, tables: bool) -> None:
    """The summary of a run, with ``tables`` every view and claim, and where all of it is."""
    from probing.commands.summary_table import rich_table
    from probing.reporting.summary import made_for

    console = wide_console()
    summary = result.summary()
    for sentence in summary.sentences:
        console.print(escape(sentence))
    if summary.table.rows:
        console.print(rich_table(summary.table, console))
        console.print(escape(f"{summary.table.caption}."))
    for name in result.models:
        for line in made_for(result.described(name), marked=True):
            console.print(escape(f"{line}."))
    if tables:
        _show_tables(console, result, study)
    for described in result.manifest["tasks"]:
        if described["remark"]:
            console.print(escape(described["remark"]))
    console.print(f"report: {escape(str(report))}", soft_wrap=True)
    console.print(f"run folder: {escape(str(result.folder))}", soft_wrap=True)
    if not tables:
        console.print("every view and claim: the report, or --table")


def _show_tables(console: Console, result: "Run", study: "Study") -> None:
    """Every view of every model, and the verdicts."""
    from probing.claims.catalogue import NEXT_SENTENCE_CLAIMS, TREEBANK_CLAIMS
    from probing.claims.verdict import verdict_text, wrapped
    from probing.commands.score_tables import score_tables
    from probing.study.encoder_pairs import contrast_names
    from probing.tasks import find_protocol

    settings = find_protocol(study.protocol)
    for name in result.models:
        for table in score_tables(
            result.scores,
            name,
            metric=str(settings.metric),
            aggregation=str(settings.aggregation),
            width=console.width,
            declared=result.declared_view(name),
        ):
            console.print(table)
        console.print(f"pooler of {escape(name)}: [bold]{result.pooler_state(name)}[/]")
        if any(score == "spearman_difference" for score in result.scores["metric"]):
            console.print(escape(result.words(name, width=console.width)))
        for claims in (NEXT_SENTENCE_CLAIMS, TREEBANK_CLAIMS):
            verdict = result.verdict(name, claims=claims)
            if verdict.by_task:
                console.print(escape(wrapped(verdict_text(verdict), console.width)))
    for name in contrast_names(study.contrasts):
        verdict = result.verdict(name, claims=result.pair_claims())
        console.print(escape(wrapped(verdict_text(verdict), console.width)))


def _vector_files(paths: list[Path]) -> list[str]:
    from probing.study.brought import VECTOR_FILES

    files: list[Path] = []
    for path in paths:
        found = sorted(file for file in path.glob("*") if file.suffix in VECTOR_FILES)
        if path.is_dir() and not found:
            raise InputError(f"{path} holds no vectors: expected {', '.join(VECTOR_FILES)} files")
        if not path.is_dir() and (path.suffix not in VECTOR_FILES or not path.is_file()):
            raise InputError(
                f"--vectors {path}: expected a file {', '.join(VECTOR_FILES)} or a folder of them"
            )
        files += found if path.is_dir() else [path]
    return [str(file) for file in files]


def _score_range(text: str) -> tuple[float, float] | None:
    if text == "any":
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = 0.0
    if not -math.inf < low < high < math.inf:
        raise InputError(f"--score-range {text!r}: expected LOWEST,HIGHEST such as 1,7, or any")
    return low, high


def _contrast(text: str) -> tuple[str, str]:
    found = tuple(side.strip() for side in sides(text))
    if len(found) != 2 or not all(found) or found[0] == found[1]:
        raise InputError(f"contrast {text!r}: expected two different models, 'ONE - OTHER'")
    return found[0], found[1]


def report_command(
    run: Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")],
) -> None:
    """Write report.html, report.md and figures/ into a run folder."""
    from probing.reporting.run import load_run

    finished = load_run(run)
    if "cause" in finished.manifest:
        from probing.cause.experiment import rewrite

        path = rewrite(run)
    else:
        path = finished.report()
    Console(highlight=False, soft_wrap=True).print(f"report: {escape(str(path))}")
