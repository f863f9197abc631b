"""Probes of all layers together: which layers they weigh, and where the label comes in.

- The **scalar mix** (Peters et al. 2018, Tenney et al. 2019): a linear probe of the average of the
  layers under softmax weights that are learned with it. The encoder is frozen. Each layer is
  standardised on train, so that weights of layers can be compared.
- **Attention pooling**: a learned query weighs every word at every layer, and a linear probe reads
  the weighted mean.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student
from torch import Tensor
from torch.nn.functional import cross_entropy

from probing.encoding.lazy import LazyViews
from probing.probes.predictions import Predictions
from probing.probes.standardisation import Standardisation
from probing.results.scores import Score
from probing.results.target import Target
from probing.statistics import bootstrap_accuracies, percentile_interval
from probing.threads import over_views

FloatArray = NDArray[np.float64]
Vectors = NDArray[np.float32]

STRENGTHS: Final = (1e-3, 1e-2, 1e-1)
"""sklearn's ``C``, strongest penalty first; dev chooses."""
REFITS: Final = 20
"""Fits to resamples of train, for the interval of the weights."""
_MAX_ITERATIONS: Final = 100
_WEIGHT_DECAYS: Final = (1e-1, 1e-3)
_FEWEST_STEPS: Final = 800
_LEARNING_RATE: Final = 1e-2
_EVENNESS: Final = 1e-3
"""Penalty on the squared scores of layers: without it a softmax can run off to one layer."""
_BATCH: Final = 64


def mix_name(pooling: str, last: int) -> str:
    """The view of layers 0 to ``last`` mixed: ``mean@0..6``."""
    return f"{pooling}@0..{last}"


def layer_stacks(vectors: Mapping[str, Vectors], pooling: str, last: int) -> LazyViews[Vectors]:
    """``mean@0..l`` → ``(n, l + 1, d)`` for each layer l up to ``last``; made when asked for."""
    names = {mix_name(pooling, layer): layer for layer in range(last + 1)}

    def stacked(view_id: str) -> Vectors:
        layers = [vectors[f"{pooling}@{layer}"] for layer in range(names[view_id] + 1)]
        return np.stack(layers, axis=1)

    return LazyViews(names, stacked)


@dataclass(frozen=True, eq=False)
class _Mix:
    """Softmax weights of layers and a linear probe of their average."""

    scores: Tensor
    """(n_layers,) whose softmax are the weights."""
    linear: Tensor
    """(n_classes, d + 1), the intercept last."""

    def logits(self, layers: Tensor) -> Tensor:
        """(n, n_classes) from (n_layers, n, d)."""
        mixed = torch.tensordot(self.scores.softmax(0), layers, dims=1)
        logits: Tensor = mixed @ self.linear[:, :-1].T + self.linear[:, -1]
        return logits


@dataclass(frozen=True)
class ScalarMix:
    """A family of probes (`probing.probes.driver.Probes`) whose rows are ``(n, n_layers, d)``."""

    name: ClassVar[str] = "scalar-mix"
    """Value of the ``probe`` column."""
    strengths: tuple[float, ...] = STRENGTHS

    @property
    def n_settings(self) -> int:
        """How many strengths there are."""
        return len(self.strengths)

    def predict(
        self,
        vectors: Mapping[str, Vectors],
        targets: NDArray[np.intp],
        *,
        n_classes: int,
        train: NDArray[np.intp],
        dev: NDArray[np.intp],  # noqa: ARG002
        evaluate: NDArray[np.intp],
        seed: int,  # noqa: ARG002
    ) -> NDArray[np.intp]:
        """Classes ``(n_views, n_strengths, n_evaluate)``."""

        def predicted(view_id: str) -> NDArray[np.intp]:
            rows = vectors[view_id]
            layers = _standardised(rows, train)
            fits = self.fit(layers[:, train], targets[train], n_classes)
            classes = [fit.logits(layers[:, evaluate]).argmax(1) for fit in fits]
            return torch.stack(classes).numpy()

        return np.stack(over_views(predicted, list(vectors)))

    def fit(
        self, layers: Tensor, targets: NDArray[np.intp], n_classes: int, start: _Mix | None = None
    ) -> list[_Mix]:
        """At each strength, from the fit at the one before; layers (n_layers, n, d)."""
        gold = torch.from_numpy(targets)
        found: list[_Mix] = []
        for strength in self.strengths:
            start = _minimised(layers, gold, n_classes, strength, start)
            found.append(start)
        return found


def mix_weights(
    rows: Vectors, targets: NDArray[np.intp], *, strength: float, seed: int
) -> FloatArray:
    """``(1 + REFITS, n_layers)`` softmax weights: of the fit, then of those to resamples.

    Args:
        rows: ``(n, n_layers, d)`` of train.
        targets: ``(n,)`` classes.
        strength: sklearn's ``C``.
        seed: Of the resamples.
    """
    classes = np.unique(targets, return_inverse=True)[1]
    layers = _standardised(rows, np.arange(len(rows)))
    family = ScalarMix((strength,))
    n_classes = int(classes.max()) + 1
    (whole,) = family.fit(layers, classes, n_classes)
    rng = np.random.default_rng(seed)
    draws = [rng.integers(len(rows), size=len(rows)) for _ in range(REFITS)]
    start = _Mix(torch.zeros(len(layers)), whole.linear)
    refits = [family.fit(layers[:, draw], classes[draw], n_classes, start)[0] for draw in draws]
    return np.array([mix.scores.softmax(0).numpy() for mix in (whole, *refits)])


def mix_scores(
    predictions: Predictions,
    weights: FloatArray,
    target: Target,
    *,
    groups: NDArray[np.int64] | None = None,
) -> list[Score]:
    """Weight of each layer, centre of gravity and expected layer of one pooling.

    The interval of weights and their centre is that of refits to resamples of train; that of the
    expected layer (Tenney et al. 2019), the mean layer at which accuracy is gained when layers are
    added from below, is the percentile interval over test items.

    Args:
        predictions: Of the mixes of layers 0 to l, for l from 0.
        weights: From `mix_weights`.
        target: What the rows are about.
        groups: ``(n_items,)`` as for `probing.probes.predictions.probe_scores`.
    """
    mixed = predictions.view_ids[-1]
    pooling = mixed.partition("@")[0]
    layers = np.arange(weights.shape[1])
    quantile = float(student.ppf(0.975, REFITS - 1))

    def refitted(view: str, metric: str, values: FloatArray) -> Score:
        half = quantile * values[1:].std(ddof=1)
        return target.score(
            view=view,
            probe=predictions.probe,
            metric=metric,
            value=values[0],
            lower=values[0] - half,
            upper=values[0] + half,
            n=REFITS,
        )

    rows = [refitted(f"{pooling}@{layer}", "layer_weight", weights[:, layer]) for layer in layers]
    rows.append(refitted(mixed, "centre_of_gravity", weights @ layers))
    correct = predictions.correct
    samples = bootstrap_accuracies(
        correct, rng=target.rng(), groups=groups, n_resamples=target.n_resamples
    )
    lower, upper = percentile_interval(expected_layer(samples)[:, np.newaxis])
    rows.append(
        target.score(
            view=mixed,
            probe=predictions.probe,
            metric="expected_layer",
            value=expected_layer(correct.mean(axis=0)[np.newaxis])[0],
            lower=lower[0],
            upper=upper[0],
            n=len(predictions.gold),
        )
    )
    return rows


def expected_layer(accuracies: FloatArray) -> FloatArray:
    """``(n,)`` from the accuracies ``(n, n_layers)`` of growing mixes; NaN where none is gained."""
    gains = np.diff(accuracies, axis=1)
    total = gains.sum(axis=1)
    layers = np.arange(1, accuracies.shape[1])
    found = np.full(len(total), np.nan)
    np.divide(gains @ layers, total, out=found, where=total > 0)
    return found


@dataclass(frozen=True, eq=False)
class AttentionPooling:
    """A family of probes whose rows are the numbers of n texts ``(n, 1)``, words kept here."""

    name: ClassVar[str] = "attention"
    """Value of the ``probe`` column."""
    n_settings: ClassVar[int] = len(_WEIGHT_DECAYS)
    """How many weight decays there are."""
    read: Callable[[int], Vectors]
    """Layer → ``(n_words, d)``, the words of all texts in order."""
    n_layers: int
    ends: NDArray[np.intp]
    """``(n,)`` where the words of each text end."""

    def predict(
        self,
        vectors: Mapping[str, NDArray[np.intp]],
        targets: NDArray[np.intp],
        *,
        n_classes: int,
        train: NDArray[np.intp],
        dev: NDArray[np.intp],
        evaluate: NDArray[np.intp],
        seed: int,
    ) -> NDArray[np.intp]:
        """Classes ``(1, n_settings, n_evaluate)``; dev chooses the pass too."""
        texts = next(iter(vectors.values()))[:, 0]
        fitted = np.setdiff1d(train, dev)
        words = self._standardised(texts[fitted])
        gold = torch.from_numpy(targets)

        def batches(rows: NDArray[np.intp], order: NDArray[np.intp]) -> list[NDArray[np.intp]]:
            return [rows[order[at : at + _BATCH]] for at in range(0, len(rows), _BATCH)]

        def logits(rows: NDArray[np.intp], query: Tensor, bias: Tensor, linear: Tensor) -> Tensor:
            places, there = self._places(texts[rows])
            states = words[:, places]
            weights = (states @ query + bias[:, None, None]).masked_fill(~there, -torch.inf)
            shares = weights.permute(1, 0, 2).flatten(1).softmax(1)
            pooled = torch.einsum("bs,bsd->bd", shares, states.permute(1, 0, 2, 3).flatten(1, 2))
            return pooled @ linear[:, :-1].T + linear[:, -1]

        def classes(rows: NDArray[np.intp], parameters: Sequence[Tensor]) -> Tensor:
            with torch.no_grad():
                found = [
                    logits(part, *parameters).argmax(1)
                    for part in batches(rows, np.arange(len(rows)))
                ]
            return torch.cat(found)

        chosen = []
        for decay in _WEIGHT_DECAYS:
            rng = np.random.default_rng(seed)
            d = words.shape[-1]
            parameters = [torch.zeros(d), torch.zeros(self.n_layers), torch.zeros(n_classes, d + 1)]
            for parameter in parameters:
                parameter.requires_grad_()
            optimiser = torch.optim.AdamW(parameters, lr=_LEARNING_RATE, weight_decay=decay)
            best, highest = [p.detach().clone() for p in parameters], -1.0
            for _ in range(-(-_FEWEST_STEPS * _BATCH // len(fitted))):
                for part in batches(fitted, rng.permutation(len(fitted))):
                    optimiser.zero_grad()
                    cross_entropy(logits(part, *parameters), gold[part]).backward()  # type: ignore[no-untyped-call]
                    optimiser.step()
                right = (classes(dev, parameters) == gold[dev]).double().mean().item()
                if right > highest:
                    best, highest = [p.detach().clone() for p in parameters], right
            chosen.append(classes(evaluate, best))
        return torch.stack(chosen).numpy()[np.newaxis]

    def _standardised(self, texts: NDArray[np.intp]) -> Tensor:
        """(n_layers, n_words, d), each layer on the words of the texts."""
        places, there = self._places(texts)
        known = places[there].numpy()
        layers = []
        for layer in range(self.n_layers):
            rows = self.read(layer)
            layers.append(Standardisation.fit(rows[known]).apply(rows)[:-1].T)
        return torch.stack(layers)

    def _places(self, texts: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        """(n, longest) rows of the words of each text, and which of them are there."""
        starts = np.concatenate([[0], self.ends[:-1]])[texts]
        lengths = self.ends[texts] - starts
        steps = np.arange(lengths.max())
        there = steps < lengths[:, np.newaxis]
        places = np.where(there, starts[:, np.newaxis] + steps, 0)
        return torch.from_numpy(places), torch.from_numpy(there)


def _standardised(rows: Vectors, train: NDArray[np.intp]) -> Tensor:
    """(n_layers, n, d) from (n, n_layers, d), each layer on its rows of train."""
    layers = [np.ascontiguousarray(rows[:, layer]) for layer in range(rows.shape[1])]
    return torch.stack([Standardisation.fit(layer[train]).apply(layer)[:-1].T for layer in layers])


def _minimised(
    layers: Tensor, gold: Tensor, n_classes: int, strength: float, start: _Mix | None
) -> _Mix:
    n_layers, n, d = layers.shape
    scores = torch.zeros(n_layers) if start is None else start.scores.clone()
    linear = torch.zeros(n_classes, d + 1) if start is None else start.linear.clone()
    mix = _Mix(scores.requires_grad_(), linear.requires_grad_())
    optimiser = torch.optim.LBFGS(
        [mix.scores, mix.linear],
        max_iter=_MAX_ITERATIONS,
        tolerance_change=1e-7,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        penalty = mix.linear[:, :-1].square().sum() / (2 * strength * n)
        penalty = penalty + _EVENNESS * mix.scores.square().sum()
        value = cross_entropy(mix.logits(layers), gold) + penalty
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return _Mix(mix.scores.detach(), mix.linear.detach())
