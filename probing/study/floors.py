"""Floors: what is reached on a task without an encoder, or with its word vectors only."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from probing.encoding.encoder import Encoder
from probing.encoding.extraction import distinct_sentences
from probing.encoding.tokenization import tokenize
from probing.probes.controls import FLOORS, fit_floor
from probing.probes.driver import MissingClasses
from probing.probes.predictions import probe_scores
from probing.probes.structural import Tree, linear_chain, structure_scores
from probing.results.names import NO_VIEW, floor_name
from probing.results.scores import Score
from probing.similarity.cosine import (
    cosine_similarities,
    idf_cosines,
    similarity_scores,
    token_jaccard,
)
from probing.study.labelled import Labels
from probing.study.settings import Settings
from probing.tasks import ParsedSentences, SentencePairs, Task


def measure_floors(task: Task, settings: Settings) -> list[Score]:
    """What is reached without an encoder: shared words, or majority, bag of words and length."""
    if isinstance(task, SentencePairs):
        return _word_floors(task, settings)
    if isinstance(task, ParsedSentences):
        return [
            replace(score, model=floor_name("linear-chain"))
            for split in ("dev", "test")
            for score in structure_scores(
                linear_chain(_trees(task, split)),
                replace(settings.target(task), split=split),
                probe="none",
            )
        ]
    items = Labels.of(task)
    rows: list[Score] = []
    for floor in tuple(FLOORS)[: None if items.has_sentences else -1]:
        predictions = fit_floor(
            floor,
            items.texts,
            items.labels,
            items.splits,
            seed=settings.seed,
            missing_classes=MissingClasses.ACCEPT,
        )
        groups = items.groups_of(predictions)
        scores = probe_scores(predictions, settings.target(task), groups=groups)
        rows += [replace(score, model=floor) for score in scores]
    return rows


def _trees(task: ParsedSentences, split: str) -> list[Tree]:
    rows = [row for row, found in enumerate(task.splits) if found == split]
    return [Tree.of(task.heads[row], task.punctuation[row]) for row in rows]


def _word_floors(task: SentencePairs, settings: Settings) -> list[Score]:
    """The words that two sentences share, counted, and weighted by how rare they are."""
    both = (task.sentences1, task.sentences2)
    found = {"jaccard": token_jaccard(*both), "idf-words": idf_cosines(*both)}
    return _similarity_floors(found, task, settings)


def static_word_floor(encoder: Encoder, task: SentencePairs, settings: Settings) -> list[Score]:
    """Cosine of the means of an encoder's own word vectors, as they enter its first layer.

    What a view has over this it owes to position and context. The name of the floor is
    ``floor:static-words:NAME``.
    """
    vectors = {"static": _static_vectors(encoder, task.sentences1 + task.sentences2)}
    (similarities,) = cosine_similarities(vectors, ("static",)).T
    return _similarity_floors({f"static-words:{encoder.name}": similarities}, task, settings)


def _static_vectors(encoder: Encoder, sentences: Sequence[str]) -> NDArray[np.float32]:
    """``(n_sentences, width)``: mean word-piece embedding, special tokens left out.

    A sentence without a word piece has the zero vector, and no direction.
    """
    distinct, rows = distinct_sentences(sentences)
    tokenized = tokenize(encoder, distinct)
    table = encoder.model.get_input_embeddings().weight.detach().float().cpu().numpy()  # type: ignore[operator]
    owner = np.repeat(np.arange(len(distinct)), tokenized.lengths)[tokenized.is_word]
    counts = np.bincount(owner, minlength=len(distinct))
    pieces = tokenized.ids[tokenized.is_word]
    ends = np.concatenate([[0], np.cumsum(counts)])
    occurrences = sparse.csr_array(
        (np.ones(len(pieces)), pieces, ends), shape=(len(distinct), len(table))
    )
    sums: NDArray[np.float64] = occurrences @ table
    means = sums / np.maximum(counts, 1)[:, np.newaxis]
    return means[rows].astype(np.float32)


def _similarity_floors(
    found: Mapping[str, NDArray[np.float64]], task: SentencePairs, settings: Settings
) -> list[Score]:
    """Kind of floor → similarity ``(n_pairs,)`` to rows; all from the same resamples."""
    rows = similarity_scores(
        np.column_stack([*found.values()]),
        settings.target(task),
        view_ids=(NO_VIEW,) * len(found),
        probe="none",
    )
    return [
        replace(row, model=floor_name(kind))
        for number, kind in enumerate(found)
        for row in rows[number :: len(found)]
    ]
