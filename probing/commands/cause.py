"""``probing cause``: what next sentence prediction does to the pooler of an encoder."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from probing.commands.options import ResumedFolder, SourceWeights
from probing.commands.pretrain import source_weights
from probing.errors import InputError

_WIDTH = 100
"""Columns of the verdict."""


def cause_command(
    corpus: Annotated[
        str | None,
        typer.Option(
            help="Folder of NAME.txt[.xz]: a sentence a line, a blank line a document; or a Hub "
            "data set, as OWNER/NAME, /CONFIG where it has one, @REVISION and :COLUMN in one word. "
            "Size smoke needs none."
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="A BERT: alias, Hub id or folder.")] = "minilm",
    size: Annotated[
        str, typer.Option(help="smoke (a minute), pilot (some 20 minutes) or full (hours).")
    ] = "pilot",
    data_dir: Annotated[
        Path | None, typer.Option(envvar="PROBING_DATA", help="Folder with the official data sets.")
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="One more arm of the frozen body, such as nsp-fresh. May be repeated."),
    ] = None,
    source_weight: SourceWeights = None,
    out: ResumedFolder = None,
) -> None:
    """Train poolers with and without next sentence prediction, and say what it does to them."""
    from probing.cause.experiment import Cause, run_cause
    from probing.cause.frozen_vectors import FrozenArm
    from probing.claims.verdict import wrapped
    from probing.study.running import this_command

    folder = out or Path("runs") / datetime.now().astimezone().strftime("cause-%Y%m%d-%H%M%S")
    known = [str(each) for each in FrozenArm]
    for name in arm or ():
        if name not in known:
            raise InputError(f"--arm {name!r}: expected one of {', '.join(known)}")
    work = Cause(
        encoder=model,
        corpus=corpus,
        out=folder,
        size=size,
        data_dir=data_dir,
        source_weights=source_weights(source_weight or []),
        more_arms=tuple(map(FrozenArm, arm or ())),
    )
    try:
        verdict = run_cause(work, this_command()).verdict()
    except KeyboardInterrupt:
        typer.echo(f"probing: interrupted; rerun with --out {folder} to resume", err=True)
        raise SystemExit(130) from None
    typer.echo(wrapped("\n".join(verdict.sentences), _WIDTH))
    typer.echo(f"report: {folder / 'report.html'}")
    typer.echo(f"run folder: {folder}")
