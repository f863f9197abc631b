"""A run that is finished already: the same study, the same data, the same libraries."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from probing.errors import InputError
from probing.reporting.run import Run, load_run
from probing.results.run_folder import describe_versions

_PLACES: Final = ("data_dir", "cache_dir")


def finished_run(
    folder: Path, study: Mapping[str, Any], origins: Callable[[], Sequence[str]]
) -> Run | None:
    """The run of a study in a folder, so that it need not be measured twice.

    Study, origin of every task (with the hash of its file) and library versions must be equal, not
    the folders where data and vectors lie. A changed line of this package is not noticed, nor is a
    changed body of a function that a researcher brought under the same name.

    Args:
        folder: Where the run may be.
        study: The settings that its manifest must have.
        origins: Gives where each task comes from; called only where all else is equal.

    Returns:
        The run; None where there is none, or another one.
    """
    try:
        run = load_run(folder)
    except InputError:
        return None
    wanted = json.loads(json.dumps(study))
    found = run.manifest["study"] | {place: wanted.get(place) for place in _PLACES}
    same = (
        all(found.get(name) == value for name, value in wanted.items())
        and describe_versions() == run.manifest["versions"]
        and list(origins()) == [task["origin"] for task in run.manifest["tasks"]]
    )
    return run if same else None
