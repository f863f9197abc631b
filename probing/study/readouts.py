"""Similarities of pairs from what is fitted on others: whitening, and a supervised readout."""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_regressor

from probing.encoding.sharing import SharedExtraction
from probing.encoding.views import Pooling, View
from probing.probes.ridge import PairFeatures, fit_regression
from probing.similarity.contrasts import Cell
from probing.similarity.geometry import Transform, TransformKind, fit_axes, transformed_similarities
from probing.study.unscored import Supervision
from probing.tasks import SentencePairs
from probing.threads import over_views

logger = logging.getLogger(__name__)


def whitened_columns(
    extract: SharedExtraction,
    task: SentencePairs,
    sentences: Sequence[str],
    vectors: Mapping[str, NDArray[np.float32]],
    moving: Collection[str],
) -> dict[Cell, NDArray[np.float64]]:
    """The cosines ``(n_pairs,)`` of the claims' views, whitened on sentences not scored."""
    scored = {*task.sentences1, *task.sentences2}
    left = [sentence for sentence in sentences if sentence not in scored]
    if len(left) < 2:
        logger.info("%s: no training sentences to fit whitening on", task.name)
        return {}
    last = extract.encoder.num_layers
    poolings = (Pooling.MEAN, Pooling.CLS, Pooling.POOLER)
    wanted = [v for pooling in poolings if (v := str(View((last,), pooling))) in moving]
    fitted_on = extract(left)
    axes = over_views(lambda view_id: fit_axes(fitted_on[view_id]), wanted)
    return transformed_similarities(
        {view_id: vectors[view_id] for view_id in wanted},
        dict(zip(wanted, axes, strict=True)),
        fitted_on="train",
        transforms=(Transform(TransformKind.WHITENED),),
    )


def supervised_columns(
    extract: SharedExtraction,
    task: SentencePairs,
    supervision: Supervision,
    probes: Sequence[Any],
    *,
    seed: int,
) -> dict[Cell, NDArray[np.float64]]:
    """The similarity ``(n_pairs,)`` that a ridge regression reads from each view."""
    parts = (supervision.train, supervision.development, task)
    sentences = [sentence for part in parts for sentence in part.sentences1]
    sentences += [sentence for part in parts for sentence in part.sentences2]
    regressors: dict[str, BaseEstimator | None] = {"regression": None}
    own = [probe for probe in probes if isinstance(probe, BaseEstimator)]
    regressors |= {type(probe).__name__: probe for probe in own if is_regressor(probe)}
    found = {
        name: fit_regression(
            PairFeatures(extract(sentences)),
            np.concatenate([part.scores for part in parts]),
            np.repeat(["train", "dev", "test"], [len(part) for part in parts]),
            seed=seed,
            regressor=regressor,
        )
        for name, regressor in regressors.items()
    }
    return {
        Cell(view_id, probe=name): predictions.predicted[:, column]
        for name, predictions in found.items()
        for column, view_id in enumerate(predictions.view_ids)
    }
