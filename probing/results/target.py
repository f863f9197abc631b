"""What vectors are measured against: the items of one task, and how they are resampled."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import SupportsFloat

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
    seed: int = 0
    """Seed of the bootstrap: equal targets are resampled alike, so that their rows are paired."""
    n_resamples: int = 1000
    """Resamples of the bootstrap, which stays within subsets."""

    def __len__(self) -> int:
        return len(self.gold)

    def coded_subsets(
        self,
    ) -> tuple[NDArray[np.str_], NDArray[np.intp], tuple[Aggregation, ...]]:
        """Sorted subset names, the number of each item's ``(n_items,)``, and how to aggregate.

        A task without subsets has one, which is aggregated as ``all`` only.
        """
        names, codes = np.unique(
            np.array(self.subsets if self.subsets is not None else ["all"] * len(self)),
            return_inverse=True,
        )
        return names, codes, tuple(Aggregation) if len(names) > 1 else (Aggregation.ALL,)

    def rng(self) -> np.random.Generator:
        """A generator in its first state."""
        return np.random.default_rng(self.seed)

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
    ) -> Score:
        """One row of the results table about this target; layer and pooling follow from the view.

        Args:
            view: View id, a difference of two, or ``none``.
            probe: What reads the view.
            metric: What ``value`` is.
            value: The measurement, NaN where it is undefined.
            lower: Lower end of its 95 % interval.
            upper: Upper end of it.
            n: Items that the value is computed on; by default all.
            subset: The subset that the value is of.
            aggregation: How subsets were brought together.
            transform: What was done to the vectors.
            labels: ``real`` or ``control``.
            seed: Seed of what is random in the measurement; by default that of the bootstrap.
        """
        place = place_of(view)
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
        )
