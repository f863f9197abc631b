"""What is not scored: pairs that a layer is chosen on, a readout or whitening is fitted on."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from probing.errors import InputError
from probing.tasks import SentencePairs, Task, in_data_folder, load_task

logger = logging.getLogger(__name__)

DEVELOPMENT_TASKS: Final = ("stsb", "sickr", "sts-mini")
"""The tasks with a development split of sentence pairs, in order of preference."""

SUPERVISED_TASKS: Final = ("stsb", "sickr")
"""The tasks with training pairs of their own kind, for the supervised readout of similarity and
for whitening."""

FEWEST_PAIRS: Final = 100
"""With fewer development pairs a layer is chosen on those of another task."""


@dataclass(frozen=True)
class Supervision:
    """The pairs that a supervised readout is fitted and tuned on."""

    train: SentencePairs
    development: SentencePairs


@dataclass(frozen=True)
class Unscored:
    """What a study uses besides the pairs that it scores."""

    development: SentencePairs
    """Pairs that a layer is chosen on."""
    supervision: Mapping[str, Supervision | None]
    """By task; None where a task has no such pairs."""
    whitening: tuple[str, ...]
    """Distinct sentences that whitening is fitted on, less those of the task it is applied to."""

    @classmethod
    def of(
        cls, names: Sequence[str], tasks: Sequence[Task], data_dir: str | None, protocol: str
    ) -> "Unscored":
        """What there is for the tasks of a study.

        Args:
            names: What the tasks are called in the study.
            tasks: The tasks.
            data_dir: Of the official data, or None.
            protocol: Of the study.

        Raises:
            InputError: No pairs are left to choose a layer on.
        """
        where = (data_dir, protocol)
        return cls(
            development=development_pairs(names, tasks, *where),
            supervision={task.name: supervision(task, *where) for task in tasks},
            whitening=whitening_sentences(names, *where),
        )


def development_pairs(
    names: Sequence[str], tasks: Iterable[Task], data_dir: str | None, protocol: str
) -> SentencePairs:
    """The pairs that a layer is chosen on: those of a task of this study that has a dev split.

    Pairs that any task of the study scores are left out: three in four of the development pairs of
    STS-B are test pairs of STS12 to STS16. STS12 to STS16 have no development split; where no task
    has one, the project's own sentence pairs serve.

    Raises:
        InputError: The project's own pairs are missing, or all of them are scored.
    """
    scored = {pair for task in tasks if isinstance(task, SentencePairs) for pair in _pairs_of(task)}
    for name in (*(name for name in DEVELOPMENT_TASKS if name in names), "sts-mini"):
        try:
            task = load_task(name, data_dir, split="dev", protocol=protocol)
        except InputError as error:
            logger.info("no development pairs from %s: %s", name, error)
            continue
        if not isinstance(task, SentencePairs):
            continue
        left = without_pairs(task, scored)
        if left is not None and len(left) >= FEWEST_PAIRS:
            return left
        logger.info("too few development pairs of %s are not scored in this run", name)
    raise InputError(
        "no pairs are left to choose a layer on: the project's own sentence pairs are missing or "
        "all scored; install it again or leave out the task that repeats them"
    )


def without_pairs(task: SentencePairs, scored: set[frozenset[str]]) -> SentencePairs | None:
    """The task without the pairs that are scored, in whichever order; None where none is left."""
    kept = [row for row, pair in enumerate(_pairs_of(task)) if pair not in scored]
    dropped = len(task) - len(kept)
    if not dropped or not kept:
        return task if kept else None
    remark = f"{dropped:,} of {len(task):,} pairs left out: they are scored in this run."
    return replace(task.subset(kept), remark=f"{task.remark} {remark}".strip())


def _pairs_of(task: SentencePairs) -> list[frozenset[str]]:
    """The pairs with neither order nor case nor white space, which protocols change."""
    return [
        frozenset((_bare(one), _bare(other)))
        for one, other in zip(task.sentences1, task.sentences2, strict=True)
    ]


def _bare(sentence: str) -> str:
    return " ".join(sentence.casefold().split())


def supervision(task: Task, data_dir: str | None, protocol: str) -> Supervision | None:
    """Training and development pairs of a task that is scored on its test split and has both."""
    if not isinstance(task, SentencePairs):
        return None
    if task.name not in SUPERVISED_TASKS or task.split != "test":
        return None
    train, development = (
        _pairs(task.name, split, data_dir, protocol) for split in ("train", "dev")
    )
    if train is None or development is None:
        return None
    return Supervision(train=train, development=development)


def whitening_sentences(
    names: Sequence[str], data_dir: str | None, protocol: str
) -> tuple[str, ...]:
    """Distinct training sentences of the tasks that have such, for whitening.

    They are those of all `SUPERVISED_TASKS` in the data folder, whatever is scored, so that
    whitening does not depend on which other tasks a study has, and those of the tasks of the study
    wherever they are. Empty where there are none.
    """
    sources = [name for name in SUPERVISED_TASKS if name in names or in_data_folder(name, data_dir)]
    parts = [_pairs(name, "train", data_dir, protocol) for name in sources]
    sentences = [s for part in parts if part for s in (*part.sentences1, *part.sentences2)]
    return tuple(dict.fromkeys(sentences))


def _pairs(name: str, split: str, data_dir: str | None, protocol: str) -> SentencePairs | None:
    try:
        task = load_task(name, data_dir, split=split, protocol=protocol)
    except InputError as error:
        logger.info("no %s pairs of %s: %s", split, name, error)
        return None
    return task if isinstance(task, SentencePairs) else None
