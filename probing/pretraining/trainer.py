"""One update and one look at the held-out pairs: `transformers`' `BertForPreTraining` under AdamW.

Data order, masks and dropout are functions of (seed, step). So a killed run resumes to the same
loss curve, runs of different objectives see the same inputs, and the gradient of a step is the same
sum however it is shared out over micro-batches and processes.
"""

import logging
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor
from transformers import BertForPreTraining

from probing.errors import InputError
from probing.pretraining.config import Decay, Objective, Precision, PretrainingConfig
from probing.pretraining.corpus import TokenizedCorpus
from probing.pretraining.gradients import Gradients, WorkingCopy, added, clipped_sum
from probing.pretraining.losses import MaskedBatch, pretraining_losses
from probing.pretraining.masking import mask_tokens
from probing.pretraining.processes import Processes
from probing.pretraining.segments import SegmentPairs, gather_batch, make_segment_pairs
from probing.pretraining.start import Start, initial_model
from probing.pretraining.vocabulary import load_vocabulary

logger = logging.getLogger(__name__)

# Streams of chance, so that no two share their draws.
_MASKS, _HELD_OUT_MASKS, _DROPOUT, _LABELS = range(4)
_HELD_OUT_BATCH: Final = 64


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a run is carried out: nothing here changes what is learnt, but for rounding.

    One exception: `until_loss` is noticed at a look at the held-out pairs.
    """

    precision: Precision = Precision.AUTO
    device: str = "auto"
    micro_batches: int = 1
    """Parts a process cuts its share of the batch into (gradient accumulation)."""
    checkpoint_seconds: float = 60.0
    evaluate_every: int = 200
    """Steps between two looks at the held-out pairs."""
    held_out_pairs: int = 512
    final_held_out_pairs: int = 4096
    snapshots: tuple[int, ...] = ()
    """Tokens after which the encoder is kept (or looked at), padding counted; 0 is the start."""
    stop_after: int | None = None
    """Tokens after which the run stops unfinished, padding counted, with a checkpoint to resume
    from; None goes on to the end."""
    cache: Path | None = None
    """Where the tokenised corpus is kept; beside the run where None."""

    def __post_init__(self) -> None:
        if self.micro_batches < 1 or self.evaluate_every < 1:
            raise InputError("micro-batches and steps between evaluations must be at least 1")


@dataclass(frozen=True)
class Evaluation:
    """The held-out pairs under one model: losses in nats a token and a pair, shares in [0, 1].

    The sentence values are NaN for the objective ``mlm``, whose classifier was never trained.
    """

    mlm_loss: float
    mlm_accuracy: float
    sentence_loss: float
    sentence_accuracy: float
    pairs: int


def native_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 itself; where it does not, float32 is quicker."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    flags = Path("/proc/cpuinfo")
    if not flags.is_file():
        return False
    words = flags.read_text(encoding="utf-8").split()
    return "avx512_bf16" in words or "amx_bf16" in words


def learning_rate(config: PretrainingConfig, step: int) -> float:
    """The rate of the update that follows `step` updates: linear up, then by `Decay`."""
    warmup = max(1, round(config.warmup_share * config.steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.decay is Decay.CONSTANT:
        return config.learning_rate
    return config.learning_rate * (config.steps - step) / max(1, config.steps - warmup)


class Trainer:
    """One run in memory: the network, its optimiser and its data."""

    def __init__(
        self,
        config: PretrainingConfig,
        schedule: Schedule,
        corpus: TokenizedCorpus,
        processes: Processes,
        start: Start | None = None,
    ) -> None:
        self.config = config
        self.schedule = schedule
        self.corpus = corpus
        self.processes = processes
        self.tokenizer = load_vocabulary(corpus.vocabulary)
        self.with_sentence = config.objective.has_sentence_loss
        self.bfloat16 = schedule.precision is Precision.BFLOAT16 or (
            schedule.precision is Precision.AUTO and native_bfloat16(processes.device)
        )
        self.training_pairs = self._pairs(
            config.steps * config.batch_size, seed=config.seed, held_out=False
        )
        if config.objective is Objective.MLM_SHUFFLED:
            self.training_pairs = permuted_labels(self.training_pairs, config.seed)
        self.held_out_pairs = self._pairs(
            schedule.final_held_out_pairs, seed=config.corpus_seed, held_out=True
        )
        self.model = initial_model(config, self.tokenizer, start)
        self.model.to(processes.device)  # type: ignore[arg-type]
        # The fused attention of a processor is slower than the plain one at such lengths.
        plain = processes.device.type == "cpu"
        self.model.set_attn_implementation("eager" if plain else "sdpa")
        self.working = WorkingCopy(self.model, bfloat16=self.bfloat16)
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.model, config), lr=config.learning_rate, fused=True
        )
        self.tokens = 0

    def _pairs(self, count: int, *, seed: int, held_out: bool) -> SegmentPairs:
        return make_segment_pairs(
            self.corpus,
            count=count,
            length=self.config.length,
            held_out=held_out,
            sentence_order=self.config.objective is Objective.MLM_SOP,
            short_share=self.config.short_share,
            seed=seed,
            negatives=self.config.negatives,
        )

    def _masked(self, pairs: SegmentPairs, rows: slice, stream: list[int]) -> MaskedBatch:
        batch = gather_batch(
            self.corpus,
            pairs,
            rows,
            length=self.config.length,
            cls_id=int(self.tokenizer.cls_token_id),
            sep_id=int(self.tokenizer.sep_token_id),
            pad_id=int(self.tokenizer.pad_token_id),
        )
        masked = mask_tokens(
            batch.ids,
            batch.maskable,
            share=self.config.mask_share,
            mask_id=int(self.tokenizer.mask_token_id),
            vocabulary_size=len(self.tokenizer),
            rng=np.random.default_rng(stream),
        )
        return MaskedBatch.of(batch, masked)

    def training_batch(self, step: int) -> MaskedBatch:
        """The whole batch of the update that follows `step` updates, over all processes."""
        rows = slice(step * self.config.batch_size, (step + 1) * self.config.batch_size)
        return self._masked(self.training_pairs, rows, [self.config.seed, _MASKS, step])

    def training_batches(self, start: int) -> Iterator[tuple[int, MaskedBatch]]:
        """Every (step, batch) from `start` on, each made while the one before is learnt from."""
        with ThreadPoolExecutor(max_workers=1) as background:
            waiting = background.submit(self.training_batch, start)
            for step in range(start, self.config.steps):
                batch = waiting.result()
                if step + 1 < self.config.steps:
                    waiting = background.submit(self.training_batch, step + 1)
                yield step, batch

    def train_step(self, step: int, batch: MaskedBatch) -> tuple[float, float, float]:
        """One update; the whole batch's MLM loss, sentence loss and sentence accuracy.

        Raises:
            InputError: the loss is no longer a number.
        """
        config, device = self.config, self.processes.device
        n_masked, n_pairs = len(batch.targets), len(batch.labels)
        self.model.train()
        self.working.model.train()
        self.working.refresh()
        sums = torch.zeros(4, device=device)
        mlm_gradients: Gradients | None = None
        sentence_gradients: Gradients | None = None
        share = self.processes.share(n_pairs)
        with torch.random.fork_rng(enabled=config.dropout > 0):
            for micro, pairs in enumerate(_cut(share, self.schedule.micro_batches)):
                if config.dropout > 0:
                    stream = [config.seed, _DROPOUT, step, self.processes.rank, micro]
                    torch.manual_seed(int(np.random.default_rng(stream).integers(2**62)))
                losses = pretraining_losses(
                    self.working.model, batch.part(pairs, device), with_sentence=self.with_sentence
                )
                if self.with_sentence:
                    more = self.working.gradients(losses.sentence / n_pairs, keep_graph=True)
                    sentence_gradients = added(sentence_gradients, more)
                more = self.working.gradients(losses.mlm / n_masked, keep_graph=False)
                mlm_gradients = added(mlm_gradients, more)
                sums += losses.detached()
        self.processes.add_up([sums])
        parts = [(mlm_gradients, 1.0), (sentence_gradients, config.sentence_weight)]
        present = [(gradients, weight) for gradients, weight in parts if gradients is not None]
        total = clipped_sum(present, config.gradient_norm, self.processes)
        # Without a gradient AdamW leaves a parameter as it is, decay included: the pooler of `mlm`.
        for parameter, gradient in zip(self.working.masters, total, strict=True):
            parameter.grad = gradient
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.tokens += int(batch.attended.sum())
        mlm, _, sentence, correct = sums.tolist()
        if not math.isfinite(mlm):
            raise InputError(
                f"the loss became {mlm} at step {step + 1}: lower --lr ({config.learning_rate})"
            )
        return mlm / n_masked, sentence / n_pairs, correct / n_pairs

    @torch.no_grad()
    def evaluate(self, n_pairs: int) -> Evaluation:
        """The first `n_pairs` held-out pairs, masked the same way every time."""
        self.working.model.eval()
        self.working.refresh()
        device = self.processes.device
        sums = torch.zeros(4, device=device)
        n_masked = 0
        for start in range(0, n_pairs, _HELD_OUT_BATCH):
            rows = slice(start, min(start + _HELD_OUT_BATCH, n_pairs))
            stream = [self.config.corpus_seed, _HELD_OUT_MASKS, start]
            batch = self._masked(self.held_out_pairs, rows, stream)
            n_masked += len(batch.targets)
            share = self.processes.share(len(batch.labels))
            if share.start < share.stop:
                part = batch.part(share, device)
                losses = pretraining_losses(
                    self.working.model, part, with_sentence=self.with_sentence
                )
                sums += losses.detached()
        self.processes.add_up([sums])
        mlm, mlm_correct, sentence, correct = sums.tolist()
        return Evaluation(
            mlm_loss=mlm / n_masked,
            mlm_accuracy=mlm_correct / n_masked,
            sentence_loss=sentence / n_pairs,
            sentence_accuracy=correct / n_pairs,
            pairs=n_pairs,
        )


def permuted_labels(pairs: SegmentPairs, seed: int) -> SegmentPairs:
    """The same pairs with their labels in another order: as many of each, and nothing to learn."""
    rng = np.random.default_rng([seed, _LABELS])
    return replace(pairs, labels=rng.permutation(pairs.labels))


def _parameter_groups(
    model: BertForPreTraining, config: PretrainingConfig
) -> list[dict[str, list[Tensor] | float]]:
    """Matrices, which decay, and vectors (biases, layer norms), which do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {
            "params": [p for p in trained if (p.ndim > 1) == matrices],
            "weight_decay": config.weight_decay if matrices else 0.0,
        }
        for matrices in (True, False)
    ]


def _cut(rows: slice, parts: int) -> list[slice]:
    size = rows.stop - rows.start
    cuts = [rows.start + part * size // parts for part in range(parts + 1)]
    return [slice(a, b) for a, b in pairwise(cuts) if b > a]
