"""What probes read of one encoder: labels of sentences, words and spans, and whole trees."""

import logging
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_classifier

from probing.claims.catalogue import TREEBANK_CLAIMS
from probing.claims.deciding import claim_rows
from probing.encoding.encoder import Encoder
from probing.encoding.lazy import LazyViews
from probing.encoding.sharing import SharedExtraction
from probing.encoding.word_vectors import Pieces, extract_words
from probing.errors import InputError
from probing.probes.codelength import codelength_scores, online_codelength
from probing.probes.controls import control_labels
from probing.probes.driver import MissingClasses
from probing.probes.erasing import Eraser, erased, fit_erasers
from probing.probes.mixing import (
    AttentionPooling,
    ScalarMix,
    layer_stacks,
    mix_name,
    mix_scores,
    mix_weights,
)
from probing.probes.predictions import Predictions, probe_scores, view_difference_scores
from probing.probes.ridge import PairFeatures
from probing.probes.structural import Tree, fit_structure, structure_scores
from probing.results.items import Items
from probing.results.names import is_twin, sides
from probing.results.scores import Score
from probing.results.target import Target
from probing.study.settings import ATTENTION, CODELENGTH, SCALAR_MIX, Settings, composite_views
from probing.tasks import LabelledSentences, LabelledSpans, ParsedSentences, TaggedSentences, Task

logger = logging.getLogger(__name__)

Vectors = NDArray[np.float32]
LabelledTask = LabelledSentences | TaggedSentences | LabelledSpans

MOST_MIXED: Final = 8000
"""Items of train that the layers of a mix are held in memory of, at most."""


@dataclass(frozen=True, eq=False)
class Labels:
    """n items as text with their labels, for probes and for floors."""

    texts: Sequence[str]
    labels: Sequence[str]
    splits: Sequence[str]
    groups: NDArray[np.int64] | None
    """``(n,)``: items that are resampled together; None where each is by itself."""
    has_sentences: bool
    """Whether an item is a text of its own, not a part of one."""

    @classmethod
    def of(cls, task: LabelledTask) -> "Labels":
        """The items of a task; of tagged sentences each word is one."""
        if isinstance(task, TaggedSentences):
            task = task.as_spans()
        if isinstance(task, LabelledSpans):
            numbers = np.array(task.numbers)
            return cls(task.texts, task.labels, task.splits, numbers, has_sentences=False)
        texts = task.sentences
        if task.sentences2 is not None:
            both = zip(texts, task.sentences2, strict=True)
            texts = tuple(f"{one} {two}" for one, two in both)
        return cls(texts, task.labels, task.splits, task.clusters, has_sentences=True)

    def subset(self, rows: NDArray[np.intp]) -> "Labels":
        """The items at these places."""
        texts, labels, splits = (
            [values[row] for row in rows] for values in (self.texts, self.labels, self.splits)
        )
        groups = None if self.groups is None else self.groups[rows]
        return Labels(texts, labels, splits, groups, has_sentences=self.has_sentences)

    def groups_of(self, predictions: Predictions) -> NDArray[np.int64] | None:
        """``(n_items,)`` groups of the items that are predicted."""
        return None if self.groups is None else self.groups[predictions.items]


@dataclass(frozen=True, eq=False)
class LabelledItems:
    """The items of a task that an encoder has vectors of."""

    labels: Labels
    raw: Mapping[str, Vectors]
    """View id → vectors of sentences, or of the words of all sentences."""
    of_raw: Callable[[Mapping[str, Vectors]], Mapping[str, Vectors]]
    """The vectors of items from those: pairs of sentences, spans of words."""
    n_lost: int
    """Sentences that were truncated; items without a vector, which take no part."""

    @property
    def vectors(self) -> Mapping[str, Vectors]:
        """View id → a row for each item."""
        return self.of_raw(self.raw)


def items_of(
    extract: SharedExtraction, task: LabelledTask, settings: Settings, *, pieces: str = Pieces.FIRST
) -> LabelledItems:
    """The items of a task with their vectors.

    The vector of a span is that of its first or last word, or the mean of its words
    (``span_first@6``, ``span_last@6``, ``span_mean@6``; one view, ``word_first@6``, where every
    span is one word); an item of two spans has both vectors, one after the other. A word is what
    ``pieces`` of it says.
    """
    labels = Labels.of(task)
    if isinstance(task, LabelledSentences):
        both = extract(task.sentences + (task.sentences2 or ()))
        composite = {v: both[v] for v in composite_views(extract.encoder, settings)}
        vectors: Mapping[str, Vectors] = both
        if composite:
            vectors = ChainMap(composite, cast("dict[str, Vectors]", both))
        in_pairs = task.sentences2 is not None
        return LabelledItems(labels, vectors, PairFeatures if in_pairs else _same, both.n_truncated)
    spans = task.as_spans() if isinstance(task, TaggedSentences) else task
    words = extract_words(
        cast("Encoder", extract.encoder),
        spans.sentences,
        pieces=pieces,
        cache_dir=settings.cache_dir,
    )
    starts = np.cumsum([0, *map(len, spans.sentences)])[list(spans.numbers)]
    places = np.array(spans.spans) + starts[:, np.newaxis, np.newaxis]
    n_lost = np.concatenate([[0], np.cumsum(words.lost)])
    kept = np.flatnonzero((n_lost[places[..., 1]] == n_lost[places[..., 0]]).all(axis=1))
    places = places[kept]

    def of_spans(by_word: Mapping[str, Vectors]) -> Mapping[str, Vectors]:
        found: dict[str, Vectors] = {}
        for view_id in by_word:
            layer, rows = view_id.partition("@")[2], by_word[view_id]
            first = rows[places[..., 0]].reshape(len(places), -1)
            if not spans.has_longer_spans:
                found[view_id] = first
                continue
            found[f"span_first@{layer}"] = first
            found[f"span_last@{layer}"] = rows[places[..., 1] - 1].reshape(len(places), -1)
            found[f"span_mean@{layer}"] = np.stack(
                [
                    np.concatenate([rows[start:stop].mean(axis=0) for start, stop in item])
                    for item in places
                ]
            )
        return found

    return LabelledItems(labels.subset(kept), words, of_spans, len(spans) - len(kept))


def _same(vectors: Mapping[str, Vectors]) -> Mapping[str, Vectors]:
    return vectors


def measure_labelled(
    extract: SharedExtraction, task: LabelledTask, settings: Settings
) -> tuple[list[Score], int]:
    """The probes of one encoder on one task, and on its vectors without what is erased.

    Returns:
        The rows, without model and revision, and how many sentences were truncated or items took
        no part because a word of theirs has no vector.
    """
    items, target = items_of(extract, task, settings), settings.target(task)
    rows = _probed(extract, items, items.vectors, target, settings)
    simple = replace(settings, probes=("linear",), controls=False, keep=None)
    for name, left in erased(items.raw, settings.erasers, task.name).items():
        scores = _probed(extract, items, items.of_raw(left), target, simple)
        rows += [replace(score, transform=name) for score in scores]
    return rows, items.n_lost


def erasable(task: Task) -> LabelledTask:
    """The task, where its labels are those of one vector each. Raises `InputError` else."""
    of_one = isinstance(task, TaggedSentences)
    of_one |= isinstance(task, LabelledSentences) and task.sentences2 is None
    if isinstance(task, LabelledSpans):
        of_one = len(task.spans[0]) == 1 and not task.has_longer_spans
    if not of_one:
        raise InputError(
            f"task {task.name} cannot be erased: expected labels of sentences or of words"
        )
    return cast("LabelledTask", task)


def erasers_of(
    extract: SharedExtraction,
    tasks: Sequence[LabelledTask],
    settings: Settings,
    *,
    from_trees: bool,
) -> dict[str, dict[str, Eraser]]:
    """Transform, such as ``leace:ewt:subj_number`` → view id → what erases the label of a task.

    ``from_trees`` fits the label of a word on the means of its pieces too, which is what trees are
    read from.
    """
    found: dict[str, dict[str, Eraser]] = {}
    for task in tasks:
        if not isinstance(task, LabelledSentences) and not isinstance(extract.encoder, Encoder):
            name = extract.encoder.name
            logger.warning("%s gives no vectors of words: %s is not erased", name, task.name)
            continue
        of_words = not isinstance(task, LabelledSentences)
        for pieces in (Pieces.FIRST, Pieces.MEAN)[: 2 if of_words and from_trees else 1]:
            items = items_of(extract, task, settings, pieces=pieces)
            fitted = fit_erasers(
                items.vectors, items.labels.labels, items.labels.splits, seed=settings.seed
            )
            for method, by_view in fitted.items():
                found.setdefault(f"{method}:{task.name}", {}).update(by_view)
    return found


def measure_structure(
    encoder: Encoder, task: ParsedSentences, settings: Settings
) -> tuple[list[Score], int]:
    """The structural probe of every layer, and without what is erased.

    A word is the mean of its pieces.

    Returns:
        The rows of dev and test, without model and revision, and how many sentences took no part
        because a word of theirs has no vector.
    """
    words = extract_words(encoder, task.sentences, pieces="mean", cache_dir=settings.cache_dir)
    lost = set(words.sentences[words.lost].tolist())
    kept = [row for row in range(len(task)) if row not in lost]
    of_kept = np.flatnonzero(~np.isin(words.sentences, list(lost)))
    vectors = LazyViews(words, lambda view_id: words[view_id][of_kept])
    trees = [Tree.of(task.heads[row], task.punctuation[row]) for row in kept]
    splits = [task.splits[row] for row in kept]
    rows: list[Score] = []
    for transform, left in {"raw": vectors, **erased(vectors, settings.erasers, task.name)}.items():
        found = fit_structure(left, trees, splits, seed=settings.seed)
        rows += [
            replace(row, transform=transform)
            for split, scores in found.items()
            for row in structure_scores(scores, replace(settings.target(task), split=split))
        ]
    return rows, len(lost)


def _probed(
    extract: SharedExtraction,
    items: LabelledItems,
    vectors: Mapping[str, Vectors],
    target: Target,
    settings: Settings,
) -> list[Score]:
    """Every probe on the real labels, and with ``settings.controls`` on those of the control."""
    rows: list[Score] = []
    labels, splits = items.labels.labels, items.labels.splits
    seeds = range(settings.seed, settings.seed + settings.n_seeds)
    targets = {"real": [list(labels)] * len(seeds)}
    if settings.controls:
        texts = items.labels.texts
        targets["control"] = [control_labels(texts, labels, seed=s).tolist() for s in seeds]
    train = [row for row, split in enumerate(splits) if split in ("train", "")]
    for kind, draws in targets.items():
        for probe in settings.probes:
            if isinstance(probe, BaseEstimator) and not is_classifier(probe):
                continue  # a regressor reads similarity, not labels
            if probe == CODELENGTH:
                taught = {view_id: vectors[view_id][train] for view_id in vectors}
                lengths = [
                    online_codelength(
                        taught, [wanted[row] for row in train], seed=seed, device=settings.device
                    )
                    for seed, wanted in zip(seeds, draws, strict=True)
                ]
                rows += codelength_scores(lengths, replace(target, split="train"), labels=kind)
                continue
            if probe == SCALAR_MIX:
                rows += _mixed(extract, items, vectors, draws[0], target, settings, kind)
                continue
            if probe == ATTENTION:
                rows += _attended(extract, items, draws[0], target, settings, kind)
                continue
            # with splits the linear probe has one optimum, whatever the seed
            certain = probe == "linear" and kind == "real" and "dev" in splits
            predictions = [
                _fit(vectors, wanted, splits, probe, seed, settings)
                for seed, wanted in list(zip(seeds, draws, strict=True))[: 1 if certain else None]
            ]
            tested = items.labels.groups_of(predictions[0])
            rows += probe_scores(predictions, target, labels=kind, groups=tested)
            if probe == "linear" and kind == "real":
                rows += _claimed(extract.encoder.num_layers, predictions, target, tested)
            name = extract.encoder.name
            if settings.keep is not None and kind == "real" and not is_twin(name):
                settings.keep(
                    Items(
                        model=name,
                        probe=predictions[0].probe,
                        views=predictions[0].view_ids,
                        columns=np.mean([each.correct for each in predictions], axis=0),
                        target=replace(target, clusters=tested),
                    )
                )
    return rows


def _claimed(
    last: int, predictions: Sequence[Predictions], target: Target, groups: NDArray[np.int64] | None
) -> list[Score]:
    """The differences between views that `TREEBANK_CLAIMS` speak of, where they are measured."""
    views = {view for view, *_ in claim_rows(last, {}, TREEBANK_CLAIMS)}
    there = [view for view in sorted(views) if {*sides(view)} <= {*predictions[0].view_ids}]
    return [
        row
        for view in there
        if len(set(sides(view))) > 1
        for row in view_difference_scores(predictions, view, target, groups=groups)
    ]


def _fit(
    vectors: Mapping[str, Any],
    labels: Sequence[str],
    splits: Sequence[str],
    probe: Any,
    seed: int,
    settings: Settings,
) -> Predictions:
    return settings.fit(
        vectors,
        labels,
        splits,
        probe=probe,
        seed=seed,
        missing_classes=MissingClasses.ACCEPT,
        device=settings.device,
    )


def _mixed(
    extract: SharedExtraction,
    items: LabelledItems,
    vectors: Mapping[str, Vectors],
    labels: Sequence[str],
    target: Target,
    settings: Settings,
    kind: str,
) -> list[Score]:
    """Scalar mixes of growing numbers of layers, their weights and the expected layer."""
    last = extract.encoder.num_layers
    poolings = ("mean", "word_first", "span_first", "span_last", "span_mean")
    wanted = [p for p in poolings if all(f"{p}@{i}" in vectors for i in range(last + 1))]
    if not wanted or last == 0:
        logger.warning("%s: %s has no layers to mix", target.task, extract.encoder.name)
        return []
    rows_of_split = [np.flatnonzero(np.array(items.labels.splits) == s) for s in ("train", "")]
    train = np.concatenate(rows_of_split)
    step = -(-len(train) // MOST_MIXED)
    if step > 1:
        logger.warning("%s: layers are mixed on one in %d items of train", target.task, step)
    kept = np.setdiff1d(np.arange(len(labels)), np.setdiff1d(train, train[::step]))
    chosen = [labels[row] for row in kept]
    of_kept = items.labels.subset(kept)
    rows: list[Score] = []
    for pooling in wanted:
        some = {f"{pooling}@{i}": vectors[f"{pooling}@{i}"][kept] for i in range(last + 1)}
        stacks = layer_stacks(some, pooling, last)
        family = ScalarMix()
        predictions = _fit(stacks, chosen, of_kept.splits, family, settings.seed, settings)
        groups = of_kept.groups_of(predictions)
        rows += probe_scores(predictions, target, labels=kind, groups=groups)
        if kind == "control":
            continue
        best = int(np.median(predictions.chosen[:, -1]))
        taught = np.flatnonzero(np.isin(of_kept.splits, ("train", "")))
        classes = np.unique(np.array(chosen)[taught], return_inverse=True)[1]
        weights = mix_weights(
            stacks[mix_name(pooling, last)][taught],
            classes,
            strength=family.strengths[best],
            seed=settings.seed,
        )
        rows += mix_scores(predictions, weights, target, groups=groups)
    return rows


def _attended(
    extract: SharedExtraction,
    items: LabelledItems,
    labels: Sequence[str],
    target: Target,
    settings: Settings,
    kind: str,
) -> list[Score]:
    """A learned pooling over the words of a sentence at every layer."""
    encoder = extract.encoder
    if not items.labels.has_sentences or not isinstance(encoder, Encoder):
        logger.warning("%s: attention pooling is of sentences: left out", target.task)
        return []
    sentences = [text.split() for text in items.labels.texts]
    words = extract_words(encoder, sentences, cache_dir=settings.cache_dir)
    # a word that was cut off cannot be attended to
    there = np.flatnonzero(~words.lost)
    ends = np.cumsum(np.bincount(words.sentences[there], minlength=len(sentences)))
    family = AttentionPooling(
        lambda layer: words[f"word_first@{layer}"][there], encoder.num_layers + 1, ends
    )
    numbers = {f"attention@0..{encoder.num_layers}": np.arange(len(sentences))[:, np.newaxis]}
    predictions = _fit(numbers, labels, items.labels.splits, family, settings.seed, settings)
    groups = items.labels.groups_of(predictions)
    return probe_scores(predictions, target, labels=kind, groups=groups)
