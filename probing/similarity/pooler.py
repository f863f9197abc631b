"""What the pooler does, one step at a time, and what other poolers would have done.

The road runs from the best layer under mean pooling over mean pooling of the last layer, ``[CLS]``
of the last layer and ``W h_cls + b`` to ``pooler_output``, its tanh. Beside it are poolers made
for comparison from the same ``[CLS]``: with a random matrix of the same scale, and with the
identity in place of W (tanh alone). They are transforms of the view ``cls@last``:
``random-dense``, ``random-dense+tanh`` and ``tanh``.
"""

import logging
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from probing.encoding.views import Pooling, View
from probing.results.names import difference, sides
from probing.results.scores import Score
from probing.results.target import Target
from probing.similarity.contrasts import Cell, contrast_scores
from probing.similarity.cosine import cosine_similarities
from probing.similarity.geometry import effective_dimension
from probing.statistics.gram import gram
from probing.threads import over_views

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]
Vectors = NDArray[np.float32]

SATURATED: Final = 0.99
"""A unit of ``pooler_output`` beyond this size is on the flat part of tanh."""
RANDOM_POOLERS: Final = 5
"""How many random matrices W is compared with."""

_REGULARISATION: Final = 1e-10


@dataclass(frozen=True)
class PoolerWeights:
    """The dense layer of a pooler: ``W h_cls + b``."""

    weight: FloatArray
    """``(hidden_size, hidden_size)``, as in `torch.nn.Linear`: a row per output unit."""
    bias: FloatArray
    """``(hidden_size,)``."""

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:
            raise ValueError(f"weight {self.weight.shape} does not fit bias {self.bias.shape}")

    def dense(self, cls: NDArray[np.floating]) -> FloatArray:
        """``(n_sentences, hidden_size)`` ``[CLS]`` vectors → the same shape, float64."""
        result: FloatArray = cls.astype(np.float64) @ self.weight.T + self.bias
        return result

    def random_counterpart(self, seed: int) -> "PoolerWeights":
        """Independent normal weights with the Frobenius norm of W; the bias is kept."""
        drawn = np.random.default_rng(seed).standard_normal(self.weight.shape)
        scale = np.linalg.norm(self.weight) / np.linalg.norm(drawn)
        return PoolerWeights(weight=drawn * scale, bias=self.bias)


def road_contrasts(views: Collection[str], *, best: int | None) -> tuple[Cell, ...]:
    """The steps of the road and the whole of it, as contrasts for `contrast_scores`.

    Args:
        views: The views of the encoder; steps to views it lacks are left out, so that the road of
            an encoder without a pooler ends at ``[CLS]``.
        best: The best layer under mean pooling, chosen on development pairs; None where there was
            nothing to choose on, and the road then starts at the last layer.

    Returns:
        ``later - earlier`` for each step, then ``end - start``. The steps add up to the last one.
    """
    last = max((layer for view_id in views for layer in View.parse(view_id).layers), default=0)
    stations = [View((last if best is None else best,), Pooling.MEAN)]
    stations += [
        View((last,), pooling)
        for pooling in (Pooling.MEAN, Pooling.CLS, Pooling.POOLER_DENSE, Pooling.POOLER)
    ]
    reached = list(dict.fromkeys(str(view) for view in stations if str(view) in views))
    if not reached:
        return ()
    steps = [*zip(reached[1:], reached[:-1], strict=True), (reached[-1], reached[0])]
    return tuple(dict.fromkeys(Cell(difference(*step)) for step in steps))


def pooler_scores(
    vectors: Mapping[str, Vectors], target: Target, weights: PoolerWeights | None
) -> list[Score]:
    """Everything about the pooler on one task that is not a step of the road.

    Args:
        vectors: View id → ``(2 * n_pairs, hidden_size)``, first sentences then second ones.
        target: n_pairs gold scores; random matrix i is drawn from ``target.seed + i``, the ``seed``
            of its rows.
        weights: Weights of the pooler, None where the encoder has no dense layer there.

    Returns:
        Rows of `replaced_pooler_scores` and `pooler_diagnostics`; none without a pooler.
    """
    cls_id, pooler_id = _cls_and_pooler(vectors)
    if pooler_id is None:
        logger.info("no pooler: no anatomy")
        return []
    rows = pooler_diagnostics(vectors, target, weights)
    if weights is not None:
        rows += replaced_pooler_scores(cls_id, vectors[cls_id], target, weights)
    return rows


def replaced_pooler_scores(
    cls_id: str, cls: Vectors, target: Target, weights: PoolerWeights
) -> list[Score]:
    """The last steps of the road with another pooler in the place of the encoder's own.

    The identity changes nothing and tanh alone is its second step. A random matrix of the same
    scale shows what any dense layer does; with tanh after it, what any untrained pooler does.

    Args:
        cls_id: ``cls@last``, the view of the rows.
        cls: ``(2 * n_pairs, hidden_size)`` ``[CLS]`` vectors, first sentences then second ones.
        target: n_pairs gold scores; random matrix i is drawn from ``target.seed + i``.
        weights: Weights of the encoder's own pooler.

    Returns:
        ``spearman`` of ``tanh``, ``random-dense`` and ``random-dense+tanh``, and the differences
        ``tanh - raw``, ``random-dense - raw``, ``random-dense+tanh - random-dense`` with the rows
        that `contrast_scores` gives to each. Those of a random matrix carry its seed.
    """
    seeds = range(target.seed, target.seed + RANDOM_POOLERS)
    vectors = {cls_id: cls, "tanh": np.tanh(cls)}
    cells = [Cell(cls_id, "tanh"), Cell(cls_id, difference("tanh", "raw"))]
    for number in seeds:  # told apart by their numbers until all share one set of resamples
        dense, both = f"random-dense#{number}", f"random-dense+tanh#{number}"
        vectors[dense] = weights.random_counterpart(number).dense(cls).astype(np.float32)
        vectors[both] = np.tanh(vectors[dense])
        wanted = (dense, both, difference(dense, "raw"), difference(both, dense))
        cells += [Cell(cls_id, name) for name in wanted]
    similarities = cosine_similarities(vectors, tuple(vectors))
    names = ["raw", *list(vectors)[1:]]
    rows = contrast_scores(
        {Cell(cls_id, name): similarities[:, i] for i, name in enumerate(names)},
        target,
        cells=cells,
    )
    return [_with_seed_of_matrix(row) for row in rows]


def _with_seed_of_matrix(row: Score) -> Score:
    _, _, number = row.transform.partition("#")
    if not number:
        return row
    seed = sides(number)[0]
    return replace(row, transform=row.transform.replace(f"#{seed}", ""), seed=int(seed))


def pooler_diagnostics(
    vectors: Mapping[str, Vectors], target: Target, weights: PoolerWeights | None
) -> list[Score]:
    """What the pooler does to the vectors of one task, without regard to the gold scores.

    Args:
        vectors: View id → ``(n_sentences, hidden_size)``.
        target: Whose gold plays no part; its seed draws the halves in ``cls_variance_recovered``.
        weights: Weights of the pooler, or None.

    Returns:
        Rows of the pooler's views: ``saturated_share``, the share of units beyond `SATURATED`;
        ``cls_variance_recovered``, see `variance_recovered`, also for ``pooler_dense``; and
        ``reconstruction_error``, the largest distance in any unit between ``tanh(W h_cls + b)``
        and ``pooler_output``.
    """
    cls_id, pooler_id = _cls_and_pooler(vectors)
    if pooler_id is None:
        return []
    distinct = _distinct_rows(vectors[cls_id])
    cls, pooled = vectors[cls_id][distinct], vectors[pooler_id][distinct]
    saturated = (np.abs(pooled) > SATURATED).mean(axis=1, dtype=np.float64)
    dense_id = pooler_id.replace(Pooling.POOLER, Pooling.POOLER_DENSE)
    found = [(pooler_id, "saturated_share", _mean_interval(saturated))]
    read = [view_id for view_id in (pooler_id, dense_id) if view_id in vectors]
    recovered = over_views(
        lambda view_id: variance_recovered(cls, vectors[view_id][distinct], seed=target.seed), read
    )
    found += [
        (view_id, "cls_variance_recovered", interval)
        for view_id, interval in zip(read, recovered, strict=True)
    ]
    if weights is not None:
        error = float(np.abs(np.tanh(weights.dense(cls)) - pooled).max())
        found.append((pooler_id, "reconstruction_error", (error, math.nan, math.nan)))
    return [
        target.score(
            view=view_id,
            probe="none",
            metric=metric,
            value=value,
            lower=lower,
            upper=upper,
            n=len(distinct),
        )
        for view_id, metric, (value, lower, upper) in found
    ]


def variance_recovered(cls: Vectors, pooled: Vectors, *, seed: int) -> tuple[float, float, float]:
    """The share of the ``[CLS]`` variance that a linear map reads back from pooled vectors.

    Least squares, fitted on one half of the sentences and scored on the other, both ways round; a
    ridge of 1e-10 of the mean variance keeps it solvable, so that what W shrinks a hundred
    thousandfold counts as lost.

    Args:
        cls: ``(n_sentences, hidden_size)`` distinct ``[CLS]`` vectors.
        pooled: ``(n_sentences, hidden_size)`` of the same sentences.
        seed: Seed of the halves.

    Returns:
        Value (1 where nothing is lost, 0 or less where nothing is left) with a 95 % interval over
        sentences; NaN, the reason in the log, where half of the sentences are fewer than twice
        the dimensions.
    """
    n, width = cls.shape
    if n // 2 < 2 * width:
        logger.warning(
            "what survives of [CLS] cannot be told from %d distinct sentences: expected at least "
            "%d for %d dimensions",
            n,
            4 * width,
            width,
        )
        return math.nan, math.nan, math.nan
    order = np.random.default_rng(seed).permutation(n)
    target, source = (torch.from_numpy(one[order]).double() for one in (cls, pooled))
    lost, total = torch.empty(2, n, dtype=torch.float64)
    halves = (slice(0, n // 2), slice(n // 2, n))
    for fitted, scored in (halves, halves[::-1]):
        source_mean, target_mean = source[fitted].mean(dim=0), target[fitted].mean(dim=0)
        x, y = source[fitted] - source_mean, target[fitted] - target_mean
        moments = gram(x)
        ridge = _REGULARISATION * float(moments.trace()) / width
        if not ridge > 0:
            logger.warning("the pooled vectors do not vary: nothing can be read back from them")
            return math.nan, math.nan, math.nan
        moments.diagonal().add_(ridge)
        coefficients = torch.cholesky_solve(x.T @ y, torch.linalg.cholesky(moments))
        actual = target[scored] - target_mean
        predicted = (source[scored] - source_mean) @ coefficients
        lost[scored] = (actual - predicted).square_().sum(dim=1)
        total[scored] = actual.square_().sum(dim=1)
    share = float(lost.sum() / total.sum())
    error = float((lost - share * total).std() / (total.mean() * math.sqrt(n)))
    half = float(norm.isf(0.025)) * error
    return 1 - share, 1 - share - half, 1 - share + half


def weight_scores(weights: PoolerWeights, *, layer: int, seed: int) -> list[Score]:
    """What the weights of the pooler are, whatever the sentences: once per encoder.

    Args:
        weights: Weights of the pooler.
        layer: The last layer, for the name of the view.
        seed: Value of the ``seed`` column; nothing here is random.

    Returns:
        Rows of ``pooler_dense@layer`` with task ``none``: ``singular_value_largest``,
        ``singular_value_median`` and ``singular_value_smallest`` of W, its ``effective_rank``
        (Roy & Vetterli 2007), and ``bias_largest``, the largest absolute bias (exactly zero in a
        pooler that was never trained).
    """
    singular_values = np.asarray(np.linalg.svd(weights.weight, compute_uv=False), np.float64)
    found = {
        "singular_value_largest": singular_values[0],
        "singular_value_median": np.median(singular_values),
        "singular_value_smallest": singular_values[-1],
        "effective_rank": effective_dimension(singular_values),
        "bias_largest": np.abs(weights.bias).max(),
    }
    target = Target(task="none", split="none", seed=seed)
    return [
        target.score(
            view=str(View((layer,), Pooling.POOLER_DENSE)),
            probe="none",
            metric=metric,
            value=value,
            n=len(singular_values),
        )
        for metric, value in found.items()
    ]


def _cls_and_pooler(vectors: Mapping[str, Vectors]) -> tuple[str, str | None]:
    """``cls@last``, and ``pooler@last`` or None."""
    last = max((layer for view_id in vectors for layer in View.parse(view_id).layers), default=0)
    pooler_id = str(View((last,), Pooling.POOLER))
    return str(View((last,), Pooling.CLS)), pooler_id if pooler_id in vectors else None


def _distinct_rows(matrix: Vectors) -> NDArray[np.intp]:
    """The first row of each distinct vector, in order."""
    first: dict[bytes, int] = {}
    for row, vector in enumerate(matrix):
        first.setdefault(vector.tobytes(), row)
    return np.fromiter(first.values(), dtype=np.intp)


def _mean_interval(values: FloatArray) -> tuple[float, float, float]:
    """Mean of independent values with its normal 95 % interval, which one value alone has not."""
    value = float(values.mean())
    if len(values) < 2:
        return value, math.nan, math.nan
    half = float(norm.isf(0.025)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return value, value - half, value + half
