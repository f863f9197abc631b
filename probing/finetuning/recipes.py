"""Recipes for fine-tuning: how a cell is trained, the same for every head."""

import math
from dataclasses import dataclass, replace
from typing import Final

from probing.errors import InputError


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """How a cell is trained; the same for every head.

    Training goes through all training items ``epochs`` times; a lower bound of steps gives small
    sets time to be learned. A head that dev says has learned all it can stops earlier.
    """

    frozen: bool = False
    """Learning rate 0 and no dropout in the encoder; L-BFGS in place of AdamW, and no early
    stopping, as there is one optimum."""
    encoder_rate: float = 1e-4
    """Peak learning rate of the encoder."""
    head_rate: float = 2e-3
    """Peak learning rate of the readout and of the dense layer of a head, wherever its weights
    are from."""
    batch_size: int = 16
    """Sentences; a pair has two."""
    epochs: float = 3.0
    least_steps: int = 60
    most_steps: int | None = None
    """None for as many as the epochs take. With fewer the later epochs are cut, and a warning says
    so."""
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    """For the matrices of encoder and head, by AdamW; the readout has the penalty of the linear
    probe."""
    gradient_norm: float = 1.0
    looks: int = 5
    """How often dev is looked at, evenly spaced."""
    patience: int = 2
    """Looks without a new best after which training stops."""

    def __post_init__(self) -> None:
        if min(self.batch_size, self.least_steps, self.looks, self.patience) < 1:
            raise InputError("batch size, steps, looks and patience must be at least 1")
        if self.most_steps is not None and self.most_steps < self.least_steps:
            raise InputError(
                f"at most {self.most_steps} steps and at least {self.least_steps}: expected a "
                "lower bound that is not above the upper one"
            )
        if not all(0 < x < math.inf for x in (self.encoder_rate, self.head_rate, self.epochs)):
            raise InputError("learning rates and epochs must be above 0")

    def steps(self, n_sentences: int) -> int:
        """Updates for so many training sentences."""
        by_epochs = math.ceil(self.epochs * self.steps_an_epoch(n_sentences))
        wanted = max(by_epochs, self.least_steps)
        return wanted if self.most_steps is None else min(wanted, self.most_steps)

    def steps_an_epoch(self, n_sentences: int) -> int:
        """Updates that go through so many training sentences once."""
        return math.ceil(n_sentences / self.batch_size)


FROZEN: Final = TrainingRecipe(frozen=True, batch_size=2**31, least_steps=10, most_steps=10)
"""For the frozen limit: every step is 20 iterations of L-BFGS on all rows."""


def recipes_for(
    *,
    with_frozen: bool = False,
    encoder_rate: float | None = None,
    epochs: float | None = None,
    most_steps: int | None = None,
) -> tuple[TrainingRecipe, ...]:
    """The recipes of a run: full, frozen where the encoder's rate is 0, or both.

    Args:
        with_frozen: Whether the frozen limit is trained beside full fine-tuning.
        encoder_rate: None for the default.
        epochs: How often full fine-tuning goes through all training items; None for the default.
        most_steps: Most steps of full fine-tuning; None for as many as the epochs take.

    >>> len(probing.recipes_for(with_frozen=True, most_steps=100))
    2
    """
    if encoder_rate == 0:
        return (FROZEN,)
    full = TrainingRecipe()
    if encoder_rate is not None:
        full = replace(full, encoder_rate=encoder_rate)
    if epochs is not None:
        full = replace(full, epochs=epochs)
    if most_steps is not None:
        least = min(full.least_steps, most_steps)
        full = replace(full, most_steps=most_steps, least_steps=least)
    return (full, FROZEN) if with_frozen else (full,)
