"""Multinomial logistic regression with L2, at many strengths at once, to a certified optimum.

The objective is that of `sklearn.linear_model.LogisticRegression`: the mean negative log-likelihood
plus ``|W|² / (2 C n)``, the intercept free; two classes have one logit. It is minimised by L-BFGS
(Liu & Nocedal 1989) for all strengths together, so that one product with the features serves them
all; the metric it starts from is the Hessian with the uncertainty of the classes taken apart from
the covariance of the features. A fit ends when its duality gap, a proven bound on how far the loss
lies above the minimum, is small, not after a number of steps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TOLERANCE: Final = 1e-6
"""Largest duality gap of a converged fit, as a share of its loss.

At ten times as much, test items between two classes come out otherwise than at the optimum."""

MAX_ITERATIONS: Final = 2000

_MEMORY: Final = 10
"""Pairs of L-BFGS."""

_LEAST_LEARNT: Final = 1e-3
"""Least share of the loss that a fit is taken to gain over the frequencies of the classes."""

_CURVATURE: Final = 0.5
"""How far a line search must flatten the slope, as a share of where it starts."""

_MAX_TRIALS: Final = 40
"""Steps tried in one line search; mostly the first or the second does."""

_SECANTS: Final = 5
"""Trials after which a line search halves: slopes can differ by many orders of magnitude."""

_CERTAIN: Final = 1e-10
"""Uncertainty of a class below which its curvature is lost in rounding."""

_PATIENCE: Final = 60
"""Iterations without a smaller gap after which a precision is taken to be exhausted."""

_MAX_LOGITS: Final = 2**24
"""Logits held at once; strengths beyond that are fitted after each other."""


@dataclass(frozen=True)
class LogisticPath:
    """Fits of one view at n_strengths strengths; two classes have one column, k > 2 have k."""

    weights: Tensor
    """(n_strengths, n_columns, n_features + 1), the intercept last."""
    losses: NDArray[np.float64]
    """(n_strengths,) mean log-loss in nats plus the penalty."""
    gaps: NDArray[np.float64]
    """(n_strengths,) bound on the loss above the minimum, as a share of the loss."""
    iterations: NDArray[np.int64]
    converged: NDArray[np.bool_]
    """(n_strengths,) whether the gap is within the tolerance."""

    def logits(self, strength: int, features: Tensor) -> Tensor:
        """(n_classes, n) logits at one strength, of features (n_features + 1, n), the last ones."""
        logits = self.weights[strength] @ features
        return logits if len(logits) > 1 else torch.cat([torch.zeros_like(logits), logits])


def fit_logistic(
    features: Tensor,
    targets: Tensor,
    *,
    n_classes: int,
    strengths: Sequence[float],
    tolerance: float = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
) -> LogisticPath:
    """Fit all strengths.

    Float32 goes as far as it can; what it cannot settle (weak penalties on separable data) is
    finished in float64.

    Args:
        features: (n_features + 1, n) float32 or float64, each row but the last centred and of like
            scale, the last one ones. The device is where the work is done.
        targets: (n,) int64 in ``range(n_classes)``, every class at least once.
        n_classes: at least two.
        strengths: sklearn's ``C``, all above zero; a larger one is a weaker penalty.
        tolerance: largest duality gap of a converged fit, as a share of its loss.
        max_iterations: per strength, over both precisions.

    Returns:
        The fits in the order of `strengths`; one that did not converge says so.
    """
    n_columns = 1 if n_classes == 2 else n_classes
    at_once = max(1, _MAX_LOGITS // (n_columns * features.shape[1]))
    order = np.argsort(strengths, kind="stable")
    solutions: dict[int, _Solution] = {}
    objective = _Objective.of(features, targets, n_classes, strengths)
    start: Tensor | None = None
    for first in range(0, len(order), at_once):
        chosen = order[first : first + at_once]
        part = objective.at(torch.as_tensor(chosen, device=features.device))
        weights = part.initial_weights() if start is None else start.repeat(len(chosen), 1, 1)
        found = _minimise(part, weights, tolerance, max_iterations)
        left = [i for i, solution in enumerate(found) if solution.gap > tolerance]
        if left and features.dtype != torch.float64:
            rest = part.at(torch.as_tensor(left, device=features.device)).double()
            weights = torch.stack([found[i].weights for i in left]).double()
            used = min(found[i].iterations for i in left)
            refined = _minimise(rest, weights, tolerance, max(max_iterations - used, 0))
            for i, solution in zip(left, refined, strict=True):
                found[i] = solution.after(found[i], features.dtype)
        solutions |= {int(index): found[i] for i, index in enumerate(chosen)}
        start = found[-1].weights[None]
    ordered = [solutions[i] for i in range(len(strengths))]
    gaps = np.array([solution.gap for solution in ordered])
    return LogisticPath(
        weights=objective.turned_back(torch.stack([solution.weights for solution in ordered])),
        losses=np.array([solution.loss for solution in ordered]),
        gaps=gaps,
        iterations=np.array([solution.iterations for solution in ordered]),
        converged=gaps <= tolerance,
    )


@dataclass(frozen=True)
class _Solution:
    weights: Tensor
    loss: float
    gap: float
    iterations: int

    def after(self, earlier: "_Solution", dtype: torch.dtype) -> "_Solution":
        weights = self.weights.to(dtype)
        return _Solution(weights, self.loss, self.gap, earlier.iterations + self.iterations)


@dataclass(frozen=True)
class _Objective:
    """The loss of s strengths over features (d, n); k columns of weights each.

    Features and weights are in the basis of the features' eigenvectors, where an approximate
    Hessian is diagonal; the penalty is the same in any basis.
    """

    given: Tensor
    """(d, n), the features as they came."""
    features: Tensor
    """(d, n), turned; the last row ones."""
    members: Tensor
    """(k, n) one where an item is of a class, else zero."""
    basis: Tensor
    """(d - 1, d - 1) eigenvectors, in columns, of the second moments of the features."""
    moments: Tensor
    """(d - 1,) their eigenvalues, not below zero."""
    penalty: Tensor
    """(s, 1, 1) ``1 / (C n)``."""

    @classmethod
    def of(
        cls, features: Tensor, targets: Tensor, n_classes: int, strengths: Sequence[float]
    ) -> Self:
        n = features.shape[1]
        members = torch.nn.functional.one_hot(targets, n_classes).T.to(features.dtype)
        moments, basis = torch.linalg.eigh(features[:-1] @ features[:-1].T / n)
        penalty = 1 / (n * torch.tensor(strengths, dtype=torch.float64, device=features.device))
        return cls(
            given=features,
            features=_turned(features, basis),
            members=(members[1:] if n_classes == 2 else members).contiguous(),
            basis=basis,
            moments=moments.clamp(min=0),
            penalty=penalty.to(features.dtype)[:, None, None],
        )

    def at(self, chosen: Tensor) -> Self:
        """The same for some of the strengths, by index or by mask."""
        return replace(self, penalty=self.penalty[chosen])

    def double(self) -> Self:
        basis = self.basis.double()
        # one step of Newton and Schulz: orthogonal to the new precision
        basis = 1.5 * basis - 0.5 * basis @ (basis.T @ basis)
        return type(self)(
            given=self.given.double(),
            features=_turned(self.given.double(), basis),
            members=self.members.double(),
            basis=basis,
            moments=self.moments.double(),
            penalty=self.penalty.double(),
        )

    def turned_back(self, weights: Tensor) -> Tensor:
        """Weights (s, k, d) for the features as they came."""
        return torch.cat([weights[:, :, :-1] @ self.basis.T, weights[:, :, -1:]], dim=2)

    def initial_weights(self) -> Tensor:
        """(s, k, d): zero, the intercepts those of the class frequencies."""
        k = len(self.members)
        weights = self.features.new_zeros(len(self.penalty), k, len(self.features))
        share = self.members.mean(1)
        weights[:, :, -1] = share.logit() if k == 1 else share.log() - share.log().mean()
        return weights

    def null_loss(self) -> Tensor:
        """The loss at `initial_weights`: the entropy of the classes."""
        share = self.members.mean(1)
        shares = torch.cat([share, 1 - share]) if len(share) == 1 else share
        return -(shares * shares.log()).sum()

    def logits(self, weights: Tensor) -> Tensor:
        """(s, k, n)."""
        return _products(weights, self.features)

    def evaluate(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Log-loss of every item (s, n) and its derivatives by the logits (s, k, n).

        One column stands for two classes, the first with logit zero.
        """
        if len(self.members) == 1:
            losses = torch.nn.functional.softplus(logits * (1 - 2 * self.members))
            return losses[:, 0], logits.sigmoid().sub_(self.members)
        highest = logits.amax(1, keepdim=True)
        shifted = logits - highest
        gold = (shifted * self.members).sum(1)
        probabilities = shifted.exp_()
        total = probabilities.sum(1, keepdim=True)
        probabilities /= total
        return total.log_()[:, 0] - gold, probabilities.sub_(self.members)

    def gradient(self, residuals: Tensor, weights: Tensor) -> Tensor:
        """(s, k, d) from derivatives (s, k, n)."""
        slopes = _products(residuals, self.features.T) / self.features.shape[1]
        slopes[:, :, :-1] += self.penalty * weights[:, :, :-1]
        return slopes

    def loss(self, losses: Tensor, weights: Tensor) -> Tensor:
        """(s,) from the losses of the items (s, n)."""
        ridge = self.penalty[:, 0, 0] * weights[:, :, :-1].square().sum((1, 2)) / 2
        return losses.mean(1) + ridge

    def gap(self, gradient: Tensor, uncertainty: Tensor) -> Tensor:
        """(s,) how far the loss can lie above the minimum.

        With intercepts at their optimum this is the duality gap ``|∇|² / (2 penalty)``; what they
        still lack is added to second order.
        """
        proven = gradient[:, :, :-1].square().sum((1, 2)) / (2 * self.penalty[:, 0, 0])
        return proven + (gradient[:, :, -1].square() / (2 * uncertainty)).sum(1)

    def precondition(self, vectors: Tensor, uncertainty: Tensor) -> Tensor:
        """(s, k, d): vectors times an approximate inverse of the Hessian.

        The Hessian is taken to be uncertainty (s, k) times the second moments, plus the penalty.
        """
        solved = torch.empty_like(vectors)
        curvature = uncertainty[:, :, None] * self.moments + self.penalty
        torch.div(vectors[:, :, :-1], curvature, out=solved[:, :, :-1])
        solved[:, :, -1] = vectors[:, :, -1] / uncertainty
        if solved.shape[1] > 1:
            # Adding one vector to all classes changes no probability: stay where they sum to zero.
            solved -= solved.mean(1, keepdim=True)
        return solved


@dataclass
class _Pairs:
    """The last steps and changes of gradient of L-BFGS, each (s, k, d)."""

    steps: list[Tensor] = field(default_factory=list)
    changes: list[Tensor] = field(default_factory=list)
    scales: list[Tensor] = field(default_factory=list)

    def add(self, step: Tensor, change: Tensor) -> None:
        self.steps.append(step)
        self.changes.append(change)
        self.scales.append(1 / (step * change).sum((1, 2), keepdim=True))
        if len(self.steps) > _MEMORY:
            for pairs in (self.steps, self.changes, self.scales):
                del pairs[0]

    def keep(self, mask: Tensor) -> None:
        for pairs in (self.steps, self.changes, self.scales):
            pairs[:] = [pair[mask] for pair in pairs]

    def direction(self, objective: _Objective, gradient: Tensor, uncertainty: Tensor) -> Tensor:
        """Minus the gradient times the approximate inverse of the Hessian, by two loops."""
        rest = gradient.clone()
        weights = []
        pairs = list(zip(self.steps, self.changes, self.scales, strict=True))
        for step, change, scale in reversed(pairs):
            weights.append(scale * (step * rest).sum((1, 2), keepdim=True))
            rest -= weights[-1] * change
        rest = objective.precondition(rest, uncertainty)
        if pairs:
            _, change, scale = pairs[-1]
            moved = objective.precondition(change, uncertainty)
            rest /= scale * (change * moved).sum((1, 2), keepdim=True)
        for (step, change, scale), weight in zip(pairs, reversed(weights), strict=True):
            rest += (weight - scale * (change * rest).sum((1, 2), keepdim=True)) * step
        return -rest


def _minimise(
    objective: _Objective, weights: Tensor, tolerance: float, max_iterations: int
) -> list[_Solution]:
    """One solution per strength, from weights (s, k, d).

    A strength leaves the batch when it has converged or when this precision is exhausted.
    """
    logits = objective.logits(weights)
    losses, residuals = objective.evaluate(logits)
    gradient = objective.gradient(residuals, weights)
    loss = objective.loss(losses, weights)
    # logarithms of probabilities next to one come in steps of eps; their mean errs by less
    rounding = torch.finfo(weights.dtype).eps / 10
    null = objective.null_loss()
    ids = torch.arange(len(weights), device=weights.device)
    best_gap = torch.full_like(loss, math.inf)
    since_best = torch.zeros_like(ids)
    failed = torch.zeros_like(ids, dtype=torch.bool)
    pairs = _Pairs()
    solutions: dict[int, _Solution] = {}
    for iteration in range(max_iterations + 1):
        # p (1 - p), where a residual is p or p - 1
        uncertainty = (residuals.abs() - residuals.square()).mean(2).clamp(min=_CERTAIN)
        proven = objective.gap(gradient, uncertainty)
        gap = (proven + rounding) / loss
        better = gap < best_gap
        best_gap = torch.where(better, gap, best_gap)
        since_best = torch.where(better, 0, since_best + 1)
        # under a strong penalty logits hardly differ, and which is largest must be right
        learnt = ((null - loss) / loss).clamp(_LEAST_LEARNT, 1.0)
        converged = (gap <= tolerance) & (proven <= tolerance * learnt**2 * loss)
        ended = converged | failed | (since_best > _PATIENCE) | gap.isnan()
        if iteration == max_iterations:
            ended = torch.ones_like(ended)
        if ended.any():
            for i in ended.nonzero().flatten().tolist():
                found = weights[i].clone(), float(loss[i]), float(gap[i]), iteration
                solutions[int(ids[i])] = _Solution(*found)
            going = ~ended
            if not going.any():
                break
            objective = objective.at(going)
            pairs.keep(going)
            weights, logits, gradient, loss = (
                part[going] for part in (weights, logits, gradient, loss)
            )
            best_gap, since_best = best_gap[going], since_best[going]
            ids, uncertainty = ids[going], uncertainty[going]
        direction = pairs.direction(objective, gradient, uncertainty)
        trial = _line_search(objective, weights, logits, gradient, direction)
        failed = trial.failed
        step = trial.size * direction
        weights = weights + step
        logits, residuals = trial.logits, trial.residuals
        loss = objective.loss(trial.losses, weights)
        new_gradient = objective.gradient(residuals, weights)
        pairs.add(step, new_gradient - gradient)
        gradient = new_gradient
    return [solutions[i] for i in sorted(solutions)]


@dataclass(frozen=True)
class _Trial:
    size: Tensor
    """(s, 1, 1)."""
    logits: Tensor
    losses: Tensor
    residuals: Tensor
    failed: Tensor
    """(s,) where no size flattens the slope: rounding is all that is left."""


def _line_search(
    objective: _Objective, weights: Tensor, logits: Tensor, gradient: Tensor, direction: Tensor
) -> _Trial:
    """A step along which the slope falls by `_CURVATURE`, by slopes only.

    Logits are linear in the step, so that a trial costs no product with the features; slopes can
    be told apart where losses, near the minimum, no longer can.
    """
    change = objective.logits(direction)
    penalty = objective.penalty[:, 0, 0]
    crossed = (weights[:, :, :-1] * direction[:, :, :-1]).sum((1, 2))
    squared = direction[:, :, :-1].square().sum((1, 2))
    slope_at_zero = (gradient * direction).sum((1, 2))
    low, high = torch.zeros_like(squared), torch.full_like(squared, math.inf)
    slope_low, slope_high = slope_at_zero, torch.zeros_like(squared)
    size = torch.ones_like(squared)
    for trial in range(_MAX_TRIALS):
        moved = torch.addcmul(logits, size[:, None, None], change)
        losses, residuals = objective.evaluate(moved)
        slope = (residuals * change).sum(1).mean(1) + penalty * (crossed + size * squared)
        good = slope.abs() <= _CURVATURE * slope_at_zero.abs()
        if good.all() or trial == _MAX_TRIALS - 1:
            break
        short, long = ~good & (slope < 0), ~good & ~(slope < 0)
        low, slope_low = torch.where(short, size, low), torch.where(short, slope, slope_low)
        high, slope_high = torch.where(long, size, high), torch.where(long, slope, slope_high)
        growth = (slope_at_zero / (slope_at_zero - slope)).nan_to_num(10.0).clamp(2.0, 10.0)
        width = high - low
        secant = low - slope_low * width / (slope_high - slope_low)
        inside = torch.minimum(torch.maximum(secant, low + width / 10), high - width / 10)
        between = inside if trial < _SECANTS else (low + high) / 2
        next_size = torch.where(high.isinf(), size * growth, between)
        size = torch.where(good, size, next_size)
    failed = ~good | ~(slope_at_zero < 0)
    return _Trial(size[:, None, None], moved, losses, residuals, failed)


def _turned(features: Tensor, basis: Tensor) -> Tensor:
    """Features (d, n) in another basis (d - 1, d - 1); the ones stay."""
    return torch.cat([basis.T @ features[:-1], features[-1:]])


def _products(left: Tensor, right: Tensor) -> Tensor:
    """(s, k, m) times (m, n) in one product."""
    return (left.flatten(0, 1) @ right).view(*left.shape[:2], -1)
