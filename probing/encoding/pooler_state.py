"""What is seen of a pooler's weights: whether they look trained, or like a random draw."""

import math
from enum import StrEnum
from typing import Final

import torch

_EDGE_TOLERANCE: Final = 2.0
"""Times d^(-2/3): how far above its limit the largest singular value of a random d × d matrix lies,
at the most, in some 100,000 draws (Johnstone 2001)."""
_KURTOSIS_TOLERANCE: Final = 6.0
"""Standard errors by which the kurtosis of a random draw may lie above that of the normal."""


class PoolerState(StrEnum):
    """What is seen of an encoder's pooler.

    Two things are looked at: the bias, which starts at zero (BERT) or as a small random draw
    (`torch.nn.Linear`), and the matrix, which starts as a random draw and gets directions larger
    than any random matrix has when it is trained. Whether the body was trained further after the
    pooler, and has left it behind, cannot be seen in them.
    """

    TRAINED = "trained"
    """The checkpoint has it, its bias has moved away from zero and its weights are not like a
    random draw."""
    UNTRAINED = "untrained"
    """The checkpoint has it; its bias is zero in every unit and its weights are like a random
    draw."""
    MOVED_BIAS_ONLY = "bias moved, weights like a random draw"
    """The checkpoint has it, perhaps as a fresh ``nn.Linear`` that was saved and never trained."""
    MOVED_WEIGHTS_ONLY = "bias at zero, weights not like a random draw"
    """The checkpoint has it, perhaps trained without its bias."""
    NEWLY_INITIALISED = "newly initialised"
    """The checkpoint lacks it and the loader made it up: random numbers."""
    ABSENT = "absent"
    """The architecture has none, so there is no pooler_output."""
    WITHOUT_WEIGHTS = "without weights"
    """pooler_output is the vector of ``[CLS]`` itself: there is nothing that could be trained."""
    END_OF_TEXT = "end of text"
    """pooler_output is the vector of the token that ends the text, not of a pooler."""


def seen_state(weight: torch.Tensor, bias: torch.Tensor | None) -> PoolerState:
    """What the dense layer of a checkpoint looks like.

    Args:
        weight: ``(hidden_size, hidden_size)``.
        bias: ``(hidden_size,)``, or None where there is none, which counts as zero.
    """
    moved = bias is not None and bool(bias.any())
    random = like_a_random_draw(weight)
    if moved:
        return PoolerState.MOVED_BIAS_ONLY if random else PoolerState.TRAINED
    return PoolerState.UNTRAINED if random else PoolerState.MOVED_WEIGHTS_ONLY


def like_a_random_draw(weight: torch.Tensor) -> bool:
    """Whether a matrix could be one of independent entries of one scale.

    Its largest singular value then nears the limit of Marchenko & Pastur (1967), and its entries
    have no heavier tails than the normal distribution. Training adds directions that stand out.

    Args:
        weight: ``(rows, columns)``, any float dtype.
    """
    entries = weight.detach().double().cpu()
    rows, columns = entries.shape
    scale = float(entries.std())
    if not scale > 0:
        return False
    # the largest eigenvalue of the smaller product: a tenth of the time of all singular values
    gram = entries @ entries.T if rows <= columns else entries.T @ entries
    largest = math.sqrt(float(torch.linalg.eigvalsh(gram)[-1]))
    limit = scale * (math.sqrt(rows) + math.sqrt(columns))
    size = min(rows, columns)
    if largest > limit * (1 + _EDGE_TOLERANCE * size ** (-2 / 3)):
        return False
    standard = (entries - entries.mean()) / scale
    kurtosis = float(standard.pow(4).mean()) - 3
    return kurtosis <= _KURTOSIS_TOLERANCE * math.sqrt(24 / entries.numel())
