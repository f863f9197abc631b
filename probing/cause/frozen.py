"""The body frozen, the pooler trained (E1): what the objective itself does to ``W``.

The ``[CLS]`` vectors of pairs of segments are made once. On them a pooler (``tanh(W x + b)``) and a
two-way head are trained, for all seeds of an arm at once; nothing below them moves. A seed is the
pooler that training starts with and the order of the pairs, the same in every arm.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from filelock import FileLock, Timeout
from safetensors.numpy import save
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from probing.cause.frozen_vectors import (
    BATCH,
    LENGTH,
    Frozen,
    FrozenArm,
    FrozenPlan,
    FrozenVectors,
    Material,
)
from probing.cause.suite import Suite, load_suite, suite_cosines, suite_scores
from probing.errors import InputError
from probing.pretraining.start import find_start
from probing.progress import Advance, progress, unseen
from probing.results.writing import write_bytes, write_text

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]

LEARNING_RATE: Final = 1e-3
SCALE: Final = 20.0
"""By which a cosine is multiplied in the semantic control, as in sentence-transformers."""
_INITIAL_SPREAD: Final = 0.02
"""Standard deviation of BERT's initial weights."""
_DRAWS: Final = {"W": 31, "order": 32}
_MEASURED: Final = ("seed", "steps", "task", "view", "metric", "value", "n")


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


def run_frozen(work: Frozen) -> bool:
    """Train every arm that no other process is training; rerun to resume.

    Each arm leaves ``ARM.parquet`` (a row a seed, look, task and view; see `read_frozen_rows`) and
    ``ARM.safetensors`` (poolers of the last look, cosines of all).

    Returns:
        Whether all arms are finished.

    Raises:
        InputError: The folder holds vectors and arms of another encoder, plan or corpus.
    """
    work.out.mkdir(parents=True, exist_ok=True)
    start = find_start(work.encoder)
    suite = load_suite(start.tokenizer, work.data_dir, work.plan.tasks)
    with FileLock(work.out / "encoding.lock"):
        encoding = FrozenVectors(work, suite)
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
    advance: Advance = unseen,
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
        advance: Told of every step.
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
        advance()
    return kept


def _check_same(work: Frozen, corpus: str) -> None:
    """Refuse a folder of another encoder, plan or corpus: its vectors would be taken for these.

    Arms may be added to a folder: they share its vectors and touch nothing that is finished.
    """
    plan = asdict(work.plan)
    del plan["arms"]
    made_of = {
        "encoder": work.encoder,
        "plan": plan,
        "source_weights": dict(work.source_weights),
        "corpus": corpus,
        "length": LENGTH,
    }
    text = json.dumps(made_of, sort_keys=True, default=list)
    path = work.out / "made-of.json"
    if not path.is_file():
        write_text(path, text)
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    found["plan"].pop("arms", None)
    if found != json.loads(text):
        raise InputError(
            f"{work.out} holds the experiment on another encoder, corpus or size: give another "
            "--out"
        )


def _train_arm(work: Frozen, arm: FrozenArm, encoding: FrozenVectors, suite: Suite) -> None:
    logger.info("%s: encoding", arm)
    material = encoding.material(arm)
    sentences = encoding.sentences()
    logger.info("%s: training %d seeds", arm, work.plan.seeds)
    start = Poolers.drawn(work.plan.seeds, sentences.cls.shape[1])
    with progress(f"training {arm}", work.plan.looks[-1]) as advance:
        kept = train_poolers(start, material, work.plan.looks, advance=advance)
    rows: list[tuple[object, ...]] = []
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
                (seed, steps, task, view, "spearman", value, len(suite.gold[task]))
                for name, value in suite_scores(suite, similarities).items()
                for task, view in [name.split("/")]
            ]
            kept_at = "" if steps == work.plan.looks[-1] else f"@{steps}"
            last |= {
                f"cosines{kept_at}/{seed}/{name}": found
                for name, found in similarities.items()
                if name.endswith("/pooler")
            }
        if len(held_out):
            inputs = held_out.expand(work.plan.seeds, *held_out.shape)
            right = (poolers.logits(inputs).argmax(2) == held_out_labels).float().mean(1)
            rows += [
                (seed, steps, "held-out", "", "sentence_accuracy", accuracy, len(held_out_labels))
                for seed, accuracy in enumerate(right.tolist())
            ]
    if arm is not FrozenArm.SEMANTIC:
        overlap = material.overlap_accuracy
        rows.append((0, 0, "held-out", "", "overlap_accuracy", overlap, len(held_out_labels)))
    last |= {"weight": kept[-1].weight.numpy(), "bias": kept[-1].bias.numpy()}
    last |= {"head": kept[-1].head.numpy(), "head_bias": kept[-1].head_bias.numpy()}
    write_bytes(work.out / f"{arm}.safetensors", save(last))
    frame = pd.DataFrame(rows, columns=list(_MEASURED))
    frame.insert(0, "arm", str(arm))
    write_bytes(work.out / f"{arm}.parquet", frame.to_parquet(index=False))
