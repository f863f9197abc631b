"""Encoders that differ in the pre-training objective alone, held against each other."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probing.encoding.encoder import Encoder
from probing.encoding.extraction import extract
from probing.results.names import difference
from probing.results.scores import Score
from probing.similarity.contrasts import Cell, contrast_scores
from probing.similarity.cosine import cosine_similarities
from probing.statistics import aggregate_correlations, bootstrap_correlations, paired_difference
from probing.study.measurements import Settings
from probing.tasks import SentencePairs

logger = logging.getLogger(__name__)


def twin_contrasts(
    one: Encoder, other: Encoder, task: SentencePairs, settings: Settings
) -> list[Score]:
    """Spearman of one encoder minus that of the other, view by view, on the same pairs.

    Args:
        one: an encoder.
        other: one of the same depth.
        task: n_pairs sentence pairs.
        settings: of the study.

    Returns:
        ``spearman_difference`` and ``standard_error`` of every view that both have, from paired
        resamples; the model of a row is ``ONE - OTHER``.
    """
    columns: dict[Cell, NDArray[np.float64]] = {}
    shared = _shared_views((one, other))
    for encoder in (one, other):
        cosines = _cosines(encoder, shared, task, settings)
        columns |= {
            Cell(view_id, encoder.name): cosines[:, place] for place, view_id in enumerate(shared)
        }
    (name,) = contrast_names([(one.name, other.name)])
    rows = contrast_scores(
        columns,
        settings.target(task),
        cells=[Cell(view_id, name) for view_id in shared],
    )
    return [replace(row, model=name, transform="raw") for row in rows]


def mean_contrasts(
    pairs: Sequence[tuple[Encoder, Encoder]], task: SentencePairs, settings: Settings
) -> list[Score]:
    """The mean of `twin_contrasts` over pairs of encoders that differ in their seed alone.

    The Multi-Bootstrap of Sellam et al. 2022 ("The MultiBERTs") with paired seeds: each resample
    draws pairs of encoders as well as pairs of sentences, so that the interval speaks of the
    pre-training and not only of the encoders at hand. With few pairs it is too narrow: the part of
    the standard error that is due to the seeds is 0.7 of what it should be with two, 0.9 with five.

    Args:
        pairs: two or more, all of the same depth.
        task: n_pairs sentence pairs.
        settings: of the study.

    Returns:
        ``spearman_difference`` and ``standard_error`` of every view that all have; the model of a
        row is the last of `contrast_names`.
    """
    name = contrast_names([(one.name, other.name) for one, other in pairs])[-1]
    encoders = [encoder for pair in pairs for encoder in pair]
    shared = _shared_views(encoders)
    cosines = [_cosines(encoder, shared, task, settings) for encoder in encoders]
    target = settings.target(task)
    similarities, gold = np.concatenate(cosines, axis=1), target.gold
    _, codes, aggregations = target.coded_subsets()
    values = aggregate_correlations(similarities, gold, codes, aggregations=aggregations)
    samples = bootstrap_correlations(
        similarities,
        gold,
        rng=target.rng(),
        subsets=codes,
        clusters=target.clusters,
        aggregations=aggregations,
        n_resamples=settings.n_resamples,
    )
    drawn = np.random.default_rng([settings.seed, len(pairs)]).multinomial(
        len(pairs), np.full(len(pairs), 1 / len(pairs)), size=settings.n_resamples
    )
    rows = []
    for aggregation in aggregations:
        by_encoder = samples[aggregation].reshape(-1, len(pairs), 2, len(shared))
        resampled = np.einsum("rp,rpev->erv", drawn / len(pairs), by_encoder)
        estimates = values[aggregation].reshape(len(pairs), 2, len(shared)).mean(axis=0)
        found = paired_difference(*resampled, estimate_a=estimates[0], estimate_b=estimates[1])
        for place, view_id in enumerate(shared):
            named: dict[str, Any] = {
                "view": view_id,
                "probe": "cosine",
                "aggregation": str(aggregation),
            }
            rows += [
                target.score(
                    **named,
                    metric="spearman_difference",
                    value=found.difference[place],
                    lower=found.lower[place],
                    upper=found.upper[place],
                ),
                target.score(**named, metric="standard_error", value=found.standard_error[place]),
            ]
    return [replace(row, model=name) for row in rows]


def contrast_names(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """The models of the rows of `twins_scores`, given the names of the encoders of each pair.

    ``ONE - OTHER`` for each; of several, last, ``ONE, ONE - OTHER, OTHER`` for their mean.
    """
    names = [difference(*pair) for pair in pairs]
    if len(pairs) > 1:
        names.append(difference(*(", ".join(side) for side in zip(*pairs, strict=True))))
    return names


def _shared_views(encoders: Sequence[Encoder]) -> list[str]:
    every = [encoder.views for encoder in encoders]
    return [str(v) for v in every[0] if str(v) != "cls@0" and all(v in views for views in every)]


def _cosines(
    encoder: Encoder, view_ids: Sequence[str], task: SentencePairs, settings: Settings
) -> NDArray[np.float64]:
    """``(n_pairs, n_views)``."""
    sentences = task.sentences1 + task.sentences2
    return cosine_similarities(extract(encoder, sentences, cache_dir=settings.cache_dir), view_ids)


def twins_scores(
    pairs: Sequence[tuple[Encoder, Encoder]],
    tasks: Sequence[SentencePairs],
    settings: Settings,
) -> list[Score]:
    """`twin_contrasts` of every pair of encoders on every task; of several, their mean too."""
    rows: list[Score] = []
    for task in tasks:
        for one, other in pairs:
            logger.info("comparing %s with %s on %s", one.name, other.name, task.name)
            rows += twin_contrasts(one, other, task, settings)
        if len(pairs) > 1:
            rows += mean_contrasts(pairs, task, settings)
    return rows
