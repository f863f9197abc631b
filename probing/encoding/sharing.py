"""The vectors of one encoder for many tasks, which encode a sentence that they share once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from probing.encoding.encoder import Encoder
from probing.encoding.extraction import distinct_sentences, extract
from probing.encoding.lazy import LazyViews
from probing.encoding.representations import Representations
from probing.encoding.vector_sources import VectorSource


@dataclass
class SharedExtraction:
    """Gives what `extract` gives, to 1e-5; encodes what it was not asked for before.

    STS-B alone shares most of its sentences with the yearly STS sets. What one request adds has a
    store of its own, so that a study which grows by a task finds the vectors of the others.
    """

    encoder: Encoder | VectorSource
    cache_dir: Path | None
    """Where stores are kept; None to hold the vectors in memory."""
    views: tuple[str, ...] | None = None
    """Ids of the views to keep of an encoder; None for all."""
    _parts: list[Representations] = field(default_factory=list, repr=False)
    _places: dict[str, tuple[int, int]] = field(default_factory=dict, repr=False)
    """Sentence → the part that holds it, and the row there."""

    def __call__(self, sentences: Sequence[str]) -> Representations:
        """The vectors of n sentences under every view.

        Raises `InputError` where there is no sentence, one is empty, or the disk is full.
        """
        distinct, rows = distinct_sentences(sentences)
        new = [sentence for sentence in distinct if sentence not in self._places]
        if new:
            number = len(self._parts)
            if isinstance(self.encoder, VectorSource):
                self._parts.append(self.encoder(new))
            else:
                self._parts.append(
                    extract(self.encoder, new, views=self.views, cache_dir=self.cache_dir)
                )
            self._places |= {sentence: (number, row) for row, sentence in enumerate(new)}
        parts, places = np.array([self._places[sentence] for sentence in distinct]).T
        # most requests come from few of the parts
        used, owners = np.unique(parts, return_inverse=True)
        held = [self._parts[number].distinct for number in used]

        def gathered(view_id: str) -> NDArray[np.float32]:
            of_parts = [part[view_id] for part in held]
            vectors = np.empty((len(distinct), of_parts[0].shape[1]), dtype=np.float32)
            for number, values in enumerate(of_parts):
                taken = owners == number
                vectors[taken] = values[places[taken]]
            return vectors

        truncated = np.empty(len(distinct), dtype=np.bool_)
        for number, part in enumerate(used):
            taken = owners == number
            truncated[taken] = self._parts[part].truncated[places[taken]]
        return Representations(
            distinct=LazyViews(held[0], gathered), rows=rows, truncated=truncated
        )
