"""Encoders that differ in the pre-training objective alone, held against each other.

What their views know of next sentences, and how far apart they are on the same sentence pairs.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from probing.encoding.encoder import Encoder
from probing.encoding.extraction import extract
from probing.encoding.forward import encode_batch
from probing.encoding.tokenization import Batch
from probing.encoding.views import View
from probing.measurements import Settings
from probing.measuring.contrasts import Cell, contrast_scores
from probing.measuring.predictions import Predictions, probe_scores, view_difference
from probing.measuring.probes import fit_probes
from probing.measuring.similarity import coded_subsets, cosine_similarities
from probing.pretraining.corpus import TokenizedCorpus, held_out_documents
from probing.pretraining.segments import SegmentPairs, gather_batch, make_segment_pairs
from probing.scores import MINUS, Score
from probing.statistics import aggregate_correlations, bootstrap_correlations, paired_difference
from probing.tasks import SentencePairs

logger = logging.getLogger(__name__)

NEXT_SENTENCE: Final = "next-sentence"
"""The task of `next_sentence_scores`: does the second segment follow the first?"""

SIZES: Final[Mapping[str, int]] = MappingProxyType({"train": 4000, "dev": 1000, "test": 4000})
"""Pairs of each split."""

_BATCH_PAIRS: Final = 64
_LENGTH: Final = 64
"""Tokens of a pair at most: the length that the shipped encoders were trained with."""


def next_sentence_scores(
    encoder: Encoder, corpus: Path, settings: Settings, *, sizes: Mapping[str, int] = SIZES
) -> list[Score]:
    """Accuracy with which a linear probe tells next sentences from random ones, for every view.

    Both segments are in one input, ``[CLS] first [SEP] second [SEP]``, as in pre-training (Devlin
    et al. 2019). All pairs are of documents that no shipped encoder was trained on; those of the
    test split are of other documents than those of train and dev.

    Args:
        encoder: one with a BERT tokenizer and segment embeddings.
        corpus: folder of texts, one sentence a line, a blank line between documents.
        settings: of the study.
        sizes: pairs of ``train``, ``dev`` and ``test``, in this order.

    Returns:
        The rows of `probe_scores` for each view but ``cls@0``, and ``accuracy_difference`` with its
        ``standard_error`` for the pooler and ``cls`` of the last layer against its mean.

    Raises:
        InputError: the folder holds no corpus, or too few documents of two sentences or more.
    """
    length = min(_LENGTH, encoder.max_length)
    documents = held_out_documents(corpus, encoder.tokenizer, corpus)
    parts = [
        _pairs(documents, sizes["train"] + sizes["dev"], length, held_out=False),
        _pairs(documents, sizes["test"], length, held_out=True),
    ]
    vectors = [_encoded(encoder, documents, pairs, length) for pairs in parts]
    labels = np.concatenate([pairs.labels for pairs in parts])
    splits = np.repeat(list(sizes), list(sizes.values()))
    predictions = fit_probes(
        {view_id: np.concatenate([part[view_id] for part in vectors]) for view_id in vectors[0]},
        np.where(labels == 0, "next", "random"),
        splits,
        seed=settings.seed,
    )
    rows = probe_scores(
        predictions, task=NEXT_SENTENCE, seed=settings.seed, n_resamples=settings.n_resamples
    )
    return rows + _contrasts(encoder, predictions, settings)


def _contrasts(encoder: Encoder, predictions: Predictions, settings: Settings) -> list[Score]:
    last = encoder.num_layers
    rows = []
    for pooling in ("pooler", "cls"):
        view, mean = f"{pooling}@{last}", f"mean@{last}"
        if view not in predictions.view_ids:
            continue
        difference = view_difference(
            predictions, view, mean, seed=settings.seed, n_resamples=settings.n_resamples
        )
        row = Score(
            task=NEXT_SENTENCE,
            aggregation="all",
            view=f"{view}{MINUS}{mean}",
            layer=last,
            pooling=f"{pooling}{MINUS}mean",
            probe=predictions.probe,
            metric="accuracy_difference",
            value=float(difference.difference),
            lower=float(difference.lower),
            upper=float(difference.upper),
            n=len(predictions.gold),
            seed=settings.seed,
        )
        error = replace(
            row,
            metric="standard_error",
            value=float(difference.standard_error),
            lower=math.nan,
            upper=math.nan,
        )
        rows += [row, error]
    return rows


def _pairs(documents: TokenizedCorpus, count: int, length: int, *, held_out: bool) -> SegmentPairs:
    return make_segment_pairs(
        documents,
        count=count,
        length=length,
        held_out=held_out,
        sentence_order=False,
        short_share=0.0,
        seed=0,
    )


def _encoded(
    encoder: Encoder, documents: TokenizedCorpus, pairs: SegmentPairs, length: int
) -> dict[str, NDArray[np.float32]]:
    """View id → ``(n_pairs, hidden_size)`` float32, both segments in one input."""
    views = tuple(view for view in encoder.views if str(view) != "cls@0")
    tokenizer = encoder.tokenizer
    parts = []
    for start in range(0, len(pairs), _BATCH_PAIRS):
        batch = gather_batch(
            documents,
            pairs,
            slice(start, min(start + _BATCH_PAIRS, len(pairs))),
            length=length,
            cls_id=tokenizer.cls_token_id,
            sep_id=tokenizer.sep_token_id,
            pad_id=tokenizer.pad_token_id,
        )
        inputs = Batch(
            rows=np.arange(start, start + len(batch.labels)),
            ids=torch.from_numpy(batch.ids),
            attention_mask=torch.from_numpy(batch.attended),
            word_mask=torch.from_numpy(batch.maskable),
            is_padded=not batch.attended.all(),
            segments=torch.from_numpy(batch.segments),
        )
        parts.append(encode_batch(encoder, inputs, views).cpu().numpy())
    stacked = np.concatenate(parts, axis=1)
    return {str(view): vectors for view, vectors in zip(views, stacked, strict=True)}


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
        task.scores,
        cells=[Cell(view_id, name) for view_id in shared],
        task=task.name,
        split=task.split,
        subsets=task.subsets,
        seed=settings.seed,
        n_resamples=settings.n_resamples,
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
    similarities, gold = np.concatenate(cosines, axis=1), task.scores
    _, codes, aggregations = coded_subsets(task.subsets, len(gold))
    values = aggregate_correlations(similarities, gold, codes, aggregations=aggregations)
    samples = bootstrap_correlations(
        similarities,
        gold,
        rng=np.random.default_rng(settings.seed),
        subsets=codes,
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
            view = View.parse(view_id)
            row = Score(
                model=name,
                task=task.name,
                split=task.split,
                aggregation=str(aggregation),
                view=view_id,
                layer=view.layer,
                pooling=str(view.pooling),
                transform="raw",
                probe="cosine",
                metric="spearman_difference",
                value=float(found.difference[place]),
                lower=float(found.lower[place]),
                upper=float(found.upper[place]),
                n=len(gold),
                seed=settings.seed,
            )
            error = replace(
                row,
                metric="standard_error",
                value=float(found.standard_error[place]),
                lower=math.nan,
                upper=math.nan,
            )
            rows += [row, error]
    return rows


def contrast_names(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """The models of the rows of `twins_scores`, given the names of the encoders of each pair.

    ``ONE - OTHER`` for each; of several, last, ``ONE, ONE - OTHER, OTHER`` for their mean.
    """
    names = [MINUS.join(pair) for pair in pairs]
    if len(pairs) > 1:
        names.append(MINUS.join(", ".join(side) for side in zip(*pairs, strict=True)))
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
