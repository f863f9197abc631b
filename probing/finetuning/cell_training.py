"""Fine-tuning: an encoder and a readout trained together, or only the readout.

One function trains both ways. With ``frozen`` the encoder's states are those it gave before, with
dropout off, so nothing below the readout moves, and each step is one of L-BFGS on all rows: the
readout is then the linear probe. Data order and dropout are functions of (seed, step) and not of
the head: heads of one seed see the same batches in the same order, with the same units dropped in
the encoder.
"""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import get_linear_schedule_with_warmup

from probing.encoding.encoder import Encoder
from probing.errors import InputError
from probing.finetuning.heads import Head, Readout, Summary
from probing.finetuning.network import (
    FinetuningData,
    LiveStates,
    Network,
    StoredStates,
    untouched_features,
)
from probing.finetuning.recipes import TrainingRecipe

logger = logging.getLogger(__name__)

_POOL_BATCHES: Final = 16
"""Batches whose rows are sorted by length among themselves: little padding, still shuffled."""
_ROWS_AT_ONCE: Final = 512
"""Rows that go through the network together where a step takes more."""
_ITERATIONS: Final = 20
"""Iterations of L-BFGS in one step of a frozen recipe."""
_LEAST_SCALE: Final = 1e-3
"""Of a feature, as a share of the median one, where the encoder is trained too."""
_UNCERTAIN: Final = 0.1
"""About ``p (1 - p)`` of a class: how curved the log-loss is along a logit."""
LOG_COLUMNS: Final = ("step", "loss", "learning_rate", "dev")
"""One row a step; ``dev`` is NaN but for the steps after which dev was looked at."""


@dataclass
class Progress:
    """How far the training of a cell is: what resuming needs beside weights and moments."""

    log: list[tuple[float, float, float, float]] = field(default_factory=list)
    """`LOG_COLUMNS`, a row a step."""
    best: dict[str, Tensor] = field(default_factory=dict)
    """Weights at the best look at dev; empty before the first."""
    tokens: int = 0
    seconds: float = 0.0

    @property
    def step(self) -> int:
        """Updates made."""
        return len(self.log)

    @property
    def looks(self) -> list[tuple[int, float]]:
        """Step and dev score of every look."""
        return [(int(row[0]), row[3]) for row in self.log if not math.isnan(row[3])]

    @property
    def best_look(self) -> tuple[int, float]:
        """The first of the best looks; step 0 where there is none."""
        return max(self.looks, key=lambda look: look[1], default=(0, math.nan))

    def exhausted(self, patience: int) -> bool:
        """Whether the last looks, as many as `patience`, brought no new best."""
        best = self.best_look[0]
        return sum(step > best for step, _ in self.looks) >= patience


class Keeper(Protocol):
    """Keeps checkpoints of a cell in training; where and how often is for it to decide."""

    def load(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress | None:
        """Put kept weights and moments in place; None where nothing was kept."""

    def keep(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress
    ) -> None:
        """Called after every step."""


@dataclass(frozen=True, eq=False)
class Finetuned:
    """The result of training one cell."""

    predicted: NDArray[np.float64]
    """``(n_test,)`` places in the classes, or scores."""
    steps: int
    """Updates made."""
    best_step: int
    """Updates after which the weights were taken: the best on dev, with ``frozen`` the last."""
    dev_score: float
    """Score on dev at that step."""
    resumed_from: int | None
    """Step of the checkpoint that training was resumed from; None where it ran in one go."""
    seconds: float
    """Time in training, over all starts."""


def finetune(
    encoder: Encoder,
    data: FinetuningData,
    stored: Tensor,
    *,
    head: Head,
    train: NDArray[np.intp],
    penalty: float,
    recipe: TrainingRecipe,
    seed: int,
    keeper: Keeper | None = None,
) -> Finetuned:
    """Train one cell and predict the test items.

    Args:
        encoder: Left as it is; a copy is trained.
        data: The task.
        stored: From `stored_states`; with it features are standardised, and with
            ``recipe.frozen`` it takes the encoder's place.
        head: What the readout reads.
        train: ``(n_train,)`` rows to train on.
        penalty: Times the sum of squares of the readout's weights, added to the mean loss: log-loss
            in nats, or squared error of scores of variance one.
        recipe: How it is trained.
        seed: Seed of data order, dropout and weights that are drawn.
        keeper: Keeps checkpoints; None to keep none. A frozen cell takes seconds and keeps none.

    Raises:
        InputError: The encoder lacks the head, or the loss or its gradient is no longer finite.
    """
    device = encoder.device
    features = untouched_features(encoder, data, stored, train, head=head, seed=seed)
    summary = Summary(head, encoder, seed=seed)
    readout = Readout(
        features,
        n_outputs=data.n_outputs,
        penalty=penalty,
        curvature=_UNCERTAIN if data.classes else 2.0,
        device=device,
        least_scale=0.0 if recipe.frozen else _LEAST_SCALE,
    )
    states: nn.Module
    if recipe.frozen:
        states = StoredStates(data, stored, device, first_alone=summary.reads_first_alone)
    else:
        states = LiveStates(data, encoder)
    network = Network(data, states, summary, readout).to(device)
    targets = _targets(data, train, device)
    total = recipe.steps(data.sides * len(train))
    optimizer = _optimizer(network, recipe)
    if recipe.frozen:
        keeper = None
    progress = (None if keeper is None else keeper.load(network, optimizer)) or Progress()
    resumed_from = progress.step or None
    schedule = get_linear_schedule_with_warmup(
        optimizer,
        0 if recipe.frozen else math.ceil(recipe.warmup_share * total),
        total,
        last_epoch=progress.step - 1,
    )
    look_every = math.ceil(total / recipe.looks)
    earlier, began = progress.seconds, time.monotonic()
    for step, rows in _training_batches(data, train, recipe, seed, progress.step, total):
        if not recipe.frozen and progress.exhausted(recipe.patience):
            break
        network.train()

        def loss_and_gradients(rows: NDArray[np.intp] = rows) -> float:
            optimizer.zero_grad(set_to_none=True)
            return _backward(network, readout, data, rows, targets, penalty)

        rate = optimizer.param_groups[-1]["lr"]
        if recipe.frozen:
            loss = float(optimizer.step(loss_and_gradients))
        else:
            with torch.random.fork_rng():
                torch.manual_seed(_stream(seed, step))
                loss = loss_and_gradients()
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_norm)
            if not math.isfinite(norm):  # it would be clipped to zero, and nothing be learned
                raise InputError(
                    f"the gradient of {head} on {data.task} became {float(norm)} at step "
                    f"{step + 1}: lower the learning rate ({recipe.encoder_rate:g})"
                )
            optimizer.step()
            schedule.step()
        if not math.isfinite(loss):
            raise InputError(
                f"the loss of {head} on {data.task} became {loss} at step {step + 1}: lower "
                f"the learning rate ({recipe.encoder_rate:g})"
            )
        dev = math.nan
        if (step + 1) % look_every == 0 or step + 1 == total:
            dev = data.score(data.dev, _predicted(network, data, data.dev))
        better = dev > progress.best_look[1] or not progress.best
        progress.log.append((step + 1, loss, rate, dev))
        if not math.isnan(dev) and (better or recipe.frozen):
            progress.best = {n: p.detach().clone() for n, p in network.named_parameters()}
        progress.tokens += int(data.lengths[rows].sum())
        progress.seconds = earlier + time.monotonic() - began
        if keeper is not None:
            keeper.keep(network, optimizer, progress)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(progress.best.get(name, parameter))
    looks = progress.looks or [(progress.step, math.nan)]
    best_step, dev_score = looks[-1] if recipe.frozen else progress.best_look
    return Finetuned(
        predicted=_predicted(network, data, data.test),
        steps=progress.step,
        best_step=best_step,
        dev_score=dev_score,
        resumed_from=resumed_from,
        seconds=progress.seconds,
    )


def _backward(
    network: Network,
    readout: Readout,
    data: FinetuningData,
    rows: NDArray[np.intp],
    targets: Tensor,
    penalty: float,
) -> float:
    """Mean loss over some rows and the penalty; their gradients are added to the parameters'."""
    total = 0.0
    for part in np.array_split(rows, math.ceil(len(rows) / _ROWS_AT_ONCE)):
        wanted = targets[torch.from_numpy(part).to(targets.device)]
        share = _loss(data, network(part), wanted) * (len(part) / len(rows))
        share.backward()  # type: ignore[no-untyped-call]
        total += share.item()
    of_weights: Tensor = penalty * readout.penalty()
    of_weights.backward()  # type: ignore[no-untyped-call]
    return total + of_weights.item()


def _optimizer(network: Network, recipe: TrainingRecipe) -> torch.optim.Optimizer:
    """AdamW; what comes from the checkpoint has one rate, readout and summary have the other.

    The dense layer of ``pooler`` and that of ``pooler-fresh`` learn alike, at the rate of what is
    new and with one decay, so that the two heads differ in where their weights start and in
    nothing else.

    Where the encoder is held fixed what is left is a smooth problem on all rows, for L-BFGS.
    """
    from_checkpoint = list(network.states.parameters())
    new = list(network.readout.parameters())
    of_summary = list(network.summary.parameters())
    if recipe.frozen:
        (from_checkpoint if network.summary.head is Head.POOLER else new).extend(of_summary)
        for parameter in from_checkpoint:
            parameter.requires_grad_(False)  # noqa: FBT003
        if not any(parameter.requires_grad for parameter in network.summary.parameters()):
            network.keep_summaries()
        return torch.optim.LBFGS(
            new, max_iter=_ITERATIONS, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
        )
    matrices = [p for p in from_checkpoint if p.ndim > 1]
    vectors = [p for p in from_checkpoint if p.ndim <= 1]
    groups = [
        {"params": matrices, "lr": recipe.encoder_rate, "weight_decay": recipe.weight_decay},
        {"params": vectors, "lr": recipe.encoder_rate, "weight_decay": 0.0},
        {
            "params": [p for p in of_summary if p.ndim > 1],
            "lr": recipe.head_rate,
            "weight_decay": recipe.weight_decay,
        },
        {
            "params": [p for p in of_summary if p.ndim <= 1],
            "lr": recipe.head_rate,
            "weight_decay": 0.0,
        },
        {"params": new, "lr": recipe.head_rate, "weight_decay": 0.0},
    ]
    # a schedule that starts in the middle wants to know the peak
    groups = [{**group, "initial_lr": group["lr"]} for group in groups if group["params"]]
    return torch.optim.AdamW(groups, fused=True)


def _training_batches(
    data: FinetuningData,
    train: NDArray[np.intp],
    recipe: TrainingRecipe,
    seed: int,
    start: int,
    total: int,
) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Every (step, rows) from ``start`` on: epochs in a seeded order, rows of like length."""
    a_epoch = math.ceil(data.sides * len(train) / recipe.batch_size)
    for epoch in range(start // a_epoch, math.ceil(total / a_epoch)):
        order = _epoch(data.lengths, train, a_epoch, np.random.default_rng([seed, epoch]))
        for place, rows in enumerate(order):
            step = epoch * a_epoch + place
            if start <= step < total:
                yield step, rows


def _epoch(
    lengths: NDArray[np.int64], train: NDArray[np.intp], n_batches: int, rng: np.random.Generator
) -> Sequence[NDArray[np.intp]]:
    pools = np.array_split(rng.permutation(train), math.ceil(n_batches / _POOL_BATCHES))
    made: list[NDArray[np.intp]] = []
    left = n_batches
    for number, pool in enumerate(pools):
        share = math.ceil(left / (len(pools) - number))
        left -= share
        made += np.array_split(pool[np.argsort(lengths[pool], kind="stable")], share)
    return [made[i] for i in rng.permutation(len(made))]


def _stream(seed: int, step: int) -> int:
    """A seed for the dropout of one step."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])


def _targets(data: FinetuningData, train: NDArray[np.intp], device: torch.device) -> Tensor:
    """``(n,)`` classes, or scores of mean zero and variance one on the training rows."""
    if data.classes:
        return torch.from_numpy(data.gold.astype(np.int64)).to(device)
    scores = data.gold[train]
    spread = float(scores.std()) or 1.0
    return torch.from_numpy((data.gold - scores.mean()) / spread).float().to(device)


def _loss(data: FinetuningData, outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over the rows."""
    if not data.classes:
        return nn.functional.mse_loss(outputs[:, 0], targets)
    if data.n_outputs == 1:
        return nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], targets.float())
    return nn.functional.cross_entropy(outputs, targets)


def _predicted(
    network: Network, data: FinetuningData, rows: NDArray[np.intp]
) -> NDArray[np.float64]:
    """``(n_rows,)`` places in the classes, or scores up to a linear map."""
    outputs = network.outputs(rows)
    if not data.classes:
        return outputs[:, 0].astype(np.float64)
    if data.n_outputs == 1:
        return (outputs[:, 0] > 0).astype(np.float64)
    places: NDArray[np.float64] = outputs.argmax(1).astype(np.float64)
    return places
