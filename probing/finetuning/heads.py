"""Heads for fine-tuning: one summary of the last layer's states, and one linear readout for all.

Whatever the summary, what reads it is the same: features standardised by what the untouched encoder
gives on the training rows, then one linear map that starts at zero. With the encoder held fixed
that is the linear probe of `probing.probes.linear`, or for pairs the ridge regression of
`probing.probes.ridge`.
"""

import math
from collections.abc import Collection
from dataclasses import replace
from enum import StrEnum
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from probing.encoding.encoder import Encoder
from probing.encoding.pooling import TOKEN_POOLINGS, LayerTokens, TokenMasks
from probing.errors import InputError
from probing.probes.standardisation import Standardisation


class Head(StrEnum):
    """What of the last layer the readout is given."""

    POOLER = "pooler"
    """``pooler_output``: dense layer and tanh on ``[CLS]``, with the checkpoint's weights."""
    POOLER_FRESH = "pooler-fresh"
    """The same with newly drawn weights: shows what the pooler's earlier training was worth."""
    CLS = "cls"
    """The state at position 0 itself."""
    MEAN = "mean"
    """Mean over every token that is not padding."""
    MAX = "max"
    """Elementwise maximum over every token that is not padding."""
    ATTENTION = "attention"
    """Mean weighted by a softmax over the tokens, by one learned query that starts at zero."""


def named_head(name: str) -> Head:
    """The head of this name. Raises `InputError` where there is none."""
    if name not in list(Head):
        raise InputError(f"unknown head {name!r}: expected one of {', '.join(Head)}")
    return Head(name)


def available_heads(encoder: Encoder) -> tuple[Head, ...]:
    """The heads that an encoder can be given: all, but ``pooler`` only where it has one."""
    return tuple(h for h in Head if h is not Head.POOLER or encoder.pooler_dense is not None)


def check_heads(encoder: Encoder, heads: Collection[Head]) -> None:
    """Raise `InputError` where an encoder lacks one of the heads."""
    for head in heads:
        if head not in available_heads(encoder):
            raise InputError(
                f"{encoder.name} has no pooler, so there is no head {str(head)!r}: expected some "
                f"of {', '.join(available_heads(encoder))}"
            )


class Summary(nn.Module):
    """States ``(n, n_tokens, hidden_size)`` to summaries ``(n, hidden_size)``, by one head.

    Attributes:
        dense: of the two pooler heads, else None.
        query: ``(hidden_size,)`` of the head ``attention``, else None.
    """

    def __init__(self, head: Head, encoder: Encoder, *, seed: int) -> None:
        """Weights that are not the checkpoint's are drawn from ``seed``."""
        super().__init__()
        check_heads(encoder, (head,))
        self.head = head
        self.dense: nn.Linear | None = None
        self.query: nn.Parameter | None = None
        hidden = encoder.hidden_size
        if head is Head.ATTENTION:
            self.query = nn.Parameter(torch.zeros(hidden))
        elif head in (Head.POOLER, Head.POOLER_FRESH):
            self.dense = nn.Linear(hidden, hidden)
            with torch.no_grad():
                own = encoder.pooler_dense
                if head is Head.POOLER and own is not None:
                    self.dense.weight.copy_(own.weight)
                    self.dense.bias.copy_(own.bias)
                else:
                    config = getattr(encoder.model, "config", None)
                    spread = float(getattr(config, "initializer_range", 0.02))
                    generator = torch.Generator().manual_seed(seed)
                    self.dense.weight.normal_(0.0, spread, generator=generator)
                    self.dense.bias.zero_()

    @property
    def reads_first_alone(self) -> bool:
        """Whether it reads only ``[CLS]``."""
        return self.head in (Head.CLS, Head.POOLER, Head.POOLER_FRESH)

    def forward(self, states: Tensor, is_token: Tensor) -> Tensor:
        """Summaries of states, given ``(n, n_tokens)`` bool that is True off the padding."""
        if self.query is not None:
            scores = states @ self.query / math.sqrt(states.shape[2])
            weights = scores.masked_fill(~is_token, -torch.inf).softmax(1)
            return (weights[:, None] @ states)[:, 0]
        pooling = "cls" if self.dense is not None else self.head
        # no head leaves out special tokens, so every token counts as a word
        pooled = TOKEN_POOLINGS[pooling](LayerTokens(states, TokenMasks.of(is_token, is_token)))
        return pooled if self.dense is None else self.dense(pooled).tanh()


def pair_features(summaries: Tensor, *, sides: int) -> Tensor:
    """What is read: the summaries themselves, or of pairs ``|u - v|`` beside ``u * v``.

    Args:
        summaries: ``(sides * n, hidden_size)``, the first sentences of all pairs, then the second.
        sides: 1 for sentences, 2 for pairs (Tai et al. 2015, as `PairFeatures`).

    Returns:
        ``(n, sides * hidden_size)``.
    """
    if sides == 1:
        return summaries
    left, right = summaries.chunk(2)
    return torch.cat([(left - right).abs(), left * right], 1)


class Readout(nn.Module):
    """Features ``(n, n_features)`` to outputs ``(n, n_outputs)``: linear, starting at zero.

    The weights of the standardised features are ``coordinates @ axes``. In these coordinates the
    loss is curved about alike in all directions, as after preconditioning by the second moments of
    the features, so that steps of one size reach the optimum, which is that of the linear probe.
    """

    mean: Tensor
    scale: Tensor
    axes: Tensor

    def __init__(
        self,
        features: NDArray[np.float32],
        *,
        n_outputs: int,
        penalty: float,
        curvature: float,
        device: torch.device,
        least_scale: float = 0.0,
    ) -> None:
        """Standardisation and axes from the features of the training rows.

        Args:
            features: ``(n, n_features)``.
            n_outputs: Columns of the outputs.
            penalty: Times the sum of squares of the weights, beside the mean loss.
            curvature: Approximate second derivative of the loss with respect to an output.
            device: Where the readout is.
            least_scale: Smallest divisor of a feature, as a share of the median over features. With
                0 a dimension that the encoder leaves dead (a gain of 1e-28 in its last norm) is
                blown up to variance one, and the gradient that reaches the encoder with it.
        """
        super().__init__()
        standardisation = Standardisation.fit(features)
        floor = least_scale * float(standardisation.scale.median())
        if math.isfinite(floor):  # else most features are constant
            standardisation = replace(standardisation, scale=standardisation.scale.clamp(min=floor))
        rows = standardisation.apply(features)[:-1].double()
        moments, basis = torch.linalg.eigh(rows @ rows.T / rows.shape[1])
        curved = moments.clamp(min=0) + 2 * penalty / curvature
        self.register_buffer("mean", standardisation.mean.float())
        self.register_buffer("scale", standardisation.scale.float())
        self.register_buffer("axes", (basis / curved.sqrt() @ basis.T).float())
        self.coordinates = nn.Parameter(torch.zeros(n_outputs, len(moments)))
        self.intercepts = nn.Parameter(torch.zeros(n_outputs))
        self.to(device)

    @property
    def weight(self) -> Tensor:
        """``(n_outputs, n_features)`` of the standardised features."""
        return self.coordinates @ self.axes

    def forward(self, features: Tensor) -> Tensor:
        """Outputs: logits, for two classes only that of the second; or one standardised score."""
        standardised = (features - self.mean) / self.scale
        return nn.functional.linear(standardised, self.weight, self.intercepts)

    def penalty(self) -> Tensor:
        """Sum of squares of the weights, intercepts left out."""
        return self.weight.square().sum()


DEFAULT_HEADS: Final = (Head.POOLER, Head.POOLER_FRESH, Head.MEAN)
"""The heads that are compared by default: the two of the claims, and the pooler untrained."""
