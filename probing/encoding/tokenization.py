"""Sentences to token ids, and token ids to batches with as little padding as can be."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from probing.encoding.behaviour import Batching
from probing.encoding.encoder import Encoder
from probing.errors import InputError

_SENTENCES_AT_ONCE = 10_000
_UNPADDED_SHARE = 4
"""A batch stops where sentences get shorter once it holds 1 / 4 of its tokens."""
_PADDING_SHARE = 16
"""A batch stops where padding would be more than 1 / 16 of its tokens: another pass is cheaper."""


@dataclass(frozen=True, eq=False)
class Tokenized:
    """Token ids of n sentences, one sentence after another, special tokens included."""

    ids: NDArray[np.int64]
    """``(n_tokens,)``."""
    is_word: NDArray[np.bool_]
    """``(n_tokens,)``: False on special tokens."""
    starts: NDArray[np.int64]
    """``(n_sentences + 1,)``: sentence i has the tokens from ``starts[i]`` to ``starts[i + 1]``."""
    truncated: NDArray[np.bool_]
    """``(n_sentences,)``: whether the sentence lost its end."""

    def __len__(self) -> int:
        return len(self.truncated)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each sentence, ``(n_sentences,)``."""
        return np.diff(self.starts)


@dataclass(frozen=True, eq=False)
class Batch:
    """Sentences padded on the right to the longest of them."""

    rows: NDArray[np.int64]
    """``(n_sentences,)``: which of the tokenized sentences these are."""
    ids: torch.Tensor
    """``(n_sentences, n_tokens)`` int64."""
    attention_mask: torch.Tensor
    """``(n_sentences, n_tokens)`` bool, True on every non-padding token."""
    word_mask: torch.Tensor
    """``(n_sentences, n_tokens)`` bool, True on non-padding tokens that are not special tokens."""
    is_padded: bool
    segments: torch.Tensor | None = None
    """``(n_sentences, n_tokens)`` int64, 0 on the first segment and 1 on the second; None where
    there is only one."""

    def inputs(self, device: torch.device) -> dict[str, torch.Tensor]:
        """What the model takes; without a mask where nothing is padded, so that it skips it."""
        inputs = {"input_ids": self.ids}
        if self.is_padded:
            inputs["attention_mask"] = self.attention_mask.long()
        if self.segments is not None:
            inputs["token_type_ids"] = self.segments
        if device.type == "cuda":
            return {
                name: tensor.pin_memory().to(device, non_blocking=True)
                for name, tensor in inputs.items()
            }
        return {name: tensor.to(device) for name, tensor in inputs.items()}


def tokenize(encoder: Encoder, sentences: Sequence[str]) -> Tokenized:
    """Token ids of n sentences, truncated to ``encoder.max_length`` tokens.

    Raises `InputError` where a sentence has no token at all.
    """
    read = [text.lower() for text in sentences] if encoder.lower_case else sentences
    tokenized = from_encodings(
        encoding
        for start in range(0, len(read), _SENTENCES_AT_ONCE)
        for encoding in encoder.tokenizer(
            list(read[start : start + _SENTENCES_AT_ONCE]),
            truncation=True,
            max_length=encoder.max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        ).encodings
    )
    empty = np.flatnonzero(tokenized.lengths == 0)
    if len(empty):
        raise InputError(
            f"sentence {empty[0]}, {sentences[empty[0]]!r}, is no token to the tokenizer of "
            f"{encoder.name}, which adds none of its own: leave it out"
        )
    return tokenized


def from_encodings(encodings: Any) -> Tokenized:
    """Gather what the fast tokenizer says of n sentences into flat arrays."""
    ids: list[list[int]] = []
    special: list[list[int]] = []
    truncated: list[bool] = []
    for encoding in encodings:
        ids.append(encoding.ids)
        special.append(encoding.special_tokens_mask)
        truncated.append(bool(encoding.overflowing))
    starts = np.zeros(len(ids) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in ids], out=starts[1:])
    n_tokens = int(starts[-1])
    is_special = np.fromiter(chain.from_iterable(special), dtype=np.bool_, count=n_tokens)
    return Tokenized(
        ids=np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=n_tokens),
        is_word=~is_special,
        starts=starts,
        truncated=np.array(truncated, dtype=np.bool_),
    )


def batches(
    tokenized: Tokenized, pad_id: int, batch_tokens: int, batching: Batching = Batching.PADDED
) -> Iterator[Batch]:
    """Batches of falling length, each of at most ``batch_tokens`` padded tokens.

    A batch that is filled well enough stops where the sentences get shorter: then nothing in it is
    padded, and the model needs no mask. A sentence longer than ``batch_tokens`` is alone.
    ``batching`` says which sentences may be together at all.
    """
    lengths = tokenized.lengths
    order = np.argsort(-lengths, kind="stable")
    falling = lengths[order]
    start = 0
    while start < len(order):
        longest = int(falling[start])
        stop = min(len(order), start + max(1, batch_tokens // longest))
        same_length = start + int((falling[start:stop] == longest).sum())
        filled = (same_length - start) * longest * _UNPADDED_SHARE >= batch_tokens
        if filled or batching is Batching.ONE_LENGTH:
            stop = same_length
        if batching is Batching.ALONE:
            stop = start + 1
        padding = np.cumsum(longest - falling[start:stop])
        stop = start + int((padding * _PADDING_SHARE <= batch_tokens).sum())
        yield make_batch(tokenized, order[start:stop], pad_id)
        start = stop


def make_batch(tokenized: Tokenized, rows: NDArray[np.int64], pad_id: int) -> Batch:
    """Some of the sentences, padded on the right to the longest of them."""
    lengths = tokenized.lengths[rows]
    columns = np.arange(lengths.max())
    is_token = columns < lengths[:, None]
    flat = (tokenized.starts[rows][:, None] + columns)[is_token]
    ids = np.full(is_token.shape, pad_id, dtype=np.int64)
    ids[is_token] = tokenized.ids[flat]
    is_word = np.zeros(is_token.shape, dtype=np.bool_)
    is_word[is_token] = tokenized.is_word[flat]
    return Batch(
        rows=rows,
        ids=torch.from_numpy(ids),
        attention_mask=torch.from_numpy(is_token),
        word_mask=torch.from_numpy(is_word),
        is_padded=bool(lengths.min() < lengths.max()),
    )
