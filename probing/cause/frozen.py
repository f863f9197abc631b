"""The body frozen, the pooler trained (E1): what the objective itself does to ``W``.

The ``[CLS]`` vectors of pairs of segments are made once. On them a pooler (``tanh(W x + b)``) and a
two-way head are trained, for all seeds of an arm at once; nothing below them moves. A seed is the
pooler that training starts with and the order of the pairs, the same in every arm.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from filelock import FileLock, Timeout
from safetensors.numpy import load_file, save
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from probing.cause.suite import (
    LastLayer,
    Suite,
    last_layer,
    load_suite,
    suite_cosines,
    suite_scores,
)
from probing.errors import InputError
from probing.pretraining.config import PretrainingConfig
from probing.pretraining.corpus import TokenizedCorpus, tokenize_corpus
from probing.pretraining.segments import SegmentPairs, make_segment_pairs
from probing.pretraining.start import find_start, initial_model
from probing.pretraining.trainer import native_bfloat16
from probing.results.writing import write_bytes, write_text

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]

LENGTH: Final = 48
"""Tokens of a pair, its three special ones included."""
LEARNING_RATE: Final = 1e-3
BATCH: Final = 64
SCALE: Final = 20.0
"""By which a cosine is multiplied in the semantic control, as in sentence-transformers."""
_ENCODED_AT_ONCE: Final = 4096
_INITIAL_SPREAD: Final = 0.02
"""Standard deviation of BERT's initial weights."""
_DRAWS: Final = {"W": 31, "order": 32, "labels": 33}


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


TWO_WAY: Final = tuple(arm for arm in FrozenArm if arm is not FrozenArm.SEMANTIC)
"""The arms with a two-way head and a held-out accuracy."""


@dataclass(frozen=True, kw_only=True)
class FrozenPlan:
    """How much is done."""

    pairs: int
    held_out_pairs: int
    seeds: int
    looks: tuple[int, ...]
    """Steps; the last is the length of the training."""
    arms: tuple[FrozenArm, ...] = tuple(FrozenArm)
    tasks: tuple[str, ...] = ("sts12", "sts13", "sts14", "sts15", "sts16", "sickr", "stsb")


FROZEN_PLANS: Final[Mapping[str, FrozenPlan]] = {
    "smoke": FrozenPlan(
        pairs=256,
        held_out_pairs=64,
        seeds=3,
        looks=(0, 5, 20),
        arms=(FrozenArm.NSP, FrozenArm.PERMUTED),
        tasks=("stsb",),
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
class Poolers:
    """The poolers and heads of k seeds.

    Attributes:
        weight: (k, hidden_size, hidden_size) float32.
        bias: (k, hidden_size) float32.
        head: (k, 2, hidden_size) float32.
        head_bias: (k, 2) float32.
    """

    weight: Tensor
    bias: Tensor
    head: Tensor
    head_bias: Tensor

    @classmethod
    def drawn(cls, seeds: int, hidden_size: int) -> "Poolers":
        """As a BERT is initialised, one draw a seed."""
        weights, heads = [], []
        for seed in range(seeds):
            rng = np.random.default_rng([_DRAWS["W"], seed])
            weights.append(rng.normal(0, _INITIAL_SPREAD, (hidden_size, hidden_size)))
            heads.append(rng.normal(0, _INITIAL_SPREAD, (2, hidden_size)))
        return cls(
            weight=torch.tensor(np.array(weights), dtype=torch.float32),
            bias=torch.zeros(seeds, hidden_size),
            head=torch.tensor(np.array(heads), dtype=torch.float32),
            head_bias=torch.zeros(seeds, 2),
        )

    @property
    def tensors(self) -> list[Tensor]:
        """All of them."""
        return [self.weight, self.bias, self.head, self.head_bias]

    def pooled(self, cls: Tensor) -> Tensor:
        """``tanh(W x + b)`` of (k, n, hidden_size) ``[CLS]`` vectors, the same shape."""
        return torch.tanh(torch.baddbmm(self.bias[:, None], cls, self.weight.transpose(1, 2)))

    def logits(self, cls: Tensor) -> Tensor:
        """(k, n, 2)."""
        head = self.head.transpose(1, 2)
        return torch.baddbmm(self.head_bias[:, None], self.pooled(cls), head)


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


def run_frozen(work: Frozen) -> bool:
    """Train every arm that no other process is training; rerun to resume.

    Each arm leaves ``ARM.parquet`` (a row a seed, look, task and view; see `read_frozen_rows`) and
    ``ARM.safetensors`` (poolers and cosines of the last look).

    Returns:
        Whether all arms are finished.

    Raises:
        InputError: The folder holds vectors and arms of another encoder, plan or corpus.
    """
    work.out.mkdir(parents=True, exist_ok=True)
    start = find_start(work.encoder)
    suite = load_suite(start.tokenizer, work.data_dir, work.plan.tasks)
    with FileLock(work.out / "encoding.lock"):
        encoding = _Encoding(work, suite)
        _check_same(work, encoding.corpus.digest)
        encoding.sentences()
    complete = True
    for arm in work.plan.arms:
        if (work.out / f"{arm}.parquet").is_file():
            continue
        try:
            with FileLock(work.out / f"{arm}.lock", timeout=0):
                _train_arm(work, arm, encoding, suite)
        except Timeout:
            complete = False
            logger.info("%s is being trained by another process", arm)
    return complete


def read_frozen_rows(out: Path, plan: FrozenPlan) -> pd.DataFrame:
    """The looks of all arms finished so far.

    Returns:
        ``arm, seed, steps, task, view, metric, value, n``: ``spearman`` of the pooler, ``[CLS]``
        and mean of the last layer on each task, in [-1, 1]; ``sentence_accuracy`` of the task
        ``held-out``; and its ``overlap_accuracy``, which no training has moved.
    """
    found = [out / f"{arm}.parquet" for arm in plan.arms]
    return pd.concat([pd.read_parquet(p) for p in found if p.is_file()], ignore_index=True)


def train_poolers(
    poolers: Poolers,
    material: Material,
    looks: Sequence[int],
    *,
    batch: int = BATCH,
    learning_rate: float = LEARNING_RATE,
) -> "list[Poolers]":
    """Train the poolers of all seeds at once; a copy at every look.

    The seeds do not touch each other: the loss is the sum of theirs, and AdamW works on each number
    by itself. Seed s goes through the pairs in the order of epoch e drawn from (s, e).

    Args:
        poolers: What training starts with.
        material: What is learnt.
        looks: Steps, ascending, the first 0.
        batch: Pairs a step.
        learning_rate: Constant.
    """
    seeds = len(poolers.weight)
    tensors = [tensor.clone().requires_grad_() for tensor in poolers.tensors]
    learning = Poolers(*tensors)
    semantic = len(material.targets) > 0
    trained = tensors[:2] if semantic else tensors
    optimizer = torch.optim.AdamW(trained, lr=learning_rate)
    inputs = torch.from_numpy(material.inputs)
    labels, targets = torch.from_numpy(material.labels), torch.from_numpy(material.targets)
    steps_an_epoch = len(inputs) // batch
    kept: list[Poolers] = []
    for step in range(looks[-1] + 1):
        if step in looks:
            kept.append(Poolers(*(tensor.detach().clone() for tensor in tensors)))
        if step == looks[-1]:
            break
        epoch, place = divmod(step, steps_an_epoch)
        if place == 0:
            orders = [
                np.random.default_rng([_DRAWS["order"], seed, epoch]).permutation(len(inputs))
                for seed in range(seeds)
            ]
            order = torch.from_numpy(np.stack(orders))
        rows = order[:, place * batch : (place + 1) * batch]
        if semantic:
            queries = normalize(learning.pooled(inputs[rows]), dim=2)
            keys = normalize(targets[rows], dim=2)
            scores = SCALE * torch.bmm(queries, keys.transpose(1, 2))
            wanted = torch.arange(batch).expand(seeds, batch)
        else:
            wanted = labels[rows] if labels.ndim == 1 else labels.gather(1, rows)
            scores = learning.logits(inputs[rows])
        loss = cross_entropy(scores.flatten(0, 1), wanted.flatten(), reduction="sum") / batch
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return kept


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


class _Encoding:
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
        return self._kept("sentences", list(self.suite.ids))

    def pairs(self, name: str, pairs: SegmentPairs, rows: slice, part: str) -> LastLayer:
        """Pairs, or one segment of each where ``part`` is ``first`` or ``second``."""
        starts, lengths = pairs.starts[rows], pairs.lengths[rows]
        tokens = self.corpus.tokens
        first, separator = int(self.tokenizer.cls_token_id), int(self.tokenizer.sep_token_id)
        ids: list[list[int]] = []
        for (one, two), (n, m) in zip(starts.tolist(), lengths.tolist(), strict=True):
            segments = {"first": tokens[one : one + n], "second": tokens[two : two + m]}
            wanted = segments.values() if part == "both" else [segments[part]]
            ids.append([first, *(t for s in wanted for t in (*s.tolist(), separator))])
        return self._kept(name, ids)

    def _kept(self, name: str, ids: Sequence[Sequence[int]]) -> LastLayer:
        """As `last_layer`, in parts that are written as they are made."""
        parts = []
        for number, begin in enumerate(range(0, len(ids), _ENCODED_AT_ONCE)):
            path = self.work.out / "vectors" / f"{name}-{number:03d}.safetensors"
            if not path.is_file():
                some = ids[begin : begin + _ENCODED_AT_ONCE]
                pad_id = int(self.tokenizer.pad_token_id)
                found = last_layer(self.body, some, pad_id=pad_id, bfloat16=self.bfloat16)
                path.parent.mkdir(exist_ok=True)
                write_bytes(path, save({"mean": found.mean, "cls": found.cls}))
                logger.info("%s: %d of %d encoded", name, begin + len(some), len(ids))
            parts.append(load_file(path))
        return LastLayer(
            mean=np.concatenate([part["mean"] for part in parts]),
            cls=np.concatenate([part["cls"] for part in parts]),
        )

    def material(self, arm: FrozenArm) -> Material:
        """The pairs of an arm, training and held-out, through the body."""
        plan = self.work.plan
        sop, same = arm is FrozenArm.SOP, arm is FrozenArm.SAME_SOURCE
        kind = "sop" if sop else "same-source" if same else "nsp"
        made = {
            held_out: make_segment_pairs(
                self.corpus,
                count=plan.held_out_pairs if held_out else plan.pairs,
                length=LENGTH,
                held_out=held_out,
                sentence_order=sop,
                short_share=0.0,
                seed=0,
                same_source=same,
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
            whole = slice(0, len(chosen))
            first = self.pairs("semantic-first", chosen, whole, "first")
            second = self.pairs("semantic-second", chosen, whole, "second")
            none = np.empty((0, first.cls.shape[1]), dtype=np.float32)
            nothing = np.empty(0, dtype=np.int64)
            return Material(first.cls, nothing, second.mean, none, nothing, math.nan)
        vectors = {
            held_out: self.pairs(
                f"{kind}-{'held-out' if held_out else 'train'}",
                pairs,
                slice(0, len(pairs)),
                "both",
            ).cls
            for held_out, pairs in made.items()
        }
        labels = {held_out: pairs.labels.astype(np.int64) for held_out, pairs in made.items()}
        overlap = word_overlap_accuracy(
            self._shares(made[False]), labels[False], self._shares(made[True]), labels[True]
        )
        if arm is FrozenArm.PERMUTED:
            drawn = [
                np.random.default_rng([_DRAWS["labels"], seed]).permutation(labels[False])
                for seed in range(plan.seeds)
            ]
            labels[False] = np.stack(drawn)
        none = np.empty((0, vectors[False].shape[1]), dtype=np.float32)
        return Material(vectors[False], labels[False], none, vectors[True], labels[True], overlap)

    def _shares(self, pairs: SegmentPairs) -> list[float]:
        """Share of the tokens of two segments that both have (Jaccard), of each pair."""
        tokens = self.corpus.tokens
        shares = []
        for (one, two), (n, m) in zip(pairs.starts.tolist(), pairs.lengths.tolist(), strict=True):
            a, b = set(tokens[one : one + n].tolist()), set(tokens[two : two + m].tolist())
            shares.append(len(a & b) / len(a | b))
        return shares


def _check_same(work: Frozen, corpus: str) -> None:
    """Refuse a folder of another encoder, plan or corpus: its vectors would be taken for these."""
    made_of = {
        "encoder": work.encoder,
        "plan": {**asdict(work.plan), "arms": sorted(work.plan.arms)},
        "source_weights": dict(work.source_weights),
        "corpus": corpus,
        "length": LENGTH,
    }
    text = json.dumps(made_of, sort_keys=True, default=list)
    path = work.out / "made-of.json"
    if not path.is_file():
        write_text(path, text)
    elif json.loads(path.read_text(encoding="utf-8")) != json.loads(text):
        raise InputError(
            f"{work.out} holds the experiment on another encoder, corpus or size: give another "
            "--out"
        )


def _train_arm(work: Frozen, arm: FrozenArm, encoding: _Encoding, suite: Suite) -> None:
    logger.info("%s: encoding", arm)
    material = encoding.material(arm)
    sentences = encoding.sentences()
    logger.info("%s: training %d seeds", arm, work.plan.seeds)
    start = Poolers.drawn(work.plan.seeds, sentences.cls.shape[1])
    kept = train_poolers(start, material, work.plan.looks)
    rows: list[dict[str, object]] = []
    last: dict[str, npt.NDArray[np.float32]] = {}
    held_out = torch.from_numpy(material.held_out_inputs)
    held_out_labels = torch.from_numpy(material.held_out_labels)
    for steps, poolers in zip(work.plan.looks, kept, strict=True):
        for seed in range(work.plan.seeds):
            weight, bias = poolers.weight[seed].numpy(), poolers.bias[seed].numpy()
            views = sentences.views(weight, bias)
            if steps or seed:  # mean and [CLS] are the same at every look and seed
                views = {name: views[name] for name in ("pooler_dense", "pooler")}
            similarities = suite_cosines(suite, views)
            rows += [
                {
                    "seed": seed,
                    "steps": steps,
                    "task": name.split("/")[0],
                    "view": name.split("/")[1],
                    "metric": "spearman",
                    "value": value,
                    "n": len(suite.gold[name.split("/")[0]]),
                }
                for name, value in suite_scores(suite, similarities).items()
            ]
            if steps == work.plan.looks[-1]:
                last |= {f"cosines/{seed}/{name}": found for name, found in similarities.items()}
        if len(held_out):
            inputs = held_out.expand(work.plan.seeds, *held_out.shape)
            right = (poolers.logits(inputs).argmax(2) == held_out_labels).float().mean(1)
            rows += [
                {
                    "seed": seed,
                    "steps": steps,
                    "task": "held-out",
                    "view": "",
                    "metric": "sentence_accuracy",
                    "value": float(right[seed]),
                    "n": len(held_out_labels),
                }
                for seed in range(work.plan.seeds)
            ]
    if arm is not FrozenArm.SEMANTIC:
        rows.append(
            {
                "seed": 0,
                "steps": 0,
                "task": "held-out",
                "view": "",
                "metric": "overlap_accuracy",
                "value": material.overlap_accuracy,
                "n": len(held_out_labels),
            }
        )
    last |= {"weight": kept[-1].weight.numpy(), "bias": kept[-1].bias.numpy()}
    last |= {"head": kept[-1].head.numpy(), "head_bias": kept[-1].head_bias.numpy()}
    write_bytes(work.out / f"{arm}.safetensors", save(last))
    frame = pd.DataFrame(rows)
    frame.insert(0, "arm", str(arm))
    write_bytes(work.out / f"{arm}.parquet", frame.to_parquet(index=False))
