"""What a study measures of one encoder, on one task and on none."""

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from probing.claims.deciding import claim_rows
from probing.encoding.encoder import Encoder
from probing.encoding.sharing import SharedExtraction
from probing.encoding.vector_sources import VectorSource
from probing.probes.erasing import erased
from probing.results.items import Items
from probing.results.names import difference
from probing.results.scores import Score
from probing.similarity.contrasts import Cell, contrast_scores
from probing.similarity.cosine import cosine_similarities, similarity_scores
from probing.similarity.geometry import (
    cka_scores,
    fit_axes,
    geometry_scores,
    transformed_similarities,
)
from probing.similarity.layer_selection import LayerSelection, select_layer
from probing.similarity.own_transforms import own_transform_similarities
from probing.similarity.pooler import PoolerWeights, pooler_scores, road_contrasts, weight_scores
from probing.study.readouts import supervised_columns, whitened_columns
from probing.study.settings import Settings, composite_views, layer_averages
from probing.study.unscored import Unscored
from probing.tasks import SentencePairs
from probing.threads import over_views

logger = logging.getLogger(__name__)


def measure_pairs(
    extract: SharedExtraction,
    task: SentencePairs,
    selections: Mapping[str, LayerSelection],
    settings: Settings,
    *,
    control: bool,
    unscored: Unscored | None = None,
) -> tuple[list[Score], int]:
    """STS correlation, contrasts, anatomy of the pooler and geometry of one encoder on one task.

    Args:
        extract: Of the encoder or its random-weight twin.
        task: n_pairs sentence pairs.
        selections: From `choose_layers`.
        settings: Of the study.
        control: Whether the encoder is the twin, of which only what the claims need is measured.
        unscored: What whitening and the supervised readout are fitted on; without it they are left
            out, but for transforms fitted on the task itself.

    Returns:
        The rows, without model and revision, and how many sentences were truncated.
    """
    encoder = extract.encoder
    target = settings.target(task)
    if target.clustering_of_all[0] == 1:
        logger.warning("%s: all pairs hang together, so that no interval is defined", task.name)
    if np.ptp(task.scores) == 0:
        logger.warning(
            "%s: every score is %g: correlations with it are NaN", task.name, task.scores[0]
        )
    representations = extract(task.sentences1 + task.sentences2)
    # read once from the store, and used by every measurement
    view_ids = tuple(representations)
    read = over_views(representations.distinct.__getitem__, view_ids)
    representations = replace(representations, distinct=dict(zip(view_ids, read, strict=True)))
    vectors = dict(zip(view_ids, over_views(representations.__getitem__, view_ids), strict=True))
    averages = {view_id: representations[view_id] for view_id in layer_averages(encoder)}
    composite = {
        view_id: representations[view_id] for view_id in composite_views(encoder, settings)
    }
    measured = [*vectors, *averages, *composite]
    similarities = cosine_similarities({**vectors, **averages, **composite}, measured)
    rows = similarity_scores(similarities, target, view_ids=measured, probe="cosine")
    if settings.keep is not None and not control:
        settings.keep(
            Items(
                model=encoder.name,
                probe="cosine",
                views=tuple(measured),
                columns=similarities,
                target=target,
            )
        )
    columns = {Cell(view_id): similarities[:, i] for i, view_id in enumerate(measured)}
    transformed: dict[Cell, NDArray[np.float64]] = {}
    if not control:
        moving = [v for v in vectors if not np.isnan(columns[Cell(v)]).any()]
        axes = over_views(lambda view_id: fit_axes(vectors[view_id]), moving)
        fitted = dict(zip(moving, axes, strict=True))
        transformed = transformed_similarities(vectors, fitted, fitted_on="target")
        if unscored is not None:
            transformed |= whitened_columns(extract, task, unscored.whitening, vectors, moving)
        moved = {view_id: vectors[view_id] for view_id in moving}
        for name, left in erased(moved, settings.erasers, task.name).items():
            cosines = cosine_similarities(left, tuple(left))
            transformed |= {Cell(view_id, name): cosines[:, i] for i, view_id in enumerate(left)}
        transformed |= own_transform_similarities(
            moved, moved, settings.transforms, source="target"
        )
    predicted: dict[Cell, NDArray[np.float64]] = {}
    supervision = None if unscored is None else unscored.supervision[task.name]
    if supervision is not None and not control:
        predicted = supervised_columns(
            extract, task, supervision, settings.probes, seed=settings.seed
        )
    wanted = [Cell(*row) for row in _claimed(encoder, selections, settings, control=control)]
    wanted += [
        Cell(cell.view, difference(cell.transform, other))
        for cell in transformed
        if cell.transform in settings.erasers
        for other in ("raw", f"random:{cell.transform.partition(':')[2]}")
        if cell.transform != other
    ]
    if not control:
        # what is to be taken away from the twins' own is a row of the model too
        wanted += [Cell(*row) for row in _claimed(encoder, selections, settings, control=True)]
    wanted += road_contrasts(vectors, best=selections["mean"].best if selections else None)
    rows += contrast_scores(
        {**columns, **transformed, **predicted},
        target,
        cells=tuple(dict.fromkeys([*transformed, *predicted, *wanted])),
    )
    rows += pooler_scores(vectors, target, None if control else _pooler_weights(encoder))
    rows += geometry_scores(representations.distinct, target)
    return rows, representations.n_truncated


def choose_layers(
    extract: SharedExtraction, development: SentencePairs, settings: Settings
) -> tuple[dict[str, LayerSelection], list[Score]]:
    """The best layer on development pairs, and the rows that are about no one task.

    Returns:
        The choice under mean pooling, of a decoder under the last token too (none for an encoder
        of a single layer), with its record, the weights of the pooler, and linear CKA between all
        views on the development sentences.
    """
    encoder = extract.encoder
    representations = extract(development.sentences1 + development.sentences2)
    rows = cka_scores(representations.distinct, settings.target(development))
    weights = _pooler_weights(encoder)
    if weights is not None:
        rows += weight_scores(weights, layer=encoder.num_layers, seed=settings.seed)
    if encoder.num_layers == 0:
        logger.warning("%s has no layer to choose from", encoder.name)
        return {}, rows
    target = settings.target(development)
    selections = {
        pooling: select_layer(representations, target, pooling)
        for pooling in ("mean", *(["last"] if encoder.is_causal else []))
    }
    for pooling, selection in selections.items():
        rows += selection.rows
        logger.info(
            "%s: %s@%d chosen on %s %s",
            encoder.name,
            pooling,
            selection.best,
            development.name,
            development.split,
        )
    return selections, rows


def _claimed(
    encoder: Encoder | VectorSource,
    selections: Mapping[str, LayerSelection],
    settings: Settings,
    *,
    control: bool,
) -> list[tuple[str, str, str]]:
    return claim_rows(
        encoder.num_layers,
        {pooling: selection.best_earlier for pooling, selection in selections.items()},
        settings.claims,
        control=control,
        causal=encoder.is_causal,
    )


def _pooler_weights(encoder: Encoder | VectorSource) -> PoolerWeights | None:
    dense = encoder.pooler_dense
    if dense is None:
        return None
    return PoolerWeights(
        weight=dense.weight.detach().double().cpu().numpy(),
        bias=dense.bias.detach().double().cpu().numpy(),
    )
