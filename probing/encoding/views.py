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
    """The poolings that claims speak of; `probing.encoding.pooling` has them all."""

    CLS = "cls"
    MEAN = "mean"
    MEAN_WORDS = "mean_words"
    MAX = "max"
    POOLER_DENSE = "pooler_dense"
    """``W h_cls + b`` of the pooler, without its tanh (last layer only)."""
    POOLER = "pooler"
    """``pooler_output``: tanh of ``pooler_dense`` (last layer only)."""


_NAME = r"[A-Za-z][A-Za-z0-9_-]*"
_VIEW_ID = re.compile(rf"(?P<pooling>{_NAME})(?:@(?P<layers>\d+(?:(?:\+\d+)+|(?:,\d+)+)?))?")


@dataclass(frozen=True, order=True)
class View:
    """One layer, or several together, under one pooling: one vector per sentence.

    ``str(view)`` is the canonical id: ``mean@6``, ``cls@0``, ``pooler@12``; ``mean@1+12`` is the
    average of two layers, ``cls@11,12`` their concatenation. An encoder that shows no layers has
    views that are a name and nothing else.

    >>> view = probing.View.parse("cls@11,12")
    >>> view.layers, view.pooling, view.concatenated
    ((11, 12), 'cls', True)
    """

    layers: tuple[int, ...]
    pooling: str
    concatenated: bool = False
    """Whether several layers are set side by side, not averaged."""

    def __post_init__(self) -> None:
        if self.layers and min(self.layers) < 0:
            raise InputError(f"a view needs layers >= 0, found {self.layers}")
        if list(self.layers) != sorted(set(self.layers)):
            raise InputError(
                "the layers of a view must be distinct and in ascending order, found "
                f"{self.layers} under {self.pooling}"
            )

    @classmethod
    def parse(cls, text: str) -> "View":
        """The view with this id. Raises `InputError` where the text is not an id."""
        match = _VIEW_ID.fullmatch(text)
        if match is None:
            raise InputError(
                f"{text!r} is not the id of a view: expected pooling@layer such as mean@6, an "
                "average of layers such as mean@1+12 or a concatenation such as cls@11,12"
            )
        layers = match["layers"] or ""
        concatenated = "," in layers
        return cls(
            layers=tuple(int(layer) for layer in re.findall(r"\d+", layers)),
            pooling=match["pooling"],
            concatenated=concatenated,
        )

    @property
    def layer(self) -> int | None:
        """The layer, or None for a composite view and for an encoder that shows none."""
        return self.layers[0] if len(self.layers) == 1 else None

    @property
    def parts(self) -> tuple["View", ...]:
        """The views of one layer each that this one is made of."""
        return tuple(View((layer,), self.pooling) for layer in self.layers)

    def __str__(self) -> str:
        if not self.layers:
            return self.pooling
        separator = "," if self.concatenated else "+"
        return f"{self.pooling}@{separator.join(str(layer) for layer in self.layers)}"
