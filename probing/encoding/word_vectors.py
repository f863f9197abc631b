"""Words of sentences that are cut into words already: one vector per word and layer."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from probing.encoding.dtypes import StorageDtype
from probing.encoding.encoder import Encoder
from probing.encoding.lazy import LazyViews
from probing.encoding.pass_setup import Setup, default_setup, set_up
from probing.encoding.store.cache import find_store
from probing.encoding.store.filling import Encoded, Engine, Job, chunked, fill_store
from probing.encoding.store.shards import Recipe
from probing.encoding.tokenization import Tokenized, batches, from_encodings
from probing.errors import InputError

logger = logging.getLogger(__name__)

_WORDS_PER_SENTENCE = 16
"""Assumed for the size of a shard; nothing else depends on it."""


class Pieces(StrEnum):
    """Which word pieces represent a word."""

    FIRST = "first"
    LAST = "last"
    MEAN = "mean"
    """The mean over all its pieces, accumulated in float32."""


class WordRepresentations(LazyViews[NDArray[np.float32]]):
    """View id → vectors ``(n_words, hidden_size)`` float32, the words of all sentences in order.

    The ids are ``word_first@6``, ``word_last@6`` or ``word_mean@6``: pieces, then layer. A word
    that has no vector has a row of NaN.

    Attributes:
        sentences: ``(n_words,)``: which sentence each word is of.
        lost: ``(n_words,)``: True where the sentence was cut off before the end of the word, or the
            tokenizer makes nothing of it; its row is NaN.
    """

    def __init__(
        self,
        view_ids: Iterable[str],
        read: Callable[[str], NDArray[np.float32]],
        *,
        sentences: NDArray[np.int64],
        lost: NDArray[np.bool_],
    ) -> None:
        if sentences.shape != lost.shape:
            raise ValueError(f"{sentences.shape} sentence numbers for {lost.shape} words")
        super().__init__(view_ids, read)
        self.sentences, self.lost = sentences, lost

    @property
    def n_words(self) -> int:
        """How many rows each matrix has."""
        return len(self.lost)

    @property
    def n_lost(self) -> int:
        """How many words have no vector."""
        return int(self.lost.sum())


@dataclass(frozen=True, eq=False)
class _TokenizedWords:
    """Sentences as token ids, and which tokens represent which word."""

    tokens: Tokenized
    piece_words: NDArray[np.int64]
    """``(n_tokens,)``: the word that a token is a piece of, counted over all sentences; -1 on
    special tokens and on pieces that do not count."""
    lost: NDArray[np.bool_]
    """``(n_words,)``."""


def extract_words(
    encoder: Encoder,
    sentences: Sequence[Sequence[str]],
    *,
    pieces: str = Pieces.FIRST,
    layers: Iterable[int] | None = None,
    batch_tokens: int | None = None,
    cache_dir: Path | str | None = None,
    storage_dtype: str = StorageDtype.FLOAT32,
) -> WordRepresentations:
    """One vector per word under every layer, from one forward pass over whole sentences.

    The words of a sentence are joined by spaces and tokenized as running text.

    Args:
        encoder: From `load_encoder` or `random_twin`.
        sentences: Each a sequence of words, as a treebank has them.
        pieces: Which word pieces represent a word: ``first``, ``last`` or ``mean`` (`Pieces`).
        layers: Layers to keep; by default all, ``0`` to ``encoder.num_layers``.
        batch_tokens: Padded tokens in one forward pass; by default what suits the device.
        cache_dir: Keep the vectors in a store under this folder, as `extract` does.
        storage_dtype: ``float32`` or ``float16``, where there is a ``cache_dir``.

    Returns:
        ``(n_words, hidden_size)`` float32 for each layer. Words that are cut off because the
        sentence is longer than ``encoder.max_length`` tokens, and words of which the tokenizer
        makes nothing, keep their rows, as NaN; they are flagged in ``lost`` and counted in the log.

    Raises:
        InputError: There is no sentence, one has no words, a word is empty, or the encoder has no
            such layer.
    """
    if pieces not in list(Pieces):
        raise InputError(f"unknown pieces {pieces!r}: expected one of {', '.join(Pieces)}")
    kept = _checked_layers(encoder, layers)
    sentences = _checked_sentences(sentences)
    view_ids = tuple(f"word_{pieces}@{layer}" for layer in kept)
    setup = replace(default_setup(encoder, batch_tokens), per_thread=False)
    recipe = Recipe.of(encoder, view_ids, setup=setup, storage_dtype=storage_dtype)
    counts = np.array([len(sentence) for sentence in sentences])
    if cache_dir is None:
        _, encoded = next(encode_words_here(encoder, recipe, setup)(iter([Job(0, sentences)])))
        vectors: Mapping[str, NDArray[np.float32]] = encoded.vectors
        lost = np.zeros(counts.sum(), dtype=np.bool_)
        lost[list(encoded.lost)] = True
    else:
        folder, recipe = find_store(Path(cache_dir), recipe, sentences)
        shard_sentences = -(-recipe.shard_sentences // _WORDS_PER_SENTENCE)
        stored = fill_store(
            folder,
            chunked(sentences, shard_sentences),
            encode_words_here(encoder, recipe, setup),
            recipe=recipe,
            model=encoder.name,
            revision=encoder.revision,
        )
        vectors, lost = stored, stored.lost
    if lost.any():
        logger.warning(
            "%d of %d words have no vector: their sentences are longer than %d tokens, or the "
            "tokenizer makes nothing of them",
            lost.sum(),
            len(lost),
            encoder.max_length,
        )
    numbers = np.repeat(np.arange(len(sentences)), counts)
    return WordRepresentations(view_ids, vectors.__getitem__, sentences=numbers, lost=lost)


def encode_words_here(encoder: Encoder, recipe: Recipe, setup: Setup) -> Engine:
    """An engine that makes shards of word vectors in this process."""
    pieces = Pieces(recipe.views[0].removeprefix("word_").partition("@")[0])
    layers = [int(view_id.partition("@")[2]) for view_id in recipe.views]

    def engine(jobs: Iterator[Job]) -> Iterator[tuple[Job, Encoded]]:
        for job in jobs:
            words = _tokenize_words(encoder, job.sentences, pieces)
            vectors = _encode_words(encoder, words, layers, setup)
            named = dict(zip(recipe.views, vectors, strict=True))
            lost = np.flatnonzero(words.lost).tolist()
            yield job, Encoded(vectors=named, lost=lost, setup=str(setup))
            del job, vectors, named  # who fills the store holds them while it writes them

    return engine


def _tokenize_words(
    encoder: Encoder, sentences: Sequence[Sequence[str]], pieces: Pieces
) -> _TokenizedWords:
    encodings = encoder.tokenizer(
        [
            text.lower() if encoder.lower_case else text
            for text in (" ".join(words) for words in sentences)
        ],
        truncation=True,
        max_length=encoder.max_length,
        return_attention_mask=False,
        return_token_type_ids=False,
    ).encodings
    tokens = from_encodings(encodings)
    piece_words = np.full(len(tokens.ids), -1, dtype=np.int64)
    n_words = sum(len(words) for words in sentences)
    lost = np.ones(n_words, dtype=np.bool_)
    first_word = 0
    for number, (words, encoding) in enumerate(zip(sentences, encodings, strict=True)):
        here = slice(tokens.starts[number], tokens.starts[number + 1])
        is_piece = tokens.is_word[here]
        of_word = _words_of_pieces(words, encoding)[is_piece]
        cut = _first_word_cut(words, encoding)
        counts = of_word < cut
        if pieces is Pieces.FIRST:
            counts &= np.diff(of_word, prepend=-1) != 0
        elif pieces is Pieces.LAST:
            counts &= np.diff(of_word, append=len(words)) != 0
        lost[first_word + of_word[of_word < cut]] = False
        piece_words[here][np.flatnonzero(is_piece)[counts]] = first_word + of_word[counts]
        first_word += len(words)
    return _TokenizedWords(tokens=tokens, piece_words=piece_words, lost=lost)


def _words_of_pieces(words: Sequence[str], encoding: Any) -> NDArray[np.int64]:
    """For each token the number of its word in this sentence; the space belongs to what follows."""
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    starts = np.fromiter((start for start, _ in encoding.offsets), dtype=np.int64)
    return np.searchsorted(ends, starts, side="right")


def _first_word_cut(words: Sequence[str], encoding: Any) -> int:
    """The first word of a sentence that lost a piece to truncation; past the end if none did."""
    for rest in encoding.overflowing:
        special = np.array(rest.special_tokens_mask, dtype=np.bool_)
        return int(_words_of_pieces(words, rest)[~special].min(initial=len(words)))
    return len(words)


@torch.inference_mode()
def _encode_words(
    encoder: Encoder, words: _TokenizedWords, layers: Sequence[int], setup: Setup
) -> NDArray[np.float32]:
    """``(n_layers, n_words, hidden_size)`` float32, NaN where a word is lost."""
    tokens = words.tokens
    shape = (len(layers), len(words.lost), encoder.hidden_size)
    vectors = np.full(shape, np.nan, dtype=np.float32)
    with set_up(encoder, setup, len(tokens.ids)):
        for batch in batches(
            tokens, encoder.tokenizer.pad_token_id, setup.batch_tokens, encoder.batching
        ):
            of_word = np.full(batch.ids.shape, -1, dtype=np.int64)
            flat = [np.arange(tokens.starts[row], tokens.starts[row + 1]) for row in batch.rows]
            of_word[batch.attention_mask.numpy()] = words.piece_words[np.concatenate(flat)]
            row, column = np.nonzero(of_word >= 0)
            if len(row) == 0:
                continue
            found, counts = np.unique(of_word[row, column], return_counts=True)
            # A batch is not in the order of the sentences; a word needs its pieces together.
            order = np.argsort(of_word[row, column], kind="stable")
            positions = torch.from_numpy(np.stack([row, column])[:, order]).to(encoder.device)
            lengths = torch.from_numpy(counts).to(encoder.device)
            outputs = encoder.outputs(batch.inputs(encoder.device), output_hidden_states=True)
            pooled = []
            for layer in layers:
                chosen = outputs.hidden_states[layer][positions[0], positions[1]].float()
                if len(chosen) > len(found):
                    chosen = torch.segment_reduce(chosen, "mean", lengths=lengths, unsafe=True)
                pooled.append(chosen)
            vectors[:, found] = torch.stack(pooled).cpu().numpy()
    return vectors


def _checked_layers(encoder: Encoder, layers: Iterable[int] | None) -> list[int]:
    every = range(encoder.num_layers + 1)
    kept = sorted(set(every if layers is None else layers))
    if not kept or not set(kept) <= set(every):
        raise InputError(
            f"{encoder.name} has layers 0 to {encoder.num_layers}: layers {kept} were asked for"
        )
    return kept


def _checked_sentences(sentences: Sequence[Sequence[str]]) -> list[list[str]]:
    if len(sentences) == 0:
        raise InputError("found no sentence: expected at least one, each a list of words")
    checked = []
    for number, words in enumerate(sentences):
        if isinstance(words, str) or len(words) == 0:
            raise InputError(f"sentence {number} is {words!r}: expected a list of words")
        for word in words:
            if not isinstance(word, str) or not word.strip():
                raise InputError(f"sentence {number} has the word {word!r}: expected text")
        checked.append(list(words))
    return checked
