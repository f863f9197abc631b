"""One study: which encoders, on which tasks, with which settings; its result is a run."""

import logging
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from probing.claims.outcomes import SMALLEST_EFFECT
from probing.encoding.description import (
    describe_encoder,
    describe_machine,
    describe_versions,
)
from probing.encoding.encoder import Encoder, load_encoder, random_twin
from probing.encoding.sharing import SharedExtraction
from probing.encoding.store.cache import cache_folder
from probing.errors import InputError
from probing.results.names import MINUS, is_difference
from probing.results.run_folder import (
    Run,
    new_run_folder,
    write_run,
)
from probing.results.scores import Score, score_table
from probing.sources.declarations import TWINS
from probing.study.encoder_pairs import pair_scores, random_draw_scores
from probing.study.measurements import (
    PROBES,
    RANDOM_DRAWS,
    Settings,
    choose_layer,
    measure_floors,
    measure_labelled,
    measure_pairs,
    measure_words,
)
from probing.study.next_sentence import next_sentence_scores
from probing.study.unscored import Unscored
from probing.tasks import (
    DEFAULT_PROTOCOL,
    GENERATED_NAMES,
    GENERATED_PREFIX,
    LabelledSentences,
    SentencePairs,
    Task,
    describe_task,
    find_protocol,
    load_task,
)

logger = logging.getLogger(__name__)


HIGHEST_SEED: Final = 2**32 - 1
"""What every library that draws from a seed can take."""


@dataclass(frozen=True)
class Study:
    """What is measured. Two equal studies on equal data give equal scores, to rounding."""

    models: tuple[str, ...]
    tasks: tuple[str | Task, ...]
    """Names as `load_task` takes them, or tasks."""
    protocol: str = DEFAULT_PROTOCOL
    data_dir: str | None = None
    dtype: str = "float32"
    seed: int = 0
    n_resamples: int = 1000
    probes: tuple[str, ...] = ("linear",)
    """What reads labels from vectors: names of `probing.study.measurements.PROBES`."""
    controls: bool = False
    """Whether each probe is trained on the control task too."""
    n_seeds: int = 1
    """Over how many seeds, from ``seed`` up, a probe that is random is averaged (``mlp``,
    ``senteval``, the order of ``codelength``, the labels of the control task)."""
    n_draws: int = RANDOM_DRAWS
    """How many draws of random weights the deficit of the pooler is held against."""
    cache_dir: str | None = None
    """Where vectors are kept between runs; by default the platform's cache folder."""
    contrasts: tuple[tuple[str, str], ...] = ()
    """Pairs of ``models`` that are compared view by view on the same sentence pairs; the mean over
    several, such as the same pair pre-trained from several seeds, is compared too."""
    smallest_effect: float = SMALLEST_EFFECT
    """The smallest effect of interest of the claims, as a fraction; what is less is negligible."""
    corpus: str | None = None
    """Folder of texts whose next sentences are read from every view."""

    def __post_init__(self) -> None:
        if not self.models or not self.tasks:
            raise InputError("a study needs at least one model and one task")
        for names in (self.models, self.task_names):
            repeated = next((name for name in names if names.count(name) > 1), None)
            if repeated is not None:
                raise InputError(f"{repeated!r} is named twice in one study: name it once")
        if not 0 <= self.seed <= HIGHEST_SEED:
            raise InputError(f"seed {self.seed}: expected a whole number from 0 to {HIGHEST_SEED}")
        if self.n_draws < 1:
            raise InputError(f"{self.n_draws} draws of random weights: expected one or more")
        if self.n_seeds < 1 or self.seed + self.n_seeds - 1 > HIGHEST_SEED:
            raise InputError(f"{self.n_seeds} seeds from {self.seed} up: expected one or more")
        if not self.smallest_effect > 0:
            raise InputError(
                f"smallest effect of interest {self.smallest_effect}: expected more than 0, such "
                "as 0.01, which is one point"
            )
        ambiguous = [model for model in self.models if is_difference(model)]
        if ambiguous:
            raise InputError(
                f"model {ambiguous[0]!r}: {MINUS!r} in a name stands for a difference in the "
                "results table; rename the folder"
            )
        strange = [name for pair in self.contrasts for name in pair if name not in self.models]
        if strange:
            raise InputError(
                f"{strange[0]!r} is to be compared but is none of the study's models: expected "
                f"two of {', '.join(self.models)}"
            )
        unknown = [probe for probe in self.probes if probe not in PROBES]
        if unknown or not self.probes:
            raise InputError(
                f"unknown probe {', '.join(unknown) or 'of no name'}: expected one or more of "
                f"{', '.join(PROBES)}"
            )
        find_protocol(self.protocol)

    @property
    def task_names(self) -> tuple[str, ...]:
        """What the tasks are called."""
        return tuple(task if isinstance(task, str) else task.name for task in self.tasks)


_STS_SUITE: Final = ("sts12", "sts13", "sts14", "sts15", "sts16", "stsb", "sickr")
_GENERATED: Final = tuple(f"{GENERATED_PREFIX}{name}" for name in GENERATED_NAMES)

PRESETS: Final[dict[str, Study]] = {
    "embedded": Study(models=("nsp-mini", "minilm"), tasks=("sts-mini", *_GENERATED)),
    "paper": Study(
        models=(
            "bert-base-uncased",
            "bert-large-uncased",
            "roberta-base",
            "distilbert-base-uncased",
            "minilm",
        ),
        tasks=(*_STS_SUITE, *GENERATED_NAMES),
    ),
    "objective": Study(
        models=tuple(model for twins in TWINS for model in twins),
        tasks=("sts-mini", *_GENERATED),
        contrasts=TWINS,
    ),
}
"""Studies by name. ``embedded`` needs nothing but what the installation brings, and so does
``objective``, the shipped encoders that differ in their pre-training alone; ``paper`` takes models
and official data from the Hub where ``--data-dir`` does not have the data."""


def run_study(study: Study, out: Path, command: Sequence[str] = ()) -> Run:
    """Measure and write the run folder: ``scores.parquet``, ``scores.csv``, ``manifest.json``.

    ``out`` either is a whole run or is not there; a run that stands at ``out`` is replaced.

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
            _shortened(load_encoder(name, dtype=study.dtype), protocol.max_length)
            for name in study.models
        ]
        settings = Settings(
            seed=study.seed,
            n_resamples=study.n_resamples,
            cache_dir=cache_folder(study.cache_dir),
            probes=study.probes,
            controls=study.controls,
            n_seeds=study.n_seeds,
            n_draws=study.n_draws,
        )
        unscored = Unscored.of(study.task_names, tasks, study.data_dir, study.protocol)
        pair_tasks = [task for task in tasks if isinstance(task, SentencePairs)]
        # the floors come first: what ails a task shows before anything is encoded
        floors = [row for task in tasks for row in _floors(task, settings)]
        rows: list[Score] = []
        described: list[dict[str, Any]] = []
        for encoder in encoders:
            own, twin = (
                SharedExtraction(one, settings.cache_dir)
                for one in (encoder, random_twin(encoder, seed=study.seed))
            )
            for extract in (own, twin):
                measured = extract.encoder
                scores, truncated = _measure(
                    extract,
                    tasks,
                    unscored,
                    settings,
                    control=extract is twin,
                )
                rows += [
                    replace(score, model=measured.name, revision=measured.revision)
                    for score in scores
                ]
                described.append(describe_encoder(measured, truncated))
            if pair_tasks:
                rows += random_draw_scores(own, twin, pair_tasks, settings)
            if study.corpus is not None:
                rows += [
                    replace(score, model=encoder.name, revision=encoder.revision)
                    for score in next_sentence_scores(encoder, Path(study.corpus), settings)
                ]
        rows += floors
        by_name = {encoder.name: encoder for encoder in encoders}
        pairs = [(by_name[one], by_name[other]) for one, other in study.contrasts]
        rows += pair_scores(pairs, pair_tasks, settings)
        manifest = {
            "study": asdict(replace(study, tasks=study.task_names)),
            "command": shlex.join(command),
            "started": started.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
            "encoders": described,
            "tasks": [describe_task(task) for task in tasks],
            "development": describe_task(unscored.development),
            "whitening_sentences": len(unscored.whitening),
            "random_draws": settings.n_draws,
            "versions": describe_versions(),
            "machine": describe_machine(),
        }
        run = Run(folder=folder, scores=score_table(rows), manifest=manifest)
        write_run(run)
    return replace(run, folder=out)


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
    if any(isinstance(task, SentencePairs) for task in tasks):
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
        else:
            scores, n_truncated = measure_words(encoder, task, settings)
        rows += scores
        truncated[task.name] = n_truncated
    return rows, truncated


def _shortened(encoder: Encoder, max_length: int | None) -> Encoder:
    """The encoder with the protocol's length, where that is shorter than its own."""
    if max_length is None or max_length >= encoder.max_length:
        return encoder
    return replace(encoder, max_length=max_length)
