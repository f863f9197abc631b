"""What vectors are measured against: the items of one task, and how they are resampled."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from probing.results.names import place_of
from probing.results.scores import Score
from probing.statistics import Aggregation

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Target:
    """The gold of n items of one task; whatever is measured on the task is measured against it."""

    task: str
    """Value of the column ``task``."""
    gold: FloatArray = field(default_factory=lambda: np.empty(0), repr=False)
    """``(n_items,)`` float64 without NaN; empty where the vectors alone are described."""
    split: str = "test"
    subsets: Sequence[str] | None = field(default=None, repr=False)
    """``n_items`` names, or None for a task without subsets."""
    clusters: NDArray[np.intp] | None = field(default=None, repr=False)
    """``(n_items,)`` code of the cluster each item is of; None where items are independent."""
    seed: int = 0
    """Seed of the bootstrap: equal targets are resampled alike, so that their rows are paired."""
    n_resamples: int = 1000
    """Resamples of the bootstrap, which draws whole clusters and stays within subsets."""
    device: str = "cpu"
    """Where the correlations of resamples are computed, as torch names it."""

    def __len__(self) -> int:
        return len(self.gold)

    def coded_subsets(self) -> tuple[NDArray[np.str_], NDArray[np.intp], tuple[Aggregation, ...]]:
        """Sorted subset names, the number of each item's ``(n_items,)``, and how to aggregate.

        A task without subsets has one, which is aggregated as ``all`` only.
        """
        names, codes = np.unique(
            np.array(self.subsets if self.subsets is not None else ["all"] * len(self)),
            return_inverse=True,
        )
        return names, codes, tuple(Aggregation) if len(names) > 1 else (Aggregation.ALL,)

    def clustering(self, part: NDArray[np.intp] | None = None) -> tuple[int | None, int | None]:
        """Number of clusters and items of the largest, among all items or those of a subset.

        Clusters end at the border of a subset. Both None where items have no clusters.
        """
        if self.clusters is None:
            return None, None
        _, subset, _ = self.coded_subsets()
        both = np.stack([subset, self.clusters])
        if part is not None:
            both = both[:, part]
        sizes = np.unique(both, axis=1, return_counts=True)[1]
        return len(sizes), int(sizes.max())

    @cached_property
    def clustering_of_all(self) -> tuple[int | None, int | None]:
        """`clustering` of all items, worked out once."""
        return self.clustering()

    def rng(self) -> np.random.Generator:
        """A generator in its first state."""
        return np.random.default_rng(self.seed)

    def scores(
        self,
        view_ids: Sequence[str],
        values: FloatArray,
        lower: FloatArray,
        upper: FloatArray,
        **named: Any,
    ) -> list[Score]:
        """A row for each of n_views views, by `score`; values and ends are ``(n_views,)``."""
        return [
            self.score(view=view_id, value=value, lower=low, upper=high, **named)
            for view_id, value, low, high in zip(view_ids, values, lower, upper, strict=True)
        ]

    def score(
        self,
        *,
        view: str,
        probe: str,
        metric: str,
        value: SupportsFloat,
        lower: SupportsFloat = math.nan,
        upper: SupportsFloat = math.nan,
        n: int | None = None,
        subset: str = "all",
        aggregation: str = "none",
        transform: str = "raw",
        labels: str = "real",
        seed: int | None = None,
        clustering: tuple[int | None, int | None] | None = None,
        trained_on: str = "all",
    ) -> Score:
        """One row of the results table about this target; layer and pooling follow from the view.

        Args:
            view: View id, a difference of two, or ``none``.
            probe: What reads the view.
            metric: What ``value`` is.
            value: The measurement, NaN where it is undefined.
            lower: Lower end of its 95 % interval.
            upper: Upper end of it.
            n: Items that the value is computed on; by default all, with their clusters.
            subset: The subset that the value is of.
            aggregation: How subsets were brought together.
            transform: What was done to the vectors.
            labels: ``real`` or ``control``.
            seed: Seed of what is random in the measurement; by default that of the bootstrap.
            clustering: Of the n items, from `clustering`; by default that of all, or none for n.
            trained_on: Training items of a fine-tuned head.
        """
        place = place_of(view)
        if clustering is None:
            clustering = self.clustering_of_all if n is None else (None, None)
        return Score(
            task=self.task,
            subset=subset,
            split=self.split,
            aggregation=aggregation,
            view=view,
            layer=place.layer,
            pooling=place.pooling,
            transform=transform,
            probe=probe,
            labels=labels,
            metric=metric,
            value=float(value),
            lower=float(lower),
            upper=float(upper),
            n=len(self) if n is None else n,
            seed=self.seed if seed is None else seed,
            clusters=clustering[0],
            largest_cluster=clustering[1],
            trained_on=trained_on,
        )
