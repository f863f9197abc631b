"""The whole encoder continued (E2): one checkpoint, branches that differ in one thing.

MLM without a sentence loss goes on from an encoder until its held-out loss is low enough. From
that one checkpoint each branch goes its way. Within a seed all branches share the pairs of
segments, the masks, their order and the pooler they start with; they differ in the sentence loss.

A cell is one branch with one seed, in a folder of its own. All cells are brought to one look before
any goes on to the next, so that at every moment the arms can be compared at some dose. Start the
same command in as many processes as there are cores: each takes the next cell that nobody works on,
and a killed one is resumed at its last checkpoint.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from filelock import FileLock, Timeout
from safetensors.numpy import load_file, save

from probing.cause.suite import (
    LastLayer,
    Suite,
    last_layer,
    load_suite,
    suite_cosines,
    suite_scores,
)
from probing.pretraining.config import Decay, Freeze, Objective, Pooler, PretrainingConfig
from probing.pretraining.start import find_start, initial_model
from probing.pretraining.trainer import Schedule, Trainer, native_bfloat16
from probing.pretraining.training import pretrain
from probing.results.writing import write_bytes, write_text, written_aside

logger = logging.getLogger(__name__)

BATCH: Final = 32
HEAD_LEARNING_RATE: Final = 1e-3
"""Of the MLM head while the body is frozen."""
HELD_OUT_SENTENCES: Final = 4096
"""Of the held-out documents, on which whitening and a ridge readout are fitted."""
SHORTEST: Final = 5
"""Tokens of such a sentence at least."""
LONGEST: Final = 46
"""Tokens of such a sentence at most, special ones not counted."""
ROW_COLUMNS: Final = ("arm", "seed", "tokens", "task", "view", "metric", "value", "n")
LAST_LAYER: Final = "last-layer.safetensors"
HELD_OUT: Final = "held-out.safetensors"
_CHECKPOINT_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Arm:
    """What a branch is trained on."""

    name: str
    objective: Objective
    weight: float = 1.0


MLM: Final = Arm("mlm", Objective.MLM)
NSP: Final = Arm("mlm+nsp", Objective.MLM_NSP)
SHUFFLED: Final = Arm("mlm+shuffled", Objective.MLM_SHUFFLED)
SOP: Final = Arm("mlm+sop", Objective.MLM_SOP)
NSP_TENTH: Final = Arm("mlm+nsp*0.1", Objective.MLM_NSP, 0.1)
NSP_THIRD: Final = Arm("mlm+nsp*0.3", Objective.MLM_NSP, 0.3)


@dataclass(frozen=True)
class Cell:
    """One branch with one seed."""

    arm: Arm
    seed: int

    @property
    def folder(self) -> str:
        """Its name."""
        return f"{self.arm.name}-seed{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is done: doses in tokens, padding counted; seeds 0, 1, … of each arm."""

    head_tokens: int
    """First of all the MLM head learns on a frozen body: the gradient of a head that is only drawn
    would spoil what the body knows."""
    shared_tokens: int
    until_loss: float
    looks: tuple[int, ...]
    """The last is the length of a branch."""
    seeds: Mapping[str, int]
    learning_rate: float = 1e-4
    length: int = 64
    """Tokens a sequence."""
    held_out_pairs: int = 1024
    tasks: tuple[str, ...] = ("sts12", "sts13", "sts14", "sts15", "sts16", "sickr", "stsb")

    def cells(self) -> list[Cell]:
        """In the order of their weight as evidence: pairs of the main arms, controls, weights."""
        return [
            *_rounds(self.seeds, (MLM, NSP)),
            *_rounds(self.seeds, (SHUFFLED, SOP)),
            *_rounds(self.seeds, (NSP_THIRD, NSP_TENTH)),
        ]


def _rounds(seeds: Mapping[str, int], arms: tuple[Arm, ...]) -> list[Cell]:
    most = max(seeds.get(arm.name, 0) for arm in arms)
    return [
        Cell(arm, seed) for seed in range(most) for arm in arms if seed < seeds.get(arm.name, 0)
    ]


_STEP: Final = 32 * BATCH
"""Tokens of a step of the smallest plan."""

PLANS: Final[Mapping[str, Plan]] = {
    "smoke": Plan(
        head_tokens=2 * _STEP,
        shared_tokens=4 * _STEP,
        until_loss=0.0,
        looks=(0, 2 * _STEP, 4 * _STEP),
        seeds={MLM.name: 2, NSP.name: 2, SHUFFLED.name: 1},
        length=32,
        held_out_pairs=32,
        tasks=("sts-mini",),
    ),
    "pilot": Plan(
        head_tokens=200_000,
        shared_tokens=400_000,
        until_loss=3.5,
        looks=(0, 200_000, 400_000),
        seeds={MLM.name: 2, NSP.name: 2, SHUFFLED.name: 1},
        held_out_pairs=512,
    ),
    "full": Plan(
        head_tokens=500_000,
        shared_tokens=2_500_000,
        until_loss=3.5,
        looks=(0, 250_000, 500_000, 1_000_000, 2_000_000),
        seeds={
            MLM.name: 8,
            NSP.name: 8,
            SHUFFLED.name: 4,
            SOP.name: 4,
            NSP_THIRD.name: 3,
            NSP_TENTH.name: 3,
        },
    ),
}


@dataclass(frozen=True)
class Continuation:
    """What all cells share: the encoder, the texts and where it is all kept."""

    encoder: str
    corpus: Path
    out: Path
    plan: Plan
    data_dir: Path | None = None
    source_weights: tuple[tuple[str, float], ...] = ()
    texts: Path | None = None
    """Where the tokenised corpus is kept; in `out` where None."""

    @property
    def cache(self) -> Path:
        """Where the tokenised corpus is kept."""
        return self.texts or self.out / "corpus-cache"

    def config(self, tokens: int, **choices: object) -> PretrainingConfig:
        """Of one training run."""
        common = {
            "length": self.plan.length,
            "batch_size": BATCH,
            "steps": round(tokens / (self.plan.length * BATCH)),
            "learning_rate": self.plan.learning_rate,
            "source_weights": self.source_weights,
        }
        return PretrainingConfig(**(common | choices))  # type: ignore[arg-type]

    def schedule(
        self, *, evaluate_every: int, snapshots: tuple[int, ...], stop_after: int | None = None
    ) -> Schedule:
        """Of one training run."""
        return Schedule(
            checkpoint_seconds=_CHECKPOINT_SECONDS,
            evaluate_every=evaluate_every,
            held_out_pairs=self.plan.held_out_pairs,
            final_held_out_pairs=self.plan.held_out_pairs,
            snapshots=snapshots,
            stop_after=stop_after,
            cache=self.cache,
        )


def run_continuation(work: Continuation) -> bool:
    """Do every cell that no other process is doing; rerun to resume.

    Returns:
        Whether all cells are finished.

    Raises:
        InputError: as `pretrain`, or a task cannot be read.
    """
    work.out.mkdir(parents=True, exist_ok=True)
    suite = load_suite(find_start(work.encoder).tokenizer, work.data_dir, work.plan.tasks)
    with FileLock(work.out / "shared.lock"):
        _shared_phase(work, suite)
    cells = work.plan.cells()
    for tokens in work.plan.looks[1:]:
        for cell in cells:
            folder = work.out / cell.folder
            if (folder / "cell.json").is_file() or _look_file(folder, tokens).is_file():
                continue
            folder.mkdir(exist_ok=True)
            try:
                with FileLock(folder / "cell.lock", timeout=0):
                    _branch(work, cell, suite, tokens)
            except Timeout:
                logger.info("%s is being done by another process", cell.folder)
    return all((work.out / cell.folder / "cell.json").is_file() for cell in cells)


def read_rows(out: Path, plan: Plan) -> pd.DataFrame:
    """Every look that was taken so far, of finished cells and of others.

    Returns:
        ``arm, seed, tokens, task, view, metric, value, n``. The metric is ``spearman`` for a task
        and view of the suite (in [-1, 1]); ``mlm_loss`` and ``sentence_loss`` (nats),
        ``mlm_accuracy`` and ``sentence_accuracy`` are of the task ``held-out``, without a view.
        What a sentence loss would be is NaN for the arm ``mlm``.
    """
    looks = [
        path
        for cell in plan.cells()
        for path in sorted((out / cell.folder / "looks").glob("*.parquet"))
    ]
    if not looks:
        return pd.DataFrame(columns=list(ROW_COLUMNS))
    return pd.concat([pd.read_parquet(path) for path in looks], ignore_index=True)


def common_look(out: Path, plan: Plan) -> int:
    """The tokens of the last look that all pairs of MLM and NSP have come to; 0 where none is."""
    main = [cell for cell in plan.cells() if cell.arm in (MLM, NSP)]
    reached = [tokens for tokens in plan.looks if all(has_look(out, cell, tokens) for cell in main)]
    return max(reached, default=0)


def has_look(out: Path, cell: Cell, tokens: int) -> bool:
    """Whether a cell has come to this look."""
    return _look_file(out / cell.folder, tokens).is_file()


def _shared_phase(work: Continuation, suite: Suite) -> None:
    """MLM without a sentence loss from the encoder on, and the sentences as its end sees them."""
    head, folder = work.out / "head", work.out / "shared"
    config = work.config(
        work.plan.head_tokens,
        objective=Objective.MLM,
        freeze=Freeze.BODY,
        learning_rate=HEAD_LEARNING_RATE,
    )
    schedule = work.schedule(evaluate_every=max(1, config.steps // 2), snapshots=())
    pretrain(config, work.corpus, head, schedule, start=work.encoder)
    config = work.config(
        work.plan.shared_tokens, objective=Objective.MLM, until_loss=work.plan.until_loss
    )
    schedule = work.schedule(evaluate_every=max(1, min(250, config.steps // 4)), snapshots=())
    evaluation = pretrain(config, work.corpus, folder, schedule, start=head)
    logger.info("shared phase: held-out MLM loss %.3f", evaluation.mlm_loss)
    vectors = folder / LAST_LAYER
    if not vectors.is_file():
        start = find_start(folder)
        model = initial_model(config, start.tokenizer, start)
        pad_id = int(start.tokenizer.pad_token_id)
        found = last_layer(
            model.bert, suite.ids, pad_id=pad_id, bfloat16=native_bfloat16(model.device)
        )
        _save_tensors({"mean": found.mean, "cls": found.cls}, vectors)
    known = load_file(vectors)
    for view in ("mean", "cls"):
        scores = suite_scores(suite, suite_cosines(suite, {view: known[view]}))
        outcome = sum(scores.values()) / len(scores)
        # Before hours are spent: a mean below word overlap closes the gate for every branch.
        logger.info("shared phase: %s of the last layer %.1f", view, 100 * outcome)
    for done in (head, folder):
        shutil.rmtree(done / "checkpoints", ignore_errors=True)


def _look_file(folder: Path, tokens: int) -> Path:
    return folder / "looks" / f"{tokens:010d}.parquet"


def _branch(work: Continuation, cell: Cell, suite: Suite, until: int) -> None:
    """Train a cell up to a look."""
    folder, plan = work.out / cell.folder, work.plan
    config = work.config(
        plan.looks[-1],
        objective=cell.arm.objective,
        sentence_weight=cell.arm.weight,
        decay=Decay.CONSTANT,
        pooler=Pooler.DRAW,
        seed=cell.seed,
    )
    schedule = work.schedule(evaluate_every=config.steps, snapshots=plan.looks, stop_after=until)
    shared = load_file(work.out / "shared" / LAST_LAYER)
    start = LastLayer(mean=shared["mean"], cls=shared["cls"])

    def look(trainer: Trainer, tokens: int) -> None:
        target = _look_file(folder, tokens)
        if not target.is_file():
            target.parent.mkdir(exist_ok=True)
            _look(trainer, cell, tokens, suite, start if tokens == 0 else None, target)
        if tokens == plan.looks[-1]:
            _keep_vectors(trainer, folder)

    pretrain(config, work.corpus, folder, schedule, start=work.out / "shared", look=look)
    if until < plan.looks[-1]:
        return
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    record = {"arm": cell.arm.name, "seed": cell.seed, "weight": cell.arm.weight}
    write_text(folder / "cell.json", json.dumps(record))


def _look(
    trainer: Trainer, cell: Cell, tokens: int, suite: Suite, known: LastLayer | None, target: Path
) -> None:
    """One row a task and view, one for each loss; the cosines and vectors beside them."""
    found = known or last_layer(
        trainer.model.bert,
        suite.ids,
        pad_id=int(trainer.tokenizer.pad_token_id),
        bfloat16=trainer.bfloat16,
    )
    bert: Any = trainer.model.bert
    dense = bert.pooler.dense
    weight, bias = (p.detach().float().cpu().numpy() for p in (dense.weight, dense.bias))
    similarities = suite_cosines(suite, found.views(weight, bias))
    evaluation = trainer.evaluate(len(trainer.held_out_pairs))
    look = (cell.arm.name, cell.seed, tokens)
    rows = [
        (*look, task, view, "spearman", value, len(suite.gold[task]))
        for name, value in suite_scores(suite, similarities).items()
        for task, view in [name.split("/")]
    ]
    rows += [
        (*look, "held-out", "", metric, getattr(evaluation, metric), evaluation.pairs)
        for metric in ("mlm_loss", "mlm_accuracy", "sentence_loss", "sentence_accuracy")
    ]
    frame = pd.DataFrame(rows, columns=list(ROW_COLUMNS))
    _save_tensors(similarities, target.with_suffix(".cosines.safetensors"))
    _save_tensors({"weight": weight, "bias": bias}, target.with_suffix(".pooler.safetensors"))
    if known is None:
        _save_halves(found, target.parent / LAST_LAYER)  # of the newest look
    with written_aside(target) as temporary:
        frame.to_parquet(temporary, index=False)


def _keep_vectors(trainer: Trainer, folder: Path) -> None:
    """Sentences of the held-out documents at the last layer, float16."""
    found = last_layer(
        trainer.model.bert,
        _held_out_sentences(trainer),
        pad_id=int(trainer.tokenizer.pad_token_id),
        bfloat16=trainer.bfloat16,
    )
    _save_halves(found, folder / HELD_OUT)


def _held_out_sentences(trainer: Trainer) -> list[list[int]]:
    """Ids of sentences of the held-out documents; the same for every cell."""
    corpus, tokenizer = trainer.corpus, trainer.tokenizer
    documents = np.flatnonzero(corpus.held_out)
    bounds = corpus.document_starts
    sentences = np.concatenate([np.arange(bounds[d], bounds[d + 1]) for d in documents])
    lengths = np.diff(corpus.sentence_starts)[sentences]
    sentences = sentences[(lengths >= SHORTEST) & (lengths <= LONGEST)]
    rng = np.random.default_rng(trainer.config.corpus_seed)
    count = min(HELD_OUT_SENTENCES, len(sentences))
    first, last = int(tokenizer.cls_token_id), int(tokenizer.sep_token_id)
    starts = corpus.sentence_starts
    return [
        [first, *corpus.tokens[starts[row] : starts[row + 1]].tolist(), last]
        for row in np.sort(rng.choice(sentences, size=count, replace=False))
    ]


def _save_halves(vectors: LastLayer, target: Path) -> None:
    halves = {"mean": vectors.mean.astype(np.float16), "cls": vectors.cls.astype(np.float16)}
    _save_tensors(halves, target)


def _save_tensors(tensors: Mapping[str, npt.NDArray[Any]], target: Path) -> None:
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    write_bytes(target, save(contiguous))
