"""Choosing the best layer on development data, never on the data it is then tested on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from probing.encoding.views import Pooling, View
from probing.results.scores import Score
from probing.results.target import Target
from probing.similarity.contrasts import Cell, contrast_scores
from probing.similarity.cosine import cosine_similarities


@dataclass(frozen=True)
class LayerSelection:
    """Spearman of one pooling at every layer on the development pairs, and what follows."""

    rows: tuple[Score, ...]
    """``num_layers + 1`` rows in the order of the layers, metric ``selection_spearman``: the
    record of the choice."""

    @property
    def last(self) -> int:
        """The last layer."""
        return len(self.rows) - 1

    @property
    def best(self) -> int:
        """The layer with the highest value, the lowest such layer where several share it."""
        return self._highest(self.rows)

    @property
    def best_earlier(self) -> int:
        """The same among the layers before the last."""
        return self._highest(self.rows[:-1])

    def _highest(self, rows: Sequence[Score]) -> int:
        values = [-math.inf if math.isnan(row.value) else row.value for row in rows]
        return values.index(max(values))


def select_layer(
    vectors: Mapping[str, NDArray[np.float32]], target: Target, pooling: str = Pooling.MEAN
) -> LayerSelection:
    """The best layer under one pooling on development pairs.

    Args:
        vectors: View id → ``(2 * n_pairs, hidden_size)``, first sentences then second ones; the
            views of this pooling are used, such as ``mean@0`` to ``mean@last``.
        target: n_pairs gold scores of the split that the choice is made on, such as ``dev``;
            subsets are taken together.
        pooling: Of the views.

    Raises:
        ValueError: A layer is missing, there is only one, or the split is ``test``.
    """
    if target.split == "test":
        raise ValueError("a layer is chosen on development pairs, found the split test")
    views = sorted(View.parse(view_id) for view_id in vectors)
    by_layer = [v for v in views if v.pooling == pooling and v.layer is not None]
    if [view.layer for view in by_layer] != list(range(len(by_layer))) or len(by_layer) < 2:
        found = ", ".join(map(str, by_layer)) or "none"
        raise ValueError(f"expected {pooling}@0 to {pooling}@last, found {found}")
    view_ids = [str(view) for view in by_layer]
    similarities = cosine_similarities(vectors, view_ids)
    columns = {Cell(view_id): similarities[:, i] for i, view_id in enumerate(view_ids)}
    scores = contrast_scores(columns, replace(target, subsets=None), cells=columns)
    return LayerSelection(rows=tuple(replace(row, metric="selection_spearman") for row in scores))
