"""A study: which models, on which tasks, with which settings; its result is a run."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sklearn.base import BaseEstimator

from probing.claims.catalogue import CLAIMS, Claim
from probing.claims.outcomes import SMALLEST_EFFECT
from probing.encoding.description import describe_machine, describe_model
from probing.encoding.pooling import PoolingFunction
from probing.encoding.sharing import SharedExtraction, body_among, same_body
from probing.encoding.store.cache import cache_folder
from probing.encoding.weight_forms import Weights
from probing.pretraining.corpus import source_files
from probing.probes.once import FitOnce
from probing.reporting.finished import finished_run
from probing.reporting.run import Run
from probing.results.items import FOLDER as ITEMS_FOLDER
from probing.results.run_folder import describe_versions, new_run_folder, write_run
from probing.results.scores import Score, score_table
from probing.similarity.own_transforms import TransformFunction
from probing.sources.declarations import LINGUISTIC
from probing.study.arguments import check_arguments, listed, names_of_tasks
from probing.study.brought import (
    load_model,
    named_poolings,
    named_transforms,
    probe_name,
)
from probing.study.checking import check_sources
from probing.study.encoder_pairs import pair_scores, random_draw_scores
from probing.study.labelled import erasable, erasers_of
from probing.study.next_sentence import NEXT_SENTENCE, describe_corpus, next_sentence_erasers
from probing.study.running import (
    check_task_names,
    checked_floors,
    compared,
    device_of,
    measure_model,
    next_sentence_floor_rows,
    next_sentence_rows,
    shortened,
    static_floors,
    twins_of,
)
from probing.study.settings import (
    RANDOM_DRAWS,
    Settings,
    composite_views,
)
from probing.study.unscored import Unscored
from probing.tasks import (
    DEFAULT_PROTOCOL,
    OWN_SCORE_RANGE,
    SHIPPED_TREEBANK_TASKS,
    ParsedSentences,
    SentencePairs,
    Task,
    describe_task,
    find_protocol,
    load_task,
)


@dataclass(frozen=True)
class Study:
    """What is measured. Two equal studies on equal data give equal scores, to rounding.

    What a researcher brings is measured beside what the project brings: names and objects are taken
    alike, and tables, intervals, figures, verdict and report follow.

    >>> study = Study(models=["minilm"], tasks=["sts-mini"], views=["mean@5+6"])
    >>> study.model_names
    ('minilm',)
    """

    models: Sequence[Any]
    """Each an alias, Hub id or folder; a file of vectors; an `Encoder`, a `VectorSource`, a
    ``SentenceTransformer``, or a function from a list of n sentences to ``(n, d)``."""
    tasks: Sequence[str | Task]
    """Names as `load_task` takes them, or tasks."""
    protocol: str = DEFAULT_PROTOCOL
    data_dir: str | None = None
    dtype: str = "float32"
    seed: int = 0
    n_resamples: int = 1000
    probes: Sequence[str | BaseEstimator] = ("linear",)
    """What reads labels from vectors: names of `probing.study.settings.PROBES`, or
    scikit-learn classifiers; a regressor reads similarity from pairs with a train split."""
    controls: bool = False
    """Whether each probe is trained on the control task too."""
    n_seeds: int = 1
    """Over how many seeds, from ``seed`` up, a probe that is random is averaged (``mlp``,
    ``senteval``, the order of ``codelength``, the labels of the control task)."""
    n_draws: int = RANDOM_DRAWS
    """How many draws of random weights the deficit of the pooler is held against."""
    smallest_effect: float = SMALLEST_EFFECT
    """The smallest effect of interest of the claims, as a fraction; what is less is negligible."""
    cache_dir: str | None = None
    """Where vectors are kept between runs; by default the platform's cache folder."""
    contrasts: Sequence[tuple[str, str]] = ()
    """Pairs of ``models`` that are compared view by view on the same sentence pairs; the mean over
    several, such as the same pair pre-trained from several seeds, is compared too."""
    corpus: str | None = None
    """Folder of texts whose next sentences are read from every view."""
    same_source: bool = False
    """Whether random next sentences are of the same source of the corpus, which is harder."""
    poolings: Mapping[str, PoolingFunction] = field(default_factory=dict)
    """A researcher's own, by name: ``(hidden (n, tokens, d), mask (n, tokens)) -> (n, d)``."""
    views: Sequence[str] = ()
    """Averages (``mean@11+12``) and concatenations (``cls@11,12``) of layers to measure as well."""
    transforms: Sequence[str | TransformFunction] | Mapping[str, TransformFunction] = ("raw",)
    """A researcher's own, beside the project's: fitted on ``(n, d)``, giving a function of
    ``(m, d)``; a function goes by its name."""
    erase: Sequence[str | Task] = ()
    """Tasks of labelled sentences or words (or ``next-sentence``, with a corpus) whose labels are
    taken out of the vectors, by LEACE, by INLP and, as the control, a random subspace; what reads
    such vectors is measured without them too, and what does not is said."""
    claims: Sequence[Claim] = CLAIMS
    """What the verdict decides."""
    device: str | None = None
    """A torch device such as ``cuda:0``; by default CUDA where there is one."""
    revision: str | None = None
    """Commit, tag or branch of the one model that is a Hub id."""
    max_length: int | None = None
    """Tokens per sentence; by default what each model allows."""
    batch_tokens: int | None = None
    """Padded tokens in one forward pass; by default what suits the device."""
    score_range: tuple[float, float] | None = OWN_SCORE_RANGE
    """Of scores in files of one's own; None to take any."""
    weights: str = Weights.SAFETENSORS
    """``safetensors`` or ``restricted-pickle`` (`probing.encoding.weight_forms.Weights`)."""

    def __post_init__(self) -> None:
        for name in ("models", "tasks", "probes", "contrasts", "views", "erase", "claims"):
            object.__setattr__(self, name, listed(name, getattr(self, name)))
        check_arguments(self)
        object.__setattr__(self, "poolings", named_poolings(self.poolings))
        object.__setattr__(self, "transforms", named_transforms(self.transforms))

    @property
    def model_names(self) -> tuple[str, ...]:
        """What the models are called."""
        return tuple(
            str(model)
            if isinstance(model, (str, Path))
            else str(getattr(model, "name", getattr(model, "__name__", type(model).__name__)))
            for model in self.models
        )

    @property
    def task_names(self) -> tuple[str, ...]:
        """What the tasks are called."""
        return names_of_tasks(self.tasks)

    @property
    def probe_names(self) -> tuple[str, ...]:
        """What the probes are called."""
        return tuple(probe_name(probe) for probe in self.probes)

    def describe(self) -> dict[str, Any]:
        """The settings by name, as the manifest of a run has them."""
        described: dict[str, Any] = {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name not in ("poolings", "transforms", "claims")
        }
        return described | {
            "models": self.model_names,
            "tasks": self.task_names,
            "erase": names_of_tasks(self.erase),
            "probes": self.probe_names,
            "poolings": tuple(self.poolings),
            "transforms": tuple(self.transforms),
            "claims": tuple(claim.id for claim in self.claims),
        }

    def _load(self, task: str | Task) -> Task:
        """The rows of a task under the settings of the study, as `probing.load_task` has them."""
        return load_task(task, self.data_dir, protocol=self.protocol, score_range=self.score_range)

    def run(self, out: Path | str, *, again: bool = False, command: Sequence[str] = ()) -> Run:
        """Measure and write the run folder: ``scores.parquet``, ``scores.csv``, ``manifest.json``.

        A finished run of the same study, data and library versions in the folder is read and not
        measured again.

        Args:
            out: The run folder; it either is whole or is not there. A run of another study in it
                is replaced.
            again: Measure even where the same run is finished.
            command: The command line, for the manifest.

        Raises:
            InputError: A model, task or file is unknown or broken, or ``out`` cannot be written.
        """
        if not again:
            found = finished_run(
                Path(out),
                self.describe(),
                lambda: [
                    self._load(task).origin
                    for task in (*self.tasks, *self.erase)
                    if task != NEXT_SENTENCE
                ],
            )
            if found is not None:
                return found
        return run_study(self, Path(out), command)


_STS_SUITE: Final = ("sts12", "sts13", "sts14", "sts15", "sts16", "stsb", "sickr")

PRESETS: Final[dict[str, Study]] = {
    "embedded": Study(
        models=("minilm", "minilm-nsp", "minilm-placebo"),
        tasks=("sts-mini", *SHIPPED_TREEBANK_TASKS),
    ),
    "paper": Study(
        models=(
            "bert-base-uncased",
            "bert-large-uncased",
            "roberta-base",
            "distilbert-base-uncased",
            "minilm",
        ),
        tasks=(*_STS_SUITE, *(source.name for source in LINGUISTIC)),
    ),
}
"""Studies by name. ``embedded`` needs nothing but what the installation brings, one body under
three poolers; ``paper`` takes models and official data from the Hub where ``--data-dir`` does not
have the data."""


def run_study(study: Study, out: Path, command: Sequence[str] = ()) -> Run:
    """Measure and write the run folder: ``scores.parquet``, ``scores.csv``, ``manifest.json``.

    ``out`` either is a whole run or is not there; a run that is there already is replaced.

    Raises:
        InputError: A model, task or file is unknown or broken, or ``out`` cannot be written.
    """
    started = datetime.now(UTC)
    with new_run_folder(out) as folder:
        protocol = find_protocol(study.protocol)
        corpus = None if study.corpus is None else Path(study.corpus)
        if corpus is not None:
            source_files(corpus)  # one that is not there fails before the work
        check_sources(study)
        tasks = [study._load(task) for task in study.tasks]
        check_task_names(tasks)
        to_erase = [
            erasable(load_task(task, study.data_dir))
            for task in study.erase
            if task != NEXT_SENTENCE
        ]
        encoders = [
            shortened(
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
            n_draws=study.n_draws,
            claims=tuple(study.claims),
            views=tuple(study.views),
            transforms=named_transforms(study.transforms),
            fit=FitOnce(),
            device=device_of(encoders),
            keep=lambda items: items.write(folder / ITEMS_FOLDER),
        )
        unscored = Unscored.of(study.task_names, tasks, study.data_dir, study.protocol)
        pair_tasks = [task for task in tasks if isinstance(task, SentencePairs)]
        has_trees = any(isinstance(task, ParsedSentences) for task in tasks)
        for encoder in encoders:
            composite_views(encoder, settings)  # one that is not there fails before the work
        # the floors come first: a broken task fails before anything is encoded
        floors = [row for task in tasks for row in checked_floors(task, settings)]
        rows: list[Score] = []
        described: list[dict[str, Any]] = []
        shared: list[SharedExtraction] = []
        for number, encoder in enumerate(encoders, start=1):
            extracts = [
                SharedExtraction(one, settings.cache_dir, body=body_among(shared, one))
                for one in (encoder, *twins_of(encoder, study.seed))
            ]
            if any(same_body(encoder, later) for later in encoders[number:]):  # else they go
                shared += [extract for extract in extracts if extract.body is None]
            for extract in extracts:
                measured = extract.encoder
                control = measured is not encoder
                erasers = {}
                if not control:
                    erasers = erasers_of(extract, to_erase, settings, from_trees=has_trees)
                if NEXT_SENTENCE in study.erase and not control and corpus is not None:
                    erasers |= next_sentence_erasers(
                        compared(measured), corpus, settings, same_source=study.same_source
                    )
                scores, truncated = measure_model(
                    extract, tasks, unscored, replace(settings, erasers=erasers), control=control
                )
                rows += [
                    replace(score, model=measured.name, revision=measured.revision)
                    for score in scores
                ]
                described.append(describe_model(measured, truncated, extract.setups))
            for twin in extracts[1:]:
                rows += random_draw_scores(extracts[0], twin, pair_tasks, settings)
            if corpus is not None:
                rows += next_sentence_rows(
                    extracts, corpus, settings, same_source=study.same_source
                )
        floors += static_floors(encoders, pair_tasks, settings)
        if corpus is not None:
            floors += next_sentence_floor_rows(
                encoders, corpus, settings, same_source=study.same_source
            )
        rows += floors
        by_name = {encoder.name: encoder for encoder in encoders}
        pairs = [(compared(by_name[one]), compared(by_name[two])) for one, two in study.contrasts]
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
            "erased": [describe_task(task) for task in to_erase],
            "development": describe_task(unscored.development),
            "whitening_sentences": len(unscored.whitening),
            "corpus": None if corpus is None else describe_corpus(corpus),
            "versions": describe_versions(),
            "machine": describe_machine(),
        }
        table = score_table(rows)
        write_run(folder, table, manifest)
    return Run(folder=out, scores=table, manifest=manifest, own_claims=tuple(study.claims))
