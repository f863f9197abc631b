"""What a study is given, held against what it takes: each fault is one line."""

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from probing.claims.catalogue import Claim
from probing.encoding.views import View
from probing.errors import InputError
from probing.results.names import MINUS, difference, is_difference, sides
from probing.study.brought import checked_model_name
from probing.study.next_sentence import NEXT_SENTENCE
from probing.study.settings import HIGHEST_SEED, PROBES, check_resampling
from probing.tasks import Task, find_protocol

if TYPE_CHECKING:
    from probing.study.study import Study

_NUMBERS: Final[Mapping[str, tuple[type, ...]]] = {
    "n_seeds": (int, np.integer),
    "n_draws": (int, np.integer),
    "smallest_effect": (int, float, np.number),
    "batch_tokens": (int, np.integer, type(None)),
}
"""Settings that are compared with numbers, and the types that can be."""


def listed(name: str, given: Any) -> tuple[Any, ...]:
    """A setting that is several things; a text would fall into its letters, a set has no order."""
    if isinstance(given, (str, bytes, Path, Mapping, Set)) or not isinstance(given, Iterable):
        raise InputError(
            f"{name} of a study is of type {type(given).__name__}: expected a list, such as "
            f"{name}=[...]"
        )
    return tuple(given)


def names_of_tasks(tasks: Sequence[str | Path | Task]) -> tuple[str, ...]:
    """What tasks are called. Raises `InputError` for what is none."""
    for task in tasks:
        if not isinstance(task, (str, Path, Task)):
            raise InputError(
                f"a task of type {type(task).__name__}: expected a name, a file or a task"
            )
    return tuple(str(task) if isinstance(task, (str, Path)) else task.name for task in tasks)


def check_arguments(study: "Study") -> None:
    """Raise `InputError` where a study cannot be run as it is described."""
    if not study.models or not study.tasks:
        raise InputError("a study needs at least one model and one task")
    for names in (study.model_names, study.task_names, names_of_tasks(study.erase)):
        repeated = _repeated(names)
        if repeated is not None:
            raise InputError(f"{repeated!r} is named twice in one study: name it once")
    for name in study.model_names:
        checked_model_name(name)
    if study.revision is not None and len(study.models) > 1:
        raise InputError(
            f"revision {study.revision!r} is of one model and the study has "
            f"{len(study.models)}: measure that one in a run of its own"
        )
    if NEXT_SENTENCE in study.erase and study.corpus is None:
        raise InputError(f"{NEXT_SENTENCE} is erased with the texts of a corpus: name one")
    _check_data(study)
    _check_numbers(study)
    _check_contrasts(study)
    _check_probes(study)
    _check_claims(study.claims)
    for view in study.views:
        View.parse(str(view))
    find_protocol(study.protocol)


def _check_data(study: "Study") -> None:
    if not isinstance(study.data_dir, str | Path | None):
        raise InputError(f"data_dir is {study.data_dir!r}: expected a folder")
    match study.score_range:
        case None:
            pass
        case (int() | float() as lowest, int() | float() as highest) if lowest < highest:
            pass
        case other:
            raise InputError(
                f"score_range is {other!r}: expected (lowest, highest), or None for any"
            )


def _check_numbers(study: "Study") -> None:
    for name, kind in _NUMBERS.items():
        if not isinstance(getattr(study, name), kind):
            raise InputError(f"{name} is {getattr(study, name)!r}: expected a number")
    check_resampling(study.seed, study.n_resamples)
    if study.n_seeds < 1 or study.seed + study.n_seeds - 1 > HIGHEST_SEED:
        raise InputError(
            f"{study.n_seeds} seeds starting at {study.seed}: expected one or more, the last at "
            f"most {HIGHEST_SEED}"
        )
    if study.n_draws < 1:
        raise InputError(f"{study.n_draws} draws of random weights: expected one or more")
    if not 0 < study.smallest_effect < math.inf:
        raise InputError(
            f"smallest effect of interest {study.smallest_effect}: expected more than 0, such as "
            "0.01, which is one point"
        )
    if study.batch_tokens is not None and study.batch_tokens < 1:
        raise InputError(f"{study.batch_tokens} batch tokens: expected one or more")


def _check_contrasts(study: "Study") -> None:
    for contrast in study.contrasts:
        if isinstance(contrast, str) or len(set(contrast)) != 2 or len(contrast) != 2:
            raise InputError(
                f"contrast {contrast!r}: expected the names of two different models, (ONE, OTHER)"
            )
    _check_unique("contrast", [difference(*pair) for pair in study.contrasts])
    strange = [name for pair in study.contrasts for name in pair if name not in study.model_names]
    if strange:
        raise InputError(
            f"{strange[0]!r} is to be compared but is none of the study's models: expected two of "
            f"{', '.join(study.model_names)}"
        )


def _check_probes(study: "Study") -> None:
    unknown = [probe for probe in study.probes if isinstance(probe, str) and probe not in PROBES]
    if unknown or not study.probes:
        raise InputError(
            f"unknown probe {', '.join(unknown) or 'of no name'}: expected one or more of "
            f"{', '.join(PROBES)}, or a scikit-learn classifier or regressor"
        )
    _check_unique("probe", study.probe_names)


def _check_claims(claims: Sequence[Any]) -> None:
    for claim in claims:
        if not isinstance(claim, Claim):
            raise InputError(
                f"a claim of type {type(claim).__name__}: expected a probing.Claim, with an id, a "
                "sentence and a view"
            )
        _check_claim(claim)
    _check_unique("claim", [claim.id for claim in claims])


def _check_claim(claim: Claim) -> None:
    """Whether any row could decide a claim; where a function does, it says so itself."""
    if not isinstance(claim.threshold, (int, float, np.number)) or not -1 < claim.threshold < 1:
        raise InputError(
            f"claim {claim.id!r}: threshold {claim.threshold!r} is no fraction between -1 and 1; "
            "5 points are 0.05"
        )
    if claim.measure is not None:
        return
    try:
        views = sides(claim.view.format(last=2, earlier=1))
    except (KeyError, IndexError, ValueError, AttributeError, TypeError):
        raise InputError(
            f"claim {claim.id!r}: view {claim.view!r} has braces around something other than "
            "{last} or {earlier}"
        ) from None
    for view in views:
        try:
            View.parse(view)
        except InputError as error:
            raise InputError(f"claim {claim.id!r}: {error}") from None
    columns = (claim.view, claim.transform, claim.probe, claim.trained_on)
    compared = [sides(column) for column in columns if is_difference(column)]
    if not compared:
        raise InputError(
            f"claim {claim.id!r} compares nothing: expected a difference, such as the view "
            "'pooler@{last} - mean@{last}'"
        )
    for both in compared:
        if len(both) != 2 or both[0] == both[1]:
            raise InputError(
                f"claim {claim.id!r}: {MINUS.join(both)!r} is no difference of two different things"
            )


def _check_unique(kind: str, names: Sequence[str]) -> None:
    repeated = _repeated(names)
    if repeated is not None:
        raise InputError(f"{kind} {repeated!r} is in the study twice: give one another name")


def _repeated(names: Sequence[str]) -> str | None:
    return next((name for name in names if names.count(name) > 1), None)
