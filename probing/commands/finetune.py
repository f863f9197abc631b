"""``probing finetune``: the options of a run, from the command line to `run_finetuning`."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from probing.commands.options import DataDir, ResumedFolder
from probing.errors import InputError

if TYPE_CHECKING:
    from probing.finetuning.experiment import CellReport

_WIDTH = 100
"""Columns of the verdict."""


def finetune_command(
    model: Annotated[str, typer.Option(help="An alias, a Hub id or a folder.")] = "minilm",
    task: Annotated[
        list[str] | None,
        typer.Option(help="A task with train and test. May be repeated; trec, cola and stsb."),
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option(
            help="What is read: pooler, pooler-fresh, mean, cls, max or attention. May be "
            "repeated; the first three by default."
        ),
    ] = None,
    train_size: Annotated[
        list[str] | None,
        typer.Option(help="Training items, or all. May be repeated; 100, 1000 and all."),
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(help="Of training items, order and dropout. May be repeated; 0, 1 and 2."),
    ] = None,
    frozen: Annotated[
        bool, typer.Option("--frozen", help="Train each head on the encoder held fixed as well.")
    ] = False,
    encoder_rate: Annotated[
        float | None,
        typer.Option(help="Peak learning rate of the encoder; 0 holds it fixed throughout."),
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option(help="How often all training items are gone through; 3 by default."),
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option(help="Most updates of a cell, where the epochs take too long.")
    ] = None,
    data_dir: DataDir = None,
    checkpoint_seconds: Annotated[
        float, typer.Option(help="Between two checkpoints of the cell in training.")
    ] = 60.0,
    out: ResumedFolder = None,
) -> None:
    """Fine-tune an encoder under each head on each task and write a run folder."""
    from probing.claims.deciding import decide
    from probing.claims.verdict import verdict_text, wrapped
    from probing.commands.learning_tables import learning_tables
    from probing.finetuning.experiment import FinetuningStudy, run_finetuning
    from probing.finetuning.heads import named_head
    from probing.finetuning.recipes import recipes_for
    from probing.study.running import this_command

    study = FinetuningStudy(
        model=model,
        tasks=tuple(task or ("trec", "cola", "stsb")),
        heads=tuple(map(named_head, head or ())),
        train_sizes=tuple(map(_size, train_size or ("100", "1000", "all"))),
        seeds=tuple(seed or (0, 1, 2)),
        recipes=recipes_for(
            with_frozen=frozen, encoder_rate=encoder_rate, epochs=epochs, most_steps=max_steps
        ),
        data_dir=data_dir,
    )
    folder = out or Path("runs") / datetime.now().astimezone().strftime("finetune-%Y%m%d-%H%M%S")
    console = Console(highlight=False, soft_wrap=True)

    def tell(report: "CellReport") -> None:
        console.print(escape(_line(report)))

    try:
        run = run_finetuning(
            study, folder, command=this_command(), checkpoint_seconds=checkpoint_seconds, watch=tell
        )
    except KeyboardInterrupt:
        message = f"probing: interrupted; rerun with --out {folder} to resume"
        typer.echo(message, err=True)
        raise typer.Exit(code=130) from None
    for table in learning_tables(run.scores, run.manifest["encoders"][0]["name"]):
        console.print(table)
    (encoder,) = run.manifest["encoders"]
    verdict = decide(run.scores, encoder["name"])
    if verdict.by_task:
        text = verdict_text(verdict, pooler=encoder["pooler"])
        console.print(escape(wrapped(text, _WIDTH)))
    gap = run.frozen_gap()
    if gap is not None:
        console.print(
            f"frozen limit and linear probe: at most {gap.points:.2f} points apart in "
            f"{gap.n_cells} cells ({gap.task}, {gap.view}, {gap.trained_on}, seed {gap.seed})"
        )
    console.print(f"report: {escape(str(run.report()))}")
    console.print(f"run folder: {escape(str(folder))}")


def _size(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal():
        raise InputError(f"--train-size {text!r}: expected a whole number, or all")
    return int(text)


def _line(report: "CellReport") -> str:
    cell = report.cell
    words = f"{report.task} {report.head} {report.trained_on} seed {report.seed}"
    words += " frozen" * report.frozen
    words += f": {report.metric} {100 * report.value:.1f}, best of {cell.steps} steps at "
    words += f"{cell.best_step}, {cell.seconds:.0f} s"
    if cell.resumed_from is not None:
        words += f", resumed from step {cell.resumed_from}"
    return words
