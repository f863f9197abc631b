"""Erasing a label from vectors, so that what depends on it can be measured.

- ``leace``: least-squares concept erasure (Belrose et al. 2023), after which no linear probe does
  better than the frequencies of the classes on what it was fitted on, at the least change;
- ``inlp``: iterative nullspace projection (Ravfogel et al. 2020): the directions of one linear
  classifier after another are projected out, until dev is at the most frequent class. The
  classifiers are least-squares ones;
- ``random``: as many random directions as LEACE takes, the control.

All three work on features standardised on train, which is where the probes read them: a feature of
tiny scale holds a label as well as any other.
"""

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from types import ModuleType
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from probing.encoding.lazy import LazyViews
from probing.probes.rounds import usable_views
from probing.threads import over_views

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]

METHODS: Final = ("leace", "inlp", "random")
_MOST_ROUNDS: Final = 30
"""Classifiers of INLP, at most."""
_RIDGE: Final = 1e-3
"""Penalty of its classifiers, as a share of the mean variance of a feature."""
_SMALLEST_CORRELATION: Final = 1e-6
"""Below it LEACE takes a direction to be noise of rounding."""


@dataclass(frozen=True, eq=False)
class Eraser:
    """Takes k directions out of vectors: ``x - (x - mean) @ read @ write``."""

    mean: FloatArray
    """(d,)."""
    read: FloatArray
    """(d, k)."""
    write: FloatArray
    """(k, d)."""

    @property
    def rank(self) -> int:
        """How many directions are taken out."""
        return int(self.read.shape[1])

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, d) without them."""
        rows = vectors.astype(np.float64)
        erased: NDArray[np.float32] = (rows - (rows - self.mean) @ self.read @ self.write).astype(
            np.float32
        )
        return erased


def fit_erasers(
    vectors: Mapping[str, NDArray[np.float32]],
    labels: Sequence[str],
    splits: Sequence[str],
    *,
    seed: int,
) -> dict[str, dict[str, Eraser]]:
    """Method → view id → what erases the labels from that view, fitted on train.

    Args:
        vectors: View id → ``(n, d)``. A view on which nothing can be measured has no eraser.
        labels: ``n``.
        splits: ``n`` of ``train``, ``dev`` and ``test``, or empty strings: then all are fitted on.
        seed: Of the random directions.
    """
    parts = np.array(splits)
    train, dev = (np.flatnonzero(np.isin(parts, names)) for names in (("train", ""), ("dev", "")))
    names, codes = np.unique(np.array(labels), return_inverse=True)
    classes = np.eye(len(names))[codes]
    usable = usable_views(vectors, len(codes))
    _library()  # before there are threads

    def of_view(view_id: str) -> tuple[Eraser, ...]:
        rows = usable[view_id].astype(np.float64)
        mean, scale = rows[train].mean(axis=0), rows[train].std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        rows = (rows - mean) / scale
        held = dev if len(dev) else train
        read, write = _leace(rows[train], classes[train])
        inlp = _inlp((rows[train], classes[train]), (rows[held], codes[held]))
        random = _random(read.shape, seed)
        pairs = ((read, write), (inlp, inlp.T), (random, random.T))
        return tuple(
            Eraser(mean, one / scale[:, np.newaxis], other * scale) for one, other in pairs
        )

    found = over_views(of_view, list(usable))
    return {
        method: {view_id: of[place] for view_id, of in zip(usable, found, strict=True)}
        for place, method in enumerate(METHODS)
    }


def erased(
    vectors: Mapping[str, NDArray[np.float32]],
    erasers: Mapping[str, Mapping[str, Eraser]],
    measured: str,
) -> dict[str, Mapping[str, NDArray[np.float32]]]:
    """Transform → the views that it has an eraser of, without the label; made when asked for.

    A transform that has none of these views, such as one of words where the vectors are of
    sentences, is left out; a warning says that ``measured`` is not measured under it.
    """
    found: dict[str, Mapping[str, NDArray[np.float32]]] = {}
    for name, of_view in erasers.items():
        shared = [view_id for view_id in vectors if view_id in of_view]
        if shared:
            found[name] = LazyViews(shared, partial(_without, vectors, of_view))
    for label in dict.fromkeys(name.partition(":")[2] for name in erasers if name not in found):
        logger.warning(
            "%s is not measured without %s: one is of words, the other of sentences",
            measured,
            label,
        )
    return found


def _without(
    vectors: Mapping[str, NDArray[np.float32]], erasers: Mapping[str, Eraser], view_id: str
) -> NDArray[np.float32]:
    return erasers[view_id](vectors[view_id])


@cache
def _library() -> ModuleType:
    with warnings.catch_warnings():
        # on import it compiles a function of its own in a way that torch is to drop
        warnings.simplefilter("ignore", DeprecationWarning)
        return import_module("concept_erasure")


def _leace(rows: FloatArray, classes: FloatArray) -> tuple[FloatArray, FloatArray]:
    fitted = _library().LeaceEraser.fit(
        torch.from_numpy(rows), torch.from_numpy(classes), svd_tol=_SMALLEST_CORRELATION
    )
    kept = (fitted.proj_left.abs().sum(0) > 0).numpy()
    read, write = fitted.proj_right.mH.numpy(), fitted.proj_left.mH.numpy()
    return read[:, kept], write[kept]


def _inlp(
    train: tuple[FloatArray, FloatArray], dev: tuple[FloatArray, NDArray[np.intp]]
) -> FloatArray:
    """(d, k) orthonormal directions; the rows are of mean zero on train."""
    (rows, classes), (held, gold) = train, dev
    shares, d = classes.mean(axis=0), rows.shape[1]
    moments, agreement = rows.T @ rows, rows.T @ (classes - shares)
    penalty = _RIDGE * np.trace(moments) / d * np.eye(d)
    most_frequent = (gold == shares.argmax()).mean()
    chance = most_frequent + np.sqrt(most_frequent * (1 - most_frequent) / len(held))
    basis = np.empty((d, 0))
    for _ in range(_MOST_ROUNDS):
        left = np.eye(d) - basis @ basis.T
        weights = left @ np.linalg.solve(left @ moments @ left + penalty, left @ agreement)
        guessed = (held @ weights + shares).argmax(axis=1)
        if (guessed == gold).mean() <= chance:
            break
        directions, sizes, _ = np.linalg.svd(weights, full_matrices=False)
        basis = np.column_stack([basis, directions[:, sizes > 1e-6 * sizes[0]]])
        if basis.shape[1] >= d:
            break
    return basis


def _random(shape: tuple[int, ...], seed: int) -> FloatArray:
    """(d, k) orthonormal directions."""
    basis: FloatArray = np.linalg.qr(np.random.default_rng(seed).standard_normal(shape))[0]
    return basis
