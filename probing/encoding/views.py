"""Names of vectors: which layer, under which pooling.

The layer convention, stated once: layer ``0`` is the embedding output, layer ``i`` the output of
block ``i``, the last is ``num_hidden_layers`` — exactly ``outputs.hidden_states[i]`` of
``transformers``. TensorFlow-era papers count block 1 as 0.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from probing.errors import InputError


class Pooling(StrEnum):
    """How the token vectors of one layer become one sentence vector."""

    CLS = "cls"
    """The vector at position 0."""
    MEAN = "mean"
    """Mean over every non-padding token, ``[CLS]`` and ``[SEP]`` included (SimCSE, SBERT)."""
    MEAN_WORDS = "mean_words"
    """Mean over every non-padding token that is not a special token."""
    MAX = "max"
    """Elementwise maximum over every non-padding token."""
    POOLER_DENSE = "pooler_dense"
    """``W h_cls + b`` of the pooler, without its tanh (last layer only)."""
    POOLER = "pooler"
    """``pooler_output``: tanh of ``pooler_dense`` (last layer only)."""


TOKEN_POOLINGS: tuple[Pooling, ...] = (
    Pooling.CLS,
    Pooling.MEAN,
    Pooling.MEAN_WORDS,
    Pooling.MAX,
)
"""The poolings that every layer has."""

_VIEW_ID = re.compile(r"(?P<pooling>[a-z_]+)@(?P<layers>\d+(?:\+\d+)*)")


@dataclass(frozen=True, order=True)
class View:
    """One layer, or the average of several, under one pooling: one vector per sentence.

    ``str(view)`` is the canonical id: ``mean@6``, ``cls@0``, ``pooler@12``, ``mean@1+12``.
    """

    layers: tuple[int, ...]
    pooling: Pooling

    def __post_init__(self) -> None:
        if not self.layers or min(self.layers) < 0:
            raise InputError(f"a view needs layers >= 0, found {self.layers}")
        if list(self.layers) != sorted(set(self.layers)):
            raise InputError(
                f"the layers of a view must be distinct and ascending, found {self.layers}"
            )

    @classmethod
    def parse(cls, text: str) -> "View":
        """The view with this id. Raises `InputError` where the text is not an id."""
        match = _VIEW_ID.fullmatch(text)
        if match is None or match["pooling"] not in list(Pooling):
            poolings = ", ".join(Pooling)
            raise InputError(
                f"unknown view {text!r}: expected pooling@layer such as mean@6 or mean@1+12, "
                f"where pooling is one of {poolings}"
            )
        layers = tuple(int(layer) for layer in match["layers"].split("+"))
        return cls(layers=layers, pooling=Pooling(match["pooling"]))

    @property
    def layer(self) -> int | None:
        """The layer, or None for a composite view."""
        return self.layers[0] if len(self.layers) == 1 else None

    def __str__(self) -> str:
        return f"{self.pooling}@{'+'.join(str(layer) for layer in self.layers)}"
