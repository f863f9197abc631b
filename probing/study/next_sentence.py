"""What each view of an encoder knows of next sentences, of which the pooler was made to tell."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from probing.encoding.encoder import Encoder
from probing.encoding.forward import encode_batch
from probing.encoding.tokenization import Batch
from probing.pretraining.config import Negatives, PretrainingConfig
from probing.pretraining.corpus import (
    TokenizedCorpus,
    corpus_digest,
    held_out_documents,
    source_files,
)
from probing.pretraining.segments import SegmentPairs, gather_batch, make_segment_pairs
from probing.probes.controls import fit_floor
from probing.probes.driver import fit_probes
from probing.probes.erasing import Eraser, fit_erasers
from probing.probes.predictions import Predictions, probe_scores, view_difference_scores
from probing.results.names import NO_VIEW, difference, floor_name
from probing.results.scores import Score
from probing.results.target import Target
from probing.study.settings import Settings

NEXT_SENTENCE: Final = "next-sentence"
"""The task of `next_sentence_scores`: does the second segment follow the first?"""

SIZES: Final[Mapping[str, int]] = MappingProxyType({"train": 4000, "dev": 1000, "test": 4000})
"""Pairs of each split."""

_BATCH_PAIRS: Final = 64
_LENGTH: Final = 64
"""Tokens of a pair at most: the length that the shipped encoders were trained with."""


def next_sentence_scores(
    encoder: Encoder,
    corpus: Path,
    settings: Settings,
    *,
    sizes: Mapping[str, int] | None = None,
    same_source: bool = False,
) -> list[Score]:
    """Accuracy with which a linear probe tells next sentences from random ones, for every view.

    Both segments are in one input, ``[CLS] first [SEP] second [SEP]``, as in pre-training (Devlin
    et al. 2019). All pairs are of documents that no shipped encoder was trained on; those of the
    test split are of other documents than those of train and dev.

    Args:
        encoder: one with a BERT tokenizer and segment embeddings.
        corpus: folder of texts, one sentence a line, a blank line between documents.
        settings: of the study.
        sizes: pairs of ``train``, ``dev`` and ``test``, in this order; by default `SIZES`.
        same_source: whether random next sentences are of the same source.

    Returns:
        The rows of `probe_scores` for each view but ``cls@0``, and ``accuracy_difference`` with its
        ``standard_error`` for the pooler and ``cls`` of the last layer against its mean.

    Raises:
        InputError: the folder holds no corpus, or too few documents of two sentences or more.
    """
    task = _NextSentences.of(encoder, corpus, sizes, same_source=same_source)
    predictions = fit_probes(
        task.vectors(encoder),
        task.labels,
        task.splits,
        seed=settings.seed,
        device=settings.device,
    )
    target = Target(task=NEXT_SENTENCE, seed=settings.seed, n_resamples=settings.n_resamples)
    rows = probe_scores(predictions, target, groups=task.groups)
    return rows + _contrasts(encoder.num_layers, predictions, target, task.groups)


def next_sentence_erasers(
    encoder: Encoder,
    corpus: Path,
    settings: Settings,
    *,
    sizes: Mapping[str, int] | None = None,
    same_source: bool = False,
) -> dict[str, dict[str, Eraser]]:
    """Transform, such as ``leace:next-sentence`` → view id → what erases it from that view.

    Fitted on pairs of segments, and applied to the vectors of sentences under the same view.
    """
    task = _NextSentences.of(encoder, corpus, sizes, same_source=same_source)
    found = fit_erasers(
        task.vectors(encoder), task.labels.tolist(), task.splits.tolist(), seed=settings.seed
    )
    return {f"{method}:{NEXT_SENTENCE}": by_view for method, by_view in found.items()}


def describe_corpus(corpus: Path) -> dict[str, Any]:
    """What the manifest says of a corpus: its sources, and a short hash of their bytes."""
    files = source_files(corpus)
    return {"sources": list(files), "digest": corpus_digest(files, PretrainingConfig(), None)}


def next_sentence_floors(
    encoder: Encoder,
    corpus: Path,
    settings: Settings,
    *,
    sizes: Mapping[str, int] | None = None,
    same_source: bool = False,
) -> list[Score]:
    """What the pairs of `next_sentence_scores` give away without an encoder.

    Returns:
        Rows of ``floor:majority``, and of ``floor:word-overlap``: a linear probe of three numbers,
        the share of word pieces that the two segments have in common and how many pieces each has.
    """
    task = _NextSentences.of(encoder, corpus, sizes, same_source=same_source)
    overlaps = np.concatenate([_overlaps(task.documents, pairs) for pairs in task.parts])
    found = {
        "majority": fit_floor(
            floor_name("majority"),
            ["pair"] * len(task.labels),
            task.labels,
            task.splits,
            seed=settings.seed,
        ),
        "word-overlap": fit_probes(
            {NO_VIEW: overlaps}, task.labels, task.splits, seed=settings.seed
        ),
    }
    target = Target(task=NEXT_SENTENCE, seed=settings.seed, n_resamples=settings.n_resamples)
    return [
        replace(score, model=floor_name(kind))
        for kind, predictions in found.items()
        for score in probe_scores(predictions, target, groups=task.groups)
    ]


@dataclass(frozen=True, eq=False)
class _NextSentences:
    """The pairs of all splits, train and dev in one part, test in the other."""

    documents: TokenizedCorpus
    parts: tuple[SegmentPairs, SegmentPairs]
    length: int
    labels: NDArray[np.str_]
    splits: NDArray[np.str_]

    def vectors(self, encoder: Encoder) -> dict[str, NDArray[np.float32]]:
        """View id → ``(n_pairs, hidden_size)``, the pairs of all splits in order."""
        parts = [pair_vectors(encoder, self.documents, pairs, self.length) for pairs in self.parts]
        return {view_id: np.concatenate([part[view_id] for part in parts]) for view_id in parts[0]}

    @classmethod
    def of(
        cls, encoder: Encoder, corpus: Path, sizes: Mapping[str, int] | None, *, same_source: bool
    ) -> "_NextSentences":
        sizes = sizes or SIZES
        length = min(_LENGTH, encoder.max_length)
        documents = held_out_documents(corpus, encoder.tokenizer, corpus)
        count = sizes["train"] + sizes["dev"]
        parts = (
            segment_pairs(documents, count, length, held_out=False, same_source=same_source),
            segment_pairs(documents, sizes["test"], length, held_out=True, same_source=same_source),
        )
        codes = np.concatenate([pairs.labels for pairs in parts])
        return cls(
            documents=documents,
            parts=parts,
            length=length,
            labels=np.where(codes == 0, "next", "random"),
            splits=np.repeat(list(sizes), list(sizes.values())),
        )

    @property
    def groups(self) -> NDArray[np.intp]:
        """``(n_test,)`` the document that the first segment of each test pair is from.

        Pairs of one document are not independent: they are drawn together.
        """
        starts = self.documents.sentence_starts[self.documents.document_starts]
        found: NDArray[np.intp] = np.searchsorted(starts, self.parts[1].starts[:, 0], side="right")
        return found


def _overlaps(documents: TokenizedCorpus, pairs: SegmentPairs) -> NDArray[np.float32]:
    """``(n_pairs, 3)``: common share of the distinct word pieces, pieces of each segment."""
    rows = []
    for starts, lengths in zip(pairs.starts.tolist(), pairs.lengths.tolist(), strict=True):
        first, second = (
            set(documents.tokens[start : start + length].tolist())
            for start, length in zip(starts, lengths, strict=True)
        )
        rows.append((len(first & second) / len(first | second), *lengths))
    return np.array(rows, dtype=np.float32)


def _contrasts(
    last: int, predictions: Predictions, target: Target, groups: NDArray[np.intp]
) -> list[Score]:
    return [
        row
        for pooling in ("pooler", "cls")
        if f"{pooling}@{last}" in predictions.view_ids
        for row in view_difference_scores(
            predictions, difference(f"{pooling}@{last}", f"mean@{last}"), target, groups=groups
        )
    ]


def segment_pairs(
    documents: TokenizedCorpus,
    count: int,
    length: int,
    *,
    held_out: bool,
    same_source: bool = False,
) -> SegmentPairs:
    """``count`` pairs of at most ``length`` tokens, half of them next sentences.

    Of the documents that are held out for test, or of the others; random ones of any source, or of
    the same.
    """
    return make_segment_pairs(
        documents,
        count=count,
        length=length,
        held_out=held_out,
        sentence_order=False,
        short_share=0.0,
        seed=0,
        negatives=Negatives.SAME_SOURCE if same_source else Negatives.OTHER_DOCUMENT,
    )


def pair_vectors(
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
