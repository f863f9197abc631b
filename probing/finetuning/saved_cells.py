"""What is kept of a fine-tuning run that has not ended: finished cells, and one in training."""

import json
import logging
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from probing.finetuning.cell_training import LOG_COLUMNS, Finetuned, Progress
from probing.pretraining.checkpoints import (
    TrainingCheckpoint,
    load_checkpoint,
    optimizer_moments,
    restore,
    save_checkpoint,
)
from probing.results.writing import write_bytes

logger = logging.getLogger(__name__)

_BEST = "best."
"""Before the names of the weights at the best look at dev."""


class CheckpointKeeper:
    """Keeps one cell in ``FOLDER/step-NNNNNNNN``, every so many seconds."""

    def __init__(self, folder: Path, digest: str, *, every_seconds: float) -> None:
        """``digest`` is of all that decides the weights; another one is never loaded."""
        self._folder, self._digest, self._every = folder, digest, every_seconds
        self._saved = time.monotonic()

    def load(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress | None:
        """Put the newest readable checkpoint in place; None where there is none."""
        found = load_checkpoint(self._folder, self._digest)
        if found is None:
            return None
        restore(found, network, optimizer)
        best = {k.removeprefix(_BEST): w for k, w in found.weights.items() if k.startswith(_BEST)}
        device = next(network.parameters()).device
        logger.info("%s is resumed after step %d", self._folder.name, found.step)
        return Progress(
            log=list(found.log.itertuples(index=False, name=None)),
            best={name: weight.to(device) for name, weight in best.items()},
            tokens=found.tokens,
            seconds=found.seconds,
        )

    def keep(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress
    ) -> None:
        """Write a checkpoint where the last one is old enough."""
        if time.monotonic() - self._saved < self._every:
            return
        weights = dict(network.named_parameters())
        best = {f"{_BEST}{name}": weight for name, weight in progress.best.items()}
        state = TrainingCheckpoint(
            step=progress.step,
            tokens=progress.tokens,
            seconds=progress.seconds,
            weights={**weights, **best},
            moments=optimizer_moments(network, optimizer),
            log=pd.DataFrame(progress.log, columns=list(LOG_COLUMNS)),
        )
        save_checkpoint(self._folder, state, self._digest)
        self._saved = time.monotonic()

    def forget(self) -> None:
        """Drop the checkpoints of a cell that has ended."""
        shutil.rmtree(self._folder, ignore_errors=True)


def save_cell(path: Path, cell: Finetuned, digest: str) -> None:
    """Write a finished cell: predictions in safetensors, the rest in its header; whole or not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {name: value for name, value in asdict(cell).items() if name != "predicted"}
    metadata = {"digest": digest, "facts": json.dumps(facts)}
    write_bytes(path, save({"predicted": torch.from_numpy(cell.predicted)}, metadata=metadata))


def load_cell(path: Path, digest: str) -> Finetuned | None:
    """A finished cell; None where it is not there, not readable or of other settings."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
            if header["digest"] != digest:
                return None
            predicted = file.get_tensor("predicted").numpy().astype(np.float64)
        facts: dict[str, Any] = json.loads(header["facts"])
        return Finetuned(predicted=predicted, **facts)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s is not readable (%s): trained again", path.name, error)
        return None
