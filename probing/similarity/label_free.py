"""What the vectors of a layer say of its quality without any label.

Skean et al. (2025, *Layer by Layer*) hold that such measures follow the performance of the layers
of an encoder, so that they can choose one. `METRICS` names them, with what each calls better;
``docs/label-free.md`` tests whether their choice is a good one. The two that describe a sentence by
its tokens, `curvature` and `prompt_entropy`, are of a layer, the others of a view. Those of two
noisy copies of a sentence ask how well the layer knows a sentence again.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from probing.similarity.geometry import (
    anisotropy,
    effective_dimension,
    isoscore,
    principal_variances,
)

FloatArray = NDArray[np.float64]
Vectors = NDArray[Any]

TEMPERATURE: Final = 0.1
"""Of InfoNCE, as in Skean et al. (2025)."""
WITHIN_SHARE: Final = 1e-4
"""What LiDAR adds to every variance within sentences, as a share of the mean one."""
N_PERMUTATIONS: Final = 5
"""Random pairings that DiME averages over."""


class Better(StrEnum):
    """Which values of a measure its authors call better."""

    HIGH = "high"
    LOW = "low"


@dataclass(frozen=True)
class LabelFreeMetric:
    """One measure, and what decides between two layers by it."""

    name: str
    better: Better
    source: str
    of_tokens: bool = False
    """Whether it is of a layer, by its token states, and the same for every pooling."""


METRICS: Final = (
    LabelFreeMetric("effective_rank", Better.HIGH, "Roy & Vetterli 2007; Garrido et al. 2023"),
    LabelFreeMetric("isoscore", Better.HIGH, "Rudman et al. 2022"),
    LabelFreeMetric("anisotropy", Better.LOW, "Ethayarajh 2019"),
    LabelFreeMetric("uniformity", Better.LOW, "Wang & Isola 2020"),
    LabelFreeMetric("alignment", Better.LOW, "Wang & Isola 2020"),
    LabelFreeMetric("infonce", Better.HIGH, "van den Oord et al. 2018"),
    LabelFreeMetric("dime", Better.HIGH, "Skean et al. 2023"),
    LabelFreeMetric("lidar", Better.HIGH, "Thilak et al. 2023"),
    LabelFreeMetric("curvature", Better.LOW, "Hosseini & Fedorenko 2023", of_tokens=True),
    LabelFreeMetric("prompt_entropy", Better.HIGH, "Skean et al. 2025", of_tokens=True),
)
"""In the order in which they are shown."""


def effective_rank(vectors: Vectors) -> float:
    """RankMe (Garrido et al. 2023): e to the entropy of the shares of the singular values.

    Of the vectors as they are, not centred; `effective_dimension` is of their variances.

    Args:
        vectors: ``(n, d)``, any float dtype.

    Returns:
        A value from 1 to min(n, d); NaN where all vectors are zero or one is not finite.
    """
    if not np.isfinite(vectors).all():
        return math.nan
    values = torch.linalg.svdvals(_exact(vectors)).numpy()
    return effective_dimension(values[values > values[0] * np.finfo(np.float32).eps])


def uniformity(vectors: Vectors, *, t: float = 2.0) -> float:
    """Uniformity loss (Wang & Isola 2020): log of the mean of ``exp(-t |x - y|²)`` over pairs.

    Args:
        vectors: ``(n, d)``, at least two; brought to length one.
        t: Of the Gaussian.

    Returns:
        A value in [-4 t, 0]: 0 where all point one way, about -2 t where they are spread evenly
        over a sphere of many dimensions. NaN where a vector has no direction.
    """
    directions = _directions(vectors)
    distances = torch.pdist(directions)
    return float((-t * distances**2).exp().mean().log()) if len(distances) else math.nan


def alignment(one: Vectors, other: Vectors, *, alpha: float = 2.0) -> float:
    """Alignment loss (Wang & Isola 2020): mean of ``|x - y|^alpha`` over the two copies.

    Args:
        one: ``(n, d)``, brought to length one.
        other: The same shape: row i is another copy of what row i of ``one`` is of.
        alpha: Power of the distance.

    Returns:
        A value in [0, 2 ** alpha]; NaN where a vector has no direction.
    """
    apart = torch.linalg.vector_norm(_directions(one) - _directions(other), dim=1)
    return float((apart**alpha).mean())


def infonce(one: Vectors, other: Vectors, *, temperature: float = TEMPERATURE) -> float:
    """Bound of InfoNCE on what two copies share, as a share of its limit ``log n``.

    ``1 - loss / log n`` as in Skean et al. (2025), where the loss (van den Oord et al. 2018) is the
    cross-entropy of finding the other copy of a sentence among n, by cosine over the temperature;
    the mean of both directions, which the paper's code takes in one.

    Args:
        one: ``(n, d)``, at least two.
        other: The same shape, row i of the same sentence.
        temperature: Positive.

    Returns:
        At most 1; 0 is chance. NaN where a vector has no direction.
    """
    if len(one) < 2:
        return math.nan
    logits = _directions(one) @ _directions(other).T / temperature
    right = logits.diagonal()
    losses = [(logits.logsumexp(dim=axis) - right).mean() for axis in (0, 1)]
    return float(1 - sum(losses) / 2 / math.log(len(one)))


def matrix_entropy(gram: torch.Tensor) -> torch.Tensor:
    """Entropy of the eigenvalues of positive semi-definite matrices, as shares of their sum.

    The matrix-based entropy of Giraldo et al. (2014) in the limit ``alpha = 1``.

    Args:
        gram: ``(..., n, n)`` float64, symmetric.

    Returns:
        ``(...)`` in nats, from 0 to ``log n``; NaN for a matrix without trace or not finite.
    """
    sums = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
    defined = sums.isfinite() & (sums > 0)
    safe = torch.where(defined[..., None, None], gram, torch.eye(gram.shape[-1], dtype=gram.dtype))
    values = torch.linalg.eigvalsh(safe).clamp_min(0)
    shares = values / values.sum(-1, keepdim=True)
    entropy = -torch.special.xlogy(shares, shares).sum(-1)
    return torch.where(defined, entropy, torch.nan)


def dime(
    one: Vectors, other: Vectors, *, rng: np.random.Generator, n_permutations: int = N_PERMUTATIONS
) -> float:
    """DiME (Skean et al. 2023): how much less joint entropy two copies have than strangers.

    ``E[S(K_x ∘ P K_y Pᵀ)] - S(K_x ∘ K_y)`` over random permutations P, with S the
    `matrix_entropy`. The kernel is linear as in Skean et al. (2025), of each copy's vectors less
    their mean and of length one. Always of the n x n matrices: the paper's code takes d x d
    covariances where n > d, whose product entry by entry is not the joint one.

    Args:
        one: ``(n, d)``, at least three.
        other: The same shape, row i of the same sentence.
        rng: Source of the permutations.
        n_permutations: How many are averaged over.

    Returns:
        As a share of the limit ``log min(n, d)``; about 0 where the copies have nothing to do with
        one another. NaN where a vector is the mean one or not finite. Time grows as n³.
    """
    n, width = one.shape
    if n < 3 or width < 2:
        return math.nan
    left, right = (_directions(part - part.mean(axis=0)) for part in (_float(one), _float(other)))
    grams = left @ left.T, right @ right.T
    orders = [
        torch.arange(n),
        *(torch.from_numpy(rng.permutation(n)) for _ in range(n_permutations)),
    ]
    joint = [float(matrix_entropy(grams[0] * grams[1][order][:, order])) for order in orders]
    return (float(np.mean(joint[1:])) - joint[0]) / math.log(min(n, width))


def lidar(copies: Vectors) -> float:
    """LiDAR (Thilak et al. 2023): effective rank of what tells sentences apart.

    e to the entropy of the shares of the eigenvalues of ``W^(-1/2) B W^(-1/2)``, with B the
    covariance of the sentences' means and W that of the copies around them, `WITHIN_SHARE` of its
    mean variance added to every axis (the paper adds 1e-4 itself, and so depends on the scale).

    Args:
        copies: ``(n, k, d)``: k noisy copies of each of n sentences, both at least two.

    Returns:
        A value from 1 to min(n - 1, d); NaN where no copy differs or a vector is not finite.
    """
    n, k, width = copies.shape
    if n < 2 or k < 2 or not np.isfinite(copies).all():
        return math.nan
    exact = _exact(copies)
    means = exact.mean(dim=1)
    around = (exact - means[:, None]).reshape(-1, width)
    between = means - means.mean(dim=0)
    within = around.T @ around / len(around)
    mean_variance = float(within.diagonal().mean())
    if mean_variance <= _NOTHING * float((between**2).mean()):
        return math.nan
    within += WITHIN_SHARE * mean_variance * torch.eye(width, dtype=within.dtype)
    lower = torch.linalg.cholesky(within)
    whitened = torch.linalg.solve_triangular(lower, between.T, upper=False)  # (d, n)
    ratios = torch.linalg.eigvalsh(whitened @ whitened.T / n).clamp_min(0).numpy()
    return effective_dimension(ratios)


def curvature(states: torch.Tensor, mask: torch.Tensor) -> FloatArray:
    """Mean angle between steps from token to token (Hénaff et al. 2019, Hosseini & Fedorenko 2023).

    The angle of ``x_(i+1) - x_i`` with ``x_(i+2) - x_(i+1)``, over the tokens of a sentence. The
    paper's code takes the angle of lines, at most a right one; here it is of directions, as in the
    definition.

    Args:
        states: ``(n, n_tokens, d)`` of one layer, padded on the right.
        mask: ``(n, n_tokens)`` bool, True on tokens that are no padding.

    Returns:
        ``(n,)`` radians in [0, pi]; NaN for a sentence of fewer than three tokens. An angle with a
        step of length zero is left out.
    """
    steps = states.double().diff(dim=1)
    lengths = torch.linalg.vector_norm(steps, dim=2)
    products = (steps[:, :-1] * steps[:, 1:]).sum(dim=2)
    sizes = lengths[:, :-1] * lengths[:, 1:]
    real = mask[:, 2:] & (sizes > 0)
    cosines = torch.where(real, products / sizes.clamp_min(torch.finfo(sizes.dtype).tiny), 0.0)
    angles = torch.where(real, cosines.clamp(-1, 1).arccos(), 0.0)
    counts = real.sum(dim=1)
    mean = angles.sum(dim=1) / counts.clamp_min(1)
    return np.asarray(torch.where(counts > 0, mean, torch.nan).cpu().numpy())


def prompt_entropy(states: torch.Tensor, mask: torch.Tensor) -> FloatArray:
    """Entropy of the token vectors of a sentence (Skean et al. 2025), as a share of its limit.

    The `matrix_entropy` of the tokens' Gram matrix over ``log min(n_tokens, d)``; the tokens less
    their mean and of length one, as in the paper's code.

    Args:
        states: ``(n, n_tokens, d)`` of one layer, padded on the right.
        mask: ``(n, n_tokens)`` bool, True on tokens that are no padding.

    Returns:
        ``(n,)`` in [0, 1]; NaN for a sentence of fewer than three tokens.
    """
    exact = states.double().masked_fill(~mask[..., None], 0.0)
    counts = mask.sum(dim=1)
    centred = exact - exact.sum(dim=1, keepdim=True) / counts.clamp_min(1)[:, None, None]
    lengths = torch.linalg.vector_norm(centred, dim=2, keepdim=True)
    of_length = centred / lengths.clamp_min(torch.finfo(lengths.dtype).tiny)
    of_length = of_length.masked_fill(~mask[..., None], 0.0).cpu()
    entropy = matrix_entropy(of_length @ of_length.transpose(1, 2))
    limits = counts.clamp(2, max(2, states.shape[2])).double().log().cpu()
    return np.asarray(torch.where(counts.cpu() > 2, entropy / limits, torch.nan).numpy())


def view_metrics(
    vectors: Vectors, copies: Vectors, *, rng: np.random.Generator
) -> Mapping[str, float]:
    """Every metric of `METRICS` that is of a view.

    Args:
        vectors: ``(n, d)``, of distinct sentences.
        copies: ``(n, k, d)``, k at least two: noisy copies of the same sentences. Pairs are the
            first two.
        rng: Source of the permutations of `dime`.

    Returns:
        Name → value; NaN where it is undefined, and throughout for a view that is one vector for
        every sentence or has one that is not finite.
    """
    names = [metric.name for metric in METRICS if not metric.of_tokens]
    if not (np.isfinite(vectors).all() and np.isfinite(copies).all()):
        return dict.fromkeys(names, math.nan)
    variances = principal_variances(vectors)
    if not variances.any():
        return dict.fromkeys(names, math.nan)
    one, other = copies[:, 0], copies[:, 1]
    return {
        "effective_rank": effective_rank(vectors),
        "isoscore": isoscore(variances),
        "anisotropy": anisotropy(vectors)[0],
        "uniformity": uniformity(vectors),
        "alignment": alignment(one, other),
        "infonce": infonce(one, other),
        "dime": dime(one, other, rng=rng),
        "lidar": lidar(copies),
    }


_NOTHING: Final = 1e-10
"""A variance that is no more than this share of another is rounding of float32."""


def _float(vectors: Vectors) -> FloatArray:
    return vectors.astype(np.float64)


def _exact(vectors: Vectors) -> torch.Tensor:
    return torch.from_numpy(_float(vectors))


def _directions(vectors: Vectors) -> torch.Tensor:
    """The vectors at length one, float64; NaN in the rows that have no direction."""
    exact = _exact(vectors)
    lengths = torch.linalg.vector_norm(exact, dim=1, keepdim=True)
    return torch.where(lengths > 0, exact / lengths, torch.nan)
