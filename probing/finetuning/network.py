"""What fine-tuning trains: the sentences of a task through states, summary and readout."""

import copy
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from probing.encoding.encoder import Encoder
from probing.encoding.forward import run_batches
from probing.encoding.onednn import packed_linears
from probing.encoding.tokenization import Batch, Tokenized, make_batch
from probing.finetuning.heads import Head, Summary, pair_features
from probing.statistics import spearman
from probing.threads import in_threads

_EVALUATION_BATCH: Final = 32
"""Sentences that go through the network together where nothing is trained."""


@dataclass(frozen=True, eq=False)
class FinetuningData:
    """n items of one task: sentences or pairs, tokenized, with gold.

    ``tokenized`` has ``sides * n`` sentences: the first of all pairs, then the second.
    """

    task: str
    tokenized: Tokenized
    sides: int
    gold: NDArray[np.float64]
    """``(n,)`` places in `classes`, or scores."""
    classes: tuple[str, ...]
    """Empty where scores are to be predicted."""
    train: NDArray[np.intp]
    """Rows that may be trained on."""
    dev: NDArray[np.intp]
    test: NDArray[np.intp]
    pad_id: int
    clusters: NDArray[np.intp] | None = None
    """``(n,)`` code of the cluster each item of a split is of; None where each is by itself."""

    def __post_init__(self) -> None:
        if len(self.tokenized) != self.sides * len(self.gold):
            raise ValueError(f"{len(self.tokenized)} sentences for {len(self.gold)} items")

    @property
    def n_outputs(self) -> int:
        """Outputs of the readout: one for scores and for two classes, else one per class."""
        return len(self.classes) if len(self.classes) > 2 else 1

    @property
    def metric(self) -> str:
        """What is measured on dev and test."""
        return "accuracy" if self.classes else "spearman"

    def score(self, rows: NDArray[np.intp], predicted: NDArray[np.float64]) -> float:
        """Accuracy, or Spearman, of what is predicted of some rows ``(n_rows,)``."""
        if self.classes:
            return float((predicted == self.gold[rows]).mean())
        return float(spearman(predicted[:, None], self.gold[rows])[0])

    def sentences(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """``(sides * n_rows,)`` places in `tokenized`: the first sentences, then the second."""
        sides = [rows + side * len(self.gold) for side in range(self.sides)]
        return np.concatenate(sides)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each item, ``(n,)``."""
        lengths: NDArray[np.int64] = self.tokenized.lengths.reshape(self.sides, -1).sum(0)
        return lengths


class LiveStates(nn.Module):
    """States from a copy of the encoder that is trained."""

    def __init__(self, data: FinetuningData, encoder: Encoder) -> None:
        """The copy is on the device of the encoder."""
        super().__init__()
        self._data, self._device = data, encoder.device
        body: Any = copy.deepcopy(encoder.model).float()  # trained in float32 in any case
        if getattr(body, "pooler", None) is not None:
            body.pooler = None  # the summary has the dense layer; computed once is enough
        self.body = body

    def forward(self, sentences: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        """``(n_sentences, n_tokens, hidden_size)`` and the mask of the tokens."""
        batch = make_batch(self._data.tokenized, sentences, self._data.pad_id)
        states = self.body(**batch.inputs(self._device)).last_hidden_state
        return states, batch.attention_mask.to(self._device)


class StoredStates(nn.Module):
    """The same states as they were stored; nothing here is trained."""

    def __init__(
        self, data: FinetuningData, stored: Tensor, device: torch.device, *, first_alone: bool
    ) -> None:
        """``stored`` is from `stored_states`; ``first_alone`` leaves all but ``[CLS]`` out."""
        super().__init__()
        self._data, self._flat, self._device = data, stored, device
        self._first_alone = first_alone

    def forward(self, sentences: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        """As `LiveStates.forward`; the padding is zero."""
        if self._first_alone:
            places = torch.from_numpy(self._data.tokenized.starts[sentences])
            states = self._flat[places][:, None].to(self._device)
            return states, torch.ones(states.shape[:2], dtype=torch.bool, device=self._device)
        batch = make_batch(self._data.tokenized, sentences, self._data.pad_id)
        states = torch.zeros(*batch.ids.shape, self._flat.shape[1])
        states[batch.attention_mask] = self._flat[_places(self._data.tokenized, batch)]
        return states.to(self._device), batch.attention_mask.to(self._device)


class Network(nn.Module):
    """Rows of a task to outputs: states, their summary, features, readout."""

    def __init__(
        self, data: FinetuningData, states: nn.Module, summary: Summary, readout: nn.Module
    ) -> None:
        """``readout`` maps features to outputs."""
        super().__init__()
        self.data = data
        self.states, self.summary, self.readout = states, summary, readout
        self._kept: dict[bytes, Tensor] | None = None

    def keep_summaries(self) -> None:
        """Compute the summaries of the same sentences once: for where nothing below is trained."""
        self._kept = {}

    def forward(self, rows: NDArray[np.intp]) -> Tensor:
        """``(n_rows, n_outputs)``."""
        return self._read(self._summaries(self.data.sentences(rows)))

    def outputs(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """``(n_rows, n_outputs)``, dropout off, no gradients; sentences are sorted by length."""
        self.eval()
        sentences = self.data.sentences(rows)
        lengths = self.data.tokenized.lengths[sentences]
        order = np.argsort(-lengths, kind="stable")
        parts = np.array_split(order, math.ceil(len(order) / _EVALUATION_BATCH))

        def summaries_of(part: NDArray[np.intp]) -> Tensor:
            with torch.no_grad():  # holds only for this thread
                return self._summaries(sentences[part])

        n_tokens = int(lengths.sum())
        with packed_linears(self.states, n_tokens // len(parts), n_tokens):
            summaries = torch.cat(list(in_threads(summaries_of, parts)))
        summaries = summaries[torch.from_numpy(np.argsort(order)).to(summaries.device)]
        with torch.no_grad():
            return self._read(summaries).float().cpu().numpy()

    def _summaries(self, sentences: NDArray[np.intp]) -> Tensor:
        key = sentences.tobytes()
        if self._kept is not None and key in self._kept:
            return self._kept[key]
        summaries: Tensor = self.summary(*self.states(sentences))
        if self._kept is not None:
            self._kept[key] = summaries
        return summaries

    def _read(self, summaries: Tensor) -> Tensor:
        outputs: Tensor = self.readout(pair_features(summaries, sides=self.data.sides))
        return outputs


def stored_states(encoder: Encoder, data: FinetuningData) -> Tensor:
    """States of the last layer from the encoder as it is: ``(n_tokens, hidden_size)`` float32.

    One sentence after another as in ``data.tokenized``; padding is not stored.
    """
    tokenized = data.tokenized
    flat = torch.empty(len(tokenized.ids), encoder.hidden_size)

    def fill(batch: Batch) -> None:
        with torch.no_grad():  # holds only for this thread
            states = encoder.outputs(batch.inputs(encoder.device)).last_hidden_state
            flat[_places(tokenized, batch)] = states.float().cpu()[batch.attention_mask]

    for _ in run_batches(encoder, tokenized, fill):
        pass
    return flat


def untouched_features(
    encoder: Encoder,
    data: FinetuningData,
    stored: Tensor,
    rows: NDArray[np.intp],
    *,
    head: Head,
    seed: int,
) -> NDArray[np.float32]:
    """What a head gives before any training: ``(n_rows, sides * hidden_size)`` float32."""
    summary = Summary(head, encoder, seed=seed).to(encoder.device)
    states = StoredStates(data, stored, encoder.device, first_alone=summary.reads_first_alone)
    return Network(data, states, summary, nn.Identity()).outputs(rows)


def _places(tokenized: Tokenized, batch: Batch) -> Tensor:
    """``(n_tokens,)`` where the tokens of a batch are among all tokens, row by row."""
    columns = np.arange(batch.ids.shape[1])
    places = tokenized.starts[batch.rows][:, None] + columns
    return torch.from_numpy(places[batch.attention_mask.numpy()])
