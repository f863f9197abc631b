"""Checkpoints that are complete or not there: safetensors, JSON and Parquet in one folder each."""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from probing.errors import InputError

logger = logging.getLogger(__name__)

KEPT: Final = 2
"""Checkpoints kept; the older one serves where the newer turns out unreadable."""


@dataclass(frozen=True)
class TrainingCheckpoint:
    """A run after `step` steps.

    Attributes:
        step: updates done; data order, masks and dropout are functions of it, so it is the whole
            state of chance.
        tokens: tokens seen, padding left out.
        seconds: time spent in training, over all starts.
        weights: by parameter name.
        moments: AdamW's, ``exp_avg.NAME``, ``exp_avg_sq.NAME`` and ``step.NAME`` for every
            parameter that has had a gradient.
        log: one row a step.
    """

    step: int
    tokens: int
    seconds: float
    weights: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    log: pd.DataFrame

    def __post_init__(self) -> None:
        if len(self.log) != self.step:
            raise ValueError(f"{len(self.log)} rows of log for {self.step} steps")


def optimizer_moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's state by parameter name; parameters that never had a gradient have none."""
    return {
        f"{key}.{name}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore(
    checkpoint: TrainingCheckpoint, model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Put weights and moments of a checkpoint in place."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(checkpoint.weights[name])
            state = {
                key: checkpoint.moments[f"{key}.{name}"].clone()
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"{key}.{name}" in checkpoint.moments
            }
            if state:
                moved = {key: value.to(parameter.device) for key, value in state.items()}
                optimizer.state[parameter] = moved


def save_checkpoint(folder: Path, checkpoint: TrainingCheckpoint, config_digest: str) -> None:
    """Write ``step-NNNNNNNN`` under a temporary name, sync it, rename it, drop the oldest."""
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".writing-*"):
        shutil.rmtree(leftover)
    target = folder / f"step-{checkpoint.step:08d}"
    if target.exists():
        return
    writing = folder / f".writing-{target.name}"
    writing.mkdir()
    save_file(_on_cpu(checkpoint.weights), writing / "weights.safetensors")
    save_file(_on_cpu(checkpoint.moments), writing / "moments.safetensors")
    checkpoint.log.to_parquet(writing / "log.parquet", index=False)
    state = {
        "step": checkpoint.step,
        "tokens": checkpoint.tokens,
        "seconds": checkpoint.seconds,
        "config": config_digest,
    }
    (writing / "state.json").write_text(json.dumps(state), encoding="utf-8")
    for path in [*writing.iterdir(), writing]:
        _sync(path)
    writing.rename(target)
    _sync(folder)
    for old in sorted(folder.glob("step-*"))[:-KEPT]:
        shutil.rmtree(old)


def load_checkpoint(folder: Path, config_digest: str) -> TrainingCheckpoint | None:
    """The newest readable checkpoint, or None where there is none.

    Raises:
        InputError: it is of another configuration or corpus.
    """
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            state = json.loads((path / "state.json").read_text(encoding="utf-8"))
            if state["config"] != config_digest:
                raise InputError(
                    f"{path} is of another configuration or corpus: give another --out, or the "
                    "options this folder was started with"
                )
            return TrainingCheckpoint(
                step=state["step"],
                tokens=state["tokens"],
                seconds=state["seconds"],
                weights=load_file(path / "weights.safetensors"),
                moments=load_file(path / "moments.safetensors"),
                log=pd.read_parquet(path / "log.parquet"),
            )
        except InputError:
            raise
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            # ValueError: JSON, Parquet (ArrowInvalid) or a log that misses steps.
            logger.warning("%s is not readable (%s): trying the one before", path, error)
    return None


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
