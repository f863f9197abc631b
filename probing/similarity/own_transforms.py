"""A researcher's own transforms of vectors, measured beside the project's."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from probing.errors import InputError
from probing.similarity.contrasts import Cell
from probing.similarity.cosine import cosine_similarities
from probing.similarity.geometry import TransformKind

Vectors = NDArray[np.float32]
Applied = Callable[[Vectors], NDArray[Any]]
TransformFunction = Callable[[Vectors], Applied]
"""Fitted on ``(n, d)`` float32, gives a function from ``(m, d)`` to ``(m, k)``."""

RAW: Final = "raw"
"""No transform."""


def checked_transforms(transforms: Mapping[str, TransformFunction]) -> dict[str, TransformFunction]:
    """The same transforms, their names looked at. Raises `InputError` where one is taken."""
    for name, fit in transforms.items():
        taken = name == RAW or any(name.startswith(kind) for kind in TransformKind)
        if taken or not name.replace("_", "").replace("-", "").isalnum() or not callable(fit):
            raise InputError(
                f"transform {name!r}: expected a function under a name of its own, of letters, "
                "digits, - and _, that is fitted on (n, d) and gives a function of (m, d)"
            )
    return dict(transforms)


def own_transform_similarities(
    vectors: Mapping[str, Vectors],
    fitted_on: Mapping[str, Vectors],
    transforms: Mapping[str, TransformFunction],
    *,
    source: str,
) -> dict[Cell, NDArray[np.float64]]:
    """Cosine of the two sentences of n pairs under every view and a researcher's transforms.

    Args:
        vectors: View id → ``(2 * n_pairs, d)``, first sentences then second ones.
        fitted_on: View id → ``(m, d)`` that the transforms are fitted on.
        transforms: Name → the function that fits one.
        source: What ``fitted_on`` is, for the name of the transform: ``target`` for the task's own
            sentences.

    Returns:
        Cell ``(view, "NAME:SOURCE", "cosine")`` → ``(n_pairs,)`` float64 in [-1, 1].

    Raises:
        InputError: A transform raises, or gives another number of rows, or a NaN.
    """
    columns: dict[Cell, NDArray[np.float64]] = {}
    for name, fit in transforms.items():
        moved = {
            view_id: _applied(name, fit, view_id, fitted_on[view_id], matrix)
            for view_id, matrix in vectors.items()
        }
        cosines = cosine_similarities(moved, tuple(moved))
        columns |= {
            Cell(view_id, f"{name}:{source}"): cosines[:, place]
            for place, view_id in enumerate(moved)
        }
    return columns


def _applied(
    name: str, fit: TransformFunction, view_id: str, fitted_on: Vectors, vectors: Vectors
) -> Vectors:
    try:
        # copies: the vectors are measured in other ways too, whatever the function does in place
        found = np.asarray(fit(fitted_on.copy())(vectors.copy()))
        if np.iscomplexobj(found):
            raise TypeError("it gives complex numbers")
        moved = found.astype(np.float32)
    except Exception as error:  # a researcher's function may raise anything
        raise InputError(
            f"transform {name!r} failed on {view_id} ({type(error).__name__}: {error}): expected "
            "fit(vectors (n, d)) to give a function of (m, d)"
        ) from error
    if moved.ndim != 2 or len(moved) != len(vectors):
        raise InputError(
            f"transform {name!r} gives shape {moved.shape} for {view_id}: expected "
            f"({len(vectors)}, k), a row for each vector"
        )
    if not np.isfinite(moved).all():
        raise InputError(f"transform {name!r} gives numbers that are not finite for {view_id}")
    return moved
