"""``probing compare`` and ``probing verify``: runs side by side, and beside published numbers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from probing.commands.options import DataDir
from probing.commands.terminal import wide_console
from probing.errors import InputError

if TYPE_CHECKING:
    from probing.reporting.ledger import Ledger
    from probing.reporting.run import Run


def compare_command(
    runs: Annotated[list[Path], typer.Argument(help="One run folder or more.", metavar="RUN...")],
    pooling: Annotated[
        str,
        typer.Option(
            help="Of several runs, the pooling of the last layer that stands for each encoder; "
            "own is what it was tuned for, else the mean."
        ),
    ] = "own",
    figure: Annotated[
        Path | None, typer.Option(help="Draw several runs into this file, .svg or .png.")
    ] = None,
) -> None:
    """Hold one run against published numbers, or the encoders of several against each other."""
    from probing.reporting.run import load_run

    loaded = [load_run(run) for run in runs]
    if len(loaded) > 1:
        _side_by_side(loaded, pooling, figure)
    elif figure is not None or pooling != "own":
        raise InputError("--figure and --pooling are for several runs: name two or more")
    else:
        _show(loaded[0].compare())


def _side_by_side(runs: "list[Run]", pooling: str, figure: Path | None) -> None:
    from probing.commands.summary_table import rich_table
    from probing.reporting.leaderboard import leaderboard
    from probing.results.writing import write_bytes

    if figure is not None and figure.suffix not in (".svg", ".png"):
        raise InputError(f"--figure {figure}: expected a file .svg or .png")
    board = leaderboard(runs, pooling=pooling)
    console = wide_console()
    console.print(rich_table(board.page_table(), console))
    console.print(board.page_table().caption)
    if figure is not None:
        drawn = board.figure()
        write_bytes(figure, drawn.svg.encode() if figure.suffix == ".svg" else drawn.png())
        console.print(f"figure: {escape(str(figure))}", soft_wrap=True)


def verify_command(
    name: Annotated[
        str, typer.Argument(help="A source, or part of its name, such as SBERT.", metavar="NAME")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(help="Only these of the paper's models, by alias or Hub id. May be repeated."),
    ] = None,
    data_dir: DataDir = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder; by default runs/verify-NAME.")
    ] = None,
) -> None:
    """Run what a paper's table needs and print it beside the paper's numbers."""
    from probing.reporting.ledger import compare, needed, published_numbers
    from probing.study.running import this_command
    from probing.study.study import Study, run_study

    wanted, study = needed(published_numbers(), name, models=model or ())
    folder = out or Path("runs") / f"verify-{'-'.join(name.lower().split())}"
    result = run_study(Study(**study, data_dir=data_dir), folder, command=this_command())
    _show(compare(result.scores, wanted))
    wide_console().print(f"run folder: {escape(str(folder))}", soft_wrap=True)


def _show(ledger: "Ledger") -> None:
    from probing.commands.ledger_table import ledger_table

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
