"""The parts of carrying out a study: checks, controls, and one model on all tasks."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from probing.encoding.encoder import Encoder, random_twin
from probing.encoding.sharing import SharedExtraction
from probing.encoding.vector_sources import VectorSource
from probing.errors import InputError
from probing.results.scores import Score
from probing.similarity.layer_selection import LayerSelection
from probing.study.floors import measure_floors, static_word_floor
from probing.study.labelled import measure_labelled, measure_structure
from probing.study.measurements import choose_layers, measure_pairs
from probing.study.next_sentence import next_sentence_floors, next_sentence_scores
from probing.study.settings import Settings
from probing.study.unscored import Unscored
from probing.tasks import LabelledSentences, ParsedSentences, SentencePairs, Task

logger = logging.getLogger(__name__)

Model = Encoder | VectorSource


def twins_of(encoder: Model, seed: int) -> tuple[Encoder, ...]:
    """The random-weight control; what is no loaded encoder has none."""
    return (random_twin(encoder, seed=seed),) if isinstance(encoder, Encoder) else ()


def device_of(models: Sequence[Model]) -> str:
    """The GPU of an encoder of the study, else the CPU: probes need float64, which MPS lacks."""
    devices = [model.device for model in models if isinstance(model, Encoder)]
    return next((str(device) for device in devices if device.type == "cuda"), "cpu")


def static_floors(
    encoders: Sequence[Model], tasks: Sequence[SentencePairs], settings: Settings
) -> list[Score]:
    """Each encoder's own word vectors on each task of sentence pairs."""
    return [
        row
        for encoder in encoders
        if isinstance(encoder, Encoder)
        for task in tasks
        for row in static_word_floor(encoder, task, settings)
    ]


def next_sentence_rows(
    extracts: Sequence[SharedExtraction], corpus: Path, settings: Settings, *, same_source: bool
) -> list[Score]:
    """Next sentences as an encoder and its twin have them."""
    return [
        replace(score, model=one.encoder.name, revision=one.encoder.revision)
        for one in extracts
        if isinstance(one.encoder, Encoder)
        for score in next_sentence_scores(one.encoder, corpus, settings, same_source=same_source)
    ]


def next_sentence_floor_rows(
    encoders: Sequence[Model], corpus: Path, settings: Settings, *, same_source: bool
) -> list[Score]:
    """What the pairs give away by themselves, in the word pieces of the first encoder."""
    tokenizing = [encoder for encoder in encoders if isinstance(encoder, Encoder)]
    if not tokenizing:
        return []
    return next_sentence_floors(tokenizing[0], corpus, settings, same_source=same_source)


def compared(model: Model) -> Encoder:
    """The model, where its views can be compared with another's. Raises `InputError` else."""
    if isinstance(model, VectorSource):
        raise InputError(
            f"{model.name} cannot be compared view by view: expected two loaded encoders"
        )
    return model


def checked_floors(task: Task, settings: Settings) -> list[Score]:
    """The floors of a task; a broken task fails here, with its name."""
    try:
        return measure_floors(task, settings)
    except InputError as error:
        raise InputError(f"task {task.name}: {error}") from error


def check_task_names(tasks: Sequence[Task]) -> None:
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
    program = Path(sys.argv[0]).name
    return ["probing" if program == "__main__.py" else program, *sys.argv[1:]]  # python -m probing


def measure_model(
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
    selections: dict[str, LayerSelection] = {}
    has_pairs = any(isinstance(task, SentencePairs) for task in tasks)
    if has_pairs and isinstance(encoder, Encoder):
        selections, rows = choose_layers(extract, unscored.development, settings)
    truncated = {}
    for task in tasks:
        logger.info("measuring %s on %s", encoder.name, task.name)
        if isinstance(task, SentencePairs):
            scores, n_truncated = measure_pairs(
                extract, task, selections, settings, control=control, unscored=unscored
            )
        elif isinstance(encoder, VectorSource) and not isinstance(task, LabelledSentences):
            logger.warning("%s gives no vectors of words: %s is left out", encoder.name, task.name)
            continue
        elif isinstance(task, ParsedSentences):
            scores, n_truncated = measure_structure(cast("Encoder", encoder), task, settings)
        else:
            scores, n_truncated = measure_labelled(extract, task, settings)
        rows += scores
        truncated[task.name] = n_truncated
    return rows, truncated


def shortened(encoder: Model, max_length: int | None) -> Model:
    """The encoder with the protocol's length, where that is shorter than its own."""
    if isinstance(encoder, VectorSource):
        return encoder
    if max_length is None or max_length >= encoder.max_length:
        return encoder
    return replace(encoder, max_length=max_length)
