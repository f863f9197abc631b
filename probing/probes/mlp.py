"""Probes trained as SentEval trains its classifiers: one hidden layer, or none.

The protocol is that of ``senteval/tools/classifier.py``: Adam, batches of 64, dev accuracy after
every four passes, the best weights kept, an end after dev has failed to improve for the sixth time
or after 200 passes. The layers are linear, dropout, sigmoid, linear (Conneau et al. 2018).
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probing.probes.standardisation import Standardisation
from probing.threads import over_views

_BATCH_SIZE: Final = 64
_TENACITY: Final = 5
_EPOCH_SIZE: Final = 4
_MAX_EPOCHS: Final = 200
_LEARNING_RATE: Final = 1e-3


@dataclass(frozen=True)
class Setting:
    """One of the settings that dev chooses between."""

    n_hidden: int
    """Units of the hidden layer; 0 for none: logistic regression."""
    dropout: float = 0.0
    weight_decay: float = 0.0
    """Weight decay of Adam, on weights and biases alike."""


@dataclass(frozen=True)
class TrainedProbes:
    """Probes trained by SentEval's protocol at every setting of a grid."""

    name: str
    settings: tuple[Setting, ...]
    standardise: bool
    """Whether features are standardised on train; SentEval leaves them as they are."""
    device: str = "cpu"

    @property
    def n_settings(self) -> int:
        """How many settings there are."""
        return len(self.settings)

    def predict(
        self,
        vectors: Mapping[str, NDArray[np.float32]],
        targets: NDArray[np.intp],
        *,
        n_classes: int,
        train: NDArray[np.intp],
        dev: NDArray[np.intp],
        evaluate: NDArray[np.intp],
        seed: int,
    ) -> NDArray[np.intp]:
        """Classes ``(n_views, n_settings, n_evaluate)``; as in `probing.probes.driver.Probes`.

        Every view and setting starts from the same seed.
        """
        fitted = np.setdiff1d(train, dev)
        known = torch.from_numpy(targets).to(self.device)

        def predicted(view_id: str) -> NDArray[np.intp]:
            rows = vectors[view_id]
            features = torch.from_numpy(rows.astype(np.float32)).to(self.device)
            if self.standardise:
                standardisation = Standardisation.fit(rows[fitted], device=self.device)
                features = standardisation.apply(rows)[:-1].T.contiguous()
            found = []
            for setting in self.settings:
                network = _train(
                    (features[fitted], known[fitted]),
                    (features[dev], known[dev]),
                    setting,
                    n_classes,
                    seed,
                )
                found.append(network.logits(features[evaluate]).argmax(1))
            return torch.stack(found).cpu().numpy()

        return np.stack(over_views(predicted, list(vectors)))


SENTEVAL_GRID: Final = tuple(
    Setting(n_hidden, dropout) for n_hidden, dropout in product((50, 100, 200), (0.0, 0.1, 0.2))
)
"""The nine settings of Conneau et al. (2018)."""

MLP: Final = TrainedProbes("mlp", (Setting(50, 0.1), Setting(200, 0.1)), standardise=True)
"""The default: two of the nine, the smallest and the largest hidden layer with medium dropout."""

MLP_SENTEVAL: Final = TrainedProbes("mlp-senteval", SENTEVAL_GRID, standardise=True)
"""All nine, at four to five times the cost."""

SENTEVAL_LINEAR: Final = TrainedProbes(
    "senteval",
    tuple(Setting(0, weight_decay=10.0**power) for power in range(-5, -1)),
    standardise=False,
)
"""SentEval's logistic regression: ``nhid`` 0, raw features, weight decay 1e-5 to 1e-2 by dev."""


class _Network:
    """Weights of one probe, drawn as ``torch.nn.Linear`` draws them, from a seed of its own."""

    def __init__(self, sizes: tuple[int, ...], dropout: float, generator: torch.Generator) -> None:
        self._dropout, self._generator = dropout, generator
        self.parameters: list[Tensor] = []
        for n_in, n_out in pairwise(sizes):
            for shape in ((n_out, n_in), (n_out,)):
                weights = torch.empty(shape, device=generator.device)
                bound = n_in**-0.5
                weights.uniform_(-bound, bound, generator=generator)
                self.parameters.append(weights.requires_grad_())

    def logits(self, features: Tensor, *, training: bool = False) -> Tensor:
        """(n, n_classes) of features (n, n_features)."""
        values = torch.nn.functional.linear(features, *self.parameters[:2])
        if len(self.parameters) == 2:
            return values
        if training and self._dropout:
            kept = torch.rand(values.shape, generator=self._generator, device=values.device)
            values = values * (kept >= self._dropout) / (1 - self._dropout)
        return torch.nn.functional.linear(values.sigmoid(), *self.parameters[2:])


def _train(
    fitted: tuple[Tensor, Tensor],
    dev: tuple[Tensor, Tensor],
    setting: Setting,
    n_classes: int,
    seed: int,
) -> _Network:
    features, targets = fitted
    generator = torch.Generator(features.device).manual_seed(seed)
    hidden = (setting.n_hidden,) if setting.n_hidden else ()
    sizes = (features.shape[1], *hidden, n_classes)
    network = _Network(sizes, setting.dropout, generator)
    optimizer = torch.optim.Adam(
        network.parameters, lr=_LEARNING_RATE, weight_decay=setting.weight_decay, fused=True
    )
    best_accuracy, best, failures = -1.0, network.parameters, 0
    for _ in range(0, _MAX_EPOCHS + 1, _EPOCH_SIZE):
        for batch in _batches(len(features), generator):
            logits = network.logits(features[batch], training=True)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, targets[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            accuracy = float((network.logits(dev[0]).argmax(1) == dev[1]).float().mean())
        if accuracy > best_accuracy:
            best_accuracy, best = accuracy, copy.deepcopy(network.parameters)
        elif failures == _TENACITY:
            break
        else:
            failures += 1
    network.parameters = [weights.detach() for weights in best]
    return network


def _batches(n: int, generator: torch.Generator) -> Iterator[Tensor]:
    for _ in range(_EPOCH_SIZE):
        order = torch.randperm(n, generator=generator, device=generator.device)
        yield from torch.split(order, _BATCH_SIZE)
