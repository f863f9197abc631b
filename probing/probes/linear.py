"""The linear probe: multinomial logistic regression on standardised vectors."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray

from probing.errors import InputError
from probing.probes.logistic import TOLERANCE, LogisticPath, fit_logistic
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

    name: ClassVar[str] = "linear"
    """Value of the ``probe`` column."""
    strengths: tuple[float, ...] = STRENGTHS
    """sklearn's ``C``, strongest penalty first, so that ties on dev go to the stronger one."""
    tolerance: float = TOLERANCE
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.strengths or not all(0 < strength < np.inf for strength in self.strengths):
            raise InputError(f"expected strengths above 0, found {self.strengths}")

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
            train: ``(n_train,)`` rows to fit on; features are standardised on these only.
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
                logger.warning(
                    "%s at C = %g: no convergence: the loss is known to %.1e of its value, "
                    "expected %.0e",
                    name,
                    strength,
                    gap,
                    self.tolerance,
                )
        return path, standardisation
