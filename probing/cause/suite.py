"""The sentence pairs an encoder is judged by while it trains: encoded fast, again and again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from probing.errors import InputError
from probing.statistics.correlation import spearman
from probing.tasks.pairs import SentencePairs
from probing.tasks.registry import load_task

POOLED_TASKS: Final = ("sts12", "sts13", "sts14", "sts15", "sts16", "sickr")
"""Whose plain mean is the outcome; pairs that are in the dev split of STS-B are left out."""
BESIDE: Final = "stsb"
"""Shown beside the outcome, not part of it."""
VIEWS: Final = ("mean", "cls", "pooler_dense", "pooler")
"""All of the last layer."""
MAX_LENGTH: Final = 128
_TOKENS_A_BATCH: Final = 4096

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Suite:
    """Sentence pairs of several tasks, their distinct sentences tokenised once.

    Attributes:
        gold: by task, (n_pairs,) float64.
        pairs: by task, (n_pairs, 2) int64, rows of `sentences`.
        sentences: the distinct sentences of all tasks, sorted.
        ids: token ids of each sentence, special tokens included, at most `MAX_LENGTH`.
    """

    gold: Mapping[str, npt.NDArray[np.float64]]
    pairs: Mapping[str, npt.NDArray[np.int64]]
    sentences: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if len(self.sentences) != len(self.ids):
            raise ValueError("one list of token ids a sentence")


@dataclass(frozen=True)
class LastLayer:
    """Sentences at the last layer.

    Attributes:
        mean: (n_sentences, hidden_size) float32, over all tokens that are not padding.
        cls: (n_sentences, hidden_size) float32.
    """

    mean: Floats
    cls: Floats

    def __post_init__(self) -> None:
        if self.mean.shape != self.cls.shape:
            raise ValueError(f"{self.mean.shape} mean vectors for {self.cls.shape} [CLS] vectors")

    def views(self, weight: Floats, bias: Floats) -> dict[str, Floats]:
        """Every one of `VIEWS`; ``weight`` (hidden_size, hidden_size), ``bias`` (hidden_size,)."""
        dense = self.cls @ weight.T + bias
        return {"mean": self.mean, "cls": self.cls, "pooler_dense": dense, "pooler": np.tanh(dense)}


def load_suite(
    tokenizer: Any, data_dir: Path | None, tasks: Sequence[str] = (*POOLED_TASKS, BESIDE)
) -> Suite:
    """The test rows of `tasks`; of the protocol's tasks, without pairs of STS-B's dev split."""
    seen: set[frozenset[str]] = set()
    if {*POOLED_TASKS, BESIDE} & {*tasks}:
        dev = _pairs(BESIDE, data_dir, split="dev")
        seen = {frozenset(pair) for pair in zip(dev.sentences1, dev.sentences2, strict=True)}
    kept: dict[str, list[tuple[str, str, float]]] = {}
    for name in tasks:
        task = _pairs(name, data_dir)
        rows = zip(task.sentences1, task.sentences2, task.scores.tolist(), strict=True)
        kept[name] = [row for row in rows if frozenset(row[:2]) not in seen]
        if not kept[name]:
            raise InputError(f"every pair of {name} is in the dev split of STS-B: expected others")
    sentences = sorted({text for rows in kept.values() for row in rows for text in row[:2]})
    place = {text: index for index, text in enumerate(sentences)}
    return Suite(
        gold={name: np.array([row[2] for row in rows]) for name, rows in kept.items()},
        pairs={
            name: np.array([[place[row[0]], place[row[1]]] for row in rows])
            for name, rows in kept.items()
        },
        sentences=tuple(sentences),
        ids=token_ids(tokenizer, sentences),
    )


def _pairs(name: str, data_dir: Path | None, *, split: str | None = None) -> SentencePairs:
    task = load_task(name, data_dir, split=split)
    if not isinstance(task, SentencePairs):
        raise InputError(f"task {name} has labels: expected sentence pairs with a similarity")
    return task


def token_ids(tokenizer: Any, sentences: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Ids of each sentence with its special tokens, cut to `MAX_LENGTH` or what the model takes."""
    longest = min(MAX_LENGTH, tokenizer.model_max_length)
    found = tokenizer(
        list(sentences), padding=False, truncation=True, max_length=longest, verbose=False
    )
    return tuple(tuple(ids) for ids in found["input_ids"])


@torch.no_grad()
def last_layer(
    body: nn.Module, ids: Sequence[Sequence[int]], *, pad_id: int, bfloat16: bool
) -> LastLayer:
    """Sentences through a BERT.

    Args:
        body: a `BertModel`, float32.
        ids: token ids of each sentence; similar lengths go together, so padding is rare.
        pad_id: of ``[PAD]``.
        bfloat16: compute matrix products in bfloat16; norms and the sums between layers stay
            float32.
    """
    was_training = body.training
    body.eval()
    device = next(body.parameters()).device
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    width = int(body.config.hidden_size)  # type: ignore[union-attr,arg-type]
    mean = np.empty((len(ids), width), dtype=np.float32)
    cls = np.empty_like(mean)
    start = 0
    while start < len(order):
        longest, end = len(ids[order[start]]), start
        while end < len(order) and len(ids[order[end]]) * (end + 1 - start) <= max(
            _TOKENS_A_BATCH, longest
        ):
            longest = len(ids[order[end]])
            end += 1
        rows = order[start:end]
        lengths = torch.tensor([len(ids[row]) for row in rows])
        longest = int(lengths.max())
        batch = torch.tensor([[*ids[row], *[pad_id] * (longest - len(ids[row]))] for row in rows])
        attended = torch.arange(longest)[None, :] < lengths[:, None]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16):
            hidden = body(
                input_ids=batch.to(device), attention_mask=attended.long().to(device)
            ).last_hidden_state
        hidden = hidden.float().cpu()
        mask = attended[:, :, None].float()
        mean[rows] = ((hidden * mask).sum(1) / mask.sum(1)).numpy()
        cls[rows] = hidden[:, 0].numpy()
        start = end
    body.train(was_training)
    return LastLayer(mean=mean, cls=cls)


def cosines(vectors: Floats, pairs: npt.NDArray[np.int64]) -> Floats:
    """(n_pairs,) float32: the cosine of the two sentences of each pair."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Floats = np.einsum("nd,nd->n", unit[pairs[:, 0]], unit[pairs[:, 1]])
    return found


def suite_cosines(suite: Suite, views: Mapping[str, Floats]) -> dict[str, Floats]:
    """``TASK/VIEW`` → (n_pairs,) float32."""
    return {
        f"{task}/{view}": cosines(vectors, suite.pairs[task])
        for task in suite.pairs
        for view, vectors in views.items()
    }


def suite_scores(suite: Suite, similarities: Mapping[str, Floats]) -> dict[str, float]:
    """``TASK/VIEW`` → Spearman's correlation over all pairs of the task."""
    return {
        name: float(spearman(values[:, None], suite.gold[name.split("/")[0]])[0])
        for name, values in similarities.items()
    }
