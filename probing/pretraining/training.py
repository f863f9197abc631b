"""A run from its first step to its last: checkpoints, snapshots, a log, the finished folder.

Rerun the same call to resume a killed run: data order, masks and dropout are functions of
(seed, step), so it gives the same weights as one that was not interrupted.
"""

import json
import logging
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pandas as pd

from probing.encoding.loading import quiet
from probing.errors import InputError
from probing.pretraining.checkpoints import (
    TrainingCheckpoint,
    load_checkpoint,
    optimizer_moments,
    restore,
    save_checkpoint,
)
from probing.pretraining.config import PretrainingConfig
from probing.pretraining.corpus import tokenize_corpus
from probing.pretraining.hub_corpus import corpus_folder
from probing.pretraining.processes import joined_processes
from probing.pretraining.progress import ProgressReport, training_progress
from probing.pretraining.start import Start, find_start
from probing.pretraining.trainer import Evaluation, Schedule, Trainer, learning_rate
from probing.results.writing import write_text, written_aside

logger = logging.getLogger(__name__)

LOG_COLUMNS: Final = (
    "step",
    "tokens",
    "mlm_loss",
    "sentence_loss",
    "sentence_accuracy",
    "learning_rate",
    "held_out_mlm_loss",
    "held_out_sentence_accuracy",
    "seconds",
)
"""Of the training log, one row a step: losses in nats, accuracies in [0, 1]; the held-out columns
are NaN but for the steps of an evaluation, the sentence columns for the objective ``mlm``."""
_HELD_OUT_LOSS: Final = LOG_COLUMNS.index("held_out_mlm_loss")

Look = Callable[[Trainer, int], None]
"""What is done with a run at a snapshot, whose tokens are given. It must be repeatable: after an
interruption the looks since the last checkpoint are taken again."""


def pretrain(
    config: PretrainingConfig,
    corpus: str | Path,
    out: Path,
    schedule: Schedule | None = None,
    *,
    start: str | Path | None = None,
    revision: str | None = None,
    look: Look | None = None,
) -> Evaluation:
    """Train one BERT on a folder of text; rerun the same call to resume after an interruption.

    Writes to `out`: ``checkpoints/``, ``training_log.parquet`` (a row a step, `LOG_COLUMNS`),
    ``snapshots/TOKENS/`` where asked for and, at the end, the network and tokenizer by
    `save_pretrained` and ``pretraining.json`` (the configuration and the final evaluation). A
    finished folder is not trained again.

    Args:
        config: all that decides the weights, but for the start.
        corpus: folder of ``NAME.txt`` or ``NAME.txt.xz``, one sentence a line, a blank line
            between documents; or a data set of the Hub (`probing.pretraining.hub_corpus`).
        out: folder of the run.
        schedule: how to carry it out.
        start: alias, Hub id or folder of a BERT to continue, with its own tokenizer; None starts
            from nothing.
        revision: of a Hub id.
        look: called at each snapshot of the schedule in place of saving the encoder.

    Returns:
        The evaluation on held-out documents at the end.

    Raises:
        InputError: no corpus, too little of it, no such start, a loss that is no longer a number,
            or `out` belongs to another configuration.
    """
    schedule = schedule or Schedule()
    continued = None if start is None else find_start(start, revision)
    tokenizer = None if continued is None else continued.tokenizer
    with joined_processes(schedule.device) as processes:
        cache = schedule.cache or out.parent / "corpus-cache"
        if processes.rank == 0:
            tokenize_corpus(corpus_folder(corpus, cache), cache, config, tokenizer)
        processes.wait()
        tokenized = tokenize_corpus(corpus_folder(corpus, cache), cache, config, tokenizer)
        origin = "nothing" if continued is None else continued.weight_hash[:16]
        digest = f"{config.digest()}-{tokenized.digest}-{origin}"
        finished = out / "pretraining.json"
        if finished.is_file():
            found = json.loads(finished.read_text(encoding="utf-8"))
            if found["digest"] != digest:
                raise InputError(f"{out} holds another finished run: give another --out")
            return Evaluation(**found["evaluation"])
        trainer = Trainer(config, schedule, tokenized, processes, continued)
        return _run(trainer, out, digest, continued, look or _save_snapshot(out))


def _save_snapshot(out: Path) -> Look:
    def save(trainer: Trainer, tokens: int) -> None:
        target = out / "snapshots" / f"{tokens:012d}"
        writing = target.with_name(f".writing-{target.name}")
        shutil.rmtree(writing, ignore_errors=True)
        _save_encoder(trainer, writing)
        shutil.rmtree(target, ignore_errors=True)
        writing.rename(target)

    return save


def _save_encoder(trainer: Trainer, folder: Path) -> None:
    with quiet():
        trainer.model.save_pretrained(folder)
    trainer.tokenizer.save_pretrained(folder)


def _run(
    trainer: Trainer, out: Path, digest: str, continued: Start | None, look: Look
) -> Evaluation:
    config, schedule, processes = trainer.config, trainer.schedule, trainer.processes
    checkpoints = out / "checkpoints"
    due = snapshot_steps(config, schedule.snapshots)
    stops = () if schedule.stop_after is None else (schedule.stop_after,)
    stop = next(iter(snapshot_steps(config, stops)), config.steps)
    rows: list[tuple[float, ...]] = []
    begin, earlier = 0, 0.0
    checkpoint = load_checkpoint(checkpoints, digest)
    if checkpoint is not None:
        restore(checkpoint, trainer.model, trainer.optimizer)
        begin, trainer.tokens, earlier = checkpoint.step, checkpoint.tokens, checkpoint.seconds
        rows = list(checkpoint.log.itertuples(index=False, name=None))
        logger.info("resumed after step %d", begin)
    processes.wait()
    began = saved = time.monotonic()

    def save(step: int) -> None:
        frame = pd.DataFrame(rows, columns=list(LOG_COLUMNS)).astype({"step": int, "tokens": int})
        state = TrainingCheckpoint(
            step=step,
            tokens=trainer.tokens,
            seconds=earlier + time.monotonic() - began,
            weights=dict(trainer.model.named_parameters()),
            moments=optimizer_moments(trainer.model, trainer.optimizer),
            log=frame,
        )
        save_checkpoint(checkpoints, state, digest)
        with written_aside(out / "training_log.parquet") as temporary:
            frame.to_parquet(temporary, index=False)

    if begin == 0 and 0 in due and processes.rank == 0:
        look(trainer, 0)
    with training_progress(config.steps, visible=processes.rank == 0) as progress:
        held_out_accuracy = math.nan
        for step, batch in trainer.training_batches(begin):
            if step >= stop:
                break
            if rows and rows[-1][_HELD_OUT_LOSS] <= config.until_loss:
                logger.info("held-out loss %.3f: done", rows[-1][_HELD_OUT_LOSS])
                break
            mlm, sentence, accuracy = trainer.train_step(step, batch)
            held_out_mlm = held_out_sentence = math.nan
            if (step + 1) % schedule.evaluate_every == 0 or step + 1 == config.steps:
                seen = trainer.evaluate(min(schedule.held_out_pairs, len(trainer.held_out_pairs)))
                held_out_mlm, held_out_sentence = seen.mlm_loss, seen.sentence_accuracy
                held_out_accuracy = held_out_sentence
            seconds = earlier + time.monotonic() - began
            rate = learning_rate(config, step)
            learnt = (step + 1, trainer.tokens, mlm, sentence, accuracy, rate)
            rows.append((*learnt, held_out_mlm, held_out_sentence, seconds))
            progress(ProgressReport(step + 1, trainer.tokens, mlm, held_out_accuracy, seconds))
            if step + 1 in due and processes.rank == 0:
                look(trainer, due[step + 1])
            if processes.rank == 0 and time.monotonic() - saved > schedule.checkpoint_seconds:
                save(step + 1)
                saved = time.monotonic()
    evaluation = trainer.evaluate(len(trainer.held_out_pairs))
    if processes.rank == 0:
        save(len(rows))
        # Short of a stop on the way only a low loss ends a run.
        if len(rows) < stop or stop == config.steps:
            _finish(trainer, out, digest, continued, evaluation)
    processes.wait()
    return evaluation


def _finish(
    trainer: Trainer, out: Path, digest: str, continued: Start | None, evaluation: Evaluation
) -> None:
    _save_encoder(trainer, out)
    start = None
    if continued is not None:
        start = {
            "name": continued.name,
            "revision": continued.revision,
            "weight_hash": continued.weight_hash,
        }
    result = {
        "digest": digest,
        "config": trainer.config.as_dict(),
        "start": start,
        "corpus": trainer.corpus.digest,
        "sources": list(trainer.corpus.sources),
        "tokens": trainer.tokens,
        "bfloat16": trainer.bfloat16,
        "evaluation": vars(evaluation),
    }
    write_text(out / "pretraining.json", json.dumps(result, indent=1))


def snapshot_steps(config: PretrainingConfig, tokens: tuple[int, ...]) -> dict[int, int]:
    """Updates after which a snapshot is due → its tokens.

    Raises:
        InputError: a snapshot lies beyond the end of the run.
    """
    size = config.batch_size * config.length
    for wanted in tokens:
        if not 0 <= round(wanted / size) <= config.steps:
            raise InputError(
                f"snapshot at {wanted:,} tokens: expected 0 to {config.steps * size:,}, the end "
                "of the run"
            )
    return {round(wanted / size): wanted for wanted in tokens}
