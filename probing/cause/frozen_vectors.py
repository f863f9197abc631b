"""What the frozen body is trained on: pairs of each arm, and their vectors, kept on disk."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import save

from probing.cause.suite import LastLayer, Suite, last_layer
from probing.pretraining.config import Negatives, PretrainingConfig
from probing.pretraining.corpus import TokenizedCorpus, tokenize_corpus
from probing.pretraining.segments import SegmentPairs, make_segment_pairs
from probing.pretraining.start import find_start, initial_model
from probing.pretraining.trainer import native_bfloat16
from probing.progress import progress
from probing.results.writing import write_bytes

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]

_VIEWS: Final = ("mean", "cls")
LENGTH: Final = 48
"""Tokens of a pair, its three special ones included."""
BATCH: Final = 64
"""Pairs a step."""
_ENCODED_AT_ONCE: Final = 4096
_LABELS: Final = 33
"""Stream of the permuted labels."""


class FrozenArm(StrEnum):
    """What the pooler is trained on."""

    NSP = "nsp"
    """Does the second segment follow the first, or is it from another document?"""
    PERMUTED = "nsp-permuted"
    """The same inputs with the labels permuted, for each seed by itself: a placebo."""
    SEMANTIC = "next-mean"
    """Pick the mean vector of the next segment among those of the batch: a positive control."""
    SOP = "sop"
    """Two consecutive segments, half of them swapped."""
    SAME_SOURCE = "nsp-same-source"
    """As `NSP`, the other document being of the same source."""
    EASY = "nsp-easy"
    """As `NSP`, the other document being of another genre."""
    FEW = "nsp-few"
    """As `NSP` with a tenth of its pairs, so each is seen ten times as often."""
    FRESH = "nsp-fresh"
    """As `NSP` with a new pair at every place, so none is seen twice. A million have to be encoded
    at the full size, so it is done where it is asked for."""


_KINDS: Final = {
    FrozenArm.SOP: "sop",
    FrozenArm.SAME_SOURCE: "same-source",
    FrozenArm.EASY: "easy",
    FrozenArm.FRESH: "nsp-fresh",
}
"""What the files of an arm's vectors are called; those of the others, ``nsp``."""
_NEGATIVES: Final = {
    FrozenArm.SAME_SOURCE: Negatives.SAME_SOURCE,
    FrozenArm.EASY: Negatives.OTHER_GENRE,
}


@dataclass(frozen=True, kw_only=True)
class FrozenPlan:
    """How much is done."""

    pairs: int
    held_out_pairs: int
    seeds: int
    looks: tuple[int, ...]
    """Steps; the last is the length of the training."""
    arms: tuple[FrozenArm, ...] = tuple(arm for arm in FrozenArm if arm is not FrozenArm.FRESH)
    tasks: tuple[str, ...] = ("sts12", "sts13", "sts14", "sts15", "sts16", "sickr", "stsb")

    def pairs_of(self, arm: FrozenArm) -> int:
        """How many are made for training."""
        return self.looks[-1] * BATCH if arm is FrozenArm.FRESH else self.pairs


FROZEN_PLANS: Final[Mapping[str, FrozenPlan]] = {
    "smoke": FrozenPlan(
        pairs=256,
        held_out_pairs=64,
        seeds=3,
        looks=(0, 5, 20),
        arms=(FrozenArm.NSP, FrozenArm.PERMUTED),
        tasks=("sts-mini",),
    ),
    "pilot": FrozenPlan(
        pairs=16_000,
        held_out_pairs=2048,
        seeds=6,
        looks=(0, 50, 100, 500, 2000),
        arms=(FrozenArm.NSP, FrozenArm.PERMUTED, FrozenArm.SEMANTIC),
    ),
    "full": FrozenPlan(
        pairs=100_000, held_out_pairs=4096, seeds=20, looks=(0, 50, 200, 1000, 4000, 16_000)
    ),
}


@dataclass(frozen=True)
class Frozen:
    """What all arms share: the encoder, the texts and where it is all kept."""

    encoder: str
    corpus: Path
    out: Path
    plan: FrozenPlan
    data_dir: Path | None = None
    source_weights: tuple[tuple[str, float], ...] = ()
    cache: Path | None = None
    """Of the tokenised corpus; in `out` where None."""


@dataclass(frozen=True)
class Material:
    """What one arm is trained and tested on.

    Attributes:
        inputs: (n_pairs, hidden_size) float32, ``[CLS]``.
        labels: (n_pairs,) int64, or (n_seeds, n_pairs) where each seed has labels of its own;
            empty for the semantic control.
        targets: (n_pairs, hidden_size) float32, the mean of the next segment; empty for the others.
        held_out_inputs: (n_held_out, hidden_size) float32.
        held_out_labels: (n_held_out,) int64.
        overlap_accuracy: share of the held-out pairs that word overlap tells apart by itself.
    """

    inputs: Floats
    labels: npt.NDArray[np.int64]
    targets: Floats
    held_out_inputs: Floats
    held_out_labels: npt.NDArray[np.int64]
    overlap_accuracy: float


def word_overlap_accuracy(
    train: Sequence[float],
    train_labels: npt.NDArray[np.int64],
    held_out: Sequence[float],
    held_out_labels: npt.NDArray[np.int64],
) -> float:
    """How many held-out pairs a threshold on the share of common tokens tells apart, in [0, 1].

    The threshold is the best on the training pairs; pairs above it are taken to follow each other
    (label 0).
    """
    shares = np.asarray(train)
    order = np.argsort(shares, kind="stable")
    random = np.cumsum(train_labels[order] == 1)
    following = np.cumsum((train_labels[order] == 0)[::-1])[::-1]
    right = np.concatenate([[following[0]], random + np.append(following[1:], 0)])
    cut = int(right.argmax())
    threshold = -math.inf if cut == 0 else float(shares[order][cut - 1])
    guessed = np.where(np.asarray(held_out) > threshold, 0, 1)
    return float((guessed == held_out_labels).mean())


def shared_tokens(corpus: TokenizedCorpus, pairs: SegmentPairs) -> list[float]:
    """Share of the tokens of two segments that both have (Jaccard), of each pair."""
    tokens, shares = corpus.tokens, []
    for (one, two), (n, m) in zip(pairs.starts.tolist(), pairs.lengths.tolist(), strict=True):
        a, b = set(tokens[one : one + n].tolist()), set(tokens[two : two + m].tolist())
        shares.append(len(a & b) / len(a | b))
    return shares


class FrozenVectors:
    """``[CLS]`` vectors of pairs and of sentences by the frozen body, kept on disk."""

    def __init__(self, work: Frozen, suite: Suite) -> None:
        self.work, self.suite = work, suite
        start = find_start(work.encoder)
        self.tokenizer = start.tokenizer
        config = PretrainingConfig(length=LENGTH, source_weights=work.source_weights)
        self.corpus: TokenizedCorpus = tokenize_corpus(
            work.corpus, work.cache or work.out / "corpus-cache", config, start.tokenizer
        )
        model = initial_model(config, start.tokenizer, start)
        self.body = model.bert.eval()
        device = next(self.body.parameters()).device
        self.bfloat16 = native_bfloat16(device)

    def sentences(self) -> LastLayer:
        """The sentences of the suite."""
        ids = self.suite.ids
        kept = {view: self._kept("sentences", len(ids), ids.__getitem__, view) for view in _VIEWS}
        return LastLayer(**kept)

    def pairs(self, name: str, pairs: SegmentPairs, *, part: str = "both", view: str) -> Floats:
        """(n_pairs, hidden_size), or one segment of each where ``part`` is ``first``, ``second``.

        The view is ``cls`` or ``mean``.
        """
        tokens = self.corpus.tokens
        first, separator = int(self.tokenizer.cls_token_id), int(self.tokenizer.sep_token_id)

        def ids_of(rows: slice) -> list[list[int]]:
            ids: list[list[int]] = []
            places = zip(pairs.starts[rows].tolist(), pairs.lengths[rows].tolist(), strict=True)
            for (one, two), (n, m) in places:
                segments = {"first": tokens[one : one + n], "second": tokens[two : two + m]}
                wanted = segments.values() if part == "both" else [segments[part]]
                ids.append([first, *(t for s in wanted for t in (*s.tolist(), separator))])
            return ids

        return self._kept(name, len(pairs), ids_of, view)

    def _kept(
        self, name: str, count: int, ids_of: Callable[[slice], Sequence[Sequence[int]]], view: str
    ) -> Floats:
        """A view of `last_layer`, in parts that are written as they are made."""
        width = int(self.body.config.hidden_size)
        vectors = np.empty((count, width), dtype=np.float32)
        with progress(f"encoding {name}", count) as advance:
            for number, begin in enumerate(range(0, count, _ENCODED_AT_ONCE)):
                path = self.work.out / "vectors" / f"{name}-{number:03d}.safetensors"
                rows = slice(begin, min(begin + _ENCODED_AT_ONCE, count))
                if not path.is_file():
                    found = last_layer(
                        self.body,
                        ids_of(rows),
                        pad_id=int(self.tokenizer.pad_token_id),
                        bfloat16=self.bfloat16,
                    )
                    path.parent.mkdir(exist_ok=True)
                    write_bytes(path, save({"mean": found.mean, "cls": found.cls}))
                    logger.info("%s: %d of %d encoded", name, rows.stop, count)
                with safe_open(path, framework="numpy") as tensors:
                    vectors[rows] = tensors.get_tensor(view)
                advance(rows.stop - rows.start)
        return vectors

    def material(self, arm: FrozenArm) -> Material:
        """The pairs of an arm, training and held-out, through the body."""
        plan = self.work.plan
        made = {
            held_out: make_segment_pairs(
                self.corpus,
                count=plan.held_out_pairs if held_out else plan.pairs_of(arm),
                length=LENGTH,
                held_out=held_out,
                sentence_order=arm is FrozenArm.SOP,
                short_share=0.0,
                seed=0,
                negatives=_NEGATIVES.get(arm, Negatives.OTHER_DOCUMENT),
            )
            for held_out in (False, True)
        }
        if arm is FrozenArm.SEMANTIC:
            follows = np.flatnonzero(made[False].labels == 0)
            chosen = SegmentPairs(
                made[False].starts[follows],
                made[False].lengths[follows],
                made[False].labels[follows],
            )
            first = self.pairs("semantic-first", chosen, part="first", view="cls")
            second = self.pairs("semantic-second", chosen, part="second", view="mean")
            none = np.empty((0, first.shape[1]), dtype=np.float32)
            nothing = np.empty(0, dtype=np.int64)
            return Material(first, nothing, second, none, nothing, math.nan)
        kind = _KINDS.get(arm, "nsp")
        vectors = {
            False: self.pairs(f"{kind}-train", made[False], view="cls"),
            True: self.pairs(f"{kind.removesuffix('-fresh')}-held-out", made[True], view="cls"),
        }
        labels = {held_out: pairs.labels.astype(np.int64) for held_out, pairs in made.items()}
        overlap = word_overlap_accuracy(
            shared_tokens(self.corpus, made[False]),
            labels[False],
            shared_tokens(self.corpus, made[True]),
            labels[True],
        )
        if arm is FrozenArm.FEW:
            few = plan.pairs // 10
            vectors[False], labels[False] = vectors[False][:few], labels[False][:few]
        if arm is FrozenArm.PERMUTED:
            drawn = [
                np.random.default_rng([_LABELS, seed]).permutation(labels[False])
                for seed in range(plan.seeds)
            ]
            labels[False] = np.stack(drawn)
        none = np.empty((0, vectors[False].shape[1]), dtype=np.float32)
        return Material(vectors[False], labels[False], none, vectors[True], labels[True], overlap)
