"""What a study measures of one encoder, on one task and on none."""

import logging
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_classifier

from probing.claims.catalogue import CLAIMS, Claim
from probing.claims.deciding import claim_rows
from probing.encoding.encoder import Encoder
from probing.encoding.sharing import SharedExtraction
from probing.encoding.vector_sources import VectorSource
from probing.encoding.views import View
from probing.encoding.word_vectors import extract_words
from probing.errors import InputError
from probing.probes.codelength import codelength_scores, online_codelength
from probing.probes.controls import control_labels
from probing.probes.driver import NAMED, MissingClasses, fit_probes
from probing.probes.predictions import probe_scores
from probing.probes.ridge import PairFeatures
from probing.results.scores import Score
from probing.results.target import Target
from probing.similarity.contrasts import Cell, contrast_scores
from probing.similarity.cosine import cosine_similarities, similarity_scores
from probing.similarity.geometry import (
    cka_scores,
    fit_axes,
    geometry_scores,
    transformed_similarities,
)
from probing.similarity.layer_selection import LayerSelection, select_layer
from probing.similarity.own_transforms import TransformFunction, own_transform_similarities
from probing.similarity.pooler import PoolerWeights, pooler_scores, weight_scores
from probing.similarity.pooler import road_contrasts as road
from probing.study.readouts import supervised_columns, whitened_columns
from probing.study.unscored import Unscored
from probing.tasks import LabelledSentences, LabelledSpans, SentencePairs, TaggedSentences, Task
from probing.threads import over_views

logger = logging.getLogger(__name__)


CODELENGTH: Final = "codelength"
"""The probe that measures online codelength; the others are those of `probing.probes.driver`."""

PROBES: Final = (*NAMED, CODELENGTH)
"""Names of the probes that a study can use."""

RANDOM_DRAWS: Final = 5
"""Draws of random weights: fewer say little of how much they differ."""


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
            )
        return Target(task=task.name, seed=self.seed, n_resamples=self.n_resamples)


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
    representations = extract(task.sentences1 + task.sentences2)
    # read once from the store, and used by every measurement
    view_ids = tuple(representations)
    read = over_views(representations.distinct.__getitem__, view_ids)
    representations = replace(representations, distinct=dict(zip(view_ids, read, strict=True)))
    vectors = dict(zip(view_ids, over_views(representations.__getitem__, view_ids), strict=True))
    averages = {view_id: representations[view_id] for view_id in _layer_averages(encoder)}
    composite = {view_id: representations[view_id] for view_id in _composite(encoder, settings)}
    measured = [*vectors, *averages, *composite]
    similarities = cosine_similarities({**vectors, **averages, **composite}, measured)
    rows = similarity_scores(
        similarities,
        target,
        view_ids=measured,
        probe="cosine",
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
    if not control:
        # what is to be taken away from the twins' own is a row of the model too
        wanted += [Cell(*row) for row in _claimed(encoder, selections, settings, control=True)]
    wanted += road(vectors, best=selections["mean"].best if selections else None)
    rows += contrast_scores(
        {**columns, **transformed, **predicted},
        target,
        cells=tuple(dict.fromkeys([*transformed, *predicted, *wanted])),
    )
    rows += pooler_scores(
        vectors,
        target,
        None if control else _pooler_weights(encoder),
    )
    rows += geometry_scores(representations.distinct, target)
    return rows, representations.n_truncated


def measure_labelled(
    extract: SharedExtraction, task: LabelledSentences, settings: Settings
) -> tuple[list[Score], int]:
    """The probes of one encoder on one task of labelled sentences or pairs.

    Returns:
        The rows, without model and revision, and how many sentences were truncated.
    """
    vectors: Mapping[str, NDArray[np.float32]]
    both = extract(task.sentences + (task.sentences2 or ()))
    truncated = both.n_truncated
    composite = {view_id: both[view_id] for view_id in _composite(extract.encoder, settings)}
    vectors = (
        ChainMap(composite, cast("dict[str, NDArray[np.float32]]", both)) if composite else both
    )
    if task.sentences2 is not None:
        vectors = PairFeatures(vectors)
    rows = _probed(
        vectors,
        settings.target(task),
        texts_of(task),
        task.labels,
        task.splits,
        settings,
        groups=None if task.groups is None else np.array(task.groups),
    )
    return rows, truncated


def measure_words(
    encoder: Encoder, task: TaggedSentences, settings: Settings
) -> tuple[list[Score], int]:
    """The probes of one encoder on the words of tagged sentences.

    A word that has no vector (cut off, or nothing to the tokenizer) takes no part; the log says
    how many.

    Returns:
        The rows, without model and revision, and how many words took no part.
    """
    words = extract_words(encoder, task.sentences, cache_dir=settings.cache_dir)
    kept = np.flatnonzero(~words.lost)
    types = [word for sentence in task.sentences for word in sentence]
    tags = [tag for sentence in task.tags for tag in sentence]
    splits = np.repeat(task.splits, [len(sentence) for sentence in task.sentences])
    rows = _probed(
        {view_id: words[view_id][kept] for view_id in words},
        settings.target(task),
        [types[row] for row in kept],
        [tags[row] for row in kept],
        splits[kept].tolist(),
        settings,
        groups=words.sentences[kept],
    )
    return rows, int(words.lost.sum())


def measure_spans(
    encoder: Encoder, task: LabelledSpans, settings: Settings
) -> tuple[list[Score], int]:
    """The probes of one encoder on labelled words, pairs of words or spans.

    The vector of a span is that of its first or last word, or the mean of its words
    (``span_first@6``, ``span_last@6``, ``span_mean@6``; one view, ``word_first@6``, where every
    span is one word); an item of two spans has both vectors, one after the other.

    Returns:
        The rows, without model and revision, and how many items took no part because a word of
        theirs has no vector.
    """
    words = extract_words(encoder, task.sentences, cache_dir=settings.cache_dir)
    starts = np.cumsum([0, *map(len, task.sentences)])[list(task.numbers)]
    spans = np.array(task.spans) + starts[:, np.newaxis, np.newaxis]
    n_lost = np.concatenate([[0], np.cumsum(words.lost)])
    whole = (n_lost[spans[..., 1]] == n_lost[spans[..., 0]]).all(axis=1)
    kept = np.flatnonzero(whole)
    vectors: dict[str, NDArray[np.float32]] = {}
    for view_id in words:
        layer = view_id.partition("@")[2]
        if not task.has_longer_spans:
            vectors[view_id] = _joined(words[view_id][spans[kept, :, 0]])
            continue
        by_word = words[view_id]
        vectors[f"span_first@{layer}"] = _joined(by_word[spans[kept, :, 0]])
        vectors[f"span_last@{layer}"] = _joined(by_word[spans[kept, :, 1] - 1])
        vectors[f"span_mean@{layer}"] = np.stack(
            [
                np.concatenate([by_word[start:stop].mean(axis=0) for start, stop in item])
                for item in spans[kept]
            ]
        )
    texts = task.texts
    rows = _probed(
        vectors,
        settings.target(task),
        [texts[row] for row in kept],
        [task.labels[row] for row in kept],
        [task.splits[row] for row in kept],
        settings,
        groups=np.array(task.numbers)[kept],
    )
    return rows, len(task) - len(kept)


def _joined(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(n_items, n_spans, d)`` to ``(n_items, n_spans * d)``."""
    return vectors.reshape(len(vectors), -1)


def _probed(
    vectors: Mapping[str, NDArray[np.float32]],
    target: Target,
    items: Sequence[str],
    labels: Sequence[str],
    splits: Sequence[str],
    settings: Settings,
    *,
    groups: NDArray[np.int64] | None = None,
) -> list[Score]:
    """Every probe on the real labels, and with ``settings.controls`` on those of the control."""
    rows: list[Score] = []
    seeds = range(settings.seed, settings.seed + settings.n_seeds)
    targets = {"real": [list(labels)] * len(seeds)}
    if settings.controls:
        targets["control"] = [control_labels(items, labels, seed=s).tolist() for s in seeds]
    train = [row for row, split in enumerate(splits) if split in ("train", "")]
    for kind, draws in targets.items():
        for probe in settings.probes:
            if isinstance(probe, BaseEstimator) and not is_classifier(probe):
                continue  # a regressor reads similarity, not labels
            if probe == CODELENGTH:
                taught = {view_id: vectors[view_id][train] for view_id in vectors}
                lengths = [
                    online_codelength(taught, [wanted[row] for row in train], seed=seed)
                    for seed, wanted in zip(seeds, draws, strict=True)
                ]
                rows += codelength_scores(lengths, replace(target, split="train"), labels=kind)
                continue
            # with splits the linear probe has one optimum, whatever the seed
            certain = probe == "linear" and kind == "real" and "dev" in splits
            predictions = [
                fit_probes(
                    vectors,
                    wanted,
                    splits,
                    probe=probe,
                    seed=seed,
                    missing_classes=MissingClasses.ACCEPT,
                )
                for seed, wanted in list(zip(seeds, draws, strict=True))[: 1 if certain else None]
            ]
            rows += probe_scores(
                predictions,
                target,
                labels=kind,
                groups=None if groups is None else groups[predictions[0].items],
            )
    return rows


def texts_of(task: LabelledSentences) -> tuple[str, ...]:
    """The n texts of a task, both sentences of a pair as one."""
    if task.sentences2 is None:
        return task.sentences
    return tuple(f"{one} {two}" for one, two in zip(task.sentences, task.sentences2, strict=True))


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
    rows = cka_scores(
        representations.distinct,
        settings.target(development),
    )
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


def _layer_averages(encoder: Encoder | VectorSource) -> list[str]:
    """The averages of two layers that papers call "first-last": one from 0, one from 1."""
    return [f"mean@{first}+{encoder.num_layers}" for first in (0, 1) if first < encoder.num_layers]


def _composite(encoder: Encoder | VectorSource, settings: Settings) -> list[str]:
    """The averages and concatenations asked for, all of which this encoder must have."""
    if isinstance(encoder, VectorSource):
        return []
    own = set(map(str, encoder.views))
    for view_id in settings.views:
        for part in View.parse(view_id).parts:
            if str(part) not in own:
                raise InputError(
                    f"view {view_id!r}: {encoder.name} has no {part}; expected layers 0 to "
                    f"{encoder.num_layers} under one of its poolings"
                )
    averages = _layer_averages(encoder)
    return [view_id for view_id in settings.views if view_id not in own | set(averages)]


def _pooler_weights(encoder: Encoder | VectorSource) -> PoolerWeights | None:
    dense = encoder.pooler_dense
    if dense is None:
        return None
    return PoolerWeights(
        weight=dense.weight.detach().double().cpu().numpy(),
        bias=dense.bias.detach().double().cpu().numpy(),
    )
