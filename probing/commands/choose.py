"""``probing choose``: which view to use on one's own data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from probing.commands.options import CacheDir, Device, MaxLength, Revision, WeightForm
from probing.commands.terminal import wide_console
from probing.encoding.weight_forms import Weights

if TYPE_CHECKING:
    from probing.claims.choice import Choice


def choose_command(
    model: Annotated[
        str, typer.Option(help="An alias, a Hub id, a folder, or a file of vectors (.npz).")
    ],
    data: Annotated[
        str,
        typer.Option(
            help="A file of sentence1, sentence2, score or of sentence, label; or a task.",
            metavar="FILE",
        ),
    ],
    split: Annotated[
        str | None,
        typer.Option(
            help="Rows to choose on: train, dev or test; by default all pairs of a file; of "
            "labelled sentences in splits, test."
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(help="A new folder for sentence-transformers that gives the view's vectors."),
    ] = None,
    view: Annotated[
        str | None, typer.Option(help="Export this view, not the recommended one.")
    ] = None,
    table: Annotated[bool, typer.Option("--table", help="Print every view.")] = False,
    device: Device = None,
    revision: Revision = None,
    max_length: MaxLength = None,
    weights: WeightForm = Weights.SAFETENSORS,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap and the folds.")] = 0,
    cache_dir: CacheDir = None,
) -> None:
    """Say which layer and pooling to use on your data, and what the usual choices cost."""
    from probing.encoding.encoder import Encoder
    from probing.encoding.export import (
        check_export,
        check_exported_view,
        export_view,
        is_expressible,
    )
    from probing.errors import InputError
    from probing.study.brought import load_model
    from probing.study.choosing import choose

    if view is not None and export is None:
        raise InputError("--view is the view to export: add --export FOLDER, or leave --view out")
    encoder = load_model(
        model,
        dtype="float32",
        poolings={},
        device=device,
        revision=revision,
        max_length=max_length,
        weights=str(weights),
    )
    if export is not None:
        if not isinstance(encoder, Encoder):
            raise InputError(f"{model} is a file of vectors: there is no model to export")
        check_export(export)  # before minutes of work
        if view is not None:
            check_exported_view(encoder, view)
    choice = choose(encoder, data, split=split, seed=seed, cache_dir=cache_dir)
    console = wide_console()
    for sentence in choice.sentences:
        console.print(escape(sentence))
    console.print(_shown(choice, every=table))
    if choice.undefined:
        console.print(escape(f"undefined on these items: {', '.join(choice.undefined)}"))
    if export is not None:
        chosen = view or next(filter(is_expressible, choice.views), choice.best)
        if view is None and chosen != choice.best:
            console.print(
                f"sentence-transformers has no {choice.best}: exported is {chosen}, the highest of "
                "the set that it has"
            )
        folder = export_view(encoder, chosen, export)
        told = f"{chosen}: SentenceTransformer({str(folder)!r})"
        console.print(escape(told), soft_wrap=True)


def _shown(choice: "Choice", *, every: bool) -> Table:
    """The views that may be the best and the usual ones, or all."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("view", no_wrap=True)
    for name in (f"{choice.measure} × 100", "95 % interval", "below the best view, 95 % bounds"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in choice.table.to_dict("records"):
        if not (every or row["may_be_best"] or row["view"] in choice.usual):
            continue
        value, lower, upper, at_least, at_most = (
            f"{100 * row[name]:.1f}" for name in ("value", "lower", "upper", "at_least", "at_most")
        )
        table.add_row(
            str(row["view"]),
            value,
            f"{lower} to {upper}",
            f"{at_least} to {at_most}",
            "may be the best" if row["may_be_best"] else "",
        )
    return table
