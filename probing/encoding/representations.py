"""The vectors of n sentences under every view."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from probing.encoding.pooling import AVERAGED
from probing.encoding.views import View
from probing.errors import InputError


@dataclass(frozen=True)
class Representations(Mapping[str, NDArray[np.float32]]):
    """View id → vectors ``(n_sentences, hidden_size)``, float32.

    ``representations["mean@6"]`` gives one matrix with a row per sentence in the order asked for.
    A concatenation of k layers (``cls@11,12``, ``(n_sentences, k * hidden_size)``) is made on the
    fly, and so is an average (``mean@1+12``) for the poolings that commute with averaging:
    ``cls``, ``mean`` and ``mean_words``.
    """

    distinct: Mapping[str, NDArray[np.float32]] = field(repr=False)
    """View id → ``(n_distinct, hidden_size)``: each distinct sentence was encoded once. Arrays in
    memory, or `probing.encoding.store.shards.StoredVectors`, read when they are asked for."""
    rows: NDArray[np.int64] = field(repr=False)
    """``(n_sentences,)``: row of ``distinct`` for each sentence."""
    truncated: NDArray[np.bool_] = field(repr=False)
    """``(n_distinct,)``: which are longer than the encoder allows and lost their end."""
    setups: tuple[str, ...] = ()
    """How the forward passes ran (`probing.encoding.pass_setup.Setup`); more than one where several
    runs made them, none where the vectors come from outside."""

    def __post_init__(self) -> None:
        if not isinstance(self.distinct, dict):
            return  # a store: its shapes were checked when it was written
        lengths = {len(vectors) for vectors in self.distinct.values()}
        if len(lengths) != 1:
            raise ValueError(f"views of as many rows expected, found {sorted(lengths)}")

    def __getitem__(self, view_id: str) -> NDArray[np.float32]:
        """Vectors ``(n_sentences, hidden_size)`` float32 of a view.

        Raises:
            InputError: The id is not a view, or this encoder has no such view.
        """
        if view_id in self.distinct:
            return np.ascontiguousarray(self.distinct[view_id][self.rows])
        view = View.parse(view_id)
        parts = [str(part) for part in view.parts] or [view_id]
        absent = [part for part in parts if part not in self.distinct]
        if absent:
            raise InputError(
                f"no view {absent[0]!r} here: expected one of {', '.join(self.distinct)}"
            )
        if view.concatenated:
            return np.concatenate([self.distinct[part][self.rows] for part in parts], axis=1)
        if view.pooling not in AVERAGED:
            raise InputError(
                f"{view_id!r} is not defined from pooled vectors: an average of layers needs "
                f"{', '.join(sorted(AVERAGED))}; a concatenation is written "
                f"{view_id.replace('+', ',')}"
            )
        layers = np.stack([self.distinct[part][self.rows] for part in parts])
        average: NDArray[np.float32] = layers.mean(axis=0, dtype=np.float64).astype(np.float32)
        return average

    def __contains__(self, view_id: object) -> bool:
        """Whether this id is one of the stored views (composite views are not listed)."""
        return view_id in self.distinct

    def __iter__(self) -> Iterator[str]:
        return iter(self.distinct)

    def __len__(self) -> int:
        return len(self.distinct)

    @property
    def n_truncated(self) -> int:
        """How many of the n sentences lost their end."""
        return int(self.truncated[self.rows].sum())

    @property
    def n_sentences(self) -> int:
        """How many rows each matrix has."""
        return len(self.rows)
