"""Options that several commands have, each declared once."""

from pathlib import Path
from typing import Annotated

import typer

from probing.encoding.weight_forms import Weights

DataDir = Annotated[
    str | None, typer.Option(envvar="PROBING_DATA", help="Folder with the official data sets.")
]
CacheDir = Annotated[
    str | None,
    typer.Option(
        envvar="PROBING_CACHE", help="Where vectors are kept; by default the user's cache."
    ),
]
WeightForm = Annotated[
    Weights, typer.Option(help="restricted-pickle reads pytorch_model.bin too; it runs no code.")
]
Device = Annotated[str | None, typer.Option(help="Such as cpu or cuda:0.")]
Revision = Annotated[str | None, typer.Option(help="Of a Hub id.")]
MaxLength = Annotated[int | None, typer.Option(help="Tokens per sentence.")]
BatchTokens = Annotated[int | None, typer.Option(help="Padded tokens in one pass.")]
SourceWeights = Annotated[
    list[str] | None,
    typer.Option(help="NAME=6 draws the documents of NAME.txt six times as often; repeatable."),
]
ResumedFolder = Annotated[
    Path | None, typer.Option(help="The run folder; rerun the same command to resume a killed run.")
]
