"""Fill a store: find the shards that are missing, make them, write each while the next is made."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from probing.encoding.store.shards import (
    Recipe,
    Shard,
    StoredVectors,
    read_shard,
    sentences_hash,
    shard_name,
    write_manifest,
    write_shard,
)
from probing.errors import InputError
from probing.results.writing import no_empty_folder_left

Item = TypeVar("Item")


@dataclass(frozen=True)
class Job:
    """One shard to be made."""

    index: int
    sentences: Sequence[Any]
    """Strings, or sentences cut into words."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """The content of one shard."""

    vectors: Mapping[str, NDArray[np.float32]]
    """View id → ``(n_rows, hidden_size)`` float32."""
    lost: Sequence[int]
    """Rows of sentences that were truncated, or of words that have no vector."""
    setup: str
    """How the forward pass ran."""


Engine = Callable[[Iterator[Job]], Iterator[tuple[Job, Encoded]]]
"""Makes the shards that it is asked for, in whatever order."""


def fill_store(
    folder: Path,
    chunks: Iterable[Sequence[Any]],
    engine: Engine,
    *,
    recipe: Recipe,
    model: str,
    revision: str,
    advance: Callable[[int], None] = lambda _: None,
) -> StoredVectors:
    """Complete the store in ``folder``: keep its good shards, make the others, write the manifest.

    Args:
        folder: Made where it is not there.
        chunks: The sentences of each shard in order; read once, one chunk at a time.
        engine: What makes the shards.
        recipe: How the vectors are made.
        model: Name of the encoder, for the manifest.
        revision: Revision of the encoder, for the manifest.
        advance: Told how many sentences were done.

    Raises:
        InputError: The folder cannot be written or holds vectors of other sentences or settings.
    """
    with no_empty_folder_left(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder} cannot be made ({error}): choose another folder") from error
        shards = _filled(folder, chunks, engine, recipe, advance)
        if (folder / shard_name(len(shards))).exists():
            raise InputError(
                f"{folder} has more shards than these sentences fill: choose another folder, or "
                "remove this one"
            )
        ordered = tuple(shards[index] for index in range(len(shards)))
        write_manifest(folder, ordered, recipe=recipe, model=model, revision=revision)
    return StoredVectors(folder, recipe.views, ordered)


def _filled(
    folder: Path,
    chunks: Iterable[Sequence[Any]],
    engine: Engine,
    recipe: Recipe,
    advance: Callable[[int], None],
) -> dict[int, Shard]:
    """Every shard by its number, those that were missing made."""
    shards: dict[int, Shard] = {}

    def missing() -> Iterator[Job]:
        for index, sentences in enumerate(chunks):
            shard = read_shard(folder / shard_name(index))
            if shard is None:
                yield Job(index, sentences)
                continue
            if (shard.recipe, shard.sentences) != (recipe.key, sentences_hash(sentences)):
                raise InputError(
                    f"{folder / shard.file} holds vectors of other sentences or settings: choose "
                    "another folder, or remove this one"
                )
            shards[index] = shard
            advance(len(sentences))

    def write(job: Job, encoded: Encoded) -> None:
        shards[job.index] = write_shard(
            folder,
            job.index,
            encoded.vectors,
            recipe=recipe,
            sentences=sentences_hash(job.sentences),
            n_sentences=len(job.sentences),
            lost=encoded.lost,
            setup=encoded.setup,
        )

    with ThreadPoolExecutor(max_workers=1) as writer:
        written: Future[None] | None = None
        for job, encoded in engine(missing()):
            # One shard is written while the next is made, and no more: where the disk is slow the
            # making waits for it, so that memory does not grow. Names that outlive the turn would
            # keep a shard longer than that.
            if written is not None:
                written.result()
            written = writer.submit(write, job, encoded)
            advance(len(job.sentences))
            del job, encoded
        if written is not None:
            written.result()
    return shards


def chunked(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of ``size`` items, the last one shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
