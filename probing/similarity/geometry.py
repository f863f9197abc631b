"""How the vectors of a view lie in space: transforms that change it, numbers that describe it.

Is what the pooler lost gone, or only badly laid out? Cosine is blind to a shift or a stretch of the
space; a transform that undoes them (centring, removing the top components, whitening) needs no
labels. Every transform here is a shift and a scale per principal axis, so one decomposition of a
view serves all of them, and their cosines come from one projection.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from probing.results.scores import Score
from probing.results.target import Target
from probing.similarity.contrasts import Cell
from probing.statistics.gram import gram
from probing.threads import over_views

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]
Vectors = NDArray[np.float32]

# The vectors are float32. A view whose spread is no more than this share of its length is one
# vector; an axis whose spread is no more than this share of the widest one's is rounding.
_ROUNDING: Final = 1e-5
_CKA_BLOCK: Final = 256
SENTENCES_PER_DIMENSION: Final = 10
"""Whitening is undefined on fewer distinct sentences for each dimension that it scales: the least
variances are then mostly error, and dividing by them fits the sentences at hand."""


class TransformKind(StrEnum):
    """What is done to the vectors after their mean has been taken away."""

    CENTRED = "centred"
    """Nothing more."""
    ALL_BUT_THE_TOP = "all-but-the-top"
    """The axes of largest variance are dropped (Mu & Viswanath 2018)."""
    WHITENED = "whitened"
    """Every axis is scaled to variance one: ``(x - mean) U S^(-1/2)`` (Su et al. 2021), up to the
    sign of each axis. Axes without variance are dropped; the published code divides their rounding
    errors by nearly nothing."""


@dataclass(frozen=True)
class Transform:
    """A transform and its number of axes: ``centred``, ``all-but-the-top``, ``whitened256``."""

    kind: TransformKind
    n_axes: int | None = None
    """``whitened``: how many axes of largest variance are kept (the k of Su et al.), None for
    all. ``all-but-the-top``: how many are dropped, None for one in a hundred as the paper
    advises, at least one."""

    def __post_init__(self) -> None:
        if self.n_axes is not None and (self.n_axes < 1 or self.kind is TransformKind.CENTRED):
            raise ValueError(f"{self.kind} does not take {self.n_axes} axes")

    def __str__(self) -> str:
        return f"{self.kind}{'' if self.n_axes is None else self.n_axes}"


TRANSFORMS: Final = (
    Transform(TransformKind.CENTRED),
    Transform(TransformKind.ALL_BUT_THE_TOP),
    Transform(TransformKind.WHITENED),
    Transform(TransformKind.WHITENED, 256),
)
"""Those that a study measures; 256 is the k of Su et al. for encoders of width 768."""


@dataclass(frozen=True)
class PrincipalAxes:
    """Mean, principal axes and variances of the vectors that a transform is fitted on."""

    mean: FloatArray
    """``(hidden_size,)``."""
    axes: FloatArray
    """``(hidden_size, hidden_size)``: orthonormal columns, the widest axis first."""
    variances: FloatArray
    """``(hidden_size,)`` along the axes, descending; exactly zero where only rounding is left."""
    n_sentences: int
    """Distinct ones."""

    def __post_init__(self) -> None:
        width = len(self.mean)
        if self.axes.shape != (width, width) or self.variances.shape != (width,):
            raise ValueError(f"axes {self.axes.shape} do not fit a mean of {width} entries")

    @property
    def rank(self) -> int:
        """How many axes have variance; 0 for a view that is one vector for every sentence."""
        return int(np.count_nonzero(self.variances))

    def scales(self, transform: Transform) -> FloatArray:
        """The factor of each axis under a transform, ``(hidden_size,)`` float64."""
        width = len(self.mean)
        if transform.kind is TransformKind.WHITENED:
            scales = np.zeros(width)
            kept = slice(0, min(self.rank, transform.n_axes or width))
            scales[kept] = 1 / np.sqrt(self.variances[kept])
            return scales
        scales = np.ones(width)
        if transform.kind is TransformKind.ALL_BUT_THE_TOP:
            scales[: transform.n_axes or max(1, round(width / 100))] = 0.0
        return scales


def fit_axes(vectors: Vectors) -> PrincipalAxes:
    """The principal axes of a view.

    Args:
        vectors: ``(n_sentences, hidden_size)``, any float dtype, at least two sentences. As in the
            published code of Su et al. a sentence that occurs twice counts twice in the moments.

    Raises:
        ValueError: There are fewer than two vectors, or one is not finite.
    """
    mean, covariance = _moments(vectors)
    ascending, axes = torch.linalg.eigh(covariance)
    return PrincipalAxes(
        mean=mean,
        axes=np.ascontiguousarray(axes.flip(1).numpy()),
        variances=_without_rounding(ascending.flip(0).numpy(), mean),
        n_sentences=len({row.tobytes() for row in np.ascontiguousarray(vectors)}),
    )


def _moments(vectors: Vectors) -> tuple[FloatArray, torch.Tensor]:
    """Mean and covariance; with torch, which `over_views` keeps to one thread for each view."""
    if vectors.ndim != 2 or len(vectors) < 2:
        raise ValueError(f"expected at least two vectors, found shape {vectors.shape}")
    mean = vectors.mean(axis=0, dtype=np.float64)
    centred = torch.from_numpy(vectors - mean)
    covariance = gram(centred) / (len(vectors) - 1)
    if not np.isfinite(mean).all() or not covariance.isfinite().all():
        raise ValueError("the vectors hold a value that is not finite")
    return mean, covariance


def _without_rounding(variances: FloatArray, mean: FloatArray) -> FloatArray:
    """Descending variances, zero where they are no more than rounding of float32."""
    variances = np.maximum(variances, 0.0)
    if variances.sum() <= _ROUNDING**2 * (mean @ mean):
        variances[:] = 0.0
    variances[variances <= _ROUNDING**2 * variances[0]] = 0.0
    return variances


def transformed_similarities(
    vectors: Mapping[str, Vectors],
    fitted: Mapping[str, PrincipalAxes],
    *,
    fitted_on: str,
    transforms: Sequence[Transform] = TRANSFORMS,
) -> dict[Cell, FloatArray]:
    """Cosine of the two sentences of n pairs under every view and transform.

    Args:
        vectors: View id → ``(2 * n_pairs, hidden_size)``, first sentences then second ones.
        fitted: View id → its axes; views without are left out.
        fitted_on: What the axes were fitted on, for the name: ``target`` for the task's own
            sentences, ``train``, or the name of a corpus.
        transforms: Which transforms.

    Returns:
        Cell such as ``("mean@6", "whitened:target", "cosine")`` → ``(n_pairs,)`` float64 in
        [-1, 1]; NaN in every row where the view has no variance to work with, and for whitening
        where there are fewer than `SENTENCES_PER_DIMENSION` sentences for each dimension that it
        keeps; the reason is in the log. ``whitened256`` is left out where the view is no wider than
        256.
    """
    columns: dict[Cell, FloatArray] = {}
    undefined: dict[tuple[str, int, int], list[str]] = {}
    applied = {
        view_id: [t for t in transforms if (t.n_axes or 0) < len(axes.mean)]
        for view_id, axes in fitted.items()
    }

    def cosines_of(view_id: str) -> FloatArray:
        return _cosines(vectors[view_id], fitted[view_id], applied[view_id])

    for (view_id, axes), cosines in zip(
        fitted.items(), over_views(cosines_of, tuple(fitted)), strict=True
    ):
        if axes.rank == 0:
            logger.warning("%s is one vector for every sentence: no transform is defined", view_id)
        for transform, cosine in zip(applied[view_id], cosines.T, strict=True):
            needed = _sentences_needed(transform, len(axes.mean))
            if axes.rank and axes.n_sentences < needed:
                key = (str(transform), axes.n_sentences, needed)
                undefined.setdefault(key, []).append(view_id)
                cosine = np.full_like(cosine, np.nan)
            columns[Cell(view_id, f"{transform}:{fitted_on}")] = np.ascontiguousarray(cosine)
    for (name, n, needed), views in undefined.items():
        logger.warning(
            "%s is undefined on %d sentences for %d dimensions, expected at least %d: NaN for %s",
            name,
            n,
            needed // SENTENCES_PER_DIMENSION,
            needed,
            views[0] if len(views) == 1 else f"{len(views)} views, such as {views[0]}",
        )
    return columns


def _sentences_needed(transform: Transform, width: int) -> int:
    """How many distinct sentences a transform must be fitted on."""
    if transform.kind is not TransformKind.WHITENED:
        return 0
    return SENTENCES_PER_DIMENSION * min(transform.n_axes or width, width)


def _cosines(both: Vectors, axes: PrincipalAxes, transforms: Sequence[Transform]) -> FloatArray:
    """``(n_pairs, n_transforms)`` from one projection; NaN where a vector has no length left."""
    n_pairs = len(both) // 2
    cosines = np.full((n_pairs, len(transforms)), np.nan)
    if axes.rank:
        # in float32, the precision of the vectors: products cost half, their sums are float64 again
        centred = torch.from_numpy(both - axes.mean).float()
        projected = (centred @ torch.from_numpy(axes.axes).float()).double().numpy()
        left, right = projected[:n_pairs], projected[n_pairs:]
        squares = np.column_stack([axes.scales(t) for t in transforms]) ** 2
        lengths = np.sqrt((left**2 @ squares) * (right**2 @ squares))
        np.divide((left * right) @ squares, lengths, out=cosines, where=lengths > 0)
        np.clip(cosines, -1.0, 1.0, out=cosines)
    return cosines


def anisotropy(vectors: Vectors) -> tuple[float, float, float]:
    """Mean cosine of two random sentences (Ethayarajh 2019), with a 95 % interval.

    The paper averages over 1,000 sampled pairs of word vectors; here the mean is taken over all
    pairs of different rows, which costs no more, and the interval is that of the jackknife of
    such a mean (Arvesen 1969).

    Args:
        vectors: ``(n_sentences, hidden_size)``.

    Returns:
        Value in [-1, 1], lower, upper; all NaN where a vector has no direction.
    """
    n = len(vectors)
    exact = torch.from_numpy(vectors.astype(np.float64))
    lengths = torch.linalg.vector_norm(exact, dim=1)
    if n < 3 or not lengths.isfinite().all() or not lengths.all():
        return math.nan, math.nan, math.nan
    together = (1 / lengths) @ exact  # the sum of the directions
    with_others = (((exact @ together) / lengths - 1) / (n - 1)).numpy()
    value = float(with_others.mean())
    error = 2 * float(with_others.std(ddof=1)) / math.sqrt(n)
    half = float(norm.isf(0.025)) * error
    return value, value - half, value + half


def isoscore(variances: FloatArray) -> float:
    """IsoScore (Rudman et al. 2022): 0 for vectors on a line, 1 for equal variance everywhere.

    The paper's seven steps come down to ``(p - 1) / (d - 1)``, where ``p = (Σλ)² / Σλ²`` is the
    participation ratio of the d variances λ along the principal axes; the package ``IsoScore``
    gives the same number.

    Args:
        variances: ``(hidden_size,)`` along the principal axes, at least two, not negative.

    Returns:
        A value in [0, 1]; NaN where there is no variance.
    """
    if not variances.any():
        return math.nan
    shares = variances / variances.sum()
    return float((1 / (shares @ shares) - 1) / (len(variances) - 1))


def effective_dimension(variances: FloatArray) -> float:
    """Effective rank (Roy & Vetterli 2007): e to the entropy of the shares of variance.

    Args:
        variances: ``(hidden_size,)`` along the principal axes (or singular values of a matrix).

    Returns:
        A value from 1, all on one axis, to hidden_size, the same everywhere; NaN where there is
        no variance.
    """
    shares = variances[variances > 0] / max(variances.sum(), np.finfo(np.float64).tiny)
    return math.exp(float(-(shares @ np.log(shares)))) if len(shares) else math.nan


def principal_variances(vectors: Vectors) -> FloatArray:
    """Variances along the principal axes, ``(hidden_size,)`` descending.

    Args:
        vectors: ``(n_sentences, hidden_size)``, at least two, finite.

    Returns:
        Exactly zero where they are no more than rounding of float32.
    """
    mean, covariance = _moments(vectors)
    return _without_rounding(torch.linalg.eigvalsh(covariance).flip(0).numpy(), mean)


def geometry_scores(vectors: Mapping[str, Vectors], target: Target) -> list[Score]:
    """``anisotropy``, ``isoscore`` and ``effective_dimension`` of every view, untransformed.

    Args:
        vectors: View id → ``(n_sentences, hidden_size)``, one row per distinct sentence.
        target: Whose gold plays no part.

    Returns:
        Three rows per view; NaN, with the reason in the log, for a view with a vector that is not
        finite and where there is only one sentence.
    """
    described = over_views(lambda view_id: _described(view_id, vectors[view_id]), tuple(vectors))
    return [
        target.score(
            view=view_id,
            probe="none",
            metric=metric,
            value=value,
            lower=lower,
            upper=upper,
            n=len(vectors[view_id]),
        )
        for view_id, found in zip(vectors, described, strict=True)
        for metric, (value, lower, upper) in found.items()
    ]


def _described(view_id: str, matrix: Vectors) -> dict[str, tuple[float, float, float]]:
    """Metric → value, lower, upper of one view."""
    variances = np.zeros(0)  # nothing is defined on these
    if len(matrix) < 2:
        logger.warning("%s: one sentence alone has no geometry: NaN", view_id)
    elif not np.isfinite(matrix).all():
        logger.warning("%s holds a vector that is not finite: its geometry is NaN", view_id)
    else:
        variances = principal_variances(matrix)
    return {
        "anisotropy": anisotropy(matrix),
        "isoscore": (isoscore(variances), math.nan, math.nan),
        "effective_dimension": (effective_dimension(variances), math.nan, math.nan),
    }


def linear_cka(views: Sequence[Vectors]) -> FloatArray:
    """Linear centred kernel alignment between every two of k views (Kornblith et al. 2019).

    With the unbiased estimate of HSIC (Song et al. 2012), as the biased one nears 1 for any two
    views when there are not many more sentences than dimensions (Nguyen et al. 2021).

    Args:
        views: k matrices ``(n_sentences, hidden_size)``, the sentences in one order, more than
            three. Cost grows with ``k * n_sentences²``.

    Returns:
        ``(k, k)`` float64, symmetric, 1 on the diagonal, near 0 for independent views; NaN for a
        view without variance.
    """
    n = len(views[0])
    if n < 4:
        raise ValueError(f"CKA needs at least 4 sentences, found {n}")
    scaled: list[Vectors] = []
    for view in views:
        centred = view - view.mean(axis=0, dtype=np.float64)
        spread, length = np.linalg.norm(centred), np.linalg.norm(view.astype(np.float64))
        constant = not spread > _ROUNDING * length
        scaled.append((centred / (np.nan if constant else spread)).astype(np.float32))
    # Row by row of the kernels, so that the k kernels are never in memory at once.
    products, sums = np.zeros((len(views), len(views))), np.empty((len(views), n))
    for start in range(0, n, _CKA_BLOCK):
        block = np.arange(start, min(start + _CKA_BLOCK, n))
        kernels = np.stack([view[block] @ view.T for view in scaled])
        kernels[:, np.arange(len(block)), block] = 0.0
        sums[:, block] = kernels.sum(axis=2, dtype=np.float64)
        flat = kernels.reshape(len(views), -1)
        products += flat @ flat.T
    totals = sums.sum(axis=1)
    hsic = products + np.outer(totals, totals) / ((n - 1) * (n - 2)) - 2 * (sums @ sums.T) / (n - 2)
    own = np.sqrt(np.maximum(np.diag(hsic), 0.0))
    alignment: FloatArray = hsic / np.where(own > 0, own, np.nan) / own[:, np.newaxis]
    np.fill_diagonal(alignment, np.where(own > 0, 1.0, np.nan))
    return alignment


def cka_scores(
    vectors: Mapping[str, Vectors], target: Target, *, n_sentences: int = 2000
) -> list[Score]:
    """Linear CKA between all pairs of views, on a sample of the sentences.

    Args:
        vectors: View id → ``(n, hidden_size)``, one row per distinct sentence.
        target: Whose gold plays no part; its seed draws the sample.
        n_sentences: Size of the sample, which is all sentences where there are fewer.

    Returns:
        One row ``cka`` for every two views, the view written ``cls@6 & mean@6``.
    """
    view_ids = list(vectors)
    n = len(vectors[view_ids[0]])
    sample = np.sort(target.rng().permutation(n)[:n_sentences])
    alignment = linear_cka([vectors[view_id][sample] for view_id in view_ids])
    return [
        target.score(
            view=f"{other} & {one}",
            probe="none",
            metric="cka",
            value=alignment[i, j],
            n=len(sample),
        )
        for i, one in enumerate(view_ids)
        for j, other in enumerate(view_ids[:i])
    ]
