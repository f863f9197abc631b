"""Random choices that come out the same on every machine and every Python."""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """A stream of choices that depends on its seed alone.

    Only ``random.Random.random`` is used: the standard library promises its sequence for a seed,
    and promises it for no other method (nor does NumPy for the methods of its generators).
    """

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed).random  # noqa: S311 - sentences, not secrets

    def chance(self, probability: float) -> bool:
        """Whether an event of this probability happens."""
        return self._random() < probability

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices (at least one), each as likely as the others."""
        return choices[int(self._random() * len(choices))]

    def shuffled(self, choices: Sequence[T]) -> list[T]:
        """The choices in random order (Fisher and Yates)."""
        order = list(choices)
        for last in range(len(order) - 1, 0, -1):
            other = int(self._random() * (last + 1))
            order[last], order[other] = order[other], order[last]
        return order
