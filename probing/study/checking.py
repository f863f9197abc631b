"""All that a run needs from the Hub is looked up before anything is downloaded or encoded."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from probing.encoding.locating import hub_files
from probing.sources.fetching import readable_size
from probing.sources.repositories import Repository
from probing.study.brought import VECTOR_FILES
from probing.tasks import load_task_repository

if TYPE_CHECKING:
    from probing.study.study import Study

logger = logging.getLogger(__name__)


def check_sources(study: "Study") -> None:
    """Look up every task and model of a study, and say how much is to be downloaded.

    What the cache has whole makes no request.

    Raises:
        InputError: A task or model is unknown, or the Hub does not have it for this user.
    """
    needed: list[tuple[Repository, list[str]]] = []
    for task in study.tasks:
        found = load_task_repository(task, study.data_dir)
        if found is not None:
            needed.append(found)
    for model in study.models:
        if isinstance(model, str | Path) and Path(model).suffix not in VECTOR_FILES:
            files = hub_files(str(model), study.revision, study.weights)
            if files is not None:
                needed.append(files)
    sizes = {"model": 0, "dataset": 0}
    counts = {"model": 0, "dataset": 0}
    for repository, wanted in {r.folder: (r, w) for r, w in needed}.values():
        missing = repository.missing(wanted)
        sizes[repository.place.kind] += sum(repository.files[name].size for name in missing)
        counts[repository.place.kind] += bool(missing)
    if any(counts.values()):
        logger.warning(
            "to download: %d models (%s) and %d data sets (%s)",
            counts["model"],
            readable_size(sizes["model"]),
            counts["dataset"],
            readable_size(sizes["dataset"]),
        )
