"""Carrying out a study: everything it asks for is loaded, measured and written as a run."""

import logging
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from probing.encoding.description import describe_machine, describe_model
from probing.encoding.encoder import Encoder, random_twin
from probing.encoding.sharing import SharedExtraction
from probing.encoding.store.cache import cache_folder
from probing.encoding.vector_sources import VectorSource
from probing.errors import InputError
from probing.reporting.run import Run
from probing.results.run_folder import describe_versions, new_run_folder, write_run
from probing.results.scores import Score, score_table
from probing.study.brought import load_model, named_transforms
from probing.study.checking import check_sources
from probing.study.encoder_pairs import twins_scores
from probing.study.measurements import (
    Settings,
    Supervision,
    choose_layer,
    measure_floors,
    measure_labelled,
    measure_pairs,
    measure_words,
)
from probing.study.next_sentence import next_sentence_scores
from probing.tasks import (
    LabelledSentences,
    SentencePairs,
    Task,
    describe_task,
    find_protocol,
    load_task,
)

if TYPE_CHECKING:
    from probing.study.study import Study

logger = logging.getLogger(__name__)

Model = Encoder | VectorSource

DEVELOPMENT_TASKS: Final = ("stsb", "sickr", "sts-mini")
"""The tasks with a development split of sentence pairs, in order of preference."""

SUPERVISED_TASKS: Final = ("stsb", "sickr")
"""The tasks with training pairs of their own kind, for the supervised readout of similarity."""


def run_study(study: "Study", out: Path, command: Sequence[str] = ()) -> Run:
    """Measure and write the run folder: ``scores.parquet``, ``scores.csv``, ``manifest.json``.

    ``out`` either is a whole run or is not there; a run that is there already is replaced.

    Raises:
        InputError: A model, task or file is unknown or broken, or ``out`` cannot be written.
    """
    started = datetime.now(UTC)
    with new_run_folder(out) as folder:
        protocol = find_protocol(study.protocol)
        check_sources(study)
        tasks = [
            load_task(
                task,
                study.data_dir,
                protocol=study.protocol,
                seed=study.seed,
                score_range=study.score_range,
            )
            for task in study.tasks
        ]
        _check_names(tasks)
        encoders = [
            _shortened(
                load_model(
                    model,
                    dtype=study.dtype,
                    poolings=study.poolings,
                    device=study.device,
                    revision=study.revision,
                    max_length=study.max_length,
                    batch_tokens=study.batch_tokens,
                    weights=study.weights,
                ),
                protocol.max_length,
            )
            for model in study.models
        ]
        settings = Settings(
            seed=study.seed,
            n_resamples=study.n_resamples,
            cache_dir=cache_folder(study.cache_dir),
            probes=tuple(study.probes),
            controls=study.controls,
            n_seeds=study.n_seeds,
            claims=tuple(study.claims),
            views=tuple(study.views),
            transforms=named_transforms(study.transforms),
        )
        development = _development_pairs(study)
        supervision = {task.name: _supervision(task, study) for task in tasks}
        # the floors come first: a broken task fails before anything is encoded
        floors = [row for task in tasks for row in _floors(task, settings)]
        rows: list[Score] = []
        described: list[dict[str, Any]] = []
        for encoder in encoders:
            for measured in (encoder, *_twins(encoder, study.seed)):
                scores, truncated = _measure(
                    measured,
                    tasks,
                    development,
                    supervision,
                    settings,
                    control=measured is not encoder,
                )
                rows += [
                    replace(score, model=measured.name, revision=measured.revision)
                    for score in scores
                ]
                described.append(describe_model(measured, truncated))
            if study.corpus is not None and isinstance(encoder, Encoder):
                rows += [
                    replace(score, model=encoder.name, revision=encoder.revision)
                    for score in next_sentence_scores(encoder, Path(study.corpus), settings)
                ]
        rows += floors
        by_name = {encoder.name: encoder for encoder in encoders}
        pairs = [(_compared(by_name[one]), _compared(by_name[two])) for one, two in study.contrasts]
        rows += twins_scores(pairs, [t for t in tasks if isinstance(t, SentencePairs)], settings)
        manifest = {
            "study": study.describe(),
            "claims": [asdict(claim) for claim in study.claims],
            "aggregation": str(protocol.aggregation),
            "command": shlex.join(command),
            "started": started.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
            "encoders": described,
            "tasks": [describe_task(task) for task in tasks],
            "development": describe_task(development),
            "versions": describe_versions(),
            "machine": describe_machine(),
        }
        table = score_table(rows)
        write_run(folder, table, manifest)
    return Run(folder=out, scores=table, manifest=manifest)


def _twins(encoder: Model, seed: int) -> tuple[Encoder, ...]:
    """The random-weight control; what is no loaded encoder has none."""
    return (random_twin(encoder, seed=seed),) if isinstance(encoder, Encoder) else ()


def _compared(model: Model) -> Encoder:
    if isinstance(model, VectorSource):
        raise InputError(
            f"{model.name} cannot be compared view by view: expected two loaded encoders"
        )
    return model


def _floors(task: Task, settings: Settings) -> list[Score]:
    try:
        return measure_floors(task, settings)
    except InputError as error:
        raise InputError(f"task {task.name}: {error}") from error


def _check_names(tasks: Sequence[Task]) -> None:
    """Refuse two tasks of one name: their rows could not be told apart."""
    origins: dict[str, str] = {}
    for task in tasks:
        if task.name in origins:
            raise InputError(
                f"two tasks are called {task.name!r} ({origins[task.name]}; {task.origin}): "
                "give one of the files another name"
            )
        origins[task.name] = task.origin


def this_command() -> list[str]:
    """The command line as typed, the program by its name alone."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]


def _measure(
    encoder: Model,
    tasks: Sequence[Task],
    development: SentencePairs,
    supervision: Mapping[str, Supervision | None],
    settings: Settings,
    *,
    control: bool,
) -> tuple[list[Score], dict[str, int]]:
    """The rows of one encoder on all tasks, and how many sentences of each were truncated."""
    rows: list[Score] = []
    extract = SharedExtraction(encoder, settings.cache_dir)
    selection = None
    has_pairs = any(isinstance(task, SentencePairs) for task in tasks)
    if has_pairs and isinstance(encoder, Encoder):
        selection, rows = choose_layer(extract, development, settings)
    truncated = {}
    for task in tasks:
        logger.info("measuring %s on %s", encoder.name, task.name)
        if isinstance(task, SentencePairs):
            scores, n_truncated = measure_pairs(
                extract,
                task,
                selection,
                settings,
                control=control,
                supervision=supervision[task.name],
            )
        elif isinstance(task, LabelledSentences):
            scores, n_truncated = measure_labelled(extract, task, settings)
        elif isinstance(encoder, VectorSource):
            logger.warning("%s gives no vectors of words: %s is left out", encoder.name, task.name)
            continue
        else:
            scores, n_truncated = measure_words(encoder, task, settings)
        rows += scores
        truncated[task.name] = n_truncated
    return rows, truncated


def _development_pairs(study: "Study") -> SentencePairs:
    """The pairs that a layer is chosen on: those of a task of this study that has a dev split.

    STS12 to STS16 have none; where no task has one, the project's own sentence pairs serve.
    """
    for name in (*(name for name in DEVELOPMENT_TASKS if name in study.task_names), "sts-mini"):
        try:
            task = load_task(name, study.data_dir, split="dev", protocol=study.protocol)
        except InputError as error:
            logger.info("no development pairs from %s: %s", name, error)
            continue
        if isinstance(task, SentencePairs):
            return task
    raise InputError("the project's own sentence pairs are missing: install it again")


def _supervision(task: Task, study: "Study") -> Supervision | None:
    """Training and development pairs of a task that is scored on its test split and has both."""
    if not isinstance(task, SentencePairs):
        return None
    if task.name not in SUPERVISED_TASKS or task.split != "test":
        return None
    try:
        train, development = (
            load_task(task.name, study.data_dir, split=split, protocol=study.protocol)
            for split in ("train", "dev")
        )
    except InputError as error:
        logger.info("no supervised readout on %s: %s", task.name, error)
        return None
    if not isinstance(train, SentencePairs) or not isinstance(development, SentencePairs):
        return None
    return Supervision(train=train, development=development)


def _shortened(encoder: Model, max_length: int | None) -> Model:
    """The encoder with the protocol's length, where that is shorter than its own."""
    if isinstance(encoder, VectorSource):
        return encoder
    if max_length is None or max_length >= encoder.max_length:
        return encoder
    return replace(encoder, max_length=max_length)
