"""The linear probe of a head's features: the limit of fine-tuning with the encoder held fixed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probing.finetuning.network import FinetuningData
from probing.probes.driver import MissingClasses, fit_probes
from probing.probes.linear import STRENGTHS
from probing.probes.ridge import PENALTIES, fit_regression


@dataclass(frozen=True, eq=False)
class LinearLimit:
    """The probe of one head on one set of training rows, its strength chosen on dev."""

    probe: str
    """``linear`` or, for scores, ``regression``."""
    penalty: float
    """Times the sum of squared weights of standardised features, beside the mean loss."""
    predicted: NDArray[np.float64]
    """``(n_test,)`` places in the classes (-1 where nothing can be measured), or scores."""


def linear_limit(
    features: NDArray[np.float32],
    data: FinetuningData,
    *,
    train: NDArray[np.intp],
    rows: NDArray[np.intp],
    seed: int,
) -> LinearLimit:
    """Fit the probe on the training rows, choose its penalty on dev, predict the test rows.

    Args:
        features: ``(n_rows, n_features)`` of ``rows``, from `untouched_features`.
        data: The task.
        train: ``(n_train,)`` rows to fit on.
        rows: ``(n_rows,)`` train, dev and test, in this order.
        seed: Passed on; nothing here is random.
    """
    splits = np.repeat(["train", "dev", "test"], [len(train), len(data.dev), len(data.test)])
    if not data.classes:
        scores = fit_regression({"head": features}, data.gold[rows], splits, seed=seed)
        alpha = PENALTIES[scores.chosen[0, 0]]
        return LinearLimit("regression", alpha / len(train), scores.predicted[:, 0])
    # the probe sorts its labels as text, so the places are padded with zeros
    labels = [f"{place:06.0f}" for place in data.gold[rows]]
    found = fit_probes(
        {"head": features}, labels, splits, seed=seed, missing_classes=MissingClasses.ACCEPT
    )
    strength = STRENGTHS[found.chosen[0, 0]]
    places = np.array([int(label) for label in found.classes])
    predicted = np.where(found.predicted[:, 0] < 0, -1, places[found.predicted[:, 0]])
    return LinearLimit("linear", 1 / (2 * strength * len(train)), predicted.astype(np.float64))
