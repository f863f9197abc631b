"""A run that stands in a folder already: the same study, the same data, the same libraries."""

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from probing.encoding.description import describe_versions
from probing.errors import InputError
from probing.finetuning.experiment import FinetuningStudy
from probing.results.run_folder import Run, load_run
from probing.study.study import Study
from probing.tasks import Task, load_task

_PLACES: Final = ("data_dir", "cache_dir")


def standing_run(study: Study, folder: Path) -> Run | None:
    """The run of a study that stands in a folder, so that it need not be measured twice.

    Study, origin of every task (with the hash of its file) and library versions must be equal, not
    the folders where data and vectors lie. A changed line of this package is not noticed.

    Args:
        study: What is wanted.
        folder: Where `run_study` may have left it.

    Returns:
        The run; None where there is none, or another one.
    """
    return _standing(
        folder,
        asdict(replace(study, tasks=study.task_names)),
        (
            load_task(task, study.data_dir, protocol=study.protocol, seed=study.seed)
            for task in study.tasks
        ),
    )


def standing_finetuning(study: FinetuningStudy, folder: Path) -> Run | None:
    """`standing_run` of fine-tuning, for what `run_finetuning` may have left in a folder."""
    wanted = asdict(study)
    if not study.heads:  # those that the encoder has
        del wanted["heads"]
    return _standing(folder, wanted, (load_task(task, study.data_dir) for task in study.tasks))


def _standing(folder: Path, study: dict[str, Any], tasks: Iterable[Task]) -> Run | None:
    """The run in a folder if it is of this study; tasks are loaded last."""
    try:
        run = load_run(folder)
    except InputError:
        return None
    wanted = json.loads(json.dumps(study))
    found = run.manifest["study"] | {place: wanted.get(place) for place in _PLACES}
    same = (
        all(found.get(name) == value for name, value in wanted.items())
        and describe_versions() == run.manifest["versions"]
        and [task.origin for task in tasks] == [task["origin"] for task in run.manifest["tasks"]]
    )
    return run if same else None
