"""A fine-tuning run: every head, training size and seed on every task; its result is a run folder.

While it runs, finished cells and the checkpoints of the one in training are kept in a folder
beside the run, ``NAME.unfinished``. Repeat the call to resume a killed run.
"""

import hashlib
import json
import logging
import math
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from probing.encoding.description import describe_encoder, describe_machine
from probing.encoding.encoder import Encoder, load_encoder
from probing.errors import InputError
from probing.finetuning.cell_training import Finetuned, finetune
from probing.finetuning.data import Material, load_material, tokenized_data
from probing.finetuning.frozen_limit import LinearLimit, linear_limit
from probing.finetuning.heads import DEFAULT_HEADS, Head, available_heads, check_heads
from probing.finetuning.network import stored_states, untouched_features
from probing.finetuning.recipes import TrainingRecipe
from probing.finetuning.saved_cells import CheckpointKeeper, load_cell, save_cell
from probing.finetuning.score_rows import (
    FINETUNED,
    FINETUNED_FROZEN,
    Trained,
    finetuning_scores,
    majority_rows,
    training_size,
)
from probing.reporting.finished import finished_run
from probing.reporting.run import Run
from probing.results.names import is_floor
from probing.results.run_folder import describe_versions, new_run_folder, write_run
from probing.results.scores import Score, score_table
from probing.tasks.registry import describe_task, load_task

logger = logging.getLogger(__name__)

UNFINISHED: Final = ".unfinished"
"""Added to the name of a run folder for what is kept until the run is complete."""


@dataclass(frozen=True, kw_only=True)
class FinetuningStudy:
    """What is trained. Two equal studies on equal data give equal scores, to rounding."""

    model: str
    tasks: tuple[str, ...]
    heads: tuple[Head, ...] = ()
    """Empty for those of `DEFAULT_HEADS` that the encoder has."""
    train_sizes: tuple[int | None, ...] = (100, 1000, None)
    """Training items; None for all that a task has."""
    seeds: tuple[int, ...] = (0, 1, 2)
    recipes: tuple[TrainingRecipe, ...] = (TrainingRecipe(),)
    """`TrainingRecipe` for full fine-tuning, `FROZEN` for the readout only, or both."""
    max_length: int = 64
    """Tokens a sentence; longer ones are cut, which is rare in the tasks at hand."""
    data_dir: str | None = None
    n_resamples: int = 1000

    def __post_init__(self) -> None:
        for name in ("tasks", "train_sizes", "seeds", "recipes"):
            values = getattr(self, name)
            if not values:
                raise InputError(f"fine-tuning needs at least one of its {name}")
        for values in (self.tasks, self.heads, self.train_sizes, self.seeds):
            repeated = next((value for value in values if values.count(value) > 1), None)
            if repeated is not None:
                raise InputError(f"{str(repeated)!r} is named twice: name it once")
        if min(self.seeds) < 0:
            raise InputError(f"seed {min(self.seeds)}: expected a whole number from 0 up")
        if any(size is not None and size < 2 for size in self.train_sizes):
            raise InputError("a training size must be at least 2, or all")

    def run(self, out: Path | str, *, again: bool = False) -> Run:
        """Train every cell and write the run folder, or read one that is finished already.

        Args:
            out: The run folder; it either is whole or is not there. Rerun to resume a killed run.
            again: Train even where the same run is finished.

        Raises:
            InputError: As `run_finetuning`.
        """
        wanted = asdict(self)
        if not self.heads:  # those that the encoder has
            del wanted["heads"]
        found = None
        if not again:
            found = finished_run(
                Path(out),
                wanted,
                lambda: [load_task(task, self.data_dir).origin for task in self.tasks],
            )
        return found or run_finetuning(self, Path(out))


@dataclass(frozen=True)
class CellReport:
    """One trained cell, as the caller is told of it."""

    task: str
    head: Head
    trained_on: str
    seed: int
    frozen: bool
    metric: str
    value: float
    epochs: float
    """How often training went through its items before it was stopped."""
    cell: Finetuned


def run_finetuning(
    study: FinetuningStudy,
    out: Path,
    *,
    command: Sequence[str] = (),
    checkpoint_seconds: float = 60.0,
    watch: Callable[[CellReport], None] = lambda _: None,
) -> Run:
    """Train every cell and write the run folder; resume where an earlier call was killed.

    Args:
        study: What is trained.
        out: The run folder; it either is whole or is not there.
        command: Command line, for the manifest.
        checkpoint_seconds: Between two checkpoints of the cell in training.
        watch: Called with every cell as it ends.

    Raises:
        InputError: A model, task or head is unknown or does not fit, a loss is no longer a number,
            or ``out`` cannot be written.
    """
    started, cpu = datetime.now(UTC), time.process_time()
    with new_run_folder(out) as folder:
        materials = [load_material(task, study.data_dir) for task in study.tasks]
        encoder = load_encoder(study.model)
        encoder = replace(encoder, max_length=min(study.max_length, encoder.max_length))
        check_heads(encoder, study.heads)
        heads = study.heads or _default_heads(encoder)
        unfinished = out.with_name(out.name + UNFINISHED)
        rows: list[Score] = []
        cells: list[dict[str, Any]] = []
        truncated: dict[str, int] = {}
        for material in materials:
            trainer = _Trainer(study, encoder, material, unfinished, checkpoint_seconds)
            truncated[material.task.name] = int(trainer.data.tokenized.truncated.sum())
            for report in trainer.cells(heads):
                watch(report)
                cells.append(_describe_cell(report))
            rows += trainer.rows()
            rows += majority_rows(trainer.data, seed=study.seeds[0])
        rows = [
            row
            if is_floor(row.model)
            else replace(row, model=encoder.name, revision=encoder.revision)
            for row in rows
        ]
        settings = asdict(study) | {
            "seed": study.seeds[0],
            "dtype": "float32",
            "heads": [str(head) for head in heads],
        }
        manifest = {
            "study": settings,
            "command": shlex.join(command),
            "started": started.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
            "cpu_seconds": round(time.process_time() - cpu, 1),
            "encoders": [describe_encoder(encoder, truncated)],
            "tasks": [
                describe_task(material.task) | {"remark": _remark(material)}
                for material in materials
            ],
            "cells": cells,
            "versions": describe_versions(),
            "machine": describe_machine(),
        }
        scores = score_table(rows)
        write_run(folder, scores, manifest)
    shutil.rmtree(unfinished, ignore_errors=True)
    return Run(folder=out, scores=scores, manifest=manifest)


class _Trainer:
    """All cells of one task."""

    def __init__(
        self,
        study: FinetuningStudy,
        encoder: Encoder,
        material: Material,
        unfinished: Path,
        checkpoint_seconds: float,
    ) -> None:
        self.study, self.encoder, self.unfinished = study, encoder, unfinished
        self.checkpoint_seconds = checkpoint_seconds
        self.data = tokenized_data(encoder, material)
        self.digest = _digest(encoder, material)
        self.stored: Tensor | None = None
        self.limits: dict[tuple[Any, ...], LinearLimit] = {}
        self.trained: dict[str, list[Trained]] = {}

    def cells(self, heads: Sequence[Head]) -> Iterator[CellReport]:
        """Train or resume every cell in turn."""
        for size in self._sizes():
            trained_on = training_size(size)
            self._warn_of_cuts(trained_on, len(self.data.train) if size is None else size)
            for seed in self.study.seeds:
                chosen = np.random.default_rng(seed).permutation(self.data.train)[:size]
                train = np.sort(chosen)
                for head in heads:
                    limit = self._limit(head, train, seed)
                    if any(recipe.frozen for recipe in self.study.recipes):
                        one = Trained(head, trained_on, seed, limit.predicted)
                        self.trained.setdefault(limit.probe, []).append(one)
                    for recipe in self.study.recipes:
                        yield self._cell(head, trained_on, seed, train, limit, recipe)

    def rows(self) -> list[Score]:
        """The score rows of all cells; of the linear probes only those of single cells."""
        rows: list[Score] = []
        for probe, trained in self.trained.items():
            found = finetuning_scores(
                trained,
                self.data,
                probe=probe,
                layer=self.encoder.num_layers,
                seed=self.study.seeds[0],
                n_resamples=self.study.n_resamples,
            )
            is_limit = probe not in (FINETUNED, FINETUNED_FROZEN)
            rows += [row for row in found if not is_limit or row.aggregation == "none"]
        return rows

    def _sizes(self) -> tuple[int | None, ...]:
        """From few to all; a size that the task does not have is left out."""
        n = len(self.data.train)
        sizes = sorted(self.study.train_sizes, key=lambda size: math.inf if size is None else size)
        kept = tuple(size for size in sizes if size is None or size < n)
        for size in sizes:
            if size not in kept:
                logger.warning(
                    "%s has %d training items: no training on %d", self.data.task, n, size
                )
        if not kept:
            raise InputError(
                f"{self.data.task} has {n} training items: expected a smaller --train-size, or all"
            )
        return kept

    def _warn_of_cuts(self, trained_on: str, n_train: int) -> None:
        """Say where a bound on the steps leaves out what the epochs would go through."""
        sentences = self.data.sides * n_train
        for recipe in self.study.recipes:
            epochs = recipe.steps(sentences) / recipe.steps_an_epoch(sentences)
            if epochs < recipe.epochs:
                logger.warning(
                    "%s, %s: training ends after %d steps, which are %.2g of %g epochs",
                    self.data.task,
                    trained_on,
                    recipe.steps(sentences),
                    epochs,
                    recipe.epochs,
                )

    def _cell(
        self,
        head: Head,
        trained_on: str,
        seed: int,
        train: NDArray[np.intp],
        limit: LinearLimit,
        recipe: TrainingRecipe,
    ) -> CellReport:
        probe = FINETUNED_FROZEN if recipe.frozen else FINETUNED
        name = "-".join([self.data.task.replace(":", "-"), str(head), trained_on, f"seed{seed}"])
        name += "-frozen" * recipe.frozen
        settings = [self.digest, head, trained_on, seed, len(train), limit.penalty, asdict(recipe)]
        digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
        path = self.unfinished / f"{name}.safetensors"
        keeper = CheckpointKeeper(
            self.unfinished / name, digest, every_seconds=self.checkpoint_seconds
        )
        cell = load_cell(path, digest)
        if cell is None:
            cell = finetune(
                self.encoder,
                self.data,
                self._states(),
                head=head,
                train=train,
                penalty=limit.penalty,
                recipe=recipe,
                seed=seed,
                keeper=keeper,
            )
            save_cell(path, cell, digest)
        keeper.forget()
        one = Trained(head, trained_on, seed, cell.predicted, cell.resumed_from)
        self.trained.setdefault(probe, []).append(one)
        return CellReport(
            task=self.data.task,
            head=head,
            trained_on=trained_on,
            seed=seed,
            frozen=recipe.frozen,
            metric=self.data.metric,
            value=self.data.score(self.data.test, cell.predicted),
            epochs=cell.steps / recipe.steps_an_epoch(self.data.sides * len(train)),
            cell=cell,
        )

    def _states(self) -> Tensor:
        if self.stored is None:
            self.stored = stored_states(self.encoder, self.data)
        return self.stored

    def _limit(self, head: Head, train: NDArray[np.intp], seed: int) -> LinearLimit:
        """The linear probe; of all rows and a head without chance in it one serves every seed."""
        drawn = seed if head is Head.POOLER_FRESH else None
        key = (head, drawn, train.tobytes())
        if key not in self.limits:
            rows = np.concatenate([train, self.data.dev, self.data.test])
            features = untouched_features(
                self.encoder, self.data, self._states(), rows, head=head, seed=seed
            )
            self.limits[key] = linear_limit(features, self.data, train=train, rows=rows, seed=seed)
        return self.limits[key]


def _default_heads(encoder: Encoder) -> tuple[Head, ...]:
    there = available_heads(encoder)
    for head in DEFAULT_HEADS:
        if head not in there:
            logger.warning("%s has no pooler: the head %s is left out", encoder.name, head)
    return tuple(head for head in DEFAULT_HEADS if head in there)


def _digest(encoder: Encoder, material: Material) -> str:
    """SHA-256 of what all cells of a task share."""
    parts = [encoder.weight_hash, encoder.tokenizer_hash, encoder.max_length, material.task.name]
    parts += [material.task.origin, len(material.train), len(material.dev), len(material.test)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _remark(material: Material) -> str:
    return "; ".join(text for text in (material.task.remark, material.remark) if text)


def _describe_cell(report: CellReport) -> dict[str, Any]:
    cell = report.cell
    return {
        "task": report.task,
        "head": str(report.head),
        "trained_on": report.trained_on,
        "seed": report.seed,
        "frozen": report.frozen,
        report.metric: report.value,
        "steps": cell.steps,
        "epochs": round(report.epochs, 2),
        "best_step": cell.best_step,
        "dev": cell.dev_score,
        "seconds": round(cell.seconds, 1),
        "resumed_from_step": cell.resumed_from,
    }
