"""The losses of `BertForPreTraining`, with the vocabulary scored at masked positions alone."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from transformers import BertForPreTraining

from probing.pretraining.masking import MaskedIds
from probing.pretraining.segments import PairBatch


@dataclass(frozen=True)
class MaskedBatch:
    """Some pairs as the network takes them.

    Attributes:
        ids: (n_pairs, length) int64, masked.
        attended: (n_pairs, length) int64, 0 on padding.
        segments: (n_pairs, length) int64.
        rows: (n_masked,) int64, ascending.
        columns: (n_masked,) int64.
        targets: (n_masked,) int64, what stood at the masked places.
        labels: (n_pairs,) int64.
    """

    ids: Tensor
    attended: Tensor
    segments: Tensor
    rows: Tensor
    columns: Tensor
    targets: Tensor
    labels: Tensor

    @classmethod
    def of(cls, batch: PairBatch, masked: MaskedIds) -> "MaskedBatch":
        """The tensors of a batch and its masks."""
        return cls(
            ids=torch.from_numpy(masked.ids),
            attended=torch.from_numpy(batch.attended.astype(np.int64)),
            segments=torch.from_numpy(batch.segments),
            rows=torch.from_numpy(masked.rows),
            columns=torch.from_numpy(masked.columns),
            targets=torch.from_numpy(masked.targets),
            labels=torch.from_numpy(batch.labels),
        )

    def part(self, pairs: slice, device: torch.device) -> "MaskedBatch":
        """The pairs of a slice (start and stop given), on a device."""
        first, end = torch.searchsorted(self.rows, torch.tensor([pairs.start, pairs.stop])).tolist()
        return MaskedBatch(
            ids=self.ids[pairs].to(device),
            attended=self.attended[pairs].to(device),
            segments=self.segments[pairs].to(device),
            rows=(self.rows[first:end] - pairs.start).to(device),
            columns=self.columns[first:end].to(device),
            targets=self.targets[first:end].to(device),
            labels=self.labels[pairs].to(device),
        )


@dataclass(frozen=True)
class Losses:
    """Sums over a batch, each a scalar tensor; the sentence ones are NaN where it has no part."""

    mlm: Tensor
    mlm_correct: Tensor
    sentence: Tensor
    sentence_correct: Tensor

    def detached(self) -> Tensor:
        """(4,) float32: all of them, without their graph."""
        sums = [self.mlm, self.mlm_correct, self.sentence, self.sentence_correct]
        return torch.stack([value.detach().float() for value in sums])


def pretraining_losses(
    model: BertForPreTraining, batch: MaskedBatch, *, with_sentence: bool
) -> Losses:
    """The network's two losses, summed over masked tokens and over pairs.

    Equal to those of `BertForPreTraining.forward`, which scores the whole vocabulary at every
    position: seven times the work for the same number.

    Args:
        model: the network.
        batch: on the network's device.
        with_sentence: False leaves the pooler and its classifier without a gradient.
    """
    outputs = model.bert(
        input_ids=batch.ids, attention_mask=batch.attended, token_type_ids=batch.segments
    )
    hidden = outputs.last_hidden_state[batch.rows, batch.columns]  # (n_masked, hidden)
    scores = model.cls.predictions(hidden).float()  # (n_masked, vocabulary)
    mlm = F.cross_entropy(scores, batch.targets, reduction="sum")
    mlm_correct = (scores.detach().argmax(1) == batch.targets).sum()
    if not with_sentence:
        nothing = torch.full((), math.nan, device=mlm.device)
        return Losses(mlm, mlm_correct, nothing, nothing)
    verdict = model.cls.seq_relationship(outputs.pooler_output).float()  # (n_pairs, 2)
    sentence = F.cross_entropy(verdict, batch.labels, reduction="sum")
    sentence_correct = (verdict.detach().argmax(1) == batch.labels).sum()
    return Losses(mlm, mlm_correct, sentence, sentence_correct)
