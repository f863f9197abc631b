"""``probing extract`` and ``probing cache``: from the command line to a store."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from probing.commands.options import BatchTokens, Device, MaxLength, Revision, WeightForm
from probing.encoding.dtypes import Dtype, StorageDtype
from probing.encoding.weight_forms import Weights
from probing.errors import InputError

cache_app = typer.Typer(help="The folder that keeps vectors between runs.")


class EngineName(StrEnum):
    """Where shards are made."""

    LOCAL = "local"
    RAY = "ray"
    """On a Ray cluster; needs the extra ``cluster``."""


def extract_command(
    model: Annotated[str, typer.Option(help="An alias, a Hub id or a folder.")],
    corpus: Annotated[
        Path,
        typer.Option(
            "--input",
            help="Text, one sentence per line, or a table: .parquet, .csv, .tsv, .jsonl.",
            metavar="FILE",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the store; the same again completes it.")],
    column: Annotated[
        str | None, typer.Option(help="Of a table; by default sentence or text.")
    ] = None,
    view: Annotated[
        list[str] | None,
        typer.Option(help="Keep only this view, such as mean@6. May be repeated."),
    ] = None,
    revision: Revision = None,
    dtype: Annotated[Dtype, typer.Option(help="Number format of the forward pass.")] = Dtype.AUTO,
    storage_dtype: Annotated[
        StorageDtype, typer.Option(help="Number format on disk.")
    ] = StorageDtype.FLOAT32,
    max_length: MaxLength = None,
    batch_tokens: BatchTokens = None,
    shard_sentences: Annotated[int | None, typer.Option(help="Sentences in one shard.")] = None,
    device: Device = None,
    weights: WeightForm = Weights.SAFETENSORS,
    engine: Annotated[EngineName, typer.Option(help="Where shards are made.")] = EngineName.LOCAL,
    address: Annotated[
        str | None,
        typer.Option(help="Of a running Ray cluster, or auto; without it one is started here."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Encoders on the Ray cluster; by default one per GPU.")
    ] = None,
) -> None:
    """Encode a corpus of any size under every view into a store on disk."""
    from probing.encoding.cluster import extract_on_ray
    from probing.encoding.encoder import load_encoder
    from probing.encoding.extraction import extract_to_store

    if engine is EngineName.LOCAL and (address is not None or workers is not None):
        raise InputError("--address and --workers are for --engine ray: add it, or leave them out")
    if engine is EngineName.RAY and device is not None:
        raise InputError("--device is chosen by the workers of --engine ray: leave it out")
    sentences = _sentences(corpus, column)
    if engine is EngineName.RAY:
        representations = extract_on_ray(
            model,
            sentences,
            out,
            revision=revision,
            dtype=dtype,
            max_length=max_length,
            views=view,
            batch_tokens=batch_tokens,
            storage_dtype=storage_dtype,
            shard_sentences=shard_sentences,
            address=address,
            workers=workers,
        )
    else:
        encoder = load_encoder(
            model,
            revision=revision,
            dtype=dtype,
            device=device,
            max_length=max_length,
            weights=weights,
        )
        representations = extract_to_store(
            encoder,
            sentences,
            out,
            views=view,
            batch_tokens=batch_tokens,
            storage_dtype=storage_dtype,
            shard_sentences=shard_sentences,
        )
    typer.echo(
        f"{out}: {representations.n_sentences} sentences, {len(representations)} views, "
        f"{representations.n_truncated} sentences truncated"
    )


def _sentences(path: Path, column: str | None) -> Iterable[str]:
    """The sentences of a text or a table, told by its ending; a large one is read as needed."""
    from probing.encoding.corpora import COLUMNS, read_sentences
    from probing.tasks.tables import (
        TABLE_SUFFIXES,
        format_suffix,
        quote_all,
        read_bytes,
        read_lines,
        read_table,
    )

    ending, compressed = format_suffix(path), format_suffix(path) != path.suffix.lower()
    if ending in TABLE_SUFFIXES and (compressed or ending != ".parquet"):
        table = read_table(path)
        wanted = COLUMNS if column is None else (column,)
        found = next((name for name in wanted if name in table.columns), None)
        if found is None:
            raise InputError(
                f"{path}: found the columns {quote_all(table.columns)}, expected "
                f"{' or '.join(wanted)}; name the one with the sentences by --column"
            )
        return table.sentences(found)
    if column is not None and ending not in TABLE_SUFFIXES:
        raise InputError(f"--column is for a table and {path} is a text: leave --column out")
    if compressed:
        return read_lines(path, read_bytes(path))
    return read_sentences(path, column)


_CacheDir = Annotated[
    Path | None,
    typer.Option("--cache-dir", envvar="PROBING_CACHE", help="By default the user's cache folder."),
]


@cache_app.command("list")
def cache_list(cache_dir: _CacheDir = None) -> None:
    """List what is kept: model, sentences, views, size."""
    from probing.encoding.store.cache import cache_folder, cached_stores

    console = Console(highlight=False, soft_wrap=True)
    folder = cache_folder(cache_dir)
    for store in cached_stores(folder):
        content = f"{store.model}, {store.n_sentences} sentences, {store.n_views} views"
        state = escape(content) if store.is_complete else "unfinished"
        console.print(f"{store.folder.name}  {_size(store.size):>9}  {state}")


@cache_app.command("size")
def cache_size(cache_dir: _CacheDir = None) -> None:
    """Say where the cache is and how large it has become."""
    from probing.encoding.store.cache import cache_folder, cached_stores

    folder = cache_folder(cache_dir)
    stores = cached_stores(folder)
    total = sum(store.size for store in stores)
    typer.echo(f"{folder}: {len(stores)} stores, {_size(total)}")


@cache_app.command("clear")
def cache_clear(cache_dir: _CacheDir = None) -> None:
    """Remove every store in the cache, and nothing else that may be in the folder."""
    from probing.encoding.store.cache import cache_folder, clear_cache

    folder = cache_folder(cache_dir)
    typer.echo(f"{folder}: {_size(clear_cache(folder))} freed")


def _size(n_bytes: int) -> str:
    size = float(n_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
