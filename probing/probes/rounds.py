"""Which rows are fitted on, chosen by and tested, and which views can be."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probing.encoding.lazy import LazyViews
from probing.errors import InputError
from probing.probes.standardisation import fault_of
from probing.threads import over_views

logger = logging.getLogger(__name__)

_OUTER_FOLDS: Final = 10
"""For tasks without splits, as in SentEval."""

_INNER_FOLDS: Final = 5
"""For tasks with only a train and a test split, as in SentEval."""


@dataclass(frozen=True, eq=False)
class Round:
    """Rows for one test: what the final probe is fitted on, and what its setting is chosen by."""

    train: NDArray[np.intp]
    test: NDArray[np.intp]
    choices: tuple[tuple[NDArray[np.intp], NDArray[np.intp]], ...]
    """Pairs of rows to fit on and rows to choose by."""


def rounds_of(splits: ArrayLike, *, strata: NDArray[np.intp], seed: int) -> tuple[Round, ...]:
    """The rounds that the splits of a task ask for; see `probing.probes.driver.fit_probes`.

    Args:
        splits: ``(n,)`` of ``train``, ``dev`` and ``test``, or the empty string in every entry.
        strata: ``(n,)`` classes that folds share out evenly.
        seed: Seed of the folds.

    Raises:
        InputError: Splits that do not serve.
    """
    parts = _checked_splits(splits, len(strata))
    rng = np.random.default_rng(seed)
    rows = np.arange(len(strata))
    if (parts == "").all():
        fold = _folds(strata, _OUTER_FOLDS, rng)
        choosing = [(number, (number + 1) % _OUTER_FOLDS) for number in range(_OUTER_FOLDS)]
        return tuple(
            Round(
                train=rows[fold != test],
                test=rows[fold == test],
                choices=((rows[(fold != test) & (fold != dev)], rows[fold == dev]),),
            )
            for test, dev in choosing
        )
    train, test = rows[parts == "train"], rows[parts == "test"]
    dev = rows[parts == "dev"]
    if len(dev):
        return (Round(train, test, ((train, dev),)),)
    fold = _folds(strata[train], _INNER_FOLDS, rng)
    inner = tuple((train[fold != part], train[fold == part]) for part in range(_INNER_FOLDS))
    return (Round(train, test, inner),)


def check_rows(view_id: str, rows: Any, n: int) -> None:
    """Raise `InputError` where a view does not have one row for each of n labels."""
    if len(rows) != n:
        raise InputError(
            f"{view_id} has {len(rows)} rows for {n} labels: expected one row for each label"
        )


def _checked_splits(splits: ArrayLike, n: int) -> NDArray[np.str_]:
    """Splits ``(n,)``, after the checks of shape."""
    parts = np.asarray(splits).astype(str)
    if parts.shape != (n,):
        raise InputError(f"found {len(parts)} splits for {n} labels")
    found = set(parts.tolist())
    if found != {""} and not {"train", "test"} <= found <= {"train", "dev", "test"}:
        shown = ", ".join(repr(split) for split in sorted(found)) or "none"
        raise InputError(
            f"found the splits {shown}: expected train, test and perhaps dev, or no split at all"
        )
    return parts


def _folds(strata: NDArray[np.intp], n_folds: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Fold of each row ``(n,)``, every class shared out as evenly as its size allows.

    sklearn's StratifiedKFold refuses or warns of classes with fewer rows than folds.
    """
    if len(strata) < n_folds:
        raise InputError(f"found {len(strata)} rows, expected at least {n_folds} for the folds")
    shuffled = rng.permutation(len(strata))
    by_class = shuffled[np.argsort(strata[shuffled], kind="stable")]
    folds = np.empty(len(strata), dtype=np.intp)
    folds[by_class] = np.arange(len(strata)) % n_folds
    return folds


def usable_views(vectors: Mapping[str, Any], n: int) -> Mapping[str, Any]:
    """The views of n rows on which something can be measured; the log says why not on the others.

    Raises:
        InputError: No view, or rows that do not match.
    """
    if not vectors:
        raise InputError("found no view, expected vectors of at least one")

    def checked(view_id: str) -> str | None:
        rows = np.asarray(vectors[view_id])
        check_rows(view_id, rows, n)
        return fault_of(rows) if np.issubdtype(rows.dtype, np.floating) else None

    faults = dict(zip(vectors, over_views(checked, list(vectors)), strict=True))
    for view_id, fault in faults.items():
        if fault is not None:
            logger.warning("%s: %s, its scores are NaN", view_id, fault)
    return LazyViews([v for v, fault in faults.items() if fault is None], vectors.__getitem__)
