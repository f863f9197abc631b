"""Carrying out a study: everything it asks for is loaded, measured and written as a run."""

import logging
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from probing.study.encoder_pairs import pair_scores, random_draw_scores
from probing.study.measurements import (
    Settings,
    choose_layer,
    measure_floors,
    measure_labelled,
    measure_pairs,
    measure_words,
)
from probing.study.next_sentence import (
    describe_corpus,
    next_sentence_floors,
    next_sentence_scores,
)
from probing.study.unscored import Unscored
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


def run_study(study: "Study", out: Path, command: Sequence[str] = ()) -> Run:
    """Measure and write the run folder: ``scores.parquet``, ``scores.csv``, ``manifest.json``.

    ``out`` either is a whole run or is not there; a run that is there already is replaced.

    Raises:
        InputError: A model, task or file is unknown or broken, or ``out`` cannot be written.
    """
    started = datetime.now(UTC)
    with new_run_folder(out) as folder:
        protocol = find_protocol(study.protocol)
        tasks = [
            load_task(task, study.data_dir, protocol=study.protocol, seed=study.seed)
            for task in study.tasks
        ]
        _check_names(tasks)
        encoders = [
            _shortened(
                load_model(model, dtype=study.dtype, poolings=study.poolings), protocol.max_length
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
            n_draws=study.n_draws,
            claims=tuple(study.claims),
            views=tuple(study.views),
            transforms=named_transforms(study.transforms),
        )
        unscored = Unscored.of(study.task_names, tasks, study.data_dir, study.protocol)
        pair_tasks = [task for task in tasks if isinstance(task, SentencePairs)]
        # the floors come first: a broken task fails before anything is encoded
        floors = [row for task in tasks for row in _floors(task, settings)]
        rows: list[Score] = []
        described: list[dict[str, Any]] = []
        for encoder in encoders:
            extracts = [
                SharedExtraction(one, settings.cache_dir)
                for one in (encoder, *_twins(encoder, study.seed))
            ]
            for extract in extracts:
                measured = extract.encoder
                control = measured is not encoder
                scores, truncated = _measure(extract, tasks, unscored, settings, control=control)
                rows += [
                    replace(score, model=measured.name, revision=measured.revision)
                    for score in scores
                ]
                described.append(describe_model(measured, truncated))
            for twin in extracts[1:]:
                rows += random_draw_scores(extracts[0], twin, pair_tasks, settings)
            if study.corpus is not None and isinstance(encoder, Encoder):
                rows += _next_sentences(extracts, Path(study.corpus), study, settings)
        rows += floors + _next_sentence_floors(encoders, study, settings)
        by_name = {encoder.name: encoder for encoder in encoders}
        pairs = [(_compared(by_name[one]), _compared(by_name[two])) for one, two in study.contrasts]
        rows += pair_scores(pairs, pair_tasks, settings)
        manifest = {
            "study": study.describe(),
            "claims": [claim.describe() for claim in study.claims],
            "aggregation": str(protocol.aggregation),
            "command": shlex.join(command),
            "started": started.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
            "encoders": described,
            "tasks": [describe_task(task) for task in tasks],
            "development": describe_task(unscored.development),
            "whitening_sentences": len(unscored.whitening),
            "corpus": None if study.corpus is None else describe_corpus(Path(study.corpus)),
            "versions": describe_versions(),
            "machine": describe_machine(),
        }
        table = score_table(rows)
        write_run(folder, table, manifest)
    return Run(folder=out, scores=table, manifest=manifest, own_claims=tuple(study.claims))


def _next_sentences(
    extracts: Sequence[SharedExtraction], corpus: Path, study: "Study", settings: Settings
) -> list[Score]:
    """Next sentences as an encoder and its twin have them."""
    return [
        replace(score, model=one.encoder.name, revision=one.encoder.revision)
        for one in extracts
        if isinstance(one.encoder, Encoder)
        for score in next_sentence_scores(
            one.encoder, corpus, settings, same_source=study.same_source
        )
    ]


def _next_sentence_floors(
    encoders: Sequence[Model], study: "Study", settings: Settings
) -> list[Score]:
    """What the pairs give away by themselves, in the word pieces of the first encoder."""
    tokenizing = [encoder for encoder in encoders if isinstance(encoder, Encoder)]
    if study.corpus is None or not tokenizing:
        return []
    corpus = Path(study.corpus)
    return next_sentence_floors(tokenizing[0], corpus, settings, same_source=study.same_source)


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
    extract: SharedExtraction,
    tasks: Sequence[Task],
    unscored: Unscored,
    settings: Settings,
    *,
    control: bool,
) -> tuple[list[Score], dict[str, int]]:
    """The rows of one encoder on all tasks, and how many sentences of each were truncated."""
    rows: list[Score] = []
    encoder = extract.encoder
    selection = None
    has_pairs = any(isinstance(task, SentencePairs) for task in tasks)
    if has_pairs and isinstance(encoder, Encoder):
        selection, rows = choose_layer(extract, unscored.development, settings)
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
                unscored=unscored,
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


def _shortened(encoder: Model, max_length: int | None) -> Model:
    """The encoder with the protocol's length, where that is shorter than its own."""
    if isinstance(encoder, VectorSource):
        return encoder
    if max_length is None or max_length >= encoder.max_length:
        return encoder
    return replace(encoder, max_length=max_length)
