"""The linear probe: multinomial logistic regression on standardised vectors."""

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from probing.errors import InputError
from probing.probes.logistic import MAX_ITERATIONS, TOLERANCE, LogisticPath, fit_logistic
from probing.probes.standardisation import Standardisation
from probing.threads import over_views

logger = logging.getLogger(__name__)

STRENGTHS: Final = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""The grid of ``C``, strongest penalty first.

For TREC, sentence length, tree depth and subject number the best on dev was mostly 0.01 to 1 on
the 30 views of all-MiniLM-L6-v2; where 10 or 100 was best it was so by a point at most.
"""


@dataclass(frozen=True)
class LinearProbes:
    """Linear probes of every view at every strength of a grid, fitted together."""

    strengths: tuple[float, ...] = STRENGTHS
    """sklearn's ``C``, strongest penalty first, so that ties on dev go to the stronger one."""
    tolerance: float = TOLERANCE
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.strengths or not all(0 < strength < np.inf for strength in self.strengths):
            raise InputError(f"expected strengths above 0, found {self.strengths}")

    @property
    def name(self) -> str:
        """For the ``probe`` column."""
        return "linear"

    @property
    def n_settings(self) -> int:
        """How many strengths there are."""
        return len(self.strengths)

    def predict(
        self,
        vectors: Mapping[str, NDArray[np.float32]],
        targets: NDArray[np.intp],
        *,
        n_classes: int,
        train: NDArray[np.intp],
        dev: NDArray[np.intp],  # noqa: ARG002
        evaluate: NDArray[np.intp],
        seed: int,  # noqa: ARG002
    ) -> NDArray[np.intp]:
        """Classes ``(n_views, n_strengths, n_evaluate)`` predicted by probes fitted on train.

        Args:
            vectors: View id → ``(n, hidden_size)``, finite.
            targets: ``(n,)`` in ``range(n_classes)`` on the train rows, each class at least once.
            n_classes: At least two.
            train: ``(n_train,)`` rows to fit on; features are standardised on these alone.
            dev: Not used.
            evaluate: ``(n_evaluate,)`` rows to predict.
            seed: Not used: the optimum is one.
        """

        def predicted(view_id: str) -> NDArray[np.intp]:
            rows = vectors[view_id]
            path, standardisation = self.fit(
                rows[train], targets[train], n_classes=n_classes, name=view_id
            )
            features = standardisation.apply(rows[evaluate])
            classes = [path.logits(i, features).argmax(0) for i in range(self.n_settings)]
            return torch.stack(classes).cpu().numpy()

        return np.stack(over_views(predicted, list(vectors)))

    def fit(
        self, rows: NDArray[np.floating], targets: NDArray[np.intp], *, n_classes: int, name: str
    ) -> tuple[LogisticPath, Standardisation]:
        """All strengths on rows ``(n, hidden_size)``; the name is for the log."""
        standardisation = Standardisation.fit(rows, device=self.device)
        path = fit_logistic(
            standardisation.apply(rows),
            torch.from_numpy(targets).to(self.device),
            n_classes=n_classes,
            strengths=self.strengths,
            tolerance=self.tolerance,
        )
        for strength, gap, converged in zip(self.strengths, path.gaps, path.converged, strict=True):
            if not converged:
                logger.warning("%s at C = %g: %s", name, strength, _shortfall(gap, self.tolerance))
        return path, standardisation


class LinearProbe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """`sklearn.linear_model.LogisticRegression` on standardised features, by the batched solver.

    Args:
        C: Inverse strength of the penalty on the weights of the standardised features.
        tolerance: Largest duality gap of a converged fit, as a share of its loss.
        max_iterations: Of the solver.

    Attributes:
        classes_: ``(n_classes,)`` sorted labels.
        coef_: ``(n_columns, n_features)`` float64 weights of the raw features; one column for two
            classes.
        intercept_: ``(n_columns,)`` float64.
        loss_: Mean log-loss in nats plus the penalty.
        n_iter_: Iterations made.
    """

    def __init__(
        self,
        C: float = 1.0,  # noqa: N803
        *,
        tolerance: float = TOLERANCE,
        max_iterations: int = MAX_ITERATIONS,
    ) -> None:
        self.C = C
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803
        """Fit on ``(n, n_features)`` vectors and ``(n,)`` labels.

        Raises:
            InputError: One class only, or ``C`` not above zero.
            ValueError: The shapes do not fit, or a value is not finite.
        """
        rows, labels = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(labels)
        if not 0 < self.C < np.inf:
            raise InputError(f"expected C above 0, found {self.C}")
        self.classes_, targets = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"expected at least two classes, found one class: {self.classes_[0]}")
        standardisation = Standardisation.fit(rows)
        path = fit_logistic(
            standardisation.apply(rows),
            torch.from_numpy(targets),
            n_classes=len(self.classes_),
            strengths=(float(self.C),),
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )
        if not path.converged.all():
            reason = _shortfall(path.gaps[0], self.tolerance)
            warnings.warn(reason, ConvergenceWarning, stacklevel=2)
        weights = standardisation.undo(path.weights[0].double().numpy())
        self.coef_, self.intercept_ = weights[:, :-1], weights[:, -1]
        self.loss_, self.n_iter_ = float(path.losses[0]), int(path.iterations[0])
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Logits ``(n, n_classes)``; for two classes ``(n,)``, positive for the second."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        logits: NDArray[np.float64] = rows.astype(np.float64) @ self.coef_.T + self.intercept_
        return logits[:, 0] if logits.shape[1] == 1 else logits

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Labels ``(n,)``."""
        logits = self._logits(X)
        labels: NDArray[Any] = self.classes_[logits.argmax(axis=1)]
        return labels

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities ``(n, n_classes)``."""
        probabilities: NDArray[np.float64] = softmax(self._logits(X), axis=1)
        return probabilities

    def predict_log_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Log-probabilities ``(n, n_classes)``, in nats."""
        logarithms: NDArray[np.float64] = log_softmax(self._logits(X), axis=1)
        return logarithms

    def _logits(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        logits = self.decision_function(X)
        return np.column_stack([np.zeros_like(logits), logits]) if logits.ndim == 1 else logits


def _shortfall(gap: float, tolerance: float) -> str:
    return f"no convergence: the loss is known to {gap:.1e} of its value, expected {tolerance:.0e}"
