"""What all measurements of a study share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from sklearn.base import BaseEstimator

from probing.claims.catalogue import CLAIMS, Claim
from probing.encoding.encoder import Encoder
from probing.encoding.vector_sources import VectorSource
from probing.encoding.views import View
from probing.errors import InputError
from probing.probes.driver import NAMED, fit_probes
from probing.probes.erasing import Eraser
from probing.probes.predictions import Predictions
from probing.results.items import Items
from probing.results.target import Target
from probing.similarity.own_transforms import TransformFunction
from probing.tasks import SentencePairs, Task

CODELENGTH: Final = "codelength"
"""The probe that measures online codelength."""
SCALAR_MIX: Final = "scalar-mix"
"""The linear probe of a learned average of all layers."""
ATTENTION: Final = "attention"
"""The linear probe of a learned pooling over layers and words."""

PROBES: Final = (*NAMED, CODELENGTH, SCALAR_MIX, ATTENTION)
"""Names of the probes that a study can use."""

HIGHEST_SEED: Final = 2**32 - 1
"""What every library that draws from a seed can take."""

RANDOM_DRAWS: Final = 5
"""Draws of random weights: fewer say little of how much they differ."""


def check_resampling(seed: int, n_resamples: int) -> None:
    """Raise `InputError` where nothing can be resampled from this seed as often as this."""
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed <= HIGHEST_SEED:
        raise InputError(f"seed {seed!r}: expected a whole number from 0 to {HIGHEST_SEED}")
    if not isinstance(n_resamples, (int, np.integer)) or n_resamples < 1:
        raise InputError(f"{n_resamples!r} resamples: expected a whole number such as 1000")


@dataclass(frozen=True)
class Settings:
    """What all measurements of a study share."""

    seed: int
    n_resamples: int
    cache_dir: Path | None
    """Where vectors are kept between runs; None to keep none."""
    probes: tuple[str | BaseEstimator, ...] = ("linear",)
    """Of `PROBES`, or scikit-learn classifiers (and regressors, which read similarity)."""
    claims: tuple[Claim, ...] = CLAIMS
    """Whose rows are measured."""
    views: tuple[str, ...] = ()
    """Averages and concatenations of layers that are measured beside an encoder's own views."""
    transforms: Mapping[str, TransformFunction] = field(default_factory=dict)
    """A researcher's own, by name."""
    controls: bool = False
    """Whether each probe is also trained on the control task."""
    n_seeds: int = 1
    """Over how many seeds, from ``seed`` up, what is random in a probe is averaged."""
    n_draws: int = RANDOM_DRAWS
    """How many draws of random weights, from ``seed`` up, the deficit of the pooler is held
    against."""
    erasers: Mapping[str, Mapping[str, Eraser]] = field(default_factory=dict)
    """Of one encoder: transform → view id → what takes a label out of the vectors."""
    fit: Callable[..., Predictions] = fit_probes
    """How probes of labels are fitted: as `fit_probes`, or by what gives the same with less work
    (`probing.probes.once.FitOnce`)."""
    device: str = "cpu"
    """Where probes are fitted and correlations resampled, as torch names it."""
    keep: Callable[[Items], object] | None = None
    """What is done with what every view says of every item; None to forget it."""

    def __post_init__(self) -> None:
        check_resampling(self.seed, self.n_resamples)

    def target(self, task: Task) -> Target:
        """What vectors of the task's items are measured against."""
        if isinstance(task, SentencePairs):
            return Target(
                task=task.name,
                gold=task.scores,
                split=task.split,
                subsets=task.subsets,
                clusters=task.clusters,
                seed=self.seed,
                n_resamples=self.n_resamples,
                device=self.device,
            )
        return Target(task=task.name, seed=self.seed, n_resamples=self.n_resamples)


def layer_averages(encoder: Encoder | VectorSource) -> list[str]:
    """The averages of two layers that papers call "first-last": one from 0, one from 1."""
    return [f"mean@{first}+{encoder.num_layers}" for first in (0, 1) if first < encoder.num_layers]


def composite_views(encoder: Encoder | VectorSource, settings: Settings) -> list[str]:
    """The averages and concatenations asked for, all of which this encoder must have."""
    if isinstance(encoder, VectorSource):
        return []
    own = set(map(str, encoder.views))
    for view_id in settings.views:
        for part in View.parse(view_id).parts or (view_id,):
            if str(part) not in own:
                raise InputError(
                    f"view {view_id!r}: {encoder.name} has no {part}; expected layers 0 to "
                    f"{encoder.num_layers} under one of its poolings"
                )
    averages = layer_averages(encoder)
    return [view_id for view_id in settings.views if view_id not in own | set(averages)]
