"""``probing tasks`` and ``probing models``: what can be asked for by name."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from probing.errors import InputError


def tasks_command(
    treebank: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Say what this treebank has instead: a CoNLL-U file, or the common beginning of "
            "the files of its splits, such as words/en_ewt-ud.",
        ),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --treebank: write its tasks to a Parquet file."),
    ] = None,
) -> None:
    """List the tasks; a file with recognised columns works as well."""
    from probing.tasks import catalogue

    if treebank is not None:
        _list_treebank(treebank, write)
        return
    if write is not None:
        raise InputError("--write is for --treebank: add it, or leave --write out")
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


def _list_treebank(path: Path, write: Path | None) -> None:
    from probing.tasks.derived import write_derived
    from probing.tasks.treebank import TREEBANK_PREFIX, offers, read_treebank

    console = Console(highlight=False, soft_wrap=True)
    treebank = read_treebank(path)
    for offer in offers(treebank):
        console.print(f"[bold]{escape(f'{TREEBANK_PREFIX}{path}:{offer.task}')}[/]")
        if offer.reason:
            console.print(f"    refused: {escape(offer.reason)}")
            continue
        sizes = ", ".join(f"{split} {size:,}" for split, size in offer.sizes.items())
        console.print(f"    {sizes}, {len(offer.classes)} classes")
    if write is not None:
        write_derived(treebank, write)
        console.print(f"written: {escape(str(write))}")


def models_command() -> None:
    """List the encoders that have an alias; any Hub id or folder works as well."""
    from probing.sources.declarations import MODELS

    console = Console(highlight=False, soft_wrap=True)
    for source in MODELS:
        console.print(f"[bold]{source.alias}[/]  {source.note}")
        where = source.shipped or f"{source.hub_id} at {source.revision}"
        console.print(f"    {where}, {source.licence}")
