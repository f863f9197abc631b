"""A run that stands in a folder already: the same study, the same data, the same libraries."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from probing.errors import InputError
from probing.runs import Run, describe_versions, load_run
from probing.study import Study
from probing.tasks import load_task

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
    try:
        run = load_run(folder)
    except InputError:
        return None
    wanted = json.loads(json.dumps(asdict(replace(study, tasks=study.task_names))))
    found = run.manifest["study"] | {place: wanted[place] for place in _PLACES}
    wanted_origins = [
        load_task(task, study.data_dir, protocol=study.protocol, seed=study.seed).origin
        for task in study.tasks
    ]
    found_origins = [task["origin"] for task in run.manifest["tasks"]]
    same = (
        wanted == found
        and wanted_origins == found_origins
        and describe_versions() == run.manifest["versions"]
    )
    return run if same else None
