"""Sentences to vectors, in memory or on disk: every layer under every pooling, and the pooler."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from probing.encoding.behaviour import Batching
from probing.encoding.dtypes import StorageDtype
from probing.encoding.encoder import Encoder
from probing.encoding.forward import encode, for_so_many
from probing.encoding.pass_setup import Setup, default_setup
from probing.encoding.pooling import source_digest
from probing.encoding.representations import Representations
from probing.encoding.setup_choice import choose_setup
from probing.encoding.store.cache import find_store
from probing.encoding.store.filling import Encoded, Engine, Job, chunked, fill_store
from probing.encoding.store.shards import Recipe, StoredVectors
from probing.encoding.tokenization import make_batch, tokenize
from probing.encoding.views import View
from probing.errors import InputError
from probing.progress import progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RawOutputs:
    """What ``BertModel`` returns for n sentences, with the tokens it saw.

    The four outputs of the ``BertModel`` docstring, float32, padded on the right to the longest of
    the n sentences; positions where ``attention_mask`` is False hold no meaning.
    """

    tokens: tuple[tuple[str, ...], ...]
    """The word pieces of each sentence, special tokens included, without padding."""
    attention_mask: torch.Tensor
    """``(n_sentences, n_tokens)`` bool."""
    last_hidden_state: torch.Tensor
    """``(n_sentences, n_tokens, hidden_size)``."""
    pooler_output: torch.Tensor | None
    """``(n_sentences, hidden_size)``; None where the encoder has no pooler."""
    hidden_states: tuple[torch.Tensor, ...]
    """``num_layers + 1`` tensors ``(n_sentences, n_tokens, hidden_size)``; the first is the
    embedding output."""
    attentions: tuple[torch.Tensor, ...]
    """``num_layers`` tensors ``(n_sentences, n_heads, n_tokens, n_tokens)``; rows sum to 1."""


def extract(
    encoder: Encoder,
    sentences: Sequence[str],
    *,
    views: Iterable[str] | None = None,
    batch_tokens: int | None = None,
    cache_dir: Path | str | None = None,
    storage_dtype: str = StorageDtype.FLOAT32,
) -> Representations:
    """The vectors of n sentences under every view, from one forward pass.

    Args:
        encoder: From `load_encoder` or `random_twin`.
        sentences: n sentences; those that repeat are encoded once. One that is longer than
            ``encoder.max_length`` tokens is truncated, counted and reported in the log.
        views: Ids of the views to keep; by default all of ``encoder.views``.
        batch_tokens: Padded tokens in one forward pass, at least one sentence. By default what
            suits the device, or, where a call is long enough for it, what is fastest by a
            measurement (`probing.encoding.setup_choice`) that is kept in the user's cache folder.
        cache_dir: Keep the vectors in a store of their own under this folder
            (`probing.encoding.store.cache`) and read them from it, now and when the same is asked
            for again; a killed run resumes from its last shard. Without it, no vectors are written.
        storage_dtype: ``float32`` or ``float16`` (`StorageDtype`), where there is a ``cache_dir``.

    Returns:
        Vectors ``(n_sentences, hidden_size)`` float32 for each view. Which sentences share a batch
        moves no float32 vector by more than 1e-5.

    Raises:
        InputError: There is no sentence, one is empty, the encoder lacks a view, or the disk is
            full.

    >>> encoder = probing.load_encoder("minilm")
    >>> vectors = probing.extract(encoder, ["A cat sleeps.", "A dog barks."])
    >>> vectors["mean@6"].shape, vectors["cls@5,6"].shape
    ((2, 384), (2, 768))
    """
    kept = chosen_views(encoder, views)
    distinct, rows = distinct_sentences(sentences)
    setup = choose_setup(encoder, distinct, kept, batch_tokens=batch_tokens)
    unstored = [name for name, own in encoder.poolings.items() if source_digest(own) is None]
    if cache_dir is not None and unstored:
        logger.warning(
            "vectors are not kept on disk: the source of pooling %r does not say all that it does; "
            "define it by def, outside other functions, to have them kept",
            unstored[0],
        )
    if cache_dir is None or unstored:
        tokenized = tokenize(encoder, distinct)
        with progress(f"encoding with {encoder.name}", len(distinct)) as advance:
            vectors = encode(encoder, tokenized, kept, setup=setup, advance=advance)
        ran = for_so_many(len(tokenized.ids), setup)
        found = Representations(
            distinct=vectors, rows=rows, truncated=tokenized.truncated, setups=(str(ran),)
        )
        _report_truncation(found, encoder.max_length)
        return found
    recipe = Recipe.of(
        encoder, [str(view) for view in kept], setup=setup, storage_dtype=storage_dtype
    )
    folder, recipe = find_store(Path(cache_dir), recipe, distinct)
    with progress(f"encoding with {encoder.name}", len(distinct)) as advance:
        stored = fill_store(
            folder,
            chunked(distinct, recipe.shard_sentences),
            encode_here(encoder, recipe, setup),
            recipe=recipe,
            model=encoder.name,
            revision=encoder.revision,
            advance=advance,
        )
    stored = StoredVectors(folder, map(str, kept), stored.shards)
    return stored_representations(stored, rows, recipe.max_length)


def extract_to_store(
    encoder: Encoder,
    sentences: Iterable[str],
    folder: Path | str,
    *,
    views: Iterable[str] | None = None,
    batch_tokens: int | None = None,
    storage_dtype: str = StorageDtype.FLOAT32,
    shard_sentences: int | None = None,
) -> Representations:
    """The vectors of a corpus of any size, in a store: memory does not grow with the corpus.

    `probing.encoding.cluster.extract_on_ray` does the same on many machines.

    Args:
        encoder: From `load_encoder` or `random_twin`.
        sentences: Read once, from first to last; sentences that repeat within a shard are encoded
            once. `probing.encoding.corpora.read_sentences` reads files.
        folder: Folder of the store. One that holds part of these vectors is completed, a damaged
            shard in it is made again.
        views: Ids of the views to keep; by default all of ``encoder.views``.
        batch_tokens: As in `extract`.
        storage_dtype: ``float32`` or ``float16`` (`StorageDtype`).
        shard_sentences: Sentences in one shard; by default what makes a shard of about
            `probing.encoding.store.shards.SHARD_BYTES`.

    Raises:
        InputError: There is no sentence, one is empty, the encoder lacks a view, the folder holds
            vectors of other sentences or settings, or the disk is full.
    """
    unstored = [name for name, own in encoder.poolings.items() if source_digest(own) is None]
    if unstored:
        raise InputError(
            f"pooling {unstored[0]!r} cannot be kept in a store: its source does not say all that "
            "it does; define it by def, outside other functions"
        )
    kept = chosen_views(encoder, views)
    recipe = Recipe.of(
        encoder,
        [str(view) for view in kept],
        setup=default_setup(encoder, batch_tokens),
        storage_dtype=storage_dtype,
        shard_sentences=shard_sentences,
    )
    chunks = chunked(checked_sentences(sentences), recipe.shard_sentences)
    first = next(chunks, [])
    setup = choose_setup(
        encoder,
        first,
        kept,
        batch_tokens=batch_tokens,
        n_sentences=len(sentences) if isinstance(sentences, Sized) else len(first),
    )
    recipe = recipe.run_by(setup)
    with progress(f"encoding with {encoder.name}", None) as advance:
        stored = fill_store(
            Path(folder),
            chain([first], chunks),
            encode_here(encoder, recipe, setup),
            recipe=recipe,
            model=encoder.name,
            revision=encoder.revision,
            advance=advance,
        )
    return stored_representations(stored, np.arange(stored.n_rows), recipe.max_length)


def encode_here(encoder: Encoder, recipe: Recipe, setup: Setup) -> Engine:
    """An engine that makes shards in this process and tokenizes the next one meanwhile."""
    views = tuple(View.parse(view_id) for view_id in recipe.views)

    def tokenized(job: Job) -> tuple[Job, NDArray[np.int64], Any]:
        distinct, rows = distinct_sentences(job.sentences)
        return job, rows, tokenize(encoder, distinct)

    def engine(jobs: Iterator[Job]) -> Iterator[tuple[Job, Encoded]]:
        with ThreadPoolExecutor(max_workers=1) as ahead:
            waiting = [ahead.submit(tokenized, job) for job in islice(jobs, 1)]
            while waiting:
                job, rows, tokens = waiting.pop().result()
                waiting = [ahead.submit(tokenized, following) for following in islice(jobs, 1)]
                vectors = encode(encoder, tokens, views, setup=setup)
                if len(rows) > len(tokens):
                    vectors = {view_id: values[rows] for view_id, values in vectors.items()}
                lost = np.flatnonzero(tokens.truncated[rows]).tolist()
                ran = for_so_many(len(tokens.ids), setup)
                yield job, Encoded(vectors=vectors, lost=lost, setup=str(ran))
                del job, vectors  # who fills the store holds them while it writes them

    return engine


def chosen_views(encoder: Encoder, view_ids: Iterable[str] | None) -> tuple[View, ...]:
    """The views with these ids, in the order of ``encoder.views``; all of them by default.

    Raises `InputError` where the encoder lacks one, or none is named.
    """
    if view_ids is None:
        return encoder.views
    wanted = set(view_ids)
    kept = tuple(view for view in encoder.views if str(view) in wanted)
    unknown = sorted(wanted - {str(view) for view in kept})
    if unknown or not kept:
        found = f"view {unknown[0]!r}" if unknown else "no view"
        raise InputError(
            f"{encoder.name}: {found} was asked for, expected some of "
            f"{', '.join(str(view) for view in encoder.views)}"
        )
    return kept


def stored_representations(
    stored: StoredVectors, rows: NDArray[np.int64], max_length: int
) -> Representations:
    """Rows of a store as `Representations`; truncation goes to the log."""
    found = Representations(distinct=stored, rows=rows, truncated=stored.lost, setups=stored.setups)
    _report_truncation(found, max_length)
    return found


def raw_outputs(encoder: Encoder, sentences: Sequence[str]) -> RawOutputs:
    """The four outputs of the model for a few sentences, for looking inside.

    Raises `InputError` where there is no sentence, or one is empty.

    >>> outputs = probing.raw_outputs(probing.load_encoder("minilm"), ["A cat sleeps."])
    >>> outputs.tokens[0]
    ('[CLS]', 'a', 'cat', 'sleeps', '.', '[SEP]')
    >>> outputs.last_hidden_state.shape
    torch.Size([1, 6, 384])
    """
    distinct_sentences(sentences)
    tokenized = tokenize(encoder, sentences)
    batch = make_batch(tokenized, np.arange(len(tokenized)), encoder.tokenizer.pad_token_id)
    inputs = batch.inputs(encoder.device)
    if encoder.batching is not Batching.PADDED and len(set(tokenized.lengths.tolist())) > 1:
        raise InputError(
            f"{encoder.name} does not mask padding: ask for sentences of one length, or one by one"
        )
    model: Any = encoder.model
    fast_attention = model.config._attn_implementation
    model.set_attn_implementation("eager")  # the fused kernels do not return the attention
    try:
        with torch.inference_mode():
            outputs = encoder.outputs(inputs, output_hidden_states=True, output_attentions=True)
    finally:
        model.set_attn_implementation(fast_attention)
    pooler_output = getattr(outputs, "pooler_output", None)
    return RawOutputs(
        tokens=tuple(
            tuple(encoder.tokenizer.convert_ids_to_tokens(ids.tolist()))
            for ids in np.split(tokenized.ids, tokenized.starts[1:-1])
        ),
        attention_mask=batch.attention_mask,
        last_hidden_state=outputs.last_hidden_state.float().cpu(),
        pooler_output=None if pooler_output is None else pooler_output.float().cpu(),
        hidden_states=tuple(hidden.float().cpu() for hidden in outputs.hidden_states),
        attentions=tuple(attention.float().cpu() for attention in outputs.attentions),
    )


def distinct_sentences(sentences: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct sentences in order of first appearance, and for each sentence its row."""
    unordered = not isinstance(sentences, Sized) or isinstance(sentences, (str, Set, Mapping))
    if unordered or len(sentences) == 0:
        raise InputError(f"expected a list of at least one sentence, found {sentences!r}")
    first_seen: dict[str, int] = {}
    rows = np.empty(len(sentences), dtype=np.int64)
    for position, sentence in enumerate(checked_sentences(sentences)):
        rows[position] = first_seen.setdefault(sentence, len(first_seen))
    return list(first_seen), rows


def checked_sentences(sentences: Iterable[str]) -> Iterator[str]:
    """The same sentences, each looked at as it goes by."""
    position = -1
    for position, sentence in enumerate(sentences):
        if not isinstance(sentence, str) or not sentence.strip():
            raise InputError(
                f"sentence {position} is {sentence!r}: expected text with at least one word"
            )
        if not sentence.isascii() and any("\ud800" <= letter <= "\udfff" for letter in sentence):
            raise InputError(
                f"sentence {position}, {sentence!r}, holds half of a surrogate pair: expected text"
            )
        yield sentence
    if position < 0:
        raise InputError("found no sentence: expected at least one")


def _report_truncation(found: Representations, max_length: int) -> None:
    if found.n_truncated:
        logger.warning(
            "%d of %d sentences are longer than %d tokens and were truncated",
            found.n_truncated,
            found.n_sentences,
            max_length,
        )
