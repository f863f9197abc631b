"""Token vectors of one layer to sentence vectors: every pooling by name, and a researcher's own.

To add a named pooling, write its function here and put it into `TOKEN_POOLINGS`.
"""

import hashlib
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import FunctionType, MappingProxyType
from typing import Final, Protocol

import torch

from probing.errors import InputError


class PoolingFunction(Protocol):
    """A pooling that a researcher brings: a function of one layer, one vector per sentence."""

    def __call__(self, hidden: torch.Tensor, mask: torch.Tensor, /) -> torch.Tensor:
        """Pool one layer of a batch.

        Args:
            hidden: ``(n_sentences, n_tokens, hidden_size)`` float32, padded on the right.
            mask: ``(n_sentences, n_tokens)`` bool, True on every token that is not padding.

        Returns:
            ``(n_sentences, hidden_size)``, any float dtype, without NaN. A sentence's vector must
            not depend on padding nor on the other sentences of the batch.
        """


@dataclass(frozen=True)
class TokenMasks:
    """Which positions of a batch hold tokens and words, in the form that pooling needs.

    Made once for a batch and used for each of its layers: nothing here waits for the device.
    """

    weights: torch.Tensor
    """``(n_sentences, 2, n_tokens)`` float32: 1 on tokens, then 1 on words; 0 elsewhere."""
    counts: torch.Tensor
    """``(n_sentences, 2, 1)`` float32: how many tokens and how many words."""
    shortest: int
    """Tokens of the shortest sentence: no position before it is padded."""
    padding: torch.Tensor | None
    """``(n_sentences, n_tokens - shortest, 1)`` bool, True on padding; None where there is none."""

    @classmethod
    def of(
        cls,
        attention_mask: torch.Tensor,
        word_mask: torch.Tensor,
        device: torch.device | None = None,
    ) -> "TokenMasks":
        """Prepare the masks of a batch that is padded on the right.

        Args:
            attention_mask: ``(n_sentences, n_tokens)`` bool, True on every non-padding token.
            word_mask: ``(n_sentences, n_tokens)`` bool, True on non-padding tokens that are not
                special tokens.
            device: Where the layers will be; by default where the masks are.
        """
        weights = torch.stack([attention_mask, word_mask], dim=1).float()
        counts = weights.sum(dim=2, keepdim=True)
        shortest = int(counts[:, 0].min())
        padding = None
        if shortest < attention_mask.shape[1]:
            padding = ~attention_mask[:, shortest:, None]
        if device is not None and device != weights.device:
            weights, counts = (_moved(tensor, device) for tensor in (weights, counts))
            padding = None if padding is None else _moved(padding, device)
        return cls(weights=weights, counts=counts, shortest=shortest, padding=padding)


@dataclass(frozen=True)
class LayerTokens:
    """One layer of a batch, with what several poolings share computed once."""

    hidden: torch.Tensor
    """``(n_sentences, n_tokens, hidden_size)``, any float dtype, padded on the right."""
    masks: TokenMasks

    @cached_property
    def means(self) -> torch.Tensor:
        """``(n_sentences, 2, hidden_size)`` float32: over tokens, then over words."""
        return torch.bmm(self.masks.weights, self.hidden.float()) / self.masks.counts


def _cls(layer: LayerTokens) -> torch.Tensor:
    """The vector at position 0."""
    return layer.hidden[:, 0].float()


def _mean(layer: LayerTokens) -> torch.Tensor:
    """Mean over every non-padding token, ``[CLS]`` and ``[SEP]`` included (SimCSE, SBERT)."""
    return layer.means[:, 0]


def _mean_words(layer: LayerTokens) -> torch.Tensor:
    """Mean over every non-padding token that is not a special token; NaN where there is none."""
    return layer.means[:, 1]


def _max(layer: LayerTokens) -> torch.Tensor:
    """Elementwise maximum over every non-padding token."""
    hidden, masks = layer.hidden, layer.masks
    if masks.padding is None:
        return hidden.amax(dim=1).float()
    # Only the columns where a sentence has ended are copied and masked.
    tail = hidden[:, masks.shortest :].masked_fill(masks.padding, -torch.inf).amax(dim=1)
    return torch.maximum(hidden[:, : masks.shortest].amax(dim=1), tail).float()


def _last(layer: LayerTokens) -> torch.Tensor:
    """The vector of the last token that is not padding."""
    last = layer.masks.counts[:, 0, 0].long() - 1
    return layer.hidden[torch.arange(len(last), device=last.device), last].float()


def _wmean(layer: LayerTokens) -> torch.Tensor:
    """Mean over tokens, the i-th weighing i (Muennighoff 2022, SGPT): later tokens saw more."""
    weights = layer.masks.weights[:, :1]
    weights = weights * torch.arange(1, weights.shape[2] + 1, device=weights.device)
    weighted = torch.bmm(weights, layer.hidden.float()) / weights.sum(dim=2, keepdim=True)
    return weighted[:, 0]


def _mean_sqrt(layer: LayerTokens) -> torch.Tensor:
    """Sum over tokens divided by the square root of their number (sentence-transformers)."""
    return _mean(layer) * layer.masks.counts[:, 0].sqrt()


TOKEN_POOLINGS: Final[Mapping[str, Callable[[LayerTokens], torch.Tensor]]] = MappingProxyType(
    {
        "cls": _cls,
        "mean": _mean,
        "mean_words": _mean_words,
        "max": _max,
        "last": _last,
        "wmean": _wmean,
        "mean_sqrt": _mean_sqrt,
    }
)
"""The poolings of tokens, by name; each gives ``(n_sentences, hidden_size)`` float32."""

EVERY_ENCODER: Final = ("cls", "mean", "mean_words", "max")
"""Those that are measured of every encoder; the others where they mean something."""

AVERAGED: Final = frozenset({"cls", "mean", "mean_words", "last", "wmean", "mean_sqrt"})
"""Poolings that commute with an average of layers, so that it can be made of pooled vectors."""


def pool(hidden: torch.Tensor, masks: TokenMasks) -> dict[str, torch.Tensor]:
    """Pool one layer in every way that is measured of every encoder.

    Args:
        hidden: ``(n_sentences, n_tokens, hidden_size)``, any float dtype, padded on the right.
        masks: Masks of this batch.

    Returns:
        For each of `EVERY_ENCODER` a ``(n_sentences, hidden_size)`` float32 tensor; sums are
        accumulated in float32. A sentence without a word token has NaN under ``mean_words``.
    """
    layer = LayerTokens(hidden, masks)
    return {name: TOKEN_POOLINGS[name](layer) for name in EVERY_ENCODER}


def pool_with(
    name: str, function: PoolingFunction, hidden: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Pool one layer by a researcher's own function.

    Args:
        name: What the pooling is called, for messages.
        function: The pooling.
        hidden: ``(n_sentences, n_tokens, hidden_size)``, any float dtype, padded on the right.
        mask: ``(n_sentences, n_tokens)`` bool, True on tokens.

    Returns:
        ``(n_sentences, hidden_size)`` float32.

    Raises:
        InputError: The function raises, or gives something of another shape or with a NaN.
    """
    try:
        # copies: the layer is pooled in other ways too, whatever the function does in place
        pooled = function(hidden.to(torch.float32, copy=True), mask.clone())
    except Exception as error:  # a researcher's function may raise anything
        raise InputError(
            f"pooling {name!r} failed ({type(error).__name__}: {error}) on hidden states "
            f"{tuple(hidden.shape)}: expected a function of (hidden, mask)"
        ) from error
    wanted = (hidden.shape[0], hidden.shape[2])
    if not isinstance(pooled, torch.Tensor) or tuple(pooled.shape) != wanted:
        found = getattr(pooled, "shape", None)
        shape = "" if found is None else f" of shape {tuple(found)}"
        raise InputError(
            f"pooling {name!r} returned a {type(pooled).__name__}{shape}: expected a torch.Tensor "
            f"(n_sentences, hidden_size), here {wanted}"
        )
    if pooled.is_complex():
        raise InputError(f"pooling {name!r} returned complex numbers: expected real ones")
    pooled = pooled.float()
    if pooled.isnan().any():
        raise InputError(
            f"pooling {name!r} returned NaN: expected finite vectors; does it divide by the number "
            "of tokens of a padded position?"
        )
    return pooled


def checked_poolings(poolings: Mapping[str, PoolingFunction]) -> dict[str, PoolingFunction]:
    """The same poolings, their names looked at.

    Raises:
        InputError: A name is taken or cannot be part of a view id, or a value is not callable.
    """
    if not isinstance(poolings, Mapping):
        raise InputError(
            f"poolings of type {type(poolings).__name__}: expected a dict of functions by name"
        )
    for name, function in poolings.items():
        if name in TOKEN_POOLINGS or name.startswith("pooler") or name == "none":
            raise InputError(f"pooling {name!r} is one of the project's own: choose another name")
        if not name.replace("_", "").isalnum() or not name[0].isalpha() or not name.isascii():
            raise InputError(
                f"pooling {name!r}: expected a name of letters, digits and underscores, since it "
                "becomes part of view ids such as mean@6"
            )
        if not callable(function):
            raise InputError(
                f"pooling {name!r} is {type(function).__name__}: expected a function of "
                "(hidden (n, tokens, d), mask (n, tokens)) that gives (n, d)"
            )
    return dict(poolings)


def source_digest(function: PoolingFunction) -> str | None:
    """SHA-256 of a function's source, by which stored vectors are told apart.

    None where the source does not say what the function does: it has none (typed at a prompt), it
    closes over variables, or it is an object with a state. Vectors of such a pooling are not
    stored.
    """
    if not isinstance(function, FunctionType) or function.__closure__:
        return None
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return None
    defaults = repr((function.__defaults__, function.__kwdefaults__))
    return hashlib.sha256(f"{source}{defaults}".encode()).hexdigest()


def _moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
